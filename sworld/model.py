"""An open model: its checked package, its weights, and the memory that its transformer works in."""

from __future__ import annotations

from emulator.gate import Flow, charge, costs
from monitor.services.messages import ServiceStatus

from .errors import Refused
from .flexmem import Pool, Rpc
from .loader import Loader, Storage
from .memory import PoolMemory
from .package import HEADER_SIZE, NotGenuine, Package, PackageError
from .products import ProductEngine
from .transformer import Transformer
from .trusted import Slot


class OpenModel:
    """Made by `open`."""

    def __init__(self, pool: Pool, rpc: Rpc, package: Package, engine: ProductEngine | None = None) -> None:
        self.shape = package.shape
        self._tokenizer = package.tokenizer
        self._loader = Loader(pool, Storage(pool, rpc), rpc, package)
        self._memory = PoolMemory(pool, self._loader, package.shape)
        self.transformer = Transformer(package.shape, self._memory, engine)

    @classmethod
    def open(
        cls, pool: Pool, rpc: Rpc, slot: Slot, fuse_key: bytes, engine: ProductEngine | None = None
    ) -> Flow[OpenModel]:
        """Read and check the metadata of the package that storage holds for ``slot``. Raises Refused.

        ``engine`` computes the matrix products; without one the processor does.
        """
        storage = Storage(pool, rpc)
        try:
            header = yield from storage.copy(0, HEADER_SIZE)
            metadata = yield from storage.copy(0, Package.metadata_size(header))
            yield from charge(costs.decrypt(len(metadata)))
            package = Package.parse(metadata, fuse_key)
        except NotGenuine as refused:
            raise Refused(ServiceStatus.BAD_TAG, refused.chunk) from None
        except PackageError:
            raise Refused(ServiceStatus.MALFORMED_PACKAGE) from None
        if package.identity.model_id != slot.model_id:
            raise Refused(ServiceStatus.WRONG_MODEL)
        if package.identity.version < slot.minimum_version:
            raise Refused(ServiceStatus.OLD_VERSION, package.identity.version)
        return cls(pool, rpc, package, engine)

    @property
    def end_token(self) -> int:
        return self._tokenizer.end

    @property
    def weight_pages(self) -> int:
        return self._loader.pages

    def encode(self, prompt: bytes) -> list[int]:
        """Token ids of a prompt, its beginning marked as the model wants it. Raises Refused."""
        try:
            tokens = self._tokenizer.encode(prompt.decode())
        except UnicodeDecodeError:
            raise Refused(ServiceStatus.BAD_REQUEST) from None
        if not tokens:
            raise Refused(ServiceStatus.EMPTY_PROMPT)
        if len(tokens) > self.shape.context:
            raise Refused(ServiceStatus.PROMPT_TOO_LONG, len(tokens))
        return tokens

    def text(self, token: int) -> bytes:
        """What a generated token adds to the text; perhaps only a part of a character."""
        return self._tokenizer.piece(token)

    def load_all(self) -> Flow[None]:
        """Bring in all weights that are not there. Raises Refused."""
        yield from self._loader.load_all()

    def begin(self) -> None:
        """A new request: nothing of it is cached."""
        self._memory.set_cached_tokens(0)

    def end(self) -> Flow[None]:
        """The request is over: its cache and activations are dropped."""
        yield from self._memory.clear()
