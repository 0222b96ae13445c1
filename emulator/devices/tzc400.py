"""CoreLink TZC-400 (Arm DDI 0504): decides per bus master and region who may read and write DRAM.

One filter unit, region 0 and eight more. The judging itself is native; here are the registers that steer it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Protocol

from emulator.memory_map import PAGE_SIZE, Window
from emulator.registers import RO, WO, Register

from .device import Device, EventSink

REGIONS = 9
STRIDE = 0x20
ADDRESS_BITS = 44
TOP_ONES = PAGE_SIZE - 1  # a top is inclusive: its low bits read as ones
HIGH_ONES = (1 << ADDRESS_BITS - 32) - 1
LOW_ONES = (1 << 32) - 1


class Reaction(enum.IntEnum):
    """ACTION: what a denied access causes besides the latch."""

    NONE = 0
    BUS_ERROR = 1
    INTERRUPT = 2
    BUS_ERROR_AND_INTERRUPT = 3


@dataclass(frozen=True)
class Region:
    """``base`` to ``top`` (inclusive); ``normal_*`` have a bit for each NSAID."""

    base: int
    top: int
    enabled: bool
    secure_read: bool
    secure_write: bool
    normal_read: int
    normal_write: int


@dataclass(frozen=True)
class Failure:
    """The first denied access since INT_CLEAR, if ``latched``; the other flags are INT_STATUS's."""

    latched: bool = False
    overrun: bool = False
    overlap: bool = False
    privileged: bool = False
    non_secure: bool = False
    write: bool = False
    nsaid: int = 0
    address: int = 0


class Filter(Protocol):
    """The native filter unit."""

    def set_region(self, index: int, region: Region) -> None: ...

    def set_control(self, gate_open: bool, bus_error: bool) -> None: ...

    def failure(self) -> Failure: ...

    def clear_failure(self) -> None: ...


