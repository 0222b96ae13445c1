"""Writes what is made from the declared tables: `python -m monitor.generate [--check]`, from the checkout.

firmware/include/flex_smc.h and docs/smc-calls.md come from monitor/abi.py, firmware/include/memory_map.h from
emulator/memory_map.py, firmware/include/monitor_memory.h from monitor/memory.py. With --check nothing is written;
exit status 1 names the stale files.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from emulator import memory_map
from emulator.memory_map import Nsaid, Reach, StreamId

from . import abi, memory

ROOT = Path(__file__).resolve().parent.parent
COMMAND = "python -m monitor.generate"


def smc_header() -> str:
    return "\n".join(_smc_header()) + "\n"


def _smc_header() -> Iterator[str]:
    yield f"/* The SMC table for C and assembly. Generated from monitor/abi.py by `{COMMAND}`. */"
    yield "#ifndef FLEX_SMC_H"
    yield "#define FLEX_SMC_H"
    yield ""
    yield from _defines("SMC_", {call.name: call.function for call in abi.CALLS})
    yield ""
    yield from _defines("FLEX_", {status.name: status.value for status in abi.Status}, _decimal)
    yield ""
    yield from _defines("PSCI_", {status.name: status.value for status in abi.PsciStatus}, _decimal)
    yield ""
    yield from _defines("PAGE_", {state.name: state.value for state in abi.PageState}, _decimal)
    yield from _defines("PAGE_", {"STATE_MASK": 7, "REVOKED": abi.REVOKED, "REGION_SHIFT": abi.REGION_SHIFT})
    yield from _defines("REGION_", {region.name: region.value for region in abi.Region}, _decimal)
    yield ""
    yield from _defines("VMID_", {vmid.name: vmid.value for vmid in abi.Vmid}, _decimal)
    yield ""
    yield from _defines("PENDING_", {str(pending.name): pending.value for pending in abi.Pending}, _decimal)
    yield ""
    yield from _defines("FEATURE_", {feature.name: feature.value for feature in abi.Feature}, _decimal)
    yield ""
    limits = {feature.name: int(getattr(abi, feature.name)) for feature in abi.Feature}
    yield from _defines("", limits, _decimal)
    yield from _defines(
        "",
        {
            "FLEX_VERSION_MAJOR": abi.VERSION_MAJOR,
            "FLEX_VERSION_MINOR": abi.VERSION_MINOR,
            "SMCCC_VERSION": abi.SMCCC_VERSION,
            "PSCI_VERSION": abi.PSCI_VERSION,
            **{f"FLEX_UID_{index}": word for index, word in enumerate(abi.UID)},
            "SMC_HINT": abi.HINT,
            "SMC_64": abi.SMC64,
            "RECLAIM_FORCE": abi.FORCE,
            "INTERRUPTED_THREAD": abi.INTERRUPTED_THREAD,
            "NPU_MAP_WRITE": abi.NPU_WRITE,
        },
    )
    callers = ("SECURE", "NORMAL", "BOTH", "DRIVER")
    yield from _defines("SMC_BY_", {caller: abi.Caller[caller].value for caller in callers})
    yield ""
    yield "/* Who may make each call, and how many registers from x0 on carry its results. */"
    for call in abi.CALLS:
        yield from _defines(f"SMC_{call.name}_", {"BY": call.by.value, "RESULTS": len(call.returns)}, _decimal)
    yield ""
    yield "#endif"


def _decimal(value: int) -> str:
    return str(value)


def _hexadecimal(value: int) -> str:
    return f"{value:#x}"


def _defines(prefix: str, values: Mapping[str, int], show: Callable[[int], str] = _hexadecimal) -> Iterator[str]:
    width = max(len(name) for name in values) + len(prefix)
    for name, value in values.items():
        yield f"#define {prefix + name:<{width}} {show(value)}"


DRAM_LAYOUT = """\
#ifndef __ASSEMBLER__
#include <stdint.h>

/* From the bottom: normal memory, the monitor's carve-out, secure DRAM with the monitor's two tables at its end. */
struct dram_layout {
	uint64_t pages;
	uint64_t end;
	uint64_t normal_end;
	uint64_t driver_base;
	uint64_t npu_tables_base;
	uint64_t npu_bytes;
	uint64_t secure_base;
	uint64_t secure_end;
	uint64_t ownership_base;
};

static inline uint64_t round_up(uint64_t value, uint64_t step)
{
	return (value + step - 1) / step * step;
}

