"""What each line of the monitor is there for: without it, a named attack gets through."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulator.gate import write
from emulator.image import Image
from emulator.memory_map import PAGE_SIZE
from firmware.build import Mutation, build
from flexserve.attack import run, select
from flexserve.system import Images
from monitor.abi import MEM_RECLAIM
from monitor.services.calls import succeed
from nworld.attacks import Attack, Moment
from nworld.attacks.hostile import Hostile
from nworld.attacks.registry import Script, until
from nworld.attacks.scene import Scene

MUTATIONS = (
    (
        "LOCK forgets the core's TLB",
        Mutation("el3/flexmem.c", "stage2_invalidate();", ""),
        ("cpu-read-warm-tlb", "cpu-write-warm-tlb", "cpu-execute-warm-tlb"),
    ),
    (
        "the TLBI reaches the secure world's entries only",
        Mutation("el3/stage2.c", "WRITE_SYSREG(scr_el3, scr | SCR_NS);", "WRITE_SYSREG(scr_el3, scr);"),
        ("cpu-read-warm-tlb",),
    ),
    (
        "LOCK forgets the SMMU's TLB",
        Mutation(
            "el3/smmu.c",
            "enqueue(CMD_TLBI_S2_IPA | (uint64_t)VMID_STORAGE << CMD_VMID_SHIFT, page_address(page) | CMD_LEAF);",
            "",
        ),
        ("dma-read-locked", "dma-write-locked"),
    ),
    (
        "the SMMU is not made to finish what it has translated",
        Mutation("el3/smmu.c", "enqueue(CMD_SYNC, 0);", ""),
        ("dma-out-across-lock", "dma-in-across-lock", "npu-sums-across-lock"),
    ),
    (
        "reclaimed pages keep what was in them",
        Mutation("el3/flexmem.c", "zero_page(page_address(page));", "(void)zero_page;"),
        ("left-over-reclaimed", "left-over-forced"),
    ),
    (
        "pages are mapped before they are scrubbed",
        Mutation(
            "el3/flexmem.c",
            "for (uint64_t page = extent->first; page < extent->first + extent->pages; page++) {",
            "stage2_map(extent); for (uint64_t page = extent->first; page < extent->first + extent->pages; page++) {",
        ),
        ("dma-during-reclaim",),
    ),
    (
        "the end of an extent is computed in 64 bits",
        Mutation(
            "el3/ownership.c",
            "if (extent->first >= normal_pages || pages > normal_pages - extent->first) {",
            "if (base + pages * PAGE_SIZE > DRAM_BASE + normal_pages * PAGE_SIZE) {",
        ),
        ("allocate-wrapping", "allocate-to-2-64", "reclaim-to-2-64"),
    ),
    (
        "an earlier recall that is past makes the next one due at once",
        Mutation(
            "el3/recall.c",
            "owed_deadline = owed ? maximum(minimum(owed_deadline, due), now + MINIMUM_DEADLINE) : due;",
            "owed_deadline = owed ? maximum(minimum(owed_deadline, due), 0) : due;",
        ),
        ("force-after-second-recall",),
    ),
    (
        "who was interrupted goes on before it has heard what was taken",
        Mutation("el3/secure_entry.c", "if (ownership_revoked() && !preempt_waiting_handler()) {", "if (0) {"),
        ("race-decrypt", "race-recall"),
    ),
    (
        "debug registers are not trapped",
        Mutation("el3/boot.c", "context->mdcr = mdcr;", "context->mdcr = mdcr & MDCR_NORMAL_WORLD;"),
        ("driver-debug-registers",),
    ),
    (
        "a driver that was stopped in EL2 is called there",
        Mutation("el3/driver.c", "driver->spsr = SPSR_EL1H_MASKED;", ""),
        ("driver-times-its-fault",),
    ),
    (
        "a call may come from either world",
        Mutation("el3/smc.c", "if (!(call->by & 1U << context_world(caller))) {", "if (0) {"),
        (
            "lock-from-normal",
            "release-from-normal",
            "wrong-world-function",
            "npu-wrong-world-function",
            "driver-calls-monitor",
        ),
    ),
    (
        "a revoked page need not be acknowledged",
        Mutation("el3/ownership.c", "if (table[page] & PAGE_REVOKED) {", "if (0) {"),
        ("allocate-revoked",),
    ),
    (
        "an EL1 register is not switched",
        Mutation("include/monitor_memory.h", "\\action tpidr_el1", "\\action tpidr_el0"),
        ("registers-el1",),
    ),
    (
        "x28 and x29 are not saved",
        Mutation("el3/vectors.S", "stp\tx28, x29, [x0, #0xe0]", ""),
        ("registers-x",),
    ),
    (
        "two vector registers are not switched",
        Mutation("el3/world_switch.S", "\\action\tq30, q31, 480", ""),
        ("registers-v",),
    ),
    (
        "the NPU's registers stay in the normal world's stage 2",
        Mutation("el3/stage2.c", "*normal.npu_link = 0;", ""),
        ("npu-stop-job", "npu-redirect-job", "npu-reset-job", "npu-power-off", "npu-read-registers", "npu-warm-tlb"),
    ),
    (
        "the normal world's TLB keeps the NPU's registers",
        Mutation(
            "el3/stage2.c",
            "if (to != NPU_IN_NORMAL && *normal.npu_link) {",
            "if (to != NPU_IN_NORMAL) { *normal.npu_link = 0; } if (0) {",
        ),
        ("npu-warm-tlb",),
    ),
    (
        "the normal world has the NPU's registers until its job is over",
        Mutation(
            "el3/npu.c",
            "drain_end = counter() + NPU_DRAIN_TICKS;",
            "drain_end = counter() + NPU_DRAIN_TICKS; stage2_move_npu(NPU_IN_NORMAL);",
        ),
        ("npu-start-while-draining",),
    ),
    (
        "the NPU is not scrubbed when it changes hands",
        Mutation("el3/npu.c", "device_write(NPU_CONTROL_BASE + NPU_CONTROL_RESET, ALL_CORES);", "return;"),
        ("npu-never-ends", "npu-left-over-registers", "npu-left-over-features", "npu-left-over-output"),
    ),
    (
        "the NPU's streams keep the secure world's table",
        Mutation("el3/npu.c", "smmu_move_npu(0);", ""),
        ("npu-program-by-iova",),
    ),
    (
        "the NPU's interrupts stay the normal world's",
        Mutation("el3/npu.c", "normals[core] = gic_take(INTERRUPT_NPU0 + core);", ""),
        ("interrupt-forge", "interrupt-activate", "interrupt-prioritise"),
    ),
    (
        "the NPU may be taken before the deadline",
        Mutation("el3/npu.c", "if (counter() < npu_deadline) {", "if (0) {"),
        ("npu-reclaim-before-deadline",),
    ),
    (
        "the NPU may be taken though nobody has asked for it",
        Mutation("el3/npu.c", "if (!npu_recalled) {", "if (0) {"),
        ("npu-reclaim-without-recall",),
    ),
    (
        "the driver context has normal memory as well",
        Mutation(
            "el3/stage2.c",
            "level2[base % GIB / BLOCK_SIZE] = (uint64_t)level3 | TABLE;",
            "level2[base % GIB / BLOCK_SIZE] = (uint64_t)level3 | TABLE; level2[0] = (DRAM_BASE | DRAM_PAGE) - 2;",
        ),
        ("driver-reads-memory", "driver-writes-memory"),
    ),
    (
        "nobody watches how long the driver computes",
        Mutation("el3/driver.c", "time_left = DRIVER_TICKS;", "time_left = DRIVER_TICKS * 10;"),
        ("driver-never-answers",),
    ),
)


WINDOW = "int64_t status = window(args, STATE_BIT(PAGE_ALLOCATED), &extent);"

# Where the secure kernel takes whatever it is promised, a line of the monitor is all that is left.
SECOND_LINES = (
    (
        "a locked page may be declined",
        Mutation(
            "el3/flexmem.c",
            WINDOW,
            "int64_t status = window(args, STATE_BIT(PAGE_LOCKED), &extent);"
            "if (status == FLEX_SUCCESS) { ownership_move(&extent, PAGE_LOCKED, PAGE_NORMAL); }",
            behind="struct smc_result mem_decline(const struct smc_args *args)",
        ),
        ("reply-own-page", "reply-own-page-npu"),
    ),
    (
        "a page may be locked that nobody has allocated",
        Mutation(
            "el3/flexmem.c",
            WINDOW,
            "int64_t status = window(args, STATE_BIT(PAGE_ALLOCATED) | STATE_BIT(PAGE_NORMAL), &extent);",
            behind="struct smc_result mem_lock(const struct smc_args *args)",
        ),
        ("reply-taken-back",),
    ),
)


@pytest.mark.parametrize(("mutation", "attacks"), [row[1:] for row in MUTATIONS], ids=[row[0] for row in MUTATIONS])
def test_mutated_monitor_lets_a_named_attack_through(
    mutation: Mutation, attacks: tuple[str, ...], tmp_path: Path
) -> None:
    assert blocked(mutation, attacks, tmp_path, lifted=False) == []


@pytest.mark.parametrize(
    ("mutation", "attacks"), [row[1:] for row in SECOND_LINES], ids=[row[0] for row in SECOND_LINES]
)
def test_mutated_monitor_lets_a_named_attack_of_a_careless_secure_kernel_through(
    mutation: Mutation, attacks: tuple[str, ...], tmp_path: Path
) -> None:
    assert blocked(mutation, attacks, tmp_path, lifted=True) == []


@pytest.mark.parametrize("attacks", [row[2] for row in SECOND_LINES], ids=[row[0] for row in SECOND_LINES])
def test_the_monitor_is_a_second_line_behind_a_careless_secure_kernel(attacks: tuple[str, ...]) -> None:
    assert all(verdict.blocked for verdict in run(select(attacks), lifted=True))


def test_rules_see_what_a_script_does_not_look_for(tmp_path: Path) -> None:
    """A page that comes back unscrubbed, between two of the script's actions, and is clean when it ends."""

    def script(hostile: Hostile, scene: Scene) -> Script[bool]:
        yield from until(Moment.TOKEN)
        yield from hostile.recall(1)
        yield from hostile.kernel.secure.poll()
        base, _ = yield from hostile.released_run()
        yield from succeed(MEM_RECLAIM, base, 1, 0)
        yield from write(base, bytes(PAGE_SIZE))
        yield from hostile.forget_granted(base)
        scene.credit("nothing")
        return False

    images = mutated(Mutation("el3/flexmem.c", "zero_page(page_address(page));", "(void)zero_page;"), tmp_path)
    (verdict,) = run([Attack("looks away", "", script)], images=images)
    assert (verdict.blocked, verdict.by) == (False, "nothing, and returned_pages_hold_zeros was broken")


def blocked(mutation: Mutation, attacks: tuple[str, ...], folder: Path, *, lifted: bool) -> list[str]:
    """What a monitor that is built in ``folder`` still stops."""
    verdicts = run(select(attacks), images=mutated(mutation, folder), lifted=lifted)
    return [verdict.name for verdict in verdicts if verdict.blocked]


def mutated(mutation: Mutation, folder: Path) -> Images:
    build(folder, ["monitor"], mutation)
    whole = Images.load()
    return Images(Image.load(folder / "monitor.elf"), whole.gate, whole.probe)
