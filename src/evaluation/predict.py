# SPDX-License-Identifier: Apache-2.0
"""Predictions of checkpoints on the images of a split, as a WIDER prediction tree.

    load = detector_loader(cfg, names)                      # checkpoint file -> detector
    tested = predict_checkpoints(candidates, images, load, cfg)

Knows no model: a detector is anything with `run(image) -> Faces` and, for batches, `run_batch(images, batch_size)`.
"""
from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any, Callable

import numpy as np

from dependency.centernet.src.lib.detectors.base_detector import NonFiniteMaps, format_size
from dependency.centernet.src.lib.detectors.faces import Faces
from dependency.centernet.src.lib.utils.image_file import read_image
from dependency.errors import InputError
from dependency.evaluate.prediction_io import write_prediction
from src.common.log import END_TEST, LOGGER, START_TEST
from src.common.progress import progress_bar
from src.evaluation.checkpoints import Candidate, nothing_tested
from src.evaluation.options import detector_options
from src.evaluation.provenance import write_settings
from src.evaluation.split_images import prediction_path

DECODED_AHEAD = 4
# Images read ahead for each place of a batch, to find some of equal size.
READ_PER_PLACE = 8

Loader = Callable[[Path], Any]


class UnusableCheckpoint(InputError):
    """A checkpoint is damaged or diverged; the other checkpoints can still be tested."""


def detector_loader(cfg: Any, names: set[str]) -> Loader:
    """Start the backend and make the function from a checkpoint file to its detector.

    Args:
        cfg: the options of test.py.
        names: the options that the user set; they win over the checkpoint's metadata.
    """
    from src.inference.backends import build_detector, new_backend
    backend = new_backend(cfg.backend, cfg.model, cfg.device_target)

    def load(path: Path) -> Any:
        detector = build_detector(backend, backend.load(path), **detector_options(cfg, names))
        LOGGER.info("%s: test size %s", path.name, format_size(detector.test_size))
        return detector
    return load


def predict_checkpoints(candidates: list[Candidate], images: Sequence[str], load: Loader, cfg: Any,
                        on_tested: Callable[[Candidate], None] | None = None) -> list[Candidate]:
    """Test checkpoints one after another and return those that could be used; the others are logged.

    Args:
        candidates: see `find_checkpoints`.
        images: see `list_images`.
        load: see `detector_loader`.
        cfg: save_dir and the options that `predict_checkpoint` reads.
        on_tested: called with each checkpoint whose tree is complete.

    Raises:
        InputError: an image cannot be read; a single checkpoint, or every one of several, is unusable.
    """
    tested = []
    for candidate in candidates:
        try:
            predict_checkpoint(candidate, images, load, cfg)
        except UnusableCheckpoint as error:
            if len(candidates) == 1:
                raise
            LOGGER.error("%s", error)
            continue
        tested.append(candidate)
        if on_tested:
            on_tested(candidate)
    if not tested:
        raise nothing_tested(candidates)
    return tested


def predict_checkpoint(candidate: Candidate, images: Sequence[str], load: Loader, cfg: Any,
                       on_written: Callable[[str], None] | None = None) -> None:
    """Write the predictions of one checkpoint.

    Args:
        candidate, images, load: see `predict_checkpoints`.
        cfg: data_dir, save_dir, score_digits, batch_size, save_landmarks.
        on_written: called with the name of every image whose file is complete.

    Raises:
        UnusableCheckpoint: it cannot be loaded, or gives NaN.
        InputError: images cannot be read; the others are predicted first.
    """
    try:
        detector = load(candidate.path)
    except InputError as error:
        raise UnusableCheckpoint(str(error)) from error
    folder = Path(cfg.save_dir) / candidate.folder
    try:
        predict_images(detector, images, Path(cfg.data_dir), folder, candidate.path.name,
                       cfg.score_digits, cfg.batch_size, cfg.save_landmarks, on_written)
    except NonFiniteMaps as error:
        raise UnusableCheckpoint(f"{candidate.path}: {error}") from error
    write_settings(folder, candidate.path, detector)


