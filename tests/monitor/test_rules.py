"""Every rule is broken on purpose on a running phone, in each of several ways: it says so, and it alone need not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest

from emulator.memory_map import PAGE_SIZE
from emulator.state import MachineState
from monitor.checker import judged
from monitor.hardware import DEADLINES, EL3_TABLES, PLACES, REGISTERS, VARIABLES, Hardware, Raw
from monitor.invariants import RULES, Rule
from monitor.memory import CarveOut
from tests.firmware.phone import Phone

from .breaks import BREAKS
from .breaks.by_hand import STARTS, Break

MEDIUM_BYTES = 2 * PAGE_SIZE
SECURITY = Path(__file__).parents[2] / "docs" / "security.md"
ROW = re.compile(r"^\| ([^|]+) \| `(\w+)\.(\w+)` \| ([\d, ]+) \| ([^|]+) \|$")


@dataclass
class Bench:
    """One phone, and the states in which it stood."""

    phone: Phone = field(default_factory=lambda: Phone().boot())
    states: dict[str, MachineState] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.phone.board.storage.insert(bytearray(MEDIUM_BYTES), writable=True)
        self.states["booted"] = self.phone.machine.save()

    def start(self, name: str) -> Phone:
        """A look has been taken, in which all held."""
        if name not in self.states:
            self.phone.machine.restore(self.states["booted"])
            STARTS[name](self.phone)
            self.states[name] = self.phone.machine.save()
        self.phone.machine.restore(self.states[name])
        self.phone.machine.check()
        return self.phone


@pytest.fixture(name="bench", scope="module")
def _bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.phone.machine.close()


@pytest.mark.parametrize("broken", BREAKS, ids=lambda one: one.name)
def test_break_is_seen_by_its_rule(bench: Bench, broken: Break) -> None:
    phone = bench.start(broken.start)
    broken.apply(phone)
    found = phone.machine.checker.broken()
    assert broken.rule in {one.rule for one in found}, found
    bench.start(broken.start)  # and not when it has been made good


def test_every_rule_is_broken_on_purpose() -> None:
    assert {rule.name for rule in RULES} == {one.rule for one in BREAKS}
    assert len({one.name for one in BREAKS}) == len(BREAKS)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_rule_looks_at_nothing_but_what_it_says(bench: Bench, rule: Rule) -> None:
    """Its verdict is remembered for that, and would be wrong for what it had looked at besides."""
    for start in STARTS:
        now = bench.start(start).machine.checker.look()
        shown = Raw(*(getattr(now.raw, part) if part in rule.looks_at else None for part in Raw._fields))  # type: ignore[arg-type]
        memory = now.memory if "memory" in rule.looks_at else None
        before = now.before if "before" in rule.looks_at else None
        assert judged([rule], Hardware(now.layout, shown, memory, now.physical, before)) == []  # type: ignore[arg-type]


# Of what the rules read, the memory in which every bit is determined: by the layout, ownership, or another table.
DETERMINED = ("ownership", "DRAM entries", "NPU entries", "reverse table", *EL3_TABLES, "image")
CARVE_OUT_TABLES = (
    (CarveOut.NORMAL_ROOT, CarveOut.STREAM_TABLE), (CarveOut.STREAM_TABLE, CarveOut.STREAM_TABLE + 512),
    (CarveOut.NPU_ROOT, CarveOut.DRAM_LEVEL2 + PAGE_SIZE), (CarveOut.NPU_LEVEL2, CarveOut.NPU_LEVEL2 + PAGE_SIZE),
    (CarveOut.DRIVER_LEVEL3, CarveOut.DRIVER_LEVEL3 + PAGE_SIZE),
)  # fmt: skip
TRIES = 40  # bits of each range
OF_EL1 = ("SCTLR_EL1", "TTBR0_EL1", "VBAR_EL1")  # whoever runs has its own


def ranges(phone: Phone) -> Iterator[tuple[int, int]]:
    """Address and bytes."""
    memory, base = phone.machine.checker.look().layout.memory, phone.layout.carve_out_base
    yield from (memory[name] for name in DETERMINED)
    yield from ((base + first, end - first) for first, end in CARVE_OUT_TABLES)


@pytest.mark.parametrize("start", ["normal", "secure_npu"])
def test_any_bit_of_a_table_is_seen(bench: Bench, start: str) -> None:
    phone, random = bench.start(start), Random(0)  # noqa: S311 - the same every time
    for base, size in ranges(phone):
        for _ in range(TRIES):
            address, bit = base + random.randrange(size), 1 << random.randrange(8)
            byte = phone.machine.read_physical(address, 1)[0]
            phone.machine.write_physical(address, bytes([byte ^ bit]))
            assert phone.machine.checker.broken(), f"{bit:#x} at {address:#x}"
            phone.machine.write_physical(address, bytes([byte]))
            phone.machine.checker.forget()
    phone.machine.check()


@pytest.mark.parametrize("byte", [0x01, 0x80, 0xFF])
def test_garbage_is_told_and_no_rule_fails_of_it(bench: Bench, byte: int) -> None:
    """In all that the rules read of memory at once, and in each variable alone."""
    phone = bench.start("driver")
    layout = phone.machine.checker.look().layout
    variables = [layout.variable(name) for name in (*VARIABLES, *PLACES, *DEADLINES, "pages_in")]
    for places in (*([place] for place in variables), layout.memory.values(), layout.saved()):
        for address, size in places:
            phone.machine.write_physical(address, bytes([byte]) * size)
        phone.machine.checker.broken()
    assert {one.rule for one in phone.machine.checker.broken()} >= {"pages_are_counted", "contexts_keep_their_controls"}


@pytest.mark.parametrize("register", [name for name in REGISTERS if name not in OF_EL1])
def test_any_bit_of_a_register_is_seen(bench: Bench, register: str) -> None:
    """That the core keeps."""
    core = bench.start("normal").core
    value = core.read_sysreg(register)
    for bit in range(64):
        core.write_sysreg(register, value ^ 1 << bit)
        if core.read_sysreg(register) != value:
            assert bench.phone.machine.checker.broken(), f"bit {bit}"
        core.write_sysreg(register, value)
    bench.phone.machine.check()


def rows() -> list[re.Match[str]]:
    return [row for line in SECURITY.read_text().splitlines() if (row := ROW.match(line))]


def test_security_page_has_a_row_for_each_rule() -> None:
    """In the order of the table, with its function, the invariants that it serves, and what breaks it."""
    wanted = [
        (
            rule.what,
            rule.check.__module__.split(".")[-1],
            rule.name,
            ", ".join(map(str, rule.serves)),
            ", ".join(f"`{one.name}`" for one in BREAKS if one.rule == rule.name),
        )
        for rule in RULES
    ]
    assert [tuple(row.groups()) for row in rows()] == wanted


def test_every_invariant_is_served() -> None:
    """By a rule, or by the tests that the page names for it."""
    listed = {int(number) for number in re.findall(r"^(\d+)\. ", SECURITY.read_text(), flags=re.MULTILINE)}
    served = {number for rule in RULES for number in rule.serves}
    assert served <= listed
