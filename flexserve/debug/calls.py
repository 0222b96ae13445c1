"""Events in words: calls by their row of the SMC table, exceptions by their syndrome, pages by their state."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import TypeAlias

from emulator.debug.syndrome import describe_syndrome
from emulator.events import Event, EventKind, Filter
from emulator.memory_map import DRAM_BASE, PAGE_SIZE, Nsaid, device_windows
from flexserve.contexts import SENTENCE_NAMES, context_name
from flexserve.trace import names
from monitor import abi

from .ownership import state_name

Args: TypeAlias = tuple[int, ...]  # of an event

VECTOR = 6  # of an exception's arguments: where in its block of the vector table; 0: synchronous
_INTERRUPTS = {0x080: "IRQ", 0x100: "FIQ", 0x180: "SError"}
LEVEL, WORLD = 6, 7  # of an SMC event's or an SMC return's arguments


def describe_call(event: Event) -> str:
    """``MEM_LOCK(base=0x41000000, pages=64)``."""
    return _call(event.args)


def _call(args: Args) -> str:
    function, *arguments = args[:LEVEL]
    call = abi.find(function)
    if call is None:
        return f"unknown call {function:#x}"
    kinds = {word.name: word.kind for word in call.args}
    values = call.arguments(arguments)
    return f"{call.name}({', '.join(f'{name}={_word(kinds[name], value)}' for name, value in values.items())})"


def describe_results(call_event: Event | None, event: Event) -> str:
    """Of an SMC_RETURN, by the row of the call that it ends: ``MEM_LOCK: status=SUCCESS, done=64``."""
    call = abi.find(call_event.args[0]) if call_event else None
    if call is None or call_event is None:
        return f"returned {event.args[0]:#x}"
    if event.args[WORLD] != call_event.args[WORLD]:
        return f"{call.name}: {SENTENCE_NAMES[context_name(event.args[WORLD])]} runs"
    kinds = {word.name: word.kind for word in call.returns}
    values = call.results(event.args[:LEVEL])
    return f"{call.name}: {', '.join(f'{name}={_word(kinds[name], value)}' for name, value in values.items())}"


def describe(events: Sequence[Event], index: int) -> str:
    """Event ``index`` in words; the events before it say which call a return belongs to."""
    event = events[index]
    if event.kind is EventKind.SMC_RETURN:
        return f"return {describe_results(call_before(events, index), event)}"
    if event.kind in _WORDS:
        return _WORDS[event.kind](event.args)
    return f"{event.kind.name.lower()} {' '.join(f'{value:#x}' for value in event.args)}"


def call_before(events: Sequence[Event], index: int) -> Event | None:
    """The SMC that event ``index`` is a consequence of: the last one before it."""
    return next((event for event in reversed(events[:index]) if event.kind is EventKind.SMC), None)


def covers(event: Event, page: int) -> bool:
    """Whether an event is a change of the page at address ``page``."""
    first, count = event.args[:2]
    return event.kind is EventKind.OWNERSHIP and first <= (page - DRAM_BASE) // PAGE_SIZE < first + count


def page_name(address: int) -> str:
    """A page by number and address."""
    return f"page {(address - DRAM_BASE) // PAGE_SIZE} ({address:#x})"


def _word(kind: abi.Kind, value: int) -> str:
    if kind in abi.STATUSES:
        return _name(abi.STATUSES[kind], value)
    return str(value) if kind is abi.Kind.NUMBER and value < 1 << 32 else f"{value:#x}"


def _name(names: type[abi.Status | abi.PsciStatus | Nsaid | Filter], value: int) -> str:
    return next((member.name for member in names if member == value), str(value))


def _smc(args: Args) -> str:
    return f"SMC {_call(args)} from EL{args[LEVEL]} {context_name(args[WORLD])}"


def _exception(args: Args) -> str:
    if args[VECTOR]:
        return f"{_INTERRUPTS.get(args[VECTOR], 'exception')} taken from EL{args[3]} to EL{args[4]}, at {args[2]:#x}"
    return f"exception EL{args[3]} to EL{args[4]}: {describe_syndrome(args[0])}, at {args[2]:#x}"


def _denied(args: Args) -> str:
    who = f"{'secure' if args[2] else 'non-secure'} {_name(Nsaid, args[1])}"
    return f"{_name(Filter, args[4])} denied a {'write' if args[3] else 'read'} of {args[0]:#x} by {who}"


def _register(args: Args) -> str:
    return f"{device_windows()[args[0]].name}+{args[1]:#x} = {args[3]:#x}"


def _undeclared(args: Args) -> str:
    return (
        f"{'write' if args[4] else 'read'} of {device_windows()[args[0]].name}+{args[1]:#x}, where nothing is declared"
    )


def _dma(args: Args) -> str:
    return f"DMA of stream {args[0]}: {args[3]} bytes {'to' if args[4] else 'from'} {args[2]:#x}"


def _ownership(args: Args) -> str:
    first, count, old, new = args[:4]
    pages = f"{count} page{'s' * (count > 1)} at {DRAM_BASE + first * PAGE_SIZE:#x}"
    return f"{pages}: {state_name(old)} to {state_name(new)}"


def _tlb(args: Args) -> str:
    return f"TLBI op1={args[0]} CRm={args[1]} op2={args[2]}, {args[3]:#x}"


def _token(args: Args) -> str:
    size, *parts = args[1:]
    text = struct.pack(f"<{len(parts)}Q", *parts)[:size].decode(errors="replace")
    return f"token {args[0]} {text!r}"


def _npu(args: Args) -> str:
    return names.npu(args)


_WORDS: dict[EventKind, Callable[[Args], str]] = {
    EventKind.SMC: _smc,
    EventKind.EXCEPTION: _exception,
    EventKind.DENIED: _denied,
    EventKind.DEVICE_WRITE: _register,
    EventKind.UNDECLARED: _undeclared,
    EventKind.DMA: _dma,
    EventKind.OWNERSHIP: _ownership,
    EventKind.TLB: _tlb,
    EventKind.TOKEN: _token,
    EventKind.NPU: _npu,
}
