"""Who may reach what: page ownership, the TZASC, walks in words, invariants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import cache

from rich.text import Text

from emulator.debug.bus_filter import regions
from emulator.debug.stream_walk import StreamExplanation, explain_stream
from emulator.debug.walk import Access, Explanation, explain
from emulator.devices.smmu import Smmu
from emulator.devices.tzc400 import Tzc400
from emulator.image import Image
from emulator.machine import Machine
from emulator.memory_map import DRAM_BASE, PAGE_SIZE, StreamId
from emulator.world import World
from firmware.build import image_path
from monitor import abi
from monitor.checker import Checker

from .calls import page_name
from .expressions import evaluate, page_address
from .ownership import entries, ownership_map, reachable, state_name
from .scene import Answer, Refused, Scene, Words, expect_none, lines
from .styles import BAD, GOOD, state_style

TABLE = 0x0000_FFFF_FFFF_F000
REACHED = ("NORMAL", "ALLOCATED")
WALK_USAGE = "ADDRESS [read|write|fetch] [el0..el3] [normal|secure] [storage|npu0..npu2]"


def show_pages(scene: Scene, words: Words) -> Answer:
    if words:
        page = page_address(scene, words[0])
        entry = entries(scene)[(page - DRAM_BASE) // PAGE_SIZE]
        state = state_name(entry)
        return Answer({"page": page, "state": state, "reachable": reachable(entry)}, (page_state(page, state),))
    ranges = ownership_map(scene)
    shown = [
        Text.assemble(f"{one.base:#011x}..{one.end:#011x} {one.pages:8} pages  ", (one.state, state_style(one.state)))
        for one in ranges
    ]
    data = [{"base": one.base, "pages": one.pages, "state": one.state} for one in ranges]
    return Answer({"ranges": data}, (*shown, _legend(ranges_total(data))))


def page_state(page: int, state: str) -> Text:
    """A page and its state, in one sentence."""
    reach = "reaches" if state.split(" ")[0] in REACHED else "does not reach"
    return Text.assemble(f"{page_name(page)} is ", (state, state_style(state)), f": the normal world {reach} it")


def ranges_total(ranges: Sequence[dict[str, object]]) -> dict[str, int]:
    """Pages by state."""
    totals: dict[str, int] = {}
    for one in ranges:
        state = str(one["state"]).split(" ")[0]
        totals[state] = totals.get(state, 0) + int(str(one["pages"]))
    return totals


def _legend(totals: dict[str, int]) -> Text:
    text = Text("in all:")
    for state in abi.PageState:
        if count := totals.get(state.name):
            text.append(f"  {count} ").append(state.name, state_style(state.name))
    return text


def show_tzasc(scene: Scene, words: Words) -> Answer:
    expect_none(words)
    tzasc = next((device for _, device in scene.machine.devices if isinstance(device, Tzc400)), None)
    if tzasc is None:
        raise Refused("this board has no TZASC")
    gate = "open" if tzasc.GATE_KEEPER["open_status"] else "closed: nothing passes"
    found = regions(tzasc)
    return Answer({"gate": gate, "regions": list(found)}, lines(f"gate {gate}", *found))


def show_walk(scene: Scene, words: Words) -> Answer:
    core = scene.machine.core
    access, level, world = Access.READ, core.level, core.world
    if not words:
        raise Refused(f"which address? walk {WALK_USAGE}")
    address, stream = evaluate(scene, words[0]), None
    for word in (word.lower() for word in words[1:]):
        if word in {one.value for one in Access}:
            access = Access(word)
        elif word in {"el0", "el1", "el2", "el3"}:
            level = int(word[2])
        elif word.upper() in World.__members__:
            world, level = World[word.upper()], min(level, 1)
        elif word.upper() in StreamId.__members__:
            stream = StreamId[word.upper()]
        else:
            raise Refused(f"{word!r} is none of read, write, fetch, el0 to el3, normal, secure, storage, npu0")
    if stream:
        return _stream_walk(scene, stream, address, access)
    if level == 2 and world is World.SECURE:
        raise Refused("the secure world of this core has no EL2")
    found = explain(scene.machine, address, access, level, world)
    who = "EL3" if level == 3 else f"EL{level} {world.name.lower()}"
    data = {**asdict(found), "access": access.value, "world": world.name.lower()}
    return Answer(data, _walk_lines(f"{access.value} of {address:#x} by {who}", found))


def _stream_walk(scene: Scene, stream: StreamId, address: int, access: Access) -> Answer:
    if access is Access.FETCH:
        raise Refused("a device fetches no instructions: read or write")
    try:
        found = explain_stream(scene.machine, stream, address, access)
    except LookupError as error:
        raise Refused(str(error)) from None
    data = {**asdict(found), "access": access.value, "stream": stream.name}
    return Answer(data, _walk_lines(f"{access.value} of {address:#x} by {stream.name}, a DMA master", found))


def _walk_lines(head: str, found: Explanation | StreamExplanation) -> tuple[Text, ...]:
    shown = [Text(head, "bold")]
    for step in found.steps:
        mark = ("ok", GOOD) if step.allowed else ("NO", BAD)
        shown.append(Text.assemble("    " * step.depth, mark, f" {step.stage}: {step.text}"))
    return (*shown, Text(found.verdict, GOOD if found.allowed else BAD))


def stream_table(machine: Machine) -> int:
    """Physical address of the SMMU's stream table."""
    smmu = next(device for _, device in machine.devices if isinstance(device, Smmu))
    return smmu.STRTAB_BASE["address"] << 6


def show_invariants(scene: Scene, words: Words) -> Answer:
    expect_none(words)
    found = broken(scene)
    shown = [Text(one, BAD) for one in found] or [Text("all hold", GOOD)]
    return Answer({"violations": found}, tuple(shown))


def must_hold(scene: Scene) -> None:
    """Raises Refused where there is no Flex-Monitor, or none that has set up what it protects by."""
    entries(scene)
    if not scene.machine.core.read_sysreg("HCR_EL2") & 1:
        raise Refused("nothing must hold yet: the monitor has not switched stage 2 on")


def broken(scene: Scene) -> list[str]:
    """Every rule that does not hold, by name and in words. Raises Refused where none need hold."""
    must_hold(scene)
    if scene.machine.core.level == 3:
        raise Refused("nothing must hold here: EL3 is at work, and what it is at may be half done")
    return [f"{rule}: {what}" for rule, what in Checker(scene.machine, _monitor()).broken()]


@cache
def _monitor() -> Image:
    return Image.load(image_path("monitor"))
