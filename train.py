#!/usr/bin/env python
# SPDX-License-Identifier: Apache-2.0
"""Train a face detector.

  python train.py --lr=5e-4 --weight_decay=0 --per_batch_size=8 --pretrained_backbone=mobilenet_v2.ckpt \\
      --data_dir=dataset/centerface --annot_path=annotations/train.json --img_dir=images/train/images

Checkpoints, log and metrics.jsonl go to outputs/<date_time>/. Go on with a stopped run: the same command with
--resume outputs/<date_time>/0-<epoch>_<step>.ckpt. Then: python test.py --help.
"""
import sys
import time
from pathlib import Path
from typing import Optional

import yaml

from dependency.files import atomic_write
from src import models
from src.common import config, device, log
from src.common.cli import run
from src.common.log import LOGGER


def main(argv: Optional[list[str]] = None) -> int:
    cfg, _ = config.parse(models.options("centerface"), argv, __doc__, prog="train.py")
    ms = device.setup(cfg.device_target)
    rank, group = device.connect(cfg.is_distributed)
    ms.set_seed(cfg.seed)
    folder = Path(cfg.ckpt_path) / time.strftime("%Y-%m-%d_time_%H_%M_%S")
    log.setup(folder, rank, name=folder.name)
    train(cfg, folder, rank, group)
    return 0


def train(cfg, folder: Path, rank: int, group: int) -> None:
    """Build everything that the options name, and run the epochs."""
    from src.common.loader import SamplePlan, create_loader
    from src.common.lr_schedule import schedule
    from src.common.optim import build_optimizer
    from src.common.train_step import TrainStep
    from src.common.trainer import Trainer
    from src.common.training_state import load_state

    model = models.training("centerface")
    samples = model.build_samples(cfg)
    plan = SamplePlan(len(samples), cfg.per_batch_size, cfg.max_epoch, cfg.seed, rank, group)
    LOGGER.info("Finish loading dataset")
    network = model.build_network(cfg)
    LOGGER.info("finish get network")
    rates = schedule(cfg.lr_scheduler, lr=cfg.lr, steps_per_epoch=plan.steps_per_epoch, max_epoch=cfg.max_epoch,
                     warmup_epochs=cfg.warmup_epochs, lr_epochs=cfg.lr_epochs, lr_gamma=cfg.lr_gamma,
                     eta_min=cfg.eta_min, t_max=cfg.t_max)
    optimizer = build_optimizer(cfg.optimizer, network.trainable_params(), rates, cfg.weight_decay, cfg.momentum,
                                model.BACKBONE_PREFIX, cfg.backbone_lr)
    LOGGER.info("use %s optimizer", cfg.optimizer)
    step = TrainStep(model.build_loss_cell(cfg, network), optimizer, cfg.loss_scale, cfg.clip_norm, cfg.ema_decay,
                     device.gradient_reducer(optimizer.parameters, group))
    position = load_state(Path(cfg.resume), step, network) if cfg.resume else None
    first_step = plan.first_step(position)
    card = {**model.build_card(cfg), "versions": device.versions(), "command": sys.argv}
    if rank == 0:
        with atomic_write(folder / "config.yaml") as file:
            yaml.safe_dump(dict(cfg), file, sort_keys=False)
    LOGGER.info("args.steps_per_epoch = %d args.ckpt_interval = %d, first step %d of %d, outputs in %s",
                plan.steps_per_epoch, cfg.ckpt_interval, first_step, len(rates), folder)
    loader = create_loader(samples, model.COLUMNS, plan, first_step, cfg.workers)
    Trainer(step, network, plan, rates, folder, card, model.TERMS, samples.describe, model.batch_picture,
            cfg.ckpt_interval, cfg.log_interval, cfg.loss_scale).fit(loader, first_step)


if __name__ == "__main__":
    sys.exit(run(main))
