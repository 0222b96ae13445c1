"""The yardstick of `bench exec`: both sides run the same images, and a missing peer is said."""

from __future__ import annotations

import json

import pytest

from firmware.build import image_path
from flexserve import bench_exec, cli, qemu_peer
from flexserve.bench_exec import Kernel


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_exec, "ROUNDS", 1)
    monkeypatch.setattr(bench_exec, "COMPUTE", (Kernel("crc", 0, 10, 500),))
    monkeypatch.setattr(bench_exec, "MEMORY", (Kernel("copy", 3, 1, 50),))
    monkeypatch.setattr(bench_exec, "SMC_SHORT", 1_000)
    monkeypatch.setattr(bench_exec, "SMC_LONG", 101_000)


@pytest.mark.usefixtures("short")
def test_absent_peer_is_null_with_a_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(qemu_peer, "QEMU", "qemu-that-nobody-has")
    assert cli.execute(["bench", "exec", "--json"]) == 0
    out, err = capsys.readouterr()
    figures = json.loads(out)
    assert figures["qemu"] is None
    assert all(figures["ours"][kind] > 0 for kind in ("compute", "memory", "smc"))
    assert set(figures["kernels"]) == {"crc", "copy", "smc"}
    assert "qemu-that-nobody-has is not installed" in err


@pytest.mark.usefixtures("short")
@pytest.mark.peer
@pytest.mark.skipif(not qemu_peer.is_available(), reason=f"{qemu_peer.QEMU} is not installed")
def test_both_run_the_same_images(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.execute(["bench", "exec", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert all(figures[side][kind] > 0 for side in ("ours", "qemu") for kind in ("compute", "memory", "smc"))


@pytest.mark.parametrize("kernel", [*bench_exec.COMPUTE, *bench_exec.MEMORY], ids=lambda kernel: kernel.name)
def test_kernel_checks_its_result_and_its_work_grows_with_the_count(kernel: Kernel) -> None:
    image = image_path("yardstick").read_bytes()
    work = []
    for count in (1, 2, 3):
        words = {bench_exec.KERNEL_SYMBOL: kernel.number, bench_exec.COUNT_SYMBOL: count}
        work.append(bench_exec.run_ours(qemu_peer.with_words(image, words))[1])
    assert work[2] - work[1] == pytest.approx(work[1] - work[0], rel=0.01)


def test_image_that_fails_is_said() -> None:
    with pytest.raises(bench_exec.BenchError, match="status"):
        bench_exec.run_ours(b"\x7fELF nothing")
