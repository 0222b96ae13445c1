"""The messages between the two kernels, over SECURE_CALL (services) and SECURE_RPC (requests): declared once, here.

Both kernels are trusted by nobody but themselves: each side copies a descriptor out of shared memory once and validates
its copy. Shared memory is one extent of normal DRAM that the normal world names once, with SHARE, before any page is
locked; from then on every message names offsets in it. So no message can make the secure world read or write Flex-Mem,
or a page that the normal world cannot reach itself.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass


class Service(enum.IntEnum):
    """x1 of SECURE_CALL: what the normal world asks for. x1 of the final return is a ``ServiceStatus``."""

    POLL = 0  # nothing: the entry itself lets the secure kernel serve what is pending
    SHARE = 1
    OPEN = 2
    GENERATE = 3
    CLOSE = 4


class Request(enum.IntEnum):
    """x2 of SECURE_RPC: what the secure world asks back. x2 of SECURE_RESUME is a ``RequestStatus``."""

    ALLOCATE_PAGES = 1
    LOAD_BLOCKS = 2
    FREE_PAGES = 3
    TOKEN = 4
    PROGRESS = 5


class DriverOperation(enum.IntEnum):
    """x1 of DRIVER_CALL: what the secure world wants of the NPU's driver. x1 of its return is a ``DriverStatus``."""

    POWER = 1
    RUN = 2
    SUBMIT = 3
    WAIT = 4


@dataclass(frozen=True)
class Message:
    """One row: argument registers, result registers after the status, and what it means."""

    number: Service | Request | DriverOperation
    arguments: tuple[str, ...]
    results: tuple[str, ...]
    what: str


MESSAGES = (
    Message(Service.POLL, (), (), "Returns at once; pending recalls and revocations are served on the way in."),
    Message(Service.SHARE, ("base", "pages"), (), "Names the shared memory, once, before any page is locked."),
    Message(Service.OPEN, ("request_offset",), ("weight_pages",),
            "Opens the slot that an OpenRequest names: checks the package against it and loads its weights."),
    Message(Service.GENERATE, ("request_offset",), ("generated", "prompt_tokens", "stop"),
            "Continues the prompt of a GenerateRequest; the text leaves by TOKEN requests."),
    Message(Service.CLOSE, (), ("pages",), "Forgets the open model and gives every page back."),
    Message(Request.ALLOCATE_PAGES, ("pages",), ("base", "pages"),
            "Wants ALLOCATED pages: one extent of at most the number asked; 0 pages when memory is out."),
    Message(Request.LOAD_BLOCKS, ("block", "base", "pages"), (),
            "Wants blocks of the opened package (4 KiB each, counted from its start) in ALLOCATED pages, by DMA."),
    Message(Request.FREE_PAGES, ("base", "pages"), (),
            "Says that pages were released, and that those named were declined: all of them can be taken back."),
    Message(Request.TOKEN, ("token", "bytes", "more"), (),
            "One generated token, its text at the request's text offset; ``more``: another is about to be computed."),
    Message(Request.PROGRESS, ("pages", "total"), (), "Weight pages loaded so far, of how many."),
    Message(DriverOperation.POWER, (), (), "Powers and clocks the NPU, which every switch leaves off."),
    Message(DriverOperation.RUN, ("program", "words", "tasks"), ("raw_status",),
            "Runs a job to its end: chained tasks, the first of so many register commands at this DMA address."),
    Message(DriverOperation.SUBMIT, ("program", "words", "tasks"), (), "Begins a job and returns."),
    Message(DriverOperation.WAIT, (), ("raw_status",), "Waits for the end of the job that SUBMIT began."),
)


class DriverStatus(enum.IntEnum):
    """How the NPU's driver answers the secure world, which believes none of it: only the sums count."""

    DONE = 0
    JOB_FAILED = 1
    NO_JOB = 2


class RequestStatus(enum.IntEnum):
    """How the normal world answers a request."""

    DONE = 0
    OUT_OF_MEMORY = 1
    STORAGE_FAILED = 2
    UNKNOWN_REQUEST = 3


