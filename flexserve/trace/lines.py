"""Events into the lines of a canonical trace (docs/trace-format.md is its grammar)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

from emulator.debug.syndrome import describe_syndrome, exception_class
from emulator.devices.smmu_structures import EventCode, Opcode
from emulator.events import Event, EventKind, Filter
from emulator.memory_map import DramLayout, Nsaid, StreamId
from emulator.world import World, vmid_of
from monitor import abi

from . import names

LEVEL, WORLD = 6, 7  # of an SMC event's or an SMC return's arguments
SMC_CLASS = 0x17
EL3 = 3
EVERY_PENDING = sum(abi.Pending)

Args: TypeAlias = tuple[int, ...]

KINDS = frozenset(EventKind) - {EventKind.NOTE}


class Liner:
    """Turns the events of one run into lines, in their order.

    Neighbouring bursts of one DMA transfer are one line: how a transfer is cut into bursts is no event of its own.
    """

    def __init__(self, layout: DramLayout) -> None:
        self._layout = layout
        self._calls: dict[int, tuple[abi.Call | None, str]] = {}  # the last call of each context
        self._caller = 0
        self._writers: dict[EventKind, Callable[[Args], str | None]] = {
            EventKind.SMC: self._smc,
            EventKind.SMC_RETURN: self._return,
            EventKind.EXCEPTION: self._exception,
            EventKind.OWNERSHIP: self._ownership,
            EventKind.TOKEN: self._token,
            EventKind.DENIED: self._denied,
            EventKind.DEVICE_WRITE: self._device_write,
            EventKind.UNDECLARED: self._undeclared,
            EventKind.SMMU_COMMAND: self._smmu_command,
            EventKind.SMMU_FAULT: self._smmu_fault,
            EventKind.TLB: self._tlbi,
            EventKind.NPU: self._npu,
        }
        self._dma: tuple[int, int, int, int] | None = None  # stream, write, first address, address behind the last

    def lines(self, events: Iterable[Event]) -> Iterator[str]:
        for event in events:
            if event.kind is EventKind.DMA:
                yield from self._burst(event)
                continue
            line = self._line(event)
            if line:
                yield from self._transfer()
                yield line
        yield from self._transfer()

    def _line(self, event: Event) -> str | None:
        write = self._writers.get(event.kind)
        return write(event.args) if write else None

    def _ownership(self, args: Args) -> str:
        first, count, old, new = args[:4]
        return f"own page={first} count={count} {names.state(old)}>{names.state(new)}"

    def _token(self, args: Args) -> str:
        number, size, *words = args
        text = b"".join(word.to_bytes(8, "little") for word in words)[:size]
        return f"token {number} {json.dumps(text.decode(errors='backslashreplace'))}"

    def _device_write(self, args: Args) -> str:
        return f"set {names.register(args[0], args[1])}={args[3]:#x}"

    def _undeclared(self, args: Args) -> str:
        access = f"write={args[3]:#x}" if args[4] else "read"
        return f"undeclared {names.register(args[0], args[1])} {access}"

    def _smmu_fault(self, args: Args) -> str:
        way = "write" if args[3] else "read"
        stream, code = names.member(StreamId, args[0]), names.member(EventCode, args[2])
        return f"smmu-fault {stream} {code} {way} {self._place(args[1])}"

    def _npu(self, args: Args) -> str:
        return f"npu {names.npu(args)}"

    def _tlbi(self, args: Args) -> str:
        return f"tlbi {names.tlbi(*args[:3])} {args[3]:#x}"

    def _smc(self, args: Args) -> str:
        call = abi.find(args[0])
        self._caller = args[WORLD]
        where = names.where(args[WORLD], args[LEVEL])
        if call is None:
            self._calls[args[WORLD]] = None, f"{args[0]:#x}"
            return f"smc {where} {args[0]:#x}{_registers(args[1:LEVEL], 1)}"
        self._calls[args[WORLD]] = call, call.name
        return f"smc {where} {call.name}{names.arguments(call, args[1:LEVEL], self._layout)}"

    def _return(self, args: Args) -> str:
        call, name = self._calls.get(args[WORLD], (None, "entry"))
        where = names.where(args[WORLD], args[LEVEL])
        kind = "return" if args[WORLD] == self._caller else "switch"
        if kind == "switch" and vmid_of(args[WORLD]) == abi.Vmid.DRIVER:
            return f"switch {where} entry{_registers(args[:LEVEL], 0)}"
        answered = call is abi.DRIVER_CALL and vmid_of(self._caller) == abi.Vmid.DRIVER
        if kind == "switch" and args[WORLD] == World.SECURE and not answered and args[0] <= EVERY_PENDING:
            pending = abi.Pending(args[0])
            what = pending.name or f"{args[0]:#x}"
            return f"switch {where} {what}{_registers(args[1:LEVEL], 1)}"
        if call is None:
            return f"{kind} {where} {name}{_registers(args[:LEVEL], 0)}"
        return f"{kind} {where} {name}{names.results(call, args[:LEVEL], self._layout)}"

    def _exception(self, args: Args) -> str | None:
        syndrome, far, _, level, target, ipa, vector, world = args
        if target == EL3 and exception_class(syndrome) == SMC_CLASS and vector == 0:
            return None  # its SMC line says all of it
        what = describe_syndrome(syndrome) if vector == 0 else ("IRQ", "FIQ", "SError")[(vector >> 7) - 1]
        details = f" far={far:#x}" if far else ""
        details += f" ipa={self._place(ipa)}" if ipa else ""
        return f"exception {names.where(world, level)}>el{target}{details} {what}"

    def _denied(self, args: Args) -> str:
        address, nsaid, secure, write, filter_, reported = args[:6]
        who = f"{'secure' if secure else 'normal'}:{names.member(Nsaid, nsaid)}"
        way = "write" if write else "read"
        silent = "" if reported else " silently"
        return f"denied {names.member(Filter, filter_)} {who} {way} {self._place(address)}{silent}"

    def _smmu_command(self, args: Args) -> str:
        opcode, target = args[0] & 0xFF, args[0] >> 32
        address = args[1] & 0x000F_FFFF_FFFF_F000
        what = f" {self._place(address)}" if opcode == Opcode.TLBI_S2_IPA else ""
        return f"smmu {names.member(Opcode, opcode)} {target:#x}{what}"

    def _burst(self, event: Event) -> Iterator[str]:
        stream, _, address, size, write = event.args[:5]
        if self._dma and (self._dma[:2] != (stream, write) or self._dma[3] != address):
            yield from self._transfer()
        first = self._dma[2] if self._dma else address
        self._dma = stream, write, first, address + size

    def _transfer(self) -> Iterator[str]:
        if self._dma:
            stream, write, first, end = self._dma
            self._dma = None
            way = "writes" if write else "reads"
            yield f"dma {names.member(StreamId, stream)} {way} {self._place(first)} bytes={end - first}"

    def _place(self, address: int) -> str:
        return names.place(address, self._layout)


def _registers(values: tuple[int, ...], first: int) -> str:
    """Those that are not zero, by number."""
    return "".join(f" x{first + index}={value:#x}" for index, value in enumerate(values) if value)
