"""The devices' native parts, as the devices want to see them. Everything that devices call in C is here."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from emulator.memory_map import (
    FIRST_SPI,
    GIC_CPU,
    GIC_DISTRIBUTOR,
    GIC_GUEST,
    GIC_HYPERVISOR,
    NPU0,
    NPU1,
    NPU2,
    Nsaid,
    StreamId,
    Window,
    device_windows,
)
from emulator.native import ffi, lib

from .device import BusError, Line
from .storage import Cause, Medium, Progress
from .tzc400 import Failure, Region

if TYPE_CHECKING:
    from emulator.native._native import CData, Machine, SmmuRegisters


class NativeEvents:
    """The event stream."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def device_write(self, device: int, offset: int, size: int, value: int, secure: bool) -> None:
        self._emit(lib.EVENT_DEVICE_WRITE, device, offset, size, value, secure)

    def undeclared(self, device: int, offset: int, size: int, value: int, write: bool, secure: bool) -> None:
        self._emit(lib.EVENT_UNDECLARED, device, offset, size, value, write, secure)

    def _emit(self, kind: int, *args: int) -> None:
        lib.events_emit(self._machine, kind, args, len(args))


class NativeFilter:
    """The TZC-400's filter unit."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def set_region(self, index: int, region: Region) -> None:
        lib.tzasc_set_region(self._machine, index, ffi.new("struct tzasc_region *", asdict(region)))

    def set_control(self, gate_open: bool, bus_error: bool) -> None:
        lib.tzasc_set_control(self._machine, gate_open, bus_error)

    def failure(self) -> Failure:
        latch = ffi.new("struct tzasc_failure *")
        lib.tzasc_failure(self._machine, latch)
        return Failure(
            latched=latch.latched,
            overrun=latch.overrun,
            overlap=latch.overlap,
            privileged=latch.privileged,
            non_secure=latch.non_secure,
            write=latch.write,
            nsaid=latch.nsaid,
            address=latch.address,
        )

    def clear_failure(self) -> None:
        lib.tzasc_clear_failure(self._machine)


class NativeProtection:
    """What the TZPC controls."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def set(self, secure_sram_pages: int, normal_devices: int) -> None:
        lib.tzpc_set(self._machine, secure_sram_pages, normal_devices)


class NativeSmmu:
    """Stream table, TLB and queues of the SMMU. Raises MemoryError if the host has no memory for the TLB."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        if not lib.smmu_attach(machine):
            raise MemoryError("the host gives no memory for the SMMU's TLB")

    @property
    def registers(self) -> SmmuRegisters:
        return lib.smmu_registers(self._machine)

    def consume(self) -> None:
        lib.smmu_consume(self._machine)


class NativeChannel:
    """A DMA master: ``number`` is its place among the machine's."""

    def __init__(self, machine: Machine, number: int, stream: StreamId, nsaid: Nsaid) -> None:
        self._machine = machine
        self._number = number
        self._medium: CData = ffi.NULL  # keeps the medium's memory alive
        lib.dma_attach(machine, number, stream, nsaid)

    def insert(self, medium: Medium | None, writable: bool) -> None:
        if medium is None:
            lib.dma_set_medium(self._machine, self._number, ffi.NULL, 0, False)
            self._medium = ffi.NULL
            return
        buffer = ffi.from_buffer("uint8_t[]", medium, require_writable=writable)
        lib.dma_set_medium(self._machine, self._number, buffer, memoryview(medium).nbytes, writable)
        self._medium = buffer

    def start(self, position: int, address: int, size: int, to_memory: bool) -> None:
        lib.dma_start(self._machine, self._number, position, address, size, to_memory)

    def progress(self) -> Progress:
        state = ffi.new("struct dma_progress *")
        lib.dma_progress(self._machine, self._number, state)
        return Progress(state.busy, Cause(state.error), state.moved)


class NativeFrame:
    """One of the GIC's register frames; the bus serves it by itself."""

    def __init__(self, machine: Machine, frame: int, window: Window) -> None:
        self._machine = machine
        self._frame = frame
        lib.gic_add_frame(machine, device_windows().index(window), frame)

    def peek(self, offset: int) -> int:
        """A 32-bit register in the secure view; nothing is acknowledged by it."""
        return int(lib.gic_peek(self._machine, self._frame, offset))

    def read(self, offset: int, size: int, secure: bool) -> int:
        value = ffi.new("uint32_t *")
        lib.gic_read(self._machine, self._frame, offset, size, secure, value)
        return int(value[0])

    def write(self, offset: int, size: int, value: int, secure: bool) -> None:
        lib.gic_write(self._machine, self._frame, offset, size, secure, value)


class NativeGic:
    """The interrupt controller, as it comes out of reset."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        lib.gic_attach(machine)
        self.distributor = NativeFrame(machine, lib.GIC_DISTRIBUTOR, GIC_DISTRIBUTOR)
        self.interface = NativeFrame(machine, lib.GIC_INTERFACE, GIC_CPU)
        self.hypervisor = NativeFrame(machine, lib.GIC_HYPERVISOR, GIC_HYPERVISOR)
        self.guest = NativeFrame(machine, lib.GIC_GUEST, GIC_GUEST)

    def line(self, interrupt: int) -> Line:
        """A function that sets the level of input ``interrupt`` (16 and above, as the GIC numbers them)."""
        return lambda level: lib.gic_set_level(self._machine, interrupt, level)


class NativeNpuWindow:
    """One of the NPU's windows; the bus serves it by itself. ``number``: 0 NPU_CONTROL, then the cores."""

    def __init__(self, machine: Machine, number: int, window: Window) -> None:
        self._machine = machine
        self._number = number
        lib.npu_add_window(machine, device_windows().index(window), number)

    def peek(self, offset: int) -> int:
        return int(lib.npu_peek(self._machine, self._number, offset))

    def read(self, offset: int, size: int, secure: bool) -> int:
        value = ffi.new("uint32_t *")
        self._check(lib.npu_read(self._machine, self._number, offset, size, value), offset, size)
        return int(value[0])

    def write(self, offset: int, size: int, value: int, secure: bool) -> None:
        self._check(lib.npu_write(self._machine, self._number, offset, size, value), offset, size)

    def _check(self, result: int, offset: int, size: int) -> None:
        if result == lib.NPU_NO_ANSWER:
            raise BusError(f"the NPU's window {self._number} does not answer to {size} bytes at {offset:#x}")


@dataclass(frozen=True)
class NpuCounters:
    """What a core has done since it was made."""

    jobs: int
    tasks: int
    macs: int


class NativeNpu:
    """The NPU, without power. Raises MemoryError if the host has no memory for its buffers."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        if not lib.npu_attach(machine):
            raise MemoryError("the host gives no memory for the NPU's buffers")
        streams, nsaids = (StreamId.NPU0, StreamId.NPU1, StreamId.NPU2), (Nsaid.NPU0, Nsaid.NPU1, Nsaid.NPU2)
        for core, (place, stream, nsaid) in enumerate(zip((NPU0, NPU1, NPU2), streams, nsaids, strict=True)):
            assert place.spi is not None
            lib.npu_wire(machine, core, stream, nsaid, FIRST_SPI + place.spi)

    def window(self, number: int, place: Window) -> NativeNpuWindow:
        return NativeNpuWindow(self._machine, number, place)

    def counters(self, core: int) -> NpuCounters:
        counters = ffi.new("struct npu_counters *")
        lib.npu_counters(self._machine, core, counters)
        return NpuCounters(counters.jobs, counters.tasks, counters.macs)
