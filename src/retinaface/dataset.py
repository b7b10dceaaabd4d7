# SPDX-License-Identifier: Apache-2.0
"""Training samples of RetinaFace: `Record` -> augmented image and targets of every anchor.

    samples = RetinaFaceSamples(records, image_dir, SampleOptions(image_size=840))
    image, loc, conf, landm = samples(index, np.random.default_rng(0))

    ds_train = create_dataset("data/widerface/train/label.txt", cfg, batch_size=8)      # the manual's, for Model.train
"""
from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dependency.centernet.src.lib.datasets.dataset.coco_hp import Record
from dependency.centernet.src.lib.utils.augment import View
from dependency.errors import InputError
from src.cli.options import flat
from src.data.sampler import SamplePlan, first_readable
from src.data.training_set import BadImages, TrainingImage, image_named, mosaic, training_records
from src.retinaface.anchors import VARIANCE, prior_box
from src.retinaface.augmentation import Augmentation, augment_sample, choose_crop
from src.retinaface.config import OPTIONS
from src.retinaface.layers import NETWORK_INPUT
from src.retinaface.matching import IGNORED, match

# Pixels of a quarter of a mosaic.
SMALLEST = 32
# Names of the manual's dataset.
DATASET_COLUMNS = ("image", "truths", "conf", "landm")


@dataclass(frozen=True)
class SampleOptions(Augmentation):
    """How a Record becomes a sample; see `Augmentation` too.

    match_thresh, variance, ignore_tiny, matching: see `match`. clip: see `prior_box`.
    min_face: faces whose longer side is below this, in pixels of the input, are ignored; 0 = none.

    Raises:
        InputError: a value out of its range.
    """
    match_thresh: float = 0.35
    variance: tuple[float, float] = VARIANCE
    clip: bool = False
    ignore_tiny: bool = True
    matching: str = "own"
    min_face: float = 8.0

    def __post_init__(self) -> None:
        options = flat(OPTIONS)
        for name in ("image_size", "variance", "crop_choice", "match_thresh", "flip", "mosaic", "min_face",
                     "pixel_offset"):
            value = getattr(self, name)
            if value is not None:
                options[name].rule.require(f"--{name}", value)
        if self.mosaic and (self.image_size % 2 or self.image_size < 2 * SMALLEST):
            raise InputError(f"--image_size {self.image_size}: --mosaic needs an even one of {2 * SMALLEST} or more")

    @classmethod
    def of(cls, cfg: Mapping[str, Any]) -> SampleOptions:
        """Read the options from `cfg`; use the defaults here for what it leaves out, as the manual's config does."""
        found = {name: cfg[name] for name in cls.__dataclass_fields__ if name in cfg}
        found["crop_choice"] = tuple(cfg.get("crop_choice") or ()) or None
        if "variance" in found:
            found["variance"] = tuple(found["variance"])
        return cls(**found)


