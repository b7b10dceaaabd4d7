# SPDX-License-Identifier: Apache-2.0
"""Test one checkpoint, or sweep over many, on the images of a split, and score them with --eval 1.

    python test.py --test_model model --ckpt_name 0-125_24750.ckpt --save_dir output/centerface/999 \\
        --data_dir dataset/centerface/images/val/images \\
        --ground_truth_mat dataset/centerface/ground_truth/val.mat
    python test.py --test_model model --save_dir output/centerface --eval 1 ...      # all in model/
    python test.py --test_model model --device_num 8 --steps_per_epoch 198 --start 11 --end 18 ...  # 89..144

Predictions are WIDER FACE text files: event/image.txt with x y w h score, pixels of the original image.
"""
import sys
from pathlib import Path
from typing import Any, Optional

from src.common import log
from src.common.cli import run
from src.common.config import parse
from src.common.sweep import Candidate, find_checkpoints, list_images, sweep, test_images
from src.common.sweep_eval import Evaluation
from src.common.test_options import OPTIONS, detector_options


def main(argv: Optional[list[str]] = None) -> int:
    """Exit status 0; 1 where a checkpoint of a sweep could not be used."""
    cfg, given = parse(OPTIONS, argv, __doc__)
    log.setup().setLevel("DEBUG" if cfg.verbose else "INFO")
    candidates = find_checkpoints(cfg, given)
    images = list_images(cfg.ground_truth_mat, cfg.data_dir, cfg.only_existing)
    evaluation = Evaluation.from_options(cfg) if cfg.eval else None
    load = detector_loader(cfg, given)

    def test(detector: Any, candidate: Candidate) -> None:
        folder = Path(cfg.save_dir) / candidate.folder
        test_images(detector, images, Path(cfg.data_dir), folder, candidate.path.name, cfg.score_digits,
                    cfg.batch_size, cfg.save_landmarks)
        if evaluation:
            evaluation.add(candidate, folder)

    _, failed = sweep(candidates, load, test)
    if evaluation:
        print(evaluation.finish())
    return 1 if failed else 0


def detector_loader(cfg: Any, given: set[str]) -> Any:
    """A function from a checkpoint file to its detector; the device starts now."""
    from src import models
    from src.common.inference import Forward, build_detector
    forward = Forward(models.recipe, cfg.model, cfg.device_target)
    return lambda path: build_detector(forward, forward.load(path), **detector_options(cfg, given))


if __name__ == "__main__":
    sys.exit(run(main))
