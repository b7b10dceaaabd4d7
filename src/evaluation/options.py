# SPDX-License-Identifier: Apache-2.0
"""The options of test.py; names and defaults of the manual's come first in each group.

    cfg, explicit = parse(OPTIONS, argv, __doc__)
    detector = build_detector(backend, metadata, **detector_options(cfg, explicit))
"""
from typing import Any

from dependency.centernet.src.lib.detectors import option_rules
from src.cli.options import Option, Table
from src.common.device import RUNTIMES, TARGETS
from src.models import MODELS

# A default of None is what the checkpoint's metadata says, and where that says nothing the one named in the help.
DETECTOR: dict[str, Option] = {
    "test_size": Option(None, "Size of the images: 'original'; the longer side in pixels, as 832; shorter side / "
                              "maximum of the longer one, as 1600/2176; or 'vga' (longer side 640) (default: the "
                              "metadata's, else 832 as in the manual).", rule=option_rules.SIZE, metavar="SIZE"),
    "pad": Option(None, "Padding of the image: none; 32 = right and below up to multiples of 32; square = right and "
                        "below up to a square; centre = all around up to a square (default: the metadata's, else "
                        "centre where --test_size is a number and 32 elsewhere).", rule=option_rules.PAD),
    "test_scales": Option([1.0], "Multi-scale testing: scale factors relative to --test_size, as 0.5,1,1.5; "
                                 "0.3125,0.5,0.6875,0.875,1.0625 of 1600/2176 are RetinaFace's usual five.",
                          rule=option_rules.DETECTOR["test_scales"]),
    "flip_test": Option(False, "Also test the mirrored image and merge the detections."),
    "nms": Option(None, "Suppression of duplicates; vote = hard, and each box becomes the mean of those it removes "
                        "(default: the metadata's, else soft).", rule=option_rules.DETECTOR["nms"]),
    "nms_iou": Option(None, "Overlap above which hard and vote remove the weaker box; soft NMS is the manual's "
                            "Gaussian, which has none (default: the metadata's, else 0.5).",
                      rule=option_rules.DETECTOR["nms_iou"]),
    "top_k": Option(None, "Maximum number of detections per image; the manual's 200 loses 5 % of WIDER's hard faces "
                          "(default: the metadata's, else 1000).", rule=option_rules.DETECTOR["top_k"]),
    "score_threshold": Option(None, "Minimum score of a detection (default: the metadata's, else 0.005).",
                              rule=option_rules.DETECTOR["score_threshold"]),
    "peaks": Option(None, "CenterFace: 1 = only local maxima of the heatmap, 0 = every cell above the threshold "
                          "(default: the metadata's, else 1).", rule=option_rules.FLAG),
}

DATA = Option("", "Data file of one's own images, my.yaml (docs/own_images.md); its val images are tested, and no "
                  "other option names images or ground truth.", metavar="FILE")
OPTIONS: Table = {
    "Images": {
        "data": DATA,
        "data_dir": Option("", "Image folder; holds <event>/<image>.jpg.", metavar="DIR"),
        "ground_truth_mat": Option("", "File that lists the images to test: val.mat / wider_face_val.mat, or any "
                                       "annotation file that src.tools.prepare_wider reads.", metavar="FILE"),
        "only_existing": Option(False, "Skip images missing from --data_dir (the count is logged)."),
    },
    "Checkpoints": {
        "ckpt": Option("", "The checkpoint to test; its model is that of its metadata.", metavar="FILE"),
        "test_model": Option("", "Folder of the checkpoints; all are tested unless one of the next options selects "
                                 "some.", metavar="DIR"),
        "ckpt_path": Option("outputs/", "The same as --test_model, which takes precedence.", metavar="DIR"),
        "ckpt_name": Option("", "Name of the only checkpoint to test.", metavar="FILE"),
        "device_num": Option(1, "Selection by the manual's arithmetic: devices in training. "
                                "epoch = loop * device_num + rank + 1 for loop in [start, end); "
                                "name = 0-<epoch>_<epoch * steps_per_epoch>.ckpt.", low=1, high=100_000),
        "steps_per_epoch": Option(198, "Arithmetic: training steps per epoch.", low=1, high=10 ** 9),
        "start": Option(0, "Arithmetic: first loop; counts blocks of device_num epochs, not epochs.", low=0,
                        high=100_000),
        "end": Option(18, "Arithmetic: loop to stop before.", low=1, high=100_000),
        "rank": Option(0, "Arithmetic: number of this process among device_num.", low=0, high=100_000),
        "model": Option("centerface", "Model of checkpoints without metadata.", choices=MODELS),
    },
    "Detector": DETECTOR,
    "Output": {
        "save_dir": Option("output/centerface", "Output folder: predictions go to <save_dir>/<event>/<image>.txt, of "
                                                "several checkpoints to <save_dir>/<epoch>/<event>/<image>.txt.",
                           metavar="DIR"),
        "score_digits": Option(3, "Decimals of the scores in the files.", low=1, high=17),
        "save_landmarks": Option(False, "Add the landmarks to the files, ten columns after the score, for eval.py "
                                        "--landmarks."),
        "dry_run": Option(False, "Try everything on one checkpoint and one image, and keep no file."),
        "verbose": Option(False, "Log a line for every image, as in the manual."),
    },
    "Evaluation": {
        "eval": Option(False, "Score every checkpoint after testing it."),
        "ground_truth_path": Option("", "Folder of the WIDER .mat files (default: the folder of --ground_truth_mat).",
                                    metavar="DIR"),
        "eval_script_path": Option("", "Accepted for the manual's scripts; the evaluation runs in this process.",
                                   metavar="PATH"),
    },
    "Device": {
        "backend": Option("mindspore", "Backend; onnx = the checkpoint's weights in ONNX Runtime, several times faster "
                                       "on a CPU, with the same AP.", choices=RUNTIMES),
        "device_target": Option("auto", "Device to run on; auto = Ascend if there is one, else CPU.", choices=TARGETS),
        "batch_size": Option(1, "Images of one size per forward pass; gains nothing on a CPU.",
                             rule=option_rules.INFERENCE["batch_size"]),
        "processes": Option(1, "Split the checkpoints across N processes, or the images where there are fewer "
                               "checkpoints; each has its own device (DEVICE_ID 0, 1, ..., on a CPU its part of the "
                               "cores).", low=1, high=1024),
        "process_log": Option("", "Log file of each process, with {rank} for its number (default: "
                                  "<save_dir>/logs/test_{rank}.log, of one checkpoint "
                                  "<save_dir>_logs/test_{rank}.log).", metavar="FILE"),
        "is_distributed": Option(False, "Accepted for the manual's scripts; --processes uses several devices."),
    },
}


def detector_options(cfg: dict[str, Any], explicit: set[str]) -> dict[str, Any]:
    """Return the arguments of `BaseDetector` that the user set; the others come from the checkpoint's metadata."""
    return {name: cfg[name] for name in DETECTOR if name in explicit and cfg[name] is not None}
