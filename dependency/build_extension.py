# SPDX-License-Identifier: Apache-2.0
"""What both `setup.py` files share: compile Cython files beside their sources, with flags that keep results
bit-exact.

    python dependency/evaluate/setup.py install                    # from any directory
    python dependency/centernet/src/lib/external/setup.py build_ext --inplace

`install` builds in place too: the project imports the module from its own folder, so nothing is put into
site-packages (no root rights, no foreign package called `nms`), and it works with every setuptools, with or
without its own `install`.
"""
import os
from pathlib import Path
from typing import ClassVar

from Cython.Build import cythonize
from setuptools import Command, Extension, setup
from setuptools.command.build_ext import build_ext

# A fused multiply-add rounds once where the NumPy twins round twice, so contraction stays off.  GCC
# vectorises conditional expressions only with -fno-trapping-math; floating-point exception flags are not used here.
# Nothing is tuned to this machine: a binary runs wherever its Python does.
FLAGS = {"msvc": ["/O2", "/fp:precise"], "unix": ["-O3", "-ffp-contract=off", "-fno-trapping-math"]}


class BuildExt(build_ext):
    """`build_ext` with the flags of the compiler at hand."""

    def build_extensions(self) -> None:
        """Set the flags, then compile."""
        flags = FLAGS["msvc" if self.compiler.compiler_type == "msvc" else "unix"]
        for extension in self.extensions:
            extension.extra_compile_args = flags
        super().build_extensions()


class Install(Command):
    """`setup.py install`: the module is built where the project imports it from."""

    description = "build the extension beside its source (nothing goes to site-packages)"
    user_options: ClassVar[list] = []

    def initialize_options(self) -> None:
        """Take no options."""

    def finalize_options(self) -> None:
        """Take no options."""

    def run(self) -> None:
        """Run `build_ext --inplace`."""
        self.reinitialize_command("build_ext", inplace=1)
        self.run_command("build_ext")


def build(folder: Path, *modules: str) -> None:
    """Run the setuptools command line for `<folder>/<module>.pyx` of every module.

    Args:
        folder: where the sources are and the compiled modules go; it becomes the working directory.
        modules: their names without suffix.
    """
    os.chdir(folder)
    extensions = [Extension(module, [f"{module}.pyx"]) for module in modules]
    setup(
        name=f"facedet-{modules[0].replace('_', '-')}",
        version="0.1.0",
        packages=[],
        py_modules=[],
        ext_modules=cythonize(extensions, language_level=3),
        cmdclass={"build_ext": BuildExt, "install": Install},
    )
