"""Names for what a trace would otherwise give as numbers: addresses by where they lie, registers, TLBIs, calls."""

from __future__ import annotations

import enum
from functools import lru_cache

from emulator.devices.npu import NpuControl, NpuCore, Problem
from emulator.devices.smmu import Smmu
from emulator.devices.storage import Storage
from emulator.devices.trusted import Trusted
from emulator.devices.tzc400 import Tzc400
from emulator.devices.tzpc import Tzpc
from emulator.devices.uart import Uart
from emulator.events import NpuWhat
from emulator.memory_map import DRAM_BASE, SECURE_SRAM, DramLayout, device_windows
from emulator.registers import RegisterMap
from flexserve.contexts import context_name
from monitor.abi import REVOKED, STATUSES, Call, Kind, PageState

DEVICE_TYPES: dict[str, type[RegisterMap]] = {
    "UART0": Uart, "UART1": Uart, "SMMU": Smmu, "TZASC": Tzc400, "TZPC": Tzpc, "TRUSTED": Trusted, "STORAGE": Storage,
    "NPU0": NpuCore, "NPU1": NpuCore, "NPU2": NpuCore, "NPU_CONTROL": NpuControl,
}  # fmt: skip

# (op1, CRn, op2), Arm ARM D19.7; CRm tells only how far it reaches (3: inner shareable)
TLBIS = {
    (0, 0): "VMALLE1", (0, 1): "VAE1", (0, 2): "ASIDE1", (0, 3): "VAAE1", (0, 5): "VALE1", (0, 7): "VAALE1",
    (4, 0): "ALLE2", (4, 1): "VAE2", (4, 4): "ALLE1", (4, 5): "VALE2", (4, 6): "VMALLS12E1",
    (6, 0): "ALLE3", (6, 1): "VAE3", (6, 5): "VALE3",
}  # fmt: skip
STAGE2_TLBIS = {1: "IPAS2E1", 5: "IPAS2LE1"}
INNER_SHAREABLE, STAGE2_SHAREABLE, STAGE2 = 3, 0, 4

remembered = lru_cache(maxsize=1 << 14)  # the same few places and calls come over and over in a run


@remembered
def place(address: int, layout: DramLayout) -> str:
    """``dram+0x200000``, ``secure+0x1000``, ``TZASC+0x110``: a physical address by what is there."""
    if DRAM_BASE <= address < layout.end:
        name, base = next(
            (name, base)
            for name, base in (
                ("ownership", layout.ownership_base),
                ("secure", layout.secure_base),
                ("carveout", layout.carve_out_base),
                ("dram", DRAM_BASE),
            )
            if address >= base
        )
        return f"{name}+{address - base:#x}"
    if address in SECURE_SRAM:
        return f"sram+{address - SECURE_SRAM.base:#x}"
    window = next((window for window in device_windows() if address in window), None)
    return f"{window.name}+{address - window.base:#x}" if window else f"{address:#x}"


@remembered
def register(device: int, offset: int) -> str:
    """``TZASC.REGION_ATTRIBUTES[1]``; an offset where nothing is declared."""
    window = device_windows()[device]
    kind = DEVICE_TYPES.get(window.name)
    found = kind.find(offset) if kind else None
    if found is None:
        return f"{window.name}+{offset:#x}"
    declared, index = found
    return f"{window.name}.{declared.name}{f'[{index}]' if declared.count > 1 else ''}"


def npu(args: tuple[int, ...]) -> str:
    """What happened to a core of the NPU: ``NPU0 fault NOT_IMPLEMENTED CNA_FC_CON1=0x1``."""
    core, what, *more = args
    head = f"NPU{core} {member(NpuWhat, what)}"
    match what:
        case NpuWhat.STARTED:
            return f"{head} program={more[0]:#x} tasks={more[1]}"
        case NpuWhat.TASK_DONE:
            return f"{head} task={more[0]} macs={more[1]}"
        case NpuWhat.JOB_DONE:
            return f"{head} tasks={more[0]}"
        case NpuWhat.FAULT:
            problem = member(Problem, more[0])
            if more[0] in (Problem.DMA_READ, Problem.DMA_WRITE):
                return f"{head} {problem} {more[2]:#x}"
            return f"{head} {problem} {_npu_register(more[1])}={more[2]:#x}"
        case NpuWhat.ABORTED:
            return f"{head} tasks={more[1]}"
        case _:
            return f"{head} {_npu_register(more[0])}={more[1]:#x}"


def _npu_register(offset: int) -> str:
    found = NpuCore.find(offset)
    if found is None:
        return f"{offset:#x}"
    register, index = found
    return f"{register.name}[{index}]" if register.count > 1 else register.name


@remembered
def tlbi(op1: int, crm: int, op2: int) -> str:
    """``VAE1IS``."""
    if op1 == STAGE2 and crm in (STAGE2_SHAREABLE, STAGE2):
        name = STAGE2_TLBIS.get(op2, f"S{op2}")
        return f"{name}IS" if crm == STAGE2_SHAREABLE else name
    name = TLBIS.get((op1, op2), f"op1={op1},op2={op2}")
    return f"{name}IS" if crm == INNER_SHAREABLE else name


@remembered
def state(entry: int) -> str:
    """An ownership entry."""
    name = member(PageState, entry & 7)
    return f"{name}|REVOKED" if entry & REVOKED else name


@remembered
def word(kind: Kind, value: int, layout: DramLayout) -> str:
    """An argument or a result, as its row of the SMC table says that it reads."""
    if kind in STATUSES:
        return member(STATUSES[kind], value)
    if kind is Kind.ADDRESS:
        return place(value, layout)
    return str(value) if kind is Kind.NUMBER else f"{value:#x}"


def arguments(call: Call, registers: tuple[int, ...], layout: DramLayout) -> str:
    kinds = {one.name: one.kind for one in call.args}
    return _pairs({name: word(kinds[name], value, layout) for name, value in call.arguments(registers).items()})


def results(call: Call, registers: tuple[int, ...], layout: DramLayout) -> str:
    kinds = {one.name: one.kind for one in call.returns}
    return _pairs({name: word(kinds[name], value, layout) for name, value in call.results(registers).items()})


@remembered
def member(names: type[enum.IntEnum], value: int) -> str:
    return next((one.name for one in names if one == value), str(value))


@remembered
def where(number: int, level: int) -> str:
    """``normal.el1``."""
    return f"{context_name(number)}.el{level}"


def _pairs(values: dict[str, str]) -> str:
    return "".join(f" {name}={value}" for name, value in values.items())
