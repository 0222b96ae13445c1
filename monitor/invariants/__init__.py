"""What must hold whenever EL3 has been left, looked up in hardware state past the monitor's own code.

`RULES` has every rule; docs/security.md says which of its invariants each serves, and what breaks it on purpose.
"""

from __future__ import annotations

from monitor.invariants.rule import Rule
from monitor.invariants.rules import RULES

__all__ = ["RULES", "Rule"]

