"""The NPU's blocks that fetch and multiply: CNA (operands into the buffer) and CORE (multiply, accumulate).

Offsets and fields are the RK3588's (TRM chapter 36; Mesa's rocket driver names the same). Where the model implements
only some values of a field, its register's ``what`` says which.
"""

from __future__ import annotations

import enum

from emulator.registers import RO, FieldSpec, Register


class Precision(enum.IntEnum):
    """Of operands and results."""

    INT8 = 0
    INT16 = 1
    FP16 = 2
    BF16 = 3
    INT32 = 4
    FP32 = 5


STATUS_FIELDS = {"status_0": (1, 0), "status_1": (17, 16)}
POINTER_FIELDS: dict[str, FieldSpec] = {
    "pointer": (0, 0),
    "pointer_pp_en": (1, 1),
    "executer_pp_en": (2, 2),
    "pointer_pp_mode": (3, 3),
    "pointer_pp_clear": (4, 4),
    "executer_pp_clear": (5, 5),
    "executer": (16, 16, RO),
    "core": (31, 28),
}
STATUS_WHAT = "Of each register group: 0 idle, 1 running."
POINTER_WHAT = "Which group writes reach; with pointer_pp_en the block moves it itself. core: of Linux, no effect."
ENABLE_FIELDS = {"op_en": (0, 0)}


class CnaBlock:
    """Fetches features and weights."""

    CNA_S_STATUS = Register(0x1000, access=RO, fields=STATUS_FIELDS, what=STATUS_WHAT)
    CNA_S_POINTER = Register(0x1004, fields=POINTER_FIELDS, what=POINTER_WHAT)
    CNA_OPERATION_ENABLE = Register(0x1008, fields=ENABLE_FIELDS, what="By program only (target 0x81).")
    CNA_CONV_CON1 = Register(
        0x100C,
        fields={
            "conv_mode": (3, 0),
            "in_precision": (6, 4, Precision),
            "proc_precision": (9, 7, Precision),
            "argb_in": (15, 12),
            "deconv": (16, 16),
            "group_line_off": (29, 29),
            "nonalign_dma": (30, 30),
        },
        what="Direct convolution (0) of int8 or fp16 only.",
    )
    CNA_CONV_CON2 = Register(
        0x1010,
        fields={
            "cmd_fifo_srst": (0, 0),
            "csc_do_en": (1, 1),
            "csc_wo_en": (2, 2),
            "feature_grains": (13, 4),
            "kernel_group": (23, 16),
        },
        what="feature_grains: how far fetching runs ahead, no effect; the rest 0.",
    )
    CNA_CONV_CON3 = Register(
        0x1014,
        fields={
            "conv_x_stride": (2, 0),
            "conv_y_stride": (5, 3),
            "deconv_x_stride": (10, 8),
            "deconv_y_stride": (13, 11),
            "atrous_x_dilation": (20, 16),
            "atrous_y_dilation": (25, 21),
            "nn_mode": (30, 28),
        },
        what="Strides 1, the rest 0.",
    )
    CNA_DATA_SIZE0 = Register(0x1020, fields={"datain_height": (10, 0), "datain_width": (26, 16)})
    CNA_DATA_SIZE1 = Register(
        0x1024,
        fields={"datain_channel": (15, 0), "datain_channel_real": (29, 16)},
        what="real: minus one; channels from there on are zeros, whatever memory holds.",
    )
    CNA_DATA_SIZE2 = Register(0x1028, fields={"dataout_width": (10, 0)})
    CNA_DATA_SIZE3 = Register(0x102C, fields={"dataout_atomics": (21, 0), "surf_mode": (23, 22)}, what="surf_mode 0.")
    CNA_WEIGHT_SIZE0 = Register(0x1030, fields={"weight_bytes": (31, 0)}, what="Of all kernels, without padding.")
    CNA_WEIGHT_SIZE1 = Register(0x1034, fields={"weight_bytes_per_kernel": (18, 0)})
    CNA_WEIGHT_SIZE2 = Register(
        0x1038,
        fields={"weight_kernels": (13, 0), "weight_height": (20, 16), "weight_width": (28, 24)},
        what="1x1 kernels only.",
    )
    CNA_CBUF_CON0 = Register(
        0x1040,
        fields={
            "data_bank": (3, 0),
            "weight_bank": (7, 4),
            "fc_data_bank": (10, 8),
            "data_reuse": (12, 12),
            "weight_reuse": (13, 13),
        },
        what="Of 12 banks of 32 KiB. data_reuse: the features of the task before stay. The last two: 0.",
    )
    CNA_CBUF_CON1 = Register(0x1044, fields={"data_entries": (13, 0)}, what="No effect.")
    CNA_CVT_CON0 = Register(
        0x104C,
        fields={
            "cvt_bypass": (0, 0),
            "cvt_type": (1, 1),
            "round_type": (2, 2),
            "data_sign": (3, 3),
            "cvt_truncate_0": (9, 4),
            "cvt_truncate_1": (15, 10),
            "cvt_truncate_2": (21, 16),
            "cvt_truncate_3": (27, 22),
        },
        what="Conversion of the input: bypassed only, and then CVT_CON1 to 5 have no effect.",
    )
    CNA_CVT_CON1 = Register(0x1050, fields={"cvt_offset0": (15, 0), "cvt_scale0": (31, 16)})
    CNA_CVT_CON2 = Register(0x1054, fields={"cvt_offset1": (15, 0), "cvt_scale1": (31, 16)})
    CNA_CVT_CON3 = Register(0x1058, fields={"cvt_offset2": (15, 0), "cvt_scale2": (31, 16)})
    CNA_CVT_CON4 = Register(0x105C, fields={"cvt_offset3": (15, 0), "cvt_scale3": (31, 16)})
    CNA_FC_CON0 = Register(0x1060, fields={"fc_skip_en": (0, 0), "fc_skip_data": (31, 16)}, what="fc_skip_en 0.")
    CNA_FC_CON1 = Register(0x1064, fields={"data_offset": (16, 0)}, what="0.")
    CNA_PAD_CON0 = Register(0x1068, fields={"pad_top": (3, 0), "pad_left": (7, 4)}, what="0.")
    CNA_FEATURE_DATA_ADDR = Register(0x1070, fields={"feature_base_addr": (31, 0)}, what="16-byte aligned.")
    CNA_FC_CON2 = Register(0x1074, fields={"weight_offset": (16, 0)}, what="0.")
    CNA_DMA_CON0 = Register(
        0x1078,
        fields={"data_burst_len": (3, 0), "weight_burst_len": (19, 16), "ov4k_bypass": (31, 31)},
        what="No effect.",
    )
    CNA_DMA_CON1 = Register(0x107C, fields={"line_stride": (27, 0)}, what="4 x width: lines follow each other.")
    CNA_DMA_CON2 = Register(
        0x1080,
        fields={"surf_stride": (27, 0)},
        what="Signed, in atoms: from the end of a surface's first four lines to the next surface.",
    )
    CNA_FC_DATA_SIZE0 = Register(0x1084, fields={"dma_height": (10, 0), "dma_width": (29, 16)})
    CNA_FC_DATA_SIZE1 = Register(0x1088, fields={"dma_channel": (15, 0)})
    CNA_CLK_GATE = Register(
        0x1090,
        fields={
            "cna_feature_disable_clkgate": (0, 0),
            "cna_weight_disable_clkgate": (1, 1),
            "csc_disable_clkgate": (2, 2),
            "cbuf_cs_disable_clkgate": (4, 4),
        },
        what="No effect.",
    )
    CNA_DCOMP_CTRL = Register(
        0x1100, fields={"decomp_control": (2, 0), "wt_dec_bypass": (3, 3)}, what="Weights are not compressed: 0."
    )
    CNA_DCOMP_REGNUM = Register(0x1104, what="0.")
    CNA_DCOMP_ADDR0 = Register(0x1110, fields={"decompress_addr0": (31, 0)}, what="The weights, 16-byte aligned.")
    CNA_DCOMP_AMOUNT = Register(0x1140, count=16, what="0.")
    CNA_CVT_CON5 = Register(0x1180, fields={"per_channel_cvt_en": (31, 0)})
    CNA_PAD_CON1 = Register(0x1184, fields={"pad_value": (31, 0)}, what="No effect: nothing is padded.")


