"""The firmware on the whole board, driven through its gates by hand: no kernel of either world."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from emulator.devices.board import populate
from emulator.events import Event, EventKind
from emulator.gate.site import INSTRUCTIONS_PER_LONG_TURN
from emulator.image import Image
from emulator.machine import StopReason
from emulator.memory_map import (
    BLOCK_SIZE,
    DRAM_BASE,
    DRIVER_BYTES,
    MIB,
    NORMAL_IMAGE_BASE,
    NORMAL_IMAGE_END,
    PAGE_SIZE,
    PROBE_IMAGE_BASE,
    DramLayout,
)
from emulator.world import World, vmid_of
from firmware.build import ELF_FOLDER, image_path
from monitor import abi
from monitor.abi import Call
from monitor.checker import CheckedMachine
from monitor.memory import CONTEXT, CONTEXT_BYTES, TIMER_REGISTERS, WORD

PAGE = NORMAL_IMAGE_END + 4 * MIB  # some page that is free for tests
NEVER = 1_000_000_000  # instructions that nothing here needs
ROOM = PAGE + 3 * MIB  # for code of the normal world
BRANCH = 0x1400_0000
PSTATE = 33  # of `core.x`
STATUS_MASK = (1 << 64) - 1


@dataclass(frozen=True)
class Images:
    """Of firmware/elf, or of a build with a mutation."""

    monitor: Image
    gate: Image
    probe: Image

    @classmethod
    def load(cls) -> Images:
        return cls(*(Image.load(image_path(name, ELF_FOLDER)) for name in ("monitor", "gate", "probe")))


@dataclass
class Phone:
    """Booted to the normal gate. Calls switch to the calling world by themselves."""

    dram_bytes: int = 64 * MIB
    images: Images = field(default_factory=Images.load)
    events: list[Event] = field(default_factory=list)
    instructions: int = 0  # of the last call, the SMC and the branch behind it included

    def __post_init__(self) -> None:
        self.machine = CheckedMachine(DramLayout(self.dram_bytes), self.images.monitor)
        self.board = populate(self.machine)
        self.layout = self.machine.layout
        self.core = self.machine.core
        self.base = {World.SECURE: self.layout.secure_base, World.NORMAL: NORMAL_IMAGE_BASE}
        self.driver_base = self.layout.driver_base
        self.machine.load(self.images.monitor)
        self.machine.load(self.images.probe, PROBE_IMAGE_BASE)
        bases = (*self.base.values(), self.driver_base)
        for base in bases:
            self.machine.load(self.images.gate, base)
        self.machine.reset(self.images.monitor.entry)
        for index, base in enumerate(bases):
            self.core.x[index] = base + self.images.gate.entry

    def boot_driver(self) -> Phone:
        """To the secure world's boot."""
        assert self.run() == "arrive_boot" and self.in_driver
        assert self.smc(abi.DRIVER_READY.function, self.gate("arrive_entry")) == "arrive_boot"
        assert self.core.world is World.SECURE
        return self

    def boot(self) -> Phone:
        self.boot_driver()
        entries = (self.gate("arrive_entry"), self.gate("arrive_revocation"))
        assert self.smc(abi.SECURE_READY.function, *entries) == "arrive_boot"
        assert self.core.world is World.NORMAL
        self.machine.events.listen((EventKind.EXCEPTION, EventKind.DENIED, EventKind.UNDECLARED), self.events.append)
        return self

    @property
    def in_driver(self) -> bool:
        """Whether the core stands in the driver context, not in the normal world."""
        return vmid_of(self.core.context) == abi.Vmid.DRIVER

    @property
    def gate_base(self) -> int:
        """Of the gate of where the core stands."""
        return self.driver_base if self.in_driver else self.base[self.core.world]

    def gate(self, symbol: str, world: World | None = None) -> int:
        return (self.gate_base if world is None else self.base[world]) + self.images.gate.symbols[symbol]

    def run(self) -> str:
        """Run to the next stop: the gate's or the probe's symbol, or the monitor's. A wait of EL3's passes."""
        stop = self.machine.run(self.machine.instructions + NEVER)
        if stop.reason is StopReason.HALTED:
            return "halted"
        if self.core.level == 3 and stop.pc != self.images.monitor.symbols["monitor_halted"]:
            assert self.machine.advance_to_next_event(), "EL3 waits for what never comes"
            return self.run()
        assert stop.reason is StopReason.WFI, f"stopped by {stop.reason.name} at {stop.pc:#x}"
        for base, image in (
            (self.gate_base, self.images.gate),
            (PROBE_IMAGE_BASE, self.images.probe),
            (0, self.images.monitor),
        ):
            names = [name for name, offset in image.symbols.items() if base + offset == stop.pc]
            if names:
                return next((name for name in names if name.startswith(("arrive", "gate"))), names[-1])
        raise AssertionError(f"stopped at {stop.pc:#x}, EL{self.core.level}")

    def place(self, function: int, *arguments: int) -> None:
        """The core stands before SMC #0 of the present world's gate."""
        for index, value in enumerate((function, *arguments, *[0] * (7 - len(arguments)))):
            self.core.x[index] = value
        self.core.pc = self.gate("gate_smc")

    @property
    def room(self) -> int:
        """For code of a test, where the core stands."""
        if self.in_driver:
            return self.driver_base + DRIVER_BYTES - PAGE_SIZE
        return ROOM if self.core.world is World.NORMAL else self.gate("registers_smc")

    def place_code(self, *words: int) -> None:
        """The core stands before these instructions, behind which a branch to its gate follows."""
        back = self.gate("arrive_return") - (self.room + 4 * len(words))
        code = struct.pack(f"<{len(words) + 1}I", *words, BRANCH | back // 4 & 0x3FF_FFFF)
        self.machine.write_physical(self.room, code)
        self.core.pc = self.room

    def smc(self, function: int, *arguments: int) -> str:
        """SMC #0 from the gate of the present world; where the core stands afterwards."""
        self.place(function, *arguments)
        begun = self.machine.instructions
        stopped = self.run()
        self.instructions = self.machine.instructions - begun
        return stopped

    def smc_to_its_end(self, function: int, *arguments: int) -> str:
        """As `smc`; where a recall's deadline interrupts the secure world, the normal world goes on with it at once."""
        own = self.core.world is World.NORMAL and not self.in_driver and function & abi.FAST
        stopped = self.smc(function, *arguments)
        instructions = self.instructions
        stopped = stopped if own else self.go_on(stopped)  # 2 may be any number there
        self.instructions = instructions
        return stopped

    def go_on(self, stopped: str) -> str:
        """Where the interrupted secure world, if it is interrupted, comes to; else ``stopped``."""
        while self.core.world is World.NORMAL and not self.in_driver and self.registers(1) == [abi.Status.PREEMPTED]:
            stopped = self.smc(abi.SECURE_RESUME.function, abi.INTERRUPTED_THREAD)
        return stopped

    def enter(self, world: World) -> None:
        if self.core.world is not world:
            leaving = abi.SECURE_CALL if world is World.SECURE else abi.SECURE_DONE
            self.smc_to_its_end(leaving.function)
        assert self.core.world is world

    def call(self, call: Call, *arguments: int, by: World | None = None) -> dict[str, int]:
        """Results by name; ``by`` only where both worlds may call, or where the wrong one does."""
        if by is None:
            by = World.NORMAL if call.permits(World.NORMAL) else World.SECURE
        self.enter(by)
        assert self.smc_to_its_end(call.function, *arguments) == "arrive_return"
        return call.results(self.registers())

    def status(self, call: Call, *arguments: int, by: World | None = None) -> int:
        return self.call(call, *arguments, by=by)["status"]

    def registers(self, count: int = 8) -> list[int]:
        return [self.core.x[index] for index in range(count)]

    def place_probe(self, symbol: str, *arguments: int) -> None:
        """The core stands before a routine of the probe image."""
        for index, value in enumerate(arguments):
            self.core.x[index] = value
        self.core.pc = PROBE_IMAGE_BASE + self.images.probe.symbols[symbol]

    def probe(self, symbol: str, *arguments: int) -> str:
        """Run a routine of the probe image in the normal world."""
        self.enter(World.NORMAL)
        self.place_probe(symbol, *arguments)
        return self.run()

    def wait(self, ticks: int) -> None:
        """Spend guest time in the busy loop."""
        self.core.x[8], self.core.x[9] = -(-ticks // INSTRUCTIONS_PER_LONG_TURN), 0
        self.core.pc = self.gate("gate_busy")
        assert self.run() == "arrive_return"

    def set_timer(self, at: int | None, timer: str = "cntp") -> None:
        """The normal world's physical timer (or "cntv"), as it would have set it while it ran; None: off."""
        first = TIMER_REGISTERS.index(f"{timer}_ctl_el0")
        values = (int(at is not None), at or 0)
        for name, value in zip(TIMER_REGISTERS[first:], values, strict=False):
            self.core.write_sysreg(name.upper(), value)
        if self.core.world is World.SECURE or self.in_driver:  # what the normal world left is in its context
            normal = self.images.monitor.symbols["contexts"] + World.NORMAL * CONTEXT_BYTES
            place = normal + CONTEXT["timers"].offset + first * WORD
            self.machine.write_physical(place, struct.pack("<2Q", *values))

    def lock(self, base: int = PAGE, pages: int = 1) -> None:
        assert self.call(abi.MEM_ALLOCATE, base, pages) == {"status": 0, "done": pages}
        assert self.call(abi.MEM_LOCK, base, pages) == {"status": 0, "done": pages}

    def revoke(self, base: int = PAGE, pages: int = 1) -> None:
        """Lock pages and take them back by force."""
        self.lock(base, pages)
        self.call(abi.MEM_RECALL, pages, abi.MINIMUM_DEADLINE)
        self.wait(abi.MINIMUM_DEADLINE)
        assert self.call(abi.MEM_RECLAIM, base, pages, abi.FORCE) == {"status": 0, "done": pages}

    def entry(self, page: int = PAGE) -> int:
        """The page's byte of the ownership table."""
        index = (page - DRAM_BASE) // PAGE_SIZE
        return self.machine.read_physical(self.layout.ownership_base + index, 1)[0]

    def stage2_entry(self, page: int = PAGE) -> int:
        table = self.layout.carve_out_base + BLOCK_SIZE
        raw = self.machine.read_physical(table + (page - DRAM_BASE) // PAGE_SIZE * 8, 8)
        return int(struct.unpack("<Q", raw)[0])

    def is_mapped(self, page: int = PAGE) -> bool:
        return bool(self.stage2_entry(page) & 1)

    def fill(self, page: int = PAGE, pages: int = 1, byte: int = 0xA5) -> None:
        """Behind everybody's back."""
        self.machine.write_physical(page, bytes([byte]) * (pages * PAGE_SIZE))
