"""A hostile normal world: what it tries, between any two requests of a secure world that serves a model."""

from . import (
    calls,
    cpu,
    dma,
    interrupts,
    npu,
    npu_drivers,
    npu_registers,
    npu_switch,
    package,
    recall,
    registers,
    replies,
    tables,
    timing,
)
from .registry import Attack, Carelessness, Moment

ATTACKS: tuple[Attack, ...] = (
    *cpu.ATTACKS,
    *tables.ATTACKS,
    *dma.ATTACKS,
    *npu.ATTACKS,
    *npu_registers.ATTACKS,
    *npu_switch.ATTACKS,
    *npu_drivers.ATTACKS,
    *interrupts.ATTACKS,
    *calls.ATTACKS,
    *recall.ATTACKS,
    *registers.ATTACKS,
    *replies.ATTACKS,
    *timing.ATTACKS,
    *package.ATTACKS,
)

__all__ = ["ATTACKS", "Attack", "Carelessness", "Moment"]
