"""The run of `flexserve run`: boot the phone, open a model, continue one prompt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from nworld.client import PromptTooLong
from nworld.secure import ServiceFailed

from .errors import UserError
from .model_file import load_model
from .recipe import FileReference, Recipe, Stage
from .system import Generation, System, Usage

DEVICES = ("cpu", "npu")


@dataclass(frozen=True)
class Served:
    """What came of it."""

    generation: Generation
    usage: Usage


@dataclass(frozen=True)
class RunRecipe(Recipe):
    """``recalls``: (token, pages) as `System.generate` takes them; ``model`` None: the demo model.

    ``device``: "npu" or "cpu", who computes the matrix products; ``npu_app``: an app uses the NPU beside it.
    """

    kind: ClassVar[str] = "run"

    prompt: str
    tokens: int
    seed: int
    temperature: float
    top_p: float
    recalls: tuple[tuple[int, int], ...]
    dram: int
    device_id: int
    model: FileReference | None
    device: str = "npu"
    npu_app: bool = False

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, object]) -> Self:
        values: dict[str, Any] = dict(parameters)
        del values["as_json"]
        values["recalls"] = tuple((recall.token, recall.pages) for recall in values["recalls"])
        values["model"] = FileReference(values["model"]) if values["model"] else None
        return cls(**values)

    @classmethod
    def from_options(cls, options: Mapping[str, object]) -> Self:
        values: dict[str, Any] = dict(options)
        values["recalls"] = tuple((int(token), int(pages)) for token, pages in values["recalls"])
        values["model"] = None if values["model"] is None else FileReference.read(values["model"])
        if values.setdefault("device", "npu") not in DEVICES:
            raise ValueError(f"device {values['device']!r} is none of {', '.join(DEVICES)}")
        return cls(**values)

    def options(self) -> dict[str, object]:
        values: dict[str, object] = dict(vars(self))
        values["recalls"] = [list(recall) for recall in self.recalls]
        values["model"] = self.model.as_json() if self.model else None
        return values

    def drive(self, stage: Stage) -> Served:
        if self.model:
            self.model.check()
        stored = load_model(self.model.path if self.model else None, self.device_id)
        system = System(
            self.dram,
            seed=self.seed,
            device_id=self.device_id,
            show=stage.show,
            use_npu=self.device == "npu",
            npu_app=self.npu_app,
            make_machine=stage.create_machine,
        )
        try:
            system.board.trusted.provision(stored.slot)
            system.board.storage.insert(stored.medium)
            system.boot()
            system.open(stored.slot.name)
            done = system.generate(self.prompt, self.tokens, self.temperature, self.top_p, self.recalls)
            return Served(done, system.usage())
        except (ServiceFailed, PromptTooLong) as error:
            raise UserError(str(error)) from error
        finally:
            system.dispose()
