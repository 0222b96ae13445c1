"""A world switch keeps every register of each world, and shows none of the other's."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from emulator.memory_map import NORMAL_IMAGE_BASE, PAGE_SIZE
from emulator.world import World
from monitor import abi

from .phone import PAGE, Phone

FOUND = 0x800  # register_block.h
FPCR, FPSR, V, EL1 = 0x100, 0x108, 0x110, 0x310
MASKS = {  # bits that a kernel can spare
    "mair_el1": (0xFFFF_FFFF_FFFF_0000, 0xFF04),
    "cpacr_el1": (0, 3 << 20),
    "vbar_el1": (0xFFFF_FFFF_F800, 0),
    "ttbr1_el1": (0xFFFF_FFFF_F000, 0),
    "csselr_el1": (0xF, 0),
    "cntkctl_el1": (0x3FF, 0),
}


# As MASKS says, or hard-wired in a Cortex-A72.
FIXED = {"cpacr_el1", "afsr0_el1", "afsr1_el1", "amair_el1"}


@dataclass(frozen=True)
class Block:
    """What registers_smc planted or found."""

    x: tuple[int, ...]
    fpcr: int
    fpsr: int
    v: bytes
    el1: dict[str, int]


@pytest.fixture
def phone() -> Iterator[Phone]:
    phone = Phone().boot()
    phone.machine.excused = {"secure_world_has_its_own_tables"}  # its VBAR_EL1 gets a pattern as well
    yield phone
    phone.machine.close()


def names(phone: Phone) -> list[str]:
    symbols, base = phone.images.gate.symbols, NORMAL_IMAGE_BASE
    size = symbols["registers_names_end"] - symbols["registers_names"]
    text = phone.machine.read_physical(base + symbols["registers_names"], size)
    return text.rstrip(b"\0").decode().split("\0")


def block_address(phone: Phone, world: World) -> int:
    return PAGE if world is World.NORMAL else phone.layout.secure_base + 4 * 0x10_0000


def plant(phone: Phone, call: abi.Call, seed: int) -> None:
    """Run registers_smc in the present world with patterns of ``seed`` everywhere."""
    address = block_address(phone, phone.core.world)
    x = [call.function, *(seed << 32 | index for index in range(1, 31))]
    el1 = []
    for index, name in enumerate(names(phone)):
        keep, fixed = MASKS.get(name, (0x0000_FFFF_FFFF_FFF0, 0))
        el1.append(seed * 0x0101_0101_0101_01 * (2 * index + 1) & keep | fixed)
    block = bytearray(PAGE_SIZE)
    struct.pack_into("<31Q", block, 0, *x)
    struct.pack_into("<2Q", block, FPCR, (seed & 3) << 22, seed & 0x1F)
    block[V : V + 512] = bytes((seed + index) & 0xFF for index in range(512))
    struct.pack_into(f"<{len(el1)}Q", block, EL1, *el1)
    phone.machine.write_physical(address, bytes(block))
    phone.core.sp = address
    phone.core.pc = phone.gate("registers_smc")


def read(phone: Phone, world: World, offset: int = FOUND) -> Block:
    block = phone.machine.read_physical(block_address(phone, world) + offset, 0x800)
    listed = names(phone)
    fpcr, fpsr = struct.unpack_from("<2Q", block, FPCR)
    el1 = dict(zip(listed, struct.unpack_from(f"<{len(listed)}Q", block, EL1), strict=True))
    return Block(struct.unpack_from("<31Q", block), fpcr, fpsr, block[V : V + 512], el1)


def test_every_register_survives_both_ways(phone: Phone) -> None:
    normal, secure = 0x5A, 0xC3
    plant(phone, abi.FLEX_VERSION, normal)
    phone.run()
    expected_normal = read(phone, World.NORMAL)  # as the hardware keeps what was planted
    phone.enter(World.SECURE)
    plant(phone, abi.FLEX_VERSION, secure)
    phone.run()
    expected_secure = read(phone, World.SECURE)
    phone.enter(World.NORMAL)
    same = {name for name, value in expected_normal.el1.items() if value == expected_secure.el1[name]}
    assert same <= FIXED

    plant(phone, abi.SECURE_CALL, normal)
    assert phone.run() == "arrive_entry"
    assert not set(phone.registers(31)[7:]) - {0}
    plant(phone, abi.SECURE_DONE, secure)
    phone.run()
    found = read(phone, World.NORMAL)
    assert found.el1 == expected_normal.el1
    assert (found.fpcr, found.fpsr, found.v) == (expected_normal.fpcr, expected_normal.fpsr, expected_normal.v)
    assert found.x[6:] == read(phone, World.NORMAL, 0).x[6:]
    assert found.x[:6] == (0, *(secure << 32 | index for index in range(1, 6)))  # the results

    phone.core.pc = phone.gate("gate_smc")
    phone.core.x[0] = abi.SECURE_CALL.function
    phone.run()
    phone.core.sp = block_address(phone, World.SECURE) + FOUND
    assert phone.core.world is World.SECURE
    for register in ("TPIDR_EL0", "TPIDR_EL1", "ELR_EL1", "SP_EL0", "CONTEXTIDR_EL1", "AMAIR_EL1", "TTBR1_EL1"):
        assert phone.core.read_sysreg(register) == expected_secure.el1[register.lower()], register
    assert phone.core.read_vector(31) == int.from_bytes(expected_secure.v[-16:], "little")
