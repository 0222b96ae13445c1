"""The whole phone: a board with its firmware, and the two kernels in their gates.

`System` boots it, carries each stop of the core to the kernel whose gate it is, and runs requests of the normal world
from beginning to end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from emulator.board import Board
from emulator.gate import MEMORY_OPERATIONS, Arrival, Argument, FlowFactory, Gate, GateFault, Notice, Result
from emulator.image import Image
from emulator.machine import StopReason
from emulator.memory_map import NORMAL_IMAGE_BASE, PAGE_SIZE, PROBE_IMAGE_BASE
from emulator.tensor import TENSOR_OPERATIONS
from emulator.world import World
from nworld.kernel import NormalKernel
from sworld.kernel import SecureKernel
from sworld.loader import LOADER_OPERATIONS

from .meter import Meter

Show = Callable[[Notice], None]


@dataclass(frozen=True)
class Images:
    """The firmware, as built from firmware/."""

    monitor: Image
    gate: Image
    probe: Image


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
class Usage:
    """What everything since boot took."""

    flexmem: FlexMemPages
    smc: dict[str, int]
    world_switches: int
    guest_instructions: int


class PoweredOff(Exception):
    """The phone was switched off in the middle of a request."""


class System:
    """A phone on ``board``, not booted yet. ``show`` takes what apps show their user, as it comes.

    ``secure_kernel`` may be another kernel for the secure world's gate, to see what an uncooperative one can do.
    """

    def __init__(
        self,
        board: Board,
        images: Images,
        show: Show = lambda notice: None,
        secure_kernel: type[SecureKernel] = SecureKernel,
    ) -> None:
        self.board = board
        self.machine = board.machine
        self.meter = Meter(self.machine.events)
        secure_base = self.machine.layout.secure_base
        self.machine.load(images.monitor)
        self.machine.load(images.gate, secure_base)
        self.machine.load(images.gate, NORMAL_IMAGE_BASE)
        self.machine.load(images.probe, PROBE_IMAGE_BASE)
        self.secure = secure_kernel(
            Gate(self.machine.core, World.SECURE, images.gate.symbols, secure_base),
            self.machine.port(World.SECURE),
            {**MEMORY_OPERATIONS, **TENSOR_OPERATIONS, **LOADER_OPERATIONS},
            self._clock,
            secure_base + _size(images.gate),
        )
        probe_end = PROBE_IMAGE_BASE + images.probe.symbols["probe_done"]
        self.normal = NormalKernel(
            Gate(self.machine.core, World.NORMAL, images.gate.symbols, NORMAL_IMAGE_BASE, probe_end),
            self.machine.port(World.NORMAL),
            MEMORY_OPERATIONS,
            self._clock,
            show,
        )
        self.machine.reset(images.monitor.entry)
        for index, base in enumerate((secure_base, NORMAL_IMAGE_BASE)):
            self.machine.core.x[index] = base + images.gate.entry

    def boot(self) -> None:
        """Run until the normal kernel has booted."""
        self._run_until_ended()

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
        return Usage(flexmem, calls, self.meter.switches, self.machine.instructions)

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
        if stop.reason is StopReason.HALTED:
            raise PoweredOff
        for kernel, gate in ((self.normal, self.normal.gate), (self.secure, self.secure.gate)):
            arrival = gate.arrival(stop.pc)
            if arrival is not None:
                if arrival is Arrival.IDLE and not self.machine.advance_to_next_event():
                    raise GateFault(f"the {gate.world.name.lower()} kernel waits for what no device will bring")
                kernel.arrived(arrival)
                return
        raise GateFault(f"the core stopped in no gate, at {stop.pc:#x}")

    def _clock(self) -> int:
        return self.machine.instructions


def _size(image: Image) -> int:
    """Bytes from the image's base to the end of its last page."""
    end = max(segment.address + segment.size for segment in image.segments)
    return -(-end // PAGE_SIZE) * PAGE_SIZE
