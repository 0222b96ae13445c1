"""What the hardware of a machine holds at one instant, past every filter: for whoever judges it. It changes nothing.

Everything comes as bytes, so that two looks are compared at once; the types here say how to read them.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from emulator.core import SYSTEM_REGISTERS
from emulator.native import ffi, lib

if TYPE_CHECKING:
    from emulator.native._native import InspectRange, Pointer
    from emulator.native._native import Machine as NativeMachine

INTERRUPTS = 288  # of the GIC: 16 SGIs, 16 PPIs, 256 SPIs
TZASC_REGIONS = 9
STREAM_WORDS = 4  # of a stream table entry, that the SMMU keeps
FIRST_ROOM = 256  # elements; what does not fit is asked for again


class Regime(enum.IntEnum):
    """Whose translations a TLB entry is of; the SMMU's are all `EL1_NORMAL`."""

    EL3 = lib.REGIME_EL3
    EL2 = lib.REGIME_EL2
    EL1_SECURE = lib.REGIME_EL1_SECURE
    EL1_NORMAL = lib.REGIME_EL1_NORMAL


class TlbKind(enum.IntEnum):
    """VA to IPA, IPA to PA, or a page through both."""

    STAGE1 = lib.TLB_STAGE1
    STAGE2 = lib.TLB_STAGE2
    COMBINED = lib.TLB_COMBINED


TLB_ENTRY = np.dtype(
    [("address", "<u8"), ("output", "<u8"), ("vmid", "<u2"), ("asid", "<u2"), ("regime", "u1"), ("kind", "u1"),
     ("shift", "u1"), ("level", "u1"), ("permissions", "u1"), ("attributes", "u1"), ("shareability", "u1"),
     ("is_global", "u1"), ("non_secure", "u1"), ("zero", "u1", 3)]
)  # fmt: skip
REGION = np.dtype(
    [("base", "<u8"), ("top", "<u8"), ("normal_read", "<u2"), ("normal_write", "<u2"), ("enabled", "u1"),
     ("secure_read", "u1"), ("secure_write", "u1"), ("zero", "u1")]
)  # fmt: skip
FILTERS = np.dtype(
    [("region", REGION, TZASC_REGIONS), ("normal_devices", "<u8"), ("secure_sram_pages", "<u4"), ("gate_open", "u1"),
     ("bus_error", "u1"), ("zero", "u1", 2)]
)  # fmt: skip
STREAM = np.dtype([("stream", "<u8"), ("word", "<u8", STREAM_WORDS)])
TRANSFER = np.dtype([("output", "<u8"), ("bytes", "<u4"), ("stream", "<u2"), ("write", "<u2")])
GIC = np.dtype(
    [("distributor_control", "<u4"), ("control", "<u4"), ("priority_mask", "<u4"), ("binary_point", "<u4"),
     ("active_priorities", "<u4", 4), ("group1", "u1", INTERRUPTS), ("enabled", "u1", INTERRUPTS),
     ("active", "u1", INTERRUPTS), ("priority", "u1", INTERRUPTS)]
)  # fmt: skip
NPU = np.dtype([("power", "<u4"), ("clock", "<u4"), ("busy", "<u4"), ("used", "<u4")])
SMMU_REGISTERS = np.dtype(
    [(name, "<u4") for name in ("cr0", "cr2", "gbpa", "gerror", "gerrorn", "strtab_base_cfg", "cmdq_prod", "cmdq_cons",
                                "eventq_prod", "eventq_cons")]
    + [(name, "<u8") for name in ("strtab_base", "cmdq_base", "eventq_base")]
)  # fmt: skip


class Memory:
    """Ranges of physical memory, read past every filter and one behind the other."""

    def __init__(self, native: NativeMachine, ranges: Sequence[tuple[int, int]]) -> None:
        """``ranges``: (address, bytes) of each."""
        self._native = native
        self._ranges: Pointer[InspectRange] = ffi.new("struct inspect_range[]", len(ranges))
        for place, (address, size) in zip(self._ranges, ranges, strict=True):
            place.address, place.bytes = address, size
        self.size = sum(size for _, size in ranges)
        self._room = ffi.new("uint8_t[]", self.size)

    def read(self) -> bytes:
        """Raises ValueError where a range is not memory."""
        if not lib.inspect_memory(self._native, self._ranges, len(self._ranges), self._room):
            raise ValueError("what is to be inspected is not memory")
        return bytes(ffi.buffer(self._room))

    def holds(self, data: bytes) -> bool:
        """Whether it is still what `read` gave."""
        return bool(lib.inspect_memory_is(self._native, self._ranges, len(self._ranges), data))


