"""What each packet does, without a socket and without GDB."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulator.core import SYSTEM_REGISTERS
from emulator.memory_map import SECURE_SRAM
from firmware.build import image_path
from flexserve.debug.subject import open_subject
from flexserve.gdb.contexts import Contexts
from flexserve.gdb.description import REGISTERS, target_xml
from flexserve.gdb.files import Files
from flexserve.gdb.session import Client, Detached
from flexserve.recipe import parse
from flexserve.stepper.session import Session

RUN = ("run", "--dram", "64M", "--tokens", "1")


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    session = Session(open_subject(parse(RUN)))
    yield session
    session.close()


@pytest.fixture
def client(session: Session) -> Client:
    session.timeline.seek(session.timeline.start)
    contexts = session.sources.addresses_of_symbol("contexts")[0]
    return Client(session, Contexts(contexts), Files([image_path("monitor")]), lambda: False, lambda line: None)


def symbol(client: Client, name: str) -> int:
    return client._session.sources.addresses_of_symbol(name)[0]


def pc(client: Client) -> int:
    return int.from_bytes(bytes.fromhex(client.answer(b"p20").decode()), "little")


def test_description_numbers_registers_as_they_are_sent(client: Client) -> None:
    described = ET.fromstring(target_xml()).iter("reg")  # noqa: S314 - our own text
    found = [(int(reg.attrib["regnum"]), reg.attrib["name"], int(reg.attrib["bitsize"])) for reg in described]
    assert found == [(register.number, register.name, register.bits) for register in REGISTERS]
    assert {register.system for register in REGISTERS if register.system} == set(SYSTEM_REGISTERS)
    for register in REGISTERS:
        assert len(client.answer(f"p{register.number:x}".encode())) == register.digits


def test_xml_is_read_in_parts(client: Client) -> None:
    whole, part = b"", b"m"
    while part[:1] == b"m":
        part = client.answer(f"qXfer:features:read:target.xml:{len(whole):x},100".encode())
        whole += part[1:]
    assert whole.decode() == target_xml()


def test_breakpoint_forward_and_back(client: Client) -> None:
    lock = symbol(client, "mem_lock")
    assert client.answer(f"Z0,{lock:x},4".encode()) == b"OK"
    assert client.answer(b"vCont;c") == b"T05thread:1;swbreak:;"
    first = client._session.timeline.position
    assert pc(client) == lock
    assert client.answer(b"vCont;c:1").startswith(b"T05")
    assert client._session.timeline.position > first
    assert client.answer(b"bc") == b"T05thread:1;swbreak:;"
    assert client._session.timeline.position == first
    assert client.answer(b"bc") == b"T05thread:1;replaylog:begin;"
    assert client.answer(f"z0,{lock:x},4".encode()) == b"OK"
    assert client.answer(b"c") == b"T05thread:1;replaylog:end;"
    assert client.answer(b"bs") == b"T05thread:1;"


def test_hardware_breakpoint_is_said_to_be_one(client: Client) -> None:
    client.answer(f"Z1,{symbol(client, 'mem_lock'):x},4".encode())
    assert client.answer(b"c") == b"T05thread:1;hwbreak:;"


def test_watchpoint_on_virtual_and_physical_memory(client: Client) -> None:
    table = client._session.timeline.machine.layout.ownership_base + 0x240
    assert client.answer(f"Z2,{table:x},8".encode()) == b"OK"
    assert client.answer(b"c") == f"T05thread:1;watch:{table:x};".encode()
    first = client._session.timeline.position
    client.answer(f"z2,{table:x},8".encode())
    client.answer(b"bc")
    assert client.answer(b"Qqemu.PhyMemMode:1") == b"OK"
    client.answer(f"Z2,{table:x},8".encode())
    assert client.answer(b"c") == f"T05thread:1;watch:{table:x};".encode()
    assert client._session.timeline.position == first


def test_range_step_ends_outside_the_range(client: Client) -> None:
    start = pc(client)
    assert client.answer(f"vCont;r{start:x},{start + 12:x}".encode()).startswith(b"T05")
    assert pc(client) == start + 12


def test_worlds_are_threads(client: Client) -> None:
    client.answer(f"Z0,{symbol(client, 'mem_lock'):x},4".encode())
    client.answer(b"c")
    assert client.answer(b"qfThreadInfo") == b"m1,2,3"
    assert bytes.fromhex(client.answer(b"qThreadExtraInfo,3").decode()) == b"secure world, kept by the monitor"
    assert client.answer(b"Hg3") == b"OK"
    function = bytes.fromhex(client.answer(b"p0").decode())
    assert int.from_bytes(function, "little") == 0xC700_0111
    assert client.answer(b"p1f") == b"x" * 16
    assert client.answer(b"Hg9") == b"E16"


def test_memory_is_read_as_far_as_there_is_any(client: Client) -> None:
    end = SECURE_SRAM.end
    client.answer(b"Qqemu.PhyMemMode:1")
    assert len(client.answer(f"m{end - 4:x},10".encode())) == 8
    assert client.answer(f"m{end:x},4".encode()) == b"E0e"


def test_writes_are_part_of_the_run(client: Client) -> None:
    client.answer(b"vCont;s")
    assert client.answer(b"P5=efbeadde00000000") == b"OK"
    assert client.answer(f"M{SECURE_SRAM.end - 8:x},4:01020304".encode()) == b"OK"
    assert client.answer(f"X{SECURE_SRAM.end - 4:x},2:}}".encode()) == b"E16"
    client.answer(b"vCont;s")
    client.answer(b"bs")
    client.answer(b"bs")
    assert client.answer(b"p5") != b"efbeadde00000000"
    client.answer(b"vCont;s")
    assert client.answer(b"p5") == b"efbeadde00000000"
    assert client.answer(f"m{SECURE_SRAM.end - 8:x},4".encode()) == b"01020304"


def test_monitor_reaches_the_steppers_commands(client: Client) -> None:
    def monitor(command: str) -> str:
        return bytes.fromhex(client.answer(b"qRcmd," + command.encode().hex().encode()).decode()).decode()

    assert "EL3" in monitor("info registers")
    assert "no command 'dance'" in monitor("dance")
    assert monitor("phys on") == "addresses are physical\n"
    assert client.answer(b"qqemu.PhyMemMode") == b"1"


def test_program_is_fetched(client: Client) -> None:
    name = client.answer(b"qXfer:exec-file:read::0,1000")[1:]
    opened = client.answer(b"vFile:open:" + name.hex().encode() + b",0,0")
    assert opened[:1] == b"F"
    descriptor = opened[1:].decode()
    assert client.answer(f"vFile:pread:{descriptor},4,0".encode()) == b"F4;\x7fELF"
    assert client.answer(f"vFile:close:{descriptor}".encode()) == b"F0"
    assert client.answer(f"vFile:pread:{descriptor},4,0".encode()) == b"F-1,9"
    assert client.answer(b"vFile:open:" + b"/etc/passwd".hex().encode() + b",0,0") == b"F-1,2"


def test_detaching_ends_the_conversation(client: Client) -> None:
    with pytest.raises(Detached):
        client.answer(b"D")


PLAUSIBLE = st.sampled_from(
    [b"m", b"M", b"X", b"p", b"P", b"g", b"G", b"Z0,", b"z2,", b"H", b"T", b"qXfer:", b"vFile:", b"qThreadExtraInfo,"]
)
TAILS = st.binary(max_size=24) | st.from_regex(rb"[0-9a-f,:;=]{0,16}", fullmatch=True)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(head=PLAUSIBLE | st.binary(max_size=3), tail=TAILS)
def test_nonsense_is_answered(client: Client, head: bytes, tail: bytes) -> None:
    """Whatever it is: an answer, or the end of the conversation; the run stands where it stood or has gone on."""
    if head[:1] in (b"c", b"v", b"b", b"s"):
        return
    try:
        assert isinstance(client.answer(head + tail), bytes)
    except Detached:
        assert head[:1] in (b"D", b"k")
