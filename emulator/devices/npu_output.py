"""The NPU's block that converts and stores results (DPU), and those that the model does not implement (DPU_RDMA, PPU).

Offsets and fields are the RK3588's, as in npu_convolution.
"""

from __future__ import annotations

from emulator.registers import RO, Register

from .npu_convolution import ENABLE_FIELDS, POINTER_FIELDS, POINTER_WHAT, STATUS_FIELDS, STATUS_WHAT, Precision

ABSENT = "Not implemented: a program that writes anything but 0 is refused."
BYPASSED = "Bypassed only (bit 0); what it would use has no effect then."


class DpuBlock:
    """Converts what CORE accumulated, and writes it to memory."""

    DPU_S_STATUS = Register(0x4000, access=RO, fields=STATUS_FIELDS, what=STATUS_WHAT)
    DPU_S_POINTER = Register(0x4004, fields=POINTER_FIELDS, what=POINTER_WHAT)
    DPU_OPERATION_ENABLE = Register(0x4008, fields=ENABLE_FIELDS, what="By program only (target 0x81).")
    DPU_FEATURE_MODE_CFG = Register(
        0x400C,
        fields={
            "flying_mode": (0, 0),
            "output_mode": (2, 1),
            "conv_mode": (4, 3),
            "burst_len": (8, 5),
            "surf_len": (24, 9),
            "nonalign": (25, 25),
            "rgp_type": (29, 26),
            "tp_en": (30, 30),
            "comb_use": (31, 31),
        },
        what="From CORE (flying_mode 0) to memory (output_mode 2); burst_len has no effect, the rest 0.",
    )
    DPU_DATA_FORMAT = Register(
        0x4010,
        fields={
            "proc_precision": (2, 0, Precision),
            "mc_surf_out": (3, 3),
            "bs_mul_shift_value_neg": (9, 4),
            "bn_mul_shift_value_neg": (15, 10),
            "ew_truncate_neg": (25, 16),
            "in_precision": (28, 26, Precision),
            "out_precision": (31, 29, Precision),
        },
        what="int8 to int32 or int8, fp16 to fp32 or fp16; mc_surf_out 0.",
    )
    DPU_OFFSET_PEND = Register(0x4014, fields={"offset_pend": (15, 0)}, what="0.")
    DPU_DST_BASE_ADDR = Register(0x4020, fields={"dst_base_addr": (31, 0)}, what="16-byte aligned.")
    DPU_DST_SURF_STRIDE = Register(
        0x4024, fields={"dst_surf_stride": (31, 4)}, what="In atoms: from one surface to the next."
    )
    DPU_DATA_CUBE_WIDTH = Register(0x4030, fields={"width": (12, 0)}, what="Minus one.")
    DPU_DATA_CUBE_HEIGHT = Register(0x4034, fields={"height": (12, 0), "minmax_ctl": (24, 22)}, what="Minus one.")
    DPU_DATA_CUBE_NOTCH_ADDR = Register(0x4038, fields={"notch_addr_0": (12, 0), "notch_addr_1": (28, 16)}, what="0.")
    DPU_DATA_CUBE_CHANNEL = Register(
        0x403C,
        fields={"channel": (12, 0), "orig_channel": (28, 16)},
        what="Minus one; channels behind orig_channel are stored as zeros.",
    )
    DPU_BS_CFG = Register(
        0x4040,
        fields={
            "bs_bypass": (0, 0),
            "bs_alu_bypass": (1, 1),
            "bs_mul_bypass": (4, 4),
            "bs_mul_prelu": (5, 5),
            "bs_relu_bypass": (6, 6),
            "bs_relux_en": (7, 7),
            "bs_alu_src": (8, 8),
            "bs_alu_algo": (19, 16),
        },
        what=BYPASSED,
    )
    DPU_BS_ALU_CFG = Register(0x4044, fields={"bs_alu_operand": (31, 0)})
    DPU_BS_MUL_CFG = Register(
        0x4048,
        fields={
            "bs_mul_src": (0, 0),
            "bs_truncate_src": (1, 1),
            "bs_mul_shift_value": (13, 8),
            "bs_mul_operand": (31, 16),
        },
    )
    DPU_BS_RELUX_CMP_VALUE = Register(0x404C, fields={"bs_relux_cmp_dat": (31, 0)})
    DPU_BS_OW_CFG = Register(
        0x4050,
        fields={
            "ow_src": (0, 0),
            "od_bypass": (1, 1),
            "size_e_0": (4, 2),
            "size_e_1": (7, 5),
            "size_e_2": (10, 8),
            "tp_org_en": (27, 27),
            "rgp_cnter": (31, 28),
        },
        what="size_e: atoms that a kernel group's results fill for one pixel, minus one.",
    )
    DPU_BS_OW_OP = Register(0x4054, fields={"ow_op": (15, 0)}, what="0, unless od_bypass.")
    DPU_WDMA_SIZE_0 = Register(
        0x4058, fields={"channel_wdma": (12, 0), "size_c_wdma": (26, 16), "tp_precision": (27, 27)}, what="Minus one."
    )
    DPU_WDMA_SIZE_1 = Register(0x405C, fields={"width_wdma": (12, 0), "height_wdma": (28, 16)}, what="Minus one.")
    DPU_BN_CFG = Register(
        0x4060,
        fields={
            "bn_bypass": (0, 0),
            "bn_alu_bypass": (1, 1),
            "bn_mul_bypass": (4, 4),
            "bn_mul_prelu": (5, 5),
            "bn_relu_bypass": (6, 6),
            "bn_relux_en": (7, 7),
            "bn_alu_src": (8, 8),
            "bn_alu_algo": (19, 16),
        },
        what=BYPASSED,
    )
    DPU_BN_ALU_CFG = Register(0x4064, fields={"bn_alu_operand": (31, 0)})
    DPU_BN_MUL_CFG = Register(
        0x4068,
        fields={
            "bn_mul_src": (0, 0),
            "bn_truncate_src": (1, 1),
            "bn_mul_shift_value": (13, 8),
            "bn_mul_operand": (31, 16),
        },
    )
    DPU_BN_RELUX_CMP_VALUE = Register(0x406C, fields={"bn_relux_cmp_dat": (31, 0)})
    DPU_EW_CFG = Register(
        0x4070,
        fields={
            "ew_bypass": (0, 0),
            "ew_op_bypass": (1, 1),
            "ew_op_type": (2, 2),
            "ew_mul_prelu": (5, 5),
            "ew_op_src": (6, 6),
            "ew_lut_bypass": (7, 7),
            "ew_op_cvt_bypass": (8, 8),
            "ew_relu_bypass": (9, 9),
            "ew_relux_en": (10, 10),
            "ew_alu_algo": (19, 16),
            "ew_binary_en": (20, 20),
            "ew_equal_en": (21, 21),
            "edata_size": (23, 22),
            "ew_data_mode": (29, 28),
            "ew_cvt_round": (30, 30),
            "ew_cvt_type": (31, 31),
        },
        what=BYPASSED,
    )
    DPU_EW_CVT_OFFSET_VALUE = Register(0x4074, fields={"ew_op_cvt_offset": (31, 0)})
    DPU_EW_CVT_SCALE_VALUE = Register(
        0x4078, fields={"ew_op_cvt_scale": (15, 0), "ew_op_cvt_shift": (21, 16), "ew_truncate": (31, 22)}
    )
    DPU_EW_RELUX_CMP_VALUE = Register(0x407C, fields={"ew_relux_cmp_dat": (31, 0)})
    DPU_OUT_CVT_OFFSET = Register(0x4080, fields={"out_cvt_offset": (31, 0)}, what="Signed; int8 results only.")
    DPU_OUT_CVT_SCALE = Register(
        0x4084,
        fields={"out_cvt_scale": (15, 0), "fp32tofp16_en": (16, 16)},
        what="Signed. 1 unless results are int8. fp32tofp16_en with fp16 results only.",
    )
    DPU_OUT_CVT_SHIFT = Register(
        0x4088,
        fields={"out_cvt_shift": (11, 0), "minus_exp": (19, 12), "cvt_round": (30, 30), "cvt_type": (31, 31)},
        what="To the right. 0 unless results are int8; the rest 0.",
    )
    DPU_EW_OP_VALUE = Register(0x4090, count=8)
    DPU_SURFACE_ADD = Register(0x40C0, fields={"surf_add": (31, 4)}, what="size_e + 1 surface strides.")
    DPU_RESERVED_40C4 = Register(0x40C4, what="Written as 0 by every program; nothing is known of it. 0.")
    DPU_LUT_ACCESS_CFG = Register(
        0x4100, fields={"lut_addr": (9, 0), "lut_table_id": (16, 16), "lut_access_type": (17, 17)}
    )
    DPU_LUT_ACCESS_DATA = Register(0x4104, fields={"lut_access_data": (15, 0)})
    DPU_LUT_CFG = Register(
        0x4108,
        fields={
            "lut_road_sel": (0, 0),
            "lut_expand_en": (1, 1),
            "lut_lo_le_mux": (3, 2),
            "lut_uflow_priority": (4, 4),
            "lut_oflow_priority": (5, 5),
            "lut_hybrid_priority": (6, 6),
            "lut_cal_sel": (7, 7),
        },
    )
    DPU_LUT_INFO = Register(0x410C, fields={"lut_le_index_select": (15, 8), "lut_lo_index_select": (23, 16)})
    DPU_LUT_LE_START = Register(0x4110)
    DPU_LUT_LE_END = Register(0x4114)
    DPU_LUT_LO_START = Register(0x4118)
    DPU_LUT_LO_END = Register(0x411C)
    DPU_LUT_LE_SLOPE_SCALE = Register(
        0x4120, fields={"lut_le_slope_uflow_scale": (15, 0), "lut_le_slope_oflow_scale": (31, 16)}
    )
    DPU_LUT_LE_SLOPE_SHIFT = Register(
        0x4124, fields={"lut_le_slope_uflow_shift": (4, 0), "lut_le_slope_oflow_shift": (9, 5)}
    )
    DPU_LUT_LO_SLOPE_SCALE = Register(
        0x4128, fields={"lut_lo_slope_uflow_scale": (15, 0), "lut_lo_slope_oflow_scale": (31, 16)}
    )
    DPU_LUT_LO_SLOPE_SHIFT = Register(
        0x412C, fields={"lut_lo_slope_uflow_shift": (4, 0), "lut_lo_slope_oflow_shift": (9, 5)}
    )


