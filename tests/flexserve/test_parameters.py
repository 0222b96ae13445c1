"""Option values: what is accepted, and that the rest is refused in words."""

from __future__ import annotations

import click
import pytest

from emulator.memory_map import GIB, MIB
from flexserve.commands.parameters import DramSize, FiniteRange, Recall, RecallAt, Size


@pytest.mark.parametrize(("text", "size"), [("64M", 64 * MIB), ("1g", GIB), ("16G", 16 * GIB), ("66m", 66 * MIB)])
def test_dram_size(text: str, size: int) -> None:
    assert DramSize().convert(text, None, None) == size


@pytest.mark.parametrize("text", ["", "1", "0G", "-1G", "1.5G", "1GiB", "٣G", "1G ", "99999999999G"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is not a size: write it as 256M or 4G"):
        Size().convert(text, None, None)


@pytest.mark.parametrize("text", ["2M", "62M", "65M", "17G"])
def test_dram_size_that_the_platform_cannot_have_names_the_rule(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is not a multiple of 2 MiB between 64 MiB and 16 GiB"):
        DramSize().convert(text, None, None)


def test_recall() -> None:
    assert Recall().convert("200@8", None, None) == RecallAt(pages=200, token=8)


@pytest.mark.parametrize("text", ["", "200", "@", "0@1", "1@0", "-1@2", "1@2@3", "a@b", "1 @2"])
def test_what_is_no_recall_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is not PAGES@TOKEN"):
        Recall().convert(text, None, None)


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "2", "x"])
def test_nonsense_numbers_are_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        FiniteRange(min=0, max=1)(text)
