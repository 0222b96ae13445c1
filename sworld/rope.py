"""The rotation table of a model (docs/arithmetic.md, section 5), made once, when the model is packed.

Python's decimal module rounds exp, ln and division correctly at any precision, so the table is the same on every host.
"""

from __future__ import annotations

from decimal import ROUND_FLOOR, Context, Decimal

TWO_PI = Decimal("6.28318530717958647692528676655900576839433879875021164194989")
DIGITS = 60


def rotation_steps(head_width: int, base: float) -> list[int]:
    """The turn per position of each pair, in units of 2^-64 turns: ``head_width`` / 2 values for the table's u64."""
    exact = Context(prec=DIGITS)
    logarithm = exact.ln(Decimal(base))
    steps = []
    for pair in range(head_width // 2):
        frequency = exact.exp(exact.divide(exact.multiply(Decimal(-2 * pair), logarithm), Decimal(head_width)))
        turns = exact.divide(frequency, TWO_PI)
        steps.append(int(exact.multiply(turns, Decimal(2**64)).to_integral_value(ROUND_FLOOR)))
    return steps
