"""Commands that move through the run, forwards and backwards."""

from __future__ import annotations

from rich.text import Text

from emulator.debug.backtrace import backtrace
from emulator.debug.timeline import Reason
from emulator.debug.walk import read_virtual
from emulator.stops import Position
from flexserve.debug.code_views import where
from flexserve.debug.expressions import number
from flexserve.debug.scene import Answer, Refused, expect_none
from flexserve.debug.styles import BAD, DIM

from .breakpoints import Breakpoint
from .command import Command
from .kinds import KINDS, find_kind
from .session import Arrival, Session

# Masks and values of instructions that come back: BL, BLR, SVC, HVC, SMC.
_CALLS = (
    (0xFC00_0000, 0x9400_0000),
    (0xFFFF_FC1F, 0xD63F_0000),
    (0xFFE0_001C, 0xD400_0000),
)
_STYLES = {Reason.LOST: BAD, Reason.ENDED: "yellow", Reason.START: "yellow", Reason.INTERRUPTED: "yellow"}
_GDB = "`next` wants to know what to step to: next KIND [COUNT], KIND one of "


def show_arrival(session: Session, arrival: Arrival) -> Answer:
    """Why the run stands here, and where here is."""
    position = session.timeline.position
    head = Text(f"[{position}] ", DIM)
    if arrival.breakpoint is not None:
        head.append(f"breakpoint {arrival.breakpoint}: ", "bold")
    if arrival.stopped.reason is not Reason.STEP:
        head.append(arrival.words, _STYLES.get(arrival.stopped.reason, "bold"))
    here = where(session.scene)
    data = {
        "stop": arrival.stopped.reason.name.lower(),
        "words": arrival.words,
        "breakpoint": arrival.breakpoint,
        "position": {"instructions": position.instructions, "entries": position.entries},
        "at": here.data,
    }
    return Answer(data, (head, *here.lines))


def _count(text: str) -> int:
    return number(text, "count") if text else 1


def _step(session: Session, text: str) -> Answer:
    return show_arrival(session, session.step(_count(text)))


def _back(session: Session, text: str) -> Answer:
    return show_arrival(session, session.back(_count(text)))


def _to_kind(session: Session, text: str, *, backward: bool) -> Answer:
    words = text.split()
    if not words or words[0].isdecimal() or len(words) > 2:
        raise Refused(_GDB + ", ".join(KINDS))
    name, kind = find_kind(words[0])
    count = _count(words[1]) if len(words) == 2 else 1
    until = Breakpoint(name, kind=kind)
    return show_arrival(session, session.run(backward=backward, until=until, count=count))


def _next(session: Session, text: str) -> Answer:
    return _to_kind(session, text, backward=False)


def _previous(session: Session, text: str) -> Answer:
    return _to_kind(session, text, backward=True)


def _continue(session: Session, text: str) -> Answer:
    expect_none(text.split())
    return show_arrival(session, session.run(backward=False))


def _reverse_continue(session: Session, text: str) -> Answer:
    expect_none(text.split())
    return show_arrival(session, session.run(backward=True))


def _over(session: Session, text: str) -> Answer:
    """Calls of functions and of other exception levels come back behind themselves."""
    expect_none(text.split())
    machine = session.timeline.machine
    pc = machine.core.pc
    try:
        word = int.from_bytes(read_virtual(machine, pc, 4), "little")
    except ValueError:  # the step is the abort
        return show_arrival(session, session.step(1))
    if any(word & mask == value for mask, value in _CALLS):
        return _to_address(session, pc + 4)
    return show_arrival(session, session.step(1))


def _finish(session: Session, text: str) -> Answer:
    expect_none(text.split())
    frames = backtrace(session.timeline.machine, session.sources)
    if len(frames) < 2:
        raise Refused("nobody is known to have called this; `next return` goes on to where EL3 returns")
    return _to_address(session, frames[1].address)


def _to_address(session: Session, address: int) -> Answer:
    until = Breakpoint("", addresses=frozenset({address}))
    return show_arrival(session, session.run(backward=False, until=until))


def _goto(session: Session, text: str) -> Answer:
    match text:
        case "start":
            return show_arrival(session, session.to_start())
        case "end":
            position = Position((1 << 64) - 1, 0)
        case "-":
            if not session.trail:
                raise Refused("you have not jumped from anywhere yet")
            position = session.trail[-1]
        case _:
            position = parse_position(text)
    return show_arrival(session, session.seek(position))


def parse_position(text: str) -> Position:
    """As it is shown: executed instructions, then ``+`` and the exceptions taken since. Raises Refused."""
    instructions, _, entries = text.strip("[] ").replace(",", "").replace("_", "").partition("+")
    if not instructions:
        raise Refused("where to? goto POSITION, start, end, or - for where you jumped from")
    return Position(number(instructions, "position", least=0), number(entries or "0", "exceptions", least=0))


_KINDS = "KIND [N]"
_LISTED = "; ".join(f"{name}: {kind.what}" for name, kind in KINDS.items())

MOVEMENT = (
    Command(("step", "s", "si", "stepi"), "[N]", "execute one instruction, or take one exception", _step, "moving"),
    Command(("back", "bs", "rsi", "reverse-stepi", "reverse-step"), "[N]", "undo one step", _back, "moving"),
    Command(("next", "n"), _KINDS, f"go on to the next event of a kind.\n{_LISTED}", _next, "moving"),
    Command(("prev", "rn", "reverse-next", "previous"), _KINDS,
            f"go back to the last event of a kind.\n{_LISTED}", _previous, "moving"),
    Command(("continue", "c"), "", "go on to a breakpoint or to the end", _continue, "moving"),
    Command(("reverse-continue", "rc"), "", "go back to a breakpoint or to the start", _reverse_continue, "moving"),
    Command(("over", "ni", "nexti"), "", "execute one instruction; a call (BL, SMC) as a whole", _over, "moving"),
    Command(("finish",), "", "go on to where this function, or this exception, returns", _finish, "moving"),
    Command(("goto", "g"), "POSITION|start|end|-", "go anywhere; - is where you jumped from", _goto, "moving"),
)  # fmt: skip
