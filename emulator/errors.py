"""Errors of the installation, which everything above may meet."""

from __future__ import annotations


class StaleBuildError(ImportError):
    """Something that the build makes is missing, or was made from other sources than the ones beside it."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}: run `pip install -e .` in the checkout")
