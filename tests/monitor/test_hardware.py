"""What the rules look up in the monitor's memory is what they mean."""

from __future__ import annotations

import io
from collections import Counter

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from firmware.build import image_path
from monitor.hardware import DEADLINES, EL3_TABLES, PLACES, STATES, VARIABLES
from monitor.memory import CONTEXT_BYTES, WORD
from tests.firmware.phone import Images

LOOKED_UP = (*VARIABLES, *PLACES, *DEADLINES, *EL3_TABLES, "pages_in", "contexts", "set_aside")


def test_each_name_is_one_variables() -> None:
    """Of several of one name an image keeps the last."""
    elf = ELFFile(io.BytesIO(image_path("monitor").read_bytes()))
    tables = [section for section in elf.iter_sections() if isinstance(section, SymbolTableSection)]
    names = Counter(symbol.name for table in tables for symbol in table.iter_symbols())
    assert {name: names[name] for name in LOOKED_UP} == dict.fromkeys(LOOKED_UP, 1)


def test_variables_have_the_sizes_that_they_are_read_with() -> None:
    sizes = Images.load().monitor.sizes
    assert [sizes[name] for name in DEADLINES] == [WORD] * len(DEADLINES)
    assert (sizes["contexts"], sizes["set_aside"]) == (3 * CONTEXT_BYTES, CONTEXT_BYTES)
    assert sizes["pages_in"] == STATES * WORD
    assert sizes["thread"] == 2 * WORD  # two threads of two numbers
