"""SMMUv3 (Arm IHI 0070): stage 2 only, linear stream table, command and event queues, non-secure interface.

The registers are here; stream table, TLB, walks, queues and events are native (native/smmu.c). Broadcast TLB
maintenance does not reach it (IDR0.BTM = 0): its caches empty by command only.
"""

from __future__ import annotations

from typing import Protocol

from emulator.memory_map import Window
from emulator.registers import RO, WO, Register

from .device import Device, EventSink
from .smmu_structures import CommandError

STREAM_ID_BITS = 8
QUEUE_BITS = 19  # at most 2^19 entries, as the architecture's limit
OUTPUT_SIZE_44_BITS = 4
TERMINATE_ONLY = 1
LITTLE_ENDIAN = 2
AARCH64 = 2

QUEUE_POINTER = {"index": (19, 0)}


class NativeRegisters(Protocol):
    """What the native part reads and changes, by register name."""

    cr0: int
    cr2: int
    gbpa: int
    gerror: int
    gerrorn: int
    strtab_base: int
    strtab_base_cfg: int
    cmdq_base: int
    cmdq_prod: int
    cmdq_cons: int
    eventq_base: int
    eventq_prod: int
    eventq_cons: int


class NativeSmmu(Protocol):
    """The native part."""

    @property
    def registers(self) -> NativeRegisters: ...

    def consume(self) -> None:
        """Execute the command queue up to its producer, or to a command that is in error."""


