"""Flattened device trees (Devicetree Specification 0.4, chapter 5)."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TypeAlias

MAGIC = 0xD00D_FEED
VERSION, LAST_COMPATIBLE = 17, 16
BEGIN_NODE, END_NODE, PROPERTY, END = 1, 2, 3, 9
HEADER_BYTES, RESERVATION_BYTES = 40, 16  # no memory is reserved: one entry of zeros ends the list
RESERVATIONS_AT = 0x30
STRUCTURE_AT = RESERVATIONS_AT + RESERVATION_BYTES

# Text, texts, cells of 32 bits, or nothing: the property is there.
Value: TypeAlias = "str | tuple[str, ...] | tuple[int, ...] | None"


class TreeError(ValueError):
    """A file that is no device tree."""


@dataclass
class Node:
    """``properties`` and ``children`` in the order in which they are written."""

    name: str
    properties: dict[str, Value] = field(default_factory=dict)
    children: list[Node] = field(default_factory=list)

    def add(self, name: str, /, **properties: Value) -> Node:
        """A child. Properties' names as `spell` takes them."""
        child = Node(name, {spell(key): value for key, value in properties.items()})
        self.children.append(child)
        return child


def spell(key: str) -> str:
    """A property's name: ``cells_size`` is #size-cells, ``linux_code`` linux,code; other underscores are dashes."""
    if key.startswith("cells_"):
        return f"#{key.removeprefix('cells_')}-cells"
    if key == "device_type":  # the one standard name with an underscore
        return key
    return f"linux,{key.removeprefix('linux_')}" if key.startswith("linux_") else key.replace("_", "-")


def wide(*numbers: int) -> tuple[int, ...]:
    """64-bit numbers as pairs of cells."""
    return tuple(cell for number in numbers for cell in (number >> 32, number & 0xFFFF_FFFF))


def flatten(root: Node, total_bytes: int = 0) -> bytes:
    """The tree as a guest finds it, padded with zeros up to ``total_bytes``, which its header says."""
    names = bytearray()
    structure = _flatten_node(root, names) + struct.pack(">I", END)
    strings_at = STRUCTURE_AT + len(structure)
    size = max(strings_at + len(names), total_bytes)
    header = struct.pack(
        ">10I", MAGIC, size, STRUCTURE_AT, strings_at, RESERVATIONS_AT, VERSION, LAST_COMPATIBLE, 0, len(names),
        len(structure),
    )  # fmt: skip
    blob = header.ljust(RESERVATIONS_AT, b"\0") + bytes(RESERVATION_BYTES) + structure + bytes(names)
    return blob.ljust(size, b"\0")


def check(blob: bytes) -> bytes:
    """The tree without what follows it in its file. Raises TreeError."""
    if len(blob) < HEADER_BYTES:
        raise TreeError("it is shorter than a device tree's header")
    magic, size = struct.unpack_from(">II", blob)
    if magic != MAGIC:
        raise TreeError(f"it begins with {magic:#010x}, a device tree with {MAGIC:#010x}")
    if not HEADER_BYTES <= size <= len(blob):
        raise TreeError(f"its header says {size} bytes, and it has {len(blob)}")
    return blob[:size]


def _flatten_node(node: Node, names: bytearray) -> bytes:
    parts = [struct.pack(">I", BEGIN_NODE), _pad(node.name.encode() + b"\0")]
    for name, value in node.properties.items():
        data = _encode(value)
        parts += [struct.pack(">III", PROPERTY, len(data), _intern(name, names)), _pad(data)]
    parts += [_flatten_node(child, names) for child in node.children]
    return b"".join([*parts, struct.pack(">I", END_NODE)])


def _encode(value: Value) -> bytes:
    if value is None:
        return b""
    if isinstance(value, str):
        return value.encode() + b"\0"
    return b"".join(part.encode() + b"\0" if isinstance(part, str) else struct.pack(">I", part) for part in value)


def _intern(name: str, names: bytearray) -> int:
    text = name.encode() + b"\0"
    at = bytes(b"\0" + names).find(b"\0" + text)
    if at < 0:
        at = len(names)
        names += text
    return at


def _pad(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