static inline struct dram_layout dram_layout(uint64_t pages)
{
	uint64_t size = pages * PAGE_SIZE;
	uint64_t end = DRAM_BASE + size;
	uint64_t secure_base = end - 16 * MIB - round_up(size / 64, BLOCK_SIZE);
	uint64_t ownership_base = end - round_up(pages, PAGE_SIZE);
	uint64_t npu_bytes = size < NPU_ADDRESS_LIMIT ? size : NPU_ADDRESS_LIMIT;
	uint64_t npu_tables_base = secure_base - round_up(npu_bytes / 512, BLOCK_SIZE);
	uint64_t normal_end = npu_tables_base - BLOCK_SIZE - round_up(size / 512, BLOCK_SIZE);

	return (struct dram_layout){
		.pages = pages,
		.end = end,
		.normal_end = normal_end,
		.driver_base = normal_end + MIB,
		.npu_tables_base = npu_tables_base,
		.npu_bytes = npu_bytes,
		.secure_base = secure_base,
		.secure_end = ownership_base - round_up(4 * pages, PAGE_SIZE),
		.ownership_base = ownership_base,
	};
}
#endif
"""


def memory_map_header() -> str:
    return "\n".join(_memory_map_header()) + "\n"


def _memory_map_header() -> Iterator[str]:
    yield f"/* The physical memory map. Generated from emulator/memory_map.py by `{COMMAND}`. */"
    yield "#ifndef MEMORY_MAP_H"
    yield "#define MEMORY_MAP_H"
    yield ""
    names = ("PAGE_SIZE", "BLOCK_SIZE", "MIB", "GIB", "COUNTER_HZ", "DRAM_BASE", "DRAM_MIN", "DRAM_MAX",
             "NPU_ADDRESS_LIMIT", "DRIVER_BYTES")  # fmt: skip
    yield from _defines("", {name: int(getattr(memory_map, name)) for name in names})
    yield ""
    gic = (memory_map.GIC_DISTRIBUTOR, memory_map.GIC_CPU)
    windows = (*memory_map.DEVICES, memory_map.SECURE_SRAM, *gic)
    yield from _defines("", {f"{window.name}_BASE": window.base for window in windows})
    yield from _defines("", {f"{window.name}_SIZE": window.size for window in windows})
    yield ""
    yield "/* Interrupt numbers of the GIC. */"
    wired = {window.name: memory_map.FIRST_SPI + window.spi for window in memory_map.DEVICES if window.spi is not None}
    yield from _defines("INTERRUPT_", wired, _decimal)
    yield ""
    yield "/* A device's bit in the TZPC's DECPROT registers, and the bits of the normal world's devices. */"
    yield from _defines("DECPROT_", {window.name: index for index, window in enumerate(memory_map.DEVICES)}, _decimal)
    normal = (index for index, window in enumerate(memory_map.DEVICES) if window.reach is Reach.NORMAL)
    yield from _defines("DECPROT_", {"NORMAL": sum(1 << index for index in normal)})
    yield ""
    yield from _defines("NSAID_", {nsaid.name: nsaid.value for nsaid in Nsaid}, _decimal)
    yield from _defines("STREAM_", {stream.name: stream.value for stream in StreamId}, _decimal)
    yield ""
    images = ("NORMAL_IMAGE_BASE", "PROBE_IMAGE_BASE", "NORMAL_IMAGE_END")
    yield from _defines("", {name: int(getattr(memory_map, name)) for name in images})
    yield ""
    yield DRAM_LAYOUT
    yield "#endif"


CONTEXT_STRUCT = """\
#ifndef __ASSEMBLER__
#include <stdint.h>

