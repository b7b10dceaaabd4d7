# SPDX-License-Identifier: Apache-2.0
"""How much faster NMS and soft-NMS are than the references' loops, on the same rows and with the same bits.

    python -m benchmarks.nms                       # about a minute, of which the compiler takes a part
    python -m benchmarks.nms --rows 200 1000       # seconds

`benchmarks/reference_nms.pyx` writes the references' loops again. It is compiled here, in a temporary folder and with
the compiler flags of a plain `python setup.py install`, in two ways: as the references are (`reference`; a little
faster than they are), and with every name typed and every check of Cython's off (`typed`), the best that such loops
can be. The exit status is 1 if a result differs in one bit or a ratio to `reference` misses its bar.

Rows are float32 `x1 y1 x2 y2 score`, xyxy pixels on a 1024 x 768 image; a face is 30 pixels wide in the median
(log-normal, 8 to 300) and a fifth higher. In `spread` each row is a face of its own, so that most survive: the slow
case. In `clustered` twenty rows crowd on each face, as before suppression in a detector without a peak test.
"""
from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Callable

import numpy as np

from dependency.errors import InputError
from src.cli.program import run

SOURCE = Path(__file__).with_name("reference_nms.pyx")
SIZES = (200, 1000, 5000, 20000)
SCENES = {"spread": 1, "clustered": 20}                  # rows a face
METHODS = {"soft gaussian": 2, "soft linear": 1, "soft hard": 0}
NMS = "nms"
SIGMA, SOFT_OVERLAP, THRESHOLD, HARD_OVERLAP = 0.5, 0.3, 0.001, 0.4
# What makes `typed` of the source: Cython's directives and words to put in place of others.
UNCHECKED = {"boundscheck": False, "wraparound": False, "cdivision": True, "initializedcheck": False}
WITH_TYPES = {"cdef object score": "cdef float score",
              "(float a, float b):": "(float a, float b) noexcept nogil:"}
SOFT_BAR, NMS_BAR = 10.0, 8.0


@dataclass(frozen=True)
class Times:
    """Seconds of one function over alternating runs."""
    least: float
    median: float


