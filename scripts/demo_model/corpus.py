"""The training text: the King James Bible from Debian's `bible-kjv-text`, as chapters of running prose."""

import re
import subprocess
from dataclasses import dataclass

COMMAND = ("bible", "-l200", "gen1:1-rev22:21")
HEADING = re.compile(r"[A-Z1-3][A-Za-z1-3 ]* \d+")
VERSE   = re.compile(r"  \d+ (.*)")
WORD    = re.compile(r"[a-z]+(?:'[a-z]+)*")

HELD_OUT_EVERY = 40         # one chapter in so many is kept from training


@dataclass(frozen=True)
class Chapter:
    """One chapter: its heading ("Genesis 1") and its verses without their labels."""

    title: str
    verses: tuple[str, ...]

    @property
    def prose(self) -> str:
        """The verses joined to one paragraph."""
        return " ".join(self.verses)


def read_bible() -> list[Chapter]:
    """Run Debian's `bible` over the whole book; FileNotFoundError says which packages are missing."""
    try:
        printed = subprocess.run(COMMAND, capture_output=True, text=True, check=True).stdout
    except FileNotFoundError:
        raise FileNotFoundError("no `bible` command: install Debian's bible-kjv and bible-kjv-text") from None
    return parse(printed)


def parse(printed: str) -> list[Chapter]:
    """Chapters from the output of `bible`: headings, verses indented by two, wrapped lines not indented."""
    verses_by_title: dict[str, list[str]] = {}
    verses: list[str] = []
    for line in printed.splitlines():
        if HEADING.fullmatch(line):
            verses = verses_by_title.setdefault(line, [])
        elif verse := VERSE.fullmatch(line):
            verses.append(verse[1])
        elif line:
            verses[-1] += " " + line
    return [Chapter(title, tuple(" ".join(verse.split()) for verse in verses))
            for title, verses in verses_by_title.items()]


def split(chapters: list[Chapter]) -> tuple[list[Chapter], list[Chapter]]:
    """Training and held-out chapters."""
    held_out = chapters[HELD_OUT_EVERY // 2::HELD_OUT_EVERY]
    return [chapter for chapter in chapters if chapter not in held_out], held_out


def words(text: str) -> list[str]:
    """Lower-cased words, punctuation dropped."""
    return WORD.findall(text.lower())


def vocabulary(chapters: list[Chapter]) -> set[str]:
    """Every word that occurs."""
    return {word for chapter in chapters for word in words(chapter.prose)}
