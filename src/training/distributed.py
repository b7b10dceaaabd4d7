# SPDX-License-Identifier: Apache-2.0
"""The processes of a data-parallel run, one for each device, and what they exchange.

    ranks = connect(cfg.is_distributed)          # ALONE where this process is the only one
    loss, = ranks.mean([loss]);  started = ranks.share(time.time());  ranks.share_state(step.get_parameters())

Every process must make the same calls in the same order: each waits for all the others.
"""
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from dependency.errors import InputError, TrainingError

# Numbers in one exchange of gradients: 32 MB; CenterFace has one exchange a step, RetinaFace with ResNet-50 four.
BUCKET_SIZE = 8_000_000


class Total(nn.Cell):
    """x float32 -> its sum over all devices; on one device x itself.

    Losses divide by it where they divide by a count of the batch. Averaged over the devices they are then exactly
    the loss of the whole batch on one device. No gradient flows through it.

    Args:
        devices: the number of devices.
    """

    def __init__(self, devices: int = 1):
        super().__init__()
        self.devices = devices
        self.reduce = ops.AllReduce(ops.ReduceOp.SUM) if devices > 1 else None

    def construct(self, x: Tensor) -> Tensor:
        if self.reduce is None:
            return x
        return ops.stop_gradient(self.reduce(ops.stop_gradient(x)))


class GradientMean(nn.Cell):
    """Gradients of this device -> their means over all devices, in GRAPH_MODE and in PyNative.

    They are summed in a few long vectors, since every exchange costs a delay, however short it is.

    Args:
        params: whose gradients they are, in this order; float32.
        devices: the number of devices.
    """

    def __init__(self, params: Sequence[ms.Parameter], devices: int):
        super().__init__()
        self.devices = devices
        self.reduce = ops.AllReduce(ops.ReduceOp.SUM)
        ends = np.cumsum([param.size for param in params])
        # The vector that a gradient is a part of: full ones have about BUCKET_SIZE numbers.
        buckets = (ends - 1) // BUCKET_SIZE
        cuts = [0, *(np.flatnonzero(np.diff(buckets)) + 1).tolist(), len(ends)]
        self.spans = tuple(zip(cuts[:-1], cuts[1:]))
        # Where in its vector a gradient begins.
        self.starts = tuple((0, *(ends[first:end - 1] - (ends[first - 1] if first else 0)).tolist())
                            for first, end in self.spans)

    def construct(self, grads: tuple) -> tuple:
        # HyperMap and slices, since a graph of 200 loops, or of `ops.split`, takes longer to compile than a network.
        means = ()
        flat = ops.HyperMap()(_flatten, grads)
        for (first, end), starts in zip(self.spans, self.starts):
            mean = self.reduce(ops.concat(flat[first:end])) / self.devices
            means += ops.HyperMap()(ops.partial(_part, mean), starts, grads[first:end])
        return means


_flatten = ops.MultitypeFuncGraph("flatten")
_part = ops.MultitypeFuncGraph("part")


@_flatten.register("Tensor")
def _flatten_tensor(tensor):
    return ops.reshape(tensor, (-1,))


@_part.register("Tensor", "Number", "Tensor")
def _part_like(vector, start, like):
    return ops.reshape(ops.slice(vector, (start,), (ops.size(like),)), ops.shape(like))


@dataclass(frozen=True)
class Ranks:
    """This process, `rank`, among `world_size` of them."""
    rank: int = 0
    world_size: int = 1

    def mean(self, values: Sequence[float]) -> list[float]:
        """Compute the means over all processes, as float32; a single process gets the values unchanged."""
        if self.world_size == 1:
            return list(values)
        return (self._sum(np.array(values, np.float32)) / self.world_size).tolist()

    def share(self, value: Any) -> Any:
        """Return the value of rank 0 in all processes, and ignore the values of the others.

        It is anything that JSON can hold; arrays become lists. A single process gets its value unchanged.
        """
        if self.world_size == 1:
            return value
        text = json.dumps(value, default=lambda array: array.tolist()) if self.rank == 0 else ""
        letters = np.frombuffer(text.encode(), np.uint8)
        length = int(self._sum(np.array([len(letters)], np.float32))[0])
        mine = letters if self.rank == 0 else np.zeros(length, np.uint8)
        return json.loads(self._sum(mine.astype(np.float32)).astype(np.uint8).tobytes())

    def keep_waiting(self) -> None:
        """Tell the other processes, which are in `meet`, that rank 0 still works.

        On a CPU a process that waits for another one fails after some 40 seconds.
        """
        if self.world_size > 1:
            self._sum(np.ones(1, np.float32))

    def meet(self) -> None:
        """Wait until rank 0 calls this."""
        while self.world_size > 1 and self._sum(np.zeros(1, np.float32))[0]:
            pass

    def share_state(self, parameters: Iterable[ms.Parameter]) -> None:
        """Give all processes the values that the parameters have on rank 0.

        So only the host of rank 0 needs the checkpoint that a run goes on from.
        """
        if self.world_size == 1:
            return
        parameters = list(parameters)
        real = [each for each in parameters if each.dtype == ms.float32]
        others = [each for each in parameters if each.dtype != ms.float32]
        flat = np.concatenate([each.asnumpy().ravel() for each in real])
        flat = self._sum(flat if self.rank == 0 else np.zeros_like(flat))
        for each, values in zip(real, np.split(flat, np.cumsum([each.size for each in real])[:-1])):
            each.set_data(Tensor(values.reshape(each.shape), each.dtype))
        whole = self.share([each.asnumpy().tolist() for each in others])
        for each, values in zip(others, whole):
            each.set_data(Tensor(np.array(values), each.dtype))

    def _sum(self, values: np.ndarray) -> np.ndarray:
        return _total(self.world_size)(Tensor(values)).asnumpy()


ALONE = Ranks()


@lru_cache(maxsize=1)
def _total(devices: int) -> Total:
    """Return the cell that sums over the devices, always the same one, so that its graphs are compiled once."""
    return Total(devices)


def connect(is_distributed: bool) -> Ranks:
    """Return the `Ranks` of this run; join the other processes if `is_distributed`, or if a launcher started several.

    Raises:
        InputError: several processes are asked for, but no launcher started this one.
        TrainingError: the others cannot be reached.
    """
    launched = os.environ.get("MS_WORKER_NUM") or any(
        int(os.environ.get(name) or 1) > 1 for name in ("OMPI_COMM_WORLD_SIZE", "RANK_SIZE"))
    if not is_distributed and not launched:
        return ALONE
    from mindspore.communication import get_group_size, get_rank, init
    if not any(name in os.environ for name in ("MS_WORKER_NUM", "RANK_TABLE_FILE", "OMPI_COMM_WORLD_RANK")):
        why = "--is_distributed" if is_distributed else f"RANK_SIZE={os.environ.get('RANK_SIZE')} is set"
        raise InputError(f"{why}: no launcher started this process; use scripts/train_distribute.sh, or "
                         "`msrun --worker_num=N --local_worker_num=N --join=True train.py ...`")
    try:
        init()
    except RuntimeError as error:
        raise TrainingError("the processes of this run cannot reach each other: "
                            f"{str(error).strip().splitlines()[0]}") from error
    return Ranks(get_rank(), get_group_size())
