"""The debug information of an ELF file: lines, functions, labels and call frames by address, as linked.

DWARF 4 and 5, line and frame tables (6.2, 6.4); register numbers are those of the AArch64 ABI (AADWARF64, 4.1).
"""

from __future__ import annotations

import bisect
import io
import os
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from elftools.dwarf.callframe import FDE, CFARule, RegisterRule
from elftools.dwarf.compileunit import CompileUnit
from elftools.dwarf.dwarfinfo import DWARFInfo
from elftools.dwarf.lineprogram import LineProgram, LineState
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

MAPPING_SYMBOLS = ("$x", "$d")  # of the ABI: where code and data begin


@dataclass(frozen=True)
class SourceLine:
    """A line of a source file: ``path`` is relative to the repository, ``line`` counts from 1."""

    path: str
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


@dataclass(frozen=True)
class Row:
    """Code from ``address`` up to ``end`` that belongs to one line; ``statement``: a good place to stop at."""

    address: int
    end: int
    source: SourceLine
    statement: bool


@dataclass(frozen=True)
class Function:
    """A C function: its code, and the line that declares it."""

    name: str
    address: int
    end: int
    source: SourceLine


@dataclass(frozen=True)
class CallFrame:
    """How to find the caller from a place in a function (DWARF 4, 6.4).

    The canonical frame address is register ``base`` (0..30, 31: sp) plus ``offset``; ``saved`` says at which offset
    from it a register's old value lies.
    """

    base: int
    offset: int
    saved: Mapping[int, int]


class DebugInfo:
    """The debug information of one ELF file; every table is read when it is first asked for."""

    def __init__(self, content: bytes) -> None:
        self._elf = ELFFile(io.BytesIO(content))

    @classmethod
    def load(cls, path: Path) -> DebugInfo:
        """Raises OSError, elftools' ELFError."""
        return cls(path.read_bytes())

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """The line table, by address."""
        found = [row for unit in self._units() for row in _rows(unit)]
        return tuple(sorted(found, key=lambda row: (row.address, row.end)))

    @cached_property
    def functions(self) -> tuple[Function, ...]:
        """The functions that have code of their own, by address."""
        found = [function for unit in self._units() for function in _functions(unit)]
        return tuple(sorted(found, key=lambda function: function.address))

    @cached_property
    def symbols(self) -> tuple[tuple[int, str], ...]:
        """Labels of code and data, by address."""
        tables = (section for section in self._elf.iter_sections() if isinstance(section, SymbolTableSection))
        found = {
            (symbol["st_value"], symbol.name)
            for table in tables
            for symbol in table.iter_symbols()
            if symbol.name and isinstance(symbol["st_shndx"], int) and not symbol.name.startswith(MAPPING_SYMBOLS)
        }
        return tuple(sorted(found))

    @cached_property
    def call_frames(self) -> tuple[tuple[int, int, CallFrame], ...]:
        """From address, to address, how to unwind there."""
        if not self._elf.has_dwarf_info() or not self._dwarf.has_CFI():
            return ()
        entries = (entry for entry in self._dwarf.CFI_entries() if isinstance(entry, FDE))
        return tuple(sorted((found for entry in entries for found in _call_frames(entry)), key=lambda found: found[0]))

    def bytes_at(self, address: int, size: int) -> bytes:
        """What the file has for ``address``; shorter than ``size`` where a segment ends, empty where none is."""
        for segment in self._elf.iter_segments("PT_LOAD"):
            offset = address - segment["p_vaddr"]
            if 0 <= offset < segment["p_filesz"]:
                return segment.data()[offset : offset + size]
        return b""

    def line_at(self, address: int) -> SourceLine | None:
        """The line that the instruction at ``address`` (as linked) belongs to."""
        row = self._row_at(address)
        return row.source if row else None

    def function_at(self, address: int) -> Function | None:
        index = bisect.bisect_right(self.functions, address, key=lambda function: function.address) - 1
        return self.functions[index] if index >= 0 and address < self.functions[index].end else None

    def symbol_at(self, address: int) -> tuple[str, int] | None:
        """The nearest label at or before ``address`` and the distance from it."""
        index = bisect.bisect_right(self.symbols, address, key=lambda symbol: symbol[0]) - 1
        return (self.symbols[index][1], address - self.symbols[index][0]) if index >= 0 else None

    def call_frame_at(self, address: int) -> CallFrame | None:
        """None where the compiler or the assembly says nothing: the caller is in x30, or there is none."""
        index = bisect.bisect_right(self.call_frames, address, key=lambda found: found[0]) - 1
        return self.call_frames[index][2] if index >= 0 and address < self.call_frames[index][1] else None

    def addresses_of(self, path: str, line: int) -> tuple[int, ...]:
        """Where a breakpoint at a line belongs: the first instruction of it in each function that has some of it.

        ``path`` is a file's name or the end of its path. A line without code stands for the next one that has some.
        """
        rows = [row for row in self._line_starts if names(path, row.source.path) and row.source.line >= line]
        nearest = min((row.source.line for row in rows), default=0)
        first: dict[int, int] = {}
        for row in rows:
            if row.source.line == nearest:
                function = self.function_at(row.address)
                first.setdefault(function.address if function else row.address, row.address)
        return tuple(sorted(first.values()))

    @cached_property
    def _line_starts(self) -> tuple[Row, ...]:
        """The rows that begin a line: a macro's instructions all belong to the line that uses it."""
        before = [None, *self.rows]
        return tuple(
            row
            for last, row in zip(before, self.rows, strict=False)
            if row.statement and (last is None or last.source != row.source or last.end != row.address)
        )

    def _row_at(self, address: int) -> Row | None:
        index = bisect.bisect_right(self.rows, address, key=lambda row: row.address) - 1
        return self.rows[index] if index >= 0 and address < self.rows[index].end else None

    @cached_property
    def _dwarf(self) -> DWARFInfo:
        return self._elf.get_dwarf_info()

    def _units(self) -> Iterator[CompileUnit]:
        return self._dwarf.iter_CUs() if self._elf.has_dwarf_info() else iter(())


