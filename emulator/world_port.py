"""How a Python kernel loads and stores: through the translation and the filters of the world that it lives in."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from emulator.native import ffi, lib
from emulator.world import World

if TYPE_CHECKING:
    from emulator.native._native import Machine as NativeMachine


ANY_VMID = -1


class PortAbort(Exception):
    """A load or store through a port was refused, as a data abort would report it.

    ``syndrome`` is what ESR_EL1 would hold, ``address`` what FAR_EL1 would.
    """

    def __init__(self, syndrome: int, address: int) -> None:
        super().__init__(f"data abort at {address:#x}, ESR {syndrome:#010x}")
        self.syndrome = syndrome
        self.address = address

    @property
    def status(self) -> int:
        """Data fault status code (Arm ARM, ESR_ELx.DFSC)."""
        return self.syndrome & 0x3F


class WorldPort:
    """Loads and stores at EL1 of ``world``, by virtual address; open only while the core stands at EL1 of that world.

    ``vmid``: and with this VMID, where the normal world's EL1 has several contexts; None: whichever.
    Everything is copied: no view of guest memory leaves the port. Native operations that work on guest memory by
    virtual address take ``handle``; Python runs them by `call`.
    """

    def __init__(self, machine: NativeMachine, world: World, vmid: int | None = None) -> None:
        self.world = world
        self.handle = ffi.gc(lib.port_new(machine, world, ANY_VMID if vmid is None else vmid), lib.port_free)
        self._value = ffi.new("uint64_t *")

    def read(self, va: int, size: int) -> bytes:
        """Copy ``size`` bytes of memory. Raises PortAbort; devices are for `load`."""
        buffer = ffi.new("uint8_t[]", size)
        self._check(lib.port_read(self.handle, va, buffer, size))
        return bytes(ffi.buffer(buffer))

    def write(self, va: int, data: bytes) -> None:
        self._check(lib.port_write(self.handle, va, data, len(data)))

    def load(self, va: int, width: int) -> int:
        """One aligned access of ``width`` bytes (1, 2, 4 or 8), devices included."""
        self._check(lib.port_load(self.handle, va, width, self._value))
        return int(self._value[0])

    def store(self, va: int, width: int, value: int) -> None:
        self._check(lib.port_store(self.handle, va, width, value))

    def access_all(self, accesses: tuple[tuple[int, int | None], ...]) -> tuple[int, ...]:
        """Accesses of 4 bytes in order, a load where there is no value: what the loads gave."""
        handle, value, loaded = self.handle, self._value, []
        for va, stored in accesses:
            if stored is not None:
                if not lib.port_store(handle, va, 4, stored):
                    self.check_native()
            elif lib.port_load(handle, va, 4, value):
                loaded.append(int(value[0]))
            else:
                self.check_native()
        return tuple(loaded)

    def is_zero(self, va: int, size: int) -> bool:
        """Whether every byte of the range is zero."""
        zero = ffi.new("bool *")
        self._check(lib.port_is_zero(self.handle, va, size, zero))
        return bool(zero[0])

    def call(self, operation: Callable[..., int], *arguments: int | tuple[int, ...]) -> int:
        """A native operation on guest memory; ask `check_native` when it says that it was refused an access."""
        return operation(self.handle, *arguments)

    def check_native(self) -> None:
        """Raise the abort that a native operation left behind, if any."""
        fault = ffi.new("struct port_fault *")
        lib.port_last_fault(self.handle, fault)
        if fault.syndrome:
            raise PortAbort(int(fault.syndrome), int(fault.address))

    def _check(self, done: bool) -> None:
        if not done:
            self.check_native()
