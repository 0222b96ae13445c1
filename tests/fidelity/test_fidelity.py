"""Our core leaves the state behind that QEMU's Cortex-A72 does, but for what is listed; the comparison can fail."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.fidelity.case import Case
from tests.fidelity.cases import corpus
from tests.fidelity.differences import KNOWN, document, stale, unlisted, written
from tests.fidelity.image import build
from tests.fidelity.record import RECORD_BYTES, WORDS, Difference, compare, parse
from tests.fidelity.sides import QEMU, SideError, has_qemu, run_exec, run_qemu

CASES_WANTED = 2000
FEW = [
    Case("few/immediate", 1, ["mov x1, #0x51"]),
    Case("few/call", 0, ["svc #0x52"]),
    Case("few/memory", 3, ["mov x2, #0x53", "ldr x3, =0x4a001000", "str x2, [x3]"]),
]


@pytest.mark.peer
@pytest.mark.skipif(not has_qemu(), reason=f"{QEMU} is not installed: the corpus has nothing to be compared with")
def test_the_core_leaves_the_state_that_qemu_leaves(capsys: pytest.CaptureFixture[str]) -> None:
    cases = corpus()
    assert len(cases) >= CASES_WANTED
    elf = build(cases)
    differences = compare([case.name for case in cases], run_exec(elf, len(cases)), run_qemu(elf, len(cases)))
    with capsys.disabled():
        known = len({difference.case for difference in differences})
        print(f"\nfidelity: {len(cases)} cases on both, {len(cases) - known} equal, {known} with a listed difference")
    new = unlisted(differences)
    assert not new, f"{len(new)} unlisted differences:\n" + "\n".join(map(str, new[:50]))
    assert not stale(differences), "no longer different, so no longer to be listed"


def test_the_document_lists_the_known_differences() -> None:
    assert written().strip() == document().strip(), "run python -m tests.fidelity.differences"


def test_a_record_says_what_the_case_did() -> None:
    immediate, call, memory = (dict(zip(WORDS, words, strict=True)) for words in parse(run_exec(build(FEW), len(FEW))))
    assert immediate["x1"] == 0x51
    assert immediate["x2"] == 0x5EED_0000_0000_0002
    assert call["ESR_EL1"] == 0x5600_0052
    assert call["ESR_EL3"] & 0xFFFF == 0x1400  # EL1's vector 0x400 called EL3
    assert memory["data[+0]"] == 0x53
    assert memory["data[-8]"] == (0x0706_0504_0302_0100 + 0x1FF * 0x0101_0101_0101_0101) % (1 << 64)
    assert memory["vector"] == 0x3200


def test_a_wrong_word_is_found() -> None:
    """Each word of a record counts."""
    names = [case.name for case in FEW]
    right = run_exec(build(FEW), len(FEW))
    assert compare(names, right, right) == []
    for index, word in enumerate(WORDS):
        wrong = bytearray(right)
        wrong[RECORD_BYTES + index * 8] ^= 1
        (found,) = compare(names, bytes(wrong), right)
        assert (found.case, found.word, found.ours ^ found.qemu) == ("few/call", word, 1)


def test_a_side_that_stops_early_is_no_comparison() -> None:
    right = run_exec(build(FEW), len(FEW))
    with pytest.raises(ValueError, match="not whole records"):
        parse(right[:-1])
    with pytest.raises(ValueError, match="shorter"):
        compare([case.name for case in FEW], right[:-RECORD_BYTES], right)
    with pytest.raises(SideError, match="not 4 records"):
        run_exec(build(FEW), len(FEW) + 1)


def test_a_case_that_does_not_assemble_is_named() -> None:
    with pytest.raises(ValueError, match="frobnicate"):
        build([Case("few/bad", 1, ["frobnicate x0"])])


def test_a_difference_is_covered_by_case_and_word() -> None:
    entry = replace(KNOWN[0], cases=("few/*", "gone/*"), words=("ESR_EL1", "q0[0]"))
    listed = Difference("few/call", "ESR_EL1", 1, 2)
    vector = Difference("few/call", "q0[0]", 1, 2)
    other_word = Difference("few/call", "x1", 1, 2)
    other_case = Difference("many/call", "ESR_EL1", 1, 2)
    assert unlisted([listed, vector, other_word, other_case], [entry]) == [other_word, other_case]
    assert stale([listed, other_case], [entry]) == [f"{entry.title}: gone/*"]
