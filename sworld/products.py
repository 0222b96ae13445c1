"""Matrix products as the transformer asks for them, whoever computes them: exact integers, so all engines agree."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from emulator.gate import Flow, compute
from emulator.tensor import Refusal
from emulator.world_port import PortAbort

from . import matrix_layout


class Product(NamedTuple):
    """The int8 weights of a matrix times ``feature_rows`` int8 rows: int32 sums, wrapping.

    ``matrix`` (an object of a package: scales, then weights), ``features`` and ``sums`` are virtual addresses; their
    layouts are those of matrix_layout. Rows and columns are counted without padding.
    """

    matrix: int
    rows: int
    columns: int
    features: int
    feature_rows: int
    sums: int

    @property
    def weights(self) -> int:
        """Virtual address of the weights."""
        return self.matrix + matrix_layout.scales_size(self.rows)

    @property
    def weights_size(self) -> int:
        """Bytes of the weights, with their padding; also for the other two."""
        return matrix_layout.weights_size(self.rows, self.columns)

    @property
    def features_size(self) -> int:
        return matrix_layout.features_size(self.columns, self.feature_rows)

    @property
    def sums_size(self) -> int:
        return matrix_layout.sums_size(self.rows, self.feature_rows)


class EngineFailed(Exception):
    """Sums are missing or not to be trusted; the products are to be computed otherwise."""


class ProductEngine(Protocol):
    """Computes products. Memory that a product names stays what it is from ``start`` until ``finish`` is over, unless a
    recall takes it: the caller finds that out and throws the sums away.
    """

    def start(self, products: tuple[Product, ...]) -> Flow[None]:
        """Begin ``products``, in this order. Raises EngineFailed, and then nothing is under way."""

    def finish(self) -> Flow[None]:
        """Every product begun has its sums in memory. Raises EngineFailed, and then nothing is under way."""


class CpuEngine:
    """The secure world's own processor: a product is computed as soon as it is begun."""

    def start(self, products: tuple[Product, ...]) -> Flow[None]:
        for product in products:
            sizes = (product.rows, product.columns)
            try:
                result = yield from compute(
                    "tensor_products", product.matrix, *sizes, product.features, product.feature_rows, product.sums
                )
            except PortAbort as abort:  # a recall before this product, after the one before it
                raise EngineFailed(str(abort)) from None
            if result < 0:
                raise EngineFailed(f"tensor_products: {Refusal(result).name.lower().replace('_', ' ')}")

    def finish(self) -> Flow[None]:
        yield from ()
