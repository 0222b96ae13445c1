"""Small GGUF files made on the spot, with one thing wrong where a test wants it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flexserve.gguf_file import Value
from flexserve.random_model import Floats, RandomModel, write_gguf


@dataclass(frozen=True)
class Recipe(RandomModel):
    """A random model with changes: ``keys`` and ``tensors`` replace the usual ones, None leaves one out."""

    vocabulary: int = 300
    feed_forward: int = 96
    architecture: str = "llama"
    keys: Mapping[str, Value | None] = field(default_factory=dict)
    tensors: Mapping[str, Floats | None] = field(default_factory=dict)

    def values(self) -> dict[str, Floats]:
        """Every tensor before it is stored as ``kind``."""
        return {name: self.tensor(name) for name in self.shapes()}

    def write(self, path: Path) -> Path:
        """Write the file, changes included: its path."""
        keys = {key: value for key, value in {**self.metadata(), **self.keys}.items() if value is not None}
        tensors = {name: value for name, value in {**self.values(), **self.tensors}.items() if value is not None}
        write_gguf(path, self.architecture, keys, iter(tensors.items()), self.kind)
        return path
