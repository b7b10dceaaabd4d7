# SPDX-License-Identifier: Apache-2.0
"""Freeze the BatchNorm statistics of a network, or compute them over several devices.

    freeze_statistics(network.base)
    synchronise(network, devices=8)         # after loading the weights
"""
from mindspore import Tensor, nn, ops


def freeze_statistics(cell: nn.Cell) -> None:
    """Make each BatchNorm in `cell` use its moving statistics in training too, without updating them."""
    for _, inner in cell.cells_and_names():
        if isinstance(inner, nn.BatchNorm2d):
            inner.use_batch_statistics = False


def synchronise(cell: nn.Cell, devices: int) -> None:
    """Make each BatchNorm in `cell` use the statistics of the batch over all devices; weights and names stay.

    Frozen ones do not change. Does nothing for one device.
    """
    if devices == 1:
        return
    for _, parent in list(cell.cells_and_names()):
        for name, inner in list(parent.name_cells().items()):
            if isinstance(inner, nn.BatchNorm2d) and inner.use_batch_statistics is not False:
                # Setting the attribute would add the parent's prefix to the parameter names a second time.
                parent._cells[name] = SyncBatchNorm(inner, devices)     # pylint: disable=protected-access
                if isinstance(parent, nn.SequentialCell):
                    parent.cell_list = list(parent._cells.values())     # pylint: disable=protected-access


class SyncBatchNorm(nn.Cell):
    """Batch normalisation (Ioffe and Szegedy 2015) of [N, C, H, W] over the batches of all devices.

    `nn.SyncBatchNorm` does not run on a CPU, where this project proves that several devices compute what one does.

    Args:
        norm: the BatchNorm that it replaces, with its weights, moving statistics, eps and momentum.
        devices: the number of devices; each must have the same number of images.
    """

    def __init__(self, norm: nn.BatchNorm2d, devices: int):
        super().__init__(auto_prefix=False)
        self.moving_mean, self.moving_variance = norm.moving_mean, norm.moving_variance
        self.gamma, self.beta = norm.gamma, norm.beta
        self.eps = norm.eps
        self.keep = 1.0 - norm.momentum     # MindSpore's momentum is the weight of the new value
        self.devices = devices
        self.reduce = ops.AllReduce(ops.ReduceOp.SUM)

    def construct(self, x: Tensor) -> Tensor:
        if not self.training:
            return self._affine(x, self.moving_mean, self.moving_variance)
        x = x.astype("float32")      # with --amp_level it may be float16
        # Deviations from a mean of all devices: E[x^2] - E[x]^2 would lose digits in float32.
        mean = self.reduce(x.mean((0, 2, 3))) / self.devices
        variance = self.reduce(ops.square(x - _spread(mean)).mean((0, 2, 3))) / self.devices
        count = x.shape[0] * x.shape[2] * x.shape[3] * self.devices
        unbiased = variance * (count / (count - 1))
        ops.assign(self.moving_mean, self.moving_mean * self.keep + ops.stop_gradient(mean) * (1 - self.keep))
        ops.assign(self.moving_variance,
                   self.moving_variance * self.keep + ops.stop_gradient(unbiased) * (1 - self.keep))
        return self._affine(x, mean, variance)

    def _affine(self, x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        scale = self.gamma / ops.sqrt(variance + self.eps)
        return (x - _spread(mean)) * _spread(scale) + _spread(self.beta)


def _spread(values: Tensor) -> Tensor:
    """Reshape [C] to [1, C, 1, 1]."""
    return values.reshape(1, -1, 1, 1)
