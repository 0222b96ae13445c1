"""Breakpoints: where a run stops, by address, call, page, event, memory or broken invariant."""

from __future__ import annotations

from dataclasses import dataclass, field

from emulator.debug.timeline import Reason, Stopped, StopSet, Timeline
from emulator.events import Event, EventKind
from emulator.machine import Stop
from emulator.stops import Watch
from flexserve.debug.calls import covers, page_name
from flexserve.debug.expressions import evaluate, number, page_address, places
from flexserve.debug.ownership import entries
from flexserve.debug.protection_views import broken
from flexserve.debug.scene import Refused, Scene

from .conditions import Condition, find_call, parse_conditions
from .kinds import Kind, find_kind


@dataclass
class Breakpoint:
    """Stops as soon as any of its parts does. ``invariants``: only if one is broken."""

    what: str
    addresses: frozenset[int] = frozenset()
    watches: frozenset[Watch] = frozenset()
    kind: Kind | None = None
    function: int | None = None
    conditions: tuple[Condition, ...] = ()
    page: int | None = None
    invariants: bool = False
    hits: int = field(default=0, compare=False)

    def wants(self, timeline: Timeline, event: Event) -> bool:
        if self.kind is None or event.kind not in self.kind.kinds:
            return False
        if self.function is not None and event.args[0] != self.function:
            return False
        if self.page is not None and not covers(event, self.page):
            return False
        return self.kind.when(timeline)(event) and all(one.holds(event) for one in self.conditions)

    def caused(self, timeline: Timeline, stopped: Stopped) -> bool:
        """Whether the run stopped for this one; an invariant is looked at only now."""
        match stopped.reason, stopped.detail:
            case Reason.BREAKPOINT, _:
                return timeline.machine.core.pc in self.addresses
            case Reason.WATCHPOINT, Stop() as stop:
                return stop.access is not None and stop.access.watch in self.watches
            case Reason.EVENT, Event() as event:
                return self.wants(timeline, event)
        return False


def stop_set(timeline: Timeline, breakpoints: list[Breakpoint]) -> StopSet:
    """All of them together."""
    kinds = [one.kind.kinds for one in breakpoints if one.kind]
    return StopSet(
        breakpoints=frozenset[int]().union(*(one.addresses for one in breakpoints)),
        watchpoints=frozenset[Watch]().union(*(one.watches for one in breakpoints)),
        kinds=frozenset[EventKind]().union(*kinds),
        when=lambda event: any(one.wants(timeline, event) for one in breakpoints),
    )


def parse_breakpoint(scene: Scene, text: str) -> Breakpoint:
    """Of the words after ``break``. Raises Refused."""
    word, _, rest = text.partition(" ")
    rest = rest.strip()
    match word:
        case "":
            raise Refused("break where? SYMBOL, FILE:LINE, *ADDRESS, smc CALL, page ADDRESS, event KIND or invariant")
        case "smc":
            return _at_call(scene, rest)
        case "page":
            entries(scene)
            page = page_address(scene, rest)
            return Breakpoint(f"state of {page_name(page)}", kind=find_kind("ownership")[1], page=page)
        case "event":
            name, kind = find_kind(rest)
            return Breakpoint(f"event {name}: {kind.what}", kind=kind)
        case "invariant" | "invariants":
            entries(scene)
            return Breakpoint("broken invariant", kind=find_kind("return")[1], invariants=True)
    found = places(scene, text)
    names = ", ".join(f"{place:#x} <{scene.sources.name_at(place) or '?'}>" for place in found)
    return Breakpoint(f"{text} at {names}", addresses=frozenset(found))


def parse_watch(scene: Scene, text: str, *, read: bool, write: bool) -> Breakpoint:
    """Of the words after ``watch``: [phys] ADDRESS [BYTES]. Raises Refused."""
    words = text.split()
    physical = bool(words) and words[0] in {"phys", "physical"}
    words = words[1:] if physical else words
    if not words:
        raise Refused("watch what? [phys] ADDRESS [BYTES]")
    address = evaluate(scene, words[0])
    size = number(words[1], "count of bytes") if len(words) > 1 else 8
    access = " and ".join(["reads"] * read + ["writes"] * write)
    space = "physical" if physical else "virtual"
    watch = Watch(address, size, read, write, physical)
    return Breakpoint(f"{access} of {size} bytes at {space} {address:#x}", watches=frozenset({watch}))


def _at_call(scene: Scene, text: str) -> Breakpoint:
    name, _, conditions = text.partition(" ")
    if not name:
        return Breakpoint("every SMC", kind=find_kind("smc")[1])
    call = find_call(name)
    parsed = parse_conditions(scene, call, conditions)
    what = " ".join([f"SMC {call.name}", conditions.strip()]).strip()
    return Breakpoint(what, kind=find_kind("smc")[1], function=call.function, conditions=parsed)


def is_broken(scene: Scene) -> list[str]:
    """The invariants that do not hold; none before the monitor has set up what they are about."""
    try:
        return broken(scene)
    except Refused:
        return []
