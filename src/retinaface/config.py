# SPDX-License-Identifier: Apache-2.0
"""The options of RetinaFace: names and defaults of the manual's config.py, and a few more.

    from src.config import cfg_res50            # a dictionary, cfg_res50['batch_size'] or cfg_res50.batch_size

Each key is also an option of train.py and eval.py: `python train.py --batch_size 4`. Training and evaluation share
the table, as in the manual.
"""
from typing import Any

from easydict import EasyDict

from dependency.centernet.src.lib.detectors.option_rules import DETECTOR, INFERENCE, IOU, LARGEST_SIDE, numbers
from src.cli.options import Option, Presets, Table, defaults_of
from src.common.device import RUNTIMES, TARGETS
from src.retinaface.anchors import VARIANCE
from src.retinaface.layers import BACKBONES
from src.run_folder import options as run_folder
from src.training.lr_schedule import SCHEDULES

# Sides of the crops: those of RetinaFace's PyTorch port, and SCRFD's (Guo et al. 2021, section 4.1, "sample
# redistribution"), where over 1 small faces become more.
CROPS = (0.3, 0.45, 0.6, 0.8, 1.0)
REDISTRIBUTION = (0.3, 0.45, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0)
# Images a step for which the manual's learning rate was made: 4 devices with 8.
# --scale_lr scales in proportion (Goyal et al. 2017, section 2.1).
LR_IMAGES = 32
LR_TYPES = ("dynamic_lr", "standard_lr", *SCHEDULES)

