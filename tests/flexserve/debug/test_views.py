"""Views of a booted phone: what a debugger's user reads, and what is refused in one line."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from emulator.events import Event, EventKind
from emulator.memory_map import DRAM_BASE, DRAM_MIN, NORMAL_IMAGE_END, PAGE_SIZE
from flexserve.debug.changes import changes, record
from flexserve.debug.code_views import where
from flexserve.debug.expressions import evaluate, page_address, places
from flexserve.debug.scene import Answer, Refused, Scene
from flexserve.debug.views import VIEWS, view
from flexserve.sources import phone_sources
from flexserve.system import System
from monitor import abi

PSTATE, EL3H = 33, 0x3CD  # a register's number, and a value of it


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    """After boot, with a page promised."""
    system = System(DRAM_MIN)
    events: list[Event] = []
    system.machine.events.listen(tuple(EventKind), events.append)
    system.boot()
    yield Scene(system.machine, phone_sources(system.machine.layout), events)
    system.dispose()


def ask(scene: Scene, command: str) -> Answer:
    name, *words = command.split()
    return view(scene, name, words)


def test_every_view_answers_as_text_and_as_json(scene: Scene) -> None:
    arguments = {"memory": "0x40000000", "walk": "0x40000000", "history": "0x40000000"}
    for name in VIEWS:
        answer = ask(scene, f"{name} {arguments.get(name, '')}")
        assert answer.plain, name
        assert json.loads(json.dumps(answer.data)), name


def test_where_names_symbol_line_and_instruction(scene: Scene) -> None:
    answer = where(scene)
    assert "EL1 normal" in answer.plain
    assert "normal_gate:" in answer.plain
    assert "firmware/gate/gate.S:" in answer.plain


def test_pages_add_up_to_dram(scene: Scene) -> None:
    ranges = ask(scene, "pages").data["ranges"]
    assert isinstance(ranges, list)
    assert sum(one["pages"] for one in ranges) == scene.machine.layout.pages
    assert ranges[0] == {"base": DRAM_BASE, "pages": ranges[0]["pages"], "state": "NORMAL"}
    assert (
        "RESERVED (SECURE_DRAM): the normal world does not reach it"
        in ask(scene, f"pages {scene.machine.layout.secure_base:#x}").plain
    )


def test_a_walk_says_who_refuses(scene: Scene) -> None:
    answer = ask(scene, "walk 0x40000000 write secure")
    assert "NO TZASC: region 1" in answer.plain
    assert answer.data["allowed"] is False
    assert ask(scene, "walk pc fetch el1 normal").data["allowed"] is True


def test_invariants_hold_after_boot_and_a_wrong_entry_is_named(scene: Scene) -> None:
    assert ask(scene, "invariants").plain == "all hold"
    machine, table = scene.machine, scene.machine.layout.ownership_base
    entry = table + (NORMAL_IMAGE_END - DRAM_BASE) // PAGE_SIZE
    machine.write_physical(entry, bytes([abi.PageState.LOCKED]))
    try:
        assert f"maps {NORMAL_IMAGE_END:#x}, which it must not" in ask(scene, "invariants").plain
    finally:
        machine.write_physical(entry, b"\0")


def test_invariants_are_refused_in_the_middle_of_a_call(scene: Scene) -> None:
    """What EL3 is at may be half done."""
    core = scene.machine.core
    kept, core.x[PSTATE] = core.pstate, EL3H
    try:
        with pytest.raises(Refused, match="EL3 is at work"):
            ask(scene, "invariants")
    finally:
        core.x[PSTATE] = kept


def test_changes_name_registers_and_runs_of_pages(scene: Scene) -> None:
    before = record(scene)
    machine, table = scene.machine, scene.machine.layout.ownership_base
    entry = table + (NORMAL_IMAGE_END - DRAM_BASE) // PAGE_SIZE
    x9 = machine.core.x[9]
    machine.core.x[9] = x9 + 1
    machine.write_physical(entry, bytes([abi.PageState.LOCKED] * 3))
    found = changes(before, record(scene))
    machine.core.x[9] = x9
    machine.write_physical(entry, bytes(3))
    assert [(change.group, change.where, change.after) for change in found] == [
        ("register", "x9", f"{x9 + 1:#x}"),
        ("pages", "0x40200000..0x40203000 (3 pages)", "LOCKED"),
    ]
    assert changes(before, record(scene)) == ()


def test_events_read_by_the_tables_rows(scene: Scene) -> None:
    assert "SMC SECURE_READY(entry=" in ask(scene, "events 1000").plain


def test_expressions(scene: Scene) -> None:
    assert evaluate(scene, "pc") == scene.machine.core.pc
    assert evaluate(scene, "0x10+4 - 1") == 0x13
    assert evaluate(scene, "monitor:smc_entry+4") == evaluate(scene, "smc_entry") + 4
    assert evaluate(scene, "vbar_el3") == scene.machine.core.read_sysreg("VBAR_EL3")
    assert page_address(scene, "1") == page_address(scene, "0x40001fff") == DRAM_BASE + PAGE_SIZE
    assert len(places(scene, "gate_smc")) == 3
    assert len(places(scene, "flexmem.c:60")) == 1


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("toaster", "no view 'toaster': there are registers"),
        ("re 1", "no general register 1"),
        ("system nonsense", "no system register begins with 'nonsense'"),
        ("device toaster", "no device 'toaster'"),
        ("device uart", "'uart' may be UART0 or UART1"),
        ("device tzasc nonsense", "TZASC has no register that begins with NONSENSE"),
        ("memory", "which address"),
        ("memory phys 0", "is not memory"),
        ("memory 0x40000000 many", "is no number"),
        ("walk 0x40000000 sideways", "'sideways' is none of"),
        ("walk 0x40000000 fetch storage", "fetches no instructions"),
        ("walk 0x40000000 el2 secure extra", "none of"),
        ("pages 0x10000000", "is no page of DRAM"),
        ("walk gate_smc", "is more than one place"),
        ("walk nonsense", "is no number, register or symbol"),
        ("history", "history of which page"),
        ("backtrace now", "takes no arguments"),
        ("m 0", "not mapped here"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(scene: Scene, command: str, why: str) -> None:
    with pytest.raises(Refused, match=why) as refused:
        ask(scene, command)
    assert "\n" not in str(refused.value)
