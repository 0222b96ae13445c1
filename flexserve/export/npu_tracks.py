"""The NPU on the time line: each core's jobs, and whose it is."""

from __future__ import annotations

from typing import Protocol

from emulator.events import NpuWhat
from monitor import abi
from monitor.abi import Call, Status

OWNER = "NPU"
ENDS = (NpuWhat.JOB_DONE, NpuWhat.FAULT, NpuWhat.ABORTED)
AFTER: dict[tuple[Call | None, int], str] = {  # whose the NPU is when a call has returned this
    (abi.NPU_ACQUIRE, Status.BUSY): "draining",
    (abi.NPU_ACQUIRE, Status.SUCCESS): "secure world",
    (abi.NPU_RELEASE, Status.SUCCESS): "normal world",
    (abi.NPU_RECLAIM, Status.SUCCESS): "normal world",
}


class Slices(Protocol):
    """Of named tracks."""

    def open(self, track: str, now: int, name: str) -> None: ...

    def close(self, track: str, now: int) -> None: ...


class NpuTracks:
    """Draws on ``slices``."""

    def __init__(self, slices: Slices) -> None:
        self._slices = slices
        self._open: dict[str, str] = {}

    def happened(self, now: int, args: tuple[int, ...]) -> None:
        """An event of a core."""
        track = core_track(args[0])
        if args[1] == NpuWhat.STARTED:
            self._begin(track, now, f"job of {args[3]} tasks")
        elif args[1] in ENDS:
            self._end(track, now)

    def returned(self, now: int, call: Call | None, status: int) -> None:
        """A call has: the NPU may have changed hands."""
        owner = AFTER.get((call, abi.signed(status)))
        if owner and self._open.get(OWNER) != owner:
            self._begin(OWNER, now, owner)

    def end(self, now: int) -> None:
        """Of the run."""
        for track in tuple(self._open):
            self._end(track, now)

    def _begin(self, track: str, now: int, name: str) -> None:
        self._end(track, now)
        self._open[track] = name
        self._slices.open(track, now, name)

    def _end(self, track: str, now: int) -> None:
        if self._open.pop(track, None):
            self._slices.close(track, now)


def core_track(core: int) -> str:
    return f"NPU{core}"
