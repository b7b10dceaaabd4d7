# SPDX-License-Identifier: Apache-2.0
"""Test one checkpoint, or sweep over many, on the images of a split, and score them with --eval 1.

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
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Callable

from src.cli.options import parse
from src.cli.program import run
from src.common import device, log
from src.evaluation.options import OPTIONS, detector_options
from src.evaluation.sweep import (
    Candidate,
    check_folders,
    find_checkpoints,
    is_there,
    list_images,
    nothing_tested,
    sweep,
    predict_images,
)
from src.evaluation.sweep_eval import Evaluation
from src.evaluation.sweep_processes import RANK, Results, Settings, run_shares
from src.evaluation.sweep_shares import deal, receive, work

PROGRAM = (sys.executable, str(Path(__file__).resolve()))


def main(argv: list[str] | None = None) -> int:
    """Exit status 0; 1 where a checkpoint of a sweep could not be used or a process failed."""
    cfg, given = parse(OPTIONS, argv, __doc__)
    log.setup().setLevel("DEBUG" if cfg.verbose else "INFO")
    received = receive()
    if received:
        return work(*received, lambda: detector_loader(cfg, given), tester(cfg))
    candidates = find_checkpoints(cfg, given)
    images = list_images(cfg.ground_truth_mat, cfg.data_dir, cfg.only_existing)
    save_dir = Path(cfg.save_dir)
    check_folders(candidates, images, save_dir)
    evaluation = Evaluation.from_options(cfg) if cfg.eval else None
    shared = share_out(cfg, candidates, images, [*PROGRAM, *(sys.argv[1:] if argv is None else argv)])
    if shared:
        for candidate in shared.tested if evaluation else []:
            evaluation.add(candidate, save_dir / candidate.folder)
    else:
        test_all, load = tester(cfg), detector_loader(cfg, given)

        def test(detector: Any, candidate: Candidate) -> None:
            test_all(detector, candidate, images)
            if evaluation:
                evaluation.add(candidate, save_dir / candidate.folder)

        shared = Results(*sweep(candidates, load, test), is_lost=False)
    if evaluation and shared.tested:
        print(evaluation.finish())
    return 1 if shared.failed or shared.is_lost else 0


def share_out(cfg: Any, candidates: Sequence[Candidate], images: Sequence[str],
              command: Sequence[str]) -> Results | None:
    """The results of --processes; None where this process does it all."""
    if cfg.processes == 1:
        return None
    single = len(candidates) == 1
    there = [candidate for candidate in candidates if single or is_there(candidate)]
    if not there:
        raise nothing_tested(candidates)
    save_dir = Path(cfg.save_dir)
    # Where the save folder is itself the tree, logs inside would be noted as no predictions.
    logs = save_dir / "logs" if there[0].folder else Path(f"{save_dir.absolute()}_logs")
    settings = Settings(save_dir, cfg.process_log or str(logs / f"test_{RANK}.log"),
                        device.choose_target(cfg.device_target) == "CPU")
    results = run_shares(deal(there, images, cfg.processes, single), there, images, command, settings)
    if not results.tested and not results.is_lost:
        raise nothing_tested(candidates)
    return results


def tester(cfg: Any) -> Callable[..., None]:
    """(detector, candidate, images, on_written) -> None: writes the predictions of these images as the options say."""
    def test(detector: Any, candidate: Candidate, images: Sequence[str],
             on_written: Callable[[str], None] | None = None) -> None:
        predict_images(detector, images, Path(cfg.data_dir), Path(cfg.save_dir) / candidate.folder, candidate.path.name,
                    cfg.score_digits, cfg.batch_size, cfg.save_landmarks, on_written)
    return test


def detector_loader(cfg: Any, given: set[str]) -> Any:
    """A function from a checkpoint file to its detector; the backend starts now."""
    from src import models
    from src.inference.backends import new_backend
    from src.inference.mindspore_backend import build_detector
    forward = new_backend(cfg.backend, models.spec, cfg.model, cfg.device_target)
    return lambda path: build_detector(forward, forward.load(path), **detector_options(cfg, given))


if __name__ == "__main__":
    sys.exit(run(main))
