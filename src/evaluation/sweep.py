# SPDX-License-Identifier: Apache-2.0
"""Testing checkpoints on a split: which checkpoints, which images, and the WIDER prediction tree.

    images = list_images("ground_truth/val.mat", "images/val/images", only_existing=False)
    candidates = find_checkpoints(cfg, given)
    check_folders(candidates, images, Path(cfg.save_dir))
    for candidate in candidates:
        predict_images(detector, images, Path(cfg.data_dir), Path(cfg.save_dir) / candidate.folder)

Images are named "<event>/<name>.jpg", FDDB's "2002/08/11/big/img_591.jpg", in the tree as below the image folder.
Knows no model: a detector is anything with `run(image) -> Faces` and, for batches, `run_batch(images, batch_size)`.
"""
from __future__ import annotations

import re
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any, Callable, NamedTuple

import numpy as np

from dependency.centernet.src.lib.detectors.base_detector import NonFiniteMaps
from dependency.centernet.src.lib.detectors.faces import Faces
from dependency.centernet.src.lib.utils.image import read_image
from dependency.errors import InputError
from dependency.evaluate.fddb.files import fold_lists
from dependency.evaluate.prediction_io import write_prediction
from src.common.log import END_TEST, LOGGER, START_TEST
from src.data.annotations import read_annotations
from src.training.progress import Progress
from src.weights.checkpoint import checkpoint_name, list_checkpoints

SPLIT_OPTIONS = ("--ground_truth_mat", "--data_dir")
ARITHMETIC = ("device_num", "steps_per_epoch", "start", "end")
DECODED_AHEAD = 4
MATS = ("wider_face_val.mat", "val.mat")
# Images looked through for those of one size, for each that a batch takes.
LOOKED_THROUGH = 8


class Candidate(NamedTuple):
    """A checkpoint to test and its sub-folder of the save folder ("" for a single one)."""
    path: Path
    folder: str

    @property
    def epoch(self) -> int | None:
        """The epoch in the file's name, if it has one."""
        match = re.search(r"-(\d+)_\d+\.ckpt$", self.path.name)
        return int(match[1]) if match else None


def find_checkpoints(cfg: Any, given: set[str]) -> list[Candidate]:
    """The checkpoints that the options of test.py mean, in order of epoch; with the arithmetic some may not exist.

    Raises:
        InputError: the folder is absent or holds none; `--start` and `--end` mean none.
    """
    folder = Path(cfg.test_model or cfg.ckpt_path)
    if cfg.ckpt_name:
        inside, outside = folder / cfg.ckpt_name, Path(cfg.ckpt_name)
        return [Candidate(outside if outside.is_file() and not inside.is_file() else inside, "")]
    if folder.is_file():
        return [Candidate(folder, "")]
    if given.intersection(ARITHMETIC):
        epochs = [loop * cfg.device_num + cfg.rank + 1 for loop in range(cfg.start, cfg.end)]
        if not epochs:
            raise InputError(f"--start {cfg.start} --end {cfg.end}: no loop is in this range; end is not included")
        return [Candidate(folder / checkpoint_name(0, epoch, epoch * cfg.steps_per_epoch), str(epoch))
                for epoch in epochs]
    found = [Candidate(path, "") for path in list_checkpoints(folder)]
    if not found:
        below = sorted({path.parent for path in folder.glob("*/*.ckpt")})
        hint = f"did you mean --test_model {below[-1]}?" if below else "name one with --ckpt_name"
        raise InputError(f"{folder}: holds no checkpoint named like 0-125_24750.ckpt; {hint}")
    shared = Counter(candidate.epoch for candidate in found)
    return [candidate._replace(folder=str(candidate.epoch) if shared[candidate.epoch] == 1 else candidate.path.stem)
            for candidate in found]


