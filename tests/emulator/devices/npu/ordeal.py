"""Puts the NPU through jobs that go wrong, and judges what it says of them and what it did to memory."""

from __future__ import annotations

import random
import struct
from collections import Counter
from dataclasses import dataclass, field

from emulator.devices.npu import NpuControl, NpuCore, Problem
from emulator.devices.smmu_structures import Opcode
from emulator.events import Event, EventKind, NpuWhat
from emulator.memory_map import DRAM_BASE, MIB, NPU0, NPU1, NPU2, NPU_CONTROL, PAGE_SIZE, StreamId
from flexserve.trace import names
from tests.emulator.devices.rig import Abort
from tests.emulator.devices.smmu_driver import ACCESS_FLAG, COMMANDS, EVENTS, READ, VMID, SmmuDriver

from .bad_programs import FEATURES, GOOD, MUTATIONS, OUTPUT, REGISTERS, WEIGHTS, value
from .bench import DONE, Bench
from .program import amount, chain

PROGRAM, LAST_PAGE = 0x0010_0000, 0xFFFF_F000
WINDOW, WINDOW_PAGES = DRAM_BASE + 16 * MIB, 128  # physical memory; most of it is nobody's
PROGRAM_PAGES, OPERAND_PAGES = 2, 20
STEPS = 300  # that a job is given before it is stopped
CORES = 3
ENDS = {NpuWhat.JOB_DONE, NpuWhat.FAULT, NpuWhat.ABORTED}
OF_PROGRAM = {Problem.UNKNOWN_TARGET, Problem.UNKNOWN_REGISTER}  # name what is no register
OF_MEMORY = {Problem.DMA_READ: 1 << 12, Problem.DMA_WRITE: 1 << 13}
PROGRAM_ERROR = 1 << 14
POINTERS = (NpuCore.CNA_S_POINTER, NpuCore.CORE_S_POINTER, NpuCore.DPU_S_POINTER)
ALL_RAW = 0x1_FFFF


