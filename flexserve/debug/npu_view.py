"""Whose the NPU is, and what each core is at."""

from __future__ import annotations

from collections.abc import Mapping

from rich.text import Text

from emulator.devices.gic import GicDistributor
from emulator.devices.npu import NpuControl, NpuCore, Problem
from emulator.machine import Machine
from emulator.memory_map import FIRST_SPI, GIC_DISTRIBUTOR, NPU0, NPU1, NPU2, NPU_CONTROL, StreamId, Window
from emulator.registers import Register
from monitor.abi import Vmid
from monitor.memory import CarveOut
from monitor.view import read_stage2, read_stream

from .protection_views import must_hold, stream_table
from .scene import Answer, Scene, Words, expect_none, lines

CORES = (NPU0, NPU1, NPU2)


def show_npu(scene: Scene, words: Words) -> Answer:
    expect_none(words)
    must_hold(scene)
    machine = scene.machine
    registers, stream, group = _registers_in(machine), _stream(machine), _group(machine)
    owner = _owner(registers, stream)
    cores = [_core(machine, number, window) for number, window in enumerate(CORES)]
    data = {"owner": owner, "registers": registers, "stream": stream, "interrupts": group, "cores": cores}
    told = f"registers in the stage 2 of {registers}, streams with the table of {stream}, interrupts in {group}"
    shown = (Text(f"the NPU: {owner}", "bold"), *lines(told, *(_sentence(core) for core in cores)))
    return Answer(data, shown)


def _owner(registers: str, stream: str) -> str:
    """As docs/npu.md has it: exclusive, and drained in between."""
    match registers, stream:
        case "the driver context", "the secure world":
            return "the secure world's"
        case "the normal world", "the normal world":
            return "the normal world's"
        case _:
            return "between the worlds"


def _registers_in(machine: Machine) -> str:
    tables = {"the normal world": CarveOut.NORMAL_ROOT, "the driver context": CarveOut.DRIVER_ROOT}
    found = [
        name
        for name, root in tables.items()
        if read_stage2(machine, machine.layout.carve_out_base + root).reaches(NPU0.base)
    ]
    return " and ".join(found) or "nobody"


def _stream(machine: Machine) -> str:
    stream = read_stream(machine, stream_table(machine), StreamId.NPU0)
    if stream is None:
        return "nobody"
    return "the secure world" if stream.vmid == Vmid.NPU else "the normal world"


def _group(machine: Machine) -> str:
    assert NPU0.spi is not None
    word, bit = divmod(FIRST_SPI + NPU0.spi, 32)
    groups = machine.read_register(GIC_DISTRIBUTOR, GicDistributor.IGROUPR.at(word))
    return f"Group {groups >> bit & 1}"


def _core(machine: Machine, number: int, window: Window) -> dict[str, object]:
    def control(register: Register, index: int = 0) -> int:
        return machine.read_register(NPU_CONTROL, register.at(index))

    def core(register: Register) -> int:
        return machine.read_register(window, register.offset)

    problem = control(NpuControl.FAULT, number) >> NpuControl.FAULT.fields["problem"].lsb
    return {
        "core": window.name,
        "on": bool((control(NpuControl.POWER) & control(NpuControl.CLOCK)) >> number & 1),
        "busy": bool(control(NpuControl.STATUS) >> number & 1),
        "program": core(NpuCore.PC_BASE_ADDRESS),
        "tasks": core(NpuCore.PC_TASK_CON) & NpuCore.PC_TASK_CON.fields["task_number"].mask,
        "done": core(NpuCore.PC_TASK_STATUS),
        "fault": Problem(problem).name,
    }


def _sentence(core: Mapping[str, object]) -> str:
    if not core["on"]:
        return f"{core['core']}: no power, or no clock{', a job in flight' if core['busy'] else ''}"
    job = f"{core['done']} of {core['tasks']} tasks done of the program at {core['program']:#x}"
    if core["busy"]:
        return f"{core['core']}: busy, {job}"
    if core["fault"] != Problem.NONE.name:
        return f"{core['core']}: idle, gave up by {core['fault']}, {job}"
    return f"{core['core']}: idle{f', {job}' if core['tasks'] else ''}"
