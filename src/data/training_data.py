# SPDX-License-Identifier: Apache-2.0
"""Which annotated images a training uses.

    records = training_records("train/label.txt", Path("train/images"), only_existing=False)
"""
from __future__ import annotations

from pathlib import Path

from dependency.centernet.src.lib.datasets.dataset.coco_hp import Record
from dependency.errors import InputError
from src.common.log import LOGGER
from src.data.annotation import read_annotations

DROPPED_KINDS = ("size",)


def training_records(path: str | Path, image_dir: Path, only_existing: bool = False) -> list[Record]:
    """The records of an annotation file whose image exists and shows at least one face that counts.

    Faces without area, of which the published label files have some, are left out and counted in the log.

    Args:
        path: see `read_annotations`.
        image_dir: holds the images.
        only_existing: leave out images that are not there, and say how many; without it they are an error.

    Raises:
        InputError: no such file, a bad annotation, no image folder, a missing image.
    """
    if not Path(path).is_file():
        raise InputError(f"no annotation file {path}; to make one: python -m src.tools.prepare_wider --help, or, "
                         "without any data, python -m src.tools.synthetic --help")
    if not image_dir.is_dir():
        raise InputError(f"--img_dir: {image_dir} is not a folder; expected the images as <event>/<name>.jpg in it")
    records = _without_empty_faces(path)
    present = [record for record in records if (image_dir / record.path).is_file()]
    if len(present) < len(records):
        missing = next(record.path for record in records if not (image_dir / record.path).is_file())
        if not only_existing:
            raise InputError(f"{len(records) - len(present)} of {len(records)} annotated images are not in "
                             f"{image_dir}, the first is {missing}; give the right --img_dir, or --only_existing to "
                             "train on those that are there")
        LOGGER.info("training on %d of %d annotated images", len(present), len(records))
    usable = [record for record in present if (~record.ignore).any()]
    LOGGER.info("Loaded train %d samples", len(usable))
    return usable


def _without_empty_faces(path: str | Path) -> list[Record]:
    """The records; where a row is wrong in another way than having no area, `read_annotations` raises."""
    records = read_annotations(path, on_problem="collect")
    if any(problem.kind not in DROPPED_KINDS for problem in records.problems):
        return read_annotations(path)
    if records.problems:
        LOGGER.warning("%d faces without area are left out, the first: %s", len(records.problems), records.problems[0])
    return records
