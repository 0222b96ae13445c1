"""All devices of the platform on one machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from emulator import memory_map
from emulator.memory_map import DramLayout, Nsaid, StreamId, Window
from emulator.native import lib

from .device import Device
from .gic import Gic
from .native import NativeChannel, NativeEvents, NativeFilter, NativeGic, NativeNpu, NativeProtection, NativeSmmu
from .npu import Npu
from .smmu import Smmu
from .storage import Storage
from .trusted import Trusted
from .tzc400 import Tzc400
from .tzpc import Tzpc
from .uart import Uart

if TYPE_CHECKING:
    from emulator.machine import MmioDevice
    from emulator.native._native import Machine as NativeMachine

STORAGE_CHANNEL = 0


class Host(Protocol):
    """The machine that the devices are put on."""

    native: NativeMachine
    layout: DramLayout

    def attach(self, window: Window, device: MmioDevice) -> None: ...


@dataclass(frozen=True)
class Board:
    """The platform's devices, attached."""

    uart0: Uart
    uart1: Uart
    smmu: Smmu
    tzasc: Tzc400
    tzpc: Tzpc
    trusted: Trusted
    storage: Storage
    gic: Gic
    npu: Npu


def populate(machine: Host, *, seed: int = 0, device_id: int = 0) -> Board:
    """Put every device on ``machine``, as it comes out of reset.

    ``seed`` drives the TRNG, ``device_id`` (0 to 2^64 - 1) the key fuses.
    """
    native, events = machine.native, NativeEvents(machine.native)
    channel = NativeChannel(native, STORAGE_CHANNEL, StreamId.STORAGE, Nsaid.STORAGE)
    board = Board(
        uart0=Uart(memory_map.UART0, events),
        uart1=Uart(memory_map.UART1, events),
        smmu=Smmu(memory_map.SMMU, events, NativeSmmu(native)),
        tzasc=Tzc400(memory_map.TZASC, events, NativeFilter(native)),
        tzpc=Tzpc(memory_map.TZPC, events, NativeProtection(native)),
        trusted=Trusted(
            memory_map.TRUSTED,
            events,
            dram_bytes=machine.layout.size,
            device_id=device_id,
            seed=seed,
            power_off=lambda: lib.core_halt(native),
        ),
        storage=Storage(memory_map.STORAGE, events, channel),
        gic=Gic(NativeGic(native)),
        npu=Npu(NativeNpu(native)),
    )
    devices: tuple[Device, ...] = (
        board.uart0,
        board.uart1,
        board.smmu,
        board.tzasc,
        board.tzpc,
        board.trusted,
        board.storage,
    )
    for device in devices:
        machine.attach(device.window, device)
    for window, frame in (*board.gic.frames, *board.npu.frames):
        machine.attach(window, frame)
    for uart in (board.uart0, board.uart1):
        board.gic.connect(uart)
    return board