def list_images(split: str | Path, data_dir: str | Path, only_existing: bool = False,
                options: tuple[str, str] = SPLIT_OPTIONS) -> list[str]:
    """The images of a split, in its order.

    Args:
        split: an annotation file (WIDER .mat, label.txt, ...), the folder of the WIDER .mat files, or FDDB-folds.
        data_dir: holds <event>/<name>.jpg.
        only_existing: leave out images that `data_dir` does not hold; without it they are an error.
        options: how the user names `split` and `data_dir`, for messages.

    Raises:
        InputError: no such file or folder; images missing; none left.
    """
    split, data_dir, (split_option, folder_option) = Path(split), Path(data_dir), options
    if not data_dir.is_dir():
        raise InputError(f"{folder_option}: no folder {data_dir}; expected the images as <event>/<name>.jpg below it")
    names = [record.path for file in split_files(split, split_option)
             for record in read_annotations(file, on_problem="collect")]
    missing = [name for name in names if not (data_dir / name).is_file()]
    if len(missing) == len(names):
        raise InputError(f"{folder_option} {data_dir}: holds none of the {len(names)} images of {split}; "
                         f"expected for example {data_dir / names[0] if names else '<event>/<name>.jpg'}")
    if missing and not only_existing:
        raise InputError(f"{folder_option} {data_dir}: {len(missing)} of {len(names)} images of {split} are missing, "
                         f"first {', '.join(missing[:3])}; --only_existing tests the others")
    if only_existing:
        LOGGER.info("tests %d of %d images of %s", len(names) - len(missing), len(names), split)
    absent = set(missing)
    return [name for name in names if name not in absent]


def split_files(split: Path, option: str = SPLIT_OPTIONS[0]) -> list[Path]:
    """The annotation files that name a split's images: the file itself, a folder's WIDER .mat or FDDB's folds.

    Raises:
        InputError: none of these.
    """
    if split.is_dir():
        folds = fold_lists(split)
        if folds and not any((split / name).is_file() for name in MATS):
            return folds
        split = next((split / name for name in MATS if (split / name).is_file()), split / MATS[0])
    if not split.is_file():
        raise InputError(f"{option}: no file {split}; expected val.mat or wider_face_val.mat of "
                         "WIDER FACE, the folder FDDB-folds of FDDB, or another annotation file")
    return [split]


def detect_images(detector: Any, images: Sequence[str], data_dir: Path,
                  batch_size: int = 1) -> Iterator[tuple[str, Faces, float]]:
    """(image, its faces, seconds) in the order of `images`.

    Args:
        detector: `run(image BGR uint8 [H, W, 3]) -> Faces`; `run_batch` where batch_size is over 1.
        images: "<event>/<name>.jpg", below `data_dir`.
        batch_size: most images of one input size that go through the network together.

    Raises:
        InputError: an unreadable image.
        NonFiniteMaps: the weights are unusable; names the image (or those it was among).
    """
    chunk: list[np.ndarray] = []
    limit = 1 if batch_size == 1 else batch_size * LOOKED_THROUGH
    for done, (_, image) in enumerate(decode_ahead([data_dir / name for name in images]), start=1):
        chunk.append(image)
        if len(chunk) < limit and done < len(images):
            continue
        names = images[done - len(chunk):done]
        start = time.perf_counter()
        try:
            found = [detector.run(image)] if limit == 1 else detector.run_batch(chunk, batch_size)
        except NonFiniteMaps as error:
            raise NonFiniteMaps(f"{', '.join(names)}: {error}") from error
        seconds = (time.perf_counter() - start) / len(chunk)
        chunk = []
        yield from ((name, faces, seconds) for name, faces in zip(names, found))


def predict_images(detector: Any, images: Sequence[str], data_dir: Path, folder: Path, title: str = "test",
                score_digits: int = 3, batch_size: int = 1, landmarks: bool = False,
                on_written: Callable[[str], None] | None = None) -> None:
    """Find the faces of every image and write `<folder>/<event>/<name>.txt`.

    Args:
        detector: `run(image BGR uint8 [H, W, 3]) -> Faces`.
        images: "<event>/<name>.jpg", below `data_dir`.
        folder: the prediction tree.
        title: for the progress line.
        score_digits: decimals of the scores.
        batch_size: see `detect_images`.
        landmarks: see `write_prediction`.
        on_written: gets the name of every image whose file stands.

    Raises:
        InputError: an unreadable image.
    """
    LOGGER.debug(START_TEST)
    verbose = LOGGER.isEnabledFor(10)
    events: dict[str, int] = {}
    with Progress(len(images), "images", title, bar=not verbose) as progress:
        for relative, faces, seconds in detect_images(detector, images, data_dir, batch_size):
            write_prediction(folder / prediction_name(relative), relative, faces, score_digits, landmarks)
            progress.advance()
            if on_written:
                on_written(relative)
            event = events.setdefault(str(PurePosixPath(relative).parent), len(events))
            LOGGER.debug("img_path=%s", data_dir / relative)
            LOGGER.debug("event:%d, num:%d", event, progress.done)
            LOGGER.debug("============num %d time %.3f", progress.done, seconds * 1000)
    LOGGER.info("%s: %d images in %.1f s, %.2f a second, written to %s", title, len(images), progress.seconds,
                progress.rate, folder)
    LOGGER.debug(END_TEST)


