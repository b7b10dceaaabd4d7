# SPDX-License-Identifier: Apache-2.0
"""The training options of CenterFace: defaults of the manual's train.py and config.py, and a few more options."""
from typing import Any

from dependency.centernet.src.lib.detectors.option_rules import numbers, whole, wholes
from dependency.errors import InputError
from src.cli import training_options as shared
from src.cli.options import Config, Option, Table
from src.cli.training_options import adapt, own_value, read_recipe, warmup
from src.common.device import choose_target
from src.run_folder import options as run_folder
from src.training.lr_schedule import SCHEDULES

# Images a step for which the manual's learning rate was made: 8 devices with 8.
LR_IMAGES = 64

OPTIONS: Table = {
    "Main options": {
        "data": shared.DATA,
        "pretrained": shared.PRETRAINED,
        "epochs": adapt(shared.EPOCHS, 140, "--max_epoch"),
        "batch_size": adapt(shared.BATCH_SIZE, 8, "--per_batch_size"),
        "lr": adapt(shared.RATE, 4e-3),
        "image_size": Option(512, "Side of the training input in pixels.", rule=whole(32, 8192, multiple=32),
                             aliases=("--input_res",)),
        "resume": shared.RESUME,
        "workers": shared.WORKERS,
    },
    "Data": {
        "data_dir": Option("", "Data folder; --annot_path and --img_dir may be relative to it."),
        "annot_path": Option("annotations/train.json", "Annotation file: train.json, a RetinaFace label.txt, a WIDER "
                                                       "*_bbx_gt.txt or .mat."),
        "img_dir": adapt(shared.IMAGE_DIR, "images/train/images"),
        **shared.IMAGES,
    },
    "Augmentation": {
        "data_anchor": Option("crop", "Cropping: crop = half data-anchor sampling as a true crop, half random squares; "
                                      "reference = the reference's crop; off = the whole image.",
                              choices=("crop", "reference", "off")),
        "crop_scales": Option([0.3, 1.0], "Smallest and largest side of a random square, relative to the longer image "
                                          "side.", rule=numbers(2, 2, 0.01, 1, ascending=True)),
        **shared.MOSAIC,
        "flip": Option(0.5, "Probability of mirroring.", low=0, high=1),
        "color_aug": Option(0.4, "Strength of brightness, contrast and saturation jitter; 0 = off.", low=0, high=1),
        "lighting": Option(0.1, "Standard deviation of the PCA lighting noise; 0 = off.", low=0, high=10),
        "max_objs": Option(256, "Maximum number of faces per training image; smaller ones beyond it are ignored.",
                           low=1, high=10_000),
        "min_face": Option(6.0, "Faces whose longer side is below this many input pixels are ignored.", low=0,
                           high=8192),
    },
    "Network": {
        "head_conv": Option(64, "Channels of the feature pyramid; the authors' release has 24.", low=1, high=1024),
        "activation": Option("relu6", "Activation of the backbone.", choices=("relu6", "relu")),
        "hm_bias": Option(-2.19, "Initial bias of the heatmap; 0 = as the reference, whose first loss is near 1000.",
                          low=-20, high=20),
        "pretrained_backbone": shared.BACKBONE_FILE,
    },
    "Loss": {
        "hm_weight": Option(1.0, "Weight of the heatmap loss.", low=0, high=1000),
        "wh_weight": Option(0.1, "Weight of the size loss, or of the IoU loss of --box_loss.", low=0, high=1000),
        "off_weight": Option(1.0, "Weight of the offset loss.", low=0, high=1000),
        "lm_weight": Option(0.1, "Weight of the landmark loss.", low=0, high=1000),
        "area_weights": Option("reference", "Weights of the size and offset losses by face size: reference = small "
                                            "faces up to 15 times; uniform = all alike, better in a short training.",
                               choices=("reference", "uniform")),
        "box_loss": Option("smooth_l1", "smooth_l1 of logarithm of size and of offset; giou, diou, ciou of the box "
                                        "that both make, in place of their losses (as in TTFNet, Liu et al. 2019): "
                                        "--wh_weight 5 and --area_weights uniform fit.",
                           choices=shared.BOX_LOSSES),
        "loss_scale": Option(1024.0, "Static loss scale; a step whose gradients overflow is skipped.", low=0.001,
                             high=1e9),
    },
    "Optimisation": {
        "scale_lr": shared.scale_lr(LR_IMAGES),
        "lr_scheduler": Option("multistep", "Learning rate schedule.", choices=tuple(SCHEDULES)),
        "lr_epochs": Option([90, 120], "multistep: epochs (from 0) at which the rate is multiplied by --lr_gamma.",
                            rule=wholes(0, 1000, 0, 100_000)),
        "lr_gamma": Option(0.1, "multistep: the factor.", low=1e-6, high=1),
        "eta_min": Option(0.0, "Cosine schedules: the lowest learning rate.", low=0, high=100),
        "t_max": Option(140, "cosine_annealing: period in epochs, at least --epochs.", low=1, high=100_000),
        "warmup_epochs": Option(0.0, "Epochs of linear warm-up; adam needs none, sgd does.", low=0, high=100_000),
        "optimizer": adapt(shared.OPTIMIZER, "adam"),
        **shared.OPTIMISATION,
    },
    "Output": {
        "ckpt_path": Option("outputs/", "Output folder; each run gets a folder <ckpt_path>/<date_time>/.",
                            metavar="DIR"),
        "ckpt_interval": shared.CHECKPOINT_STEPS,
        "keep_checkpoint_max": shared.KEEP,
        "log_interval": shared.LOG_INTERVAL,
    },
    "Validation and reports": run_folder.OPTIONS,
    "Device": shared.DEVICE,
}
# The files of configs/ whose values are the defaults with --data or --pretrained: for a set of some hundred images, and
# where training starts from a whole detector.
SMALL_SET, FINE_TUNE = "centerface_small_set", "centerface_fine_tune"
CPU_SIZE = 320


