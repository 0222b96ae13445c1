"""Builds the native module `emulator.native._native` with zig, the only compiler that the project asks for.

Every C file of this folder is a translation unit of its own, next to one that cffi generates: `api.h` and `*_api.h`
declare what Python may call, `callbacks.h` what C calls back. As a command it rebuilds the module in place:
`python emulator/native/build.py`. That takes seconds, for zig keeps and reuses what has not changed.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import platform
import shlex
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

MODULE = "emulator.native._native"
FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent.parent
OBJECTS = ROOT / "build" / "native"

# The oldest glibc that Unicorn's own wheel runs on is 2.17; 2.28 is what Python >= 3.11 is commonly built against.
# The CPU is a portable baseline: wider vectors are for run-time dispatch, and contraction would change results.
TARGETS = {
    "x86_64": ("-target", "x86_64-linux-gnu.2.28", "-mcpu=x86_64_v2"),
    "aarch64": ("-target", "aarch64-linux-gnu.2.28", "-mcpu=generic"),
}
CODE_FLAGS = (
    "-std=c11", "-O2", "-fPIC", "-ffp-contract=off", "-fomit-frame-pointer", "-fvisibility=hidden", "-pthread",
)  # fmt: skip
WARNING_FLAGS = ("-Wall", "-Wextra", "-Werror")


class BuildError(Exception):
    """What is missing or failed, in one line; a compiler has already printed its own messages."""


def sources() -> list[Path]:
    """Every C file and header that goes into the module, and this file, in a fixed order."""
    return [*sorted([*FOLDER.glob("*.c"), *FOLDER.glob("*.h")]), FOLDER / "build.py"]


def source_hash() -> str:
    """SHA-256 over names and contents of the sources: compiled in, and compared when the module is imported."""
    digest = hashlib.sha256()
    for path in sources():
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def declarations(header: Path) -> str:
    """A header as cffi reads it: its parser knows no preprocessor, so directives (include guards) are dropped."""
    return "\n".join(line for line in header.read_text().splitlines() if not line.lstrip().startswith("#"))


def generate(output: Path) -> None:
    """Write cffi's translation unit, which also carries the source hash."""
    from cffi import FFI  # only a build needs cffi's C parser, and the package imports this file for source_hash

    headers = [FOLDER / "api.h", *sorted(FOLDER.glob("*_api.h"))]
    callbacks = FOLDER / "callbacks.h"
    ffi = FFI()
    for header in headers:
        ffi.cdef(declarations(header))
    ffi.cdef(f'extern "Python+C" {{\n{declarations(callbacks)}\n}}')
    ffi.cdef("const char *native_source_hash(void);")
    includes = "\n".join(f'#include "{header.name}"' for header in [*headers, callbacks])
    ffi.set_source(
        MODULE,
        f"#include <stdbool.h>\n#include <stddef.h>\n#include <stdint.h>\n{includes}\n"
        f'static const char *native_source_hash(void)\n{{\n\treturn "{source_hash()}";\n}}\n',
    )
    ffi.emit_c_code(str(output))


def build(output: Path) -> None:
    """Compile what changed and link the module at ``output``, one build of a checkout at a time.

    Raises BuildError when the host is not supported, something that the build needs is missing, or zig fails.
    """
    OBJECTS.mkdir(parents=True, exist_ok=True)
    with (OBJECTS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        compile_and_link(output)


def compile_and_link(output: Path) -> None:
    compiler, engine = (sys.executable, "-m", "ziglang", "cc", *target_flags()), unicorn_folder()
    generated = OBJECTS / "_native.c"
    generate(generated)
    units = [generated, *sorted(FOLDER.glob("*.c"))]
    compile_flags = [*CODE_FLAGS, f"-I{FOLDER}", f"-I{engine / 'include'}", *python_include_flags()]

    def compile_unit(unit: Path) -> Path:
        # cffi's code is not ours to keep free of warnings.
        warnings = ["-w"] if unit == generated else WARNING_FLAGS
        target = OBJECTS / f"{unit.stem}.o"
        command = [*compiler, *compile_flags, *warnings, "-c", str(unit), "-o", str(target)]
        run(command)
        return target

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compile_unit, units))
    output.parent.mkdir(parents=True, exist_ok=True)
    link(compiler, objects, unicorn_library(), output)


def link(compiler: Sequence[str], objects: Sequence[Path], engine: Path, output: Path) -> None:
    """Link in a side file, load it for its stub, and move it into place: a broken module never replaces a good one,
    and a running process keeps the one that it has mapped.

    libunicorn is named as a file: given as -L and -l, zig writes a RUNPATH into the (temporary) build environment.
    """
    side = output.with_name(f"{output.name}.new")
    run([*compiler, "-shared", "-pthread", *map(str, objects), str(engine), "-o", str(side)])
    run([sys.executable, str(FOLDER / "stub.py"), str(side), str(FOLDER / "_native.pyi")])
    side.replace(output)


def run(command: Sequence[str]) -> None:
    if subprocess.run(command, check=False).returncode:
        raise BuildError(f"failed: {shlex.join(command)}")


def target_flags() -> tuple[str, ...]:
    machine = platform.machine()
    if sys.platform != "linux" or machine not in TARGETS:
        raise BuildError(f"cannot build for {sys.platform} on {machine}: Linux on {' or '.join(TARGETS)} is supported")
    if importlib.util.find_spec("ziglang") is None:
        raise BuildError("the compiler is missing: pip install ziglang==0.17.1")
    return TARGETS[machine]


def unicorn_folder() -> Path:
    """The installed unicorn package, whose wheel carries the engine's headers and library."""
    spec = importlib.util.find_spec("unicorn")
    if spec is None or spec.origin is None:
        raise BuildError("the engine is missing: pip install unicorn==2.1.4")
    return Path(spec.origin).parent


def unicorn_library() -> Path:
    return unicorn_folder() / "lib" / "libunicorn.so.2"


def python_include_flags() -> list[str]:
    """Where Python.h is. Debian's pyconfig.h includes one beside it by a path from /usr/include: looked up last."""
    include = Path(sysconfig.get_path("include"))
    if not (include / "Python.h").exists():
        raise BuildError(f"{include}/Python.h is missing: install Python's headers (python3-dev on Debian)")
    return [f"-I{include}", f"-I{sysconfig.get_path('platinclude')}", "-idirafter", str(include.parent)]


if __name__ == "__main__":
    try:
        build(FOLDER / f"_native{sysconfig.get_config_var('EXT_SUFFIX')}")
    except BuildError as error:
        sys.exit(f"emulator/native/build.py: {error}")
