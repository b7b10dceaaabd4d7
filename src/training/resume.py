# SPDX-License-Identifier: Apache-2.0
"""What a training checkpoint holds beside the weights, and how a run continues from it.

    save_state(path, step_cell, network, metadata, {"epoch": 3, "step": 594})
    position = load_state("outputs/.../0-3_594.ckpt", step_cell, network, spec, metadata)  # None: weights only

Plain names are the weights to use: the moving average where there is one. The weights in training are then kept under
`raw.`; the optimiser's moments keep MindSpore's names.
"""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from mindspore import Tensor, nn

from dependency.errors import InputError
from src.cli.options import as_typed
from src.common.log import LOGGER
from src.data.sampler import SamplePlan
from src.models import Metadata, ModelSpec
from src.run_folder.options import OPTIONS as REPORT_OPTIONS
from src.training.train_step import TrainStep
from src.weights import checkpoint

RAW_PREFIX = "raw."
# Options that usually differ from one part of a run to the next.
PER_RUN = ("config_path", "resume", "ckpt_path", "epochs", "workers", "log_interval", "device_target", "is_distributed",
           "keep_checkpoint_max", *REPORT_OPTIONS)


def save_state(path: Path, step: TrainStep, network: nn.Cell, metadata: dict[str, Any],
               position: dict[str, Any]) -> None:
    """Write everything that a bit-exact continuation needs, atomically and with a checksum.

    Args:
        position: "epoch" and "step" reached, kept as bookkeeping.
    """
    weights = {name: parameter.asnumpy() for name, parameter in network.parameters_dict().items()}
    tensors = dict(weights)
    average = step.ema_parameters()
    if average:
        tensors = {name: average[name].asnumpy() for name in weights}
        tensors.update({RAW_PREFIX + name: value for name, value in weights.items()})
        tensors[step.ema_steps.name] = step.ema_steps.asnumpy()
    tensors.update({name: parameter.asnumpy() for name, parameter in optimizer_state(step).items()})
    checkpoint.save(path, tensors, metadata, position)


def load_state(path: Path, step: TrainStep, network: nn.Cell, spec: ModelSpec,
               metadata: Metadata) -> dict[str, Any] | None:
    """Put a checkpoint into network, optimiser and moving average.

    Args:
        path: the checkpoint.
        step, network: built with the same options as those that wrote it.
        spec, metadata: of the network in training.

    Returns:
        The position passed to `save_state`; None when the file holds weights only (a converted or a final model):
        then training starts at epoch 1 from them.

    Raises:
        InputError: the file is damaged, or of another network, encoding, input or optimiser.
    """
    read = checkpoint.load(path)
    source = f"--resume {path}"
    if read.metadata is not None:
        default = spec.default_metadata
        options = {**default["options"], **read.metadata.get("options", {})}
        _require_same_use(source, {**default, **read.metadata, "options": options}, metadata)
    shapes = {name: tuple(parameter.shape) for name, parameter in network.parameters_dict().items()}
    weights = spec.own_names(checkpoint.network_tensors(read))
    checkpoint.load_report(shapes, weights).require(path, read.metadata)
    state = optimizer_state(step)
    # The reader counts the optimiser's scalars (global_step, beta1_power) as bookkeeping.
    values = {**read.bookkeeping, **read.tensors}
    missing = [name for name in state if name not in values]
    if len(missing) == len(state) or "step" not in read.bookkeeping:
        _assign(network.parameters_dict(), weights)
        LOGGER.warning("%s holds weights only, no state of the optimiser: training starts at epoch 1 from them", path)
        return None
    if missing:
        raise InputError(f"{source}: no value for {missing[0]} and {len(missing) - 1} more names of the "
                         "optimiser: it was trained with another --optimizer; give the same one, or keep only the "
                         f"weights: --pretrained {path} in place of --resume")
    average = step.ema_parameters()
    raw = {name[len(RAW_PREFIX):]: value for name, value in read.tensors.items() if name.startswith(RAW_PREFIX)}
    if bool(raw) != bool(average):
        raise InputError(f"{source}: it was trained {'with' if raw else 'without'} a moving average; "
                         f"{'give the same --ema_decay' if raw else 'leave out --ema_decay'}")
    _assign(network.parameters_dict(), raw or weights)
    _assign(average, weights)
    if average:
        state[step.ema_steps.name] = step.ema_steps
    _assign(state, values)
    _log_changes((read.metadata or {}).get("train", {}), metadata.get("train", {}))
    return read.bookkeeping


