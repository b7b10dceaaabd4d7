# SPDX-License-Identifier: Apache-2.0
"""The options of RetinaFace: defaults of the manual's config.py, and a few more options.

    from src.config import cfg_res50            # a dictionary, cfg_res50['batch_size'] or cfg_res50.batch_size

The manual's names are aliases: cfg_res50['epoch'] is cfg_res50['epochs']. Each key is also an option of
train.py and eval.py: `python train.py --batch_size 4`. Training and evaluation share the table, as in the manual.
"""
from pathlib import Path
from typing import Any

from dependency.centernet.src.lib.detectors.option_rules import DETECTOR, INFERENCE, IOU, LARGEST_SIDE, numbers
from src.cli import training_options as shared
from src.cli.options import Config, Option, Table, defaults_of
from src.cli.training_options import adapt, own_value, read_recipe, warmup
from src.common.device import RUNTIMES, choose_target
from src.retinaface.anchors import VARIANCE
from src.retinaface.layers import BACKBONES
from src.retinaface.matching import MATCHINGS
from src.run_folder import options as run_folder
from src.training.lr_schedule import SCHEDULES

# Sides of the crops: those of RetinaFace's PyTorch port, and SCRFD's (Guo et al. 2021, section 4.1, "sample
# redistribution"), where over 1 small faces become more.
CROPS = (0.3, 0.45, 0.6, 0.8, 1.0)
REDISTRIBUTION = (0.3, 0.45, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0)
# Images a step for which the manual's learning rate was made: 4 devices with 8.
LR_IMAGES = 32
LR_TYPES = ("dynamic_lr", "standard_lr", *SCHEDULES)

OPTIONS: Table = {
    "Main options": {
        "data": shared.DATA,
        "pretrained": shared.PRETRAINED,
        "epochs": adapt(shared.EPOCHS, 100, "--epoch"),
        "batch_size": shared.BATCH_SIZE,
        "lr": adapt(shared.RATE, 0.01, "--initial_lr"),
        "image_size": Option(840, "Side of the training input in pixels.", low=32, high=8192),
        "resume": adapt(shared.RESUME, None, "--resume_net"),
        "workers": adapt(shared.WORKERS, 8, "--num_workers"),
    },
    "Network and anchors": {
        "backbone": Option("resnet50", "Backbone network.", choices=tuple(BACKBONES)),
        "variance": Option(list(VARIANCE), "Scale of the box codes: centre, size.", rule=numbers(2, 2, 0.001, 1000)),
        "clip": Option(False, "Clip the anchors to the image."),
        "match_thresh": Option(0.35, "Overlap from which an anchor is matched to a face.", rule=IOU),
        "matching": Option("own", "own = an anchor claimed by two faces goes to the nearer one, and ignored faces are "
                                  "left out; atss = so, too, with a threshold for each face (Zhang et al. 2020: of the "
                                  "9 nearest anchors of each size those that overlap it most); reference = as the "
                                  "reference's match.", choices=MATCHINGS),
        "ignore_tiny": Option(True, "Ignore faces that no anchor overlaps by 0.2; 0 = they are background, as in the "
                                    "reference."),
        "num_anchor": Option(0, "Expected number of anchors, only checked: it follows from --image_size (840: 29126); "
                                "0 = no check.", low=0, high=10 ** 9),
    },
    "Loss": {
        "loc_weight": Option(2.0, "Weight of the box loss.", low=0, high=1000),
        "class_weight": Option(1.0, "Weight of the classification loss.", low=0, high=1000),
        "lm_weight": Option(1.0, "Weight of the landmark loss.", low=0, high=1000, aliases=("--landm_weight",)),
        "box_loss": Option("smooth_l1", "smooth_l1 of the box codes; giou, diou, ciou of the boxes that they stand "
                                        "for; --loc_weight 2 fits all.", choices=shared.BOX_LOSSES),
        "class_loss": Option("cross_entropy", "cross_entropy = of faces and of the hardest background anchors; of "
                                              "all: focal (Lin et al. 2017), quality_focal (Li et al. 2020: a score "
                                              "learns the IoU of its box).",
                             choices=("cross_entropy", "focal", "quality_focal")),
        "neg_pos_ratio": Option(7, "Hardest background anchors per face anchor.", low=1, high=10_000),
        "loss_scale": Option(1.0, "Static loss scale; a step whose gradients overflow is skipped.", low=0.001,
                             high=1e9),
    },
    "Data": {
        "annot_path": Option("./data/widerface/train/label.txt", "Annotation file: a RetinaFace label.txt, WIDER "
                                                                 "*_bbx_gt.txt or .mat, or train.json.",
                             aliases=("--training_dataset",), metavar="FILE"),
        "img_dir": Option("", "Image folder (default: images/ beside --annot_path).", metavar="DIR"),
        **shared.IMAGES,
        "min_face": Option(8.0, "Faces whose longer side is below this many input pixels are ignored.", low=0,
                           high=8192),
    },
    "Augmentation": {
        "crop_choice": Option(list(CROPS), "Sides of the random squares relative to the shorter image side (SCRFD's: "
                                           f"{','.join(map(str, REDISTRIBUTION))}); empty = uniform from 0.3 to 1, as "
                                           "in the reference.", rule=numbers(0, 64, 0.01, 2)),
        **shared.MOSAIC,
        "color_distort": Option(True, "Random brightness, contrast, saturation and hue."),
        "flip": Option(0.5, "Probability of mirroring.", low=0, high=1),
    },
    "Optimisation": {
        "optimizer": adapt(shared.OPTIMIZER, "sgd", "--optim"),
        "scale_lr": shared.scale_lr(LR_IMAGES),
        "lr_scheduler": Option("dynamic_lr", "Learning rate schedule: dynamic_lr = cosine by step, standard_lr = steps "
                                             "at --decay1 and --decay2.", choices=LR_TYPES, aliases=("--lr_type",)),
        "warmup_epochs": Option(5.0, "Epochs of warm-up; 0 or -1 = none.", low=-1, high=100_000,
                                aliases=("--warmup_epoch",)),
        "decay1": Option(70, "standard_lr: epoch of the first decay.", low=0, high=100_000),
        "decay2": Option(90, "standard_lr: epoch after which the rate decays again.", low=0, high=100_000),
        "lr_gamma": Option(0.1, "standard_lr: the factor.", low=1e-6, high=1, aliases=("--gamma",)),
        **shared.OPTIMISATION,
    },
    "Start": {
        "pretrain": Option(True, "Start from the pretrained backbone --pretrained_backbone."),
        "pretrained_backbone": adapt(shared.BACKBONE_FILE, "./data/res50_pretrain.ckpt", "--pretrain_path"),
    },
    "Output": {
        "ckpt_path": Option("./checkpoint/", "Folder of the checkpoints; with several devices its ckpt_0/.",
                            metavar="DIR"),
        "ckpt_interval": adapt(shared.CHECKPOINT_STEPS, 2000, "--save_checkpoint_steps"),
        "keep_checkpoint_max": adapt(shared.KEEP, 1),
        "log_interval": shared.LOG_INTERVAL,
    },
    "Validation and reports": run_folder.OPTIONS,
    "Evaluation": {
        "val_model": Option("./checkpoint/ckpt_0/RetinaFace-100_536.ckpt", "Checkpoint to evaluate; where this default "
                                                                           "is absent, the newest in --ckpt_path.",
                            aliases=("--ckpt",), metavar="FILE"),
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
        **shared.DEVICE,
        "backend": Option("mindspore", "Backend of the evaluation; onnx = ONNX Runtime, faster on a CPU.",
                          choices=RUNTIMES),
        "ngpu": Option(4, "Accepted for the manual's configuration; the launcher sets the number of devices.", low=1,
                       high=100_000),
    },
}

