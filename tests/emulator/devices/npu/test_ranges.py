"""Steps take pages in ranges, and read what their pages have one by one: a dictionary is the SMMU's TLB."""

from __future__ import annotations

from random import Random

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulator.devices.smmu_structures import Opcode
from emulator.memory_map import DRAM_BASE, MIB, PAGE_SIZE, StreamId
from emulator.native import lib
from tests.emulator.bare import set_region
from tests.emulator.devices.smmu_driver import ACCESS_FLAG, READ, VMID, WRITE, SmmuDriver
from tests.emulator.test_translation_model import randoms

from .bench import DONE, Bench, bench, exact
from .program import Product, amount, chain, features_of, result_bytes, result_of

PROGRAM, FEATURES, WEIGHTS, OUTPUT = 0x0010_0000, 0x0020_0000, 0x0030_0000, 0xF000_0000  # as the NPU has them
READ_ERROR = 1 << 12
PAGES = 8
CHANNELS, KERNELS = 32, PAGES * PAGE_SIZE // 32
PHYSICAL = DRAM_BASE + 16 * MIB
FRAMES = [PHYSICAL + PAGE_SIZE * frame for frame in range(PAGES)]
PERMISSIONS = (READ | WRITE | ACCESS_FLAG, WRITE | ACCESS_FLAG, 0)


class Weights:
    """A product whose weights' pages are mapped, unmapped, closed and invalidated at random."""

    def __init__(self, rig: Bench, random: Random) -> None:
        self.rig, self.smmu = rig, SmmuDriver(rig)
        self.smmu.write_entry(self.smmu.entry(), StreamId.NPU0)
        lib.tzasc_set_control(rig.machine.native, True, True)
        dice = np.random.default_rng(random.getrandbits(32))
        self.features = dice.integers(-128, 128, (1, CHANNELS), dtype=np.int8)
        self.frames = {frame: dice.integers(-128, 128, PAGE_SIZE, dtype=np.int8) for frame in FRAMES}
        for frame, bytes_ in self.frames.items():
            rig.machine.write_physical(frame, bytes_.tobytes())
        self.task = Product(1, CHANNELS, KERNELS, FEATURES, WEIGHTS, OUTPUT)
        for number, (address, data) in enumerate(
            [(PROGRAM, chain([self.task], PROGRAM)), (FEATURES, features_of(self.features)), (OUTPUT, b"")]
        ):
            self.smmu.map(address, PHYSICAL + MIB * (number + 1))
            rig.machine.write_physical(PHYSICAL + MIB * (number + 1), data)
        self.output = PHYSICAL + 3 * MIB
        self.table: dict[int, tuple[int, int]] = {}
        self.tlb: dict[int, tuple[int, int]] = {}
        self.closed = 0
        for page in range(PAGES):
            self.map(page, FRAMES[page], PERMISSIONS[0])

    def map(self, page: int, frame: int, permissions: int) -> None:
        self.smmu.map(WEIGHTS + page * PAGE_SIZE, frame, permissions)
        self.table[page] = frame, permissions

    def change(self, random: Random) -> None:
        page = random.randrange(PAGES)
        match random.randrange(10):
            case 0 | 1 | 2:
                self.map(page, random.choice(FRAMES), random.choice([PERMISSIONS[0]] * 7 + [*PERMISSIONS]))
            case 3 | 4 | 5:
                self.invalidate(page)
            case 6:
                self.smmu.command(Opcode.TLBI_S12_VMALL, VMID)
                self.tlb.clear()
            case 7:
                self.close(random.choice(FRAMES))
            case _:
                self.close(self.output + MIB)
                for mended in range(PAGES):
                    self.map(mended, FRAMES[mended], PERMISSIONS[0])
                    if random.randrange(PAGES):
                        self.invalidate(mended)

    def invalidate(self, page: int) -> None:
        self.smmu.command(Opcode.TLBI_S2_IPA, VMID, WEIGHTS + page * PAGE_SIZE)
        self.tlb.pop(page, None)

    def close(self, frame: int) -> None:
        """To the NPU, by the TZASC."""
        self.closed = frame
        set_region(self.rig.machine, 1, frame, frame + PAGE_SIZE - 1, normal="")

    def expected(self) -> bytes | None:
        """What the pages hold; None: one of them is refused, and none after it is translated."""
        held = []
        for page in range(PAGES):
            if page not in self.tlb and self.table[page][1]:
                self.tlb[page] = self.table[page]
            frame, permissions = self.tlb.get(page, (0, 0))
            if not permissions & READ or frame == self.closed:
                return None
            held.append(self.frames[frame].tobytes())
        return b"".join(held)

    def compare(self) -> None:
        expected = self.expected()
        self.rig.submit(PROGRAM, amount(self.task))
        status = self.rig.wait()
        if expected is None:
            assert status == READ_ERROR
            return
        assert status & DONE
        weights = np.frombuffer(expected, np.int8).reshape(KERNELS, CHANNELS)
        data = self.rig.machine.read_physical(self.output, result_bytes(1, KERNELS, "<i4"))
        assert np.array_equal(result_of(data, 1, KERNELS, "<i4"), exact(self.features, weights))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(randoms, st.lists(randoms, min_size=20, max_size=60))
def test_a_step_reads_what_its_pages_have_one_by_one(first: Random, steps: list[Random]) -> None:
    with bench() as rig:
        weights = Weights(rig, first)
        for step in steps:
            weights.change(step)
            weights.compare()