class Registers:
    """System registers by name, in one call."""

    def __init__(self, native: NativeMachine, names: Sequence[str]) -> None:
        self._native = native
        self._count = len(names)
        self._encodings = ffi.new("struct inspect_register[]", self._count)
        for place, name in zip(self._encodings, names, strict=True):
            place.op0, place.op1, place.crn, place.crm, place.op2 = SYSTEM_REGISTERS[name]
        self._values = ffi.new("uint64_t[]", self._count)

    def read(self) -> bytes:
        """64 bits each, in the order of the names."""
        lib.inspect_registers(self._native, self._encodings, self._count, self._values)
        return bytes(ffi.buffer(self._values))


class Tlb:
    """The entries that a look-up could still find and use; `TLB_ENTRY` each."""

    def __init__(self, native: NativeMachine, which: int) -> None:
        self._native = native
        self._which = which
        self._entries = ffi.new("struct inspect_entry[]", FIRST_ROOM)
        self._version = -1
        self._known = b""

    def read(self) -> bytes:
        """The same object as before as long as nothing has come or gone."""
        version = lib.inspect_tlb_version(self._native, self._which)
        if version != self._version:
            self._version, self._known = version, self._read()
        return self._known

    def _read(self) -> bytes:
        count = lib.inspect_tlb(self._native, self._which, self._entries, len(self._entries))
        if count > len(self._entries):
            self._entries = ffi.new("struct inspect_entry[]", 2 * count)
            lib.inspect_tlb(self._native, self._which, self._entries, count)
        return bytes(ffi.buffer(self._entries, count * TLB_ENTRY.itemsize))


class Inspection:
    """Everything else, of one machine."""

    def __init__(self, native: NativeMachine) -> None:
        self._native = native
        self.core_tlb = Tlb(native, lib.INSPECT_CORE_TLB)
        self.smmu_tlb = Tlb(native, lib.INSPECT_SMMU_TLB)
        self._others = ffi.new("uint64_t[2]")
        self._filters = ffi.new("struct inspect_filters *")
        self._streams = ffi.new("struct inspect_stream[]", FIRST_ROOM)
        self._transfers = ffi.new("struct inspect_transfer[]", FIRST_ROOM)
        self._interrupts = ffi.new("struct inspect_interrupts *")
        self._npu = ffi.new("struct inspect_npu *")

    def other_registers(self) -> bytes:
        """SP_EL3 (at EL3, what it was when that was entered) and what of PMCR_EL0 can be written, 64 bits each."""
        lib.inspect_other_registers(self._native, self._others)
        return bytes(ffi.buffer(self._others))

    def filters(self) -> bytes:
        """`FILTERS`: what TZASC and TZPC judge by."""
        lib.inspect_filters(self._native, self._filters)
        return bytes(ffi.buffer(self._filters))

    def smmu_registers(self) -> bytes:
        """`SMMU_REGISTERS`."""
        return bytes(ffi.buffer(lib.smmu_registers(self._native), SMMU_REGISTERS.itemsize))

    def streams(self) -> bytes:
        """`STREAM` each: the stream table entries that the SMMU has cached; it knows 256 streams."""
        count = lib.inspect_streams(self._native, self._streams, FIRST_ROOM)
        return bytes(ffi.buffer(self._streams, count * STREAM.itemsize))

    def transfers(self) -> bytes:
        """`TRANSFER` each: what DMA masters have translated and not moved yet."""
        count = lib.inspect_transfers(self._native, self._transfers, len(self._transfers))
        if count > len(self._transfers):
            self._transfers = ffi.new("struct inspect_transfer[]", 2 * count)
            lib.inspect_transfers(self._native, self._transfers, count)
        return bytes(ffi.buffer(self._transfers, count * TRANSFER.itemsize))

    def interrupts(self) -> bytes:
        """`GIC`."""
        lib.inspect_interrupts(self._native, self._interrupts)
        return bytes(ffi.buffer(self._interrupts))

    def npu(self) -> bytes:
        """`NPU`."""
        lib.inspect_npu(self._native, self._npu)
        return bytes(ffi.buffer(self._npu))
