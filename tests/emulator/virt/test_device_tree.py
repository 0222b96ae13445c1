"""The board's device tree is well formed, and says what QEMU's says of what both boards have."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from emulator import memory_map
from emulator.memory_map import DRAM_BASE, GIB
from emulator.virt.device_tree import GIC, TREE_BYTES, build
from emulator.virt.tree import BEGIN_NODE, END, END_NODE, PROPERTY, Node, TreeError, check, flatten, spell, wide

QEMU = "qemu-system-aarch64"
Nodes = dict[str, dict[str, bytes]]

# What only QEMU's tree has: seeds that differ from run to run, and the line of a GPIO that has no inputs.
MISSING = {
    "/chosen kaslr-seed", "/chosen rng-seed", "/secure-chosen kaslr-seed", "/secure-chosen rng-seed",
    "/pl061@90b0000 interrupts",
}  # fmt: skip
REFERENCES = {
    "phandle",
    "interrupt-parent",
    "clocks",
    "gpios",
    "cpu",
    "msi-map",
}  # numbers of nodes, which anybody may choose
OUR_GIC, THEIR_GIC = (struct.pack(">3I", handle, 0, 0) for handle in (GIC, 0x8002))


def parse(blob: bytes) -> Nodes:
    """Nodes by path, with their properties, by the specification's chapter 5."""
    magic, size, structure, strings, _, version, _, _, strings_size, structure_size = struct.unpack_from(">10I", blob)
    assert (magic, version, size) == (0xD00D_FEED, 17, len(blob))
    names = blob[strings : strings + strings_size]
    nodes: Nodes = {}
    path: list[str] = []
    at = structure
    while True:
        (token,) = struct.unpack_from(">I", blob, at)
        at += 4
        if token == BEGIN_NODE:
            end = blob.index(b"\0", at)
            path.append(blob[at:end].decode())
            nodes["/".join(path) or "/"] = {}
            at = end + 4 & ~3
        elif token == END_NODE:
            path.pop()
        elif token == PROPERTY:
            length, name = struct.unpack_from(">II", blob, at)
            key = names[name : names.index(b"\0", name)].decode()
            nodes["/".join(path) or "/"][key] = blob[at + 8 : at + 8 + length]
            at = at + 8 + length + 3 & ~3
        elif token == END:
            assert at == structure + structure_size
            assert path == []
            return nodes


def test_a_tree_is_laid_out_as_the_specification_says() -> None:
    root = Node("", {"#size-cells": (2,)})
    root.add("a@1", reg=wide(1 << 32 | 5), compatible=("one", "two"), device_type="x", cells_size=(1,)).add(
        "b", on=None
    )
    nodes = parse(flatten(root))
    assert list(nodes) == ["/", "/a@1", "/a@1/b"]
    assert nodes["/a@1"] == {
        "reg": bytes.fromhex("0000000100000005"), "compatible": b"one\0two\0", "device_type": b"x\0",
        "#size-cells": bytes.fromhex("00000001"),
    }  # fmt: skip
    assert nodes["/a@1/b"] == {"on": b""}
    assert spell("linux_code") == "linux,code"


def test_the_boards_tree_says_how_much_memory_there_is() -> None:
    blob = build(3 * GIB)
    nodes = parse(blob)
    assert len(blob) == TREE_BYTES
    assert nodes[f"/memory@{DRAM_BASE:x}"]["reg"] == struct.pack(">QQ", DRAM_BASE, 3 * GIB)
    for window in (memory_map.UART0, memory_map.UART1, memory_map.RTC, memory_map.GPIO, memory_map.FLASH1):
        assert struct.pack(">QQ", window.base, window.size) in [node.get("reg") for node in nodes.values()], window
    handles = [node["phandle"] for node in nodes.values() if "phandle" in node]
    assert len(handles) == len(set(handles))


@pytest.mark.parametrize(
    ("blob", "words"), [(b"short", "shorter"), (bytes(64), "begins with"), (flatten(Node(""))[:-1], "its header says")]
)
def test_what_is_no_tree_is_refused(blob: bytes, words: str) -> None:
    with pytest.raises(TreeError, match=words):
        check(blob)


@pytest.mark.peer
@pytest.mark.skipif(not shutil.which(QEMU), reason=f"{QEMU} is not installed: no tree to compare with")
def test_the_boards_tree_is_qemus(tmp_path: Path) -> None:
    machine = f"virt,secure=on,virtualization=on,dumpdtb={tmp_path / 'dtb'}"
    quiet = ["-cpu", "cortex-a72", "-m", "1024", "-display", "none", "-nic", "none"]
    subprocess.run([QEMU, "-M", machine, *quiet], capture_output=True, check=True, timeout=60)
    ours, theirs = parse(build(GIB)), parse((tmp_path / "dtb").read_bytes())
    assert not ours.keys() - theirs.keys()
    missing = set(theirs.keys() - ours.keys())
    for path, properties in ours.items():
        there = theirs[path]
        missing |= {f"{path} {name}" for name in there.keys() - properties.keys()}
        for name, value in properties.items():
            assert name in there, f"{path} {name}"
            if name not in REFERENCES:
                assert there[name] == value.replace(OUR_GIC, THEIR_GIC), f"{path} {name}"
    assert missing == MISSING
