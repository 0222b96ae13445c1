"""Colours, the same in every view."""

from __future__ import annotations

GOOD, BAD, DIM, NAME = "green", "bold red", "dim", "cyan"
STATE_STYLES = {"NORMAL": "green", "ALLOCATED": "yellow", "LOCKED": "bold red", "RELEASED": "magenta"}


def state_style(state: str) -> str:
    return STATE_STYLES.get(state.split(" ")[0], DIM)
