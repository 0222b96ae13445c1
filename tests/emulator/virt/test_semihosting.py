"""Semihosting calls: what the guest gets, and that QEMU gives it the same."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulator.virt.semihosting import FAILED, Host, Operation, Semihosting
from flexserve.cli import execute
from tests.emulator.bare import CODE, PageTable, assemble, bare_machine, write_register
from tests.flexserve import test_exec

QEMU = "qemu-system-aarch64"
BLOCK, TEXT = 0x4300_0000, 0x4300_1000
HZ = 1000
HEAP = (0x4400_0000, 0x4500_0000)


class Rig:
    """A core that makes one call after the other, and a host that writes down what it is asked."""

    def __init__(self, typed: bytes = b"") -> None:
        self.machine = bare_machine()
        self.image = assemble("_start: hlt #0xf000\nb _start")
        self.machine.load(self.image)
        self.machine.reset(CODE)
        self.printed, self.errors = bytearray(), bytearray()
        self.exits: list[int] = []
        self.typed = bytearray(typed)
        host = Host(
            write=self.printed.extend, write_error=self.errors.extend, read=self._read, ticks=lambda: 12_345,
            tick_hz=HZ, start=1000, command_line="image.elf", heap=HEAP, exit=self.exits.append,
        )  # fmt: skip
        self.machine.answer_semihosting(Semihosting(self.machine, host).answer)

    def _read(self, size: int) -> bytes:
        part = bytes(self.typed[:size])
        del self.typed[:size]
        return part

    def call(self, operation: int, parameter: int) -> int:
        core = self.machine.core
        core.pc, core.x[0], core.x[1] = CODE, operation, parameter
        self.machine.run(self.machine.instructions + 1)
        assert core.pc == CODE + 4
        return core.x[0]

    def ask(self, operation: int, *fields: int) -> int:
        """With a block of parameters."""
        self.machine.write_physical(BLOCK, b"".join(field.to_bytes(8, "little") for field in fields))
        return self.call(operation, BLOCK)

    def text(self, data: bytes) -> tuple[int, int]:
        self.machine.write_physical(TEXT, data)
        return TEXT, len(data)

    def open(self, name: bytes, mode: int) -> int:
        address, length = self.text(name + b"\0")
        return self.ask(Operation.OPEN, address, mode, length - 1)


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig(b"typed")
    yield rig
    rig.machine.close()


def test_output_goes_where_the_mode_says(rig: Rig) -> None:
    handles = [rig.open(b":tt", mode) for mode in (0, 4, 8)]
    assert len(set(handles)) == 3
    address, length = rig.text(b"hello")
    assert [rig.ask(Operation.WRITE, handle, address, length) for handle in handles] == [5, 0, 0]
    assert bytes(rig.printed + rig.errors) == b"hellohello"
    assert [rig.ask(Operation.ISTTY, handle) for handle in handles] == [1, 1, 1]
    assert [rig.ask(Operation.CLOSE, handles[1]) for _ in range(2)] == [0, FAILED]
    assert rig.ask(Operation.WRITE, handles[1], address, length) == 5
    assert rig.open(b":tt", 4) == handles[1]


def test_text_and_characters_are_printed(rig: Rig) -> None:
    address, _ = rig.text(b"text that is long\0not this")
    rig.call(Operation.WRITE0, address)
    rig.call(Operation.WRITEC, address + 3)
    assert rig.printed == b"text that is longt"


def test_input_is_read_to_its_end(rig: Rig) -> None:
    handle = rig.open(b":tt", 0)
    assert rig.ask(Operation.READ, handle, TEXT, 3) == 0
    assert rig.call(Operation.READC, 0) == ord("e")
    assert rig.ask(Operation.READ, handle, TEXT + 3, 3) == 2
    assert rig.machine.read_physical(TEXT, 4) == b"typd"
    assert (rig.ask(Operation.READ, handle, TEXT, 3), rig.call(Operation.READC, 0)) == (3, FAILED)


def test_files_of_the_host_are_out_of_reach(rig: Rig) -> None:
    assert rig.open(b"/etc/passwd", 0) == FAILED
    assert rig.call(Operation.ERRNO, 0) != 0
    assert rig.open(b":tt", 12) == FAILED
    assert rig.call(0x12, BLOCK) == FAILED  # SYS_SYSTEM


def test_features_are_told(rig: Rig) -> None:
    handle = rig.open(b":semihosting-features", 0)
    assert rig.ask(Operation.READ, handle, TEXT, 8) == 3
    assert rig.machine.read_physical(TEXT, 5) == b"SHFB\x03"
    assert (rig.ask(Operation.ISTTY, handle), rig.open(b":semihosting-features", 4)) == (0, FAILED)


def test_time_is_guest_time(rig: Rig) -> None:
    assert (rig.call(Operation.CLOCK, 0), rig.call(Operation.TIME, 0)) == (1234, 1012)
    assert (rig.call(Operation.TICKFREQ, 0), rig.call(Operation.ELAPSED, BLOCK)) == (HZ, 0)
    assert int.from_bytes(rig.machine.read_physical(BLOCK, 8), "little") == 12_345


def test_command_line_and_heap_are_told(rig: Rig) -> None:
    assert rig.ask(Operation.GET_CMDLINE, TEXT, 9) == FAILED
    assert rig.ask(Operation.GET_CMDLINE, TEXT, 10) == 0
    assert rig.machine.read_physical(TEXT, 10) == b"image.elf\0"
    assert rig.machine.read_physical(BLOCK + 8, 8) == (9).to_bytes(8, "little")
    assert rig.ask(Operation.HEAPINFO, TEXT) == 0
    begin, end = (address.to_bytes(8, "little") for address in HEAP)
    assert rig.machine.read_physical(TEXT, 32) == begin + end + end + begin


@pytest.mark.parametrize("operation", [Operation.EXIT, Operation.EXIT_EXTENDED])
@pytest.mark.parametrize(("reason", "status", "given"), [(0x20026, 7, 7), (0x20026, 0x1FF, 0xFF), (0x20024, 0, 1)])
def test_exit_gives_a_status(rig: Rig, operation: int, reason: int, status: int, given: int) -> None:
    rig.ask(operation, reason, status)
    assert rig.exits == [given]


def test_parameters_are_virtual_addresses(rig: Rig) -> None:
    """And what the caller cannot reach, semihosting does not reach for it."""
    table = PageTable(rig.machine, 0x4380_0000)
    flags = 1 << 10 | 0b11 << 8
    table.map(CODE & ~0xFFF, CODE & ~0xFFF, flags)
    table.map(0x10_0000, TEXT, flags)
    rig.machine.write_physical(TEXT, b"mapped\0")
    for name, value in {"TTBR0_EL3": table.base, "TCR_EL3": 25, "SCTLR_EL3": 0x30C5_0831}.items():
        write_register(rig.machine, name, value)
    rig.call(Operation.WRITE0, 0x10_0000)
    assert rig.printed == b"mapped"
    assert rig.call(Operation.WRITE0, TEXT) == FAILED
    assert rig.printed == b"mapped"


def test_hlt_is_undefined_where_nobody_answers_and_with_other_numbers(rig: Rig) -> None:
    other = assemble("_start: hlt #0xf001")
    rig.machine.load(other)
    rig.machine.core.pc = CODE
    write_register(rig.machine, "VBAR_EL3", CODE)
    rig.machine.write_physical(CODE + 0x200, bytes.fromhex("7f2003d5"))  # WFI
    assert rig.machine.run().pc == CODE + 0x200
    assert rig.machine.core.read_sysreg("ESR_EL3") == 0x0200_0000


# --- the same on QEMU -------------------------------------------------------------------------------------------------

# Each call's result is printed as eight bytes.
CALLS = """
.macro call operation, fields:vararg
    adr x1, 1f
    mov w0, #\\operation
    hlt #0xf000
    b 2f
    .balign 8
