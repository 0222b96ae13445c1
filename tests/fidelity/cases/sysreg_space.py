"""Every encoding of a system register read at EL3: what exists, and what it holds after the harness's reset.

A register that cannot be read leaves the general register at its seed, so a record tells which of its encodings it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from tests.fidelity.case import Case, sysreg
from tests.fidelity.registers import TIME

SCRATCH = 28  # x28 to x30 prepare and end the body


def cases() -> Iterator[Case]:
    space = [
        (op0, op1, crn, crm, op2)
        for op0, op1, crn, crm, op2 in product((2, 3), range(8), range(16), range(16), range(8))
        if (op0, op1, crn, crm, op2) not in TIME
    ]
    for start in range(0, len(space), SCRATCH):
        group = space[start : start + SCRATCH]
        reads = [f"mrs x{number}, {sysreg(*encoding)}" for number, encoding in enumerate(group)]
        body = ["mrs x28, vbar_el3", "adrp x29, skipping_vectors", "msr vbar_el3, x29", *reads]
        first = "s{}_{}_c{}_c{}_{}".format(*group[0])
        yield Case(f"space/from-{first}", 3, [*body, "msr vbar_el3, x28"])