def predict_images(detector: Any, images: Sequence[str], data_dir: Path, folder: Path, title: str = "test",
                   score_digits: int = 3, batch_size: int = 1, landmarks: bool = False,
                   on_written: Callable[[str], None] | None = None) -> None:
    """Find the faces of every image and write `<folder>/<event>/<name>.txt`.

    Args:
        detector: `run(image BGR uint8 [H, W, 3]) -> Faces`.
        images: "<event>/<name>.jpg", below `data_dir`.
        folder: the prediction tree.
        title: of the progress bar.
        score_digits: decimals of the scores.
        batch_size: see `detect_images`.
        landmarks: see `write_prediction`.
        on_written: called with the name of every image whose file is complete.

    Raises:
        InputError: images cannot be read; the others are predicted first.
        NonFiniteMaps: the network gives NaN.
    """
    LOGGER.debug(START_TEST)
    verbose = LOGGER.isEnabledFor(10)
    events: dict[str, int] = {}
    start = time.monotonic()
    with progress_bar(len(images), "images", title, shown=not verbose) as bar:
        for done, (name, faces, seconds) in enumerate(detect_images(detector, images, data_dir, batch_size), start=1):
            write_prediction(prediction_path(folder, name), name, faces, score_digits, landmarks)
            bar.update()
            if on_written:
                on_written(name)
            event = events.setdefault(str(PurePosixPath(name).parent), len(events))
            LOGGER.debug("img_path=%s", data_dir / name)
            LOGGER.debug("event:%d, num:%d", event, done)
            LOGGER.debug("============num %d time %.3f", done, seconds * 1000)
    total = time.monotonic() - start
    LOGGER.info("%s: %d images in %.1f s, %.2f a second, written to %s", title, len(images), total,
                len(images) / total, folder)
    LOGGER.debug(END_TEST)


def detect_images(detector: Any, images: Sequence[str], data_dir: Path,
                  batch_size: int = 1) -> Iterator[tuple[str, Faces, float]]:
    """Yield (image, its faces, seconds) in the order of `images`.

    Args:
        detector: `run(image BGR uint8 [H, W, 3]) -> Faces`; `run_batch` where batch_size is over 1.
        images: "<event>/<name>.jpg", below `data_dir`.
        batch_size: most images of one input size that go through the network together.

    Raises:
        InputError: images cannot be read; each is logged, and this is raised after all others.
        NonFiniteMaps: the network gives NaN; names the images that were looked at together.
    """
    chunk: list[np.ndarray] = []
    names: list[str] = []
    bad: list[str] = []
    limit = 1 if batch_size == 1 else batch_size * READ_PER_PLACE
    for count, (name, decoded) in enumerate(zip(images, decode_ahead([data_dir / name for name in images])), start=1):
        try:
            chunk.append(decoded.result())
            names.append(name)
        except (InputError, OSError) as error:
            LOGGER.error("%s", error)
            bad.append(name)
        if not chunk or len(chunk) < limit and count < len(images):
            continue
        start = time.perf_counter()
        try:
            results = [detector.run(chunk[0])] if limit == 1 else detector.run_batch(chunk, batch_size)
        except NonFiniteMaps as error:
            raise NonFiniteMaps(f"{', '.join(names)}: {error}") from error
        seconds = (time.perf_counter() - start) / len(chunk)
        yield from ((name, faces, seconds) for name, faces in zip(names, results))
        chunk, names = [], []
    if bad:
        raise InputError(f"{len(bad)} image{'s' * (len(bad) > 1)} in {data_dir} cannot be read, first {bad[0]}; the "
                         "others are done; copy it again, or remove it and give --only_existing")


def decode_ahead(paths: Sequence[Path], ahead: int = DECODED_AHEAD) -> Iterator[Future[np.ndarray]]:
    """Yield the result of `read_image` for each file; a thread reads while the caller works on the one before."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        waiting: deque = deque()
        for path in paths:
            waiting.append(pool.submit(read_image, path))
            if len(waiting) > ahead:
                yield waiting.popleft()
        yield from waiting
