"""The model service: opens the package of a slot, and generates text with it. One model, one call at a time."""

from __future__ import annotations

import math
from collections.abc import Callable

from emulator.gate import Flow, Registers, charge, costs
from monitor.services.messages import GenerateRequest, OpenRequest, Request, Service, ServiceStatus, StopReason

from .errors import Refused
from .extent import Extent
from .flexmem import Pool, Rpc
from .mapping import Mapping
from .model import OpenModel
from .npu import NpuEngine
from .npu_limits import npu_limits
from .sampler import Sampling
from .shared import MAX_PAGES, SharedMemory
from .transformer import ArithmeticRefused
from .trusted import TrustedDriver

Handler = Callable[..., Flow[Registers]]


class ModelService:
    """Serves the calls of the normal world; each handler takes x2-x5 and returns the results after the status."""

    def __init__(
        self, pool: Pool, mapping: Mapping, rpc: Rpc, trusted: TrustedDriver, npu: NpuEngine | None = None
    ) -> None:
        self.model: OpenModel | None = None
        self.handlers: dict[int, Handler] = {
            Service.POLL: self._poll,
            Service.SHARE: self._one_at_a_time(self._share),
            Service.OPEN: self._one_at_a_time(self._open),
            Service.GENERATE: self._one_at_a_time(self._generate),
            Service.CLOSE: self._one_at_a_time(self._close),
        }
        self._pool = pool
        self._mapping = mapping
        self._rpc = rpc
        self._trusted = trusted
        self._npu = npu
        self._shared: SharedMemory | None = None
        self._in_use = False

    def _one_at_a_time(self, handler: Handler) -> Handler:
        """The normal world may call again while a thread of ours waits for it; such calls are refused."""

        def guarded(*arguments: int) -> Flow[Registers]:
            if self._in_use:
                raise Refused(ServiceStatus.IN_USE)
            self._in_use = True
            try:
                return (yield from handler(*arguments))
            finally:
                self._in_use = False

        return guarded

    def _poll(self, *_: int) -> Flow[Registers]:
        yield from ()
        return ()

    def _share(self, base: int, pages: int, *_: int) -> Flow[Registers]:
        if self._shared:
            raise Refused(ServiceStatus.ALREADY_SHARED)
        extent = Extent(base, pages)
        if not 0 < pages <= MAX_PAGES or not self._pool.may_share(extent):
            raise Refused(ServiceStatus.BAD_REQUEST, base)
        self._pool.shared = extent
        self._shared = yield from SharedMemory.attach(self._mapping, base, pages)
        return ()

    def _open(self, offset: int, *_: int) -> Flow[Registers]:
        """Check the package of a slot and load its weights."""
        if self.model:
            raise Refused(ServiceStatus.ALREADY_OPEN)
        request = yield from self._memory().copy_in(offset, OpenRequest.SIZE)
        try:
            name = OpenRequest.unpack(request).slot
        except UnicodeDecodeError:
            raise Refused(ServiceStatus.UNKNOWN_SLOT) from None
        slot = yield from self._trusted.find_slot(name)
        key = yield from self._trusted.fuse_key()
        try:
            self.model = yield from OpenModel.open(self._pool, self._rpc, slot, key, self._npu)
            yield from self.model.load_all()
            if self._npu:
                self._npu.open(npu_limits(self.model.shape), (yield from self._trusted.random_bits()))
        except Refused:
            yield from self._forget_model()
            raise
        return (self.model.weight_pages,)

    def _close(self, *_: int) -> Flow[Registers]:
        self._open_model()
        return ((yield from self._forget_model()),)

    def _forget_model(self) -> Flow[int]:
        """Whatever there is of one, and every page of the pool goes back: how many."""
        self.model = None
        if self._npu:
            yield from self._npu.close()
        return (yield from self._pool.clear())

    def _generate(self, offset: int, *_: int) -> Flow[Registers]:
        """Continue a prompt; its text leaves a token at a time."""
        model, shared = self._open_model(), self._memory()
        request = GenerateRequest.unpack((yield from shared.copy_in(offset, GenerateRequest.SIZE)))
        _check(request, shared)
        prompt = yield from shared.copy_in(request.prompt_offset, request.prompt_size)
        yield from charge(costs.INSTRUCTIONS_PER_TEXT_BYTE * len(prompt))
        tokens = model.encode(prompt)
        sampling = Sampling(request.temperature, request.top_p, (yield from self._trusted.random_bits()))
        model.begin()
        try:
            generated, stop = yield from self._stream(model, shared, request, tokens, sampling)
        except Refused:
            yield from model.end()
            raise
        yield from model.end()
        return generated, len(tokens), stop

    def _stream(
        self, model: OpenModel, shared: SharedMemory, request: GenerateRequest, prompt: list[int], sampling: Sampling
    ) -> Flow[tuple[int, StopReason]]:
        tokens = list(prompt)
        limit = min(request.tokens, model.shape.context - len(prompt) + 1)
        for index in range(limit):
            try:
                token = yield from model.transformer.next_token(tokens, sampling, index)
            except ArithmeticRefused:
                raise Refused(ServiceStatus.NOT_FINITE, index + 1) from None
            if token == model.end_token:
                return index, StopReason.END
            tokens.append(token)
            text = model.text(token)
            if len(text) > request.text_size:
                raise Refused(ServiceStatus.BAD_REQUEST, request.text_size)
            yield from shared.copy_out(request.text_offset, text)
            yield from self._rpc(Request.TOKEN, token, len(text), int(index + 1 < limit))
        return limit, StopReason.LENGTH

    def _memory(self) -> SharedMemory:
        if self._shared is None:
            raise Refused(ServiceStatus.NOT_SHARED)
        return self._shared

    def _open_model(self) -> OpenModel:
        if self.model is None:
            raise Refused(ServiceStatus.NOT_OPEN)
        return self.model


def _check(request: GenerateRequest, shared: SharedMemory) -> None:
    """Refuse a descriptor (already copied) with a value out of range."""
    if not shared.holds(request.prompt_offset, request.prompt_size):
        raise Refused(ServiceStatus.BAD_REQUEST, request.prompt_offset)
    if not shared.holds(request.text_offset, request.text_size):
        raise Refused(ServiceStatus.BAD_REQUEST, request.text_offset)
    if not request.tokens:
        raise Refused(ServiceStatus.BAD_REQUEST, request.tokens)
    if not (math.isfinite(request.temperature) and request.temperature >= 0 and 0 < request.top_p <= 1):
        raise Refused(ServiceStatus.BAD_REQUEST)
