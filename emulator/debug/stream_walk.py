"""A DMA master's access explained: SMMU registers, stream table entry, stage 2, TZASC (IHI 0070, chapters 3 and 5).

From what is in registers and memory now; what the SMMU has cached of it counts until a command invalidates it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from emulator.debug.bus_filter import judge
from emulator.debug.tables import OUTPUT_BITS, SMALL, Table, is_leaf, size_in_range
from emulator.debug.walker import Access, Refused, Step
from emulator.devices.smmu import Smmu
from emulator.devices.smmu_structures import StreamConfig, StreamTableEntry
from emulator.machine import Machine
from emulator.memory_map import Nsaid, StreamId

STREAM_BYTES = 64  # of a stream table entry


@dataclass(frozen=True)
class StreamExplanation:
    """As `emulator.debug.walk.Explanation`, of a stream's access at the address that its master gives."""

    address: int
    access: Access
    stream: StreamId
    steps: tuple[Step, ...]
    allowed: bool
    physical: int | None
    verdict: str


@dataclass
class _StreamWalk:
    machine: Machine
    smmu: Smmu
    stream: StreamId
    access: Access
    steps: list[Step] = field(default_factory=list)

    def say(self, stage: str, text: str, descriptor: int | None = None) -> None:
        self.steps.append(Step(stage, text, descriptor=descriptor))

    def refuse(self, stage: str, text: str, descriptor: int | None = None) -> Refused:
        self.steps.append(Step(stage, text, allowed=False, descriptor=descriptor))
        return Refused(f"{stage}: {text}")

    def run(self, address: int) -> int:
        if not self.smmu.CR0["smmuen"]:
            if self.smmu.GBPA["abort"]:
                raise self.refuse("SMMU", "CR0.SMMUEN = 0 and GBPA.ABORT = 1: everything is aborted")
            self.say("SMMU", "CR0.SMMUEN = 0 and GBPA.ABORT = 0: everything passes unchanged")
            return address
        entry = self._entry()
        if not entry.WORD0["v"]:
            raise self.refuse("stream table", "V = 0: C_BAD_STE")
        config = entry.WORD0["config"]
        name = next((one.name for one in StreamConfig if one == config), f"{config}")
        if config == StreamConfig.BYPASS:
            self.say("stream table", "Config = BYPASS: passes unchanged")
            return address
        if config != StreamConfig.STAGE2:
            raise self.refuse("stream table", f"Config = {name}: nothing passes")
        return self._stage2(entry, address)

    def _entry(self) -> StreamTableEntry:
        bits = self.smmu.STRTAB_BASE_CFG["log2size"]
        if self.stream >> bits:
            raise self.refuse("stream table", f"it has 2^{bits} entries: C_BAD_STREAMID")
        table = self.smmu.STRTAB_BASE["address"] << 6 & ~((STREAM_BYTES << bits) - 1)
        at = table + self.stream * STREAM_BYTES
        words = [self._fetch("stream table", "entry", at + 8 * index) for index in range(4)]
        entry = StreamTableEntry()
        entry.values.update(zip(range(0, 32, 8), words, strict=True))
        self.say("stream table", f"entry of stream {self.stream.value} at {at:#x}: {' '.join(map(hex, words))}")
        return entry

    def _stage2(self, entry: StreamTableEntry, address: int) -> int:
        word, base = entry.WORD2, entry.WORD3["s2ttb"] << 4
        bits, start = 64 - word["s2t0sz"], 2 - word["s2sl0"]
        table = Table(base, SMALL, bits, start, OUTPUT_BITS[min(word["s2ps"], 4)])
        if start < 0 or not size_in_range(word["s2t0sz"]) or not 1 <= bits - table.shift(start) <= 13:
            raise self.refuse("stream table", "S2T0SZ and S2SL0 do not agree: C_BAD_STE")
        self.say("stage 2", f"S2TTB = {base:#x}, VMID {word['s2vmid']}, {bits}-bit addresses")
        if address >> bits:
            raise self.refuse("stage 2", f"{address:#x} has more bits: F_TRANSLATION")
        for level, at, descriptor in self._descriptors(table, address):
            shown = f"level {level} descriptor at {at:#x} = {descriptor:#x}"
            if fault := table.fault(descriptor, level):
                raise self.refuse("stage 2", f"{shown}: {fault}, level {level}", at)
            if not is_leaf(descriptor, level):
                self.say("stage 2", f"{shown}: table", at)
                continue
            rights = "r" * (descriptor >> 6 & 1) + "w" * (descriptor >> 7 & 1)
            if not descriptor >> (7 if self.access is Access.WRITE else 6) & 1:
                raise self.refuse("stage 2", f"{shown}: S2AP {rights or 'none'}: F_PERMISSION", at)
            self.say("stage 2", f"{shown}: S2AP {rights}: {self.access.value} allowed", at)
            return table.output(descriptor, level, address)
        raise AssertionError("level 3 has no tables")

    def _descriptors(self, table: Table, address: int) -> Iterator[tuple[int, int, int]]:
        """Level, place and value, level by level."""
        base = table.base
        for level in range(table.start, 4):
            at = table.entry(base, level, address)
            descriptor = self._fetch("stage 2", f"level {level} descriptor", at)
            yield level, at, descriptor
            base = table.output(descriptor, 3, 0)

    def _fetch(self, stage: str, what: str, address: int) -> int:
        """As the SMMU's walker reads it; zeros where a filter denies without an error."""
        verdict = judge(self.machine, address, secure=False, write=False, nsaid=Nsaid.SMMU_WALKER)
        if not verdict.allowed and verdict.is_error:
            raise self.refuse(stage, f"{what} at {address:#x}: {verdict.filter}: {verdict.why}", address)
        return int.from_bytes(self.machine.read_physical(address, 8), "little") if verdict.allowed else 0


def explain_stream(machine: Machine, stream: StreamId, address: int, access: Access) -> StreamExplanation:
    """Why a DMA master's access is allowed or refused. Raises LookupError where there is no SMMU."""
    smmu = next((device for _, device in machine.devices if isinstance(device, Smmu)), None)
    if smmu is None:
        raise LookupError("this board has no SMMU")
    walk = _StreamWalk(machine, smmu, stream, access)
    physical: int | None = None
    try:
        physical = walk.run(address)
    except Refused as refused:
        return StreamExplanation(
            address, access, stream, tuple(walk.steps), False, None, f"refused by {refused.args[0]}"
        )
    write = access is Access.WRITE
    verdict = judge(machine, physical, secure=False, write=write, nsaid=Nsaid[stream.name])
    walk.steps.append(Step(verdict.filter, verdict.why, verdict.allowed))
    text = f"{access.value} of physical {physical:#x} by {stream.name}"
    text = f"allowed: {text}" if verdict.allowed else f"refused by the {verdict.filter}: {text}: {verdict.why}"
    return StreamExplanation(address, access, stream, tuple(walk.steps), verdict.allowed, physical, text)