# With --backbone mobilenet025 these are the defaults: what its authors trained it with.
MOBILENET = {"image_size": 640, "pretrained_backbone": "./data/mobilenet025_pretrain.ckpt"}
# The files of configs/ whose values are the defaults with --data or --pretrained: for a set of some hundred images, and
# where training starts from a whole detector.
SMALL_SET, FINE_TUNE = "retinaface_small_set", "retinaface_fine_tune"
CPU_SIZE = 480


def presets(cfg: Config, names: set[str]) -> dict[str, Any]:
    """Compute the defaults that go with --data, --pretrained and --backbone; without them the manual's stay.

    Args:
        cfg: the values of all options; names: of those that the user set.

    Raises:
        InputError: the pretrained weights cannot be read.
    """
    chosen: dict[str, Any] = {}
    if cfg.data or cfg.pretrained:
        from src.retinaface.convert import read_pretrained
        from src.weights.conversion import starts_from_detector
        is_detector = False
        if starts_from_detector(cfg.pretrained):
            weights = read_pretrained(cfg.pretrained)
            is_detector = weights.metadata.get("part") != "backbone"
            chosen.update(weights.metadata["options"])
        chosen = {**read_recipe(FINE_TUNE if is_detector else SMALL_SET, OPTIONS, names), **chosen}
        if not is_detector and choose_target(cfg.device_target) == "CPU":
            chosen["image_size"] = CPU_SIZE
        chosen["warmup_epochs"] = warmup(own_value(cfg, names, chosen, "epochs"))
    if own_value(cfg, names, chosen, "backbone") == "mobilenet025":
        chosen = {**MOBILENET, **chosen}
    if cfg.pretrained not in ("", "backbone"):
        chosen.pop("pretrained_backbone", None)
    elif cfg.data and not cfg.pretrained:
        chosen["pretrain"] = Path(own_value(cfg, names, chosen, "pretrained_backbone")).is_file()
    return chosen


def option_conditions(cfg: Any) -> list[tuple[str, bool, str]]:
    """List the options that work only with others: names, whether they have an effect, and where they have."""
    steps = ("standard_lr", "multistep", "exponential")
    return [("decay1 decay2 lr_gamma", cfg.lr_scheduler in steps, f"with --lr_scheduler {' or '.join(steps)}"),
            ("ignore_tiny", cfg.matching != "reference", "with --matching own or atss"),
            ("neg_pos_ratio", cfg.class_loss == "cross_entropy", "with --class_loss cross_entropy"),
            ("match_thresh", cfg.matching != "atss", "with --matching own or reference"),
            ("pretrained_backbone", cfg.pretrain and cfg.pretrained in ("", "backbone")
             or cfg.pretrained_backbone == MOBILENET["pretrained_backbone"],
             "with --pretrain 1, without --pretrained or with its backbone")]


cfg_res50: Config = defaults_of(OPTIONS, num_anchor=29126)
cfg_mnet025: Config = defaults_of(OPTIONS, **MOBILENET, backbone="mobilenet025", num_anchor=16800)
