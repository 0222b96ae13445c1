"""The views by name: each looks at a scene and answers. The stepper's `info`, and `monitor` of GDB, are these."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from . import code_views, npu_view, protection_views, register_views
from .calls import call_before, covers, describe, describe_call, page_name
from .expressions import number, page_address
from .ownership import entries, state_name
from .scene import Answer, Refused, Scene, Words, lines


@dataclass(frozen=True)
class View:
    """``usage``: its arguments; ``what``: one line of help."""

    show: Callable[[Scene, Words], Answer]
    usage: str
    what: str


def show_events(scene: Scene, words: Words) -> Answer:
    """The last events up to here."""
    count = number(words[0], "count") if words else 10
    first = max(len(scene.events) - count, 0)
    found = [(event.instruction, describe(scene.events, first + at)) for at, event in enumerate(scene.events[first:])]
    return Answer(
        {"events": [{"instruction": when, "text": text} for when, text in found]},
        lines(*(f"{when:>12,}  {text}" for when, text in found)),
    )


def show_history(scene: Scene, words: Words) -> Answer:
    """Each change of a page's state up to here, with the call that made it."""
    if len(words) != 1:
        raise Refused("history of which page? history ADDRESS, or its number")
    entries(scene)
    page = page_address(scene, words[0])
    found = [
        {
            "instruction": event.instruction,
            "before": state_name(event.args[2]),
            "after": state_name(event.args[3]),
            "call": describe_call(call) if call else None,
        }
        for index, event in enumerate(scene.events)
        if covers(event, page)
        for call in [call_before(scene.events, index)]
    ]
    shown = [f"{one['instruction']:>12,}  {one['before']} to {one['after']}  {one['call']}" for one in found]
    return Answer({"page": page, "changes": found}, lines(page_name(page), *shown or ["has not changed its state"]))


VIEWS: dict[str, View] = {
    "registers": View(register_views.show_registers, "[NAME...]", "general registers and flags"),
    "vectors": View(register_views.show_vectors, "[V0...]", "vector registers"),
    "system": View(
        register_views.show_system, "[NAME...]", "system registers by field; the beginning of a name will do"
    ),
    "device": View(register_views.show_devices, "[DEVICE [REGISTER]]", "devices, or one device's registers by field"),
    "code": View(code_views.show_code, "[ADDRESS [COUNT]]", "instructions with the source lines they come from"),
    "list": View(code_views.show_list, "[ADDRESS]", "the source around the next instruction"),
    "backtrace": View(code_views.show_backtrace, "", "who called, through the exception's entry too"),
    "memory": View(
        code_views.show_memory, "[phys] ADDRESS [BYTES]", "memory as this context addresses it, or physical"
    ),
    "pages": View(protection_views.show_pages, "[PAGE|ADDRESS]", "who owns which pages, or one page"),
    "history": View(show_history, "PAGE|ADDRESS", "every change of a page's state, with the calls that made them"),
    "tzasc": View(protection_views.show_tzasc, "", "the TZASC's regions in words"),
    "walk": View(
        protection_views.show_walk,
        protection_views.WALK_USAGE,
        "why an access is allowed or refused, by core or device",
    ),
    "npu": View(npu_view.show_npu, "", "whose the NPU is, and what each core is at"),
    "invariants": View(protection_views.show_invariants, "", "what must hold between calls, and does not"),
    "events": View(show_events, "[COUNT]", "the last events up to here"),
}


def view(scene: Scene, name: str, words: Words) -> Answer:
    """What the view that ``name`` begins shows. Raises Refused."""
    matching = [known for known in VIEWS if known == name] or [known for known in VIEWS if known.startswith(name)]
    if not matching:
        raise Refused(f"no view {name!r}: there are {', '.join(VIEWS)}")
    if len(matching) > 1:
        raise Refused(f"{name!r} may be {' or '.join(matching)}")
    return VIEWS[matching[0]].show(scene, words)