class CoreBlock:
    """Multiplies and accumulates."""

    CORE_S_STATUS = Register(0x3000, access=RO, fields=STATUS_FIELDS, what=STATUS_WHAT)
    CORE_S_POINTER = Register(0x3004, fields=POINTER_FIELDS, what=POINTER_WHAT)
    CORE_OPERATION_ENABLE = Register(0x3008, fields=ENABLE_FIELDS, what="By program only (target 0x81).")
    CORE_MAC_GATING = Register(0x300C, fields={"slcg_op_en": (26, 0)}, what="No effect.")
    CORE_MISC_CFG = Register(
        0x3010,
        fields={
            "qd_en": (0, 0),
            "dw_en": (1, 1),
            "proc_precision": (10, 8, Precision),
            "soft_gating": (19, 14),
        },
        what="dw_en (depthwise) 0.",
    )
    CORE_DATAOUT_SIZE_0 = Register(
        0x3014, fields={"dataout_width": (15, 0), "dataout_height": (31, 16)}, what="Minus one."
    )
    CORE_DATAOUT_SIZE_1 = Register(0x3018, fields={"dataout_channel": (15, 0)}, what="Minus one.")
    CORE_CLIP_TRUNCATE = Register(0x301C, fields={"clip_truncate": (4, 0), "round_type": (6, 6)}, what="0.")
    CORE_RESERVED_3030 = Register(0x3030, what="Written as 0 by every program; nothing is known of it. 0.")
