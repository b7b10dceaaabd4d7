# SPDX-License-Identifier: Apache-2.0
"""Images to test a detector on, and the faces that they show: of WIDER FACE, or of one's own data file.

    own = EvaluationSet.of_data_file("my.yaml")                     # the val images
    wider = EvaluationSet.of_wider("ground_truth", "WIDER_val/images")
    evaluate(predictions, own.truth)
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from dependency.centernet.src.lib.datasets.dataset.coco_hp import Record
from dependency.errors import InputError
from dependency.evaluate.ground_truth import GroundTruth, TruthImage, load_ground_truth
from src.annotations.read_write import merge
from src.data.data_file import DataFile, read_data_file
from src.evaluation.split_images import list_images

# Lowest box height in pixels of each subset; each subset holds the ones before it.
HEIGHTS = {"easy": 50, "medium": 30, "hard": 10}


@dataclass(frozen=True)
class EvaluationSet:
    """images: their paths below image_dir; truth: their faces, by "<event>/<name>" without suffix.

    records: of one's own data, as annotated, in the order of `truth`: there boxes are whole pixels.
    """
    images: list[str]
    image_dir: Path
    truth: GroundTruth
    records: Sequence[Record] = field(default=())

    @classmethod
    def of_data_file(cls, data: str | Path | DataFile) -> EvaluationSet:
        """Take the val images of a data file, with the subsets of `truth_images`.

        Raises:
            InputError: as `read_data_file`; it has no val image with a face; two images differ in their suffix only.
        """
        data = data if isinstance(data, DataFile) else read_data_file(data)
        records = merge([data.val])
        images = truth_images(records)
        if not any(len(image.boxes) for image in images):
            raise InputError(f"{data.path}: no val image shows a face: there is nothing to score against")
        return cls([record.path for record in data.val], data.image_dir, GroundTruth(images, data.path),
                   records)

    @classmethod
    def of_wider(cls, ground_truth: str | Path, image_dir: str | Path, only_existing: bool = False) -> EvaluationSet:
        """Take the images of a folder of WIDER .mat files; with `only_existing` those of them that are there.

        Raises:
            InputError: as `load_ground_truth` and `list_images`.
        """
        truth = load_ground_truth(ground_truth)
        images = list_images(ground_truth, image_dir, only_existing)
        stems = {str(PurePosixPath(image).with_suffix("")) for image in images}
        return cls(images, Path(image_dir),
                   GroundTruth([image for image in truth.images if image.path in stems], truth.folder))


def truth_images(records: Sequence[Record]) -> list[TruthImage]:
    """Make the ground truth of annotated images, boxes rounded to whole pixels; the folder of an image is its event.

    A face counts in the subsets whose height in `HEIGHTS` it reaches, unless it is ignored. Faces of an image that
    stands in two places are joined.

    Raises:
        InputError: no image, or two images that differ only in their suffix.
    """
    if not records:
        raise InputError("the annotations name no image: there is nothing to score against")
    images = []
    paths: dict[PurePosixPath, str] = {}
    for record in merge([records]):
        path = PurePosixPath(record.path)
        other = paths.setdefault(path.with_suffix(""), record.path)
        if other != record.path:
            raise InputError(f"{other} and {record.path} are one image to the WIDER files, which know no suffix; "
                             "rename one of them")
        size = record.boxes[:, 2:] - record.boxes[:, :2]
        subsets = {name: np.flatnonzero(~record.ignore & (size[:, 1] >= height)) for name, height in HEIGHTS.items()}
        boxes = np.rint(np.concatenate([record.boxes[:, :2], size], axis=1)).astype(np.float64)
        images.append(TruthImage(str(path.parent), path.stem, boxes, subsets))
    return images
