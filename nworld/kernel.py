"""The normal kernel: boots, and runs one thread at a time for the apps, serving the secure world's requests in it.

An interrupt is served by a thread of its own, which ends before the interrupted one goes on.
"""

from __future__ import annotations

from collections.abc import Callable

from emulator.gate import (
    Argument,
    Arrival,
    Flow,
    FlowFactory,
    Gate,
    GateFault,
    Interrupted,
    Notice,
    Operations,
    Registers,
    Runner,
    Thread,
    notice,
    smc,
    unmask,
)
from emulator.memory_map import NORMAL_IMAGE_END
from emulator.world_port import WorldPort
from monitor.abi import PSCI_SYSTEM_OFF
from monitor.services.messages import Request, RequestStatus

from .apps.matmul import MatmulApp
from .background import Background
from .client import SHARED_PAGES, Client
from .flexmem import FlexMem
from .gic import Gic
from .npu import NpuDriver
from .npu_share import NpuShare
from .pages import PageAllocator
from .secure import SecureDriver
from .storage import StorageDriver, TransferFailed


class NormalKernel:
    """Lives in ``gate`` with ``port``; ``show`` takes what apps show their user."""

    def __init__(
        self,
        gate: Gate,
        port: WorldPort,
        operations: Operations,
        clock: Callable[[], int],
        show: Callable[[Notice], None],
    ) -> None:
        self.runner = Runner(gate, port, operations, clock, self._thread_ended, show)
        self.ended: Thread | None = None
        self.pages: PageAllocator
        self.flexmem: FlexMem
        self.client: Client
        self.storage = StorageDriver()
        self.gic = Gic()
        self.background = Background(self.gic)
        self.secure = SecureDriver(
            {
                Request.ALLOCATE_PAGES: self._allocate_pages,
                Request.LOAD_BLOCKS: self._load_blocks,
                Request.FREE_PAGES: self._free_pages,
                Request.TOKEN: self._token,
                Request.PROGRESS: self._progress,
            },
            self.background.turn,
            self._interrupted,
        )
        self.share = NpuShare(NpuDriver(), self.gic)
        self.matmul: MatmulApp | None = None
        self.gate = gate
        self._set_aside: Interrupted | None = None

    def arrived(self, arrival: Arrival) -> None:
        """Go on from ``arrival``; leaves the core at a site of the gate, or a thread in ``ended``. Raises GateFault."""
        match arrival:
            case Arrival.RETURN | Arrival.IDLE:
                self.runner.returned()
            case Arrival.PROBE | Arrival.SYNC | Arrival.SERROR if self.runner.executing:
                self.runner.executed(arrival)
            case Arrival.IRQ:
                self._set_aside = self.runner.set_aside()
                self.runner.resume(self.runner.start("interrupt", self.gic.serve))
            case Arrival.BOOT:
                self.start("boot", self._boot, self.gate.registers(2))
            case _:
                raise GateFault(f"the normal kernel cannot go on from {arrival.value}")

    def start(self, name: str, flow: FlowFactory, arguments: tuple[Argument, ...] = ()) -> None:
        """Run a flow in a thread of its own; ``ended`` is that thread once it has."""
        self.ended = None
        self.runner.resume(self.runner.start(name, flow, arguments))

    def start_matmul(self) -> Flow[None]:
        """The app that uses the NPU runs from now on, beside whatever else does."""
        self.matmul = MatmulApp(self.share, self.pages.allocate())
        yield from self.background.start(self.matmul.run())

    def power_off(self) -> Flow[Registers]:
        """PSCI SYSTEM_OFF; returns only if the monitor refuses."""
        return (yield from smc(PSCI_SYSTEM_OFF.function))

    def _boot(self, base: int, end: int) -> Flow[None]:
        """DRAM of this world is [``base``, ``end``); its first pages hold this kernel."""
        yield from self._take_interrupts()
        self.pages = PageAllocator(NORMAL_IMAGE_END, end)
        self.flexmem = FlexMem(self.pages, self.secure)
        self.client = Client(self.secure, self.flexmem, self.pages.allocate(SHARED_PAGES.bit_length() - 1))
        yield from self.client.share()

    def _allocate_pages(self, pages: int, _: int, __: int) -> Flow[Registers]:
        base, count = yield from self.flexmem.grant(pages)
        return (RequestStatus.DONE if count else RequestStatus.OUT_OF_MEMORY, base, count)

    def _load_blocks(self, block: int, base: int, pages: int) -> Flow[Registers]:
        try:
            yield from self.storage.load(block, base, pages)
        except TransferFailed:
            return (RequestStatus.STORAGE_FAILED, block)
        return (RequestStatus.DONE,)

    def _free_pages(self, base: int, pages: int, _: int) -> Flow[Registers]:
        if pages:
            yield from self.flexmem.declined(base, pages)
        yield from self.flexmem.take_back()
        return (RequestStatus.DONE,)

    def _token(self, token: int, size: int, more: int) -> Flow[Registers]:
        yield from self.client.token(token, size, bool(more))
        return (RequestStatus.DONE,)

    def _progress(self, pages: int, total: int, _: int) -> Flow[Registers]:
        yield from notice("progress", pages, total)
        return (RequestStatus.DONE,)

    def _take_interrupts(self) -> Flow[None]:
        """From now on."""
        yield from self.gic.start()
        yield from unmask()

    def _interrupted(self) -> Flow[None]:
        """The secure world was preempted. An interrupt that did it has been served by now; the tick brings a turn."""
        yield from self.background.turn_if_due()

    def _thread_ended(self, thread: Thread) -> None:
        if self._set_aside:
            self.runner.take_up(self._set_aside)
            self._set_aside = None
            self.gate.end_interrupt()
        else:
            self.ended = thread
