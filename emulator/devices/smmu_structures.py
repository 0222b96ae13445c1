"""What an SMMUv3 and its software share in memory (Arm IHI 0070): stream table entries, commands, events.

Field names are the architecture's. Only what a stage-2 SMMU without optional features uses is declared.
"""

from __future__ import annotations

import enum

from emulator.registers import Register, RegisterMap


class StreamConfig(enum.IntEnum):
    """STE.Config: what happens to the stream's accesses (5.2)."""

    ABORT = 0
    BYPASS = 4
    STAGE1 = 5
    STAGE2 = 6
    BOTH_STAGES = 7


class StreamTableEntry(RegisterMap):
    """A stream table entry, 64 bytes (5.2); words 4 to 7 are zero for a stage-2 stream."""

    prefix = "SMMU_STE"

    WORD0 = Register(0x00, width=64, fields={"v": (0, 0), "config": (3, 1, StreamConfig)})
    WORD1 = Register(0x08, width=64, fields={"shcfg": (45, 44)})
    WORD2 = Register(
        0x10,
        width=64,
        fields={
            "s2vmid": (15, 0),
            "s2t0sz": (37, 32),
            "s2sl0": (39, 38),
            "s2ir0": (41, 40),
            "s2or0": (43, 42),
            "s2sh0": (45, 44),
            "s2tg": (47, 46),
            "s2ps": (50, 48),
            "s2aa64": (51, 51),
            "s2endi": (52, 52),
            "s2affd": (53, 53),
            "s2ptw": (54, 54),
            "s2hd": (55, 55),
            "s2ha": (56, 56),
            "s2s": (57, 57),
            "s2r": (58, 58),
        },
    )
    WORD3 = Register(0x18, width=64, fields={"s2ttb": (51, 4)})


class Opcode(enum.IntEnum):
    """Commands (4.1) that this SMMU knows; every other one is CERROR_ILL."""

    PREFETCH_CONFIG = 0x01
    PREFETCH_ADDR = 0x02
    CFGI_STE = 0x03
    CFGI_STE_RANGE = 0x04  # with range 31: CFGI_ALL
    TLBI_S12_VMALL = 0x28
    TLBI_S2_IPA = 0x2A
    TLBI_NSNH_ALL = 0x30
    SYNC = 0x46


class CompletionSignal(enum.IntEnum):
    """How CMD_SYNC tells that it is done, besides CONS."""

    NONE = 0
    IRQ = 1
    SEV = 2


class Command(RegisterMap):
    """A command queue entry, 16 bytes (4.1). Which fields mean something depends on the opcode."""

    prefix = "SMMU_CMD"

    WORD0 = Register(
        0x00,
        width=64,
        fields={"opcode": (7, 0, Opcode), "sync_cs": (13, 12, CompletionSignal), "target": (63, 32)},
        what="target: a StreamID (CFGI) or a VMID (TLBI).",
    )
    WORD1 = Register(
        0x08,
        width=64,
        fields={"range": (4, 0), "ttl": (9, 8), "tg": (11, 10), "address": (51, 12)},
        what="range: of CFGI_STE_RANGE, 2^(range+1) streams; bit 0 is Leaf elsewhere.",
    )


class CommandError(enum.IntEnum):
    """CMDQ_CONS.ERR (7.1)."""

    NONE = 0
    ILL = 1
    ABT = 2


class EventCode(enum.IntEnum):
    """Event numbers (7.3) that this SMMU records."""

    C_BAD_STREAMID = 0x02
    F_STE_FETCH = 0x03
    C_BAD_STE = 0x04
    F_WALK_EABT = 0x0B
    F_TRANSLATION = 0x10
    F_ADDR_SIZE = 0x11
    F_ACCESS = 0x12
    F_PERMISSION = 0x13


class FaultClass(enum.IntEnum):
    """What was being accessed when a translation fault was met."""

    CD = 0
    TABLE = 1
    INPUT = 2


class EventRecord(RegisterMap):
    """An event queue entry, 32 bytes (7.3)."""

    prefix = "SMMU_EVENT"

    WORD0 = Register(0x00, width=64, fields={"code": (7, 0, EventCode), "streamid": (63, 32)})
    WORD1 = Register(
        0x08,
        width=64,
        fields={"pnu": (33, 33), "ind": (34, 34), "rnw": (35, 35), "s2": (39, 39), "class": (41, 40, FaultClass)},
    )
    WORD2 = Register(0x10, width=64, fields={"input_address": (63, 0)})
    WORD3 = Register(0x18, width=64, fields={"address": (51, 3)}, what="The IPA, or the address of a failed fetch.")


STRUCTURES: tuple[type[RegisterMap], ...] = (StreamTableEntry, Command, EventRecord)
