"""Hands that reach into a running phone, and where it stands when they do."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from emulator.memory_map import BLOCK_SIZE, DRAM_BASE, PAGE_SIZE
from emulator.native import ffi, lib
from emulator.world import World
from monitor import abi
from monitor.abi import PageState
from monitor.hardware import CONTEXTS
from monitor.memory import CONTEXT, CONTEXT_BYTES, EL1_REGISTERS, WORD, CarveOut
from tests.firmware.npu import power_on, start_job
from tests.firmware.phone import PAGE, Phone

READABLE, WRITABLE = PAGE, PAGE + PAGE_SIZE  # LOCKED, and the NPU's
HIDDEN, GIVEN_BACK = PAGE + 2 * PAGE_SIZE, PAGE + 3 * PAGE_SIZE  # LOCKED; RELEASED
PROMISED, FREE = PAGE + 4 * PAGE_SIZE, PAGE + 8 * PAGE_SIZE  # ALLOCATED; NORMAL
IOVA = 0x10_0000
LOAD = 0  # of lib.translate_probe


@dataclass(frozen=True)
class Break:
    """``apply`` breaks ``rule`` on a phone that stands as one of `STARTS` says."""

    rule: str
    apply: Callable[[Phone], None]
    start: str = "normal"

    @property
    def name(self) -> str:
        return self.apply.__name__


# --- where the phone stands ------------------------------------------------------------------------------------------


def booted(phone: Phone) -> None:
    """Nothing has happened yet."""


def normal(phone: Phone) -> None:
    """The normal world runs. Pages are in every state, and one is asked back."""
    phone.lock(PAGE, 4)
    phone.call(abi.NPU_MAP, IOVA, READABLE, 1)
    phone.call(abi.NPU_MAP, IOVA + PAGE_SIZE, WRITABLE, 1, abi.NPU_WRITE)
    phone.call(abi.MEM_RELEASE, GIVEN_BACK, 1)
    phone.call(abi.MEM_ALLOCATE, PROMISED, 1)
    phone.call(abi.MEM_RECALL, 1, 1 << 40)
    phone.enter(World.NORMAL)


def secure(phone: Phone) -> None:
    normal(phone)
    phone.enter(World.SECURE)


def secure_npu(phone: Phone) -> None:
    """The secure world has the NPU, and runs."""
    normal(phone)
    assert phone.status(abi.NPU_ACQUIRE) == abi.Status.SUCCESS


def npu_elsewhere(phone: Phone) -> None:
    """The same, and the normal world runs."""
    secure_npu(phone)
    phone.enter(World.NORMAL)


def draining(phone: Phone) -> None:
    """A job of the normal world's is at work on core 0, and the secure world wants the NPU."""
    power_on(phone)
    start_job(phone, PAGE)
    assert phone.status(abi.NPU_ACQUIRE) == abi.Status.BUSY


def driver(phone: Phone) -> None:
    secure_npu(phone)
    phone.smc(abi.DRIVER_CALL.function)
    assert phone.in_driver


def driver_interrupted(phone: Phone) -> None:
    """By the deadline of a recall: the normal world runs, and the driver's context waits."""
    normal(phone)
    phone.call(abi.MEM_RECALL, 1, abi.MINIMUM_DEADLINE)
    phone.call(abi.NPU_ACQUIRE)
    phone.smc(abi.DRIVER_CALL.function)
    _spin(phone)


def in_handler(phone: Phone) -> None:
    """A page was taken by force from a thread that is interrupted, whose context is set aside: the handler runs."""
    normal(phone)
    phone.call(abi.MEM_RECALL, 1, abi.MINIMUM_DEADLINE)
    phone.enter(World.SECURE)
    _spin(phone)
    assert phone.call(abi.MEM_RECLAIM, HIDDEN, 1, abi.FORCE)["status"] == abi.Status.SUCCESS
    assert phone.smc(abi.SECURE_CALL.function) == "arrive_revocation"


def _spin(phone: Phone) -> None:
    phone.core.x[8], phone.core.x[9] = 1 << 40, 0
    phone.core.pc = phone.gate("gate_busy")
    phone.run()
    assert phone.registers(1) == [abi.Status.PREEMPTED]


