"""Programs of the NPU: the register commands of matrix products, as tasks that chain to each other.

A command is a 64-bit word: [63:48] target, [47:16] value, [15:0] register. A matrix product is a 1x1 convolution over
an image of one column. Registers, values and order follow the open RK3588 userland (Mesa's rocket driver; the int8
products of mtx512/rk3588-npu); registers that would only be told what reset gives them are left out.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from emulator.registers import Register

from .npu import CBUF_BANK_BYTES, CBUF_BANKS, NpuCore, Target
from .npu_convolution import Precision

CBUF_ENTRY = 64  # bytes of int8 features in one of its entries
MAX_COUNT = 2047  # feature rows of a task: the height of its image has 11 bits
MAX_ROWS = 8160  # rows of the matrix in a task: its channels have 13 bits

COMMAND_BYTES = 8
BLOCK_SHIFT = 12  # bits 15:12 of a register's offset are its block
FIRST_TARGET = 0x0100  # of block 0; bit 0 of a target says that registers follow
ENABLE = 0xD  # CNA, CORE and DPU begin

MAX_GRAINS = 1023
LINES = 4  # of one atom each: what the strides of the input count in
FULL_BURST = 0xF
TO_MEMORY = 2
SUM_ATOMS = 7  # atoms that 32 int32 sums of a pixel fill, minus one


@dataclass(frozen=True)
class Task:
    """int8 features [columns/16][count][16] times weights [rows/32][columns/32][32][32]: sums [rows/4][count][4].

    Addresses are the DMA's, multiples of 16; columns and rows are multiples of 32.
    """

    features: int
    weights: int
    sums: int
    count: int
    columns: int
    rows: int


def amount(commands: int) -> int:
    """REGISTER_AMOUNTS of a task of so many commands."""
    return (commands + 1) // 2 - 1


def program(tasks: Sequence[Task], base: int) -> bytes:
    """The program of ``tasks``, in this order, to lie at DMA address ``base``, a multiple of 16."""
    words: list[int] = []
    for index, task in enumerate(tasks):
        follows = base + (index + 1) * TASK_BYTES if index + 1 < len(tasks) else 0
        words += _commands(task)
        words += _tail(follows)
    return struct.pack(f"<{len(words)}Q", *words)


def program_size(tasks: int) -> int:
    """Bytes of a program of so many tasks."""
    return tasks * TASK_BYTES


def _fields(register: Register, **values: int) -> int:
    """The command that gives a register these fields and zeros otherwise; a negative value is cut to its field."""
    word = 0
    for name, value in values.items():
        field = register.fields[name]
        word |= value << field.lsb & field.mask
    return _command(register, word)


def _command(register: Register, value: int) -> int:
    target = FIRST_TARGET << (register.offset >> BLOCK_SHIFT) | 1
    return target << 48 | (value & 0xFFFF_FFFF) << 16 | register.offset


def _tail(follows: int) -> list[int]:
    """The last four commands: where the next task is (0: nowhere), and the start of this one."""
    return [
        _command(NpuCore.PC_BASE_ADDRESS, follows),
        _command(NpuCore.PC_REGISTER_AMOUNTS, amount(TASK_COMMANDS) if follows else 0),
        Target.MARKER << 48,
        Target.ENABLE << 48 | ENABLE << 16 | NpuCore.PC_OPERATION_ENABLE.offset,
    ]


def _commands(task: Task) -> list[int]:
    core = NpuCore
    count, columns, rows = task.count, task.columns, task.rows
    data_banks = -(-count * columns // CBUF_BANK_BYTES)
    return [
        _fields(core.DPU_S_POINTER, pointer_pp_en=1, executer_pp_en=1, pointer_pp_mode=1),
        _fields(core.CNA_CONV_CON1, in_precision=Precision.INT8, proc_precision=Precision.INT8),
        _fields(core.CNA_CONV_CON2, feature_grains=min(count + 1, MAX_GRAINS)),
        _fields(core.CNA_CONV_CON3, conv_x_stride=1, conv_y_stride=1),
        _fields(core.CNA_DATA_SIZE0, datain_width=1, datain_height=count),
        _fields(core.CNA_DATA_SIZE1, datain_channel_real=columns - 1, datain_channel=columns),
        _fields(core.CNA_DATA_SIZE2, dataout_width=1),
        _fields(core.CNA_DATA_SIZE3, dataout_atomics=count),
        _fields(core.CNA_WEIGHT_SIZE0, weight_bytes=rows * columns),
        _fields(core.CNA_WEIGHT_SIZE1, weight_bytes_per_kernel=columns),
        _fields(core.CNA_WEIGHT_SIZE2, weight_width=1, weight_height=1, weight_kernels=rows),
        _fields(core.CNA_CBUF_CON0, weight_bank=CBUF_BANKS - data_banks, data_bank=data_banks),
        _fields(core.CNA_CBUF_CON1, data_entries=-(-columns // CBUF_ENTRY)),
        _fields(core.CNA_CVT_CON0, data_sign=1, cvt_type=1, cvt_bypass=1),
        _fields(core.CNA_FEATURE_DATA_ADDR, feature_base_addr=task.features),
        _fields(core.CNA_DMA_CON0, weight_burst_len=FULL_BURST, data_burst_len=FULL_BURST),
        _fields(core.CNA_DMA_CON1, line_stride=LINES),
        _fields(core.CNA_DMA_CON2, surf_stride=count - LINES),
        _fields(core.CNA_FC_DATA_SIZE0, dma_width=1, dma_height=count),
        _fields(core.CNA_FC_DATA_SIZE1, dma_channel=columns),
        _fields(core.CNA_DCOMP_ADDR0, decompress_addr0=task.weights),
        _fields(core.CORE_MISC_CFG, proc_precision=Precision.INT8, qd_en=1),
        _fields(core.CORE_DATAOUT_SIZE_0, dataout_height=count - 1, dataout_width=0),
        _fields(core.CORE_DATAOUT_SIZE_1, dataout_channel=rows - 1),
        _fields(core.DPU_FEATURE_MODE_CFG, burst_len=FULL_BURST, output_mode=TO_MEMORY),
        _fields(
            core.DPU_DATA_FORMAT,
            out_precision=Precision.INT32,
            in_precision=Precision.INT8,
            proc_precision=Precision.INT8,
        ),
        _fields(core.DPU_DST_BASE_ADDR, dst_base_addr=task.sums),
        _fields(core.DPU_DST_SURF_STRIDE, dst_surf_stride=count),
        _fields(core.DPU_DATA_CUBE_WIDTH, width=0),
        _fields(core.DPU_DATA_CUBE_HEIGHT, height=count - 1),
        _fields(core.DPU_DATA_CUBE_CHANNEL, orig_channel=rows - 1, channel=rows - 1),
        _fields(core.DPU_BS_CFG, bs_relu_bypass=1, bs_mul_bypass=1, bs_alu_bypass=1, bs_bypass=1),
        _fields(core.DPU_BS_OW_CFG, size_e_2=SUM_ATOMS, size_e_1=SUM_ATOMS, size_e_0=SUM_ATOMS, od_bypass=1),
        _fields(core.DPU_WDMA_SIZE_0, channel_wdma=rows - 1),
        _fields(core.DPU_WDMA_SIZE_1, height_wdma=count - 1, width_wdma=0),
        _fields(core.DPU_BN_CFG, bn_relu_bypass=1, bn_mul_bypass=1, bn_alu_bypass=1, bn_bypass=1),
        _fields(core.DPU_EW_CFG, ew_relu_bypass=1, ew_op_cvt_bypass=1, ew_lut_bypass=1, ew_op_bypass=1, ew_bypass=1),
        _fields(core.DPU_OUT_CVT_SCALE, out_cvt_scale=1),
        _fields(core.DPU_OUT_CVT_SHIFT, out_cvt_shift=0),
        _fields(core.DPU_SURFACE_ADD, surf_add=(SUM_ATOMS + 1) * count),
    ]


TASK_COMMANDS = 44  # an even number: the PC fetches pairs
TASK_BYTES = TASK_COMMANDS * COMMAND_BYTES
