#!/usr/bin/env python
# SPDX-License-Identifier: Apache-2.0
"""Test one checkpoint, or several, on the images of a split, and score them with --eval 1.

    python test.py --ckpt outputs/run/best.ckpt --data my.yaml --eval 1              # own images
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
from tempfile import TemporaryDirectory
from typing import Any

from src.cli.arguments import parse, refuse_idle
from src.cli.options import flat
from src.cli.program import run
from src.common import log
from src.common.log import LOGGER
from src.evaluation.options import OPTIONS


def main(argv: list[str] | None = None) -> int:
    """Run the program; return exit status 0, or 1 if a checkpoint could not be used or a process failed."""
    cfg, names = parse(OPTIONS, argv, __doc__)
    log.setup().setLevel("DEBUG" if cfg.verbose else "INFO")
    refuse_idle(flat(OPTIONS), cfg, [
        ("data_dir ground_truth_mat ground_truth_path only_existing", not cfg.data, "without --data"),
        ("test_model ckpt_name device_num steps_per_epoch start end rank", not cfg.ckpt, "without --ckpt")])
    if not cfg.dry_run:
        return test(cfg, names)
    with TemporaryDirectory() as folder:
        cfg.save_dir = f"{folder}/predictions"      # logs of several processes go beside it
        status = test(cfg, names)
    LOGGER.info("dry run: one image was tested; nothing is kept")
    return status


def test(cfg: Any, names: set[str]) -> int:
    """Test the checkpoints that the options mean; see `main`."""
    from src.evaluation.checkpoints import find_checkpoints, keep_existing  # --help stays quick
    from src.evaluation.evaluation_set import EvaluationSet
    from src.evaluation.predict import detector_loader, predict_checkpoints
    from src.evaluation.processes import predict_shards, split_work
    from src.evaluation.scoring import CheckpointScores
    from src.evaluation.split_images import check_folder, list_images
    save_dir, truth = Path(cfg.save_dir), None
    candidates = keep_existing(find_checkpoints(cfg, names))
    if cfg.data:
        own = EvaluationSet.of_data_file(cfg.data)
        images, truth, cfg.data_dir = own.images, own.truth, str(own.image_dir)
    else:
        images = list_images(cfg.ground_truth_mat, cfg.data_dir, cfg.only_existing)
    if cfg.dry_run:
        candidates, images = candidates[:1], images[:1]
    for candidate in candidates:
        check_folder(save_dir / candidate.folder, images)
    scores = CheckpointScores.from_options(cfg, truth) if cfg.eval else None
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
