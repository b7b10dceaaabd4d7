# SPDX-License-Identifier: Apache-2.0
"""The training options of CenterFace: names and defaults of the manual's train.py and config.py, and a few more."""
from src.cli.options import Option, Presets, Table
from src.common.device import TARGETS
from src.training.lr_schedule import SCHEDULES

# BGR, in 0..255 (the manual's test values 0.408 ... in 0..1).
MEAN = [104.04, 113.985, 119.85]
STD = [73.695, 69.87, 70.89]

# Images a step for which the manual's learning rate was made: 8 devices with 8.
LR_IMAGES = 64

OPTIONS: Table = {
    "Data": {
        "data_dir": Option("", "data folder; --annot_path and --img_dir may be relative to it"),
        "annot_path": Option("annotations/train.json", "annotations: train.json, a RetinaFace label.txt, a WIDER "
                                                       "*_bbx_gt.txt or .mat"),
        "img_dir": Option("images/train/images", "image folder, holds <event>/<image>.jpg"),
        "only_existing": Option(False, "train on those annotated images that --img_dir holds, and say how many"),
        "bad_images": Option("error", "an image that cannot be read: error = training ends and names it; skip = the "
                                      "next one takes its place, it is named and counted", choices=("error", "skip")),
        "workers": Option(0, "data workers, at most one per core; 0 = one per core, at most 8"),
    },
    "Augmentation": {
        "input_res": Option(512, "side of the training input in pixels, a multiple of 32"),
        "data_anchor": Option("crop", "crop: half data-anchor sampling as a true crop, half random squares; "
                                      "reference: the reference's crop; off: whole image",
                              choices=("crop", "reference", "off")),
        "crop_scales": Option([0.3, 1.0], "smallest and largest side of a random square, as shares of the longer "
                                          "image side"),
        "mosaic": Option(0.0, "probability that a sample is four images, each in its quarter of the input"),
        "flip": Option(0.5, "probability of mirroring"),
        "color_aug": Option(0.4, "strength of brightness, contrast and saturation jitter; 0 = off"),
        "lighting": Option(0.1, "sigma of the PCA lighting"),
        "max_objs": Option(256, "most faces of one training image; smaller ones beyond it are ignored"),
        "min_face": Option(6.0, "faces whose longer side is below this (input pixels) are ignored"),
    },
    "Network": {
        "head_conv": Option(64, "channels of the pyramid; the authors' release has 24"),
        "activation": Option("relu6", "activation of the backbone", choices=("relu6", "relu")),
        "hm_bias": Option(-2.19, "initial bias of the heatmap; 0 = the reference, whose first loss is near 1000"),
        "pretrained_backbone": Option("", "checkpoint of the backbone (converted mobilenet_v2 or CenterFace)"),
        "resume": Option("", "checkpoint of a run to go on with: weights, moments, data order and schedule"),
    },
    "Loss": {
        "hm_weight": Option(1.0, "weight of the heatmap loss"),
        "wh_weight": Option(0.1, "weight of the size loss"),
        "off_weight": Option(1.0, "weight of the offset loss"),
        "lm_weight": Option(0.1, "weight of the landmark loss"),
        "area_weights": Option("reference", "weights of the size and offset losses by face size: reference = small "
                                            "faces up to 15 times; uniform = all alike, better in a short training",
                               choices=("reference", "uniform")),
        "loss_scale": Option(1024.0, "static loss scale; a step whose gradients overflow is skipped"),
    },
    "Optimisation": {
        "per_batch_size": Option(8, "images per step on each device"),
        "max_epoch": Option(140, "epochs"),
        "lr": Option(4e-3, "learning rate (of 8 devices with 8 images; 5e-4 on one)"),
        "scale_lr": Option(False, f"--lr is that of {LR_IMAGES} images a step; take it in proportion to this run's "
                                  "devices and batch"),
        "lr_scheduler": Option("multistep", "how it falls", choices=tuple(SCHEDULES)),
        "lr_epochs": Option([90, 120], "multistep: epochs (from 0) at which it is multiplied by --lr_gamma"),
        "lr_gamma": Option(0.1, "multistep: the factor"),
        "eta_min": Option(0.0, "cosines: the lowest rate"),
        "t_max": Option(140, "cosine_annealing: period in epochs, at least --max_epoch"),
        "warmup_epochs": Option(0.0, "epochs of linear rise; adam needs none, sgd does"),
        "backbone_lr": Option(1.0, "learning rate of the backbone as a share of --lr; below 1 keeps more of a "
                                   "pretrained one"),
        "backbone_bn": Option("batch", "BatchNorm of the backbone: batch = statistics of the batch; frozen = keep the "
                                       "pretrained ones, for a small data set", choices=("batch", "frozen")),
        "optimizer": Option("adam", "optimiser", choices=("adam", "sgd", "momentum")),
        "weight_decay": Option(0.0005, "decay of weights, not of biases and BatchNorm (the manual's scripts pass 0)"),
        "momentum": Option(0.9, "of sgd and momentum"),
        "clip_norm": Option(0.0, "largest global norm of the gradients; 0 = no clipping"),
        "ema_decay": Option(0.0, "decay of the moving average of the weights that is saved for testing; 0 = none"),
        "seed": Option(1, "of initial weights, data order and augmentation"),
    },
    "Output": {
        "ckpt_path": Option("outputs/", "each run gets a folder <ckpt_path>/<date_time>/"),
        "ckpt_interval": Option(0, "steps between checkpoints; 0 = an epoch"),
        "log_interval": Option(1, "steps between log lines; over 1 shows a progress bar on a terminal"),
    },
    "Device": {
        "device_target": Option("auto", "where to run; auto = Ascend if there is one, else CPU", choices=TARGETS),
        "is_distributed": Option(False, "several devices; noticed by itself when msrun, mpirun or a rank table started "
                                        "this process"),
        "sync_bn": Option(False, "several devices: BatchNorm over the images of all; for small batches"),
    },
}

# No option's default depends on another's value here.
PRESETS: Presets = {}
