"""The machine: core, memory, filters and devices, and the run loop as Python sees it."""

from __future__ import annotations

import enum
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Protocol

from emulator.core import Core
from emulator.debug.syndrome import describe_syndrome
from emulator.devices.device import BusError
from emulator.events import EventStream
from emulator.image import Image
from emulator.instructions import InstructionTrace
from emulator.memory_map import DEVICES, DRAM_BASE, MIB, SECURE_SRAM, DramLayout, Reach, Window, device_windows
from emulator.native import ffi, lib
from emulator.state import Holder, MachineState, StateKeeper
from emulator.stops import Access, Position, Stops
from emulator.world import World
from emulator.world_port import WorldPort

if TYPE_CHECKING:
    from emulator.native._native import Machine as NativeMachine
    from emulator.native._native import Pointer

NO_LIMIT = (1 << 64) - 1
STOP_WFI = lib.STOP_WFI  # by far the most frequent one
FIRST_KEPT = 1000  # number of the first holder of state that is no device


class MachineError(Exception):
    """The host cannot give the machine what it needs."""


class Lost(Exception):
    """The core takes exceptions without end, or the engine met what no guest can cause."""


class StopReason(enum.IntEnum):
    """Why `Machine.run` came back."""

    WFI = lib.STOP_WFI
    BUDGET = lib.STOP_BUDGET
    HALTED = lib.STOP_HALTED
    STEP = lib.STOP_STEP
    BREAKPOINT = lib.STOP_BREAKPOINT
    WATCHPOINT = lib.STOP_WATCHPOINT
    EVENT = lib.STOP_AT_EVENT


class Stop(NamedTuple):
    """``pc`` is that of the WFI, or of the next instruction; ``access`` is what met a watchpoint."""

    reason: StopReason
    pc: int
    access: Access | None = None


class MmioDevice(Protocol):
    """A device as the bus sees it; it raises BusError to refuse an access.

    Its state: ``values`` (registers by offset), and attributes that ``held`` names (integers, or sequences of them).
    """

    values: dict[int, int]

    @property
    def held(self) -> tuple[str, ...]: ...

    def read(self, offset: int, size: int, secure: bool) -> int: ...

    def write(self, offset: int, size: int, value: int, secure: bool) -> None: ...


