"""Option values of more than one command: what is accepted, and what is said about the rest."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import click

from emulator.memory_map import DRAM_DEFAULT, GIB, MIB, DramLayout

SUFFIXES = {"M": MIB, "G": GIB}


class Size(click.ParamType[int]):
    """A number of bytes written as 256M or 4G."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"([1-9][0-9]{0,8})([MG])", str(value), re.IGNORECASE)
        if not match:
            self.fail(f"{value!r} is not a size: write it as 256M or 4G", param, ctx)
        return int(match[1]) * SUFFIXES[match[2].upper()]


class DramSize(Size):
    """A size that the platform can have as DRAM."""

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        size = super().convert(value, param, ctx)
        try:
            DramLayout(size)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return size


@dataclass(frozen=True)
class RecallAt:
    """The normal world takes ``pages`` pages back before generated token ``token`` (1-based) is computed."""

    pages: int
    token: int


class Recall(click.ParamType[RecallAt]):
    """PAGES@TOKEN, both from 1 up."""

    name = "pages@token"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> RecallAt:
        if isinstance(value, RecallAt):
            return value
        match = re.fullmatch(r"([1-9][0-9]{0,11})@([1-9][0-9]{0,8})", str(value))
        if not match:
            self.fail(f"{value!r} is not PAGES@TOKEN, two whole numbers from 1 up such as 200@8", param, ctx)
        return RecallAt(int(match[1]), int(match[2]))


class Text(click.ParamType[str]):
    """Text that came as UTF-8: the shell hands over any bytes."""

    name = "text"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        try:
            text.encode()
        except UnicodeEncodeError:
            self.fail("it is not UTF-8", param, ctx)
        return text


class FiniteRange(click.FloatRange):
    """A finite number in a range: plain FloatRange lets nan through."""

    def convert(self, value: float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number", param, ctx)
        return number


U64 = click.IntRange(0, (1 << 64) - 1)
U32 = click.IntRange(0, (1 << 32) - 1)

device_id = click.option(
    "--device-id",
    type=U32,
    default=0,
    metavar="N",
    show_default=True,
    help="Which phone: its unique key encrypts and decrypts packages.",
)
dram = click.option(
    "--dram",
    type=DramSize(),
    default=DRAM_DEFAULT,
    metavar="SIZE",
    show_default="1G",
    help="DRAM, 64M to 16G in steps of 2M.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
