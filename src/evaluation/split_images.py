# SPDX-License-Identifier: Apache-2.0
"""The images of a split, and the folder that gets their predictions.

    images = list_images("ground_truth/val.mat", "images/val/images")      # ["0--Parade/0_Parade_1.jpg", ...]
    check_folder(Path("output/centerface"), images)

Images are named "<event>/<name>.jpg", FDDB's "2002/08/11/big/img_591.jpg": their path below the image folder. The
prediction of each has the same path below the save folder, with the suffix .txt.
"""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from dependency.centernet.src.lib.utils.image_file import missing_text
from dependency.errors import InputError
from dependency.evaluate.fddb.files import fold_lists
from dependency.evaluate.ground_truth import MAIN_FILES
from dependency.evaluate.prediction_io import is_prediction
from dependency.files import inside
from src.annotations.read_write import name_files, read_annotations
from src.common.log import LOGGER

SPLIT_OPTIONS = ("--ground_truth_mat", "--data_dir")


def list_images(split: str | Path, data_dir: str | Path, only_existing: bool = False,
                options: tuple[str, str] = SPLIT_OPTIONS) -> list[str]:
    """List the images of a split, in its order.

    Args:
        split: an annotation file (WIDER .mat, label.txt, ...), the folder of the WIDER .mat files, or FDDB-folds.
        data_dir: holds <event>/<name>.jpg; the images of a .mat, which knows no suffix, may have any.
        only_existing: leave out images that `data_dir` does not hold; without it they are an error.
        options: the options that name `split` and `data_dir`, for messages.

    Raises:
        InputError: no such file or folder; images are missing; no image is left; two images would share a prediction.
    """
    split, data_dir, (split_option, folder_option) = Path(split), Path(data_dir), options
    if not data_dir.is_dir():
        raise InputError(f"{folder_option}: no folder {data_dir}; expected the images as <event>/<name>.jpg below it")
    names = list(dict.fromkeys(record.path for file in split_files(split, split_option)
                               for record in name_files(read_annotations(file, on_problem="collect"), data_dir)))
    if not names:
        raise InputError(f"{split_option} {split}: names no image")
    missing = [name for name in names if not (data_dir / name).is_file()]
    if missing and (not only_existing or len(missing) == len(names)):
        remedy = "" if len(missing) == len(names) else "; give --only_existing to test the others"
        raise InputError(f"{folder_option}: {missing_text(missing, len(names), data_dir)}{remedy}")
    predictions: dict[str, str] = {}
    for name in names:
        if predictions.setdefault(prediction_name(name), name) != name:
            raise InputError(f"{split}: {predictions[prediction_name(name)]} and {name} would get one prediction, "
                             f"{prediction_name(name)}; rename one of them")
    if only_existing:
        LOGGER.info("tests %d of %d images of %s", len(names) - len(missing), len(names), split)
    absent = set(missing)
    return [name for name in names if name not in absent]


def split_files(split: Path, option: str = SPLIT_OPTIONS[0]) -> list[Path]:
    """List the annotation files that name a split's images: the file itself, a folder's WIDER .mat or FDDB's folds.

    Raises:
        InputError: none of these.
    """
    if split.is_dir():
        folds = fold_lists(split)
        if folds and not any((split / name).is_file() for name in MAIN_FILES):
            return folds
        split = next((split / name for name in MAIN_FILES if (split / name).is_file()), split / MAIN_FILES[0])
    if not split.is_file():
        raise InputError(f"{option}: no file {split}; expected val.mat or wider_face_val.mat of "
                         "WIDER FACE, the folder FDDB-folds of FDDB, or another annotation file")
    return [split]


def prediction_name(image: str) -> str:
    """Give "<event>/<name>.txt" for "<event>/<name>.jpg"."""
    return str(PurePosixPath(image).with_suffix(".txt"))


def prediction_path(folder: Path, image: str) -> Path:
    """Give the place of an image's prediction in a folder.

    Raises:
        InputError: it lies outside the folder, see `inside`.
    """
    return inside(folder, prediction_name(image))


def check_folder(folder: Path, images: Sequence[str]) -> None:
    """Refuse a folder with predictions that this run does not replace (AP would mix both), or with files of the user.

    Raises:
        InputError: there are such files; a prediction would lie outside the folder.
    """
    paths = [prediction_path(folder, image) for image in images]
    for path in paths:
        if path.exists() and not is_prediction(path):
            raise InputError(f"--save_dir {folder}: {path} is there already, is no prediction and would be "
                             "overwritten; choose another folder")
    names = {path.relative_to(folder).as_posix() for path in paths}
    # Only as deep as these names: the folder may hold the trees of other epochs below.
    depths = {name.count("/") for name in names}
    others = [path for depth in sorted(depths) for path in folder.glob("*/" * depth + "*.txt")
              if path.relative_to(folder).as_posix() not in names]
    if others:
        raise InputError(f"--save_dir {folder}: already holds predictions of {len(others)} images that are not "
                         f"tested now, such as {others[0]}; remove the folder or choose another")
