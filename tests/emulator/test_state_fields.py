"""Every field of the native machine is saved, or is said here to be no state: a new one makes somebody decide."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

NATIVE = Path(__file__).parents[2] / "emulator" / "native"

# By header and structure: fields that are no state, and why.
CACHES = "what is found again when it is missing"
WIRING = "how the machine was put together"
ELSEWHERE = "saved under another name"
RUNNING = "of no meaning while the core stands still"
WATCHER = "the debugger's, or of the watcher of events"

NOT_STATE: dict[tuple[str, str], dict[str, str]] = {
    ("machine.h", "core"): {
        CACHES: "caught_at float_traps float_watch float_level float_generation float_free registers fetched scrubbed "
        "scrubbed_count timers_due lines quiet_until",
        WIRING: "engine engine_context semihosting",
        ELSEWHERE: "virtual_offset hcr_virtual",  # CNTVOFF_EL2, HCR_EL2
        RUNNING: "block_start block_bytes limit part_bytes held forgetting refusal trap trap_address lost "
        "semihosting_called stuck_at stuck first_fault",
        WATCHER: "watch_calls",
    },
    ("machine.h", "machine"): {
        WIRING: "stores_wait",
        ELSEWHERE: "sram dram flash",  # as pages
        RUNNING: "callback_failed error",
        WATCHER: "instructions events event_kinds event_count",
    },
    ("machine.h", "pmu"): {},
    ("machine.h", "timer"): {ELSEWHERE: "compare"},  # CVAL
    ("machine.h", "tzasc"): {},
    ("machine.h", "tzpc"): {},
    ("machine.h", "table"): {},
    ("machine.h", "memory"): {WIRING: "base bytes", CACHES: "code", ELSEWHERE: "host dirty"},  # as pages
    ("debug.h", "debug"): {
        RUNNING: "refused alone permitting meets",
        WATCHER: "step breakpoint breakpoints leaving at_breakpoint watchpoint watchpoints accessed access "
        "event_kinds at_event",
    },
    ("gic.h", "gic"): {CACHES: "candidate"},
    ("gic.h", "gic_interrupt"): {},
    ("gic.h", "gic_virtual"): {CACHES: "candidate"},
    ("dma.h", "dma_channel"): {WIRING: "stream nsaid", ELSEWHERE: "medium medium_bytes writable"},  # as media
    ("dma.h", "dma_burst"): {},
    ("npu.h", "npu"): {RUNNING: "staging sums"},
    ("npu.h", "npu_core"): {WIRING: "stream nsaid interrupt"},
    ("npu.h", "npu_program"): {},
    ("npu.h", "npu_task"): {},
    ("npu.h", "npu_post"): {},
    ("npu.h", "npu_run"): {},
    ("npu_api.h", "npu_counters"): {},
    ("smmu.h", "smmu"): {CACHES: "range"},
    ("smmu.h", "smmu_stream"): {},
    ("tlb.h", "tlb"): {CACHES: "drops"},  # what it dates is forgotten when a state is restored
    ("tlb.h", "tlb_entry"): {},
    ("api.h", "tzasc_region"): {},
    ("api.h", "tzasc_failure"): {},
}


def fields(header: str, name: str) -> set[str]:
    text = re.sub(r"/\*.*?\*/", "", (NATIVE / header).read_text(), flags=re.DOTALL)
    found = re.search(rf"^struct {name} {{\n(.*?)^}};", text, flags=re.DOTALL | re.MULTILINE)
    assert found, f"{header} has no struct {name}"
    body = re.sub(r"\[[^]]*\]|\{[^}]*\}", "", found[1])
    return {re.findall(r"\w+", one)[-1] for line in body.split(";") if line.strip() for one in line.split(",")}


@pytest.mark.parametrize(("header", "name"), NOT_STATE, ids=lambda text: text)
def test_every_field_is_saved_or_no_state(header: str, name: str) -> None:
    saved = set(re.findall(r"(?:->|\.)(\w+)", _walk()))
    excepted = {field for names in NOT_STATE[header, name].values() for field in names.split()}
    declared = fields(header, name)
    assert not excepted - declared, "exceptions that no field has"
    assert not declared - saved - excepted, "neither saved nor said to be no state"


def _walk() -> str:
    """Of state.c, what saves; not what only clears or flushes."""
    text = re.sub(r"/\*.*?\*/", "", (NATIVE / "state.c").read_text(), flags=re.DOTALL)
    return text[: text.index("uint64_t state_save(")]


def test_a_field_that_nobody_saves_is_noticed() -> None:
    assert "candidate" in fields("gic.h", "gic")
    assert "candidate" not in re.findall(r"(?:->|\.)(\w+)", _walk())
