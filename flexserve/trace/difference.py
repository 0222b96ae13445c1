"""Two traces, event by event: where they part, in words, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from .file import OWN, Trace

CONTEXT = 4  # events before the first difference
MOST = 8  # lines of a kind of consequence
NOTHING = "(nothing: the trace has ended)"


@dataclass(frozen=True)
class Difference:
    """``event`` and ``smc`` count from 1; ``words`` say what differs, ``ownership`` and ``results`` what came of it."""

    event: int
    smc: int
    first: str
    second: str
    context: tuple[str, ...]
    words: tuple[str, ...]
    ownership: tuple[str, ...]
    results: tuple[str, ...]

    def text(self, first: str, second: str) -> str:
        """For a person; ``first`` and ``second`` name the traces."""
        width = max(len(first), len(second))
        lines = [f"they part at event {self.event}, after {self.smc} SMCs"]
        lines += [f"  {'':{width}}  {line}" for line in self.context]
        lines += [f"  {first:{width}}  {self.first}", f"  {second:{width}}  {self.second}"]
        lines += [f"  {word}" for word in self.words]
        if self.ownership:
            lines += ["page ownership at the end", *(f"  {line}" for line in self.ownership)]
        if self.results:
            lines += ["results", *(f"  {line}" for line in self.results)]
        return "\n".join(line.rstrip() for line in lines)


def difference(first: Trace, second: Trace, names: tuple[str, str] = ("first", "second")) -> Difference | None:
    """Where the two part; None if they tell of the same run of events with the same end."""
    pairs = zip_longest((*first.lines, *first.endings), (*second.lines, *second.endings), fillvalue=NOTHING)
    found = next(((index, pair) for index, pair in enumerate(pairs) if pair[0] != pair[1]), None)
    if found is None:
        return None
    index, (one, other) = found
    return Difference(
        event=index + 1,
        smc=sum(line.startswith("smc ") for line in first.lines[:index]),
        first=one,
        second=other,
        context=tuple(first.lines[max(index - CONTEXT, 0) : index]),
        words=tuple(_words(one, other, names)),
        ownership=tuple(_limited(list(_ownership(first.lines, second.lines, names)))),
        results=tuple(_limited(list(_results(first.endings, second.endings, names)))),
    )


def _words(one: str, other: str, names: tuple[str, str]) -> Iterator[str]:
    """What is not the same in two events of one kind, value by value."""
    (kind, head, values), (other_kind, other_head, other_values) = _taken_apart(one), _taken_apart(other)
    if kind != other_kind:
        yield f"another event: {kind} in {names[0]}, {other_kind} in {names[1]}"
        return
    if head != other_head:
        yield f"{kind}: {head!r} in {names[0]}, {other_head!r} in {names[1]}"
        return
    for name in {**values, **other_values}:
        if values.get(name) != other_values.get(name):
            here, there = values.get(name, "absent"), other_values.get(name, "absent")
            yield f"{head or kind}: {name} is {here} in {names[0]}, {there} in {names[1]}"


def _taken_apart(line: str) -> tuple[str, str, dict[str, str]]:
    """Kind, words, and ``name=value`` pairs."""
    kind, _, rest = line.partition(" ")
    words = rest.split(" ")
    pairs = dict(word.split("=", 1) for word in words if "=" in word)
    return kind, " ".join(word for word in words if "=" not in word), pairs


def _ownership(first: Sequence[str], second: Sequence[str], names: tuple[str, str]) -> Iterator[str]:
    states = page_states(first), page_states(second)
    begin: int | None = None
    pages = sorted(states[0].keys() | states[1].keys())
    pairs = {page: (states[0].get(page, "NORMAL"), states[1].get(page, "NORMAL")) for page in pages}
    for page in pages:
        here, there = pairs[page]
        if here == there:
            continue
        if begin is None or pairs.get(page - 1) != pairs[page]:
            begin = page
        if pairs.get(page + 1) != pairs[page]:
            yield f"pages {begin} to {page}: {here} in {names[0]}, {there} in {names[1]}"
            begin = None


def page_states(lines: Sequence[str]) -> dict[int, str]:
    """What each Flex-Mem page ended as, if it was ever anything but NORMAL."""
    states: dict[int, str] = {}
    for line in lines:
        change = OWN.fullmatch(line)
        if change and change[4] != "RESERVED":
            states.update(dict.fromkeys(range(int(change[1]), int(change[1]) + int(change[2])), change[4]))
    return states


def _results(first: Sequence[str], second: Sequence[str], names: tuple[str, str]) -> Iterator[str]:
    for one, other in zip_longest(first, second, fillvalue=NOTHING):
        if one == other:
            continue
        if not (one.startswith("result ") and other.startswith("result ")):
            yield f"{one} in {names[0]}"
            yield f"{other} in {names[1]}"
            continue
        here, there = (dict(_leaves(json.loads(line.partition(" ")[2]))) for line in (one, other))
        for name in {**here, **there}:
            if here.get(name) != there.get(name):
                yield f"{name}: {here.get(name)!r} in {names[0]}, {there.get(name)!r} in {names[1]}"


def _leaves(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for name, one in value.items():
            yield from _leaves(one, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and any(isinstance(one, dict | list) for one in value):
        for index, one in enumerate(value):
            yield from _leaves(one, f"{path}[{index}]")
    else:
        yield path, value


def _limited(lines: list[str]) -> list[str]:
    return lines if len(lines) <= MOST else [*lines[:MOST], f"and {len(lines) - MOST} more"]