def presets(cfg: Config, names: set[str]) -> dict[str, Any]:
    """Compute the defaults that go with --data and --pretrained; without them the manual's stay.

    Args:
        cfg: the values of all options; names: of those that the user set.

    Raises:
        InputError: the pretrained weights cannot be read.
    """
    if not (cfg.data or cfg.pretrained):
        return {}
    from src.centerface.convert import read_pretrained
    pretrained = cfg.pretrained or ("backbone" if cfg.pretrained_backbone else "released")
    chosen: dict[str, Any] = {}
    is_detector = False
    if pretrained != "none":
        try:
            weights = read_pretrained(pretrained, cfg.pretrained_backbone)
        except InputError as error:
            if cfg.pretrained or cfg.pretrained_backbone:
                raise
            raise InputError(f"{error}; or start from other weights: --pretrained FILE, from random ones: --pretrained "
                             "none") from error
        is_detector = weights.metadata.get("part") != "backbone"
        chosen.update(weights.metadata["options"])
    recipe = FINE_TUNE if is_detector else SMALL_SET
    chosen = {**read_recipe(recipe, OPTIONS, names), **chosen, "pretrained": pretrained}
    if pretrained == "none":        # there is no backbone to keep
        chosen.update(backbone_bn="batch", backbone_lr=1.0)
    if not is_detector and choose_target(cfg.device_target) == "CPU":
        chosen["image_size"] = CPU_SIZE
    chosen["warmup_epochs"] = warmup(own_value(cfg, names, chosen, "epochs"))
    return chosen


def option_conditions(cfg: Any) -> list[tuple[str, bool, str]]:
    """List the options that work only with others: names, whether they have an effect, and where they have."""
    steps, cosines = ("multistep", "exponential"), ("cosine_annealing", "cosine_annealing_V2")
    return [("pretrained_backbone", cfg.pretrained in ("", "backbone"), "without --pretrained, or with its backbone"),
            ("off_weight", cfg.box_loss == "smooth_l1", "with --box_loss smooth_l1"),
            ("crop_scales", cfg.data_anchor == "crop", "with --data_anchor crop"),
            ("lr_epochs lr_gamma", cfg.lr_scheduler in steps, "with --lr_scheduler multistep or exponential"),
            ("eta_min", cfg.lr_scheduler not in steps, "with a cosine as --lr_scheduler"),
            ("t_max", cfg.lr_scheduler in cosines, f"with --lr_scheduler {' or '.join(cosines)}")]
