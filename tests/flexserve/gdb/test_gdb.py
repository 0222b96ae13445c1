"""Real gdb-multiarch on a real socket, and clients that misbehave."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulator.memory_map import DramLayout
from flexserve.gdb.packets import frame

GDB = "gdb-multiarch"
ROOT = Path(__file__).resolve().parents[3]
LIMIT_SECONDS = 60
LAYOUT = DramLayout(64 << 20)

needs_gdb = pytest.mark.skipif(shutil.which(GDB) is None, reason=f"{GDB} is not installed")


class Server:
    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "flexserve", "gdb", "--port", "0", *arguments]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout
        line = self.process.stdout.readline()
        found = re.search(r"target remote :(\d+)", line)
        assert found, line + self.process.communicate(timeout=LIMIT_SECONDS)[1]
        self.port = int(found[1])

    def gdb(self, *commands: str) -> str:
        arguments = [GDB, "-nx", "-batch", "-ex", "set pagination off", "-ex", f"target remote :{self.port}"]
        for command in commands:
            arguments += ["-ex", command]
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False)
        return done.stdout + done.stderr

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT_SECONDS)

    def close(self) -> str:
        self.process.terminate()
        return self.process.communicate(timeout=LIMIT_SECONDS)[1]


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server("--dram", "64M", "--tokens", "1")
    yield server
    server.close()


@needs_gdb
@pytest.mark.peer
def test_symbols_come_with_the_connection(server: Server) -> None:
    out = server.gdb("info registers pc scr_el3", "info symbol $pc", "info registers el3")
    assert "monitor_start" in out
    assert re.search(r"vbar_el3\s+0x", out)
    assert "SP EL=3 F I A D" in server.gdb("info registers cpsr")


@needs_gdb
@pytest.mark.peer
def test_breakpoint_backtrace_and_both_worlds(server: Server) -> None:
    out = server.gdb("break mem_lock", "continue", "backtrace", "info threads", "thread 3", "print/x $x0", "print $pc")
    assert re.search(r"#1 .* smc_entry", out)
    assert re.search(r"#2 .* vectors", out)
    assert "normal world, kept by the monitor" in out
    assert "= 0xc7000111" in out


@needs_gdb
@pytest.mark.peer
def test_watchpoint_names_the_instruction_that_took_a_page_and_time_runs_back(server: Server) -> None:
    entry = LAYOUT.ownership_base + 0x240
    out = server.gdb(
        f"watch *(unsigned char *){entry:#x}", "continue", "continue", "print $pc", "reverse-stepi", "x/i $pc",
        f"print *(unsigned char *){entry:#x}", "reverse-continue", "reverse-continue", "reverse-continue",
    )  # fmt: skip
    assert re.search(r"Old value = 1.*\n.*New value = 2", out)
    assert "ownership_move" in out
    assert "No more reverse-execution history" in out


@needs_gdb
@pytest.mark.peer
def test_step_and_reverse_step_by_source_line(server: Server) -> None:
    out = server.gdb("break mem_lock", "continue", "print $pc", "next", "reverse-next", "print $pc")
    places = re.findall(r"\$\d+ = .*(0x[0-9a-f]+) <", out)
    assert len(places) == 2
    assert places[0] == places[1]


@needs_gdb
@pytest.mark.peer
def test_monitor_commands(server: Server) -> None:
    out = server.gdb("break mem_lock", "continue", "monitor info backtrace", "monitor info pages", "monitor help")
    assert "SMC" in out
    assert "RESERVED (SECURE_DRAM)" in out


@needs_gdb
@pytest.mark.peer
def test_end_of_the_run_keeps_the_connection(server: Server) -> None:
    out = server.gdb("continue", "print $pc", "reverse-stepi", "print $pc", "monitor info events 1")
    assert out.count("No more reverse-execution history") == 1
    assert len(re.findall(r"^\$\d = ", out, re.MULTILINE)) == 2
    assert "token" in out.lower() or "SECURE_DONE" in out


@needs_gdb
@pytest.mark.peer
def test_crash_of_the_guest_keeps_the_connection(tmp_path: Path) -> None:
    image = tmp_path / "crash.bin"
    image.write_bytes(bytes.fromhex("200080d2" "00000000"))  # MOV X0, #1; UDF: the vectors at 0 lead back here
    server = Server("exec", str(image), "--load", f"0x40000000={image}", "--entry", "0x40000000")
    try:
        out = server.gdb("continue", "print $pc", "reverse-continue", "print/x $pc")
    finally:
        server.close()
    assert "SIGSEGV" in out or "No more reverse-execution history" in out
    assert "= 0x40000000" in out


def test_clients_that_send_garbage_or_vanish_leave_the_run_as_it_is(server: Server) -> None:
    with server.connect() as client:
        client.sendall(b"\x00\xff hello $$$#zz" + b"$" + b"A" * 40_000)
    with server.connect() as client:
        client.sendall(frame(b"vCont;c"))  # and does not wait for the answer
    time.sleep(0.2)
    with server.connect() as client:
        client.sendall(frame(b"?"))
        answer = b""
        while b"#" not in answer and (piece := client.recv(4096)):  # the acknowledgement comes by itself, or with it
            answer += piece
    assert b"T05thread:1" in answer
    said = server.close()
    assert said.count("a client has come") == 3
    assert "the run stands where it stood" in said
    assert "Traceback" not in said


def test_port_that_is_taken_is_said(server: Server) -> None:
    command = [sys.executable, "-m", "flexserve", "gdb", "--port", str(server.port)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False)
    assert done.returncode == 2
    assert "choose another with --port" in done.stderr
    assert done.stderr.count("\n") == 1