def names(path: str, full: str) -> bool:
    """Whether ``path`` is ``full`` or the end of it, whole parts at a time."""
    return full == path or full.endswith(f"/{path}")


def _rows(unit: CompileUnit) -> Iterator[Row]:
    program = unit.dwarfinfo.line_program_for_CU(unit)
    if program is None:
        return
    paths = _paths(unit, program)
    before: LineState | None = None
    source: SourceLine | None = None
    for entry in program.get_entries():
        state = entry.state
        if state is None:
            continue
        if before is not None and before.address < state.address:
            if before.line:  # line 0 is code of no line in particular: it counts to the line before
                source = SourceLine(paths[before.file], before.line)
            if source is not None:
                yield Row(before.address, state.address, source, bool(before.is_stmt and before.line))
        before, source = (None, None) if state.end_sequence else (state, source)


def _paths(unit: CompileUnit, program: LineProgram) -> dict[int, str]:
    """Files by number: from 1 and relative to the compilation's folder up to DWARF 4, from 0 and complete after it."""
    folder = unit.get_top_DIE().attributes.get("DW_AT_comp_dir")
    folders = [os.fsdecode(name) for name in program["include_directory"]]
    first = 0
    if program["version"] < 5:
        folders.insert(0, "")
        first = 1
    base = os.fsdecode(folder.value) if folder else ""
    return {
        number: posixpath.normpath(posixpath.join(base, folders[file.dir_index], os.fsdecode(file.name)))
        for number, file in enumerate(program["file_entry"], first)
    }


def _functions(unit: CompileUnit) -> Iterator[Function]:
    program = unit.dwarfinfo.line_program_for_CU(unit)
    paths = _paths(unit, program) if program else {}
    for die in unit.iter_DIEs():
        low, high = die.attributes.get("DW_AT_low_pc"), die.attributes.get("DW_AT_high_pc")
        if die.tag != "DW_TAG_subprogram" or low is None or high is None:
            continue
        inlined = "DW_AT_abstract_origin" in die.attributes  # elsewhere as well
        about = die.get_DIE_from_attribute("DW_AT_abstract_origin") if inlined else die
        name, file, line = (about.attributes.get(f"DW_AT_{what}") for what in ("name", "decl_file", "decl_line"))
        if name and file and line:
            end = high.value if high.form == "DW_FORM_addr" else low.value + high.value
            yield Function(os.fsdecode(name.value), low.value, end, SourceLine(paths[file.value], line.value))


def _call_frames(entry: FDE) -> Iterator[tuple[int, int, CallFrame]]:
    table = entry.get_decoded().table
    end = entry["initial_location"] + entry["address_range"]
    for line, following in zip(table, [*table[1:], {"pc": end}], strict=True):
        cfa = line["cfa"]
        if isinstance(cfa, CFARule) and cfa.reg is not None and cfa.offset is not None:
            saved = {
                register: rule.arg
                for register, rule in line.items()
                if isinstance(register, int)
                and isinstance(rule, RegisterRule)
                and isinstance(rule.arg, int)
                and rule.type == RegisterRule.OFFSET
            }
            yield line["pc"], following["pc"], CallFrame(cfa.reg, cfa.offset, saved)
