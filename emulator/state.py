"""The whole state of a machine: registers, TLBs, filters, DMA in flight, devices, memory. See `Machine.save`.

In memory a state shares every page with the states before it that has not changed since. In a file it is a sequence of
length-prefixed parts that any host reads.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Protocol, TypeAlias, cast

from emulator.memory_map import PAGE_SIZE
from emulator.native import ffi, lib

if TYPE_CHECKING:
    from emulator.native._native import Machine as NativeMachine

MAGIC, VERSION = b"FlexServe state\n", 1
DIRTY_BATCH = 4096
CHANNELS = 4
PART = struct.Struct("<QQ")  # bytes packed, bytes unpacked
PAGES_IN_PART = 4096
LARGEST_PART = 1 << 30  # bytes unpacked
LARGEST_HEAD = 1 << 26
EMPTY_PAGE = bytes(PAGE_SIZE)

Plain: TypeAlias = "int | list[int]"
DeviceState: TypeAlias = dict[str, Plain]


class StateError(Exception):
    """This is no state, a damaged one, or one of another machine; the message says which."""


NOT_OURS = (LookupError, TypeError, ArithmeticError, ValueError, AttributeError, RecursionError)
DAMAGES = (*NOT_OURS, zlib.error, struct.error)


class Holder(Protocol):
    """What has state: registers by offset, and the attributes that ``held`` names (integers, or sequences of them)."""

    values: dict[int, int]

    @property
    def held(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class MachineState:
    """``core``: all that is native, as state_api.h has it; ``devices`` by their place; ``media`` that DMA may write, by
    channel; ``pages`` that are not all zeros, by address.
    """

    core: bytes
    devices: Mapping[int, DeviceState]
    media: Mapping[int, bytes]
    pages: Mapping[int, bytes]

    def write(self, file: BinaryIO) -> None:
        """Append to ``file``; the same state gives the same bytes."""
        head = {
            "version": VERSION,
            "devices": {str(number): self.devices[number] for number in sorted(self.devices)},
            "media": sorted(self.media),
            "pages": len(self.pages),
        }
        file.write(MAGIC)
        _write_part(file, json.dumps(head, separators=(",", ":")).encode())
        _write_part(file, self.core)
        for channel in sorted(self.media):
            _write_part(file, self.media[channel])
        addresses = sorted(self.pages)
        for first in range(0, len(addresses), PAGES_IN_PART):
            some = addresses[first : first + PAGES_IN_PART]
            _write_part(file, struct.pack(f"<{len(some)}Q", *some))
            _write_part(file, b"".join(self.pages[address] for address in some))

    @classmethod
    def read(cls, file: BinaryIO) -> MachineState:
        """What `write` wrote. Raises StateError."""
        if file.read(len(MAGIC)) != MAGIC:
            raise StateError("this is no machine state")
        try:
            head = json.loads(_read_part(file, LARGEST_HEAD))
            if head["version"] != VERSION:
                raise StateError(f"the state has version {head['version']}, this is version {VERSION}")
            devices = {int(number): _checked(state) for number, state in head["devices"].items()}
            core = _read_part(file)
            media = {int(channel): _read_part(file) for channel in head["media"]}
            return cls(core, devices, media, dict(_read_pages(file, int(head["pages"]))))
        except DAMAGES as error:
            raise StateError(f"the state is damaged: {error!r}") from error


def _checked(state: object) -> DeviceState:
    values = cast("dict[str, object]", state).values()
    if not all(isinstance(one, int) for value in values for one in (value if isinstance(value, list) else (value,))):
        raise StateError("the state is damaged: devices hold numbers only")
    return cast("DeviceState", state)


def _write_part(file: BinaryIO, data: bytes) -> None:
    packed = zlib.compress(data, 1)
    file.write(PART.pack(len(packed), len(data)))
    file.write(packed)


def _read_part(file: BinaryIO, largest: int = LARGEST_PART) -> bytes:
    packed, unpacked = PART.unpack(file.read(PART.size))
    if unpacked > largest or packed > largest + largest // 64 + 64:  # what does not compress grows a little
        raise StateError("the state is damaged: a part is too large")
    inflate = zlib.decompressobj()
    data = inflate.decompress(file.read(packed), unpacked + 1)
    if len(data) != unpacked or not inflate.eof:
        raise StateError("the state is damaged: a part has another length than it says")
    return data


def _read_pages(file: BinaryIO, count: int) -> Iterator[tuple[int, bytes]]:
    while count > 0:
        addresses = _read_part(file, PAGES_IN_PART * 8)
        contents = _read_part(file, PAGES_IN_PART * PAGE_SIZE)
        some = [int(address) for (address,) in struct.iter_unpack("<Q", addresses)]
        if not some or len(contents) != len(some) * PAGE_SIZE:
            raise StateError("the state is damaged: pages and their addresses do not agree")
        if any(address % PAGE_SIZE for address in some):
            raise StateError("the state is damaged: pages that begin at no page")
        for index, address in enumerate(some):
            yield address, contents[index * PAGE_SIZE : (index + 1) * PAGE_SIZE]
        count -= len(some)


class StateKeeper:
    """Takes the state of one machine and puts it back; knows what memory held when it last did either."""

    def __init__(self, native: NativeMachine) -> None:
        self._native = native
        self._page = ffi.new("uint8_t[]", PAGE_SIZE)
        self._core = ffi.new("uint8_t[]", PAGE_SIZE)
        self._pages: dict[int, bytes] = {}
        self._media: dict[int, bytes] = {}

    def save(self, devices: Mapping[int, Holder]) -> MachineState:
        core = self._saved_core()
        self._pages = self._pages.copy()
        for address in self._dirty():
            lib.memory_read(self._native, address, self._page, PAGE_SIZE)
            page = bytes(ffi.buffer(self._page))
            if page == EMPTY_PAGE:
                self._pages.pop(address, None)
            else:
                self._pages[address] = page
        self._media = {channel: self._saved_medium(channel, view) for channel, view in self._writable_media()}
        states = {number: _device_state(device) for number, device in devices.items()}
        return MachineState(core, states, self._media, self._pages)

    def _saved_core(self) -> bytes:
        """Room that was enough once mostly is again."""
        while (size := int(lib.state_save(self._native, self._core, len(self._core)))) > len(self._core):
            self._core = ffi.new("uint8_t[]", 2 * size)
        return bytes(ffi.buffer(self._core, size))

    def restore(self, state: MachineState, devices: Mapping[int, Holder]) -> None:
        """Raises StateError if it is another machine's; the machine is of no use then."""
        changed = set(self._dirty())
        changed.update(address for address, page in self._pages.items() if state.pages.get(address) is not page)
        changed.update(address for address in state.pages if address not in self._pages)
        for address in changed:
            if not lib.memory_write(self._native, address, state.pages.get(address, EMPTY_PAGE), PAGE_SIZE):
                raise StateError(f"the state is that of another machine: there is no memory at {address:#x}")
        for channel, view in self._writable_media():
            if len(state.media.get(channel, b"")) != len(view):
                raise StateError("the state is that of a machine with another medium")
            view[:] = state.media[channel]
        if devices.keys() != state.devices.keys():
            raise StateError("the state is that of a machine with other devices")
        for number, device in devices.items():
            _restore_device(device, state.devices[number])
        if not lib.state_restore(self._native, state.core, len(state.core)):
            raise StateError("the state is that of another machine, or damaged")
        self._dirty()
        self._pages, self._media = dict(state.pages), dict(state.media)

    def _dirty(self) -> list[int]:
        batch = ffi.new("uint64_t[]", DIRTY_BATCH)
        pages: list[int] = []
        while count := lib.state_dirty_pages(self._native, batch, DIRTY_BATCH):
            pages.extend(batch[0:count])
        return pages

    def _writable_media(self) -> Iterator[tuple[int, memoryview]]:
        size = ffi.new("uint64_t *")
        for channel in range(CHANNELS):
            medium = lib.state_medium(self._native, channel, size)
            if medium:
                yield channel, memoryview(ffi.buffer(medium, size[0]))

    def _saved_medium(self, channel: int, view: memoryview) -> bytes:
        known = self._media.get(channel, b"")
        return known if view == known else bytes(view)


def _device_state(device: Holder) -> DeviceState:
    state: DeviceState = {name: _plain(getattr(device, name)) for name in device.held}
    state["offsets"], state["values"] = list(device.values), list(device.values.values())
    return state


def _plain(value: object) -> Plain:
    if isinstance(value, int):
        return int(value)
    assert isinstance(value, list | deque | bytearray | bytes | tuple)
    return list(value)


def _restore_device(device: Holder, state: DeviceState) -> None:
    try:
        offsets, values = state["offsets"], state["values"]
        assert isinstance(offsets, list)
        assert isinstance(values, list)
        device.values.clear()
        device.values.update(zip(offsets, values, strict=True))
        for name in device.held:
            setattr(device, name, type(getattr(device, name))(state[name]))
    except (KeyError, TypeError, ValueError, AssertionError) as error:
        raise StateError(f"the state does not fit the devices: {error!r}") from error
