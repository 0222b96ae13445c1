"""docs/arithmetic.md, section by section, in plain numpy: element-wise + - x / sqrt in float32 and nothing else.

Imports nothing of the project. Every reduction is a loop in the stated order: numpy's own sums depend on the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from math import factorial

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.int8]
Integers = npt.NDArray[np.int64]

F = np.float32
BLOCK_BYTES = 1024  # of 32 rows and columns


@dataclass(frozen=True)
class Quantised:
    """Section 1: values x scales; a matrix has a scale per row, a vector is a matrix of one row."""

    scales: Floats  # (rows,)
    values: Bytes  # (rows, columns)

    def encode(self) -> bytes:
        """The object as a package and guest memory hold it (section 2)."""
        scales = self.scales.astype("<f4").tobytes()
        return scales + bytes(-len(scales) % BLOCK_BYTES) + self.blocks()

    def blocks(self) -> bytes:
        """Section 2: blocks of 32 rows and 32 columns, row group by row group, padded with zeros."""
        rows, columns = self.values.shape
        data = b""
        for row in range(0, rows, 32):
            for column in range(0, columns, 32):
                block = np.zeros((32, 32), np.int8)
                part = self.values[row : row + 32, column : column + 32]
                block[: part.shape[0], : part.shape[1]] = part
                data += block.tobytes()
        return data


def quantise(rows: Floats) -> Quantised:
    """Section 1, for each row of a (rows, columns) array."""
    if not np.isfinite(rows).all():
        raise ValueError("not finite")
    scales = (np.abs(rows).max(axis=1) / F(127)).astype(np.float32)
    divisors = np.where(scales == 0, F(1), scales)[:, None]
    with np.errstate(over="ignore"):
        values = np.clip(np.rint(rows / divisors), F(-127), F(127))
    values[scales == 0] = 0
    return Quantised(scales, values.astype(np.int8))


@dataclass(frozen=True)
class Activation:
    """Section 1: an activation vector in two planes, the second one for what rounding left of the first."""

    planes: Quantised  # two rows


def quantise_activation(vector: Floats) -> Activation:
    """Section 1."""
    coarse = quantise(vector[None])
    fine = quantise(vector[None] - coarse.values.astype(np.float32) * coarse.scales[:, None])
    scales = np.concatenate([coarse.scales, fine.scales])
    return Activation(Quantised(scales, np.concatenate([coarse.values, fine.values])))


def accumulate(matrix: Quantised, vector: Activation) -> Integers:
    """The integers of a matrix product, exact: (planes, rows)."""
    return vector.planes.values.astype(np.int64) @ matrix.values.astype(np.int64).T


def linear(matrix: Quantised, vector: Activation) -> Floats:
    """Section 3: float(integer) x (vector's scale x row's scale), coarse plus fine."""
    integers = accumulate(matrix, vector).astype(np.float32)
    scales = vector.planes.scales
    result: Floats = integers[0] * (scales[0] * matrix.scales) + integers[1] * (scales[1] * matrix.scales)
    return result


def sum8(terms: Floats) -> Floats:
    """Section 3: over the first axis, eight interleaved partial sums, then the tree."""
    lanes = np.zeros((8, *terms.shape[1:]), np.float32)
    for start in range(0, len(terms), 8):
        part = terms[start : start + 8]
        lanes[: len(part)] += part
    result: Floats = ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]))
    return result


def normalise(vector: Floats, gain: Floats, epsilon: np.float32) -> Floats:
    """Section 4: RMSNorm."""
    mean = sum8(vector * vector) / F(len(vector))
    inverse = F(1) / np.sqrt(mean + epsilon)
    result: Floats = (vector * inverse) * gain
    return result


def exponential(x: Floats) -> Floats:
    """Section 4: e^x for x <= 0; 0 below -87."""
    clipped = np.maximum(x, F(-87))
    whole = np.rint(clipped * F(1.4426950408889634))
    rest = (clipped - whole * F(0.693359375)) - whole * F(-2.1219444005469058e-4)
    result = np.full_like(clipped, F(1 / factorial(7)))
    for k in range(6, -1, -1):
        result = result * rest + F(1 / factorial(k))
    scaled = result * np.ldexp(F(1), whole.astype(np.int32)).astype(np.float32)
    return np.where(x >= F(-87), scaled, F(0)).astype(np.float32)


def rotation_table(head_width: int, base: np.float32) -> npt.NDArray[np.uint64]:
    """Section 5: the turn per position of each pair, in units of 2^-64 turns."""
    digits = Context(prec=60)
    two_pi = Decimal("6.28318530717958647692528676655900576839433879875021164194989")
    steps = []
    for pair in range(head_width // 2):
        exponent = digits.multiply(
            digits.ln(Decimal(float(base))), digits.divide(Decimal(-2 * pair), Decimal(head_width))
        )
        steps.append(int(digits.multiply(digits.divide(digits.exp(exponent), two_pi), Decimal(2**64))))
    return np.array(steps, np.uint64)


def sine_cosine(angles: npt.NDArray[np.uint64]) -> tuple[Floats, Floats]:
    """Section 5, of angles in 2^-64 turns."""
    quadrant = (angles + np.uint64(2**61)) >> np.uint64(62)
    distance = (angles - (quadrant << np.uint64(62))).view(np.int64) >> 37
    x = distance.astype(np.float32) * F(2 * np.pi / 2**27)
    square = x * x
    sine = np.full_like(x, F(1 / factorial(9)))
    for k in (7, 5, 3, 1):
        sine = sine * square + F((-1) ** (k // 2) / factorial(k))
    sine = sine * x
    cosine = np.full_like(x, F(1 / factorial(8)))
    for k in (6, 4, 2, 0):
        cosine = cosine * square + F((-1) ** (k // 2) / factorial(k))
    return (
        np.choose(quadrant.astype(np.int64), [sine, cosine, -sine, -cosine]),
        np.choose(quadrant.astype(np.int64), [cosine, -sine, -cosine, sine]),
    )


def rotate(heads: Floats, table: npt.NDArray[np.uint64], position: int) -> Floats:
    """Section 5: (heads, head_width), interleaved pairs."""
    sine, cosine = sine_cosine(table * np.uint64(position))
    x, y = heads[:, 0::2], heads[:, 1::2]
    result = np.empty_like(heads)
    result[:, 0::2] = x * cosine - y * sine
    result[:, 1::2] = x * sine + y * cosine
    return result


def attend(query: Floats, keys: Floats, values: Floats) -> Floats:
    """Section 6: query (heads, head_width), keys and values (tokens, kv_heads, head_width)."""
    heads, head_width = query.shape
    group = heads // keys.shape[1]
    scale = F(1) / np.sqrt(F(head_width))
    output = np.empty_like(query)
    for head in range(heads):
        products = keys[:, head // group] * query[head]
        scores = sum8(np.ascontiguousarray(products.T)) * scale
        weights = exponential(scores - scores.max())
        mixed = np.zeros(head_width, np.float32)
        for weight, value in zip(weights, values[:, head // group], strict=True):
            mixed = mixed + weight * value
        output[head] = mixed / sum8(weights)
    return output


def swiglu(gate: Floats, up: Floats) -> Floats:
    """Section 7."""
    e = exponential(-np.abs(gate))
    sigmoid = np.where(gate < 0, e, F(1)) / (F(1) + e)
    result: Floats = (gate * sigmoid) * up
    return result


def argmax(logits: Floats) -> int:
    """Section 8: the lowest index of the largest logit."""
    return int(np.argmax(logits))


def random_bits(seed: int, index: int) -> int:
    """Section 8: the 64 bits for generated token ``index`` (from 0): SplitMix64 at that step."""
    mask = 2**64 - 1
    z = (seed + (index + 1) * 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


def sample(logits: Floats, temperature: np.float32, top_p: int, random: int) -> int:
    """Section 8, by sorting, which is not how the native code does it."""
    with np.errstate(over="ignore"):
        scaled = exponential((logits - logits.max()) / temperature)
    weights = [int(w) for w in scaled * F(2**28)]
    need = -(-sum(weights) * top_p // 65536)
    kept: list[int] = []
    mass = 0
    for index in sorted(range(len(weights)), key=lambda i: (-weights[i], i)):
        if mass >= need:
            break
        kept.append(index)
        mass += weights[index]
    point = random * mass >> 64
    for index in sorted(kept):
        point -= weights[index]
        if point < 0:
            return index
    raise AssertionError("the point is below the mass")


def encode_activations(vectors: Sequence[Activation]) -> bytes:
    """Section 2: the scales of all planes, then the planes, cut into atoms of 16 columns."""
    scales = np.concatenate([vector.planes.scales for vector in vectors]).astype("<f4").tobytes()
    return scales + bytes(-len(scales) % BLOCK_BYTES) + encode_features([vector.planes.values for vector in vectors])


def encode_features(planes: Sequence[Bytes]) -> bytes:
    """Rows of features: atom by atom of 16 columns, all rows of an atom together; padded to 32 columns."""
    rows = np.concatenate(planes)
    whole = np.zeros((len(rows), -(-rows.shape[1] // 32) * 32), np.int8)
    whole[:, : rows.shape[1]] = rows
    return b"".join(whole[:, start : start + 16].tobytes() for start in range(0, whole.shape[1], 16))


def decode_activations(data: bytes, columns: int, count: int) -> list[Activation]:
    """What `encode_activations` gives, as vectors; the padding must be zero."""
    size = -(-8 * count // BLOCK_BYTES) * BLOCK_BYTES
    scales = np.frombuffer(data[: 8 * count], "<f4").reshape(count, 2)
    atoms = np.frombuffer(data[size:], np.int8).reshape(-1, 2 * count, 16)
    planes = np.concatenate(list(atoms), axis=1)
    assert not planes[:, columns:].any()
    return [
        Activation(Quantised(scales[t].astype(np.float32), planes[2 * t : 2 * t + 2, :columns])) for t in range(count)
    ]


def encode_sums(matrix: Quantised, vectors: Sequence[Activation]) -> bytes:
    """Section 2: for four rows after four, the sums of every plane; padded to 32 rows."""
    integers = np.concatenate([accumulate(matrix, vector) for vector in vectors])
    whole = np.zeros((len(integers), -(-integers.shape[1] // 32) * 32), "<i4")
    whole[:, : integers.shape[1]] = integers
    return b"".join(whole[:, start : start + 4].tobytes() for start in range(0, whole.shape[1], 4))
