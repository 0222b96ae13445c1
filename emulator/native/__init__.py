"""The native machine as Python sees it: `lib` holds the functions of `api.h`, `ffi` the types.

A source checkout refuses a module that was built from other sources than the ones beside it.
"""

from __future__ import annotations

import os
import sys

from _cffi_backend import load_library

from emulator.errors import StaleBuildError
from emulator.native.build import FOLDER, source_hash, unicorn_library

# The native module has no RUNPATH and takes the libunicorn that is loaded already. Bound lazily, and the native module
# loaded for everyone, the engine's calls of what code_hook.c replaces find the replacement. Where somebody has imported
# unicorn before, they do not: everything works, at half the speed.
_engine = load_library(str(unicorn_library()), os.RTLD_LAZY | os.RTLD_LOCAL)
_flags = sys.getdlopenflags()
sys.setdlopenflags(os.RTLD_LAZY | os.RTLD_GLOBAL)
try:
    from emulator.native._native import ffi, lib
except ModuleNotFoundError as error:
    raise StaleBuildError("the native module emulator.native._native is not built") from error
finally:
    sys.setdlopenflags(_flags)

if (FOLDER / "api.h").exists() and ffi.string(lib.native_source_hash()).decode() != source_hash():
    raise StaleBuildError("the native module emulator.native._native was built from other sources than those present")

__all__ = ["ffi", "lib"]
