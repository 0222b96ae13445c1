"""An open model: its checked package, its weights, and the memory that its transformer works in."""

from __future__ import annotations

from emulator.gate import Flow
from monitor.services.messages import ServiceStatus

from .errors import Refused
from .flexmem import Pool, Rpc
from .loader import Loader, Storage
from .memory import PoolMemory
from .package import Package, PackageError
from .tokenizer import Tokenizer
from .transformer import Transformer
from .trusted import Slot