class Smmu(Device):
    """SMMUv3.0, 44-bit addresses, 8-bit stream ids. GBPA resets to abort: nothing passes before it is told to."""

    prefix = "SMMU"
    held = ("_bypass",)

    IDR0 = Register(
        0x000,
        access=RO,
        fields={
            "s2p": (0, 0),
            "s1p": (1, 1),
            "ttf": (3, 2),
            "cohacc": (4, 4),
            "btm": (5, 5),
            "httu": (7, 6),
            "ats": (10, 10),
            "msi": (13, 13),
            "sev": (14, 14),
            "pri": (16, 16),
            "vmid16": (18, 18),
            "ttendian": (22, 21),
            "stall_model": (25, 24),
            "term_model": (26, 26),
            "st_level": (28, 27),
        },
        reset=1 | AARCH64 << 2 | 1 << 4 | 1 << 18 | LITTLE_ENDIAN << 21 | TERMINATE_ONLY << 24 | 1 << 26,
        what="Stage 2, AArch64 tables, coherent, no broadcast TLB maintenance, no stalls, linear stream table.",
    )
    IDR1 = Register(
        0x004,
        access=RO,
        fields={"sidsize": (5, 0), "ssidsize": (10, 6), "priqs": (15, 11), "eventqs": (20, 16), "cmdqs": (25, 21)},
        reset=STREAM_ID_BITS | QUEUE_BITS << 16 | QUEUE_BITS << 21,
    )
    IDR2 = Register(0x008, access=RO)
    IDR3 = Register(0x00C, access=RO, fields={"had": (2, 2), "ril": (10, 10), "bbml": (12, 11)})
    IDR4 = Register(0x010, access=RO)
    IDR5 = Register(
        0x014,
        access=RO,
        fields={"oas": (2, 0), "gran4k": (4, 4), "gran16k": (5, 5), "gran64k": (6, 6), "stall_max": (31, 16)},
        reset=OUTPUT_SIZE_44_BITS | 1 << 4,
    )
    IIDR = Register(0x018, access=RO, what="No product: this is a model.")
    AIDR = Register(0x01C, access=RO, fields={"revision": (7, 0)}, what="SMMUv3.0.")

    CR0 = Register(
        0x020, fields={"smmuen": (0, 0), "eventqen": (2, 2), "cmdqen": (3, 3)}, protects=True, what="See CR0ACK."
    )
    CR0ACK = Register(0x024, access=RO, fields={"smmuen": (0, 0), "eventqen": (2, 2), "cmdqen": (3, 3)})
    CR1 = Register(
        0x028,
        fields={
            "queue_ic": (1, 0),
            "queue_oc": (3, 2),
            "queue_sh": (5, 4),
            "table_ic": (7, 6),
            "table_oc": (9, 8),
            "table_sh": (11, 10),
        },
        what="Kept; caches are not modelled.",
    )
    CR2 = Register(
        0x02C,
        fields={"recinvsid": (1, 1), "ptm": (2, 2)},
        what="recinvsid: record accesses of stream ids beyond the table. ptm: as if set, for IDR0.BTM is 0.",
    )
    GBPA = Register(
        0x044,
        fields={
            "memattr": (3, 0),
            "mtcfg": (4, 4),
            "alloccfg": (11, 8),
            "shcfg": (13, 12),
            "privcfg": (17, 16),
            "instcfg": (19, 18),
            "abort": (20, 20),
            "update": (31, 31, WO),
        },
        reset=1 << 20 | 1 << 12,
        protects=True,
        what="What happens to accesses while SMMUEN is 0; taken only with update set.",
    )
    IRQ_CTRL = Register(
        0x050, fields={"gerror_irqen": (0, 0), "eventq_irqen": (2, 2)}, what="Kept; no interrupt line is connected."
    )
    IRQ_CTRLACK = Register(0x054, access=RO, fields={"gerror_irqen": (0, 0), "eventq_irqen": (2, 2)})
    GERROR = Register(
        0x060,
        access=RO,
        fields={"cmdq_err": (0, 0), "eventq_abt_err": (2, 2)},
        what="An error is active while its bit differs from GERRORN's.",
    )
    GERRORN = Register(0x064, fields={"cmdq_err": (0, 0), "eventq_abt_err": (2, 2)})
    STRTAB_BASE = Register(0x080, width=64, fields={"address": (51, 6), "ra": (62, 62)}, protects=True)
    STRTAB_BASE_CFG = Register(
        0x088, fields={"log2size": (5, 0)}, protects=True, what="No SPLIT and FMT: the table is linear."
    )
    CMDQ_BASE = Register(
        0x090, width=64, fields={"log2size": (4, 0), "address": (51, 5), "ra": (62, 62)}, protects=True
    )
    CMDQ_PROD = Register(0x098, fields=QUEUE_POINTER, what="A write makes the SMMU consume commands.")
    CMDQ_CONS = Register(0x09C, fields={"index": (19, 0), "err": (30, 24, CommandError)})
    EVENTQ_BASE = Register(
        0x0A0, width=64, fields={"log2size": (4, 0), "address": (51, 5), "wa": (62, 62)}, protects=True
    )
    EVENTQ_PROD = Register(0x100A8, fields={"index": (19, 0), "ovflg": (31, 31)}, what="On page 1.")
    EVENTQ_CONS = Register(0x100AC, fields={"index": (19, 0), "ovackflg": (31, 31)}, what="On page 1.")

    def __init__(self, window: Window, events: EventSink, native: NativeSmmu) -> None:
        super().__init__(window, events)
        self._native = native
        self._bypass = self.GBPA.value
        self._program(0)

    def write(self, offset: int, size: int, value: int, secure: bool) -> None:
        """As every device; what an enable bit in CR0 guards can be written only while that bit is 0."""
        found = self.find(offset)
        guard = GUARDS.get(found[0]) if found else None
        if guard is not None and self.CR0[guard]:
            self._events.undeclared(self.number, offset, size, value, True, secure)
            return
        super().write(offset, size, value, secure)

    @CR2.on_write
    @STRTAB_BASE.on_write
    @STRTAB_BASE_CFG.on_write
    @CMDQ_BASE.on_write
    @EVENTQ_BASE.on_write
    @EVENTQ_CONS.on_write
    def _program(self, value: int) -> None:
        """Hand the native part everything that software owns."""
        registers = self._native.registers
        registers.cr0, registers.cr2 = self.CR0.value, self.CR2.value
        registers.gbpa, registers.gerrorn = self._bypass, self.GERRORN.value
        registers.strtab_base, registers.strtab_base_cfg = self.STRTAB_BASE.value, self.STRTAB_BASE_CFG.value
        registers.cmdq_base, registers.cmdq_prod = self.CMDQ_BASE.value, self.CMDQ_PROD.value
        registers.eventq_base, registers.eventq_cons = self.EVENTQ_BASE.value, self.EVENTQ_CONS.value

    @CR0.on_write
    @CMDQ_PROD.on_write
    @GERRORN.on_write
    def _go_on(self, value: int) -> None:
        self.CR0ACK.value = self.CR0.value
        self._program(value)
        self._native.consume()

    @GBPA.on_write
    def _bypass_written(self, value: int) -> None:
        if value & self.GBPA.register.fields["update"].mask:
            self._bypass = self.GBPA.value
        self.GBPA.value = self._bypass
        self._program(value)

    @IRQ_CTRL.on_write
    def _interrupts_written(self, value: int) -> None:
        self.IRQ_CTRLACK.value = self.IRQ_CTRL.value

    @CMDQ_CONS.on_write
    def _consumer_written(self, value: int) -> None:
        self._native.registers.cmdq_cons = self.CMDQ_CONS.value

    @EVENTQ_PROD.on_write
    def _event_producer_written(self, value: int) -> None:
        self._native.registers.eventq_prod = self.EVENTQ_PROD.value

    @GERROR.on_read
    def _global_errors(self) -> int:
        return self._native.registers.gerror

    @CMDQ_CONS.on_read
    def _consumer(self) -> int:
        return self._native.registers.cmdq_cons

    @EVENTQ_PROD.on_read
    def _event_producer(self) -> int:
        return self._native.registers.eventq_prod


# Chapter 6: "guarded by" each enable bit.
GUARDS = {
    Smmu.CR1: "smmuen",
    Smmu.CR2: "smmuen",
    Smmu.STRTAB_BASE: "smmuen",
    Smmu.STRTAB_BASE_CFG: "smmuen",
    Smmu.CMDQ_BASE: "cmdqen",
    Smmu.CMDQ_CONS: "cmdqen",
    Smmu.EVENTQ_BASE: "eventqen",
    Smmu.EVENTQ_PROD: "eventqen",
}