STARTS = {
    start.__name__: start
    for start in (booted, normal, secure, secure_npu, npu_elsewhere, draining, driver, driver_interrupted, in_handler)
}


# --- memory -----------------------------------------------------------------------------------------------------------


def word(phone: Phone, address: int) -> int:
    return int(struct.unpack("<Q", phone.machine.read_physical(address, WORD))[0])


def put(phone: Phone, address: int, value: int) -> None:
    phone.machine.write_physical(address, struct.pack("<Q", value))


def turn(phone: Phone, address: int, bits: int) -> None:
    """Turn these bits of a word over."""
    put(phone, address, word(phone, address) ^ bits)


def table(phone: Phone, place: CarveOut, index: int) -> int:
    """Address of an entry of one of the carve-out's tables."""
    return phone.layout.carve_out_base + place + WORD * index


def leaf(phone: Phone, page: int) -> int:
    """Of the stage-2 entry of a page of normal memory."""
    return phone.layout.carve_out_base + BLOCK_SIZE + (page - DRAM_BASE) // PAGE_SIZE * WORD


def npu_leaf(phone: Phone, iova: int) -> int:
    return phone.layout.npu_tables_base + iova // PAGE_SIZE * WORD


def reverse(phone: Phone, page: int) -> int:
    return phone.layout.secure_end + (page - DRAM_BASE) // PAGE_SIZE * 4


def stream(phone: Phone, number: int, at: int = 0) -> int:
    """Of word ``at`` of a stream's entry."""
    return phone.layout.carve_out_base + CarveOut.STREAM_TABLE + 64 * number + WORD * at


def el3_entry(phone: Phone, name: str, index: int) -> int:
    return phone.images.monitor.symbols[name] + WORD * index


def variable(phone: Phone, name: str, value: int, offset: int = 0) -> None:
    """Set a variable of the monitor's, or a word of one that is wider."""
    symbols, size = phone.images.monitor.symbols, min(phone.images.monitor.sizes[name], WORD)
    phone.machine.write_physical(symbols[name] + offset, value.to_bytes(size, "little"))


def saved(phone: Phone, context: int, field: str, value: int) -> None:
    """Set a word of a context that the monitor keeps; ``context``: its place in `monitor.hardware.CONTEXTS`."""
    symbols = phone.images.monitor.symbols
    is_aside = context == CONTEXTS.index("set aside")
    base = symbols["set_aside"] if is_aside else symbols["contexts"] + context * CONTEXT_BYTES
    at = CONTEXT[field].offset if field in CONTEXT else CONTEXT["el1"].offset + WORD * EL1_REGISTERS.index(field)
    put(phone, base + at, value)


def own(phone: Phone, page: int, entry: int) -> None:
    """Set the page's byte of the ownership table, and nothing else."""
    phone.machine.write_physical(phone.layout.ownership_base + (page - DRAM_BASE) // PAGE_SIZE, bytes([entry]))


def count(phone: Phone, **pages: int) -> None:
    """Add to what the monitor counts, by state."""
    base = phone.images.monitor.symbols["pages_in"]
    for name, more in pages.items():
        at = base + WORD * PageState[name]
        put(phone, at, word(phone, at) + more)


def lock(phone: Phone, page: int) -> None:
    """As a monitor does that forgets every TLB: table, ownership and counts agree."""
    own(phone, page, PageState.LOCKED)
    put(phone, leaf(phone, page), 0)
    count(phone, NORMAL=-1, LOCKED=1)


# --- registers, translations ------------------------------------------------------------------------------------------


def flip(phone: Phone, register: str, bits: int) -> None:
    phone.core.write_sysreg(register, phone.core.read_sysreg(register) ^ bits)


def translate(phone: Phone, address: int, level: int = 1) -> None:
    """As a load of the core's would: what is found is in its TLB from here on."""
    probe = ffi.new("struct probe *")
    lib.translate_probe(phone.machine.native, address, LOAD, level, probe)
    assert probe.allowed, f"{address:#x} is not reached"


def translate_dma(phone: Phone, number: int, address: int) -> None:
    """As a DMA master's access would, through the SMMU."""
    assert lib.smmu_translate(phone.machine.native, number, address, False, ffi.new("uint64_t *"))
