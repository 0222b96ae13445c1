"""What the registers of the core tell one world about the other, once it has been there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import partial

from emulator.gate import Flow, execute, read, write
from monitor.abi import FLEX_VERSION, SECURE_CALL, Call
from monitor.services.messages import Service

from .hostile import Hostile
from .registry import Attack, Play
from .scene import Scene

# The block of firmware/probe/register_block.h, in bytes.
X, FPSR, V, EL1 = 0x000, 0x108, 0x110, 0x310
FOUND = 0x800
BLOCK_SIZE = 0x1000

RESULTS = 6  # x0-x5 of a yielding call
STATUS_BITS = 0x9F  # of FPCR and FPSR: the exception flags, which live in FPSR
MAIR = 0xFF04  # both kernels need attributes 0 and 1
CPACR_FP_EVERYWHERE, CPACR_FP_AT_EL1 = 3 << 20, 1 << 20
VBAR_RES0 = 0x7FF
FLOOR = 4  # registers of probe_floor


def general_names() -> tuple[str, ...]:
    return tuple(f"x{index}" for index in range(RESULTS, 31))


def vector_names() -> tuple[str, ...]:
    return (*(f"v{index}" for index in range(32)), "fpsr")


def pattern(world: str, name: str) -> int:
    """A number of its own for each register of each world."""
    size = 16 if name in vector_names() and name != "fpsr" else 8
    value = int.from_bytes(hashlib.sha256(f"{world} {name}".encode()).digest()[:size], "little")
    return value & STATUS_BITS if name == "fpsr" else value


def system_patterns(world: str, names: tuple[str, ...]) -> dict[str, int]:
    """Values for EL1's registers that code can run with."""
    values = {name: pattern(world, name) for name in names}
    values["mair_el1"] = values["mair_el1"] & ~0xFFFF | MAIR
    values["cpacr_el1"] = CPACR_FP_EVERYWHERE if world == "normal" else CPACR_FP_AT_EL1
    return values


def planted_block(call: int, arguments: tuple[int, ...], world: str, system: Mapping[str, int]) -> bytes:
    """A block that makes ``call`` with every register holding its pattern; ``system``: EL1's registers, in order."""
    words = [pattern(world, f"x{index}") for index in range(31)]
    words[: len(arguments) + 1] = call, *arguments
    words += [0, 0, pattern(world, "fpsr")]  # NZCV is not planted, FPCR is zero
    vectors = [pattern(world, f"v{index}") for index in range(32)]
    parts = [word.to_bytes(8, "little") for word in words] + [vector.to_bytes(16, "little") for vector in vectors]
    return b"".join([*parts, *(value.to_bytes(8, "little") for value in system.values())])


def found_registers(block: bytes, system_names: tuple[str, ...]) -> dict[str, int]:
    """What a block says was found after the call."""

    def at(offset: int, size: int = 8) -> int:
        return int.from_bytes(block[FOUND + offset : FOUND + offset + size], "little")

    general = {f"x{index}": at(X + index * 8) for index in range(31)}
    vectors = {f"v{index}": at(V + index * 16, 16) for index in range(32)} | {"fpsr": at(FPSR)}
    return general | vectors | {name: at(EL1 + index * 8) for index, name in enumerate(system_names)}


def split_names(data: bytes) -> tuple[str, ...]:
    """``registers_names`` of the probe image."""
    return tuple(name.decode() for name in data.split(b"\0") if name)


def _registers(choose: Callable[[tuple[str, ...]], tuple[str, ...]]) -> Play:
    """Whether a visit to the secure world, which leaves with patterns of its own, changes a register of ours."""

    def script(hostile: Hostile, scene: Scene) -> Flow[bool]:
        first, last = (hostile.probe[f"registers_names{end}"] for end in ("", "_end"))
        system = split_names((yield from read(first, last - first)))
        names = choose(system)
        theirs = yield from _visit(hostile, system, "secure", FLEX_VERSION)
        ours = yield from _visit(hostile, system, "normal", FLEX_VERSION)
        ours |= {name: pattern("normal", name) for name in names if name not in system and name != "fpsr"}
        scene.plant_secure_registers(partial(_secure_block, system))
        floor = yield from _floor(hostile)
        scene.arm()
        found = yield from _visit(hostile, system, "normal", SECURE_CALL, Service.POLL)
        assert scene.secure_registers_were_planted()
        telling = [name for name in names if theirs[name] != ours[name]]
        assert len(telling) > len(names) // 2, f"of {names} both worlds hold the same in all but {telling}"
        changed = [name for name in telling if found[name] != ours[name]]
        if (yield from _floor(hostile)) != floor:
            return True
        yield from hostile.kernel.secure.poll()  # where the secure world gets its own registers back
        if not changed:
            scene.credit(f"world switch: {len(telling)} registers hold what they held before")
        return bool(changed)

    return script


def _floor(hostile: Hostile) -> Flow[tuple[int, ...]]:
    """SCTLR_EL1, TTBR0_EL1, TCR_EL1, ACTLR_EL1: each kernel has values of its own, and could not run on a pattern."""
    _, _, _, *registers = yield from execute(hostile.probe["probe_floor"])
    return tuple(registers[:FLOOR])


def _secure_block(system: tuple[str, ...], call: int, arguments: tuple[int, ...]) -> bytes:
    return planted_block(call, arguments, "secure", system_patterns("secure", system))


def _visit(hostile: Hostile, system: tuple[str, ...], world: str, call: Call, *arguments: int) -> Flow[dict[str, int]]:
    """Make ``call`` with the patterns of ``world`` in every register: what they hold afterwards.

    Our vectors stay where they are; what the secure world has there is read off its pattern.
    """
    values = system_patterns(world, system)
    vectors, values["vbar_el1"] = values["vbar_el1"], hostile.kernel.gate.address("gate_vectors")
    block = hostile.take_page()
    yield from write(block, planted_block(call.function, arguments, world, values))
    yield from execute(hostile.probe["probe_registers"], block)
    content = yield from read(block, BLOCK_SIZE)
    hostile.free_page(block)
    found = found_registers(content, system)
    return found | {"vbar_el1": vectors & ~VBAR_RES0} if world == "secure" else found


ATTACKS = (
    Attack("registers-x", "looks for the secure world in x6-x30", _registers(lambda _: general_names()), control=False),
    Attack("registers-v", "looks for the secure world in v0-v31", _registers(lambda _: vector_names()), control=False),
    Attack("registers-el1", "looks for the secure world in EL1's own", _registers(lambda el1: el1), control=False),
)
