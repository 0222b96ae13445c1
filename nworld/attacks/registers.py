"""What the registers of the core tell one world about the other, once it has been there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

from emulator.gate import Flow, execute, read, write
from monitor.abi import FLEX_VERSION, SECURE_CALL, Call
from monitor.services.messages import Service

from .hostile import Hostile
from .registry import Attack, Script
from .scene import Scene

# The block of firmware/probe/register_block.h, in bytes.
X, NEXT, FPCR, V, EL1 = 0x000, 0x0F8, 0x100, 0x110, 0x310
FOUND = 0x800
BLOCK_SIZE = 0x1000

RESULTS = 6  # x0-x5 of a yielding call
STATUS_BITS = 0x9F  # of FPCR and FPSR: the exception flags, which live in FPSR
STEADY = ("vbar_el1", "cpacr_el1", "mair_el1", "ttbr1_el1", "mdscr_el1")  # the normal kernel needs them as they are

Found = Mapping[str, int]


def general_names() -> tuple[str, ...]:
    return tuple(f"x{index}" for index in range(RESULTS, 31))


def vector_names() -> tuple[str, ...]:
    return (*(f"v{index}" for index in range(32)), "fpsr")


def pattern(world: str, name: str, size: int = 8) -> int:
    """A number of its own for each register of each world."""
    value = int.from_bytes(hashlib.sha256(f"{world} {name}".encode()).digest()[:size], "little")
    return value & STATUS_BITS if name == "fpsr" else value


def planted_block(call: int, arguments: tuple[int, ...], world: str, system: Mapping[str, int], end: int = 0) -> bytes:
    """A block that makes ``call`` with every register holding its pattern; ``system``: the EL1 registers in order."""
    block = bytearray(FOUND)

    def put(offset: int, value: int, size: int = 8) -> None:
        block[offset : offset + size] = value.to_bytes(size, "little")

    for index in range(31):
        put(X + index * 8, pattern(world, f"x{index}"))
    for index, argument in enumerate((call, *arguments)):
        put(X + index * 8, argument)
    put(NEXT, end)
    put(FPCR + 8, pattern(world, "fpsr"))
    for index in range(32):
        put(V + index * 16, pattern(world, f"v{index}", 16), 16)
    for index, value in enumerate(system.values()):
        put(EL1 + index * 8, value)
    return bytes(block)


def found_registers(block: bytes, system_names: tuple[str, ...]) -> Found:
    """What a block says was found after the call."""

    def at(offset: int, size: int = 8) -> int:
        return int.from_bytes(block[FOUND + offset : FOUND + offset + size], "little")

    general = {f"x{index}": at(X + index * 8) for index in range(31)}
    vectors = {f"v{index}": at(V + index * 16, 16) for index in range(32)} | {"fpsr": at(FPCR + 8)}
    return general | vectors | {name: at(EL1 + index * 8) for index, name in enumerate(system_names)}


def split_names(data: bytes) -> tuple[str, ...]:
    """``registers_names`` of the probe image."""
    return tuple(name.decode() for name in data.split(b"\0") if name)


def _registers(names: Callable[[tuple[str, ...]], tuple[str, ...]]) -> Callable[[Hostile, Scene], Script[bool]]:
    """Whether a visit to the secure world changes any of ``names`` that a visit to the monitor alone does not."""

    def script(hostile: Hostile, scene: Scene) -> Flow[bool]:
        first, last = (hostile.probe[f"registers_names{end}"] for end in ("", "_end"))
        system = split_names((yield from read(first, last - first)))
        block = hostile.take_page()
        before = yield from _visit(hostile, block, system, FLEX_VERSION, ())
        held = scene.plant_secure_registers(system)
        scene.arm()
        after = yield from _visit(hostile, block, system, SECURE_CALL, (Service.POLL,))
        hostile.free_page(block)
        tried = [name for name in names(system) if held[name] != before[name]]
        assert len(tried) > len(names(system)) // 2, f"the secure world's {names(system)} hold nothing of their own"
        changed = [name for name in tried if after[name] != before[name]]
        if not changed:
            scene.credit(f"world switch: {len(tried)} registers hold what they held before")
        return bool(changed)

    return script


def _visit(
    hostile: Hostile, block: int, system: tuple[str, ...], call: Call, arguments: tuple[int, ...]
) -> Flow[Found]:
    """Make ``call`` with every register planted: what they hold afterwards."""
    steady = hostile.steady_registers
    values = {name: steady[name] if name in STEADY else pattern("normal", name) for name in system}
    data = planted_block(call.function, arguments, "normal", values, hostile.probe["probe_done"])
    yield from write(block, data)
    yield from execute(hostile.probe["probe_registers"], block)
    return found_registers((yield from read(block, BLOCK_SIZE)), system)


ATTACKS = (
    Attack("registers-x", "looks for the secure world in x6-x30", _registers(lambda _: general_names()), control=False),
    Attack("registers-v", "looks for the secure world in v0-v31", _registers(lambda _: vector_names()), control=False),
    Attack("registers-el1", "looks for the secure world in EL1's registers", _registers(lambda system: system), control=False),
)
