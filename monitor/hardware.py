"""A machine at one instant, as the rules look at it. `monitor.reader` reads it, past every filter.

Everything comes as bytes, so that a state that was judged before is known again at once; `Hardware` takes them apart
when a rule asks.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from functools import cached_property
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from emulator import inspection
from emulator.image import Image
from emulator.memory_map import DRAM_BASE, PAGE_SIZE, DramLayout
from monitor.memory import CONTEXT, CONTEXT_BYTES, EL1_REGISTERS, TIMER_REGISTERS, WORD, CarveOut
from monitor.view import Ownership, Pages, PhysicalMemory

Records: TypeAlias = NDArray[np.void]

REGISTERS = (
    "SCTLR_EL1", "TTBR0_EL1", "VBAR_EL1",
    "VPIDR_EL2", "VMPIDR_EL2", "SCTLR_EL2", "ACTLR_EL2", "HCR_EL2", "MDCR_EL2", "CPTR_EL2", "HSTR_EL2", "VTTBR_EL2",
    "VTCR_EL2", "VBAR_EL2", "CNTVOFF_EL2", "CNTHCTL_EL2", "CNTHP_CTL_EL2",
    "SCTLR_EL3", "ACTLR_EL3", "SCR_EL3", "CPTR_EL3", "MDCR_EL3", "TTBR0_EL3", "TCR_EL3", "MAIR_EL3", "VBAR_EL3",
    "TPIDR_EL3", "CNTFRQ_EL0",
)  # fmt: skip
TIMER = ("CNTPS_CTL_EL1", "CNTPS_CVAL_EL1")
TICKS = tuple(name.upper() for name in TIMER_REGISTERS)

# The monitor's variables, by the names in its sources.
VARIABLES = ("npu_mode", "npu_recalled", "npu_told", "noted", "owed", "owed_told", "revoked_pages", "driver_is_ready",
             "secure_is_ready", "in_call", "in_handler", "is_set_aside", "thread", "producer")  # fmt: skip
PLACES = ("table", "normal_pages", "entries", "iova_of", "iova_pages", "dram_level3", "npu_windows", "stream_table",
          "command_queue", "normal_root", "npu_root")  # fmt: skip  # set at boot
DEADLINES = ("owed_deadline", "npu_deadline", "driver_deadline")
STATES = 8  # pages_in
EL3_TABLES = ("level1", "low_level2", "sram_level3", "gic_level3", "uart_level3", "filter_level3", "npu_level3",
              "dram_level2")  # fmt: skip

SAVED_REGISTERS = ("sctlr_el1", "ttbr0_el1", "vbar_el1", "pmcr_el0")
CONTEXTS = ("secure", "normal", "driver", "set aside")  # the last one waits until a handler has left

TABLES_BYTES = CarveOut.COMMAND_QUEUE  # of the carve-out, from its base on
MORE_TABLES_BYTES = CarveOut.DRIVER_LEVEL3 + PAGE_SIZE - CarveOut.NPU_ROOT
ENTRY_BYTES = 8
REVERSE_BYTES = 4


class Raw(NamedTuple):
    """All that was read; ``memory`` is the number of a `Snapshot`."""

    registers: bytes
    filters: bytes
    smmu: bytes
    streams: bytes
    core_tlb: bytes
    smmu_tlb: bytes
    transfers: bytes
    interrupts: bytes
    npu: bytes
    variables: bytes
    memory: int
    contexts: bytes
    deadlines: bytes
    ticks: bytes


class Saved(NamedTuple):
    """What matters of a context that the monitor keeps."""

    elr: int
    spsr: int
    scr: int
    mdcr: int
    sctlr: int
    ttbr0: int
    vbar: int
    pmcr: int


class Thread(NamedTuple):
    """``runs``: in which context it was interrupted."""

    waits: bool
    runs: str


class Variables:
    """Those of these names, one behind the other. A flag may have a byte, whatever it is declared as."""

    def __init__(self, image: Image, names: tuple[str, ...]) -> None:
        self.names = names
        self.places = [(image.symbols[name], image.sizes[name]) for name in names]
        self._format = struct.Struct("<" + "".join(f"{size}s" for _, size in self.places))

    def values(self, data: bytes) -> dict[str, int]:
        parts = self._format.unpack_from(data)
        return {name: int.from_bytes(part, "little") for name, part in zip(self.names, parts, strict=True)}


class Layout:
    """What lies where: of one size of DRAM and one build of the monitor."""

    def __init__(self, dram: DramLayout, image: Image) -> None:
        self.dram = dram
        self.image = image
        base = dram.carve_out_base
        code = image.symbols["__image_start"]
        self.normal_pages = (dram.normal_end - DRAM_BASE) // PAGE_SIZE
        self.memory: Mapping[str, tuple[int, int]] = {
            "ownership": (dram.ownership_base, dram.pages),
            "tables": (base, TABLES_BYTES),
            "more tables": (base + CarveOut.NPU_ROOT, MORE_TABLES_BYTES),
            "DRAM entries": (base + CarveOut.DRAM_LEVEL3, ENTRY_BYTES * self.normal_pages),
            "NPU entries": (dram.npu_tables_base, dram.npu_bytes // PAGE_SIZE * ENTRY_BYTES),
            "reverse table": (dram.secure_end, REVERSE_BYTES * dram.pages),
            **{name: self.variable(name) for name in EL3_TABLES},
            "image": (code, image.symbols["__rodata_end"] - code),
        }
        self.variables = Variables(image, (*VARIABLES, *PLACES))
        contexts = [image.symbols["contexts"] + index * CONTEXT_BYTES for index in range(len(CONTEXTS) - 1)]
        self.contexts = (*contexts, image.symbols["set_aside"])
        self.ticks = contexts[CONTEXTS.index("normal")] + CONTEXT["timers"].offset, len(TICKS) * WORD

    def variable(self, name: str) -> tuple[int, int]:
        """Address and bytes. Raises KeyError where the monitor has none of that name."""
        return self.image.symbols[name], self.image.sizes[name]

    def saved(self) -> list[tuple[int, int]]:
        """Address and bytes of the parts of `Saved`, context by context."""
        returns = (CONTEXT["elr"].offset, 4 * WORD)
        registers = [(CONTEXT["el1"].offset + WORD * EL1_REGISTERS.index(name), WORD) for name in SAVED_REGISTERS]
        return [(base + offset, size) for base in self.contexts for offset, size in (returns, *registers)]


class Snapshot:
    """Tables, ownership and code as they were read; ``number`` tells them from others."""

    def __init__(self, layout: Layout, number: int, data: bytes) -> None:
        self.number = number
        self.data = data
        self._at = {}
        offset = 0
        for name, (_, size) in layout.memory.items():
            self._at[name] = offset, size
            offset += size

    def bytes_of(self, name: str) -> bytes:
        """Of a range of `Layout.memory`."""
        offset, size = self._at[name]
        return self.data[offset : offset + size]

    def entries(self, name: str) -> Pages:
        """The same as words of 64 bits."""
        offset, size = self._at[name]
        return np.frombuffer(self.data, np.uint64, size // ENTRY_BYTES, offset)

    def table(self, place: CarveOut, count: int = 1) -> Pages:
        """So many tables of the carve-out, from ``place`` on."""
        if place < CarveOut.COMMAND_QUEUE:
            words, first = self.entries("tables"), int(place)
        else:
            words, first = self.entries("more tables"), place - CarveOut.NPU_ROOT
        return words[first // ENTRY_BYTES : (first + count * PAGE_SIZE) // ENTRY_BYTES]

    @cached_property
    def ownership(self) -> Ownership:
        return Ownership(np.frombuffer(self.bytes_of("ownership"), np.uint8))

    @cached_property
    def reverse(self) -> NDArray[np.uint32]:
        """By page of DRAM: see `monitor.memory.REVERSE_WRITE`."""
        return np.frombuffer(self.bytes_of("reverse table"), np.uint32)


class Hardware:
    """One instant. ``before``: what was seen before, if only the guest has acted since; ``physical``: memory itself."""

    def __init__(
        self, layout: Layout, raw: Raw, memory: Snapshot, physical: PhysicalMemory, before: Hardware | None
    ) -> None:
        self.layout = layout
        self.raw = raw
        self.memory = memory
        self.physical = physical
        self.before = before
        if before:
            before.before = None  # one instant is remembered, not all

    @cached_property
    def registers(self) -> Mapping[str, int]:
        return dict(zip((*REGISTERS, "SP_EL3", "PMCR_EL0"), _words(self.raw.registers), strict=True))

    @cached_property
    def variables(self) -> Mapping[str, int]:
        """By name; counters of pages are ``pages_in``'s."""
        return self.layout.variables.values(self.raw.variables)

    @cached_property
    def pages_in(self) -> tuple[int, ...]:
        """What the monitor counts, by state."""
        return _words(self.raw.variables[-STATES * WORD :])

    @cached_property
    def threads(self) -> tuple[Thread, ...]:
        """That can wait interrupted: the ordinary one, the revocation handler."""
        pairs = struct.iter_unpack("<2I", self.variables["thread"].to_bytes(16, "little"))
        return tuple(Thread(bool(waits), CONTEXTS[runs % len(CONTEXTS)]) for waits, runs in pairs)

    @cached_property
    def deadlines(self) -> Mapping[str, int]:
        """The variables of that kind, and the secure timer's registers."""
        names = (*TIMER, *DEADLINES)
        return dict(zip(names, _words(self.raw.deadlines), strict=True))

    @cached_property
    def ticks(self) -> Mapping[str, tuple[int, int]]:
        """EL1's timers by register: as it is, and as the normal world has left it."""
        words = _words(self.raw.ticks)
        return dict(zip(TICKS, zip(words[: len(TICKS)], words[len(TICKS) :], strict=True), strict=True))

    @cached_property
    def saved(self) -> Mapping[str, Saved]:
        words, width = _words(self.raw.contexts), len(Saved._fields)
        return {name: Saved(*words[width * i : width * (i + 1)]) for i, name in enumerate(CONTEXTS)}

    @cached_property
    def running(self) -> str | None:
        """Which of `CONTEXTS` the core has left EL3 for; None: TPIDR_EL3 names none."""
        at = self.registers["TPIDR_EL3"]
        return CONTEXTS[self.layout.contexts.index(at)] if at in self.layout.contexts[:-1] else None

    @cached_property
    def filters(self) -> np.void:
        """`inspection.FILTERS`."""
        return _record(self.raw.filters, inspection.FILTERS)

    @cached_property
    def smmu(self) -> Mapping[str, int]:
        """The SMMU's registers by the architecture's names, in lower case."""
        native, cr1 = self.raw.smmu[:-WORD], self.raw.smmu[-WORD:]
        values = _record(native, inspection.SMMU_REGISTERS)
        return {name: int(values[name]) for name in inspection.SMMU_REGISTERS.names or ()} | {"cr1": _words(cr1)[0]}

    @cached_property
    def streams(self) -> Records:
        return np.frombuffer(self.raw.streams, inspection.STREAM)

    @cached_property
    def core_tlb(self) -> Records:
        return np.frombuffer(self.raw.core_tlb, inspection.TLB_ENTRY)

    @cached_property
    def smmu_tlb(self) -> Records:
        return np.frombuffer(self.raw.smmu_tlb, inspection.TLB_ENTRY)

    @cached_property
    def transfers(self) -> Records:
        return np.frombuffer(self.raw.transfers, inspection.TRANSFER)

    @cached_property
    def interrupts(self) -> np.void:
        """`inspection.GIC`."""
        return _record(self.raw.interrupts, inspection.GIC)

    @cached_property
    def npu(self) -> np.void:
        """`inspection.NPU`."""
        return _record(self.raw.npu, inspection.NPU)


def _words(data: bytes) -> tuple[int, ...]:
    return struct.unpack(f"<{len(data) // WORD}Q", data)


def _record(data: bytes, kind: np.dtype[np.void]) -> np.void:
    record: np.void = np.frombuffer(data, kind)[0]
    return record