class ServiceStatus(enum.IntEnum):
    """How the secure world answers a service."""

    DONE = 0
    UNKNOWN_SERVICE = 1
    BAD_REQUEST = 2
    NOT_SHARED = 3
    ALREADY_SHARED = 4
    ALREADY_OPEN = 5
    NOT_OPEN = 6
    UNKNOWN_SLOT = 7
    MALFORMED_PACKAGE = 8
    WRONG_MODEL = 9
    OLD_VERSION = 10
    BAD_TAG = 11
    OUT_OF_MEMORY = 12
    STORAGE_FAILED = 13
    PROMPT_TOO_LONG = 14
    EMPTY_PROMPT = 15
    UNKNOWN_THREAD = 16
    BAD_GRANT = 17
    IN_USE = 18
    NOT_FINITE = 19
    OUT_OF_TABLES = 20


# The line a person gets, with x2 of the return as {detail}.
EXPLANATIONS: dict[int, str] = {
    ServiceStatus.UNKNOWN_SERVICE: "the secure world has no service {detail}",
    ServiceStatus.BAD_REQUEST: "the secure world refused the request: {detail:#x} is out of range",
    ServiceStatus.NOT_SHARED: "no shared memory was named yet: call SHARE first",
    ServiceStatus.ALREADY_SHARED: "shared memory is named once per boot",
    ServiceStatus.ALREADY_OPEN: "a model is open: close it first",
    ServiceStatus.NOT_OPEN: "no model is open: open a slot first",
    ServiceStatus.UNKNOWN_SLOT: "the device has no slot of this name: provision it or name another",
    ServiceStatus.MALFORMED_PACKAGE: "the package is truncated or malformed: pack the model again",
    ServiceStatus.WRONG_MODEL: "the package holds another model than its slot: pack or provision the right one",
    ServiceStatus.OLD_VERSION: "the package is version {detail}, older than its slot's minimum: pack a newer one",
    ServiceStatus.BAD_TAG: "chunk {detail} of the package fails authentication: it was changed, or packed for another"
                           " device; pack the model again for this one",
    ServiceStatus.OUT_OF_MEMORY: "normal memory lacks {detail} 4 KiB pages that the model needs: use a larger --dram",
    ServiceStatus.STORAGE_FAILED: "storage did not deliver block {detail} of the package",
    ServiceStatus.PROMPT_TOO_LONG: "the prompt's {detail} tokens are more than the model's context holds: shorten it",
    ServiceStatus.EMPTY_PROMPT: "the prompt holds no token: write something",
    ServiceStatus.BAD_GRANT: "the normal world granted pages at {detail:#x} that it may not or did not allocate",
    ServiceStatus.IN_USE: "the model service works on another call: wait for its end",
    ServiceStatus.NOT_FINITE: "the model's numbers overflow at generated token {detail}: its weights are out of range",
    ServiceStatus.OUT_OF_TABLES: "secure memory has no page left for the page tables of so large a model: use a larger"
                                 " --dram",
    ServiceStatus.UNKNOWN_THREAD: "no secure thread {detail} waits for a reply",
}


class StopReason(enum.IntEnum):
    """Why a generation ended."""

    LENGTH = 0
    END = 1


SLOT_NAME_BYTES = 32


@dataclass(frozen=True)
class OpenRequest:
    """Descriptor of OPEN in shared memory: the slot's name, UTF-8, zero-padded."""

    slot: str

    SIZE = SLOT_NAME_BYTES

    def pack(self) -> bytes:
        name = self.slot.encode()
        if len(name) > SLOT_NAME_BYTES:
            raise ValueError(f"slot name {self.slot!r} is longer than {SLOT_NAME_BYTES} bytes")
        return name.ljust(SLOT_NAME_BYTES, b"\0")

    @classmethod
    def unpack(cls, data: bytes) -> OpenRequest:
        """Raises UnicodeDecodeError (a ValueError) for a name that is no UTF-8."""
        return cls(data.rstrip(b"\0").decode())


@dataclass(frozen=True)
class GenerateRequest:
    """Descriptor of GENERATE in shared memory; offsets are bytes from the start of shared memory.

    ``text_size`` bounds the text of one token; ``temperature`` 0 is greedy; ``top_p`` is in (0, 1].
    """

    prompt_offset: int
    prompt_size: int
    text_offset: int
    text_size: int
    tokens: int
    temperature: float
    top_p: float

    _LAYOUT = struct.Struct("<QQQQQff")
    SIZE = _LAYOUT.size

    def pack(self) -> bytes:
        return self._LAYOUT.pack(self.prompt_offset, self.prompt_size, self.text_offset, self.text_size, self.tokens,
                                 self.temperature, self.top_p)

    @classmethod
    def unpack(cls, data: bytes) -> GenerateRequest:
        return cls(*cls._LAYOUT.unpack(data))
