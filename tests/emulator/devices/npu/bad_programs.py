"""Programs that go wrong: good ones, changed at random."""

from __future__ import annotations

import random
from collections.abc import Callable

from emulator.devices.npu import NpuCore

from .program import CNA, ENABLE, FP16, FP32, INT8, INT32, MARKER, PC, Product, command

FEATURES, WEIGHTS, OUTPUT = 0x0020_0000, 0x0030_0000, 0x0040_0000  # as the NPU has them
REGISTERS = [(0x0100 << (offset >> 12) | 1, offset) for _, _, offset in NpuCore.elements()]
TARGETS = [0, PC, CNA, MARKER, ENABLE, *sorted({target for target, _ in REGISTERS})]
VALUES = [
    0, 1, 2, 3, 7, 8, 15, 16, 31, 32, 0xFF, 0x3FFF, 0x4000, 0x7FFF, 0x8000, 0xFFFF, 0x1_0000, 0x7FF_07FF, 0x7FFF_FFFF,
    0x8000_0000, 0xFFFF_FFF0, 0xFFFF_FFFF, FEATURES, WEIGHTS, OUTPUT, OUTPUT + 8, OUTPUT - 16, 0xFFFF_F000, 0x0A20_0000,
]  # fmt: skip

GOOD = [
    [Product(4, 64, 32, FEATURES, WEIGHTS, OUTPUT)],
    [Product(9, 100, 70, FEATURES, WEIGHTS, OUTPUT, INT8, INT8, scale=300, shift=12)],
    [Product(5, 40, 33, FEATURES, WEIGHTS, OUTPUT, FP16, FP32)],
    [Product(17, 33, 20, FEATURES, WEIGHTS, OUTPUT, FP16, FP16)],
    [
        Product(6, 90, 32, FEATURES, WEIGHTS, OUTPUT),
        Product(6, 90, 32, FEATURES, WEIGHTS + 3072, OUTPUT + 768, reuse=True),
    ],
    [Product(3, 64, 32, FEATURES, WEIGHTS, OUTPUT + 384 * i, INT8, INT32) for i in range(3)],
    [Product(2, 32, 2200, FEATURES, WEIGHTS, OUTPUT)],  # more than one step multiplies
]


def value(dice: random.Random) -> int:
    return dice.choice([dice.choice(VALUES), dice.getrandbits(32), 1 << dice.randrange(32)])


def flip(dice: random.Random, words: list[int]) -> None:
    for _ in range(dice.randint(1, 8)):
        words[dice.randrange(len(words))] ^= 1 << dice.randrange(64)


def random_word(dice: random.Random, words: list[int]) -> None:
    words[dice.randrange(len(words))] = dice.getrandbits(64)


def random_target(dice: random.Random, words: list[int]) -> None:
    place = dice.randrange(len(words))
    words[place] = words[place] & (1 << 48) - 1 | dice.choice(TARGETS) << 48


def another_register(dice: random.Random, words: list[int]) -> None:
    target, offset = dice.choice(REGISTERS)
    words[dice.randrange(len(words))] = command(target, value(dice), offset)


def another_value(dice: random.Random, words: list[int]) -> None:
    place = dice.randrange(len(words))
    words[place] = command(words[place] >> 48, value(dice), words[place] & 0xFFFF)


def swap(dice: random.Random, words: list[int]) -> None:
    one, other = dice.randrange(len(words)), dice.randrange(len(words))
    words[one], words[other] = words[other], words[one]


def truncate(dice: random.Random, words: list[int]) -> None:
    first = dice.randrange(len(words))
    words[first:] = [dice.choice([0, command(MARKER, 0, 0)])] * (len(words) - first)


def other_chain(dice: random.Random, words: list[int]) -> None:
    """What follows, or how long it is: itself, nothing, a hole, the end of the addresses."""
    register = dice.choice([NpuCore.PC_BASE_ADDRESS.offset, NpuCore.PC_REGISTER_AMOUNTS.offset])
    for place, word in enumerate(words):
        if word >> 48 == PC and word & 0xFFFF == register:
            words[place] = command(PC, dice.choice([value(dice), 0x0010_0000, 0xFFFF_F000, 0xFFFF_FFF0]), register)


def other_place(dice: random.Random, words: list[int]) -> None:
    """Operands that lie where the stream may only read, or only in part, or across its edge."""
    register = dice.choice([NpuCore.CNA_FEATURE_DATA_ADDR, NpuCore.CNA_DCOMP_ADDR0, NpuCore.DPU_DST_BASE_ADDR]).offset
    address = dice.choice([FEATURES, WEIGHTS, OUTPUT, 0x0010_0000, 0xFFFF_F000]) + 16 * dice.randrange(-8, 0x1410)
    for place, word in enumerate(words):
        if word & 0xFFFF == register:
            words[place] = command(word >> 48, address + dice.choice([0, 0, 0, 8]), register)


MUTATIONS: list[Callable[[random.Random, list[int]], None]] = [
    flip, random_word, random_target, another_register, another_value, another_value, swap, truncate, other_chain,
    other_place,
]  # fmt: skip