OPTIONS: Table = {
    "Network and anchors": {
        "backbone": Option("resnet50", "Backbone network.", choices=tuple(BACKBONES)),
        "variance": Option(list(VARIANCE), "Scale of the box codes: centre, size.", rule=numbers(2, 2, 0.001, 1000)),
        "clip": Option(False, "Clip the anchors to the image."),
        "match_thresh": Option(0.35, "Overlap from which an anchor is matched to a face.", rule=IOU),
        "matching": Option("own", "own = an anchor claimed by two faces goes to the nearer one, and ignored faces are "
                                  "left out; reference = as the reference's match.", choices=("own", "reference")),
        "ignore_tiny": Option(True, "Ignore faces that no anchor overlaps by 0.2; 0 = they are background, as in the "
                                    "reference."),
        "num_anchor": Option(0, "Expected number of anchors, only checked: it follows from --image_size (840: 29126); "
                                "0 = no check.", low=0, high=10 ** 9),
    },
    "Loss": {
        "loc_weight": Option(2.0, "Weight of the box loss.", low=0, high=1000),
        "class_weight": Option(1.0, "Weight of the classification loss.", low=0, high=1000),
        "landm_weight": Option(1.0, "Weight of the landmark loss.", low=0, high=1000),
        "neg_pos_ratio": Option(7, "Hardest background anchors per face anchor.", low=1, high=10_000),
        "loss_scale": Option(1.0, "Static loss scale; a step whose gradients overflow is skipped.", low=0.001,
                             high=1e9),
    },
    "Data": {
        "training_dataset": Option("./data/widerface/train/label.txt", "Annotation file: a RetinaFace label.txt, WIDER "
                                                                       "*_bbx_gt.txt or .mat, or train.json.",
                                   metavar="FILE"),
        "img_dir": Option("", "Image folder (default: images/ beside --training_dataset).", metavar="DIR"),
        "only_existing": Option(False, "Skip annotated images that are missing (the count is logged)."),
        "background_images": Option(False, "Train on images without a face, too; without it they are left out (either "
                                           "way their count is logged)."),
        "bad_images": Option("error", "An image that cannot be read: error = training ends and names it; skip = the "
                                      "next one takes its place, and it is logged.", choices=("error", "skip")),
        "image_size": Option(840, "Side of the training input in pixels.", low=32, high=8192),
        "batch_size": Option(8, "Images per step on each device.", low=1, high=4096),
        "num_workers": Option(8, "Data loading workers, at most one per core; 0 = one per core, at most 8.", low=0,
                              high=1024),
        "min_face": Option(8.0, "Faces whose longer side is below this many input pixels are ignored.", low=0,
                           high=8192),
    },
    "Augmentation": {
        "crop_choice": Option(list(CROPS), "Sides of the random squares relative to the shorter image side (SCRFD's: "
                                           f"{','.join(map(str, REDISTRIBUTION))}); empty = uniform from 0.3 to 1, as "
                                           "in the reference.", rule=numbers(0, 64, 0.01, 2)),
        "color_distort": Option(True, "Random brightness, contrast, saturation and hue."),
        "flip": Option(0.5, "Probability of mirroring.", low=0, high=1),
    },
    "Optimisation": {
        "epoch": Option(100, "Number of epochs.", low=1, high=100_000),
        "optim": Option("sgd", "Optimiser.", choices=("sgd", "momentum", "adam")),
        "initial_lr": Option(0.01, "Learning rate (0.01 is for 4 devices with 8 images each).", low=1e-9, high=100),
        "scale_lr": Option(False, f"Scale --initial_lr, which is for {LR_IMAGES} images per step, to the devices and "
                                  "batch of this run."),
        "lr_type": Option("dynamic_lr", "Learning rate schedule: dynamic_lr = cosine by step, standard_lr = steps at "
                                        "--decay1 and --decay2.", choices=LR_TYPES),
        "warmup_epoch": Option(5, "Epochs of warm-up; 0 or -1 = none.", low=-1, high=100_000),
        "decay1": Option(70, "standard_lr: epoch of the first decay.", low=0, high=100_000),
        "decay2": Option(90, "standard_lr: epoch after which the rate decays again.", low=0, high=100_000),
        "gamma": Option(0.1, "standard_lr: the factor.", low=1e-6, high=1),
        "momentum": Option(0.9, "Momentum of sgd and momentum.", low=0, high=0.9999),
        "weight_decay": Option(5e-4, "Decay of weights, not of biases and BatchNorm.", low=0, high=1),
        "backbone_lr": Option(1.0, "Learning rate of the backbone relative to --initial_lr.", low=0, high=100),
        "backbone_bn": Option("batch", "BatchNorm of the backbone: batch = statistics of the batch; frozen = keep the "
                                       "pretrained ones.", choices=("batch", "frozen")),
        "clip_norm": Option(0.0, "Maximum global norm of the gradients; 0 = no clipping.", low=0, high=1e6),
        "ema_decay": Option(0.0, "Decay of the moving average of the weights that is saved for testing; 0 = none.",
                            low=0, high=0.999999),
        "seed": Option(1, "Random seed of initial weights, data order and augmentation.", low=0, high=2 ** 32 - 1),
    },
    "Start": {
        "pretrain": Option(True, "Start from the pretrained backbone --pretrain_path."),
        "pretrain_path": Option("./data/res50_pretrain.ckpt", "Checkpoint of the backbone (see python -m "
                                                              "src.tools.convert --help).", metavar="FILE"),
        "resume_net": Option(None, "Checkpoint to continue from: weights, moments, data order and schedule.",
                             metavar="FILE"),
    },
    "Output": {
        "ckpt_path": Option("./checkpoint/", "Folder of the checkpoints; with several devices its ckpt_0/.",
                            metavar="DIR"),
        "save_checkpoint_steps": Option(2000, "Steps between checkpoints; 0 = an epoch. The end of training always has "
                                              "one.", low=0, high=10 ** 9),
        "keep_checkpoint_max": Option(1, "Maximum number of checkpoints of a run that are kept, the newest; 0 = all.",
                                      low=0, high=10 ** 9),
        "log_interval": Option(0, "Steps between log lines; 0 = 1, on a terminal, which has a progress bar, a tenth of "
                                  "an epoch.", low=0, high=10 ** 9),
    },
    "Validation and reports": run_folder.OPTIONS,
    "Evaluation": {
        "val_model": Option("./checkpoint/ckpt_0/RetinaFace-100_536.ckpt", "Checkpoint to evaluate; where this default "
                                                                           "is absent, the newest in --ckpt_path.",
                            metavar="FILE"),
        "val_dataset_folder": Option("./data/widerface/val/", "Image folder; holds images/<event>/<image>.jpg.",
                                     metavar="DIR"),
        "val_origin_size": Option(False, "1 = images at their original size; 0 = short side 1600, long side at most "
                                         "--val_max_size."),
        "val_max_size": Option(2176, "Maximum long side in pixels without --val_origin_size.", low=32,
                               high=LARGEST_SIDE),
        "val_confidence_threshold": Option(0.02, "Minimum score of a detection.", rule=DETECTOR["score_threshold"]),
        "val_nms_threshold": Option(0.4, "Overlap above which the weaker of two boxes is removed.",
                                    rule=DETECTOR["nms_iou"]),
        "val_iou_threshold": Option(0.5, "Overlap from which a detection counts as correct.", rule=IOU),
        "val_batch_size": Option(1, "Images of one size per forward pass; gains nothing on a CPU.",
                                 rule=INFERENCE["batch_size"]),
        "val_save_result": Option(False, "Write the detections as WIDER text files and JSON."),
        "val_predict_save_folder": Option("./widerface_result", "Folder of these files.", metavar="DIR"),
        "val_gt_dir": Option("./data/ground_truth/", "Folder of the four WIDER .mat files.", metavar="DIR"),
        "predictions": Option("", "Score this saved folder or JSON file; no network runs.", metavar="PATH"),
    },
    "Device": {
        "device_target": Option("auto", "Device to run on; auto = Ascend if there is one, else CPU.", choices=TARGETS),
        "backend": Option("mindspore", "Backend of the evaluation; onnx = ONNX Runtime, faster on a CPU.",
                          choices=RUNTIMES),
        "is_distributed": Option(False, "Train on several devices; detected automatically under msrun, mpirun or a "
                                        "rank table."),
        "sync_bn": Option(False, "Several devices: BatchNorm over the images of all of them; for small batches."),
        "ngpu": Option(4, "Accepted for the manual's configuration; the launcher sets the number of devices.", low=1,
                       high=100_000),
    },
}

# With --backbone mobilenet025 these are the defaults: what its authors trained it with.
MOBILENET = {"image_size": 640, "pretrain_path": "./data/mobilenet025_pretrain.ckpt"}

PRESETS: Presets = {"backbone": {"mobilenet025": MOBILENET}}


def option_conditions(cfg: Any, world_size: int) -> list[tuple[str, bool, str]]:
    """List the options that work only with others: names, whether they have an effect, and where they have."""
    steps = ("standard_lr", "multistep", "exponential")
    return [("decay1 decay2 gamma", cfg.lr_type in steps, f"with --lr_type {' or '.join(steps)}"),
            ("momentum", cfg.optim != "adam", "with --optim sgd or momentum"),
            ("ignore_tiny", cfg.matching == "own", "with --matching own"),
            ("pretrain_path", cfg.pretrain or cfg.pretrain_path == MOBILENET["pretrain_path"], "with --pretrain 1"),
            ("sync_bn", world_size > 1, "on several devices")]


cfg_res50: EasyDict = defaults_of(OPTIONS)
cfg_res50.num_anchor = 29126
cfg_mnet025: EasyDict = EasyDict({**cfg_res50, **MOBILENET, "backbone": "mobilenet025", "num_anchor": 16800})
