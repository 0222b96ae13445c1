"""The whole phone: a machine with its devices and firmware, and the two kernels in their gates.

`System` boots it, carries each stop of the core to the kernel whose gate it is, and runs requests of the normal world
from beginning to end.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from emulator.devices.board import populate
from emulator.events import EventKind
from emulator.gate import MEMORY_OPERATIONS, Argument, Arrival, FlowFactory, Gate, GateFault, Notice, Result
from emulator.image import Image
from emulator.machine import Machine, StopReason
from emulator.memory_map import (
    DRAM_DEFAULT,
    NORMAL_IMAGE_BASE,
    PAGE_SIZE,
    PROBE_IMAGE_BASE,
    DramLayout,
)
from emulator.product_check import PRODUCT_CHECK_OPERATIONS
from emulator.tensor import TENSOR_OPERATIONS
from emulator.world import World
from firmware.build import ELF_FOLDER, image_path
from monitor.abi import Vmid
from nworld.driver_context import DriverContext
from nworld.kernel import NormalKernel
from nworld.npu_sandbox import NpuSandbox
from sworld.kernel import SecureKernel
from sworld.loader import LOADER_OPERATIONS

from .meter import Meter

Show = Callable[[Notice], None]

TOKEN_BYTES = 48  # of a token's text in an event
MAX_VAIN_WAITS = 1_000  # in a row
MONITOR_LEVEL = 3


@dataclass(frozen=True)
class Images:
    """The firmware, as built from firmware/."""

    monitor: Image
    gate: Image
    probe: Image

    @classmethod
    def load(cls, folder: Path = ELF_FOLDER) -> Images:
        """Raises StaleBuildError, ImageError."""
        return cls(*(Image.load(image_path(name, folder)) for name in ("monitor", "gate", "probe")))


@dataclass(frozen=True)
class FlexMemPages:
    """4 KiB pages since boot. ``requested`` by recalls; ``recalled``: what those got, by release or by force."""

    allocated: int
    locked: int
    requested: int
    recalled: int
    reclaimed: int
    forced: int


@dataclass(frozen=True)
class Generation:
    """What one request gave. ``stop``: "length" or "end"."""

    text: str
    tokens: tuple[int, ...]
    prompt_tokens: int
    stop: str


@dataclass(frozen=True)
class NpuUsage:
    """Of the NPU since boot. ``jobs`` and ``macs`` (multiply-accumulates): the secure world's whose sums were right.

    ``switches`` between the worlds, either way; ``normal_jobs``: of the app; ``recalls``: it had to ask for the NPU.
    """

    jobs: int
    switches: int
    normal_jobs: int
    recalls: int
    macs: int


@dataclass(frozen=True)
class Usage:
    """What everything since boot took."""

    flexmem: FlexMemPages
    npu: NpuUsage
    smc: dict[str, int]
    world_switches: int
    guest_instructions: int


class PoweredOff(Exception):
    """The phone was switched off in the middle of a request, or reset, after which it is to be made anew."""


class System:
    """A phone, not booted yet: provision ``board.trusted``, insert a medium into ``board.storage``, then `boot`.

    ``dram_bytes``: 64 MiB to 16 GiB in steps of 2 MiB; ``seed`` drives the TRNG, ``device_id`` the key fuses; ``show``
    takes what apps show their user, as it comes. The kernels may be others, to see what uncooperative ones can do;
    ``make_machine`` may give a machine that somebody watches; ``stopped`` is called whenever the core has stopped,
    before a kernel acts. Matrix products are the NPU's, without ``use_npu`` the processor's; ``npu_app``: an app of the
    normal world uses the NPU as well.
    """

    def __init__(
        self,
        dram_bytes: int = DRAM_DEFAULT,
        *,
        seed: int = 0,
        device_id: int = 0,
        images: Images | None = None,
        show: Show = lambda notice: None,
        secure_kernel: type[SecureKernel] = SecureKernel,
        normal_kernel: type[NormalKernel] = NormalKernel,
        driver_context: type[DriverContext] = NpuSandbox,
        use_npu: bool = True,
        npu_app: bool = False,
        make_machine: Callable[[DramLayout], Machine] = Machine,
        stopped: Callable[[], None] = lambda: None,
    ) -> None:
        images = images or Images.load()
        self._stopped = stopped
        self.machine = make_machine(DramLayout(dram_bytes))
        self.machine.watch_table(self.machine.layout.ownership_base, self.machine.layout.pages)
        self._show = show
        self._npu_app = npu_app
        self.board = populate(self.machine, seed=seed, device_id=device_id)
        self.meter = Meter(self.machine.events)
        self._vain_waits = 0
        self._fell_through = False
        self._monitor_halted = images.monitor.symbols["monitor_halted"]
        self.probe = {name: PROBE_IMAGE_BASE + offset for name, offset in images.probe.symbols.items()}
        secure_base, driver_base = self.machine.layout.secure_base, self.machine.layout.driver_base
        self.machine.load(images.monitor)
        self.machine.load(images.gate, secure_base)
        self.machine.load(images.gate, NORMAL_IMAGE_BASE)
        self.machine.load(images.gate, driver_base)
        self.machine.load(images.probe, PROBE_IMAGE_BASE)
        self.secure = secure_kernel(
            Gate(self.machine.core, World.SECURE, images.gate.symbols, secure_base),
            self.machine.port(World.SECURE),
            {**MEMORY_OPERATIONS, **TENSOR_OPERATIONS, **LOADER_OPERATIONS, **PRODUCT_CHECK_OPERATIONS},
            self._clock,
            secure_base + _size(images.gate),
            use_npu=use_npu,
        )
        symbols, probe_end = images.gate.symbols, self.probe["probe_done"]
        self.normal = normal_kernel(
            Gate(self.machine.core, World.NORMAL, symbols, NORMAL_IMAGE_BASE, probe_end, Vmid.NORMAL),
            self.machine.port(World.NORMAL, Vmid.NORMAL),
            MEMORY_OPERATIONS,
            self._clock,
            self._shown,
        )
        self.driver = driver_context(
            Gate(self.machine.core, World.NORMAL, symbols, driver_base, vmid=Vmid.DRIVER),
            self.machine.port(World.NORMAL, Vmid.DRIVER),
            {},
            self._clock,
        )
        self._kernels = (self.secure, self.driver, self.normal)
        self.machine.reset(images.monitor.entry)
        for index, base in enumerate((secure_base, NORMAL_IMAGE_BASE, driver_base)):
            self.machine.core.x[index] = base + images.gate.entry

    def boot(self) -> None:
        """Run until the normal kernel has booted, and its app has begun if there is to be one."""
        self._run_until_ended()
        if self._npu_app:
            self.run("matmul", self.normal.start_matmul)

    def open(self, slot: str) -> None:
        """Load the model of ``slot``. Raises nworld.secure.ServiceFailed."""
        self.run("open", self.normal.client.open, slot)

    def generate(
        self,
        prompt: str,
        tokens: int,
        temperature: float = 0.0,
        top_p: float = 1.0,
        recalls: tuple[tuple[int, int], ...] = (),
    ) -> Generation:
        """Continue ``prompt`` with the open model.

        ``recalls``: (T, pages) takes pages back before generated token T (1-based) is computed. Raises
        nworld.secure.ServiceFailed, nworld.client.PromptTooLong.
        """
        self.run("generate", self.normal.client.generate, prompt.encode(), tokens, temperature, top_p, recalls)
        done = self.normal.client.generation
        return Generation(
            done.text.decode(errors="replace"), tuple(done.tokens), done.prompt_tokens, done.stop.name.lower()
        )

    def close(self) -> None:
        """Forget the open model; all of its pages return to the normal world."""
        self.run("close", self.normal.client.close)

    def power_off(self) -> None:
        """PSCI SYSTEM_OFF."""
        self.normal.start("power_off", self.normal.power_off)
        try:
            self._run_until_ended()
        except PoweredOff:
            return
        raise GateFault("PSCI SYSTEM_OFF came back")

    def usage(self) -> Usage:
        """What everything since boot took."""
        self.machine.events.drain()
        counts, pages = self.normal.flexmem.state.counts, self.meter.pages
        flexmem = FlexMemPages(
            allocated=pages["allocated"],
            locked=pages["locked"],
            requested=counts.requested,
            recalled=counts.recalled,
            reclaimed=pages["reclaimed"],
            forced=pages["forced"],
        )
        calls = dict(sorted(self.meter.calls.items()))
        return Usage(flexmem, self._npu_usage(), calls, self.meter.switches, self.machine.instructions)

    def _npu_usage(self) -> NpuUsage:
        engine, app = self.secure.npu, self.normal.matmul
        return NpuUsage(
            jobs=engine.state.jobs if engine else 0,
            switches=self.meter.npu_switches,
            normal_jobs=app.state.done if app else 0,
            recalls=self.normal.share.state.recalls,
            macs=engine.state.macs if engine else 0,
        )

    def dispose(self) -> None:
        """Give the host's memory back."""
        self.machine.close()

    def run(self, name: str, flow: FlowFactory, *arguments: Argument) -> Result:
        """Run a flow of the normal world to its end. Raises what the flow raises."""
        self.normal.start(name, flow, arguments)
        return self._run_until_ended()

    def _run_until_ended(self) -> Result:
        while self.normal.ended is None:
            self._step()
        return self.normal.ended.result

    def _step(self) -> None:
        """From one stop of the core to the next site."""
        stop = self.machine.run()
        self._stopped()
        if stop.reason is StopReason.HALTED:
            raise PoweredOff
        for kernel in self._kernels:
            arrival = kernel.gate.arrival(stop.pc)
            if arrival is not None:
                if arrival is Arrival.IDLE:
                    self._wait(self._wait_for_npu if kernel is self.driver else self.machine.advance_to_next_event)
                elif arrival is Arrival.ENTRY:
                    self._fell_through = False
                kernel.arrived(arrival)
                return
        if stop.pc == self._monitor_halted:
            raise GateFault("the monitor has panicked: its console says why")
        if self.machine.core.level != MONITOR_LEVEL:
            raise GateFault(f"the core stopped in no gate, at {stop.pc:#x}")
        self._wait(self.machine.advance_to_next_event)  # CPU_SUSPEND

    def _wait(self, pass_time: Callable[[], bool]) -> None:
        """WFI: time moves to the next event. One that came just before the WFI lets it fall through at once."""
        self._vain_waits = 0 if pass_time() else self._vain_waits + 1
        if self._vain_waits > MAX_VAIN_WAITS:
            raise GateFault("a kernel waits for what no device will bring")

    def _wait_for_npu(self) -> bool:
        """An interrupt that came before the first WFI of a call lets that fall through; the next one waits."""
        if self.machine.wait_for_npu():
            self._fell_through = False
            return True
        self._fell_through = not self._fell_through
        return self._fell_through or self.machine.advance_to_next_event()

    def _shown(self, notice: Notice) -> None:
        if notice.kind == "token":
            text = notice.data[:TOKEN_BYTES].ljust(TOKEN_BYTES, b"\0")
            words = struct.unpack(f"<{TOKEN_BYTES // 8}Q", text)
            self.machine.events.emit(EventKind.TOKEN, notice.numbers[0], len(notice.data), *words)
        self._show(notice)

    def _clock(self) -> int:
        return self.machine.instructions


def _size(image: Image) -> int:
    """Bytes from the image's base to the end of its last page."""
    end = max(segment.address + segment.size for segment in image.segments)
    return -(-end // PAGE_SIZE) * PAGE_SIZE