1:  .quad \\fields
2:  bl print
.endm
.macro open name, mode, length
    adr x2, \\name
    adr x1, parameters
    mov x3, #\\mode
    mov x4, #\\length
    stp x2, x3, [x1]
    str x4, [x1, #16]
    mov w0, #1
    hlt #0xf000
    mov x19, x0
.endm
    open console, 4, 3
    mov x20, x19
    mov x0, x20
    bl print
    open console, 0, 3
    mov x0, x19
    bl print
    open console, 8, 3
    mov x0, x19
    bl print
    open features, 0, 21
    mov x0, x19
    bl print
    call 0x02, 3, 0
    call 0x02, 3, 0
    call 0x09, 4, 0
    call 0x0a, 4, 2
    call 0x0a, 4, 6
    call 0x0a, 1, 0
    call 0x09, 9, 0
    call 0x08, -1, 0
    call 0x08, 5, 0
    call 0x05, 77, 0x48000000, 12
    call 0x06, 77, 0x48000000, 12
    call 0x0c, 4, 0
    call 0x31, 0
    open console, 4, 3
    mov x0, x19
    bl print
    mov x0, #9
    b exit
print:
    adr x1, result
    str x0, [x1]
    adr x2, parameters
    stp x20, x1, [x2]
    mov x3, #8
    str x3, [x2, #16]
    mov x1, x2
    mov w0, #5
    hlt #0xf000
    ret
    .balign 8
parameters: .quad 0, 0, 0
result: .quad 0
console: .asciz ":tt"
features: .asciz ":semihosting-features"
    .balign 8
"""
TICK_FREQUENCY = 16  # which result differs: QEMU counts nanoseconds


@pytest.mark.peer
@pytest.mark.skipif(not shutil.which(QEMU), reason=f"{QEMU} is not installed: nothing to compare semihosting with")
def test_calls_give_what_they_give_on_qemu(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    image = test_exec.assemble(tmp_path, CALLS + test_exec.EXIT)
    status = execute(["exec", str(image), "--uart", "none"])
    ours = _results(capfdbinary.readouterr().out)
    command = [QEMU, "-M", "virt,secure=on,virtualization=on", "-cpu", "cortex-a72", "-m", "256"]
    quiet = ["-display", "none", "-serial", "none", "-monitor", "none", "-nic", "none", "-semihosting"]
    done = subprocess.run(
        [*command, *quiet, "-device", f"loader,file={image},cpu-num=0"], capture_output=True, check=False, timeout=60
    )
    theirs = _results(done.stdout)
    del ours[TICK_FREQUENCY], theirs[TICK_FREQUENCY]
    assert (status, ours) == (done.returncode, theirs)


def _results(output: bytes) -> list[int]:
    return [int.from_bytes(output[at : at + 8], "little", signed=True) for at in range(0, len(output), 8)]
