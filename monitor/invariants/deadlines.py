"""The secure timer: what bounds the secure world's time, and the driver's, is armed while they run, and then only."""

from __future__ import annotations

from collections.abc import Iterable

from monitor.hardware import Hardware

ENABLE, MASKED = 1, 2  # CNTPS_CTL_EL1
NEVER = (1 << 64) - 1


def secure_timer_is_armed_for_the_earliest(now: Hardware) -> Iterable[str]:
    """It is off in the normal world; elsewhere a recall that is not told yet, or the driver's end, is not missed.

    In the secure world it may still stand at the deadline of what has been paid since that was entered: it comes early,
    and nothing comes of it (deadline.c, interrupt.c).
    """
    found = now.deadlines
    armed = found["CNTPS_CVAL_EL1"] if found["CNTPS_CTL_EL1"] & (ENABLE | MASKED) == ENABLE else NEVER
    earliest = min(_pending(now), default=NEVER)
    if now.running == "normal" and armed != NEVER:
        yield f"the secure timer is armed for {armed}, while the normal world runs"
    elif now.running == "driver" and armed != earliest:
        yield f"the secure timer is armed for {armed}, the driver's earliest deadline is {earliest}"
    elif now.running == "secure" and armed > earliest:
        yield f"the secure timer is armed for {armed}, later than the earliest deadline, {earliest}"


def _pending(now: Hardware) -> Iterable[int]:
    """Of the deadlines that end the stay of the context that runs."""
    variables, found = now.variables, now.deadlines
    if variables["owed"] and not variables["owed_told"]:
        yield found["owed_deadline"]
    if variables["npu_recalled"] and not variables["npu_told"]:
        yield found["npu_deadline"]
    if now.running == "driver" and variables["driver_is_ready"]:
        yield found["driver_deadline"]
