"""The native machine as Python sees it: `lib` holds the functions of `api.h`, `ffi` the types.

A source checkout refuses a module that was built from other sources than the ones beside it.
"""

from __future__ import annotations

import unicorn  # noqa: F401 - first: the native module has no RUNPATH and takes the libunicorn that is loaded already

from emulator.errors import StaleBuildError
from emulator.native.build import FOLDER, source_hash

try:
    from emulator.native._native import ffi, lib
except ModuleNotFoundError as error:
    raise StaleBuildError("the native module emulator.native._native is not built") from error

if (FOLDER / "api.h").exists() and ffi.string(lib.native_source_hash()).decode() != source_hash():
    raise StaleBuildError("the native module emulator.native._native was built from other sources than those present")

__all__ = ["ffi", "lib"]
