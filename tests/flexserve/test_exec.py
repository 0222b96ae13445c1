"""`flexserve exec`: images end with the status that they give, and what is wrong is said in one line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from emulator.image import Image
from emulator.memory_map import DRAM_BASE
from flexserve.cli import execute
from tests.emulator.bare import COMPILER

UBOOT = Path("/usr/lib/u-boot/qemu_arm64/u-boot.bin")
QEMU = "qemu-system-aarch64"
LIMIT = "2000000000"

EXIT = """
exit:   /* x0: status */
    adr x1, block
    str x0, [x1, #8]
    mov w0, #0x18
    hlt #0xf000
    b .
    .balign 8
block: .quad 0x20026, 0
"""


def assemble(folder: Path, source: str, address: int = 0x4800_0000, *, flat: bool = False) -> Path:
    """The image of what `source` says, linked at ``address``."""
    (folder / "image.S").write_text(f".global _start\n_start:\n{source}\n")
    (folder / "image.ld").write_text(f"ENTRY(_start) SECTIONS {{ . = {address:#x}; .text : {{ *(.text*) }} }}\n")
    elf = folder / "image.elf"
    files = [str(folder / "image.S"), "-o", str(elf), "-T", str(folder / "image.ld")]
    done = subprocess.run([*COMPILER, *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    if not flat:
        return elf
    (folder / "image.bin").write_bytes(Image.load(elf).segments[0].data)
    return folder / "image.bin"


def report(capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, object]]:
    status = execute(["exec", "--json", "--max-instructions", LIMIT, *map(str, arguments)])
    out, err = capfd.readouterr()
    assert out, err
    return status, json.loads(out)


@pytest.mark.parametrize("status", [0, 1, 42, 255])
def test_semihosting_exit_gives_the_status(tmp_path: Path, capfd: pytest.CaptureFixture[str], status: int) -> None:
    image = assemble(tmp_path, f"mov x0, #{status}\n{EXIT}")
    given, found = report(capfd, image, "--uart", "none")
    assert (given, found["ended"]) == (status, "semihosting exit")


def test_a_flat_image_lies_in_flash_at_0_or_at_its_entry(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source = f"adr x0, _start\nlsr x0, x0, #24\n{EXIT}"
    image = assemble(tmp_path, source, 0, flat=True)
    assert report(capfd, image, "--uart", "none")[0] == 0
    assert report(capfd, image, "--uart", "none", "--entry", hex(DRAM_BASE + 0x0200_0000))[0] == 0x42


def test_more_files_are_loaded_where_they_are_asked_for(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "extra").write_bytes(bytes([77]))
    image = assemble(tmp_path, f"ldr x2, =0x4a000003\nldrb w0, [x2]\n{EXIT}")
    assert report(capfd, image, "--load", f"0x4a000003={tmp_path / 'extra'}", "--uart", "none")[0] == 77


def test_a_traced_run_checks(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    image, trace = assemble(tmp_path, f"ldr x1, =0x10\nmsr vbar_el3, x1\nmov x0, #3\n{EXIT}"), tmp_path / "trace"
    assert report(capfd, image, "--uart", "none", "--trace", trace)[0] == 3
    assert '"status": 3' in trace.read_text()
    assert execute(["trace", "check", str(trace)]) == 0
    faulting = assemble(tmp_path, ".word 0")
    assert execute(["trace", "record", str(trace), "--", "exec", str(faulting)]) == 0
    assert "faults for ever" in trace.read_text()
    assert execute(["trace", "check", str(trace)]) == 0
    capfd.readouterr()


PSCI = """
    adr x0, vectors
    msr vbar_el3, x0
    mov x0, #0x401      /* SCR_EL3: NS, RW */
    msr scr_el3, x0
    mov x0, #0x80000000 /* HCR_EL2: RW */
    msr hcr_el2, x0
    adr x0, kernel
    msr elr_el3, x0
    mov x0, #0x3c5
    msr spsr_el3, x0
    eret
kernel:
    ldr x0, =0x84000008 /* SYSTEM_OFF */
    smc #0
    b .
    .balign 0x800
vectors:
    .space 0x400
    ldr w1, =0x84000008
    cmp w0, w1
    b.ne .
    ldr x1, =0x090b0000
    mov w0, #1
    str w0, [x1, #0x400]
    str w0, [x1, #4]
    b .
"""


def test_firmware_of_its_own_switches_off_for_its_kernel(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """PSCI is what the image makes of it."""
    status, found = report(capfd, assemble(tmp_path, PSCI), "--uart", "none")
    assert (status, found["ended"]) == (0, "power off")


POWER = """
    ldr x1, =0x090b0000
    mov w0, #3
    str w0, [x1, #0x400]    /* both lines are outputs */
    mov w0, #{line}
    str w0, [x1, #{line} << 2]
    b .
"""


@pytest.mark.parametrize(("line", "ended"), [(1, "power off"), (2, "reset")])
def test_the_secure_gpio_ends_the_run(tmp_path: Path, capfd: pytest.CaptureFixture[str], line: int, ended: str) -> None:
    status, found = report(capfd, assemble(tmp_path, POWER.format(line=line)), "--uart", "none")
    assert (status, found["ended"]) == (0, ended)


def test_an_image_that_does_not_end_is_stopped_with_124(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    image = assemble(tmp_path, "b .")
    assert execute(["exec", str(image), "--uart", "none", "--max-instructions", "1000"]) == 124
    assert "1,000 instructions executed" in capfd.readouterr().err
    assert execute(["exec", str(assemble(tmp_path, "wfi\nb .")), "--uart", "none"]) == 124
    assert "interrupt that will never come" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("nop\n.word 0", ["EL3", "0x200", "undefined instruction", "at 0x48000004", "1 instructions"]),
        ("mov x1, #0x0c000000\nstr x1, [x1]", ["EL3", "data abort: write, external abort", "at 0x48000004"]),
        (
            "mov x0, #0x30000000\nldr x1, =0x0c000000\nmsr vbar_el3, x1\nldr x2, [x1]",
            ["EL3", "0xc000200", "external abort", "at 0x4800000c"],
        ),
    ],
)
def test_an_image_that_faults_at_once_is_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], source: str, words: list[str]
) -> None:
    assert execute(["exec", str(assemble(tmp_path, source)), "--uart", "none"]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert all(word in err for word in words), err


def test_bad_files_and_places_are_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    flat, empty = tmp_path / "flat", tmp_path / "empty"
    flat.write_bytes(bytes(0x2000))
    empty.write_bytes(b"")
    cases = {
        "No such file": [str(tmp_path / "none")],
        "is empty": [str(empty)],
        "not within one memory": [str(flat), "--entry", "0x30000000"],
        "is no device tree": [str(flat), "--dtb", str(flat)],
        "is not an address": [str(flat), "--entry", "here"],
        "is not ADDR=FILE": [str(flat), "--load", str(flat)],
        "not an ELF file": [str(_write(tmp_path / "elf", b"\x7fELF junk"))],
        "not for AArch64": [sys.executable],
        "2 UARTs": [str(flat), *["--uart", "none"] * 3],
    }
    for words, arguments in cases.items():
        assert execute(["exec", *arguments]) == 2, words
        out, err = capfd.readouterr()
        assert out == ""
        assert words in err, err
        assert err.count("\n") == 1, err


def _write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


# --- a real boot loader ----------------------------------------------------------------------------------------------

COMMANDS = (
    "version", "bdinfo", "fdt addr 40000000", "fdt print /pl011@9000000", "md 40000000 2",
    "flinfo", "mw.l 04000000 00980098", "md.l 04000040 40",
    "mw.l 04000000 00ff00ff", "md.l 09010fe0 8", "md.l 0a000000 8", "md.l 10000000 2", "md.l 08020000 4",
    "crc32 0 1000", "qfw cpus",
)  # fmt: skip
SAVES = ("setenv who flexserve", "saveenv", "md.b 04000004 10")  # too slow for U-Boot's patience on a busy QEMU
TYPED = "\n" + "".join(f"{command}\n" for command in COMMANDS)
DIFFERS = ("40000000: ",)  # the tree has no random seeds

needs_uboot = pytest.mark.skipif(not UBOOT.exists(), reason=f"{UBOOT} is not installed (Debian: u-boot-qemu)")


@pytest.mark.peer
@needs_uboot
def test_uboot_boots_from_flash_to_its_prompt(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "typed").write_text(TYPED + "".join(f"{command}\n" for command in SAVES))
    status, found = report(capfd, UBOOT, "--input", tmp_path / "typed")
    console = str(found["uart0"])
    assert status == 0
    assert found["ended"] == "waits for input, which has ended"
    for words in (
        "U-Boot 20",
        "DRAM:  1 GiB\r",
        "=> version",
        "fdt_blob    = 0x",
        "arm,pl011",
        "40000000: edfe0dd0",
        "Flash... done",
    ):
        assert words in console, console
    assert (status, found) == report(capfd, UBOOT, "--input", tmp_path / "typed")


@pytest.mark.peer
@needs_uboot
@pytest.mark.skipif(not shutil.which(QEMU), reason=f"{QEMU} is not installed: nothing to compare the console with")
def test_uboot_says_the_same_as_on_qemu(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "typed").write_text(TYPED)
    _, found = report(capfd, UBOOT, "--input", tmp_path / "typed")
    ours = _lines(str(found["uart0"]))
    theirs = _lines(_qemu_console(TYPED))
    assert ours == theirs


def _qemu_console(typed: str) -> str:
    """What QEMU's first UART says when ``typed`` is typed, each line after a prompt."""
    machine = ["-M", "virt,secure=on,virtualization=on", "-cpu", "cortex-a72", "-m", "1024", "-nic", "none"]
    plain = ["-display", "none", "-monitor", "none", "-serial", "stdio", "-bios", str(UBOOT)]
    with subprocess.Popen([QEMU, *machine, *plain], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as qemu:
        assert qemu.stdin is not None
        assert qemu.stdout is not None
        text = b""
        while b"autoboot" not in text:
            text += os.read(qemu.stdout.fileno(), 4096)
        for line in typed.encode().splitlines(keepends=True):
            for byte in line:
                qemu.stdin.write(bytes([byte]))
                qemu.stdin.flush()
                time.sleep(0.003)  # its UART drops what comes faster than the guest reads
            seen = len(text)
            while not text.endswith(b"\n=> ") or len(text) == seen:
                text += os.read(qemu.stdout.fileno(), 4096)
        qemu.kill()
    return text.decode()


def _lines(console: str) -> list[str]:
    lines = console.replace("\r", "").split("\n")
    return [line for line in lines if not line.startswith(DIFFERS) and "autoboot" not in line]