def draw_rows(generator: np.random.Generator, count: int, rows_per_face: int) -> np.ndarray:
    """Detections as the module's text describes them: [count, 5] float32."""
    faces = max(1, count // rows_per_face)
    width = np.exp(generator.normal(np.log(30), 0.6, faces)).clip(8, 300)
    sizes = np.column_stack([width, 1.2 * width])
    centres = generator.uniform(0, (1024, 768), (faces, 2))
    if rows_per_face > 1:
        face = generator.integers(faces, size=count)
        centres = centres[face] + generator.normal(0, 0.12, (count, 2)) * sizes[face]
        sizes = sizes[face] * np.exp(generator.normal(0, 0.12, (count, 1)))
    scores = generator.uniform(0.05, 1, count)
    return np.column_stack([centres - sizes / 2, centres + sizes / 2, scores]).astype(np.float32)


def compile_reference(folder: Path, name: str, directives: dict[str, bool], words: dict[str, str]) -> ModuleType:
    """`reference_nms.pyx` as an extension module, with the flags that setuptools has by itself.

    Args:
        folder: where it is compiled and stays.
        name: of the module.
        directives: of Cython, for the whole file.
        words: text that takes the place of other text in the source.

    Raises:
        InputError: there is no Cython or no compiler.
    """
    try:
        from Cython.Build import cythonize
        from setuptools import Distribution, Extension
        from setuptools.errors import BaseError
    except ImportError as error:
        raise InputError(f"{error}: the reference is compiled here; pip install 'cython>=3' setuptools") from error
    text = SOURCE.read_text(encoding="utf-8")
    for old, new in words.items():
        text = text.replace(old, new)
    source = folder / f"{name}.pyx"
    source.write_text(text, encoding="utf-8")
    extensions = cythonize([Extension(name, [str(source)])], language_level=3, quiet=True,
                           compiler_directives=directives)
    command = Distribution({"name": name, "ext_modules": extensions}).get_command_obj("build_ext")
    command.build_lib = command.build_temp = str(folder)
    command.ensure_finalized()
    try:
        command.run()
    except BaseError as error:
        raise InputError(f"{SOURCE.name} does not compile ({error}): install a C compiler, as gcc") from error
    spec = importlib.util.spec_from_file_location(name, command.get_ext_fullpath(name))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def import_kernel() -> ModuleType:
    """The project's compiled module.

    Raises:
        InputError: it is not built.
    """
    try:
        from dependency.centernet.src.lib.external import nms
    except ImportError as error:
        raise InputError(f"{error}: the compiled NMS is not built; "
                         "python dependency/centernet/src/lib/external/setup.py install") from error
    return nms


def call(module: ModuleType, case: str, rows: np.ndarray) -> Callable[[], np.ndarray]:
    """A call of `case` on `rows` that gives the kept rows (soft) or their indices (nms)."""
    if case == NMS:
        return lambda: np.array(module.nms(rows, HARD_OVERLAP), np.intp)
    options = SIGMA, SOFT_OVERLAP, THRESHOLD, METHODS[case]
    if hasattr(module, "soft_nms_rows"):
        return lambda: module.soft_nms_rows(rows, *options)

    def in_place() -> np.ndarray:
        copy = rows.copy()
        return copy[:module.soft_nms(copy, *options)]
    return in_place


def time_alternating(functions: list[Callable[[], object]], budget: float) -> list[Times]:
    """Times of the functions, run in turns until `budget` seconds are used, once at least."""
    seconds: list[list[float]] = [[] for _ in functions]
    end = time.perf_counter() + budget
    while not seconds[0] or time.perf_counter() < end:
        for function, taken in zip(functions, seconds):
            start = time.perf_counter()
            function()
            taken.append(time.perf_counter() - start)
    return [Times(min(taken), statistics.median(taken)) for taken in seconds]


def bar_of(scene: str, case: str, count: int) -> float | None:
    """The least ratio that is asked for, None where none is."""
    if case == NMS:
        return NMS_BAR if scene == "spread" and count == 1000 else None
    # Hard suppression leaves so little of clustered rows that the call itself counts.
    return SOFT_BAR if count in (1000, 5000) and (scene, case) != ("clustered", "soft hard") else None


def compare(modules: list[ModuleType], rows: np.ndarray, scene: str, case: str, budget: float) -> bool:
    """Print one line of the table for the modules reference, typed, ours; whether it is as it should be."""
    functions = [call(module, case, rows) for module in modules]
    results = [function() for function in functions]
    equal = all(result.tobytes() == results[0].tobytes() for result in results)
    reference, typed, ours = time_alternating(functions, budget)
    ratio, bar = reference.least / ours.least, bar_of(scene, case, len(rows))
    reached = bar is None or ratio >= bar
    verdict = "DIFFERS" if not equal else "" if bar is None else f"{'>=' if reached else 'MISSES'} {bar:.0f}"
    cells = "".join(f"{1e3 * each.least:10.3f} /{1e3 * each.median:9.3f}" for each in (reference, typed, ours))
    print(f"{scene:10}{case:14}{len(rows):6}{len(results[0]):7}{cells}{ratio:8.1f}{typed.least / ours.least:8.1f}  "
          f"{verdict}", flush=True)
    return equal and reached


def main(argv: list[str] | None = None) -> int:
    """Print the table; 1 if a result differs or a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.nms", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=SIZES, metavar="N", help="rows of an image")
    parser.add_argument("--budget", type=float, default=0.5, help="seconds of alternating runs a line (0.5)")
    parser.add_argument("--seed", type=int, default=0, help="of the drawn rows (0)")
    args = parser.parse_args(argv)
    if min(args.rows) < 1:
        raise InputError(f"--rows {min(args.rows)}: expected 1 or more")
    kernel = import_kernel()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        modules = [compile_reference(Path(folder), "reference_plain", {}, {}),
                   compile_reference(Path(folder), "reference_typed", UNCHECKED, WITH_TYPES), kernel]
        print("milliseconds, least / median; ratios of the least\n"
              f"{'rows':10}{'function':14}{'N':>6}{'kept':>7}{'reference':>21}{'typed':>21}{'ours':>21}{'ratio':>8}"
              f"{'typed':>8}  bar")
        good = True
        for scene, rows_per_face in SCENES.items():
            for count in args.rows:
                rows = draw_rows(np.random.default_rng(args.seed), count, rows_per_face)
                for case in (*METHODS, NMS):
                    good &= compare(modules, rows, scene, case, args.budget)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(run(main))
