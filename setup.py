"""Builds what is not Python: the firmware's ELFs and the native module. Everything else is in setup.cfg."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import ClassVar

from setuptools import Command, Extension, setup
from setuptools.command.build import build
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))  # a PEP 517 build does not put the checkout there

# By path: importing the package emulator.native would want the module that is about to be built.
native = runpy.run_path(str(ROOT / "emulator" / "native" / "build.py"))


class BuildNative(build_ext):
    """Hands the one extension to its own builder; distutils' compiler is never asked for."""

    def build_extension(self, ext: Extension) -> None:
        try:
            native["build"](Path(self.get_ext_fullpath(ext.name)).absolute())
        except native["BuildError"] as error:
            sys.exit(f"emulator/native/build.py: {error}")


class BuildFirmware(Command):
    """Puts the ELFs beside their sources, where package_data and an editable install find them."""

    editable_mode = False

    def initialize_options(self) -> None:
        pass

    def finalize_options(self) -> None:
        pass

    def run(self) -> None:
        from firmware.build import BuildError, build_all

        try:
            build_all()
        except BuildError as error:
            sys.exit(f"firmware/build.py: {error}")

    def get_source_files(self) -> list[str]:
        return []

    def get_outputs(self) -> list[str]:
        return []

    def get_output_mapping(self) -> dict[str, str]:
        return {}


class Build(build):
    # Before build_py, which collects the ELFs as package data.
    sub_commands: ClassVar = [("build_firmware", None), *build.sub_commands]


setup(
    ext_modules=[Extension(native["MODULE"], sources=[])],
    cmdclass={"build": Build, "build_ext": BuildNative, "build_firmware": BuildFirmware},
)
