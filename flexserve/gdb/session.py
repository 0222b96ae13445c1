"""One client of the server: what each packet asks, and what is answered.

A packet that makes no sense is answered with an error and changes nothing; an unknown one with nothing, as the protocol
wants it. Nothing that a client sends ends the session.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from emulator.debug.edit import Edit, SetMemory, SetRegister, SetSystemRegister, SetVector
from emulator.debug.timeline import Reason, Stopped, StopSet
from emulator.debug.walk import read_virtual, to_physical
from emulator.machine import Stop
from emulator.memory_map import PAGE_SIZE
from emulator.stops import TooManyStops, Watch
from flexserve.debug.scene import Refused
from flexserve.stepper.command import Quit
from flexserve.stepper.commands import perform
from flexserve.stepper.session import Session

from .contexts import RUNNING, Contexts, Thread, general
from .description import IN_ALL, PSTATE, REGISTERS, VECTORS, decode, encode, target_xml
from .files import Files
from .packets import LARGEST

OK, NOTHING = b"OK", b""
BAD_REQUEST, NO_MEMORY, NO_ROOM = b"E16", b"E0e", b"E0c"  # EINVAL, EFAULT, ENOMEM
SIGNALS = {Reason.INTERRUPTED: 2, Reason.LOST: 11}
TRAP = 5
WATCH_NAMES = {(False, True): "watch", (True, False): "rwatch", (True, True): "awatch"}
ACCESSES = {"2": (False, True), "3": (True, False), "4": (True, True)}  # of Z packets: read, write
STEPS_AT_ONCE = 1000  # of a range, between two looks at the client
FEATURES = (
    f"PacketSize={LARGEST:x};QStartNoAckMode+;swbreak+;hwbreak+;vContSupported+;ReverseStep+;ReverseContinue+;"
    "qXfer:features:read+;qXfer:threads:read+;qXfer:exec-file:read+;QNonStop-;multiprocess-"
)


class Detached(Exception):
    """The client is done."""


@dataclass
class Switches:
    """What the client has chosen."""

    acknowledges: bool = True
    physical: bool = False
    thread: int = RUNNING


class Client:
    """``interrupted`` says whether the client wants a run to stop; ``say`` takes lines for its console."""

    def __init__(
        self,
        session: Session,
        contexts: Contexts,
        files: Files,
        interrupted: Callable[[], bool],
        say: Callable[[str], None],
    ) -> None:
        self.switches = Switches()
        self._session = session
        self._contexts = contexts
        self._files = files
        self._interrupted = interrupted
        self._say = say
        self._soft: set[int] = set()
        self._hard: set[int] = set()
        self._watches: set[Watch] = set()
        self._stopped = Stopped(Reason.STEP, session.timeline.position)
        # By how a packet begins; the first that fits counts.
        self._handlers: Mapping[str, Callable[[str], bytes]] = {
            "qSupported": self._supported,
            "QStartNoAckMode": self._no_acknowledgements,
            "qXfer:": self._transfer,
            "qfThreadInfo": self._list_threads,
            "qsThreadInfo": self._no_more,
            "qThreadExtraInfo,": self._thread_name,
            "qC": self._current_thread,
            "qAttached": self._attached,
            "qRcmd,": self._monitor,
            "qqemu.PhyMemMode": self._query_physical,
            "Qqemu.PhyMemMode:": self._set_physical,
            "vCont?": self._can_resume,
            "vCont;": self._resume,
            "vFile:": self._file,
            "vKill": self._detach,
            "H": self._select_thread,
            "T": self._is_alive,
            "?": self._why,
            "g": self._read_registers,
            "G": self._write_registers,
            "p": self._read_register,
            "P": self._write_register,
            "m": self._read_memory,
            "M": self._write_memory,
            "X": self._write_binary,
            "s": self._step,
            "c": self._continue,
            "bs": self._reverse_step,
            "bc": self._reverse_continue,
            "Z": self._insert,
            "z": self._remove,
            "R": self._restart,
            "!": self._ok,
            "D": self._detach,
            "k": self._detach,
        }

    def answer(self, content: bytes) -> bytes:
        """To one packet. Raises Detached."""
        text = content.decode("latin-1")
        try:
            for prefix, handler in self._handlers.items():
                if text.startswith(prefix):
                    return handler(text[len(prefix) :])
        except (ValueError, IndexError, KeyError, OverflowError):
            return BAD_REQUEST
        except TooManyStops:
            return NO_ROOM
        return NOTHING

    # --- what there is --------------------------------------------------------------------------------------------

    def _supported(self, _: str) -> bytes:
        return FEATURES.encode()

    def _no_acknowledgements(self, _: str) -> bytes:
        self.switches.acknowledges = False
        return OK

    def _transfer(self, text: str) -> bytes:
        """``object:read:annex:offset,length``."""
        name, way, annex, window = text.split(":", 3)
        offset, length = (int(part, 16) for part in window.split(","))
        objects: Mapping[tuple[str, str], Callable[[], str]] = {
            ("features", "target.xml"): target_xml,
            ("threads", ""): self._threads_xml,
        }
        if way != "read":
            return NOTHING
        if name == "exec-file":
            content = self._files.main.encode()
        elif (name, annex) in objects:
            content = objects[name, annex]().encode()
        else:
            return b"E00"
        part = content[offset : offset + min(length, LARGEST - 1)]
        return (b"m" if offset + len(part) < len(content) else b"l") + part

    def _threads_xml(self) -> str:
        rows = "".join(
            f'<thread id="{thread.number:x}" core="0" name="{thread.name}"/>' for thread in self._threads().values()
        )
        return f'<?xml version="1.0"?><threads>{rows}</threads>'

    def _threads(self) -> dict[int, Thread]:
        return {thread.number: thread for thread in self._contexts.threads(self._session.timeline.machine)}

    def _list_threads(self, _: str) -> bytes:
        return b"m" + ",".join(f"{number:x}" for number in self._threads()).encode()

    def _thread_name(self, text: str) -> bytes:
        return self._threads()[int(text, 16)].name.encode().hex().encode()

    def _select_thread(self, text: str) -> bytes:
        number = int(text[1:], 16)
        if number not in (0, -1) and number not in self._threads():
            return BAD_REQUEST
        if text[0] == "g":
            self.switches.thread = number if number > 0 else RUNNING
        return OK

    def _is_alive(self, text: str) -> bytes:
        return OK if int(text, 16) in self._threads() else BAD_REQUEST

    # --- registers and memory -----------------------------------------------------------------------------------

    def _thread(self) -> Thread:
        threads = self._threads()
        return threads.get(self.switches.thread, threads[RUNNING])

    def _read_registers(self, _: str) -> bytes:
        machine, thread = self._session.timeline.machine, self._thread()
        return "".join(encode(one, self._contexts.read(machine, thread, one)) for one in REGISTERS[:IN_ALL]).encode()

    def _read_register(self, text: str) -> bytes:
        register = general(int(text, 16))
        value = self._contexts.read(self._session.timeline.machine, self._thread(), register)
        return encode(register, value).encode()

    def _write_registers(self, text: str) -> bytes:
        at = 0
        for register in REGISTERS[:IN_ALL]:
            part = text[at : at + register.digits]
            at += register.digits
            if "x" not in part and encode(register, self._value(register.number)) != part:
                self._set(register.number, decode(register, part))
        return OK

    def _write_register(self, text: str) -> bytes:
        number, value = text.split("=")
        register = general(int(number, 16))
        self._set(register.number, decode(register, value))
        return OK

    def _value(self, number: int) -> int | None:
        return self._contexts.read(self._session.timeline.machine, self._thread(), REGISTERS[number])

    def _set(self, number: int, value: int) -> None:
        if self._thread().number != RUNNING:
            raise ValueError("what the monitor keeps is memory: write it there")
        edit: Edit
        if number <= PSTATE:
            edit = SetRegister(number, value)
        elif number <= PSTATE + VECTORS:
            edit = SetVector(number - PSTATE - 1, value)
        else:
            edit = SetSystemRegister(REGISTERS[number].system, value)
        self._session.timeline.edit(edit)

    def _read_memory(self, text: str) -> bytes:
        address, size = (int(part, 16) for part in text.split(","))
        found = self._memory(address, min(size, LARGEST // 2))
        return found.hex().encode() if found or not size else NO_MEMORY

    def _memory(self, address: int, size: int) -> bytes:
        """As much as there is."""
        machine = self._session.timeline.machine
        found = b""
        while len(found) < size:
            at = address + len(found) & (1 << 64) - 1
            part = min(size - len(found), PAGE_SIZE - at % PAGE_SIZE)
            try:
                found += machine.read_physical(at, part) if self.switches.physical else read_virtual(machine, at, part)
            except ValueError:
                break
        return found

    def _write_memory(self, text: str) -> bytes:
        place, data = text.split(":", 1)
        return self._store(place, bytes.fromhex(data))

    def _write_binary(self, text: str) -> bytes:
        place, data = text.split(":", 1)
        return self._store(place, data.encode("latin-1"))

    def _store(self, place: str, data: bytes) -> bytes:
        address, size = (int(part, 16) for part in place.split(","))
        if len(data) != size:
            return BAD_REQUEST
        timeline = self._session.timeline
        edits = []
        try:
            while data:
                part, data = data[: PAGE_SIZE - address % PAGE_SIZE], data[PAGE_SIZE - address % PAGE_SIZE :]
                physical = address if self.switches.physical else to_physical(timeline.machine, address)
                timeline.machine.read_physical(physical, len(part))  # is there memory?
                edits.append(SetMemory(physical, part))
                address += len(part)
        except ValueError:
            return NO_MEMORY
        for edit in edits:
            timeline.edit(edit)
        return OK

    # --- running ----------------------------------------------------------------------------------------------------

    def _why(self, _: str) -> bytes:
        return self._report()

    def _can_resume(self, _: str) -> bytes:
        return b"vCont;c;C;s;S;t;r"

    def _resume(self, text: str) -> bytes:
        """The first action counts: there is one core."""
        action = text.partition(";")[0].partition(":")[0]
        if action[0] in "sS":
            return self._arrive(self._session.timeline.step())
        if action[0] == "r":
            first, last = (int(part, 16) for part in action[1:].split(","))
            return self._arrive(self._step_through(first, last))
        if action[0] in "cC":
            return self._arrive(self._session.timeline.resume(self._stops(), self._interrupted))
        return BAD_REQUEST if action[0] != "t" else OK

    def _step_through(self, first: int, last: int) -> Stopped:
        """Until the program counter leaves the range, or meets a breakpoint in it."""
        timeline, steps = self._session.timeline, 0
        breakpoints = self._soft | self._hard
        while True:
            stopped = timeline.step()
            steps += 1
            pc = timeline.machine.core.pc
            if stopped.reason is not Reason.STEP or not first <= pc < last:
                return stopped
            if pc in breakpoints:
                return Stopped(Reason.BREAKPOINT, stopped.position)
            if steps % STEPS_AT_ONCE == 0 and self._interrupted():
                return Stopped(Reason.INTERRUPTED, stopped.position)

    def _step(self, _: str) -> bytes:
        return self._arrive(self._session.timeline.step())

    def _continue(self, _: str) -> bytes:
        return self._arrive(self._session.timeline.resume(self._stops(), self._interrupted))

    def _reverse_step(self, _: str) -> bytes:
        return self._arrive(self._session.timeline.back())

    def _reverse_continue(self, _: str) -> bytes:
        return self._arrive(self._session.timeline.reverse(self._stops()))

    def _restart(self, _: str) -> bytes:
        self._session.timeline.seek(self._session.timeline.start)
        return NOTHING

    def _arrive(self, stopped: Stopped) -> bytes:
        self._stopped = stopped
        return self._report()

    def _stops(self) -> StopSet:
        return StopSet(frozenset(self._soft | self._hard), frozenset(self._watches))

    def _report(self) -> bytes:
        """A stop reply. The end of a run is the end of a recording: one can go back from it."""
        stopped = self._stopped
        facts = [f"T{SIGNALS.get(stopped.reason, TRAP):02x}thread:{RUNNING:x}"]
        if stopped.reason is Reason.BREAKPOINT:
            facts.append("hwbreak:" if self._session.timeline.machine.core.pc in self._hard else "swbreak:")
        elif stopped.reason is Reason.WATCHPOINT and isinstance(stopped.detail, Stop) and stopped.detail.access:
            access = stopped.detail.access
            facts.append(f"{WATCH_NAMES[access.watch.read, access.watch.write]}:{access.address:x}")
        elif stopped.reason is Reason.ENDED:
            self._say(f"the run has ended: {stopped.detail}")
            facts.append("replaylog:end")
        elif stopped.reason is Reason.START:
            facts.append("replaylog:begin")
        elif stopped.reason is Reason.LOST:
            self._say(f"the machine cannot go on: {stopped.detail}")
        return (";".join(facts) + ";").encode()

    # --- breakpoints --------------------------------------------------------------------------------------------------

    def _insert(self, text: str) -> bytes:
        return self._change_stop(text, insert=True)

    def _remove(self, text: str) -> bytes:
        return self._change_stop(text, insert=False)

    def _change_stop(self, text: str, *, insert: bool) -> bytes:
        kind, address, size = text.partition(";")[0].split(",")
        at = int(address, 16)
        if kind in "01":
            addresses = self._hard if kind == "1" else self._soft
            addresses.add(at) if insert else addresses.discard(at)
            return OK
        if kind not in ACCESSES:
            return NOTHING
        read, write = ACCESSES[kind]
        watch = Watch(at, int(size, 16), read, write, self.switches.physical)
        self._watches.add(watch) if insert else self._watches.discard(watch)
        return OK

    # --- the rest ---------------------------------------------------------------------------------------------------

    def _monitor(self, text: str) -> bytes:
        command = bytes.fromhex(text).decode(errors="replace").strip()
        try:
            told = self._physical_mode(command) or perform(self._session, command).plain
        except Refused as refused:
            told = str(refused)
        except Quit:
            told = "detach, or quit, to end"
        return (told + "\n").encode().hex().encode()

    def _physical_mode(self, command: str) -> str | None:
        """``monitor phys on|off``: what addresses of memory and new watchpoints mean; None: another command."""
        if found := re.fullmatch(r"phys(?:ical)?(?:\s+(on|off))?", command):
            self.switches.physical = found[1] == "on" if found[1] else self.switches.physical
            return f"addresses are {'physical' if self.switches.physical else 'virtual, as the core translates them'}"
        return None

    def _query_physical(self, _: str) -> bytes:
        return b"1" if self.switches.physical else b"0"

    def _set_physical(self, text: str) -> bytes:
        self.switches.physical = int(text) != 0
        return OK

    def _file(self, text: str) -> bytes:
        return self._files.answer(text)

    def _detach(self, _: str) -> bytes:
        raise Detached

    def _ok(self, _: str) -> bytes:
        return OK

    def _attached(self, _: str) -> bytes:
        return b"1"

    def _current_thread(self, _: str) -> bytes:
        return f"QC{RUNNING:x}".encode()

    def _no_more(self, _: str) -> bytes:
        return b"l"
