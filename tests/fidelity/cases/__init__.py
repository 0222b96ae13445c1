"""The corpus: every module of this folder, in this order."""

from __future__ import annotations

from tests.fidelity.case import Case
from tests.fidelity.cases import (
    alignment,
    arithmetic,
    exceptions,
    floating_point,
    gic,
    gic_virtual,
    interrupts,
    maintenance,
    pstate,
    returns,
    self_hosted_debug,
    stage1,
    stage2,
    sysreg_access,
    sysreg_space,
    sysreg_values,
    timers,
    traps,
)

MODULES = (
    alignment,
    arithmetic,
    exceptions,
    floating_point,
    gic,
    gic_virtual,
    interrupts,
    maintenance,
    pstate,
    returns,
    self_hosted_debug,
    stage1,
    stage2,
    sysreg_access,
    sysreg_space,
    sysreg_values,
    timers,
    traps,
)


def corpus() -> list[Case]:
    """Every case. Raises ValueError for a name that is used twice."""
    cases = [case for module in MODULES for case in module.cases()]
    names = [case.name for case in cases]
    if len(set(names)) != len(names):
        raise ValueError(f"used twice: {sorted({name for name in names if names.count(name) > 1})[:5]}")
    return cases
