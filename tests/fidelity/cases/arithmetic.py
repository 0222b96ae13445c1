"""Instructions that only compute: integer, floating point, SIMD, CRC32 and cryptography, on random operands and as
random words of the encoding space, always the same ones."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from tests.fidelity.case import Case, load

SEED = 20261123
INTERESTING = (
    *(0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 0x1_0000_0000),
    *((1 << 63) - 1, 1 << 63, (1 << 64) - 1, (1 << 64) - 2, 0x5555_5555_5555_5555, 0x0123_4567_89AB_CDEF),
)
DOUBLES = (  # and pairs of singles: zeros, ones, subnormals, infinities, quiet and signalling NaNs, halves, limits
    *(0, 1 << 63, 0x3FF0_0000_0000_0000, 0xBFF0_0000_0000_0000, 0x7FF0_0000_0000_0000, 0xFFF0_0000_0000_0000),
    *(0x7FF8_0000_0000_0001, 0x7FF0_0000_0000_0001, 1, 0x000F_FFFF_FFFF_FFFF, 0x7FEF_FFFF_FFFF_FFFF),
    *(
        0x3FE0_0000_0000_0000,
        0x4338_0000_0000_0001,
        0x43E0_0000_0000_0000,
        0xC3E0_0000_0000_0000,
        0x41DF_FFFF_FFE0_0000,
    ),
    *(
        0x3F80_0000_BF80_0000,
        0x7F80_0000_FF80_0000,
        0x7FC0_0001_7F80_0001,
        0x0000_0001_807F_FFFF,
        0x4F00_0000_CF00_0001,
    ),
    *(0x3C00_BC00_7C00_FC00, 0x7E01_7C01_0001_03FF, 0x4048_F5C3_402D_F854),
)
INTEGER = (
    *(
        "add",
        "sub",
        "adds",
        "subs",
        "and",
        "orr",
        "eor",
        "bic",
        "orn",
        "eon",
        "ands",
        "bics",
        "adc",
        "adcs",
        "sbc",
        "sbcs",
    ),
    *("mul", "mneg", "udiv", "sdiv", "lsl", "lsr", "asr", "ror"),
)
WIDE = ("smulh", "umulh")
LONG = ("smull", "umull", "smnegl", "umnegl")
UNARY = ("clz", "cls", "rbit", "rev", "rev16", "neg", "negs", "mvn", "ngc", "ngcs")
CONDITIONS = ("eq", "ne", "hs", "lo", "mi", "pl", "vs", "vc", "hi", "ls", "ge", "lt", "gt", "le")
CRC = ("crc32b", "crc32h", "crc32w", "crc32cb", "crc32ch", "crc32cw")


def register(random: Random, wide: bool) -> str:
    number = random.randrange(16)
    return ("x" if wide else "w") + ("zr" if number == 15 else str(number))


def registers(random: Random, wide: bool, count: int) -> str:
    return ", ".join(register(random, wide) for _ in range(count))


def shifted(random: Random, width: int) -> str:
    return random.choice(("", f", {random.choice(('lsl', 'lsr', 'asr'))} #{random.randrange(width)}"))


def two_operands(random: Random, wide: bool) -> str:
    name = random.choice(INTEGER)
    shift = shifted(random, 64 if wide else 32) if name in INTEGER[:12] else ""
    return f"{name} {registers(random, wide, 3)}{shift}"


def multiply(random: Random, wide: bool) -> str:
    return f"{random.choice(('madd', 'msub'))} {registers(random, wide, 4)}"


def multiply_long(random: Random, _: bool) -> str:
    d, narrow = register(random, True), registers(random, False, 2)
    return random.choice(
        (
            f"{random.choice(LONG)} {d}, {narrow}",
            f"{random.choice(('smaddl', 'umsubl'))} {d}, {narrow}, {register(random, True)}",
            f"{random.choice(WIDE)} {registers(random, True, 3)}",
        )
    )


def one_operand(random: Random, wide: bool) -> str:
    return f"{random.choice(UNARY)} {registers(random, wide, 2)}"


def bit_field(random: Random, wide: bool) -> str:
    width = 64 if wide else 32
    low = random.randrange(width)
    if random.random() < 0.2:
        return f"extr {registers(random, wide, 3)}, #{low}"
    name = random.choice(("ubfx", "sbfx", "bfi", "bfxil", "ubfiz", "sbfiz"))
    return f"{name} {registers(random, wide, 2)}, #{low}, #{random.randrange(1, width - low + 1)}"


def conditional(random: Random, wide: bool) -> str:
    condition = random.choice(CONDITIONS)
    if random.random() < 0.5:
        return f"{random.choice(('csel', 'csinc', 'csinv', 'csneg'))} {registers(random, wide, 3)}, {condition}"
    other = random.choice((register(random, wide), f"#{random.randrange(32)}"))
    name = random.choice(("ccmp", "ccmn"))
    return f"{name} {register(random, wide)}, {other}, #{random.randrange(16)}, {condition}"


def checksum(random: Random, wide: bool) -> str:
    last = "crc32x" if wide else random.choice(CRC)
    return f"{last} {registers(random, False, 2)}, {register(random, wide)}"


def immediate(random: Random, wide: bool) -> str:
    stack = "sp" if wide else "wsp"
    name, amount = random.choice(("adds", "subs")), random.randrange(4096)
    return f"{name} {register(random, wide)}, {stack}, #{amount}{random.choice(('', ', lsl #12'))}"


MAKERS = (two_operands,) * 4 + (multiply, multiply_long, one_operand, bit_field, conditional, checksum, immediate)


def integer_instruction(random: Random) -> str:
    return random.choice(MAKERS)(random, random.random() < 0.6)


def integers() -> Iterator[Case]:
    random = Random(SEED)  # noqa: S311
    for number in range(600):
        body = []
        for index in range(15):
            value = random.choice(INTERESTING) if random.random() < 0.5 else random.getrandbits(64)
            body += load(f"x{index}", value)
        body += [f"mov x16, #{random.randrange(16)}", "lsl x16, x16, #28", "msr nzcv, x16"]
        body += [integer_instruction(random) for _ in range(12)]
        yield Case(f"integer/{number}", 1, [*body, "mrs x17, nzcv", "msr nzcv, xzr"])


def vectors(random: Random) -> list[str]:
    """V0 to V7 with numbers that matter."""
    lines = []
    for index in range(8):
        for half in range(2):
            value = random.choice(DOUBLES) if random.random() < 0.7 else random.getrandbits(64)
            lines += [*load("x0", value), f"mov v{index}.d[{half}], x0"]
    return lines


def results() -> list[str]:
    """V0 to V7 and FPSR into general registers, of which all are compared."""
    moves = [f"mov x{2 * index + half}, v{index}.d[{half}]" for index in range(8) for half in range(2)]
    return [*moves, "mrs x28, fpsr", "mrs x27, nzcv", "msr nzcv, xzr"]


def limited(word: int, fields: tuple[int, ...]) -> int:
    """The word with the register numbers at these bits made 0 to 7."""
    for field in fields:
        word &= ~(0b11000 << field)
    return word


# Bits that are fixed, and their mask: scalar floating point, SIMD of two and three registers, by element, shifts,
# copies, permutations, conversions, cryptography (Arm ARM C4.1).
CLASSES = {
    "fp-1-source": (0x1E20_4000, 0xFF20_7C00),
    "fp-2-source": (0x1E20_0800, 0xFF20_0C00),
    "fp-3-source": (0x1F00_0000, 0xFF00_0000),
    "fp-compare": (0x1E20_2000, 0xFF20_FC07),
    "fp-conditional": (0x1E20_0C00, 0xFF20_0C00),
    "fp-immediate": (0x1E20_1000, 0xFF20_1FE0),
    "fp-integer": (0x1E20_0000, 0x7F20_FC00),
    "fp-fixed": (0x1E00_0000, 0x7F20_0000),
    "simd-three-same": (0x0E20_0400, 0x9F20_0400),
    "simd-three-different": (0x0E20_0000, 0x9F20_0C00),
    "simd-two-misc": (0x0E20_0800, 0x9F3E_0C00),
    "simd-across": (0x0E30_0800, 0x9F3E_0C00),
    "simd-copy": (0x0E00_0400, 0x9FE0_8400),
    "simd-element": (0x0F00_0000, 0x9F00_0400),
    "simd-immediate": (0x0F00_0400, 0x9FF8_0400),
    "simd-shift": (0x0F00_0400, 0x9F80_0400),
    "simd-table": (0x0E00_0000, 0xBFE0_8C00),
    "simd-permute": (0x0E00_0800, 0xBF20_8C00),
    "simd-extract": (0x2E00_0000, 0xBFE0_8400),
    "scalar-three-same": (0x5E20_0400, 0xDF20_0400),
    "scalar-three-different": (0x5E20_0000, 0xDF20_0C00),
    "scalar-two-misc": (0x5E20_0800, 0xDF3E_0C00),
    "scalar-pairwise": (0x5E30_0800, 0xDF3E_0C00),
    "scalar-element": (0x5F00_0000, 0xDF00_0400),
    "scalar-shift": (0x5F00_0400, 0xDF80_0400),
    "scalar-copy": (0x5E00_0400, 0xDFE0_8400),
    "aes": (0x4E28_0800, 0xFFFE_0C00),
    "sha-three": (0x5E00_0000, 0xFFE0_8C00),
    "sha-two": (0x5E28_0800, 0xFFFE_0C00),
}
PER_CLASS = 60


def vector_words() -> Iterator[Case]:
    random = Random(SEED + 1)  # noqa: S311
    for name, (fixed, mask) in CLASSES.items():
        for number in range(PER_CLASS):
            word = limited(fixed | random.getrandbits(32) & ~mask & 0xFFFF_FFFF, (0, 5, 16))
            rounding = random.randrange(4) << 22 | random.getrandbits(2) << 24  # FPCR: RMode, FZ, DN
            prepare = [*vectors(random), *load("x0", rounding), "msr fpcr, x0", "msr fpsr, xzr"]
            operands = [*load("x0", random.choice(INTERESTING)), *load("x1", random.getrandbits(64))]
            body = [*prepare, *operands, f".inst {word:#010x}", *results()]
            yield Case(f"vector/{name}-{number}-{word:08x}", 1, body)


INTEGER_CLASSES = {
    "immediate": (0x1000_0000, 0x1C00_0000),
    "register": (0x0A00_0000, 0x0E00_0000),
}


def integer_words() -> Iterator[Case]:
    """Anything of data processing: most words mean something, some are unallocated."""
    random = Random(SEED + 2)  # noqa: S311
    for name, (fixed, mask) in INTEGER_CLASSES.items():
        for number in range(400):
            words = [fixed | random.getrandbits(32) & ~mask & 0xFFFF_FFFF for _ in range(3)]
            seeds = [line for index in range(8) for line in load(f"x{index}", random.choice(INTERESTING))]
            body = [*seeds, *(f".inst {word:#010x}" for word in words), "mrs x17, nzcv", "msr nzcv, xzr"]
            yield Case(f"word/{name}-{number}", 0, body)


def cases() -> Iterator[Case]:
    yield from integers()
    yield from vector_words()
    yield from integer_words()