@dataclass
class Ordeal:
    """Every core's stream has the same table. ``outcomes`` counts how jobs ended, and accesses that aborted."""

    rig: Bench
    outcomes: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.smmu = SmmuDriver(self.rig)
        for stream in (StreamId.NPU0, StreamId.NPU1, StreamId.NPU2):
            self.smmu.write_entry(self.smmu.entry(), stream)
        dice = random.Random(1)  # noqa: S311
        self.canaries = dice.randbytes(WINDOW_PAGES * PAGE_SIZE)
        free = [WINDOW + PAGE_SIZE * page for page in dice.sample(range(WINDOW_PAGES), WINDOW_PAGES)]
        self.pages: dict[int, int] = {LAST_PAGE: free.pop()}
        for base, count in (
            (PROGRAM, PROGRAM_PAGES),
            *((place, OPERAND_PAGES) for place in (FEATURES, WEIGHTS, OUTPUT)),
        ):
            self.pages.update({base + PAGE_SIZE * page: free.pop() for page in range(count)})
        self.written = {self.pages[OUTPUT + PAGE_SIZE * page] for page in range(OPERAND_PAGES)}
        self.locked = dict.fromkeys(self.pages, b"")  # not mapped yet
        self.wanted = [self._result(index) for index in range(len(GOOD))]
        self.rest = self._rest()

    # --- memory -------------------------------------------------------------------------------------------------------

    def _restore(self) -> None:
        self.rig.machine.write_physical(WINDOW, self.canaries)
        for address in self.locked:
            self._map(address)
        self.locked = {}
        self.placed: set[int] = set()

    def _map(self, address: int) -> None:
        writable = OUTPUT <= address < OUTPUT + OPERAND_PAGES * PAGE_SIZE
        self.smmu.map(address, self.pages[address], READ | ACCESS_FLAG | (1 << 7 if writable else 0))

    def _place(self, address: int, image: bytes) -> None:
        """As far as there are pages."""
        for at in range(0, len(image), PAGE_SIZE):
            if address + at in self.pages:
                self.rig.machine.write_physical(self.pages[address + at], image[at : at + PAGE_SIZE])
                self.placed.add(self.pages[address + at])

    def _lock(self, address: int) -> None:
        """From here on the page must stay as it is."""
        if address in self.locked:
            return
        self.smmu.map(address, 0, 0)
        self.smmu.command(Opcode.TLBI_S2_IPA, VMID, address)
        self.smmu.sync()
        self.locked[address] = self.rig.machine.read_physical(self.pages[address], PAGE_SIZE)

    def _output(self) -> bytes:
        pages = (self.pages[OUTPUT + PAGE_SIZE * page] for page in range(OPERAND_PAGES))
        return b"".join(self.rig.machine.read_physical(page, PAGE_SIZE) for page in pages)

    def _rest(self) -> list[bytes]:
        """All of memory but the window and the SMMU's queues."""
        base, end = DRAM_BASE, self.rig.machine.layout.end
        cuts = [base, COMMANDS, EVENTS + PAGE_SIZE, WINDOW, WINDOW + WINDOW_PAGES * PAGE_SIZE, end]
        return [
            self.rig.machine.read_physical(first, last - first)
            for first, last in zip(cuts[::2], cuts[1::2], strict=True)
        ]

    # --- one case ---------------------------------------------------------------------------------------------------

    def _result(self, index: int) -> bytes:
        self._restore()
        self._power()
        self._place(PROGRAM, chain(GOOD[index], PROGRAM))
        self.rig.submit(PROGRAM, amount(GOOD[index][0]), len(GOOD[index]))
        assert self.rig.wait() & DONE
        return self._output()

    def _power(self) -> None:
        self.rig.control(NpuControl.POWER.offset, 7)
        self.rig.control(NpuControl.CLOCK.offset, 7)
        for core in range(CORES):
            self.rig.put(NpuCore.PC_INTERRUPT_CLEAR.offset, ALL_RAW, core)
            pointers = [self.rig.get(register.offset, core) for register in POINTERS]
            if any(word & 1 != word >> 16 & 1 for word in pointers):  # whoever set one so has to reset the core
                self._stop_by_reset(core)

    def run(self, seed: int) -> None:
        """One job, wherever it leads."""
        dice = random.Random(seed)  # noqa: S311
        core, good = dice.randrange(CORES), dice.randrange(len(GOOD))
        changes = dice.choice([0, 1, 1, 1, 2, 4])
        image = chain(GOOD[good], PROGRAM)
        words = list(struct.unpack(f"<{len(image) // 8}Q", image))
        for _ in range(changes):
            dice.choice(MUTATIONS)(dice, words)
        self._restore()
        self._power()
        self.rig.forget()
        odd = dice.random() < 0.3
        self._submit(dice, core, good, struct.pack(f"<{len(words)}Q", *words), odd)
        disturbed = self._watch(dice, core, dice.random() < 0.3)
        self._judge(core, disturbed)
        if not changes and not odd and not disturbed:
            assert self._output() == self.wanted[good], (seed, "a good program gives its product after any other")

    def _submit(self, dice: random.Random, core: int, good: int, image: bytes, odd: bool) -> None:
        """Where it should lie, and as long as it is; or not."""
        base, length, tasks = PROGRAM, amount(GOOD[good][0]), len(GOOD[good])
        if odd:
            base = dice.choice([base, base, LAST_PAGE, 0xFFFF_FFF0, PROGRAM + 2 * PAGE_SIZE - 256, 8, 1, value(dice)])
            length = dice.choice([length, length, 0, 0xFFFF, value(dice)])
            tasks = dice.choice([tasks, tasks, 0, 1, 0xFFF])
            for _ in range(dice.randrange(4)):
                self.rig.put(dice.choice(REGISTERS)[1], value(dice), core)
        self._place(base & ~0xFFF, bytes(base & 0xFF0) + image)
        self.rig.submit(base & 0xFFFF_FFFF, length & 0xFFFF_FFFF, tasks, core)

    def _watch(self, dice: random.Random, core: int, disturb: bool) -> bool:
        """Until it ends, or has had its steps; whether anything disturbed it."""
        disturbed = False
        for _ in range(STEPS):
            if not self.rig.control(NpuControl.STATUS.offset):
                return disturbed
            if disturb and dice.random() < 0.2:
                disturbed = True
                self._disturb(dice, core)
            self.rig.step()
        for other in range(CORES):
            dice.choice([self._stop_by_enable, self._stop_by_reset, self._stop_by_power])(other)
        return True

    def _disturb(self, dice: random.Random, core: int) -> None:
        match dice.randrange(8):
            case 0:
                self.rig.control(NpuControl.POWER.offset, value(dice))
            case 1 | 2:
                self.rig.control(NpuControl.CLOCK.offset, value(dice))
            case 3:
                self.rig.control(NpuControl.RESET.offset, value(dice))
            case 4 | 5:
                self._lock(dice.choice([OUTPUT, OUTPUT, OUTPUT + PAGE_SIZE, dice.choice(list(self.pages))]))
            case _:
                self._poke(dice, (NPU0, NPU1, NPU2)[core].base, 0x8000)

    def _stop_by_enable(self, core: int) -> None:
        self.rig.control(NpuControl.CLOCK.offset, 7)
        self.rig.control(NpuControl.POWER.offset, 7)
        self.rig.put(NpuCore.PC_OPERATION_ENABLE.offset, 0, core)

    def _stop_by_reset(self, core: int) -> None:
        self.rig.control(NpuControl.RESET.offset, 1 << core)

    def _stop_by_power(self, core: int) -> None:
        self.rig.control(NpuControl.POWER.offset, self.rig.control(NpuControl.POWER.offset) & ~(1 << core))

    def _poke(self, dice: random.Random, base: int, size: int) -> None:
        """An access of the CPU: any size, any place, declared or not. It may abort."""
        offset = dice.choice([dice.choice(REGISTERS)[1], 4 * dice.randrange(8), dice.randrange(size)]) % size
        width = dice.choice([4, 4, 4, 4, 4, 1, 2, 8])
        try:
            if dice.randrange(3):
                self.rig.store(base + offset, dice.choice([value(dice), dice.getrandbits(64)]), width)
            else:
                self.rig.load(base + offset, width)
        except Abort:
            self.outcomes["abort"] += 1

    def poke_everywhere(self, seed: int) -> None:
        """A hundred accesses to all four windows; jobs that they start are stopped."""
        dice = random.Random(seed)  # noqa: S311
        self._restore()
        self._power()
        self.rig.forget()
        for _ in range(100):
            window = dice.choice([NPU0, NPU1, NPU2, NPU_CONTROL])
            self._poke(dice, window.base, window.size)
            if not dice.randrange(10):
                self._power()
                self.rig.step()
        for core in range(CORES):
            self._stop_by_reset(core)
        self._judge(0, disturbed=True)

    # --- judgement --------------------------------------------------------------------------------------------------

    def _judge(self, core: int, disturbed: bool) -> None:
        assert not self.rig.control(NpuControl.STATUS.offset), "every job has ended"
        output = self._output()
        self.smmu.sync()
        assert self._output() == output, "a job that has ended writes nothing more"
        self.rig.machine.events.drain()
        told = [event for event in self.rig.events if event.kind is EventKind.NPU]
        for number in range(CORES):
            self._judge_story([event for event in told if event.args[0] == number])
        if not disturbed:
            self._judge_registers(core, told[-1])
        self.judge_memory()

    def _judge_story(self, told: list[Event]) -> None:
        """Each job starts, does tasks and ends once."""
        busy = False
        for event in told:
            what = event.args[1]
            assert names.npu(event.args).startswith(f"NPU{event.args[0]} {NpuWhat(what).name}")
            assert busy == (what != NpuWhat.STARTED), names.npu(event.args)
            busy = what not in ENDS
            if what in ENDS:
                self.outcomes[Problem(event.args[2]).name if what == NpuWhat.FAULT else NpuWhat(what).name] += 1
            if what == NpuWhat.FAULT:
                self._judge_fault(event.args)
        assert not busy

    @staticmethod
    def _judge_fault(args: tuple[int, ...]) -> None:
        problem, offset = Problem(args[2]), args[3]
        assert problem is not Problem.NONE
        if problem in OF_MEMORY:
            assert offset == 0
        elif problem not in OF_PROGRAM:
            found = NpuCore.find(offset)
            assert found and found[0].name in names.npu(args)

    def _judge_registers(self, core: int, last: Event) -> None:
        """Of a job that nobody disturbed."""
        raw = self.rig.get(NpuCore.PC_INTERRUPT_RAW_STATUS.offset, core)
        if last.args[1] == NpuWhat.FAULT:
            problem = Problem(last.args[2])
            assert self.rig.fault(core) == (problem, last.args[3])
            assert raw == OF_MEMORY.get(problem, PROGRAM_ERROR)
        else:
            assert last.args[1] == NpuWhat.JOB_DONE and raw in (0x155, 0x2AA)
            assert self.rig.fault(core) == (Problem.NONE, 0)

    def judge_memory(self) -> None:
        """Pages that no stream may write are as they were, and so are those that were taken away."""
        for _, _, first, size, write in (event.args[:5] for event in self.rig.events if event.kind is EventKind.DMA):
            pages = range(first // PAGE_SIZE * PAGE_SIZE, first + size, PAGE_SIZE)
            assert not write or self.written.issuperset(pages), "a write outside the output"
        for address, content in self.locked.items():
            assert self.rig.machine.read_physical(self.pages[address], PAGE_SIZE) == content, hex(address)
        now = self.rig.machine.read_physical(WINDOW, WINDOW_PAGES * PAGE_SIZE)
        for page in range(WINDOW_PAGES):
            at = page * PAGE_SIZE
            if WINDOW + at not in self.written | self.placed:
                assert now[at : at + PAGE_SIZE] == self.canaries[at : at + PAGE_SIZE], hex(WINDOW + at)

    def judge_everything(self) -> None:
        """All the rest of memory, which takes longer to look at."""
        self._restore()
        assert self._rest() == self.rest