def prediction_name(image: str) -> str:
    """"<event>/<name>.txt" of "<event>/<name>.jpg"."""
    return str(PurePosixPath(image).with_suffix(".txt"))


def check_folders(candidates: Sequence[Candidate], images: Sequence[str], save_dir: Path) -> None:
    """`check_folder` of every checkpoint's tree, before any work; `images` are all of the split, whoever tests them."""
    for candidate in candidates:
        if candidate.path.is_file():
            check_folder(save_dir / candidate.folder, images)


def check_folder(folder: Path, images: Sequence[str]) -> None:
    """InputError if a tree already holds predictions that this run will not replace: AP would mix both."""
    expected = {prediction_name(image) for image in images}
    # Only as deep as these names: a sweep's folder may hold the trees of its epochs below.
    depths = {name.count("/") for name in expected}
    others = [path for depth in sorted(depths) for path in folder.glob("*/" * depth + "*.txt")
              if path.relative_to(folder).as_posix() not in expected]
    if others:
        raise InputError(f"--save_dir {folder}: already holds predictions of {len(others)} images that are not "
                         f"tested now, such as {others[0]}; remove the folder or choose another")


def decode_ahead(paths: Sequence[Path], ahead: int = DECODED_AHEAD) -> Iterator[tuple[Path, np.ndarray]]:
    """(path, image) of each file in order, read by a thread while the caller works on the one before."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        waiting: deque = deque()
        for path in paths:
            waiting.append((path, pool.submit(read_image, path)))
            if len(waiting) > ahead:
                first, image = waiting.popleft()
                yield first, image.result()
        for path, image in waiting:
            yield path, image.result()


def sweep(candidates: Sequence[Candidate], load: Callable[[Path], Any],
          test: Callable[[Any, Candidate], None]) -> tuple[list[Candidate], list[Candidate]]:
    """Test each checkpoint that exists and can be used; with a single candidate every error is raised.

    Args:
        candidates: see `find_checkpoints`.
        load: checkpoint file -> detector.
        test: what to do with the detector.

    Returns:
        (tested, failed): those not found are in neither.

    Raises:
        InputError: none could be tested.
    """
    if len(candidates) == 1:
        test(load(candidates[0].path), candidates[0])
        return list(candidates), []
    tested: list[Candidate] = []
    failed: list[Candidate] = []
    for candidate in candidates:
        try:
            if test_one(candidate, load, test):
                tested.append(candidate)
        except UnusableCheckpoint as error:
            LOGGER.error("%s", error)
            failed.append(candidate)
    if not tested:
        raise nothing_tested(candidates)
    return tested, failed


class UnusableCheckpoint(InputError):
    """One of several checkpoints is damaged or diverged; the others can go on."""


def test_one(candidate: Candidate, load: Callable[[Path], Any], test: Callable[[Any, Candidate], None]) -> bool:
    """Test one of several checkpoints; False, with a log line, if its file is not there.

    Raises:
        UnusableCheckpoint: it cannot be loaded, or finds NaN.
        InputError: anything else that `test` raises, such as an unreadable image.
    """
    if not is_there(candidate):
        return False
    try:
        detector = load(candidate.path)
    except InputError as error:
        raise UnusableCheckpoint(str(error)) from error
    try:
        test(detector, candidate)
    except NonFiniteMaps as error:
        raise UnusableCheckpoint(f"{candidate.path}: {error}") from error
    return True


def is_there(candidate: Candidate) -> bool:
    """Whether the checkpoint's file exists; logged if not."""
    found = candidate.path.is_file()
    if not found:
        LOGGER.info("%s not set/exists or not a pre-trained file", candidate.path)
    return found


def nothing_tested(candidates: Sequence[Candidate]) -> InputError:
    """The error of a sweep without any result."""
    return InputError(f"none of {len(candidates)} checkpoints was tested, first {candidates[0].path}; "
                      "check --test_model, --start, --end, --device_num and --steps_per_epoch")
