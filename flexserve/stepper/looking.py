"""Commands that look: the views, what changed, and why a page is gone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from rich.text import Text

from emulator.gate import Notice
from flexserve.debug.calls import page_name
from flexserve.debug.code_views import where
from flexserve.debug.expressions import evaluate, page_address
from flexserve.debug.ownership import entries, entry_address, state_name
from flexserve.debug.protection_views import REACHED, page_state
from flexserve.debug.scene import Answer, Refused, expect_none, lines
from flexserve.debug.styles import DIM, NAME, state_style
from flexserve.debug.views import VIEWS, view

from .command import Command
from .session import Session
from .why import Culprit, Removal, explain_removal

_SHORT = {"registers": ("r", "regs"), "backtrace": ("bt",), "code": ("disassemble",), "memory": ("x", "m"),
          "list": ("l",)}  # fmt: skip


def _where(session: Session, text: str) -> Answer:
    expect_none(text.split())
    answer = where(session.scene)
    return Answer(answer.data, (Text(f"[{session.timeline.position}]", DIM), *answer.lines))


def _info(session: Session, text: str) -> Answer:
    name, *words = text.split() or [""]
    if not name:
        return Answer({"views": list(VIEWS)}, lines(*(f"{name:12} {one.what}" for name, one in VIEWS.items())))
    return view(session.scene, name, words)


def _print(session: Session, text: str) -> Answer:
    value = evaluate(session.scene, text)
    name = session.sources.name_at(value)
    shown = f"{value:#x} = {value}" + (f"  <{name}>" if name else "")
    return Answer({"value": value, "place": name}, lines(shown))


def _changes(session: Session, text: str) -> Answer:
    expect_none(text.split())
    found = session.changes
    shown = [f"{one.group:16} {one.where:24} {one.before} -> {one.after}" for one in found]
    return Answer({"changes": [asdict(one) for one in found]}, lines(*shown or ["nothing has changed"]))


def _output(session: Session, text: str) -> Answer:
    """What has been shown to the user so far: text, a UART's lines, verdicts on attacks."""
    expect_none(text.split())
    notices = session.timeline.notices
    shown = "".join(_said(notice) for notice in notices)
    tokens = sum(notice.kind == "token" for notice in notices)
    count = (f"({tokens} tokens so far)",) if session.scene.monitored else ()
    return Answer({"tokens": tokens, "text": shown}, lines(*shown.splitlines(), *count))


def _said(notice: Notice) -> str:
    text = notice.data.decode(errors="replace")
    match notice.kind:
        case "token" | "print":
            return text
        case "line":
            return text.rstrip("\r\n") + "\n"
        case "attack":
            return f"{text}: {'blocked' if notice.numbers[0] else 'got through'}\n"
    return ""


def _why(session: Session, text: str) -> Answer:
    if not text:
        raise Refused("why which page? why ADDRESS, or its number")
    entries(session.scene)
    page = page_address(session.scene, text)
    state = state_name(session.timeline.machine.read_physical(entry_address(session.scene, page), 1)[0])
    here = session.timeline.position
    try:
        found = explain_removal(session, page)
    except Refused as refused:
        raise Refused(f"{page_name(page)} is {state}: {refused}") from None
    session.trail.append(here)
    session.refresh()
    return Answer(_removal_data(found), _removal_lines(session, found))


def _removal_data(found: Removal) -> dict[str, object]:
    data = asdict(found)
    for name in ("unmapped_by", "recorded_by"):
        data[name] |= {"source": str(data[name]["source"]), "position": list(data[name]["position"])}
    for name, culprit in (("unmapped_by", found.unmapped_by), ("recorded_by", found.recorded_by)):
        data[name]["source"] = str(culprit.source) if culprit.source else None
    return data


def _removal_lines(session: Session, found: Removal) -> tuple[Text, ...]:
    came_back = found.now.startswith(REACHED)
    return (
        page_state(found.page, found.now),
        *lines(*["It was taken before, and has come back since: `history` shows how."] * came_back),
        Text.assemble(
            "It went from ",
            (found.before, state_style(found.before)),
            " to ",
            (found.after, state_style(found.after)),
            " in this call:",
        ),
        Text.assemble("  SMC ", (found.call, "bold"), f" from {found.caller}"),
        Text(f"  made at {found.site:#x} <{found.site_place}>"),
        Text("The instruction that took it, by clearing its stage-2 entry:"),
        *_culprit_lines(session, found.unmapped_by),
        Text("The instruction that wrote the new state into the ownership table:"),
        *_culprit_lines(session, found.recorded_by),
        Text("You are at the first of the two now: `backtrace`, `list`, `step` and `back` go on from here,", DIM),
        Text("`goto -` takes you back.", DIM),
    )


def _culprit_lines(session: Session, culprit: Culprit) -> tuple[Text, ...]:
    head = Text.assemble(f"  {culprit.address:#x}", (f" <{culprit.place}>", NAME), f"  {culprit.text}")
    head.append(f"   [{culprit.position}]", DIM)
    text = session.sources.text_at(culprit.source) if culprit.source else None
    return (head, Text(f"    {culprit.source}: {text.strip()}")) if text else (head,)


def _viewer(name: str) -> Callable[[Session, str], Answer]:
    return lambda session, text: view(session.scene, name, text.split())


LOOKING = (
    Command(("where", "w"), "", "the next instruction and its source line", _where, "looking"),
    *(
        Command((name, *_SHORT.get(name, ())), one.usage, one.what, _viewer(name), "looking")
        for name, one in VIEWS.items()
    ),
    Command(("info", "i"), "[VIEW ...]", "the same views under gdb's name; alone: a list of them", _info, "looking"),
    Command(("print", "p"), "EXPRESSION", "a sum of numbers, registers and symbols", _print, "looking"),
    Command(("changes", "diff"), "", "registers, protection and pages: what changed since the last stop", _changes,
            "looking"),
    Command(("output",), "", "what the app has shown its user so far", _output, "looking"),
    Command(("why",), "PAGE|ADDRESS", "which SMC took a page from the normal world, and by what instruction", _why,
            "looking"),
)  # fmt: skip
