"""A program that is malformed, or asks for what the model lacks, ends with a status and the register's name."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from emulator.devices.npu import NpuCore, Problem
from emulator.events import NpuWhat
from emulator.memory_map import GIB
from flexserve.trace import names

from .bench import DONE, FEATURES, OUTPUT, PROGRAM, WEIGHTS, Bench, bench
from .program import CNA, CORE, DPU, ENABLE, MARKER, PC, Product, amount, chain, command, packed

PROGRAM_ERROR, READ_ERROR = 1 << 14, 1 << 12
GOOD = Product(4, 64, 32, FEATURES, WEIGHTS, OUTPUT)
END = [0, 0, command(MARKER, 0, 0), command(ENABLE, 0x1D, 8)]


@pytest.fixture(scope="module")
def shared() -> Iterator[Bench]:
    with bench() as made:
        yield made


def run_words(rig: Bench, words: list[int]) -> int:
    rig.machine.write_physical(PROGRAM, packed(words))
    rig.submit(PROGRAM, (len(words) + 1) // 2 - 1)
    return rig.wait()


def changed(target: int, register: str, value: int) -> Product:
    offset: int = getattr(NpuCore, register).offset
    return Product(4, 64, 32, FEATURES, WEIGHTS, OUTPUT, changed={(target, offset): value})


REFUSED = [
    (CNA, "CNA_CONV_CON1", 3, Problem.NOT_IMPLEMENTED),  # depthwise
    (CNA, "CNA_CONV_CON1", 1 << 7 | 1 << 4, Problem.NOT_IMPLEMENTED),  # int16
    (CNA, "CNA_CONV_CON1", 2 << 7, Problem.BAD_VALUE),  # two precisions
    (CNA, "CNA_CONV_CON2", 1 << 16, Problem.NOT_IMPLEMENTED),
    (CNA, "CNA_CONV_CON3", 2 << 3 | 2, Problem.NOT_IMPLEMENTED),
    (CNA, "CNA_DATA_SIZE0", 1 << 16, Problem.BAD_VALUE),  # no rows
    (CNA, "CNA_DATA_SIZE0", 4, Problem.BAD_VALUE),  # no columns
    (CNA, "CNA_DATA_SIZE1", 63 << 16, Problem.BAD_VALUE),  # no channels
    (CNA, "CNA_DATA_SIZE1", 64 << 16 | 64, Problem.BAD_VALUE),  # more real ones than there are
    (CNA, "CNA_DATA_SIZE3", 5, Problem.BAD_VALUE),
    (CNA, "CNA_WEIGHT_SIZE0", 1, Problem.BAD_VALUE),
    (CNA, "CNA_WEIGHT_SIZE1", 65, Problem.BAD_VALUE),
    (CNA, "CNA_WEIGHT_SIZE2", 1 << 24 | 1 << 16, Problem.BAD_VALUE),  # no kernels
    (CNA, "CNA_WEIGHT_SIZE2", 3 << 24 | 3 << 16 | 32, Problem.NOT_IMPLEMENTED),  # 3x3
    (CNA, "CNA_CBUF_CON0", 0x00, Problem.TOO_LARGE),
    (CNA, "CNA_CBUF_CON0", 0xFF, Problem.TOO_LARGE),
    (CNA, "CNA_CBUF_CON0", 1 << 13 | 0xB1, Problem.NOT_IMPLEMENTED),
    (CNA, "CNA_CVT_CON0", 0, Problem.NOT_IMPLEMENTED),
    (CNA, "CNA_FC_CON0", 1, Problem.NOT_IMPLEMENTED),
    (CNA, "CNA_PAD_CON0", 1, Problem.NOT_IMPLEMENTED),
    (CNA, "CNA_DCOMP_CTRL", 1, Problem.NOT_IMPLEMENTED),
    (CNA, "CNA_FEATURE_DATA_ADDR", FEATURES + 8, Problem.UNALIGNED),
    (CNA, "CNA_FEATURE_DATA_ADDR", 0xFFFF_FFF0, Problem.TOO_LARGE),
    (CNA, "CNA_DCOMP_ADDR0", WEIGHTS + 1, Problem.UNALIGNED),
    (CNA, "CNA_DCOMP_ADDR0", 0xFFFF_FFF0, Problem.TOO_LARGE),
    (CNA, "CNA_DMA_CON1", 8, Problem.BAD_VALUE),
    (CORE, "CORE_MISC_CFG", 2, Problem.NOT_IMPLEMENTED),  # depthwise
    (CORE, "CORE_DATAOUT_SIZE_1", 0xFFFF, Problem.BAD_VALUE),
    (CORE, "CORE_CLIP_TRUNCATE", 1, Problem.NOT_IMPLEMENTED),
    (CORE, "CORE_RESERVED_3030", 1, Problem.NOT_IMPLEMENTED),
    (DPU, "DPU_FEATURE_MODE_CFG", 1 | 2 << 1, Problem.NOT_IMPLEMENTED),
    (DPU, "DPU_DATA_FORMAT", 5 << 29, Problem.NOT_IMPLEMENTED),  # int8 to fp32
    (DPU, "DPU_DST_BASE_ADDR", OUTPUT + 4, Problem.UNALIGNED),
    (DPU, "DPU_DST_BASE_ADDR", 0xFFFF_FF00, Problem.TOO_LARGE),
    (DPU, "DPU_DST_SURF_STRIDE", 3 << 4, Problem.BAD_VALUE),  # surfaces overlap
    (DPU, "DPU_DATA_CUBE_CHANNEL", 0, Problem.BAD_VALUE),
    (DPU, "DPU_BS_CFG", 0, Problem.NOT_IMPLEMENTED),
    (DPU, "DPU_BN_CFG", 0, Problem.NOT_IMPLEMENTED),
    (DPU, "DPU_EW_CFG", 0, Problem.NOT_IMPLEMENTED),
    (DPU, "DPU_BS_OW_CFG", 2, Problem.BAD_VALUE),
    (DPU, "DPU_OUT_CVT_SCALE", 2, Problem.NOT_IMPLEMENTED),  # of int32 results
    (DPU, "DPU_OUT_CVT_SHIFT", 1 << 31, Problem.NOT_IMPLEMENTED),
    (DPU, "DPU_SURFACE_ADD", 0, Problem.BAD_VALUE),
    (DPU, "DPU_RESERVED_40C4", 1, Problem.NOT_IMPLEMENTED),
]


@pytest.mark.parametrize(("target", "register", "value", "problem"), REFUSED, ids=str)
def test_a_bad_register_is_named(shared: Bench, target: int, register: str, value: int, problem: Problem) -> None:
    shared.machine.write_physical(OUTPUT, b"\xaa" * 64)
    shared.forget()
    assert shared.run(changed(target, register, value)) == PROGRAM_ERROR
    found, offset = shared.fault()
    assert (found, names.npu((0, NpuWhat.FAULT, found, offset, value)).split()[3].split("=")[0]) == (problem, register)
    assert [args[2:5] for args in shared.told(NpuWhat.FAULT)] == [(problem, offset, value)]
    assert shared.machine.read_physical(OUTPUT, 64) == b"\xaa" * 64, "a refused task stores nothing"


@pytest.mark.parametrize(
    ("word", "problem"),
    [
        (command(0x0301, 0, 0x100C), Problem.UNKNOWN_TARGET),
        (command(0xFFFF, 0, 0), Problem.UNKNOWN_TARGET),
        (command(CNA, 0, 0x100D), Problem.UNKNOWN_REGISTER),
        (command(CNA, 0, 0x1FFC), Problem.UNKNOWN_REGISTER),
        (command(CNA, 0, 0x4010), Problem.UNKNOWN_REGISTER),  # another block's
        (command(CNA, 1 << 31, 0x1010), Problem.UNKNOWN_REGISTER),  # reserved bits
        (command(CNA, 0, 0x1000), Problem.UNKNOWN_REGISTER),  # read-only
        (command(CNA, 1, 0x1008), Problem.NOT_IMPLEMENTED),
        (command(PC, 0, 0x20), Problem.NOT_IMPLEMENTED),
        (command(PC, 0, 0x18), Problem.UNKNOWN_REGISTER),
        (command(PC, 8, 0x10), Problem.UNALIGNED),
        (command(0x2001, 1, 0x501C), Problem.NOT_IMPLEMENTED),
        (command(0x4001, 1, 0x6024), Problem.NOT_IMPLEMENTED),
        (command(0x8001, 1, 0x7030), Problem.NOT_IMPLEMENTED),
        (command(ENABLE, 0x60, 8), Problem.NOT_IMPLEMENTED),  # pooling
        (command(ENABLE, 0x1D, 0x10), Problem.UNKNOWN_REGISTER),
    ],
    ids=hex,
)
def test_a_bad_command_is_refused(shared: Bench, word: int, problem: Problem) -> None:
    assert run_words(shared, [word, *END]) == PROGRAM_ERROR
    assert shared.fault() == (problem, word & 0xFFFF)


def test_blocks_that_stand_by_may_be_cleared(shared: Bench) -> None:
    words = [command(0x2001, 0xE, 0x5004), command(0x2001, 0, 0x501C), *GOOD.commands(), *END]
    assert run_words(shared, words) & DONE


def test_a_program_without_an_end(shared: Bench) -> None:
    assert run_words(shared, [0] * 2000) == PROGRAM_ERROR
    assert shared.fault() == (Problem.NO_END, NpuCore.PC_REGISTER_AMOUNTS.offset)


def test_the_longest_program_ends(shared: Bench) -> None:
    shared.machine.write_physical(PROGRAM, bytes(3 << 20))
    shared.submit(PROGRAM, 0xFFFF)
    assert shared.wait() == PROGRAM_ERROR
    assert shared.fault()[0] is Problem.NO_END


def test_a_program_that_leaves_memory(shared: Bench) -> None:
    shared.submit(shared.machine.layout.end - 0x1000, 0xFFFF)
    assert shared.wait() == READ_ERROR
    assert shared.fault() == (Problem.DMA_READ, 0)


def test_a_program_at_the_end_of_the_addresses(shared: Bench) -> None:
    assert shared.machine.layout.end < 4 * GIB - 16
    shared.submit(4 * GIB - 16, 8)
    assert shared.wait() == READ_ERROR


def test_a_job_without_tasks(shared: Bench) -> None:
    shared.submit(PROGRAM, 10, tasks=0)
    assert shared.wait() == PROGRAM_ERROR
    assert shared.fault() == (Problem.BAD_VALUE, NpuCore.PC_TASK_CON.offset)


def test_a_chain_that_ends_too_early(shared: Bench) -> None:
    shared.machine.write_physical(PROGRAM, chain([GOOD], PROGRAM))
    shared.submit(PROGRAM, amount(GOOD), tasks=2)
    assert shared.wait() == PROGRAM_ERROR
    assert shared.fault() == (Problem.BAD_VALUE, NpuCore.PC_BASE_ADDRESS.offset)
    assert shared.get(NpuCore.PC_TASK_STATUS.offset) == 1


def test_a_program_that_names_itself_ends_after_its_tasks(shared: Bench) -> None:
    follows = [command(PC, PROGRAM, 0x10), command(PC, amount(GOOD), 0x14), *END[2:]]
    shared.machine.write_physical(PROGRAM, packed([*GOOD.commands(), *follows]))
    shared.submit(PROGRAM, amount(GOOD), tasks=0xFFF)
    assert shared.wait() & DONE
    assert shared.get(NpuCore.PC_TASK_STATUS.offset) == 0xFFF


def test_registers_alone_start_nothing(shared: Bench) -> None:
    shared.put(NpuCore.PC_TASK_CON.offset, 1)
    shared.put(NpuCore.PC_BASE_ADDRESS.offset, 1)
    shared.put(NpuCore.PC_OPERATION_ENABLE.offset, 1)
    assert shared.wait() == PROGRAM_ERROR
    assert shared.fault() == (Problem.NOT_IMPLEMENTED, NpuCore.PC_BASE_ADDRESS.offset)


def test_features_of_another_shape_do_not_stay(shared: Bench) -> None:
    other = Product(3, 64, 32, FEATURES, WEIGHTS, OUTPUT, reuse=True)
    assert shared.run(GOOD, other) == PROGRAM_ERROR
    assert shared.fault() == (Problem.BAD_VALUE, NpuCore.CNA_CBUF_CON0.offset)


def test_after_a_failure_the_next_job_is_served(shared: Bench) -> None:
    assert shared.run(changed(CNA, "CNA_PAD_CON0", 1)) == PROGRAM_ERROR
    assert shared.run(GOOD) & DONE
