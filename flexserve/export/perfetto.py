"""Perfetto: worlds and exception levels, devices and pages on one time line, with an arrow from each call to its end.

A nanosecond of the trace is an instruction of guest time. Tracks and events are those of TrackEvent
(https://perfetto.dev/docs/reference/synthetic-track-event).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import TracePacket, TrackEvent
from perfetto.trace_builder.proto_builder import TraceProtoBuilder

from emulator.events import Event, EventKind
from emulator.memory_map import DramLayout, StreamId
from flexserve.contexts import context_name
from flexserve.export.npu_tracks import NpuTracks, core_track
from flexserve.trace.lines import LEVEL, WORLD, Liner
from flexserve.trace.names import member, register
from monitor import abi
from monitor.abi import PageState

SEQUENCE = 1
EL3 = "EL3 monitor"
KINDS = frozenset(EventKind) - {EventKind.NOTE}
DEVICE_EVENTS = (EventKind.DEVICE_WRITE, EventKind.UNDECLARED, EventKind.SMMU_COMMAND, EventKind.SMMU_FAULT)


@dataclass
class _Call:
    """Under way: ``flow`` ties its parts together."""

    call: abi.Call | None
    name: str
    flow: int
    world: int


class Converter:
    """Of one run's events, in order."""

    def __init__(self, layout: DramLayout) -> None:
        self._layout = layout
        self._builder = TraceProtoBuilder()
        self._tracks: dict[str, int] = {}
        self._pages = {**dict.fromkeys(PageState, 0), PageState.NORMAL: layout.pages}
        self._calls: dict[int, _Call] = {}  # the last one of each world
        self._flows = 0
        self._at_el3: _Call | None = None
        self._running: tuple[str, int] | None = None  # the core's track that has a slice open, and since when
        self._npu = NpuTracks(self)

    def convert(self, events: Sequence[Event]) -> bytes:
        """The trace, as a file holds it."""
        for event in events:
            self._take(event)
        if self._running and events:
            self._end(self._running[0], events[-1].instruction)
        if events:
            self._npu.end(events[-1].instruction)
        return bytes(self._builder.serialize())

    def _take(self, event: Event) -> None:
        args, now = event.args, event.instruction
        match event.kind:
            case EventKind.SMC:
                self._called(now, args)
            case EventKind.SMC_RETURN:
                self._returned(now, args)
            case EventKind.OWNERSHIP:
                self._owned(now, args)
            case EventKind.TOKEN:
                self._instant(self._track("tokens"), now, self._words(event))
            case EventKind.DMA:
                self._instant(self._track(f"DMA {member(StreamId, args[0])}"), now, self._words(event))
            case EventKind.NPU:
                self._npu.happened(now, args)
                self._instant(self._track(core_track(args[0])), now, self._words(event))
            case EventKind.DENIED:
                self._instant(self._track("filters"), now, self._words(event))
            case EventKind.TLB:
                self._instant(self._track("TLB"), now, self._words(event))
            case EventKind.EXCEPTION:
                if words := self._words(event):
                    self._instant(self._track(f"exceptions to EL{args[4]}"), now, words)
            case kind if kind in DEVICE_EVENTS:
                name = register(args[0], args[1]).split(".")[0].split("+")[0] if kind in DEVICE_EVENTS[:2] else "SMMU"
                self._instant(self._track(name), now, self._words(event))

    def _called(self, now: int, args: tuple[int, ...]) -> None:
        call = abi.find(args[0])
        self._flows += 1
        here = _Call(call, call.name if call else f"{args[0]:#x}", self._flows, args[WORLD])
        self._calls[args[WORLD]] = self._at_el3 = here
        if self._running:
            self._end(self._running[0], now)
        caller = self._track(_context(args[WORLD], args[LEVEL]))
        self._instant(caller, now, f"SMC {here.name}", here.flow)
        self._begin(EL3, now, here.name, here.flow)

    def _returned(self, now: int, args: tuple[int, ...]) -> None:
        self._end(EL3, now)
        ended = self._calls.get(args[WORLD])
        self._npu.returned(now, ended.call if ended else None, args[0])
        context = _context(args[WORLD], args[LEVEL])
        flow = self._at_el3.flow if self._at_el3 else 0
        if ended and self._at_el3 and ended.world == self._at_el3.world:
            self._begin(context, now, f"after {ended.name}", flow)
        else:
            what = f"{self._at_el3.name} enters" if self._at_el3 else "entered"
            self._begin(context, now, what, flow)

    def _owned(self, now: int, args: tuple[int, ...]) -> None:
        _, count, old, new = args[:4]
        for entry, change in ((old, -count), (new, count)):
            state = PageState(entry & 7)
            self._pages[state] += change
            packet = self._event(self._counter(f"pages {state.name}"), now, TrackEvent.TYPE_COUNTER)
            packet.track_event.counter_value = self._pages[state]

    def _words(self, event: Event) -> str:
        return next(iter(Liner(self._layout).lines([event])), "")

    # --- packets ---------------------------------------------------------------------------------------------------

    def _track(self, name: str) -> int:
        return self._tracks.get(name) or self._describe(name)

    def _counter(self, name: str) -> int:
        return self._tracks.get(name) or self._describe(name, counter=True)

    def _describe(self, name: str, *, counter: bool = False) -> int:
        number = self._tracks[name] = len(self._tracks) + 1
        descriptor = self._builder.add_packet().track_descriptor
        descriptor.uuid = number
        descriptor.name = name
        if counter:
            descriptor.counter.SetInParent()
        return number

    def _event(self, track: int, now: int, kind: int) -> TracePacket:
        packet = self._builder.add_packet()
        packet.timestamp = now
        packet.trusted_packet_sequence_id = SEQUENCE
        packet.track_event.type = kind
        packet.track_event.track_uuid = track
        return packet

    def _instant(self, track: int, now: int, name: str, flow: int = 0) -> None:
        packet = self._event(track, now, TrackEvent.TYPE_INSTANT)
        packet.track_event.name = name
        if flow:
            packet.track_event.flow_ids.append(flow)

    def open(self, track: str, now: int, name: str, flow: int = 0) -> None:
        """A slice of the track that is called so."""
        packet = self._event(self._track(track), now, TrackEvent.TYPE_SLICE_BEGIN)
        packet.track_event.name = name
        if flow:
            packet.track_event.flow_ids.append(flow)

    def close(self, track: str, now: int) -> None:
        self._event(self._track(track), now, TrackEvent.TYPE_SLICE_END)

    def _begin(self, context: str, now: int, name: str, flow: int) -> None:
        self.open(context, now, name, flow)
        self._running = context, now

    def _end(self, context: str, now: int) -> None:
        if self._running and self._running[0] == context:
            self.close(context, now)
            self._running = None


def _context(number: int, level: int) -> str:
    name = context_name(number)
    return f"EL{level} {name} {'context' if name == 'driver' else 'world'}"
