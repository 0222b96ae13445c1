"""What was executed of each image: drcov for disassemblers, LCOV for source lines."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from emulator.debug.dwarf import SourceLine
from emulator.debug.source import Placed, SourceMap
from emulator.machine import Machine

WORD = 4
BLOCK = struct.Struct("<IHH")  # offset, bytes, module
LARGEST_BLOCK = 0xFFFC


@dataclass(frozen=True)
class Covered:
    """``counts``: how often each instruction of ``image`` began, from its start."""

    image: Placed
    counts: Sequence[int]

    def addresses(self) -> Iterator[tuple[int, int]]:
        """Addresses of what was executed, and how often."""
        for index, count in enumerate(self.counts):
            if count:
                yield self.image.start + index * WORD, count


class Counting:
    """Counts in every image of ``sources``, on the machine that `prepare` is given."""

    def __init__(self, sources: SourceMap) -> None:
        self._sources = sources
        self._counters: list[tuple[Placed, Callable[[], Sequence[int]]]] = []
        self.result: list[Covered] = []

    def prepare(self, machine: Machine) -> None:
        for image in self._sources.images:
            size = min(image.end, code_end(image)) - image.start
            self._counters.append((image, machine.instruction_trace.count(image.start, size)))

    def finish(self, _: Machine) -> None:
        """Read the counts, while the machine is still there."""
        self.result = [Covered(image, read()) for image, read in self._counters]


def code_end(image: Placed) -> int:
    """Behind the last instruction that the image's line table or symbols know."""
    ends = [row.end for row in image.info.rows] + [address + WORD for address, _ in image.info.symbols]
    return max(ends, default=0) + image.bias


def drcov(covered: Sequence[Covered]) -> bytes:
    """Version 2, with version 2 of the module table, as DynamoRIO's drcov writes it."""
    lines = ["DRCOV VERSION: 2", "DRCOV FLAVOR: flexserve", f"Module Table: version 2, count {len(covered)}"]
    lines.append("Columns: id, base, end, entry, checksum, timestamp, path")
    blocks = bytearray()
    for number, one in enumerate(covered):
        end = one.image.start + len(one.counts) * WORD
        lines.append(f"{number:3}, {one.image.start:#018x}, {end:#018x}, 0x0, 0x0, 0x0, {one.image.name}")
        for offset, size in runs(one.counts):
            blocks += BLOCK.pack(offset, size, number)
    lines.append(f"BB Table: {len(blocks) // BLOCK.size} bbs")
    return "\n".join(lines).encode() + b"\n" + bytes(blocks)


def runs(counts: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Offsets and bytes of what was executed together, and equally often: basic blocks, or neighbours of them."""
    at = 0
    while at < len(counts):
        end = at + 1
        while end < len(counts) and counts[end] == counts[at] and (end - at) * WORD < LARGEST_BLOCK:
            end += 1
        if counts[at]:
            yield at * WORD, (end - at) * WORD
        at = end


def lcov(covered: Sequence[Covered]) -> str:
    """Lines and functions of every source file, those that were never executed too."""
    lines: dict[str, Counter[int]] = {}
    functions: dict[str, dict[str, tuple[int, int]]] = {}
    for one in covered:
        hits = dict(one.addresses())
        for source, count in _lines(one, hits).items():
            lines.setdefault(source.path, Counter())[source.line] += count
        for function in one.image.info.functions:
            known = functions.setdefault(function.source.path, {})
            called = hits.get(function.address + one.image.bias, 0) if _is_inside(one, function.address) else 0
            known[function.name] = function.source.line, known.get(function.name, (0, 0))[1] + called
    return "".join(_record(path, lines[path], functions.get(path, {})) for path in sorted(lines))


def _lines(covered: Covered, hits: Mapping[int, int]) -> dict[SourceLine, int]:
    """A line was executed as often as the most executed of its instructions."""
    found: dict[SourceLine, int] = {}
    for row in covered.image.info.rows:
        if _is_inside(covered, row.address):
            found[row.source] = max(found.get(row.source, 0), hits.get(row.address + covered.image.bias, 0))
    return found


def _is_inside(covered: Covered, address: int) -> bool:
    return address + covered.image.bias in covered.image


def _record(path: str, lines: Counter[int], functions: dict[str, tuple[int, int]]) -> str:
    told = ["TN:", f"SF:{path}"]
    told += [f"FN:{line},{name}" for name, (line, _) in sorted(functions.items())]
    told += [f"FNDA:{count},{name}" for name, (_, count) in sorted(functions.items())]
    told += [f"FNF:{len(functions)}", f"FNH:{sum(count > 0 for _, count in functions.values())}"]
    told += [f"DA:{line},{lines[line]}" for line in sorted(lines)]
    told += [f"LF:{len(lines)}", f"LH:{sum(count > 0 for count in lines.values())}", "end_of_record", ""]
    return "\n".join(told)
