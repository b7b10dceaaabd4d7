# SPDX-License-Identifier: Apache-2.0
"""A program for two ranks: batch normalisation over both against one of the whole batch, as JSON for test_batch_norm.

    msrun ... python -m tests.training.two_rank_norm OUT.json
"""
import json
import sys

import numpy as np

from src.common import device

SHAPE = (6, 3, 5, 4)        # the whole batch; channels far from zero and with little spread are the hard ones
MEANS, SPREADS = np.array([0.0, 50.0, -3.0]), np.array([1.0, 0.1, 20.0])


def main(out: str) -> None:
    ms = device.setup("CPU")
    from src.training.distributed import connect
    ranks = connect(True)
    from mindspore import nn

    from src.training.batch_norm import synchronise
    from src.training.distributed import Total
    rng = np.random.default_rng(0)
    x = (rng.normal(size=SHAPE) * SPREADS.reshape(1, 3, 1, 1) + MEANS.reshape(1, 3, 1, 1)).astype(np.float32)
    weights = rng.normal(size=SHAPE).astype(np.float32)
    mine = slice(ranks.rank * 3, ranks.rank * 3 + 3)

    def look(batch, weight, devices):
        """Output, gradient of sum(weight * output) by input, gamma and beta, and the moving statistics."""
        cell = nn.SequentialCell([nn.BatchNorm2d(3, momentum=0.8), nn.ReLU()])
        cell[0].gamma.set_data(ms.Tensor(np.array([1.0, 2.0, 0.5], np.float32)))
        names = [parameter.name for parameter in cell.get_parameters()]
        synchronise(cell, devices)
        assert [parameter.name for parameter in cell.get_parameters()] == names
        cell.set_train(True)

        class Weighed(nn.Cell):
            def __init__(self):
                super().__init__(auto_prefix=False)
                self.cell, self.weight = cell, ms.Tensor(weight)

            def construct(self, images):
                return (self.cell(images) * self.weight).sum()

        by_input, by_weights = ms.grad(Weighed(), 0, cell.trainable_params())(ms.Tensor(batch))
        moving = [parameter.asnumpy() for parameter in cell.get_parameters() if not parameter.requires_grad]
        return cell(ms.Tensor(batch)).asnumpy(), by_input.asnumpy(), [each.asnumpy() for each in by_weights], moving

    output, by_input, by_weights, moving = look(x[mine], weights[mine], 2)
    total = [Total(2)(ms.Tensor(each)).asnumpy() for each in by_weights]
    expected, slope, by_whole, kept = look(x, weights, 1)
    gaps = {"output": (output, expected[mine]), "input gradient": (by_input, slope[mine]),
            "gamma gradient": (total[0], by_whole[0]), "beta gradient": (total[1], by_whole[1]),
            "moving mean": (moving[0], kept[0]), "moving variance": (moving[1], kept[1])}
    found = {name: float(np.abs(a - b).max() / np.abs(b).max()) for name, (a, b) in gaps.items()}
    shared = ranks.share({"from": ranks.rank, "text": "ü"})
    mean = ranks.mean([float(ranks.rank), 1.0])
    if ranks.rank == 1:
        with open(out, "w", encoding="utf-8") as file:
            json.dump({"gaps": found, "shared": shared, "mean": mean}, file)


if __name__ == "__main__":
    main(sys.argv[1])
