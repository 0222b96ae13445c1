"""Drives the SMMU as a monitor would: tables and queues in DRAM, registers, commands."""

from __future__ import annotations

import struct

from emulator.devices.smmu import Smmu
from emulator.devices.smmu_structures import Command, EventRecord, Opcode, StreamConfig, StreamTableEntry
from emulator.memory_map import DRAM_BASE, MIB, PAGE_SIZE, StreamId
from emulator.native import ffi, lib
from emulator.registers import RegisterMap

from .rig import Rig

TABLES = DRAM_BASE + 8 * MIB
STREAM_TABLE, COMMANDS, EVENTS = TABLES, TABLES + PAGE_SIZE, TABLES + 2 * PAGE_SIZE
LEVEL1 = TABLES + 3 * PAGE_SIZE
STREAMS_LOG2, COMMANDS_LOG2, EVENTS_LOG2 = 3, 5, 2
VMID = 5
ENABLE_ALL = 0b1101

TABLE, PAGE_DESCRIPTOR, BLOCK = 0b11, 0b11, 0b01
READ, WRITE, ACCESS_FLAG = 1 << 6, 1 << 7, 1 << 10


class SmmuDriver:
    """Stream 1 (storage) goes through a stage-2 table of 4 KiB pages, IPA size 32 bits, start level 1."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.smmu = rig.board.smmu
        self._next_table = LEVEL1 + PAGE_SIZE
        self._producer = 0
        rig.open_dram()
        self.write_entry(self.entry())
        for register, value in (
            (Smmu.STRTAB_BASE, STREAM_TABLE),
            (Smmu.STRTAB_BASE_CFG, STREAMS_LOG2),
            (Smmu.CMDQ_BASE, COMMANDS | COMMANDS_LOG2),
            (Smmu.EVENTQ_BASE, EVENTS | EVENTS_LOG2),
            (Smmu.CR2, 1 << 1),
            (Smmu.CR0, ENABLE_ALL),
        ):
            rig.write(self.smmu, register, value)

    # --- structures in memory ---------------------------------------------------------------------------------------

    def entry(self, **fields: int) -> StreamTableEntry:
        """A valid stage-2 entry, with some fields otherwise."""
        entry = StreamTableEntry()
        entry.WORD0["v"], entry.WORD0["config"] = 1, StreamConfig.STAGE2
        entry.WORD2["s2vmid"], entry.WORD2["s2t0sz"], entry.WORD2["s2sl0"] = VMID, 32, 1
        entry.WORD2["s2ps"], entry.WORD2["s2aa64"], entry.WORD2["s2r"] = 4, 1, 1
        entry.WORD3.value = LEVEL1
        for name, value in fields.items():
            for register in StreamTableEntry.registers:
                if name in register.fields:
                    field = register.fields[name]
                    entry.values[register.offset] &= ~field.mask
                    entry.values[register.offset] |= value << field.lsb
        return entry

    def write_entry(self, entry: StreamTableEntry, stream: int = StreamId.STORAGE) -> None:
        self.rig.machine.write_physical(STREAM_TABLE + 64 * stream, packed(entry, 64))

    def map(self, ipa: int, pa: int, permissions: int = READ | WRITE | ACCESS_FLAG) -> None:
        """A level 3 entry; 0 permissions make it invalid."""
        level3 = self._table(self._table(LEVEL1, ipa >> 30 & 3), ipa >> 21 & 511)
        descriptor = pa | permissions | PAGE_DESCRIPTOR if permissions else 0
        self.rig.machine.write_physical(level3 + (ipa >> 12 & 511) * 8, struct.pack("<Q", descriptor))

    def map_block(self, ipa: int, pa: int) -> None:
        """A 2 MiB block."""
        level2 = self._table(LEVEL1, ipa >> 30 & 3)
        descriptor = struct.pack("<Q", pa | READ | WRITE | ACCESS_FLAG | BLOCK)
        self.rig.machine.write_physical(level2 + (ipa >> 21 & 511) * 8, descriptor)

    def _table(self, above: int, index: int) -> int:
        place = above + index * 8
        (descriptor,) = struct.unpack("<Q", self.rig.machine.read_physical(place, 8))
        if not descriptor:
            descriptor = self._next_table | TABLE
            self._next_table += PAGE_SIZE
            self.rig.machine.write_physical(place, struct.pack("<Q", descriptor))
        return int(descriptor) & ~0xFFF

    # --- commands and events ----------------------------------------------------------------------------------------

    def put(self, opcode: int, target: int = 0, word1: int = 0, **fields: int) -> None:
        """Place a command in the queue without telling the SMMU."""
        command = Command()
        command.WORD0["opcode"], command.WORD0["target"], command.WORD1.value = opcode, target, word1
        for name, value in fields.items():
            command.WORD0[name] = value
        slot = self._producer % (1 << COMMANDS_LOG2)
        self.rig.machine.write_physical(COMMANDS + 16 * slot, packed(command, 16))
        self._producer = (self._producer + 1) % (2 << COMMANDS_LOG2)

    def submit(self) -> None:
        self.rig.write(self.smmu, Smmu.CMDQ_PROD, self._producer)

    def command(self, opcode: int, target: int = 0, word1: int = 0, **fields: int) -> None:
        self.put(opcode, target, word1, **fields)
        self.submit()

    def sync(self) -> None:
        self.command(Opcode.SYNC)

    @property
    def consumer(self) -> int:
        return self.rig.read(self.smmu, Smmu.CMDQ_CONS)

    @property
    def producer(self) -> int:
        return self._producer

    def events(self) -> list[EventRecord]:
        """Take every recorded event out of the queue."""
        producer = self.rig.read(self.smmu, Smmu.EVENTQ_PROD)
        consumer = self.rig.read(self.smmu, Smmu.EVENTQ_CONS)
        taken = []
        while (consumer ^ producer) & (2 << EVENTS_LOG2) - 1:
            record = EventRecord()
            raw = self.rig.machine.read_physical(EVENTS + 32 * (consumer % (1 << EVENTS_LOG2)), 32)
            record.values = dict(zip(range(0, 32, 8), struct.unpack("<4Q", raw), strict=True))
            taken.append(record)
            consumer = (consumer + 1) % (2 << EVENTS_LOG2)
        self.rig.write(self.smmu, Smmu.EVENTQ_CONS, consumer | producer & 1 << 31)
        return taken

    def codes(self) -> list[int]:
        return [event.WORD0["code"] for event in self.events()]

    # --- accesses ---------------------------------------------------------------------------------------------------

    def translate(self, address: int, *, write: bool = False, stream: int = StreamId.STORAGE) -> int | None:
        """As an access of a stream: its physical address, None if it is refused."""
        physical = ffi.new("uint64_t *")
        done = lib.smmu_translate(self.rig.machine.native, stream, address, write, physical)
        return physical[0] if done else None


def packed(structure: RegisterMap, size: int) -> bytes:
    words = [structure.values.get(offset, 0) for offset in range(0, size, 8)]
    return struct.pack(f"<{len(words)}Q", *words)
