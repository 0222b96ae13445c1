"""The images: the same bytes from any checkout, nothing of the build machine in them, no stray vector register."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

import pytest
from capstone import CS_ARCH_ARM64, CS_MODE_ARM, Cs, CsInsn

from emulator.debug.dwarf import DebugInfo
from emulator.image import Image
from firmware import build as firmware
from firmware.build import ELF_FOLDER, FOLDER, IMAGES, BuildError, Mutation

VECTOR_REGISTER = re.compile(r"\b[vqdshb]([0-9]|[12][0-9]|3[01])\b")
MAY_USE_VECTORS = {"world_switch", "world_enter", "registers_smc", "registers_returned"}
DATA = "registers_names"  # text behind the code of the images that have one segment for both


@pytest.mark.parametrize("image", [image.name for image in IMAGES])
def test_holds_no_absolute_path(image: str) -> None:
    content = (ELF_FOLDER / f"{image}.elf").read_bytes()
    assert not re.search(rb"/(home|root|tmp|usr|work|var|opt|build)/", content)
    assert str(FOLDER.parent).encode() not in content


@pytest.mark.parametrize("image", [image.name for image in IMAGES])
def test_names_its_sources_from_the_repository_on(image: str) -> None:
    info = DebugInfo.load(ELF_FOLDER / f"{image}.elf")
    paths = {row.source.path for row in info.rows}
    assert paths
    assert [path for path in paths if not (FOLDER.parent / path).is_file()] == []
    assert {function.source.path for function in info.functions} <= paths
    assert bool(info.functions) == any(path.endswith(".c") for path in paths)


def digest(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.elf")}


def test_two_checkouts_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkouts = [tmp_path / "a", tmp_path / "a longer path with spaces" / "b"]
    digests = []
    for checkout in checkouts:
        sources = checkout / "firmware"
        shutil.copytree(FOLDER, sources, ignore=shutil.ignore_patterns("elf", "__pycache__"))
        monkeypatch.setattr(firmware, "FOLDER", sources)
        firmware.build(checkout / "elf")
        digests.append(digest(checkout / "elf"))
    assert digests[0] == digests[1] == digest(ELF_FOLDER)


@pytest.mark.parametrize("image", ["monitor", "gate", "probe"])
def test_vector_registers_only_in_save_and_restore(image: str) -> None:
    elf = Image.load(ELF_FOLDER / f"{image}.elf")
    functions = sorted((address, name) for name, address in elf.symbols.items())
    disassembler = Cs(CS_ARCH_ARM64, CS_MODE_ARM)
    disassembler.skipdata = True
    users = set()
    code = elf.segments[0]
    end = elf.symbols.get(DATA, code.address + len(code.data))
    for instruction in disassembler.disasm(code.data[: end - code.address], code.address):
        if VECTOR_REGISTER.search(instruction.op_str) and not instruction.mnemonic.startswith("."):
            users.add(max(entry for entry in functions if entry[0] <= instruction.address)[1])
    assert users <= MAY_USE_VECTORS
    assert image == "probe" or users


def instructions(image: Image, address: int, end: int) -> list[CsInsn]:
    segment = next(one for one in image.segments if one.address <= address < one.address + len(one.data))
    code = segment.data[address - segment.address : end - segment.address]
    found = list(Cs(CS_ARCH_ARM64, CS_MODE_ARM).disasm(code, address))
    assert sum(one.size for one in found) == len(code)
    return found


def test_el2_stub_reaches_no_memory() -> None:
    """It may be left for good at any instruction: what it had stored would stay."""
    monitor = Image.load(ELF_FOLDER / "monitor.elf")
    stub = instructions(monitor, monitor.symbols["el2_stub_start"], monitor.symbols["el2_stub_end"])
    assert len(stub) > 16
    assert [f"{one.mnemonic} {one.op_str}" for one in stub if "[" in one.op_str] == []


@pytest.mark.parametrize("offset", [0x80, 0x100], ids=["irq", "fiq"])
def test_interrupts_of_either_state_below_go_the_same_way(offset: int) -> None:
    """Of AArch64 and of AArch32, whichever a core counts an AArch32 EL0 under an AArch64 EL1 and EL2 to be."""
    monitor = Image.load(ELF_FOLDER / "monitor.elf")
    places = [monitor.symbols["vectors"] + state + offset for state in (0x400, 0x600)]
    first = [instructions(monitor, place, place + 4)[0] for place in places]
    assert first[0].mnemonic == "b"
    assert len({(one.mnemonic, one.op_str) for one in first}) == 1


def test_segments_are_never_writable_and_executable() -> None:
    from elftools.elf.elffile import ELFFile

    for image in ("monitor", "gate"):
        with (ELF_FOLDER / f"{image}.elf").open("rb") as file:
            flags = [segment["p_flags"] & 3 for segment in ELFFile(file).iter_segments("PT_LOAD")]
        assert 3 not in flags


def test_stale_image_is_one_line_that_names_the_command(tmp_path: Path) -> None:
    assert firmware.stale() is None
    shutil.copytree(ELF_FOLDER, tmp_path / "elf")
    gate = tmp_path / "elf" / "gate.elf"
    gate.write_bytes(gate.read_bytes().replace(firmware.MARK, firmware.MARK[::-1]))
    command = "run `pip install -e .` in the checkout"
    built = "firmware/elf/gate.elf was built from other sources than the present ones"
    assert firmware.stale(tmp_path / "elf") == f"{built}: {command}"
    gate.unlink()
    assert firmware.stale(tmp_path / "elf") == f"firmware/elf/gate.elf is missing: {command}"


def test_a_mutation_names_one_line_that_is_there(tmp_path: Path) -> None:
    shutil.copytree(FOLDER / "el3", tmp_path / "el3")
    for line in ("no such line", "}"):
        with pytest.raises(BuildError, match="a mutation names one that is unique"):
            Mutation("el3/flexmem.c", line, "").apply(tmp_path)


def test_a_mutation_changes_the_image(tmp_path: Path) -> None:
    firmware.build(tmp_path, ["monitor"], Mutation("el3/flexmem.c", "smmu_invalidate(&extent);", ""))
    assert (tmp_path / "monitor.elf").read_bytes() != (ELF_FOLDER / "monitor.elf").read_bytes()