class RetinaFaceSamples:
    """Callable by the loader's workers; holds only records, never images."""

    def __init__(self, records: Sequence[Record], image_dir: str | Path, options: SampleOptions):
        self.records, self.image_dir, self.options = records, Path(image_dir), options

    def __len__(self) -> int:
        return len(self.records)

    def describe(self, index: int) -> str:
        """Return the image's name."""
        return self.records[index].path

    def without_mosaic(self) -> RetinaFaceSamples:
        """Return samples of the same images that are never mosaics."""
        return RetinaFaceSamples(self.records, self.image_dir, replace(self.options, mosaic=0.0))

    def __call__(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Make one sample: uint8 BGR image [S, S, 3]; loc [N, 4], conf [N], landm [N, 10] as `match` gives them.

        Raises:
            BadImageError: the image cannot be read.
        """
        options = self.options
        with image_named(self.describe(index)):
            if rng.random() < options.mosaic:
                quarter = replace(options, image_size=options.image_size // 2, mosaic=0.0)
                view = mosaic(index, len(self), self.describe, lambda each: self._view(each, quarter, rng), rng)
            else:
                view = self._view(index, options, rng)
            priors = prior_box(view.image.shape[:2], clip=options.clip)
            return (view.image, *match(options.match_thresh, view.boxes / options.image_size, priors, options.variance,
                                       face_labels(view, options.min_face),
                                       view.landmarks.reshape(-1, 10) / options.image_size, options.ignore_tiny,
                                       options.matching))

    def _view(self, index: int, options: SampleOptions, rng: np.random.Generator) -> View:
        """Show an image through a window of its own."""
        record = self.records[index]
        photograph = TrainingImage(self.image_dir, record, index)
        window = choose_crop(record.boxes[~record.ignore], photograph.shape, options, rng)
        part, square = photograph.read(window, options.image_size)
        image, faces = augment_sample(part, square, record, window, options, rng)
        return View(image, faces.boxes, faces.landmarks, faces.visibility, faces.ignore)


def face_labels(record: Record | View, min_face: float = 0.0) -> np.ndarray:
    """Label each face, [N] int32: 1 = all five landmarks known, -1 = not all, IGNORED = neither face nor background."""
    longer = (record.boxes[:, 2:] - record.boxes[:, :2]).max(axis=1, initial=0)
    labels = np.where((record.visibility > 0).all(axis=1), 1, -1)
    return np.where(record.ignore | (longer < min_face), IGNORED, labels).astype(np.int32)


def create_dataset(data_dir: str | Path, cfg: Mapping[str, Any], batch_size: int = 32, repeat_num: int = 1,
                   shuffle: bool = True, multiprocessing: bool = True, num_worker: int = 4,
                   is_distribute: bool = False) -> Any:
    """Create a `mindspore.dataset` of one epoch, repeated, as the manual's "How to use" builds it.

    A sample depends on cfg['seed'], the epoch and the image alone, not on the number of workers. Every iterator over
    the dataset starts with the first epoch's samples; give it `num_epochs`, as `Model.train` does, to go on.

    Args:
        data_dir: path of label.txt; the images are in images/ beside it.
        cfg: `cfg_res50` or a dictionary like it; keys that are absent have the defaults of `SampleOptions`. Without the
            number of epochs cfg['mosaic_until'] has no effect: mosaics are in all of them.
        batch_size: images per step; an incomplete last batch is left out.
        shuffle: another order in each epoch; False: the order of the file.
        multiprocessing: worker processes instead of threads.
        num_worker: their number, at most one per core.
        is_distribute: split the images among the devices that `mindspore.communication.init` joined.

    Returns:
        Columns image float32 [B, 3, S, S] BGR minus the mean, truths float32 [B, N, 4], conf int32 [B, N], landm
        float32 [B, N, 10].
    """
    import mindspore.dataset as ds
    label_path = Path(data_dir)
    image_dir = label_path.parent / "images"
    records = training_records(label_path, image_dir, bool(cfg.get("only_existing")),
                               bool(cfg.get("background_images")))
    samples = RetinaFaceSamples(records, image_dir, SampleOptions.of(cfg))
    rank, world_size = _place(is_distribute)
    plan = SamplePlan(len(samples), batch_size, 1, int(cfg.get("seed", 1)), rank, world_size, shuffle)
    source = _Source(samples, plan, cfg.get("bad_images") == "skip")
    workers = max(1, min(num_worker, os.cpu_count() or 1))
    data = ds.GeneratorDataset(source, list(DATASET_COLUMNS), sampler=_epoch_sampler(len(source)),
                               num_parallel_workers=workers, python_multiprocessing=multiprocessing and workers > 1,
                               max_rowsize=-1)
    return data.batch(batch_size, drop_remainder=True).repeat(repeat_num)


class _Source:
    """What GeneratorDataset calls: position, counted over all epochs -> columns."""

    def __init__(self, samples: RetinaFaceSamples, plan: SamplePlan, skips: bool):
        self.samples, self.plan, self.skips = samples, plan, skips
        self.bad_images = BadImages(samples.describe)

    def __len__(self) -> int:
        return self.plan.steps_per_epoch * self.plan.batch

    def __getitem__(self, position: int) -> tuple[np.ndarray, ...]:
        (image, *targets), _, bad = first_readable(self.samples, self.plan.candidates(int(position)), self.skips)
        self.bad_images.record(np.array([bad]))
        # Channels first while they are bytes: a quarter of the memory traffic.
        planes = np.ascontiguousarray(image.transpose(2, 0, 1)).astype(np.float32)
        planes -= np.array(NETWORK_INPUT["mean"], np.float32)[:, None, None]
        return (planes, *targets)


def _epoch_sampler(per_epoch: int) -> Any:
    """Build a sampler of the epochs' positions in turn: GeneratorDataset does not pass the epoch to its source."""
    import mindspore.dataset as ds

    class EpochSampler(ds.Sampler):
        """Positions 0, 1, ... in the first epoch, per_epoch, per_epoch + 1, ... in the second."""

        def __init__(self):
            super().__init__(per_epoch)
            self.epoch = 0

        def __iter__(self):
            first = self.epoch * per_epoch
            self.epoch += 1
            return iter(range(first, first + per_epoch))

    return EpochSampler()


def _place(is_distribute: bool) -> tuple[int, int]:
    if not is_distribute:
        return 0, 1
    from mindspore.communication import get_group_size, get_rank
    return get_rank(), get_group_size()