class Machine:
    """A board without its devices: `attach` them, `load` images, `reset`, `run`."""

    def __init__(self, layout: DramLayout) -> None:
        self.layout = layout
        self.native = ffi.gc(
            lib.machine_new(DRAM_BASE, layout.size, SECURE_SRAM.base, SECURE_SRAM.size), lib.machine_free
        )
        if error := ffi.string(lib.machine_error(self.native)):
            raise MachineError(error.decode())
        self.core = Core(self.native)
        self.events = EventStream(self.native)
        self.instruction_trace = InstructionTrace(self.native)
        self.stops = Stops(self.native)
        self._keeper = StateKeeper(self.native)
        self._devices: dict[int, MmioDevice] = {}
        self._kept: dict[int, Holder] = {}
        self._failure: BaseException | None = None
        self._semihosting: Callable[[], None] = lambda: None
        _machines[int(ffi.cast("uintptr_t", self.native))] = self

    def close(self) -> None:
        """Give the host's memory back; the machine is of no use afterwards."""
        if _machines.pop(int(ffi.cast("uintptr_t", self.native)), None):
            self.events.drain()
            ffi.release(self.native)

    def attach(self, window: Window, device: MmioDevice) -> None:
        """Place a device. Its bit in the TZPC's DECPROT registers is its place in `memory_map.DEVICES`.

        Devices that are not among those have no such bit: who reaches them is wired.
        """
        index = device_windows().index(window)
        wired = lib.PROTECTION_OPEN if window.reach is Reach.NORMAL else lib.PROTECTION_SECURE
        self._devices[index] = device
        lib.machine_add_device(self.native, index, window.base, window.size, index if window in DEVICES else wired)

    def keep(self, holder: Holder) -> None:
        """``holder`` is no device, but its state is part of this machine's."""
        self._kept[FIRST_KEPT + len(self._kept)] = holder

    def ask(self, question: Callable[[], int]) -> int:
        """``question()``: whatever else a driver learns from what it has put around the machine, or does to it."""
        return question()

    def leave_alone(self) -> None:
        """For a copy of this process: whoever watches the machine watches the original, and stops no other."""

    def add_flash(self, base: int, size: int) -> None:
        """Memory for flash devices to show. Raises MachineError."""
        if not lib.machine_add_flash(self.native, base, size):
            raise MachineError(f"the host gives no memory for {size // MIB} MiB of flash")

    def show_array(self, window: Window, shown: bool) -> None:
        """Whether reads and fetches of a flash device see its memory."""
        lib.machine_show_array(self.native, device_windows().index(window), shown)

    def answer_semihosting(self, answer: Callable[[], None]) -> None:
        """From now on HLT #0xF000 calls ``answer``: operation in x0, parameter in x1, the result goes to x0."""
        self._semihosting = answer
        lib.core_enable_semihosting(self.native)

    def load(self, image: Image, base: int = 0) -> None:
        """Put an image into memory as a boot ROM would; ``base`` is added to its addresses."""
        for segment in image.segments:
            self.write_physical(base + segment.address, segment.data + bytes(segment.size - len(segment.data)))

    def read_physical(self, address: int, size: int) -> bytes:
        """Memory as a boot ROM or a test sees it: past every filter. Raises ValueError where there is none."""
        buffer = ffi.new("uint8_t[]", size)
        if not lib.memory_read(self.native, address, buffer, size):
            raise ValueError(f"{address:#x}..{address + size:#x} is not memory")
        return bytes(ffi.buffer(buffer))

    def write_physical(self, address: int, data: bytes) -> None:
        if not lib.memory_write(self.native, address, data, len(data)):
            raise ValueError(f"{address:#x}..{address + len(data):#x} is not memory")

    @property
    def devices(self) -> tuple[tuple[Window, MmioDevice], ...]:
        """What is attached, and where, for debuggers."""
        return tuple((device_windows()[index], device) for index, device in sorted(self._devices.items()))

    def read_register(self, window: Window, offset: int) -> int:
        """What a device's register holds, without the side effects of a read. Raises KeyError where there is none."""
        return self._devices[device_windows().index(window)].values[offset]

    def watch_table(self, base: int, size: int) -> None:
        """Changes of the bytes in this table become OWNERSHIP events. Raises MachineError."""
        if not lib.core_watch_table(self.native, base, size):
            raise MachineError(f"the host gives no memory to watch a table of {size:,} bytes")

    def reset(self, entry: int) -> None:
        """Put the core at ``entry``, EL3, MMU off, everything masked."""
        lib.core_reset(self.native, entry)

    def save(self) -> MachineState:
        """All that the guest could ever see of this machine; costs what has changed since the last `save`."""
        return self._keeper.save({**self._devices, **self._kept})

    def restore(self, state: MachineState) -> None:
        """Be in ``state``, that of a machine put together like this one.

        Raises StateError; the machine is then of no use.
        """
        self._keeper.restore(state, {**self._devices, **self._kept})

    def port(self, world: World, vmid: int | None = None) -> WorldPort:
        return WorldPort(self.native, world, vmid)

    @property
    def instructions(self) -> int:
        """Guest time."""
        return int(lib.core_instructions(self.native))

    @property
    def position(self) -> Position:
        """Guest time, and what tells positions at the same guest time apart."""
        return self.stops.position()

    def run(self, until: int | None = None) -> Stop:
        """Run to a WFI, until guest time reaches ``until``, to the exact instruction, or to one of `stops`.

        Raises what a device raised, KeyboardInterrupt, or Lost.
        """
        limit = NO_LIMIT if until is None else until
        while True:
            reason = lib.core_run(self.native, limit)
            if self.events.prompt or reason == lib.STOP_EVENTS:
                self.events.drain()
            self.instruction_trace.drain()
            if reason == STOP_WFI:
                return Stop(StopReason.WFI, self.core.pc - 4)
            if reason == lib.STOP_EVENTS:
                continue
            if reason == lib.STOP_SEMIHOSTING:
                self._semihosting()
                if not self.stops.stepping:
                    continue
                reason = lib.STOP_STEP
            if reason == lib.STOP_INTERRUPTED:
                raise KeyboardInterrupt
            if reason == lib.STOP_CALLBACK and self._failure:
                failure, self._failure = self._failure, None
                raise failure
            pc = self.core.pc
            if reason == lib.STOP_LOST:
                raise Lost(self._describe_loss(pc))
            access = self.stops.last_access() if reason == lib.STOP_WATCHPOINT else None
            return Stop(StopReason(reason), pc, access)

    def halt(self) -> None:
        """For devices: the machine stops after the instruction that it is at."""
        lib.core_halt(self.native)

    def time_to_next_event(self) -> int | None:
        """Instructions until something happens by itself; None: nothing will."""
        due = int(lib.core_next_event(self.native))
        return None if due == NO_LIMIT else max(due - self.instructions, 0)

    def advance_to_next_event(self) -> bool:
        """Guest time jumps to the next event of a device, as in a WFI; False: nothing will ever happen."""
        due = int(lib.core_next_event(self.native))
        if due == NO_LIMIT:
            return False
        lib.core_advance(self.native, due)
        return True

    def wait_for_npu(self) -> bool:
        """Guest time jumps to the end of the NPU's jobs, or to an interrupt before; False: it is idle already."""
        return bool(lib.core_wait_for_npu(self.native))

    def _describe_loss(self, pc: int) -> str:
        error = ffi.string(lib.machine_error(self.native)).decode()
        if error:
            return error
        first = ffi.new("struct first_fault *")
        lib.core_first_fault(self.native, first)
        cause = f"{describe_syndrome(first.syndrome)} (ESR {first.syndrome:#x}) at {first.pc:#x} in EL{first.level}"
        return f"the vector table of EL{self.core.level} faults for ever at {pc:#x}, first after: {cause}"

    def access_device(self, device: int, offset: int, size: int, write: bool, secure: bool, value: int) -> int | None:
        try:
            if write:
                self._devices[device].write(offset, size, value, secure)
                return value
            return self._devices[device].read(offset, size, secure)
        except BusError:
            return None

    def device_failed(self, failure: BaseException) -> None:
        self._failure = failure
        lib.machine_callback_failed(self.native)


_machines: weakref.WeakValueDictionary[int, Machine] = weakref.WeakValueDictionary()


def _device_access_failed(_: type[BaseException], failure: BaseException, trace: object) -> None:
    """No exception can pass through C: `Machine.run` raises it again. A signal's may arise outside any ``try``."""
    assert isinstance(trace, TracebackType)
    _machines[int(ffi.cast("uintptr_t", trace.tb_frame.f_locals["native"]))].device_failed(failure)


@ffi.def_extern(onerror=_device_access_failed)
def device_access(
    native: NativeMachine, device: int, offset: int, size: int, write: bool, secure: bool, value: Pointer[int]
) -> bool:
    machine = _machines[int(ffi.cast("uintptr_t", native))]
    result = machine.access_device(device, offset, size, write, secure, int(value[0]))
    if result is None:
        return False
    value[0] = result
    return True
