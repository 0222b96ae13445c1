"""A booted phone with a model of the plain reference in its storage, and what the reference says of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import numpy as np

from emulator.devices.trusted import Slot, fuse_key
from emulator.gate import Notice
from emulator.memory_map import MIB
from flexserve.system import Images, System
from nworld.kernel import NormalKernel
from nworld.npu_sandbox import NpuSandbox
from sworld.kernel import SecureKernel
from sworld.package import Identity, pack
from sworld.rope import rotation_steps
from sworld.shape import SHARED, Kind, ModelObject, ModelShape, layer_objects, shared_objects
from sworld.tokenizer import SPACE, PieceType, Tokenizer
from tests.reference import models
from tests.reference.arithmetic import Floats, Quantised
from tests.reference.model import ServedModel
from tests.sworld.model_memory import shape_of

MODEL_ID = b"reference model\0"
SLOT = "reference"
VERSION = 3
UNKNOWN, BEGIN, END, FIRST_BYTE, BLANK = 0, 1, 2, 3, 259
PROMPT = "In the beginning"


@cache
def images() -> Images:
    return Images.load()


@cache
def reference(index: int) -> ServedModel:
    return ServedModel.pack(models.weights(index))


def tokenizer(vocabulary: int) -> Tokenizer:
    """Bytes, the space, and pieces of two letters that no text has."""
    control = [("<unk>", PieceType.UNKNOWN), ("<s>", PieceType.CONTROL), ("</s>", PieceType.CONTROL)]
    single = [(f"<0x{byte:02X}>", PieceType.BYTE) for byte in range(256)]
    others = [(f"{chr(0x100 + index)}.", PieceType.NORMAL) for index in range(vocabulary - BLANK - 1)]
    pieces, types = zip(*control, *single, (SPACE, PieceType.NORMAL), *others, strict=True)
    return Tokenizer(pieces, (0.0,) * vocabulary, types, BEGIN, END, UNKNOWN, True, False, False)


def content(shape: ModelShape, thing: ModelObject, tensors: dict[str, Quantised | Floats]) -> bytes:
    if thing.kind is Kind.TABLE:
        return np.array(rotation_steps(shape.head_width, shape.rope_base), "<u8").tobytes()
    tensor = tensors[thing.name]
    return tensor.encode() if isinstance(tensor, Quantised) else tensor.tobytes()


@cache
def package(index: int, device_id: int = 0, model_id: bytes = MODEL_ID, version: int = VERSION) -> bytes:
    """Model ``index`` of the reference, packed."""
    model = reference(index)
    shape = shape_of(model.sizes)
    groups = [(SHARED, shared_objects(shape), model.shared)]
    groups += [(layer, layer_objects(shape), tensors) for layer, tensors in enumerate(model.layers)]
    contents = {
        (layer, thing.name): content(shape, thing, tensors) for layer, things, tensors in groups for thing in things
    }
    identity = Identity(SLOT, model_id, version)
    return pack(identity, shape, contents, tokenizer(shape.vocabulary), fuse_key(device_id))


def prompt_tokens(prompt: str = PROMPT) -> list[int]:
    return [BEGIN, *(BLANK if byte == ord(" ") else FIRST_BYTE + byte for byte in prompt.encode())]


def greedy(model: ServedModel, count: int, prompt: str = PROMPT) -> tuple[int, ...]:
    """What the reference generates."""
    model.forget()
    *first, last = prompt_tokens(prompt)
    for token in first:
        model.step(token)
    logits = model.step(last)
    tokens: list[int] = []
    while len(tokens) < count and int(np.argmax(logits)) != END:
        tokens.append(int(np.argmax(logits)))
        if len(tokens) < count:
            logits = model.step(tokens[-1])
    return tuple(tokens)


@dataclass
class Shown:
    """Notices of the apps, by kind."""

    notices: list[Notice] = field(default_factory=list)

    def __call__(self, notice: Notice) -> None:
        self.notices.append(notice)

    def of(self, kind: str) -> list[tuple[int, ...]]:
        return [notice.numbers for notice in self.notices if notice.kind == kind]


def phone(
    medium: bytes,
    *,
    dram_bytes: int = 128 * MIB,
    seed: int = 0,
    show: Shown | None = None,
    minimum_version: int = VERSION,
    secure_kernel: type[SecureKernel] = SecureKernel,
    normal_kernel: type[NormalKernel] = NormalKernel,
    driver_context: type[NpuSandbox] = NpuSandbox,
    use_npu: bool = True,
    npu_app: bool = False,
) -> System:
    """Booted; slot ``SLOT`` is provisioned."""
    system = System(
        dram_bytes,
        seed=seed,
        images=images(),
        show=show or Shown(),
        secure_kernel=secure_kernel,
        normal_kernel=normal_kernel,
        driver_context=driver_context,
        use_npu=use_npu,
        npu_app=npu_app,
    )
    system.board.trusted.provision(Slot(SLOT, MODEL_ID, minimum_version))
    system.board.storage.insert(medium)
    system.boot()
    return system
