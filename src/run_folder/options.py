# SPDX-License-Identifier: Apache-2.0
"""The options of train.py about what a run shows and keeps, the same for both models."""
from dependency.centernet.src.lib.detectors import option_rules
from src.cli.options import Option

OPTIONS: dict[str, Option] = {
    "eval_every": Option(None, "Epochs between validations, 0 = none (default: after an epoch, as often as validation "
                               "takes at most a fifth of the time; with --patience 1; the last epoch always).",
                         rule=option_rules.whole(0, 100_000)),
    "eval_size": Option(None, "Size of the images in validation, as test.py's --test_size (default: test.py's, of "
                              "RetinaFace 1024).", rule=option_rules.SIZE, metavar="SIZE"),
    "patience": Option(0, "End training after this many validations without a better AP; 0 = never.", low=0,
                       high=100_000),
    "tensorboard": Option(False, "Also write TensorBoard's files (needs tensorboardX)."),
    "dry_run": Option(False, "Run one step of everything, say what works, and leave nothing behind."),
}
