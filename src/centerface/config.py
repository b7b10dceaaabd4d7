# SPDX-License-Identifier: Apache-2.0
"""The training options of CenterFace: names and defaults of the manual's train.py and config.py, and a few more."""
from typing import Any

from dependency.centernet.src.lib.detectors.option_rules import numbers, whole, wholes
from src.cli.options import Option, Presets, Table
from src.common.device import TARGETS
from src.run_folder import options as run_folder
from src.training.lr_schedule import SCHEDULES

# BGR, in 0..255 (the manual's test values 0.408 ... in 0..1).
MEAN = [104.04, 113.985, 119.85]
STD = [73.695, 69.87, 70.89]

# Images a step for which the manual's learning rate was made: 8 devices with 8.
# --scale_lr scales in proportion (Goyal et al. 2017, section 2.1).
LR_IMAGES = 64

OPTIONS: Table = {
    "Data": {
        "data_dir": Option("", "Data folder; --annot_path and --img_dir may be relative to it."),
        "annot_path": Option("annotations/train.json", "Annotation file: train.json, a RetinaFace label.txt, a WIDER "
                                                       "*_bbx_gt.txt or .mat."),
        "img_dir": Option("images/train/images", "Image folder; holds <event>/<image>.jpg."),
        "only_existing": Option(False, "Skip images missing from --img_dir (the count is logged)."),
        "background_images": Option(False, "Train on images without a face, too; without it they are left out (either "
                                           "way their count is logged)."),
        "bad_images": Option("error", "An image that cannot be read: error = training ends and names it; skip = the "
                                      "next one takes its place, and it is logged.", choices=("error", "skip")),
        "workers": Option(0, "Data loading workers, at most one per core; 0 = one per core, at most 8.", low=0,
                          high=1024),
    },
    "Augmentation": {
        "input_res": Option(512, "Side of the training input in pixels.", rule=whole(32, 8192, multiple=32)),
        "data_anchor": Option("crop", "Cropping: crop = half data-anchor sampling as a true crop, half random squares; "
                                      "reference = the reference's crop; off = the whole image.",
                              choices=("crop", "reference", "off")),
        "crop_scales": Option([0.3, 1.0], "Smallest and largest side of a random square, relative to the longer image "
                                          "side.", rule=numbers(2, 2, 0.01, 1, ascending=True)),
        "mosaic": Option(0.0, "Probability that a sample is made of four images, each in a quarter of the input.",
                         low=0, high=1),
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
        "pretrained_backbone": Option("", "Checkpoint of the backbone (converted mobilenet_v2 or CenterFace).",
                                      metavar="FILE"),
        "resume": Option("", "Checkpoint of a run to continue: weights, moments, data order and schedule.",
                         metavar="FILE"),
    },
    "Loss": {
        "hm_weight": Option(1.0, "Weight of the heatmap loss.", low=0, high=1000),
        "wh_weight": Option(0.1, "Weight of the size loss.", low=0, high=1000),
        "off_weight": Option(1.0, "Weight of the offset loss.", low=0, high=1000),
        "lm_weight": Option(0.1, "Weight of the landmark loss.", low=0, high=1000),
        "area_weights": Option("reference", "Weights of the size and offset losses by face size: reference = small "
                                            "faces up to 15 times; uniform = all alike, better in a short training.",
                               choices=("reference", "uniform")),
        "loss_scale": Option(1024.0, "Static loss scale; a step whose gradients overflow is skipped.", low=0.001,
                             high=1e9),
    },
    "Optimisation": {
        "per_batch_size": Option(8, "Images per step on each device.", low=1, high=4096),
        "max_epoch": Option(140, "Number of epochs.", low=1, high=100_000),
        "lr": Option(4e-3, "Learning rate (4e-3 is for 8 devices with 8 images each; 5e-4 for one).", low=1e-9,
                     high=100),
        "scale_lr": Option(False, f"Scale --lr, which is for {LR_IMAGES} images per step, to the devices and batch of "
                                  "this run."),
        "lr_scheduler": Option("multistep", "Learning rate schedule.", choices=tuple(SCHEDULES)),
        "lr_epochs": Option([90, 120], "multistep: epochs (from 0) at which the rate is multiplied by --lr_gamma.",
                            rule=wholes(0, 1000, 0, 100_000)),
        "lr_gamma": Option(0.1, "multistep: the factor.", low=1e-6, high=1),
        "eta_min": Option(0.0, "Cosine schedules: the lowest learning rate.", low=0, high=100),
        "t_max": Option(140, "cosine_annealing: period in epochs, at least --max_epoch.", low=1, high=100_000),
        "warmup_epochs": Option(0.0, "Epochs of linear warm-up; adam needs none, sgd does.", low=0, high=100_000),
        "backbone_lr": Option(1.0, "Learning rate of the backbone relative to --lr; below 1 keeps more of a pretrained "
                                   "one.", low=0, high=100),
        "backbone_bn": Option("batch", "BatchNorm of the backbone: batch = statistics of the batch; frozen = keep the "
                                       "pretrained ones, for a small data set.", choices=("batch", "frozen")),
        "optimizer": Option("adam", "Optimiser.", choices=("adam", "sgd", "momentum")),
        "weight_decay": Option(0.0005, "Decay of weights, not of biases and BatchNorm (the manual's scripts pass 0).",
                               low=0, high=1),
        "momentum": Option(0.9, "Momentum of sgd and momentum.", low=0, high=0.9999),
        "clip_norm": Option(0.0, "Maximum global norm of the gradients; 0 = no clipping.", low=0, high=1e6),
        "ema_decay": Option(0.0, "Decay of the moving average of the weights that is saved for testing; 0 = none.",
                            low=0, high=0.999999),
        "seed": Option(1, "Random seed of initial weights, data order and augmentation.", low=0, high=2 ** 32 - 1),
    },
    "Output": {
        "ckpt_path": Option("outputs/", "Output folder; each run gets a folder <ckpt_path>/<date_time>/.",
                            metavar="DIR"),
        "ckpt_interval": Option(0, "Steps between checkpoints; 0 = an epoch.", low=0, high=10 ** 9),
        "keep_checkpoint_max": Option(0, "Maximum number of checkpoints of a run that are kept, the newest; 0 = all, "
                                         "among which test.py finds the best.", low=0, high=10 ** 9),
        "log_interval": Option(0, "Steps between log lines; 0 = 1, on a terminal, which has a progress bar, a tenth of "
                                  "an epoch.", low=0, high=10 ** 9),
    },
    "Validation and reports": run_folder.OPTIONS,
    "Device": {
        "device_target": Option("auto", "Device to train on; auto = Ascend if there is one, else CPU.",
                                choices=TARGETS),
        "is_distributed": Option(False, "Train on several devices; detected automatically under msrun, mpirun or a "
                                        "rank table."),
        "sync_bn": Option(False, "Several devices: BatchNorm over the images of all of them; for small batches."),
    },
}

# No option's default depends on another's value here.
PRESETS: Presets = {}


def option_conditions(cfg: Any, world_size: int) -> list[tuple[str, bool, str]]:
    """List the options that work only with others: names, whether they have an effect, and where they have."""
    steps, cosines = ("multistep", "exponential"), ("cosine_annealing", "cosine_annealing_V2")
    return [("crop_scales", cfg.data_anchor == "crop", "with --data_anchor crop"),
            ("lr_epochs lr_gamma", cfg.lr_scheduler in steps, "with --lr_scheduler multistep or exponential"),
            ("eta_min", cfg.lr_scheduler not in steps, "with a cosine as --lr_scheduler"),
            ("t_max", cfg.lr_scheduler in cosines, f"with --lr_scheduler {' or '.join(cosines)}"),
            ("momentum", cfg.optimizer != "adam", "with --optimizer sgd or momentum"),
            ("sync_bn", world_size > 1, "on several devices")]
