# SPDX-License-Identifier: Apache-2.0
"""A program for two ranks: steps of half a batch on each against steps of the whole batch, as JSON for test_train_step.

    msrun ... python -m tests.training.two_rank_step OUT.json

Both models in GRAPH_MODE and in PyNative. BatchNorm statistics are frozen: `two_rank_norm` looks at those.
"""
import json
import sys

import numpy as np

from src.common import device

STEPS, BATCH, SIZE = 2, 4, 64


def main(out: str) -> None:
    ms = device.setup("CPU", pynative=True)
    from src.training import distributed
    distributed.BUCKET_SIZE = 100_000       # several exchanges a step
    ranks = distributed.connect(True)
    mine = slice(ranks.rank * BATCH // 2, (ranks.rank + 1) * BATCH // 2)
    found = {}
    for model in ("centerface", "retinaface"):
        ms.set_context(mode=ms.GRAPH_MODE)
        whole = train(ms, model, slice(0, BATCH), 1)
        for mode in ("GRAPH", "PYNATIVE"):
            ms.set_context(mode=getattr(ms, f"{mode}_MODE"))
            halves = train(ms, model, mine, 2)
            found[f"{model} {mode}"] = {
                "moved": max(float(np.abs(after - before).max()) for before, after in whole),
                "gap": max(float(np.abs(one[1] - two[1]).max()) for one, two in zip(whole, halves))}
    if ranks.rank == 1:
        with open(out, "w", encoding="utf-8") as file:
            json.dump(found, file)


def train(ms, model, images, devices):
    """The trained parameters before and after STEPS steps with these images of each batch."""
    from src import models
    from src.cli.arguments import parse
    from src.training.optim import build_optimizer
    from src.training.train_step import TrainStep
    words = {"centerface": ["--head_conv=24"], "retinaface": ["--backbone=mobilenet025", "--pretrain=0"]}[model]
    cfg, _ = parse(models.options(model), [*words, f"--image_size={SIZE}", "--backbone_bn=all"], "")
    spec = models.training(model)
    network = spec.build_network(cfg)
    optimizer = build_optimizer("momentum", network.trainable_params(), [1e-3] * STEPS)
    step = TrainStep(spec.build_loss_cell(cfg, network, devices), optimizer, world_size=devices)
    step.set_train(True)
    before = [parameter.asnumpy().copy() for parameter in optimizer.parameters]
    for number in range(STEPS):
        _, _, finite = step(*(ms.Tensor(part[images]) for part in batch(model, number)))
        assert bool(finite.asnumpy())
    return list(zip(before, [parameter.asnumpy() for parameter in optimizer.parameters]))


def batch(model, number):
    """Random images and targets, other ones for each step; images have different numbers of faces."""
    rng = np.random.default_rng(number)
    image = rng.integers(0, 256, (BATCH, SIZE, SIZE, 3), dtype=np.uint8)
    if model == "centerface":
        grid, faces = SIZE // 4, 5
        cells = np.stack([rng.permutation(grid * grid)[:faces] for _ in range(BATCH)]).astype(np.int32)
        weights = np.ones((BATCH, faces, 14), np.float32)
        for index in range(BATCH):
            weights[index, index + 1:] = 0
        heatmap = np.zeros((BATCH, grid * grid), np.float32)
        for index in range(BATCH):
            heatmap[index, cells[index, :index + 1]] = 1
        values = rng.normal(size=weights.shape).astype(np.float32)
        return image, heatmap.reshape(BATCH, grid, grid), cells, values, weights
    from src.retinaface.anchors import anchor_count
    anchors = anchor_count(SIZE)
    conf = np.zeros((BATCH, anchors), np.int32)
    for index in range(BATCH):
        conf[index, rng.permutation(anchors)[:2 + index]] = 1 if index % 2 else -1
    loc, landm = (rng.normal(size=(BATCH, anchors, numbers)).astype(np.float32) for numbers in (4, 10))
    return image, loc, conf, landm


if __name__ == "__main__":
    main(sys.argv[1])