class AbsentBlocks:
    """Fetching of second operands, and pooling: declared, so that their use is reported by name."""

    RDMA_S_STATUS = Register(0x5000, access=RO, fields=STATUS_FIELDS)
    RDMA_S_POINTER = Register(0x5004, fields=POINTER_FIELDS, what="Kept; no effect.")
    RDMA_OPERATION_ENABLE = Register(0x5008, fields=ENABLE_FIELDS, what=ABSENT)
    RDMA_DATA_CUBE_WIDTH = Register(0x500C, what=ABSENT)
    RDMA_DATA_CUBE_HEIGHT = Register(0x5010, what=ABSENT)
    RDMA_DATA_CUBE_CHANNEL = Register(0x5014, what=ABSENT)
    RDMA_SRC_BASE_ADDR = Register(0x5018, what=ABSENT)
    RDMA_BRDMA_CFG = Register(0x501C, what=ABSENT)
    RDMA_BS_BASE_ADDR = Register(0x5020, what=ABSENT)
    RDMA_NRDMA_CFG = Register(0x5028, what=ABSENT)
    RDMA_BN_BASE_ADDR = Register(0x502C, what=ABSENT)
    RDMA_ERDMA_CFG = Register(0x5034, what=ABSENT)
    RDMA_EW_BASE_ADDR = Register(0x5038, what=ABSENT)
    RDMA_EW_SURF_STRIDE = Register(0x5040, what=ABSENT)
    RDMA_FEATURE_MODE_CFG = Register(0x5044, what=ABSENT)
    RDMA_SRC_DMA_CFG = Register(0x5048, what=ABSENT)
    RDMA_SURF_NOTCH = Register(0x504C, what=ABSENT)
    RDMA_PAD_CFG = Register(0x5064, what=ABSENT)
    RDMA_WEIGHT = Register(0x5068, what=ABSENT)
    RDMA_EW_SURF_NOTCH = Register(0x506C, what=ABSENT)
    PPU_S_STATUS = Register(0x6000, access=RO, fields=STATUS_FIELDS)
    PPU_S_POINTER = Register(0x6004, fields=POINTER_FIELDS, what="Kept; no effect.")
    PPU_OPERATION_ENABLE = Register(0x6008, fields=ENABLE_FIELDS, what=ABSENT)
    PPU_DATA_CUBE_IN_WIDTH = Register(0x600C, what=ABSENT)
    PPU_DATA_CUBE_IN_HEIGHT = Register(0x6010, what=ABSENT)
    PPU_DATA_CUBE_IN_CHANNEL = Register(0x6014, what=ABSENT)
    PPU_DATA_CUBE_OUT_WIDTH = Register(0x6018, what=ABSENT)
    PPU_DATA_CUBE_OUT_HEIGHT = Register(0x601C, what=ABSENT)
    PPU_DATA_CUBE_OUT_CHANNEL = Register(0x6020, what=ABSENT)
    PPU_OPERATION_MODE_CFG = Register(0x6024, what=ABSENT)
    PPU_POOLING_KERNEL_CFG = Register(0x6034, what=ABSENT)
    PPU_RECIP_KERNEL_WIDTH = Register(0x6038, what=ABSENT)
    PPU_RECIP_KERNEL_HEIGHT = Register(0x603C, what=ABSENT)
    PPU_POOLING_PADDING_CFG = Register(0x6040, what=ABSENT)
    PPU_PADDING_VALUE_1_CFG = Register(0x6044, what=ABSENT)
    PPU_PADDING_VALUE_2_CFG = Register(0x6048, what=ABSENT)
    PPU_DST_BASE_ADDR = Register(0x6070, what=ABSENT)
    PPU_DST_SURF_STRIDE = Register(0x607C, what=ABSENT)
    PPU_DATA_FORMAT = Register(0x6084, what=ABSENT)
    PPU_MISC_CTRL = Register(0x60DC, what=ABSENT)
    PPU_RDMA_S_STATUS = Register(0x7000, access=RO, fields=STATUS_FIELDS)
    PPU_RDMA_S_POINTER = Register(0x7004, fields=POINTER_FIELDS, what="Kept; no effect.")
    PPU_RDMA_OPERATION_ENABLE = Register(0x7008, fields=ENABLE_FIELDS, what=ABSENT)
    PPU_RDMA_CUBE_IN_WIDTH = Register(0x700C, what=ABSENT)
    PPU_RDMA_CUBE_IN_HEIGHT = Register(0x7010, what=ABSENT)
    PPU_RDMA_CUBE_IN_CHANNEL = Register(0x7014, what=ABSENT)
    PPU_RDMA_SRC_BASE_ADDR = Register(0x701C, what=ABSENT)
    PPU_RDMA_SRC_LINE_STRIDE = Register(0x7024, what=ABSENT)
    PPU_RDMA_SRC_SURF_STRIDE = Register(0x7028, what=ABSENT)
    PPU_RDMA_DATA_FORMAT = Register(0x7030, what=ABSENT)
