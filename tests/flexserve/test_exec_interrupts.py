"""A guest that only waits for interrupts, of its timer and its console, runs as it does on QEMU."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .test_exec import EXIT, LIMIT, QEMU, assemble

# EL3 takes what is in group 0 as FIQ: the secure timer (29) prints a dot, what the console (33) receives comes back.
GUEST = f"""
    adr x0, vectors
    msr vbar_el3, x0
    mov x0, #0x534
    msr scr_el3, x0
    movz x20, #0x0800, lsl #16
    movz x21, #0x0801, lsl #16
    movz x22, #0x0900, lsl #16
    mov w0, #3
    str w0, [x20]
    mov w0, #1 << 29
    str w0, [x20, #0x100]
    mov w0, #1 << 1
    str w0, [x20, #0x104]
    mov w0, #0xff
    str w0, [x21, #4]
    mov w0, #0xb
    str w0, [x21]
    mov w0, #0x50
    str w0, [x22, #0x38]
    mov w23, #20000
    msr cntps_tval_el1, x23
    mov x0, #1
    msr cntps_ctl_el1, x0
    mov x25, #0
    msr daifclr, #1
1:  wfi
    cmp x25, #5
    b.lt 1b
    mov x0, #5
{EXIT}
    .balign 0x800
vectors:
    .space 0x300
    ldr w1, [x21, #0xc]
    cmp w1, #29
    b.ne 2f
    add x25, x25, #1
    mov w3, #'.'
    str w3, [x22]
    msr cntps_tval_el1, x23
    b 3f
2:  ldr w3, [x22]
    str w3, [x22]
3:  str w1, [x21, #0x10]
    eret
"""


def run(command: list[str], typed: bytes = b"") -> tuple[int, bytes]:
    done = subprocess.run(command, input=typed, capture_output=True, timeout=60, check=False)
    return done.returncode, done.stdout


def run_exec(image: Path, typed: bytes = b"") -> tuple[int, bytes]:
    return run([sys.executable, "-m", "flexserve", "exec", str(image), "--max-instructions", LIMIT], typed)


def test_a_guest_hears_its_timer_and_its_console(tmp_path: Path) -> None:
    image = assemble(tmp_path, GUEST)
    assert run_exec(image) == (5, b".....")
    status, output = run_exec(image, b"typed\n")
    assert (status, output.replace(b".", b"")) == (5, b"typed\n")


@pytest.mark.peer
@pytest.mark.skipif(shutil.which(QEMU) is None, reason=f"{QEMU} is not installed: there is nothing to compare with")
def test_the_same_guest_on_qemu(tmp_path: Path) -> None:
    image = assemble(tmp_path, GUEST)
    machine = ("-M", "virt,secure=on,virtualization=on", "-cpu", "cortex-a72", "-m", "256", "-semihosting")
    outside = ("-display", "none", "-nic", "none", "-serial", "stdio", "-monitor", "none")
    assert run([QEMU, *machine, *outside, "-device", f"loader,file={image},cpu-num=0"]) == run_exec(image)