def first_step(plan: SamplePlan, position: dict[str, Any] | None, fingerprint: str) -> int:
    """Return the step at which the run of a checkpoint continues (0 without a checkpoint).

    The number of devices may differ as long as they use the same number of images a step and of steps an epoch.

    Args:
        position: what `load_state` returned.
        fingerprint: of the training set, see `src.data.training_set.fingerprint`.

    Raises:
        InputError: the data, images a step or seed differ, so that the run could not be the same.
    """
    if position is None:
        return 0
    data = position.get("fingerprint")
    if data is None:
        LOGGER.info("the checkpoint does not say on which images it was trained: only their number is compared")
    former = replace(plan, batch=position["batch"], rank=0, world_size=position["group"])
    for what, option, before, now in (
            ("images in the training set", "--data or --annot_path", position["images"], plan.count),
            ("fingerprint of the training set (names and faces)", "--data or --annot_path", data or fingerprint,
             fingerprint),
            ("seed", "--seed", position["seed"], plan.seed),
            ("images a step", "--batch_size and number of devices", former.batch * former.world_size,
             plan.batch * plan.world_size),
            ("steps an epoch", "--batch_size and number of devices", former.steps_per_epoch, plan.steps_per_epoch)):
        if before != now:
            raise InputError(f"--resume: {what}: {before} in the checkpoint, {now} now ({option}): this would "
                             "change the order of the data. Give the same value, or start anew from the weights alone: "
                             "--pretrained CKPT in place of --resume")
    return int(position["step"])


def optimizer_state(step: TrainStep) -> dict[str, Any]:
    """Return the optimiser's own parameters by name, without the network's and without the table of learning rates."""
    trained = {id(parameter) for parameter in step.optimizer.parameters}
    return {parameter.name: parameter for _, parameter in step.optimizer.parameters_and_names()
            if id(parameter) not in trained and not parameter.name.startswith("learning_rate")}


def state_size(step: TrainStep, network: nn.Cell) -> int:
    """Return the bytes of what `save_state` writes, but for its texts."""
    weights = sum(parameter.nbytes for parameter in network.get_parameters())
    return weights * (2 if step.ema_parameters() else 1) + sum(
        parameter.nbytes for parameter in optimizer_state(step).values())


def _require_same_use(source: str, actual: Metadata, expected: Metadata) -> None:
    """Raise InputError where weights are of another model, or built, fed or decoded in another way than in training."""
    if actual.get("part") == "backbone":
        raise InputError(f"{source}: holds a backbone only; give it as --pretrained")
    former, own = actual["model"], expected["model"]
    if former != own:
        raise InputError(f"{source}: is a {former}, this training is of a {own}; give --model {former}, or other "
                         "weights")
    for key in ("decoder", "input"):
        if actual.get(key) != expected[key]:
            raise InputError(f"{source}: its metadata says {key} {actual.get(key)}, this training has {expected[key]}, "
                             "so it would have to learn its heads or its first layer anew; give it as --pretrained, "
                             "which rewrites them")
    differ = [name for name, value in expected["options"].items() if actual["options"].get(name) != value]
    if differ:
        before, now = (as_typed({name: options[name] for name in differ})
                       for options in (actual["options"], expected["options"]))
        raise InputError(f"{source}: was trained with {before}, this training has {now}; give {before}, or other "
                         "weights")


def _log_changes(before: dict[str, Any], now: dict[str, Any]) -> None:
    """Log the options that differ from those of the checkpoint's run; from here on the new values hold."""
    changed = [name for name, value in now.items()
               if name not in PER_RUN and name in before and before[name] != value]
    if changed:
        LOGGER.warning("the checkpoint's run had %s, this one has %s",
                       *(as_typed({name: options[name] for name in changed}) for options in (before, now)))


def _assign(parameters: dict[str, Any], values: dict[str, np.ndarray]) -> None:
    for name, parameter in parameters.items():
        parameter.set_data(Tensor(np.asarray(values[name]).reshape(parameter.shape), parameter.dtype))
