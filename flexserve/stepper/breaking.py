"""Commands about breakpoints."""

from __future__ import annotations

from flexserve.debug.expressions import number
from flexserve.debug.scene import Answer, Refused, expect_none, lines

from .breakpoints import Breakpoint, parse_breakpoint, parse_watch
from .command import Command
from .session import Session

_BREAK = """stop before an instruction, at a call, when a page changes hands, at an event, at a broken invariant.
break mem_lock | break flexmem.c:60 | break *0x0e000800
break smc MEM_LOCK pages>=16 x1==0x41000000    break smc
break page 0x41000000    break event denied    break invariant"""


def _break(session: Session, text: str) -> Answer:
    return _added(session, parse_breakpoint(session.scene, text))


def _watch(session: Session, text: str) -> Answer:
    return _added(session, parse_watch(session.scene, text, read=False, write=True))


def _watch_reads(session: Session, text: str) -> Answer:
    return _added(session, parse_watch(session.scene, text, read=True, write=False))


def _watch_both(session: Session, text: str) -> Answer:
    return _added(session, parse_watch(session.scene, text, read=True, write=True))


def _added(session: Session, new: Breakpoint) -> Answer:
    key = session.add(new)
    return Answer({"breakpoint": key, "what": new.what}, lines(f"breakpoint {key}: {new.what}"))


def _delete(session: Session, text: str) -> Answer:
    keys = [number(word, "breakpoint") for word in text.split()] or list(session.breakpoints)
    if unknown := [key for key in keys if key not in session.breakpoints]:
        raise Refused(f"no breakpoint {unknown[0]}; `breakpoints` lists them")
    for key in keys:
        del session.breakpoints[key]
    return Answer({"deleted": keys}, lines(f"{len(keys)} deleted"))


def _list(session: Session, text: str) -> Answer:
    expect_none(text.split())
    rows = [{"breakpoint": key, "what": one.what, "hits": one.hits} for key, one in session.breakpoints.items()]
    shown = [f"{row['breakpoint']:>3}  {row['what']}  ({row['hits']} hits)" for row in rows]
    return Answer({"breakpoints": rows}, lines(*shown or ["no breakpoints"]))


_WATCHED = "[phys] ADDRESS [BYTES]"

STOPS = (
    Command(("break", "b"), "WHERE", _BREAK, _break, "stopping"),
    Command(("watch",), _WATCHED, "stop behind a write to memory, virtual or physical", _watch, "stopping"),
    Command(("rwatch",), _WATCHED, "stop behind a read", _watch_reads, "stopping"),
    Command(("awatch",), _WATCHED, "stop behind a read or a write", _watch_both, "stopping"),
    Command(("delete", "d"), "[N...]", "delete breakpoints, or all of them", _delete, "stopping"),
    Command(("breakpoints",), "", "list the breakpoints", _list, "stopping"),
)
