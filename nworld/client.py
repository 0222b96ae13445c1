"""The app that asks the secure world for text and shows it as it comes."""

from __future__ import annotations

from dataclasses import dataclass, field

from emulator.gate import Flow, Registers, notice, read, write
from emulator.memory_map import PAGE_SIZE
from monitor.services.messages import GenerateRequest, OpenRequest, Service, StopReason

from .flexmem import FlexMem
from .secure import SecureDriver

SHARED_PAGES = 64
REQUEST_OFFSET = 0
TEXT_OFFSET = PAGE_SIZE
PROMPT_OFFSET = 2 * PAGE_SIZE
PROMPT_LIMIT = SHARED_PAGES * PAGE_SIZE - PROMPT_OFFSET


class PromptTooLong(Exception):
    """The prompt does not fit in shared memory."""


@dataclass
class Generation:
    """One request: what came back so far. ``recalls``: pages to take before a generated token (1-based) is computed."""

    recalls: dict[int, int] = field(default_factory=dict)
    text: bytes = b""
    tokens: list[int] = field(default_factory=list)
    prompt_tokens: int = 0
    stop: StopReason = StopReason.LENGTH


class Client:
    """Shares the memory at physical address ``shared`` with the secure world."""

    def __init__(self, secure: SecureDriver, flexmem: FlexMem, shared: int) -> None:
        self.generation = Generation()
        self._secure = secure
        self._flexmem = flexmem
        self._shared = shared

    def share(self) -> Flow[None]:
        yield from self._secure.call(Service.SHARE, self._shared, SHARED_PAGES)

    def open(self, slot: str) -> Flow[Registers]:
        """Open the model of ``slot``: pages of its weights. Raises ServiceFailed."""
        yield from write(self._shared + REQUEST_OFFSET, OpenRequest(slot).pack())
        return (yield from self._secure.call(Service.OPEN, REQUEST_OFFSET))

    def close(self) -> Flow[None]:
        yield from self._secure.call(Service.CLOSE)

    def generate(
        self, prompt: bytes, tokens: int, temperature: float, top_p: float, recalls: tuple[tuple[int, int], ...]
    ) -> Flow[None]:
        """Continue ``prompt`` (UTF-8) by at most ``tokens`` tokens, into ``generation``.

        ``recalls``: (token, pages) pairs. Raises PromptTooLong, ServiceFailed.
        """
        if len(prompt) > PROMPT_LIMIT:
            raise PromptTooLong(f"the prompt has {len(prompt)} bytes, shared memory holds {PROMPT_LIMIT}: shorten it")
        self.generation = Generation()
        for token, pages in recalls:
            self.generation.recalls[token] = self.generation.recalls.get(token, 0) + pages
        request = GenerateRequest(PROMPT_OFFSET, len(prompt), TEXT_OFFSET, PAGE_SIZE, tokens, temperature, top_p)
        yield from write(self._shared + PROMPT_OFFSET, prompt)
        yield from write(self._shared + REQUEST_OFFSET, request.pack())
        yield from self._press_before(1)
        results = yield from self._secure.call(Service.GENERATE, REQUEST_OFFSET)
        self.generation.prompt_tokens, self.generation.stop = results[1], StopReason(results[2])

    def token(self, token: int, size: int, more: bool) -> Flow[None]:
        """Show a token's text; memory pressure may come before the next one is computed."""
        text = yield from read(self._shared + TEXT_OFFSET, min(size, PAGE_SIZE))
        self.generation.text += text
        self.generation.tokens.append(token)
        yield from notice("token", token, data=text)
        if more:
            yield from self._press_before(len(self.generation.tokens) + 1)

    def _press_before(self, token: int) -> Flow[None]:
        pages = self.generation.recalls.pop(token, 0)
        if pages:
            yield from self._flexmem.press(pages)
