#!/usr/bin/env python
# SPDX-License-Identifier: Apache-2.0
"""Train a face detector: CenterFace or RetinaFace.

  python train.py --model centerface --data my.yaml
  python train.py --lr=5e-4 --weight_decay=0 --per_batch_size=8 --pretrained_backbone=mobilenet_v2.ckpt \\
      --data_dir=dataset/centerface --annot_path=annotations/train.json --img_dir=images/train/images
  python train.py --model retinaface --backbone mobilenet025 --training_dataset data/widerface/train/label.txt

--model selects the model, or any option that only one of them has; the default is RetinaFace. Each model has its
own options: python train.py --model centerface --help. CenterFace writes checkpoints, log and metrics.jsonl to
outputs/<date_time>/ (test with test.py), RetinaFace to checkpoint/ (test with eval.py). A stopped run continues with
the same command and --resume CHECKPOINT. docs/own_images.md says what my.yaml is and what --data changes.
"""
from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from dependency.errors import InputError
from dependency.files import remove_partial
from src import models
from src.cli.arguments import idle_options, parse
from src.cli.options import as_typed, flat
from src.cli.program import run
from src.cli.training_options import refuse_double
from src.common import device, log
from src.common.log import LOGGER
from src.training import restart_file


def main(argv: list[str] | None = None) -> int:
    name, argv = models.select(sys.argv[1:] if argv is None else argv, default="retinaface")
    cfg, names = parse(models.options(name), argv, __doc__, prog="train.py", presets=models.presets(name))
    refuse_double(flat(models.options(name)), cfg)
    device.setup(cfg.device_target)
    from src.training.distributed import connect
    ranks = connect(cfg.is_distributed)
    device.setup_seed(cfg.seed)
    train(name, cfg, names, ranks)
    return 0


def train(name: str, cfg: Any, names: set[str], ranks: Any) -> None:
    """Build what the options name, and train.

    Args:
        name: of the model; cfg: its options; names: of those that the user set; ranks: the processes that
            train together, see `connect`.
    """
    import yaml
    from mindspore.amp import auto_mixed_precision

    from src.data.loader import batches
    from src.data.sampler import SamplePlan
    from src.data.training_set import fingerprint
    from src.run_folder.dry_run import one_step
    from src.run_folder.files import CONFIG
    from src.run_folder.report import RunReport
    from src.run_folder.tensorboard import require_tensorboard
    from src.run_folder.validation import open_validator
    from src.training import resume
    from src.training.batch_norm import synchronise
    from src.training.optim import build_optimizer
    from src.training.settings import scale_rate
    from src.training.train_step import TrainStep
    from src.training.trainer import Trainer

    model = models.training(name)
    rank, world_size = ranks.rank, ranks.world_size
    # Under a launcher every process has its own console file, and the end of a failed one's is shown.
    log.setup(0 if restart_file.is_launched() else rank, keep=True)
    LOGGER.info("training %s on %s", name, device.describe(world_size))
    options = flat(models.options(name))
    for problem in idle_options(options, cfg, models.option_conditions(name, cfg, world_size)):
        LOGGER.warning("%s; it has no effect here", problem)
    chosen = {key: value for key, value in cfg.items()
              if key in options and key not in names and value != options[key].default}
    if cfg.data or cfg.pretrained:
        LOGGER.info("chosen for --data and --pretrained, unless you set them: %s", as_typed(chosen))
    scale_rate(cfg, "lr" in names, cfg.batch_size * world_size, model.lr_images)
    settings = model.run_settings(cfg, world_size, ranks.share(time.strftime("%Y-%m-%d_time_%H_%M_%S")))
    restarted = ranks.share(restart_file.newest_checkpoint())
    if restarted:
        LOGGER.info("started again: goes on from %s", restarted)
        settings = replace(settings, resume=restarted)
    samples = model.build_samples(cfg)
    plan = SamplePlan(len(samples), settings.batch, settings.epochs, settings.seed, rank, world_size)
    LOGGER.info("Finish loading dataset")
    validator = open_validator(name, cfg, model.val_layout) if rank == 0 else None
    if cfg.tensorboard:
        require_tensorboard()
    network = model.build_network(cfg)
    auto_mixed_precision(network, cfg.amp_level)
    if settings.sync_bn:
        synchronise(network, world_size)
    LOGGER.info("finish get network")
    rates = settings.rates(plan.steps_per_epoch)
    LOGGER.info("%d images a step, learning rate up to %g", settings.batch * world_size, max(rates))
    optimizer = build_optimizer(settings.optimizer, network.trainable_params(), rates, settings.weight_decay,
                                settings.momentum, model.backbone_prefix, settings.backbone_lr)
    LOGGER.info("use %s optimizer", settings.optimizer)
    loss_cell = model.build_loss_cell(cfg, network, world_size)
    step = TrainStep(loss_cell, optimizer, settings.loss_scale, settings.clip_norm, settings.ema_decay,
                     world_size)
    metadata = {**model.build_metadata(cfg), "versions": device.versions(), "command": sys.argv}
    position = None
    if settings.resume and rank == 0:
        position = resume.load_state(Path(settings.resume), step, network, models.spec(name), metadata)
    position = ranks.share(position)
    ranks.share_state(step.get_parameters())
    data = fingerprint(samples.records)
    first_step = resume.first_step(plan, position, data)
    if first_step >= plan.total_steps:
        if not restarted:
            raise InputError(f"nothing left to train: step {first_step} is the end of epoch {settings.epochs}; raise "
                             "--epochs to continue")
        LOGGER.info("the run had already ended with %s", restarted)
        LOGGER.info(log.END_TRAINING)
        return
    with ExitStack() as stack:
        if cfg.dry_run:
            settings, plan, first_step = stack.enter_context(one_step(settings, plan, validator))
        files = stack.enter_context(settings.files(plan.steps_per_epoch, first_step > 0, ranks))
        for path in remove_partial(files.run_dir):
            LOGGER.info("removed %s, half written by a process that was killed", path)
        log.write_to(files.path(f"{settings.log_name}_rank_{rank}.log"))
        report = None
        if rank == 0:
            files.path(CONFIG).write_text(yaml.safe_dump({"model": name, **cfg}, sort_keys=False), encoding="utf-8")
            report = RunReport(files, first_step, plan.steps_per_epoch, model.terms, validator, cfg.eval_every,
                               cfg.patience, cfg.tensorboard, samples.image_dir / samples.describe(0))
        trainer = Trainer(step, network, plan, rates, metadata, model.terms, settings, files, samples.describe,
                          model.build_picture(cfg), report, ranks, data)
        late = round(cfg.mosaic_until * settings.epochs), samples.without_mosaic()
        trainer.fit(batches(samples, plan, first_step, settings.workers, settings.bad_images, late), first_step)
        if report and not cfg.dry_run:
            report.finish(trainer.saved[-1] if trainer.saved else None)


if __name__ == "__main__":
    sys.exit(run(main))
