# SPDX-License-Identifier: Apache-2.0
"""The options of test.py; names and defaults of the manual's come first in each group.

    cfg, given = parse(OPTIONS, argv, __doc__)
    detector = build_detector(forward, metadata, **detector_options(cfg, given))
"""
from typing import Any

from dependency.centernet.src.lib.detectors.base_detector import NMS_KINDS, PADS
from src.cli.options import Option, Table
from src.common.device import RUNTIMES, TARGETS
from src.models import MODELS

DETECTOR: dict[str, Option] = {
    "test_size": Option(None, "'original'; the longer side in pixels, as 832; shorter side / longest the other may be, "
                              "as 1600/2176; or 'vga' (longer side 640); default: what the checkpoint's metadata says, "
                              "else 832 as in the manual"),
    "pad": Option(None, "what is added to the image: none; right and below up to multiples of 32, or up to a square; "
                        "centre: all around up to a square; default: the metadata's, else centre where --test_size is a "
                        "number and 32 elsewhere", choices=PADS),
    "test_scales": Option([1.0], "look at these sizes relative to --test_size and merge the results, as 0.5,1,1.5; "
                                 "0.3125,0.5,0.6875,0.875,1.0625 of 1600/2176 are RetinaFace's usual five"),
    "flip_test": Option(False, "look at the mirror image too"),
    "nms": Option(None, "how duplicates are suppressed; vote: the box that stays becomes the mean of them; default: "
                        "the metadata's, else soft", choices=NMS_KINDS),
    "nms_iou": Option(None, "overlap that hard NMS and vote remove; soft NMS is the manual's Gaussian, which needs "
                            "none; default: the metadata's, else 0.5", kind=float),
    "top_k": Option(None, "most faces of one image (the manual's 200 loses 5 % of WIDER's hard faces); "
                          "default: the metadata's, else 1000", kind=int),
    "score_threshold": Option(None, "leave out weaker faces; default: the metadata's, else 0.005", kind=float),
    "peaks": Option(None, "CenterFace; 1: only local maxima of the heatmap, 0: every cell over the threshold; "
                          "default: the metadata's, else 1", kind=bool),
}

OPTIONS: Table = {
    "Images": {
        "data_dir": Option("", "image folder, holds <event>/<image>.jpg"),
        "ground_truth_mat": Option("", "names the images to test: val.mat / wider_face_val.mat, or any annotation "
                                       "file that src.tools.prepare_wider reads"),
        "only_existing": Option(False, "test those images of the split that --data_dir holds, and say how many"),
    },
    "Checkpoints": {
        "test_model": Option("", "folder of the checkpoints; all are tested unless one of the next options chooses"),
        "ckpt_path": Option("outputs/", "the same as --test_model, which wins"),
        "ckpt_name": Option("", "test only this one"),
        "device_num": Option(1, "choose by the manual's arithmetic: devices in training. "
                                "epoch = loop * device_num + rank + 1 for loop in [start, end); "
                                "name = 0-<epoch>_<epoch * steps_per_epoch>.ckpt"),
        "steps_per_epoch": Option(198, "arithmetic: training steps of an epoch"),
        "start": Option(0, "arithmetic: first loop; counts blocks of device_num epochs, not epochs"),
        "end": Option(18, "arithmetic: loop to stop before"),
        "rank": Option(0, "arithmetic: number of this process among device_num"),
        "model": Option("centerface", "the model of checkpoints without metadata", choices=MODELS),
    },
    "Detector": DETECTOR,
    "Output": {
        "save_dir": Option("output/centerface", "predictions go to <save_dir>/<event>/<image>.txt, "
                                                "of several checkpoints to <save_dir>/<epoch>/<event>/<image>.txt"),
        "score_digits": Option(3, "decimals of the scores in the files"),
        "save_landmarks": Option(False, "add the landmarks to the files, ten columns behind the score: what eval.py "
                                        "--landmarks scores"),
        "verbose": Option(False, "a line for every image, as in the manual"),
    },
    "Evaluation": {
        "eval": Option(False, "score every checkpoint after testing it"),
        "ground_truth_path": Option("", "folder of the WIDER .mat files; default: the folder of --ground_truth_mat"),
        "eval_script_path": Option("", "accepted for the manual's scripts; the evaluation runs in this process"),
    },
    "Device": {
        "backend": Option("mindspore", "what computes; onnx: the checkpoint's weights in ONNX Runtime, several times "
                                       "faster on a CPU, AP the same", choices=RUNTIMES),
        "device_target": Option("auto", "where to run", choices=TARGETS),
        "batch_size": Option(1, "images of one input size that go through the network together; no gain on a CPU"),
        "processes": Option(1, "share the work over so many processes, each with a device of its own (DEVICE_ID 0, 1, "
                               "..., on a CPU its part of the cores): the checkpoints, or the images where there are "
                               "fewer checkpoints than processes; scored once, at the end"),
        "process_log": Option("", "the log of each process, {rank} is its number; default: "
                                  "<save_dir>/logs/test_{rank}.log, of one checkpoint <save_dir>_logs/test_{rank}.log"),
        "is_distributed": Option(False, "accepted for the manual's scripts; --processes uses several devices"),
    },
}


def detector_options(cfg: dict[str, Any], given: set[str]) -> dict[str, Any]:
    """The arguments of `BaseDetector` that the user chose; the rest is the checkpoint's affair."""
    return {name: cfg[name] for name in DETECTOR if name in given and cfg[name] is not None}
