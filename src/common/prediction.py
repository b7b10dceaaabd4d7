# SPDX-License-Identifier: Apache-2.0
"""Faces in a person's own photographs: which files, the detector for them, what is written for each.

    predictor = Predictor(forward, card, score_threshold=0.35)
    predictor.run(find_images(["photos/"]), Path("found"))
"""
import json
import os
from pathlib import Path
from typing import Any, Optional, Sequence, Union

import cv2
import numpy as np

from dependency.centernet.src.lib.detectors.base_detector import ORIGINAL, Faces
from dependency.centernet.src.lib.utils.image import read_image
from dependency.errors import InputError
from dependency.evaluate.prediction_io import write_prediction
from dependency.files import atomic_write
from src.common import checkpoint
from src.common.draw import contact_sheet, draw_faces, write_image
from src.common.inference import Forward, build_detector
from src.common.log import LOGGER

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
# The network saw few faces wider than 500 pixels in training: larger photographs are shrunk to this.
LONGEST_SIDE = 1600
SHEET_COLUMNS, SHEET_CELL = 4, 480


class Predictor:
    """Draws and writes the faces of image files.

    Args:
        forward: the network, loaded with the card's checkpoint.
        card: of the checkpoint.
        test_size: see `BaseDetector`; None takes the original size, up to LONGEST_SIDE.
        **options: further arguments of `BaseDetector`.
    """

    def __init__(self, forward: Forward, card: dict[str, Any], test_size: Optional[Union[int, str]] = None,
                 **options: Any):
        self.longest = LONGEST_SIDE if test_size is None else None
        self.detector = build_detector(forward, card, test_size=test_size or ORIGINAL, **options)

    def find(self, image: np.ndarray) -> Faces:
        """The faces in an image uint8 [H, W, 3] BGR, in its pixels."""
        small, scale = shrink(image, self.longest)
        faces = self.detector.run(small)
        return Faces(faces.boxes / scale, faces.scores, faces.landmarks / scale)

    def run(self, paths: Sequence[Path], out: Path, sheet: Optional[str] = None) -> int:
        """Write drawing, text and JSON of each image into `out`; print a line for each.

        Returns:
            exit status: 1 where an image could not be read, else 0.

        Raises:
            InputError: a drawing would replace an image; no image could be read.
        """
        stems = output_names(paths, out)
        pictures: list[np.ndarray] = []
        done: list[str] = []
        for path, stem in zip(paths, stems):
            try:
                image = read_image(path, apply_orientation=True)
            except InputError as error:
                LOGGER.error("%s", error)
                continue
            faces = self.find(image)
            picture = draw_faces(image, faces)
            write_results(out / stem, path, image.shape[:2], faces, picture)
            best = f", best score {faces.scores[0]:.3f}" if len(faces) else ""
            print(f"{path}: {len(faces)} face{'' if len(faces) == 1 else 's'}{best} -> {out / stem}.jpg", flush=True)
            done.append(path.name)
            if sheet:
                pictures.append(shrink(picture, 2 * SHEET_CELL)[0])
        if not done:
            raise InputError(f"none of the {len(paths)} images could be read")
        if sheet:
            write_image(Path(sheet), contact_sheet(pictures, SHEET_COLUMNS, SHEET_CELL, done))
        return 0 if len(done) == len(paths) else 1


def find_images(sources: Sequence[Union[str, Path]]) -> list[Path]:
    """Image files: those named, and those in named folders (not below), sorted within a folder.

    Raises:
        InputError: nothing of this name; a folder without images.
    """
    found: list[Path] = []
    for source in map(Path, sources):
        if source.is_dir():
            inside = sorted(path for path in source.iterdir() if path.suffix.lower() in SUFFIXES)
            if not inside:
                raise InputError(f"{source}: no image in this folder; expected .jpg, .png or the like")
            found += inside
        elif source.is_file():
            found.append(source)
        else:
            raise InputError(f"{source}: no such image or folder")
    return list(dict.fromkeys(found))


def output_names(paths: Sequence[Path], out: Path) -> list[str]:
    """A name without suffix for each image's results; images that share one get a number.

    Raises:
        InputError: the drawing of an image would replace one of the images.
    """
    names: list[str] = []
    taken: set[str] = set()
    for path in paths:
        name, number = path.stem, 1
        while name in taken:
            number += 1
            name = f"{path.stem}_{number}"
        taken.add(name)
        names.append(name)
    inputs = {path.resolve() for path in paths}
    for name in names:
        if (out / f"{name}.jpg").resolve() in inputs:
            raise InputError(f"--out {out}: {name}.jpg there is one of the images to look at; choose another folder")
    return names


def write_results(stem: Path, source: Path, shape: tuple[int, int], faces: Faces, picture: np.ndarray) -> None:
    """`<stem>.jpg`, `<stem>.txt` and `<stem>.json` for one image."""
    write_image(Path(f"{stem}.jpg"), picture)
    write_prediction(Path(f"{stem}.txt"), source.name, faces)
    content = {"image": str(source), "height": shape[0], "width": shape[1], "faces": [
        {"score": round(float(score), 4), "box_xyxy": np.round(box.astype(float), 1).tolist(),
         "landmarks": np.round(landmarks.astype(float), 1).tolist()}
        for score, box, landmarks in zip(faces.scores, faces.boxes, faces.landmarks)]}
    with atomic_write(f"{stem}.json") as file:
        json.dump(content, file, indent=1)


def shrink(image: np.ndarray, longest: Optional[int]) -> tuple[np.ndarray, float]:
    """(image whose longer side is at most `longest`, its scale); None leaves it."""
    scale = min(1.0, (longest or np.inf) / max(image.shape[:2]))
    if scale == 1.0:
        return image, 1.0
    size = tuple(max(1, round(side * scale)) for side in image.shape[1::-1])
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA), scale


def released_weights(recipe: Any) -> Path:
    """The authors' released network as a checkpoint, converted once and kept in the user's cache folder."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mindspore-face-detection"
    path = cache / "centerface_release.ckpt"
    if not path.is_file():
        tensors, card = recipe.released()
        checkpoint.save(path, tensors, card)
        LOGGER.info("converted the released weights (%s) to %s", card["source"], path)
    return path
