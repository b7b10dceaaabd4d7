# SPDX-License-Identifier: Apache-2.0
"""The options of RetinaFace: names and defaults of the manual's config.py, and a few more.

    from src.config import cfg_res50            # a dictionary, cfg_res50['batch_size'] or cfg_res50.batch_size

Each key is also an option of train.py and eval.py: `python train.py --batch_size 4`. Training and evaluation share
the table, as in the manual.
"""
from easydict import EasyDict

from src.cli.options import Option, Presets, Table, defaults_of
from src.common.device import RUNTIMES, TARGETS
from src.retinaface.coding import VARIANCE
from src.retinaface.layers import BACKBONES
from src.training.lr_schedule import SCHEDULES

# Sides of the crops: those of RetinaFace's PyTorch port, and SCRFD's (Guo et al. 2021, section 4.1, "sample
# redistribution"), where over 1 small faces become more.
CROPS = (0.3, 0.45, 0.6, 0.8, 1.0)
REDISTRIBUTION = (0.3, 0.45, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0)
# Images a step for which the manual's learning rate was made: 4 devices with 8.
LR_IMAGES = 32
LR_TYPES = ("dynamic_lr", "standard_lr", *SCHEDULES)

OPTIONS: Table = {
    "Network and anchors": {
        "backbone": Option("resnet50", "network that looks at the image", choices=tuple(BACKBONES)),
        "variance": Option(list(VARIANCE), "scale of the box codes: centre, size"),
        "clip": Option(False, "clip the anchors to the image"),
        "match_thresh": Option(0.35, "overlap from which an anchor learns a face"),
        "matching": Option("own", "own: the nearer face keeps an anchor that two want, faces to ignore are ignored; "
                                  "reference: as in the reference's match", choices=("own", "reference")),
        "ignore_tiny": Option(True, "faces that no anchor overlaps by 0.2 are ignored; 0: background, as in the "
                                    "reference"),
        "num_anchor": Option(0, "number of anchors; it follows from --image_size (840: 29126) and is only checked"),
    },
    "Loss": {
        "loc_weight": Option(2.0, "weight of the box loss"),
        "class_weight": Option(1.0, "weight of the classification loss"),
        "landm_weight": Option(1.0, "weight of the landmark loss"),
        "neg_pos_ratio": Option(7, "hardest background anchors for each face anchor"),
        "loss_scale": Option(1.0, "static loss scale; a step whose gradients overflow is skipped"),
    },
    "Data": {
        "training_dataset": Option("./data/widerface/train/label.txt", "annotations: a RetinaFace label.txt, WIDER "
                                                                       "*_bbx_gt.txt or .mat, or train.json"),
        "img_dir": Option("", "image folder; default: images/ beside --training_dataset"),
        "only_existing": Option(False, "use those annotated images that are there, and say how many"),
        "bad_images": Option("error", "an image that cannot be read: error = training ends and names it; skip = the "
                                      "next one takes its place, it is named and counted", choices=("error", "skip")),
        "image_size": Option(840, "side of the training input in pixels"),
        "batch_size": Option(8, "images per step on each device"),
        "num_workers": Option(8, "data workers, at most one per core"),
        "min_face": Option(8.0, "faces whose longer side is below this (input pixels) are ignored"),
    },
    "Augmentation": {
        "crop_choice": Option(list(CROPS), "sides of the random squares as shares of the shorter image side, up to 2.0 "
                                           f"(SCRFD's: {','.join(map(str, REDISTRIBUTION))}); empty: uniform from 0.3 "
                                           "to 1, as in the reference", kind=float),
        "color_distort": Option(True, "random brightness, contrast, saturation and hue"),
        "flip": Option(0.5, "probability of mirroring"),
    },
    "Optimisation": {
        "epoch": Option(100, "epochs"),
        "optim": Option("sgd", "optimiser", choices=("sgd", "momentum", "adam")),
        "initial_lr": Option(0.01, "learning rate (of 4 devices with 8 images)"),
        "scale_lr": Option(False, f"--initial_lr is that of {LR_IMAGES} images a step; take it in proportion to this "
                                  "run's devices and batch"),
        "lr_type": Option("dynamic_lr", "how it falls: dynamic_lr = cosine by step, standard_lr = at --decay1 and "
                                        "--decay2", choices=LR_TYPES),
        "warmup_epoch": Option(5, "epochs of rising rate; 0 or -1: none"),
        "decay1": Option(70, "standard_lr: epoch of the first fall"),
        "decay2": Option(90, "standard_lr: epoch after which it falls again"),
        "gamma": Option(0.1, "standard_lr: the factor"),
        "momentum": Option(0.9, "of sgd and momentum"),
        "weight_decay": Option(5e-4, "decay of weights, not of biases and BatchNorm"),
        "backbone_lr": Option(1.0, "learning rate of the backbone as a share of --initial_lr"),
        "backbone_bn": Option("batch", "BatchNorm of the backbone: batch = statistics of the batch; frozen = keep the "
                                       "pretrained ones", choices=("batch", "frozen")),
        "clip_norm": Option(0.0, "largest global norm of the gradients; 0 = no clipping"),
        "ema_decay": Option(0.0, "decay of the moving average of the weights that is saved for testing; 0 = none"),
        "seed": Option(1, "of initial weights, data order and augmentation"),
    },
    "Start": {
        "pretrain": Option(True, "start from the pretrained backbone --pretrain_path"),
        "pretrain_path": Option("./data/res50_pretrain.ckpt", "its checkpoint (python -m src.tools.convert --help)"),
        "resume_net": Option(None, "checkpoint to go on from: weights, moments, data order and schedule"),
    },
    "Output": {
        "ckpt_path": Option("./checkpoint/", "folder of the checkpoints; of several devices: its ckpt_0/"),
        "save_checkpoint_steps": Option(2000, "steps between checkpoints; the end of training always has one"),
        "keep_checkpoint_max": Option(1, "newest checkpoints of a run that are kept; 0: all"),
        "log_interval": Option(1, "steps between log lines; over 1 shows a progress bar on a terminal"),
    },
    "Evaluation": {
        "val_model": Option("./checkpoint/ckpt_0/RetinaFace-100_536.ckpt", "checkpoint to evaluate; where this default "
                                                                           "is absent, the newest in --ckpt_path"),
        "val_dataset_folder": Option("./data/widerface/val/", "holds images/<event>/<image>.jpg"),
        "val_origin_size": Option(False, "1: images as they are; 0: short side 1600, long side at most "
                                         "--val_max_size"),
        "val_max_size": Option(2176, "longest side when not --val_origin_size"),
        "val_confidence_threshold": Option(0.02, "weaker detections are left out"),
        "val_nms_threshold": Option(0.4, "overlap over which the weaker of two boxes goes"),
        "val_iou_threshold": Option(0.5, "overlap that counts as found"),
        "val_batch_size": Option(1, "images of one size that go through the network together; gains nothing on a CPU"),
        "val_save_result": Option(False, "write the detections as WIDER text files and JSON"),
        "val_predict_save_folder": Option("./widerface_result", "where they go"),
        "val_gt_dir": Option("./data/ground_truth/", "folder of the four WIDER .mat files"),
        "predictions": Option("", "score this saved folder or JSON; no network runs"),
    },
    "Device": {
        "device_target": Option("auto", "where to run; auto = Ascend if there is one, else CPU", choices=TARGETS),
        "backend": Option("mindspore", "what evaluation computes with; onnx: ONNX Runtime, faster on a CPU",
                          choices=RUNTIMES),
        "is_distributed": Option(False, "several devices; noticed by itself when msrun, mpirun or a rank table started "
                                        "this process"),
        "sync_bn": Option(False, "several devices: BatchNorm over the images of all; for small batches"),
        "ngpu": Option(4, "accepted for the manual's config; the launcher says how many devices there are"),
    },
}

# With --backbone mobilenet025 these are the defaults: what its authors trained it with.
MOBILENET = {"image_size": 640, "pretrain_path": "./data/mobilenet025_pretrain.ckpt"}

PRESETS: Presets = {"backbone": {"mobilenet025": MOBILENET}}

cfg_res50: EasyDict = defaults_of(OPTIONS)
cfg_res50.num_anchor = 29126
cfg_mnet025: EasyDict = EasyDict({**cfg_res50, **MOBILENET, "backbone": "mobilenet025", "num_anchor": 16800})
