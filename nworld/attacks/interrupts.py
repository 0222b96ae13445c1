"""Interrupts forged and withheld, while the NPU is secure: its own, the secure timer's, and those between cores."""

from __future__ import annotations

from emulator.devices.gic import GicCpuInterface, GicDistributor
from emulator.gate import Flow, access_all, charge
from emulator.memory_map import FIRST_SPI, GIC_CPU, GIC_DISTRIBUTOR, NPU0
from emulator.registers import Register
from nworld.npu_sandbox import NpuSandbox

from .hostile import TIMER, Hostile
from .registry import Attack, Moment, Play
from .scene import Scene

SECURE_TIMER = 29
SECURE_SGI, NORMAL_SGI = 8, 0
JOB_TICKS = 100_000  # until a job that is under way is over
LOWEST_PRIORITY = 0xFF

assert NPU0.spi is not None
NPU_INTERRUPT = FIRST_SPI + NPU0.spi


def _set_bit(register: Register, interrupt: int, lifted: int) -> Play:
    """Of ``interrupt``; in a lifted scene of ``lifted``, an interrupt of the normal world's, which is enabled first."""

    def script(hostile: Hostile, scene: Scene) -> Flow[bool]:
        chosen = interrupt
        if scene.lifted:
            chosen = lifted
            yield from hostile.enable_interrupt(chosen)
        return (yield from _write(hostile, scene, register, chosen // 32, 1 << chosen % 32))

    return script


def _of_npu(register: Register) -> Play:
    return _set_bit(register, NPU_INTERRUPT, NPU_INTERRUPT)


def _prioritise(hostile: Hostile, scene: Scene) -> Flow[bool]:
    """Four interrupts share a register: the others get what they have."""
    register, index, shift = GicDistributor.IPRIORITYR, NPU_INTERRUPT // 4, NPU_INTERRUPT % 4 * 8
    (held,) = yield from access_all((GIC_DISTRIBUTOR.base + register.at(index), None))
    value = held & ~(LOWEST_PRIORITY << shift) | LOWEST_PRIORITY << shift
    return (yield from _write(hostile, scene, register, index, value))


def _write(hostile: Hostile, scene: Scene, register: Register, index: int, value: int) -> Flow[bool]:
    address = scene.live_register(GIC_DISTRIBUTOR.base, register.at(index))
    yield from hostile.store_register(address, value)
    return _altered(scene, address, register)


def _protected(register: Register, index: int) -> Play:
    """A register whose bits are never the normal world's to write, or fixed."""

    def script(hostile: Hostile, scene: Scene) -> Flow[bool]:
        address = scene.register(GIC_DISTRIBUTOR.base, register.at(index))
        yield from hostile.store_register(address, 0xFFFF_FFFF)
        return _altered(scene, address, register)

    return script


def _altered(scene: Scene, address: int, register: Register) -> bool:
    """The GIC drops a write of what is not the writer's, and nothing in the event stream tells of that.

    What is made pending and let through is acknowledged at once, and pending no more: EL3 would have been entered.
    """
    through = scene.altered(address) or scene.interrupted()
    if not through:
        scene.credit(f"GIC: {register.name} keeps what it held")
    return through


def _end(hostile: Hostile, scene: Scene) -> Flow[bool]:
    """Acknowledges, ends, clears and deactivates the interrupt of a job that is over, before the driver has seen it."""
    if scene.lifted:
        yield from hostile.enable_interrupt(NPU_INTERRUPT)
    yield from charge(JOB_TICKS)
    assert not scene.npu.job_under_way()
    word, bit = NPU_INTERRUPT // 32, 1 << NPU_INTERRUPT % 32
    active = scene.live_register(GIC_DISTRIBUTOR.base, GicDistributor.ISACTIVER.at(word))
    assert scene.lifted or scene.value(active) & bit
    (acknowledged,) = yield from access_all((GIC_CPU.base + GicCpuInterface.IAR.offset, None))
    yield from access_all(
        (GIC_CPU.base + GicCpuInterface.EOIR.offset, NPU_INTERRUPT),
        (GIC_CPU.base + GicCpuInterface.DIR.offset, NPU_INTERRUPT),
        (GIC_DISTRIBUTOR.base + GicDistributor.ICPENDR.at(word), bit),
        (GIC_DISTRIBUTOR.base + GicDistributor.ICACTIVER.at(word), bit),
    )
    return acknowledged == NPU_INTERRUPT or _altered(scene, active, GicDistributor.ISACTIVER)


def _software_interrupt(hostile: Hostile, scene: Scene) -> Flow[bool]:
    """To this core, of Group 0: the target list names it."""
    number = NORMAL_SGI if scene.lifted else SECURE_SGI
    address = scene.live_register(GIC_DISTRIBUTOR.base, GicDistributor.ISPENDR.at(0))
    yield from hostile.store_register(GIC_DISTRIBUTOR.base + GicDistributor.SGIR.offset, 1 << 16 | number)
    return _altered(scene, address, GicDistributor.ISPENDR)


def _in_job(name: str, tries: str, script: Play) -> Attack:
    return Attack(name, tries, script, Moment.JOB, driver=NpuSandbox)


ATTACKS = (
    _in_job("interrupt-forge", "makes the NPU's interrupt pending", _of_npu(GicDistributor.ISPENDR)),
    _in_job("interrupt-activate", "makes the NPU's interrupt active", _of_npu(GicDistributor.ISACTIVER)),
    _in_job("interrupt-disable", "disables the NPU's interrupt", _of_npu(GicDistributor.ICENABLER)),
    _in_job("interrupt-end", "acknowledges, ends, clears and deactivates the NPU's interrupt", _end),
    _in_job("interrupt-prioritise", "gives the NPU's interrupt the lowest priority", _prioritise),
    _in_job(
        "interrupt-regroup",
        "moves the NPU's interrupt to its own group",
        _protected(GicDistributor.IGROUPR, NPU_INTERRUPT // 32),
    ),
    _in_job(
        "interrupt-retarget",
        "sends the NPU's interrupt to no core",
        _protected(GicDistributor.ITARGETSR, NPU_INTERRUPT // 4),
    ),
    _in_job("interrupt-software", "sends the core a secure software interrupt", _software_interrupt),
    _in_job(
        "interrupt-forge-deadline",
        "makes the secure timer's interrupt pending",
        _set_bit(GicDistributor.ISPENDR, SECURE_TIMER, TIMER),
    ),
    _in_job(
        "interrupt-disable-deadline",
        "disables the secure timer's interrupt",
        _set_bit(GicDistributor.ICENABLER, SECURE_TIMER, TIMER),
    ),
)
