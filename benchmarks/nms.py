# SPDX-License-Identifier: Apache-2.0
"""Compare NMS and soft-NMS with the published loops, bit for bit, and with OpenCV's functions, in time.

    python -m benchmarks.nms                       # about a minute, of which the compiler takes a part
    python -m benchmarks.nms --rows 200 1000       # seconds

`benchmarks/reference_nms.pyx` writes the published loops again.  It is compiled here, in a temporary folder and with
the compiler flags of a plain `python setup.py install`.  OpenCV's NMSBoxes and softNMSBoxes count pixels without + 1,
and softNMSBoxes takes whole numbers and has no hard method: they are timed only.  The exit status is 1 if a result
differs from the published loops in one bit, or a ratio to OpenCV misses its bar.

Rows are float32 `x1 y1 x2 y2 score`, xyxy pixels on a 1024 x 768 image; a face is 30 pixels wide in the median
(log-normal, 8 to 300) and a fifth higher.  In `spread` each row is a face of its own, so that most survive: the slow
case.  In `clustered` twenty rows crowd on each face, as before suppression in a detector without a peak test.
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

import cv2
import numpy as np

from dependency.errors import InputError
from src.cli.program import run

SOURCE = Path(__file__).with_name("reference_nms.pyx")
SIZES = (200, 1000, 5000, 20000)
SCENES = {"spread": 1, "clustered": 20}                  # rows a face
METHODS = {"soft gaussian": 2, "soft linear": 1, "soft hard": 0}
OPENCV_METHODS = {"soft gaussian": cv2.dnn.SoftNMSMethod_SOFTNMS_GAUSSIAN,
                  "soft linear": cv2.dnn.SoftNMSMethod_SOFTNMS_LINEAR}
NMS = "nms"
SIGMA, SOFT_OVERLAP, THRESHOLD, HARD_OVERLAP = 0.5, 0.3, 0.001, 0.4
SOFT_BAR, NMS_BAR = 8.0, 5.0                            # times as fast as OpenCV, 1,000 spread rows


@dataclass(frozen=True)
class Times:
    """Seconds of one function over alternating runs."""
    least: float
    median: float


def draw_rows(generator: np.random.Generator, count: int, rows_per_face: int) -> np.ndarray:
    """Draw detections as the module's text describes them: [count, 5] float32."""
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


def compile_reference(folder: Path) -> ModuleType:
    """Compile `reference_nms.pyx` in `folder` with the flags that setuptools has by itself, and import it.

    Raises:
        InputError: there is no Cython or no compiler.
    """
    try:
        from Cython.Build import cythonize
        from setuptools import Distribution, Extension
        from setuptools.errors import BaseError
    except ImportError as error:
        raise InputError(f"{error}: the reference is compiled here; pip install 'cython>=3' setuptools") from error
    source = folder / SOURCE.name
    source.write_bytes(SOURCE.read_bytes())
    name = SOURCE.stem
    extensions = cythonize([Extension(name, [str(source)])], language_level=3, quiet=True)
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
    """Import the project's compiled module.

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
    """Return a call of `case` on `rows` that gives the kept rows (soft) or their indices (nms)."""
    if case == NMS:
        return lambda: np.array(module.nms(rows, HARD_OVERLAP), np.intp)

    def soft_nms() -> np.ndarray:
        changed = rows.copy()
        kept = module.soft_nms(changed, SIGMA, SOFT_OVERLAP, THRESHOLD, METHODS[case])
        return changed[:kept if isinstance(kept, int) else len(kept)]
    return soft_nms


def call_opencv(case: str, rows: np.ndarray) -> Callable[[], object] | None:
    """Return a call of OpenCV's function for `case` on `rows`; None where it has none."""
    boxes = rows[:, :4].copy()
    boxes[:, 2:] -= boxes[:, :2]
    scores = rows[:, 4].tolist()
    if case == NMS:
        xywh = boxes.tolist()
        return lambda: cv2.dnn.NMSBoxes(xywh, scores, 0.0, HARD_OVERLAP)
    if case not in OPENCV_METHODS:
        return None
    whole = boxes.round().astype(int).tolist()
    method = OPENCV_METHODS[case]
    return lambda: cv2.dnn.softNMSBoxes(whole, scores, THRESHOLD, SOFT_OVERLAP, 0, SIGMA, method)


def time_alternating(functions: list[Callable[[], object]], budget: float) -> list[Times]:
    """Time the functions, run in turns until `budget` seconds are used, once at least."""
    seconds: list[list[float]] = [[] for _ in functions]
    end = time.perf_counter() + budget
    while not seconds[0] or time.perf_counter() < end:
        for function, times in zip(functions, seconds):
            start = time.perf_counter()
            function()
            times.append(time.perf_counter() - start)
    return [Times(min(times), statistics.median(times)) for times in seconds]


def bar_of(scene: str, case: str, count: int) -> float | None:
    """Return the least ratio to OpenCV that is asked for, None where none is."""
    if scene != "spread" or count != 1000:
        return None
    return NMS_BAR if case == NMS else SOFT_BAR if case in OPENCV_METHODS else None


def compare(reference: ModuleType, kernel: ModuleType, rows: np.ndarray, scene: str, case: str,
            budget: float) -> bool:
    """Print one line of the table; return whether the result is equal and the bar reached."""
    published, ours = call(reference, case, rows), call(kernel, case, rows)
    opencv = call_opencv(case, rows)
    result = ours()
    equal = result.tobytes() == published().tobytes()
    times = time_alternating([published, ours, *([opencv] if opencv else [])], budget)
    ratios = [each.least / times[1].least for each in (times[0], *times[2:])]
    bar = bar_of(scene, case, len(rows))
    reached = bar is None or ratios[-1] >= bar
    verdict = "DIFFERS" if not equal else "" if bar is None else f"{'>=' if reached else 'MISSES'} {bar:.0f}"
    cells = [f"{1e3 * each.least:10.3f} /{1e3 * each.median:9.3f}" for each in times]
    cells += [f"{'-':>21}"] * (3 - len(cells))
    print(f"{scene:10}{case:14}{len(rows):6}{len(result):7}{''.join(cells)}{ratios[0]:10.1f}"
          f"{f'{ratios[1]:.1f}' if opencv else '-':>8}  {verdict}", flush=True)
    return equal and reached


def main(argv: list[str] | None = None) -> int:
    """Print the table; 1 if a result differs or a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.nms", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=SIZES, metavar="N", help="Numbers of rows in an image.")
    parser.add_argument("--budget", type=float, default=0.5, help="Seconds of runs in turns per line (default: 0.5).")
    parser.add_argument("--seed", type=int, default=0, help="Seed of the random rows (default: 0).")
    args = parser.parse_args(argv)
    if min(args.rows) < 1:
        raise InputError(f"--rows {min(args.rows)}: expected 1 or more")
    kernel = import_kernel()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        reference = compile_reference(Path(folder))
        print("milliseconds, least / median; how many times as fast as the published loops and as OpenCV\n"
              f"{'rows':10}{'function':14}{'N':>6}{'kept':>7}{'published':>21}{'ours':>21}{'OpenCV':>21}"
              f"{'published':>10}{'OpenCV':>8}  bar")
        good = True
        for scene, rows_per_face in SCENES.items():
            for count in args.rows:
                rows = draw_rows(np.random.default_rng(args.seed), count, rows_per_face)
                for case in (*METHODS, NMS):
                    good &= compare(reference, kernel, rows, scene, case, args.budget)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(run(main))