class Tzc400(Device):
    """CoreLink TZC-400, one filter unit, 44 address bits."""

    prefix = "TZC400"

    BUILD_CONFIG = Register(
        0x000,
        access=RO,
        fields={"regions": (4, 0), "address_width": (13, 8), "filters": (25, 24)},
        reset=REGIONS - 1 | ADDRESS_BITS - 1 << 8,
        what="Each field holds its number less one.",
    )
    ACTION = Register(0x004, fields={"reaction": (1, 0, Reaction)}, protects=True)
    GATE_KEEPER = Register(
        0x008,
        fields={"open_request": (3, 0), "open_status": (19, 16, RO)},
        protects=True,
        what="While the gate is closed nothing passes the filter unit.",
    )
    SPECULATION_CTRL = Register(
        0x00C, fields={"read_disable": (0, 0), "write_disable": (1, 1)}, what="Kept; no access here is speculative."
    )
    INT_STATUS = Register(
        0x010,
        access=RO,
        fields={"status": (3, 0), "overrun": (11, 8), "overlap": (19, 16)},
        what="Set whatever ACTION says.",
    )
    INT_CLEAR = Register(0x014, access=WO, fields={"clear": (3, 0)})

    FAIL_ADDRESS_LOW = Register(0x020, access=RO)
    FAIL_ADDRESS_HIGH = Register(0x024, access=RO)
    FAIL_CONTROL = Register(
        0x028, access=RO, fields={"privileged": (20, 20), "non_secure": (21, 21), "write": (24, 24)}
    )
    FAIL_ID = Register(
        0x02C, access=RO, fields={"id": (15, 0), "vnet": (27, 24)}, what="A master's AXI ID is its NSAID on this board."
    )

    REGION_BASE_LOW = Register(
        0x100, count=REGIONS, stride=STRIDE, fields={"address": (31, 12)}, protects=True, what="Fixed for region 0."
    )
    REGION_BASE_HIGH = Register(
        0x104, count=REGIONS, stride=STRIDE, fields={"address": (11, 0)}, protects=True, what="Fixed for region 0."
    )
    REGION_TOP_LOW = Register(
        0x108,
        count=REGIONS,
        stride=STRIDE,
        fields={"address": (31, 12), "ones": (11, 0, RO)},
        reset=(LOW_ONES, *[TOP_ONES] * (REGIONS - 1)),
        protects=True,
        what="Inclusive. Fixed for region 0.",
    )
    REGION_TOP_HIGH = Register(
        0x10C,
        count=REGIONS,
        stride=STRIDE,
        fields={"address": (11, 0)},
        reset=(HIGH_ONES, *[0] * (REGIONS - 1)),
        protects=True,
        what="Fixed for region 0.",
    )
    REGION_ATTRIBUTES = Register(
        0x110,
        count=REGIONS,
        stride=STRIDE,
        fields={"filter_enable": (3, 0), "secure_read": (30, 30), "secure_write": (31, 31)},
        reset=(1, *[0] * (REGIONS - 1)),
        protects=True,
        what="Region 0 is always on.",
    )
    REGION_ID_ACCESS = Register(
        0x114,
        count=REGIONS,
        stride=STRIDE,
        fields={"normal_read": (15, 0), "normal_write": (31, 16)},
        protects=True,
        what="A bit for each NSAID.",
    )

    PERIPHERAL_ID_4 = Register(0xFD0, access=RO, fields={"id": (7, 0)}, count=4, reset=(0x04, 0, 0, 0))
    PERIPHERAL_ID_0 = Register(0xFE0, access=RO, fields={"id": (7, 0)}, count=4, reset=(0x60, 0xB4, 0x2B, 0x00))
    COMPONENT_ID = Register(0xFF0, access=RO, fields={"id": (7, 0)}, count=4, reset=(0x0D, 0xF0, 0x05, 0xB1))

    def __init__(self, window: Window, events: EventSink, filter_unit: Filter) -> None:
        super().__init__(window, events)
        self._filter = filter_unit
        for index in range(REGIONS):
            self._program(index)
        self._control()

    @GATE_KEEPER.on_write
    def _gate_requested(self, value: int) -> None:
        """Only filter unit 0 exists; it follows its request at once."""
        self.GATE_KEEPER["open_status"] = value & 1
        self._control()

    @ACTION.on_write
    def _reaction_chosen(self, value: int) -> None:
        self._control()

    @INT_STATUS.on_read
    def _status(self) -> int:
        failure = self._filter.failure()
        return failure.latched | failure.overrun << 8 | failure.overlap << 16

    @INT_CLEAR.on_write
    def _clear(self, value: int) -> None:
        if value & 1:
            self._filter.clear_failure()

    @FAIL_ADDRESS_LOW.on_read
    def _fail_address_low(self) -> int:
        return self._filter.failure().address & LOW_ONES

    @FAIL_ADDRESS_HIGH.on_read
    def _fail_address_high(self) -> int:
        return self._filter.failure().address >> 32

    @FAIL_CONTROL.on_read
    def _fail_control(self) -> int:
        failure = self._filter.failure()
        return failure.privileged << 20 | failure.non_secure << 21 | failure.write << 24

    @FAIL_ID.on_read
    def _fail_id(self) -> int:
        return self._filter.failure().nsaid

    @REGION_BASE_LOW.on_write
    @REGION_BASE_HIGH.on_write
    @REGION_TOP_LOW.on_write
    @REGION_TOP_HIGH.on_write
    @REGION_ATTRIBUTES.on_write
    @REGION_ID_ACCESS.on_write
    def _region_written(self, value: int, index: int) -> None:
        if index == 0:
            self._restore_region_0()
        self._program(index)

    def _restore_region_0(self) -> None:
        """Only its permissions can be written: it is the whole space, always, for every filter."""
        bounds = (self.REGION_BASE_LOW, self.REGION_BASE_HIGH, self.REGION_TOP_LOW, self.REGION_TOP_HIGH)
        for bound in bounds:
            bound.value = bound.register.resets[0]
        self.REGION_ATTRIBUTES["filter_enable"] = 1

    def _program(self, index: int) -> None:
        attributes, access = self.REGION_ATTRIBUTES.at(index), self.REGION_ID_ACCESS.at(index)
        self._filter.set_region(
            index,
            Region(
                base=self.REGION_BASE_HIGH.at(index).value << 32 | self.REGION_BASE_LOW.at(index).value,
                top=self.REGION_TOP_HIGH.at(index).value << 32 | self.REGION_TOP_LOW.at(index).value,
                enabled=bool(attributes["filter_enable"] & 1),
                secure_read=bool(attributes["secure_read"]),
                secure_write=bool(attributes["secure_write"]),
                normal_read=access["normal_read"],
                normal_write=access["normal_write"],
            ),
        )

    def _control(self) -> None:
        self._filter.set_control(
            gate_open=bool(self.GATE_KEEPER["open_status"]),
            bus_error=bool(self.ACTION["reaction"] & Reaction.BUS_ERROR),
        )
