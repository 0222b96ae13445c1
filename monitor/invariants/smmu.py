"""The SMMU: its registers, its stream table and what it has cached of it, and DMA under way."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from emulator.devices.smmu import Smmu
from emulator.devices.smmu_structures import StreamConfig, StreamTableEntry
from emulator.inspection import STREAM_WORDS
from emulator.memory_map import PAGE_SIZE, StreamId
from emulator.registers import Register
from monitor.abi import Vmid
from monitor.hardware import ENTRY_BYTES, Hardware, Records
from monitor.invariants.descriptors import NPU_SECURE, READ, VALID, WRITE, for_devices, of_npu
from monitor.invariants.rule import differing, named
from monitor.memory import CarveOut
from monitor.view import STREAM_ENTRY_BYTES, Pages

STREAMS_LOG2, COMMANDS_LOG2, EVENTS_LOG2 = 3, 8, 7
STREAMS = 1 << STREAMS_LOG2
ALLOCATE = 1 << 62  # RA, WA
CACHED_AND_SHARED = 0xD75  # CR1: every field write-back and inner shareable
ADDRESS_BITS, NPU_ADDRESS_BITS = 36, 32
NPU_STREAMS = (StreamId.NPU0, StreamId.NPU1, StreamId.NPU2)


def smmu_is_on(now: Hardware) -> Iterable[str]:
    """It translates by the monitor's stream table of eight streams; others are refused (smmu.c, IHI 0070)."""
    base = now.layout.dram.carve_out_base
    wanted = {
        "cr0": _fields(Smmu.CR0, smmuen=1, eventqen=1, cmdqen=1),
        "cr1": CACHED_AND_SHARED,
        "cr2": _fields(Smmu.CR2, recinvsid=1, ptm=1),
        "strtab_base": base + CarveOut.STREAM_TABLE | ALLOCATE,
        "strtab_base_cfg": STREAMS_LOG2,
        "cmdq_base": base + CarveOut.COMMAND_QUEUE | ALLOCATE | COMMANDS_LOG2,
        "eventq_base": base + CarveOut.EVENT_QUEUE | ALLOCATE | EVENTS_LOG2,
    }
    return (f"the SMMU's {said}" for said in differing(now.smmu, wanted))


def smmu_has_done_every_command(now: Hardware) -> Iterable[str]:
    """The monitor has waited for what it has asked for, and nothing of it was in error (smmu.c)."""
    producer = now.variables["producer"]
    if not producer == now.smmu["cmdq_prod"] == now.smmu["cmdq_cons"]:
        yield f"the monitor has asked for commands up to {producer:#x}, the SMMU is at {now.smmu['cmdq_cons']:#x}"
    if now.smmu["gerror"] != now.smmu["gerrorn"]:
        yield f"an error of the SMMU's is active: GERROR {now.smmu['gerror']:#x}, GERRORN {now.smmu['gerrorn']:#x}"


def streams_have_their_owners_table(now: Hardware) -> Iterable[str]:
    """Storage has the normal world's table, and so has the NPU, or its own in secure mode; the rest abort (smmu.c)."""
    found, wanted = _stream_table(now), _wanted_streams(now)
    for stream in np.unique(np.nonzero(found != wanted)[0]):
        words = [f"{int(word):#x}" for word in found[stream]]
        yield f"the stream table's entry {_name(int(stream))} is {' '.join(words)}"


def smmu_has_cached_todays_streams(now: Hardware) -> Iterable[str]:
    """What the SMMU has fetched of its stream table is what that holds (smmu.c)."""
    table = _stream_table(now)
    for cached in now.streams:
        stream = int(cached["stream"])
        if stream >= STREAMS or not np.array_equal(cached["word"], table[stream, :STREAM_WORDS]):
            yield f"the SMMU has cached another entry of stream {_name(stream)} than its table has"


def transfers_land_where_they_may(now: Hardware) -> Iterable[str]:
    """What a DMA master has translated and not moved yet goes where its stream may now (docs/security.md, 1, 9)."""
    transfers = now.transfers
    npu = np.isin(transfers["stream"], NPU_STREAMS) & (now.variables["npu_mode"] == NPU_SECURE)
    yield from _stray(now, transfers[~npu], "the normal world's")
    yield from _stray(now, transfers[npu], "the secure NPU's")


def _stray(now: Hardware, transfers: Records, whose: str) -> Iterable[str]:
    for one in transfers:
        first, last = int(one["output"]) // PAGE_SIZE, (int(one["output"]) + int(one["bytes"]) - 1) // PAGE_SIZE
        pages = np.arange(first, last + 1, dtype=np.uint64) * np.uint64(PAGE_SIZE)
        needed = np.uint64(VALID | (WRITE if one["write"] else READ))
        stray = pages[_descriptors(now, pages, whose) & needed != needed]
        how = "writes" if one["write"] else "reads"
        yield from named(stray, f"{whose} DMA of stream {_name(int(one['stream']))} still {how} {{}}")


def _descriptors(now: Hardware, frames: Pages, whose: str) -> Pages:
    """By which each of ``frames`` is mapped for DMA."""
    if whose == "the normal world's":
        return for_devices(now, frames)
    entries = of_npu(now)
    mapped = entries[entries != 0]
    places = {int(entry) & ~(PAGE_SIZE - 1) & (1 << 48) - 1: entry for entry in mapped}
    return np.array([places.get(int(frame), 0) for frame in frames], np.uint64)


def _wanted_streams(now: Hardware) -> Pages:
    table = np.zeros((STREAMS, STREAM_ENTRY_BYTES // ENTRY_BYTES), np.uint64)
    table[:, 0] = _fields(StreamTableEntry.WORD0, v=1, config=StreamConfig.ABORT)
    base = now.layout.dram.carve_out_base
    normal = _stream(base + CarveOut.STORAGE_ROOT, Vmid.STORAGE, ADDRESS_BITS)
    secure = _stream(base + CarveOut.NPU_ROOT, Vmid.NPU, NPU_ADDRESS_BITS)
    table[StreamId.STORAGE, :STREAM_WORDS] = normal
    for stream in NPU_STREAMS:
        table[stream, :STREAM_WORDS] = secure if now.variables["npu_mode"] == NPU_SECURE else normal
    return table


def _stream(root: int, vmid: Vmid, bits: int) -> list[int]:
    """Stage 2 with faults recorded and ended; tables as VTCR_EL2 has the core's."""
    stage2 = _fields(
        StreamTableEntry.WORD2,
        s2vmid=vmid, s2t0sz=64 - bits, s2sl0=1, s2ir0=1, s2or0=1, s2sh0=3, s2ps=1, s2aa64=1, s2r=1,
    )  # fmt: skip
    incoming = _fields(StreamTableEntry.WORD1, shcfg=1)
    return [_fields(StreamTableEntry.WORD0, v=1, config=StreamConfig.STAGE2), incoming, stage2, root]


def _stream_table(now: Hardware) -> Pages:
    words = now.memory.table(CarveOut.STREAM_TABLE)[: STREAMS * STREAM_ENTRY_BYTES // ENTRY_BYTES]
    return words.reshape(STREAMS, -1)


def _fields(register: Register, **values: int) -> int:
    return sum(value << register.fields[name].lsb for name, value in values.items())


def _name(stream: int) -> str:
    return StreamId(stream).name if stream in list(StreamId) else str(stream)