/* x0-x30 and the return state from every entry to EL3; the rest while another context runs. */
struct context {
	uint64_t x[31];
	uint64_t elr;
	uint64_t spsr;
	uint64_t scr;
	uint64_t mdcr;
	uint64_t fpcr;
	uint64_t fpsr;
	uint64_t v[32][2] __attribute__((aligned(16)));
	uint64_t el1[CONTEXT_EL1_COUNT];
	uint64_t timers[CONTEXT_TIMERS_COUNT]; /* of the normal world's only: as it left them */
} __attribute__((aligned(16)));
#endif
"""


def monitor_memory_header() -> str:
    return "\n".join(_monitor_memory_header()) + "\n"


def _monitor_memory_header() -> Iterator[str]:
    yield f"/* What the monitor keeps where. Generated from monitor/memory.py by `{COMMAND}`. */"
    yield "#ifndef MONITOR_MEMORY_H"
    yield "#define MONITOR_MEMORY_H"
    yield ""
    yield "/* The monitor's carve-out of normal memory: offsets from its base. */"
    yield from _defines("CARVE_OUT_", {place.name: place.value for place in memory.CarveOut})
    yield ""
    yield "/* Of an entry of the reverse table, besides the page of the IOVA and 1. */"
    yield from _defines("", {"REVERSE_WRITE": memory.REVERSE_WRITE})
    yield ""
    yield "/* A context: offsets of its parts. */"
    yield from _defines("CONTEXT_", {name.upper(): field.offset for name, field in memory.CONTEXT.items()})
    counts = {f"{name.upper()}_COUNT": memory.CONTEXT[name].words for name in ("el1", "timers")}
    yield from _defines("CONTEXT_", {**counts, "SIZE": memory.CONTEXT_BYTES}, _decimal)
    yield ""
    yield "#ifdef __ASSEMBLER__"
    for group, registers in (("el1", memory.EL1_REGISTERS), ("timer", memory.TIMER_REGISTERS)):
        yield f"\t.macro each_{group}_register action"
        yield from (f"\t\\action {register}" for register in registers)
        yield "\t.endm"
    yield "#endif"
    yield ""
    yield CONTEXT_STRUCT
    yield "#endif"


def calls_page() -> str:
    return "\n".join(_calls_page()) + "\n"


def _calls_page() -> Iterator[str]:
    yield "# SMC calls"
    yield ""
    yield f"Generated from `monitor/abi.py` by `{COMMAND}`."
    yield ""
    yield "SMCCC 1.5. An unknown function, one of the other world, a nonzero SMC immediate, a call from EL2 and any of"
    yield "bits 23:17 set return NOT_SUPPORTED. The hint bit 16 is ignored. SMC32 arguments are truncated to 32 bits."
    yield "Registers that a call does not list as results are preserved; after a failure the results behind the status"
    yield "are zero."
    yield ""
    yield "A call on pages checks the whole range, by its count, for memory that is never Flex-Mem, clips it to"
    yield f"PAGES_PER_CALL ({abi.PAGES_PER_CALL}), checks every page of that window, and only then changes anything."
    yield ""
    yield "| function | call | by | arguments (x1..) | results (x0..) | fails |"
    yield "|---|---|---|---|---|---|"
    for call in abi.CALLS:
        by = "both" if call.by == abi.Caller.BOTH else str(call.by.name).lower()
        args = ", ".join(word.name for word in call.args) or "none"
        returns = ", ".join(word.name for word in call.returns) or "none"
        fails = ", ".join(status.name for status in call.fails) or "never"
        yield f"| `{call.function:#010x}` | [{call.name}](#{call.name.lower()}) | {by} | {args} | {returns} | {fails} |"
    yield ""
    for title, statuses in (("## Status codes", abi.Status), ("Of PSCI's calls:", abi.PsciStatus)):
        yield title
        yield ""
        yield "| code | name |"
        yield "|---|---|"
        yield from (f"| {status.value} | {status.name} |" for status in statuses)
        yield ""
    yield "## Features"
    yield ""
    yield "| number | name | value |"
    yield "|---|---|---|"
    yield from (f"| {feature.value} | {feature.name} | {getattr(abi, feature.name)} |" for feature in abi.Feature)
    yield ""
    yield "## Entry into the secure world"
    yield ""
    yield "Always at the registered entry (the revocation entry while a revoked page is unacknowledged), with"
    yield "x0 = pending mask, x1..x5 = the caller's, x6 = pages owed, every other register 0. Served in this order:"
    yield ""
    yield "| bit | pending |"
    yield "|---|---|"
    yield from (f"| {pending.value} | {pending.name} |" for pending in abi.Pending)
    for call in abi.CALLS:
        yield ""
        yield f"## {call.name}"
        yield ""
        yield call.what
        yield ""
        yield from (f"* x{index} `{word.name}`: {word.what}" for index, word in enumerate(call.args, start=1))
        yield from (f"* returns x{index} `{word.name}`: {word.what}" for index, word in enumerate(call.returns))


GENERATED: Mapping[str, Callable[[], str]] = {
    "firmware/include/flex_smc.h": smc_header,
    "firmware/include/memory_map.h": memory_map_header,
    "firmware/include/monitor_memory.h": monitor_memory_header,
    "docs/smc-calls.md": calls_page,
}


def stale() -> list[str]:
    """Paths of generated files that are missing or differ from what the tables say now."""
    return [
        path
        for path, text in GENERATED.items()
        if not (ROOT / path).is_file() or (ROOT / path).read_text() != text()
    ]


def main(arguments: list[str]) -> int:
    """Status 0; 1 if ``--check`` finds a stale file; 2 for an unknown option."""
    if arguments not in ([], ["--check"]):
        sys.stderr.write(f"usage: {COMMAND} [--check]\n")
        return 2
    paths = stale()
    if arguments and paths:
        sys.stderr.write(f"stale: {', '.join(paths)}: run `{COMMAND}`\n")
        return 1
    for path in paths:
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text(GENERATED[path]())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
