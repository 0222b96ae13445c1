"""What breaks each rule on purpose, by hand: past the monitor's code, and past every filter."""

from __future__ import annotations

from . import code, contexts, filters, history, interrupts, pages, registers, smmu, tables, tlbs
from .by_hand import Break

__all__ = ["BREAKS"]

BREAKS: tuple[Break, ...] = tuple(
    one
    for topic in (registers, code, filters, tables, smmu, tlbs, interrupts, contexts, pages, history)
    for one in topic.BREAKS
)
