#!/usr/bin/env python
# SPDX-License-Identifier: Apache-2.0
"""Test one checkpoint, or several, on the images of a split, and score them with --eval 1.

    python test.py --test_model model --ckpt_name 0-125_24750.ckpt --save_dir output/centerface/999 \\
        --data_dir dataset/centerface/images/val/images \\
        --ground_truth_mat dataset/centerface/ground_truth/val.mat
    python test.py --test_model model --save_dir output/centerface --eval 1 ...      # all in model/
    python test.py --test_model model --device_num 8 --steps_per_epoch 198 --start 11 --end 18 ...  # 89..144
    python test.py --test_model model --save_dir output/centerface --processes 8 --eval 1 ...       # on 8 devices

Predictions are WIDER FACE text files: event/image.txt with x y w h score, pixels of the original image.
"""
from __future__ import annotations

import sys
from pathlib import Path

from src.cli.arguments import parse
from src.cli.program import run
from src.common import log
from src.evaluation.options import OPTIONS


def main(argv: list[str] | None = None) -> int:
    """Run the program; return exit status 0, or 1 if a checkpoint could not be used or a process failed."""
    cfg, names = parse(OPTIONS, argv, __doc__)
    log.setup().setLevel("DEBUG" if cfg.verbose else "INFO")
    from src.evaluation.checkpoints import find_checkpoints, keep_existing  # --help stays quick
    from src.evaluation.predict import detector_loader, predict_checkpoints
    from src.evaluation.processes import predict_shards, split_work
    from src.evaluation.scoring import CheckpointScores
    from src.evaluation.split_images import check_folder, list_images
    save_dir = Path(cfg.save_dir)
    candidates = keep_existing(find_checkpoints(cfg, names))
    images = list_images(cfg.ground_truth_mat, cfg.data_dir, cfg.only_existing)
    for candidate in candidates:
        check_folder(save_dir / candidate.folder, images)
    scores = CheckpointScores.from_options(cfg) if cfg.eval else None
    if cfg.processes > 1:
        shards = split_work(candidates, images, cfg.processes)
        tested = predict_shards(shards, candidates, images, cfg, names, detector_loader)
        if scores:
            for candidate in tested:
                scores.add(candidate)
    else:
        load = detector_loader(cfg, names)
        tested = predict_checkpoints(candidates, images, load, cfg, scores.add if scores else None)
    if scores and tested:
        print(scores.finish())
    return 0 if len(tested) == len(candidates) else 1


if __name__ == "__main__":
    sys.exit(run(main))
