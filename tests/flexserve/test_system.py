"""The whole phone: a prompt served from Flex-Mem through the real monitor, while the normal world takes memory back."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from emulator.devices.trusted import fuse_key
from emulator.events import Event, EventKind
from emulator.gate import Flow, Notice, Registers
from emulator.memory_map import MIB, PAGE_SIZE
from flexserve.system import Generation, System
from monitor import abi
from monitor.services.messages import Service, ServiceStatus
from nworld.kernel import NormalKernel
from nworld.secure import ServiceFailed
from sworld.kernel import SecureKernel
from sworld.package import HEADER_SIZE, Package
from sworld.region import Kind, Region
from sworld.shape import SHARED
from sworld.workspace import Workspace
from tests.flexserve.phone import END, PROMPT, SLOT, Shown, greedy, package, phone, prompt_tokens, reference
from tests.reference import models
from tests.reference.arithmetic import Floats
from tests.reference.model import ServedModel
from tests.sworld.model_memory import shape_of

TOKENS = 10
MODEL = 2  # three layers, grouped queries, tied


class Unwilling(SecureKernel):
    """Returns from every entry without releasing a page."""

    def recall(self, owed: int) -> Flow[None]:
        yield from ()


def generate(system: System, tokens: int = TOKENS, **options: object) -> Generation:
    system.open(SLOT)
    return system.generate(PROMPT, tokens, **options)  # type: ignore[arg-type]


@pytest.fixture(name="expected", scope="module")
def _expected() -> tuple[int, ...]:
    return greedy(reference(MODEL), TOKENS)


@pytest.fixture(name="system")
def _system() -> Iterator[System]:
    system = phone(package(MODEL))
    yield system
    system.dispose()


@pytest.mark.parametrize("index", range(len(models.SIZES)))
def test_text_is_the_plain_references_under_recalls(index: int) -> None:
    system = phone(package(index))
    done = generate(system, recalls=((1, 3), (4, 20), (5, 1), (8, 100_000)))
    assert done.tokens == greedy(reference(index), TOKENS)
    assert done.prompt_tokens == len(prompt_tokens())
    assert done.stop == ("length" if len(done.tokens) == TOKENS else "end")
    system.dispose()


@pytest.mark.parametrize("token", [1, 2, TOKENS])
@pytest.mark.parametrize("pages", [1, 30, 64, 100, 1_000_000])
def test_recall_of_any_size_at_any_token_changes_no_token(token: int, pages: int, expected: tuple[int, ...]) -> None:
    shown = Shown()
    system = phone(package(MODEL), show=shown)
    assert generate(system, recalls=((token, pages),)).tokens == expected
    flexmem = system.usage().flexmem
    assert flexmem.requested == pages
    assert flexmem.forced == 0
    assert flexmem.reclaimed >= flexmem.recalled
    short = [] if flexmem.recalled == pages else [(flexmem.recalled, pages)]
    assert shown.of("short") == short
    system.dispose()


class Impatient(NormalKernel):
    """Takes memory back while it serves a load, after the blocks have arrived and before it says so."""

    loads = 0

    def _load_blocks(self, block: int, base: int, pages: int) -> Flow[Registers]:
        answer = yield from super()._load_blocks(block, base, pages)
        self.loads += 1
        if self.loads in (4, 6, 11, 30):
            yield from self.flexmem.press(25 if self.loads < 30 else 1_000_000)
        return answer


@pytest.mark.parametrize("secure_kernel", [SecureKernel, Unwilling])
def test_recall_in_the_middle_of_a_load_changes_no_token(
    secure_kernel: type[SecureKernel], expected: tuple[int, ...]
) -> None:
    system = phone(package(MODEL), normal_kernel=Impatient, secure_kernel=secure_kernel)
    before = system.normal.pages.free_pages
    assert generate(system, recalls=((3, 20), (6, 1_000_000))).tokens == expected
    assert isinstance(system.normal, Impatient) and system.normal.loads > 30
    system.close()
    assert system.normal.pages.free_pages == before
    system.dispose()


def test_unwilling_secure_world_loses_exactly_what_it_owes(expected: tuple[int, ...]) -> None:
    system = phone(package(MODEL), secure_kernel=Unwilling)
    forces: list[Event] = []

    def note(event: Event) -> None:
        if (event.args[0], event.args[3]) == (abi.MEM_RECLAIM.function, abi.FORCE):
            forces.append(event)

    system.machine.events.listen((EventKind.SMC,), note)
    assert generate(system, recalls=((4, 90),)).tokens == expected
    assert system.usage().flexmem.forced == 90
    assert len(forces) == -(-90 // abi.PAGES_PER_CALL)  # invariant 8: the locked pages adjoin
    system.dispose()


def test_revocation_is_acknowledged_before_any_thread_runs() -> None:
    system = phone(package(MODEL), secure_kernel=Unwilling)
    calls: list[tuple[int, int]] = []

    def note(event: Event) -> None:
        calls.append((event.args[0], event.args[3]))

    system.machine.events.listen((EventKind.SMC,), note)
    generate(system, recalls=((4, 5),))
    forced = calls.index((abi.MEM_RECLAIM.function, abi.FORCE))
    names = [abi.NAMES[function] for function, _ in calls[forced:]]
    acknowledged = names.index("MEM_ACK_REVOKED")
    assert set(names[1:acknowledged]) == {"SECURE_CALL", "MEM_NEXT_REVOKED", "NPU_UNMAP"}
    assert "SECURE_RESUME" in names[acknowledged:]
    system.dispose()


def test_every_page_returns_to_the_normal_world_when_the_model_is_closed(system: System) -> None:
    before = system.normal.pages.free_pages
    generate(system, recalls=((3, 10),))
    assert system.normal.pages.free_pages < before
    system.close()
    assert system.normal.pages.free_pages == before
    assert system.normal.flexmem.state.granted == set()


def test_same_seed_gives_the_same_run_and_another_seed_another_text() -> None:
    runs = []
    for seed in (1, 1, 2):
        system = phone(package(MODEL), seed=seed)
        done = generate(system, temperature=1.0, recalls=((2, 5),))
        runs.append((done, system.usage()))
        system.dispose()
    assert runs[0] == runs[1]
    assert runs[0][0].tokens != runs[2][0].tokens


def test_memory_size_does_not_show_in_the_text(expected: tuple[int, ...]) -> None:
    system = phone(package(MODEL), dram_bytes=64 * MIB)
    assert generate(system).tokens == expected
    system.power_off()
    system.dispose()


# Nothing is faked: what is in locked guest memory is what is computed with


def region(system: System, name: str) -> Region:
    return next(region for region in system.secure.pool.state.regions if region.name == name)


def flip(system: System, name: str, offset: int) -> None:
    """Change one byte behind the phone's back."""
    address = region(system, name).frames[offset // PAGE_SIZE] + offset % PAGE_SIZE
    system.machine.write_physical(address, bytes([system.machine.read_physical(address, 1)[0] ^ 0x55]))


def logits(system: System) -> Floats:
    """Of the last token computed, out of the workspace's pages."""
    shape = shape_of(models.SIZES[MODEL])
    data = b"".join(system.machine.read_physical(page, PAGE_SIZE) for page in region(system, "workspace").frames)
    return np.frombuffer(data, "<f4", shape.vocabulary, Workspace.logits)


class Watch(Shown):
    """Keeps the logits behind every token; acts once, after the first one."""

    system: System
    flipped: tuple[str, int] | None = None

    def __call__(self, notice: Notice) -> None:
        super().__call__(notice)
        if notice.kind == "token":
            self.last = logits(self.system).copy()
            if self.flipped and len(self.of("token")) == 1:
                flip(self.system, *self.flipped)


def second_logits(flipped: tuple[str, int]) -> tuple[tuple[int, ...], Floats]:
    """Tokens, and the logits behind the second of them."""
    watch = Watch()
    watch.flipped = flipped
    watch.system = phone(package(MODEL), show=watch)
    done = generate(watch.system, 2)
    watch.system.dispose()
    return done.tokens, watch.last


def test_flipped_weight_byte_gives_the_references_logits_for_that_weight() -> None:
    model = ServedModel.pack(models.weights(MODEL))
    first = greedy(model, 1)[0]
    embedding = model.matrix(model.shared, "embedding")
    row, column = first, 5
    rows, columns = embedding.values.shape
    weights = shared_offset("embedding") + -(-4 * rows // 1024) * 1024
    offset = weights + (row // 32 * -(-columns // 32) + column // 32) * 1024 + row % 32 * 32 + column % 32
    tokens, found = second_logits(("shared", offset))
    assert tokens[0] == first
    unchanged = model.step(first)
    greedy(model, 1)
    embedding.values[row, column] = np.int8(np.uint8(embedding.values[row, column]) ^ np.uint8(0x55))
    assert np.array_equal(found, model.step(first))
    assert not np.array_equal(found, unchanged)


def test_flipped_cache_byte_gives_the_references_logits_for_that_entry() -> None:
    model = ServedModel.pack(models.weights(MODEL))
    first = greedy(model, 1)[0]
    stride = 8 * model.sizes.kv_width
    position, byte = 3, 2
    tokens, found = second_logits(("kv of layer 1", position * stride + byte))
    assert tokens[0] == first
    keys = model.keys[1][position].reshape(-1).view(np.uint8)
    keys[byte] ^= 0x55
    assert np.array_equal(found, model.step(first))


def shared_offset(name: str) -> int:
    """Where a shared object lies in its chunk."""
    data = package(MODEL)
    return Package.parse(data[: Package.metadata_size(data[:HEADER_SIZE])], fuse_key(0)).place(SHARED, name)[1]


def test_unplugged_storage_after_a_full_recall_ends_the_run_by_name() -> None:
    class Unplug(Shown):
        system: System

        def __call__(self, notice: Notice) -> None:
            super().__call__(notice)
            if len(self.of("token")) == 3:
                self.system.board.storage.unplug()

    shown = Unplug()
    shown.system = phone(package(MODEL), show=shown)
    with pytest.raises(ServiceFailed, match="storage did not deliver block") as failed:
        generate(shown.system, recalls=((4, 1_000_000),))
    assert failed.value.status == ServiceStatus.STORAGE_FAILED
    assert len(shown.of("token")) == 3
    assert not shown.system.secure.pool.state.grants
    shown.system.dispose()


# What is refused, by name


def changed(data: bytes, offset: int) -> bytes:
    return data[:offset] + bytes([data[offset] ^ 1]) + data[offset + 1 :]


def swapped(data: bytes) -> bytes:
    """The first two layers in each other's place."""
    *_, first, second, _ = Package.parse(data, fuse_key(0)).chunks
    a, b = first.block * PAGE_SIZE, second.block * PAGE_SIZE
    return data[:a] + data[b : 2 * b - a] + data[a:b] + data[2 * b - a :]


@pytest.mark.parametrize(
    ("medium", "status"),
    [
        (changed(package(MODEL), len(package(MODEL)) - PAGE_SIZE), ServiceStatus.BAD_TAG),
        (changed(package(MODEL), 1000), ServiceStatus.BAD_TAG),
        (changed(package(MODEL), HEADER_SIZE + 52), ServiceStatus.MALFORMED_PACKAGE),
        (changed(package(MODEL), 0), ServiceStatus.MALFORMED_PACKAGE),
        (swapped(package(MODEL)), ServiceStatus.BAD_TAG),
        (package(MODEL, device_id=1), ServiceStatus.BAD_TAG),
        (package(MODEL, model_id=b"another model..."), ServiceStatus.WRONG_MODEL),
        (package(MODEL, version=2), ServiceStatus.OLD_VERSION),
        (package(MODEL)[: -5 * PAGE_SIZE], ServiceStatus.STORAGE_FAILED),
        (bytes(PAGE_SIZE), ServiceStatus.MALFORMED_PACKAGE),
        (b"", ServiceStatus.STORAGE_FAILED),
    ],
)
def test_package_that_is_not_the_slots_own_is_refused(medium: bytes, status: ServiceStatus) -> None:
    system = phone(medium)
    before = system.normal.pages.free_pages
    with pytest.raises(ServiceFailed) as failed:
        system.open(SLOT)
    assert failed.value.status == status
    with pytest.raises(ServiceFailed, match="no model is open"):
        system.generate(PROMPT, 1)
    assert system.normal.pages.free_pages == before
    assert system.secure.pool.state.regions == []
    system.dispose()


def test_unknown_slot_second_model_and_long_prompts_are_refused(system: System) -> None:
    with pytest.raises(ServiceFailed, match="no slot of this name"):
        system.open("nobody")
    system.open(SLOT)
    with pytest.raises(ServiceFailed, match="a model is open"):
        system.open(SLOT)
    with pytest.raises(ServiceFailed, match="the prompt's 101 tokens are more than"):
        system.generate("x" * 100, 1)


def test_model_larger_than_memory_is_refused_and_its_pages_return(system: System) -> None:
    pages = system.normal.pages
    while pages.free_pages > 64:
        pages.allocate(min(10, pages.largest_order() or 0))
    with pytest.raises(ServiceFailed, match="use a larger --dram"):
        system.open(SLOT)
    assert not any(region.kind is Kind.WEIGHTS for region in system.secure.pool.state.regions)


class Meddler(NormalKernel):
    """Calls the service again while one of its threads waits."""

    answers: tuple[int, ...] = ()

    def _token(self, token: int, size: int, more: int) -> Flow[Registers]:
        for service in (Service.CLOSE, Service.OPEN, Service.GENERATE):
            try:
                yield from self.secure.call(service, 0)
            except ServiceFailed as failed:
                self.answers = (*self.answers, failed.status)
        return (yield from super()._token(token, size, more))


def test_call_during_a_generation_is_refused_and_disturbs_nothing(expected: tuple[int, ...]) -> None:
    system = phone(package(MODEL), normal_kernel=Meddler)
    assert generate(system).tokens == expected
    assert isinstance(system.normal, Meddler)
    assert set(system.normal.answers) == {ServiceStatus.IN_USE}
    system.dispose()


@pytest.mark.parametrize(("base", "pages"), [(0x4100_0000, 0), (0x4100_0800, 1), (0x4100_0000, 513), (0x0E00_0000, 1)])
def test_shared_memory_must_be_normal_dram(base: int, pages: int) -> None:
    class Sharer(NormalKernel):
        def _boot(self, first: int, end: int) -> Flow[None]:
            yield from self.secure.call(Service.SHARE, base, pages)

    with pytest.raises(ServiceFailed, match="out of range"):
        phone(package(MODEL), normal_kernel=Sharer)


def test_shared_memory_is_named_once(system: System) -> None:
    with pytest.raises(ServiceFailed, match="once per boot"):
        system.run("share", system.normal.client.share)


def test_end_token_is_no_part_of_the_text() -> None:
    assert END not in greedy(reference(MODEL), TOKENS)
