"""The sizes of a served model and the objects that it consists of (docs/arithmetic.md, section 2)."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from emulator.tensor import MAX_CONTEXT, MAX_HEAD_WIDTH, MAX_VOCABULARY, MAX_WIDTH

from .matrix_layout import matrix_size

SHARED = -1  # the "layer" of the objects that all layers share


class ShapeError(ValueError):
    """A model whose sizes cannot be served; the message names the size and the rule."""


@dataclass(frozen=True)
class ModelShape:
    """Sizes in elements. ``tied``: the head is the embedding. ``rope_base`` and ``norm_epsilon`` are f32 values."""

    vocabulary: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    feed_forward: int
    context: int
    rope_base: float
    norm_epsilon: float
    tied: bool

    def __post_init__(self) -> None:
        for name, value, limit in (
            ("vocabulary", self.vocabulary, MAX_VOCABULARY),
            ("width", self.width, MAX_WIDTH),
            ("feed_forward", self.feed_forward, MAX_WIDTH),
            ("context", self.context, MAX_CONTEXT),
            ("layers", self.layers, MAX_WIDTH),
            ("heads", self.heads, self.width),
            ("kv_heads", self.kv_heads, self.heads),
        ):
            if not 1 <= value <= limit:
                raise ShapeError(f"{name} is {value}, it must be 1 to {limit}")
        if self.width % self.heads or self.head_width % 2 or self.head_width > MAX_HEAD_WIDTH:
            raise ShapeError(
                f"width {self.width} over {self.heads} heads must give an even head width up to {MAX_HEAD_WIDTH}"
            )
        if self.heads % self.kv_heads:
            raise ShapeError(f"{self.heads} heads must be a multiple of {self.kv_heads} key-value heads")
        if not 1.0 < self.rope_base < 1e30 or not 0.0 < self.norm_epsilon < 1.0:
            raise ShapeError(
                f"rope base {self.rope_base} must be over 1 and norm epsilon {self.norm_epsilon} between 0 and 1"
            )

    @property
    def head_width(self) -> int:
        return self.width // self.heads

    @property
    def kv_width(self) -> int:
        """Elements of one token's keys, and of its values, in one layer."""
        return self.kv_heads * self.head_width

    @property
    def group(self) -> int:
        """Query heads that share a key-value head."""
        return self.heads // self.kv_heads

    @property
    def head_object(self) -> str:
        return "embedding" if self.tied else "head"


class Kind(enum.Enum):
    """How an object is laid out."""

    MATRIX = "matrix"  # f32 scale per row, then the int8 rows in blocks (matrix_layout)
    VECTOR = "vector"  # f32
    TABLE = "table"  # u64


@dataclass(frozen=True)
class ModelObject:
    """One object of a package; a vector and a table have one row."""

    name: str
    kind: Kind
    rows: int
    columns: int

    @property
    def size(self) -> int:
        """Bytes."""
        match self.kind:
            case Kind.MATRIX:
                return matrix_size(self.rows, self.columns)
            case Kind.VECTOR:
                return 4 * self.columns
            case Kind.TABLE:
                return 8 * self.columns


def shared_objects(shape: ModelShape) -> tuple[ModelObject, ...]:
    """What all layers share, in the order of the package."""
    objects = (
        ModelObject("rotation", Kind.TABLE, 1, shape.head_width // 2),
        ModelObject("output_norm", Kind.VECTOR, 1, shape.width),
        ModelObject("embedding", Kind.MATRIX, shape.vocabulary, shape.width),
    )
    if shape.tied:
        return objects
    return (*objects, ModelObject("head", Kind.MATRIX, shape.vocabulary, shape.width))


def layer_objects(shape: ModelShape) -> tuple[ModelObject, ...]:
    """The objects of any one layer, in the order of the package."""
    return (
        ModelObject("attention_norm", Kind.VECTOR, 1, shape.width),
        ModelObject("query", Kind.MATRIX, shape.width, shape.width),
        ModelObject("key", Kind.MATRIX, shape.kv_width, shape.width),
        ModelObject("value", Kind.MATRIX, shape.kv_width, shape.width),
        ModelObject("attention_output", Kind.MATRIX, shape.width, shape.width),
        ModelObject("feed_forward_norm", Kind.VECTOR, 1, shape.width),
        ModelObject("gate", Kind.MATRIX, shape.feed_forward, shape.width),
        ModelObject("up", Kind.MATRIX, shape.feed_forward, shape.width),
        ModelObject("down", Kind.MATRIX, shape.width, shape.feed_forward),
    )
