# SPDX-License-Identifier: Apache-2.0
"""Random weights of RetinaFace, and the names that other projects give them."""
import numpy as np

from src.retinaface.layers import tensor_shapes

NORM_WORDS = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


def random_tensors(backbone, part="all", seed=0):
    """Tensors by our names whose outputs stay near 1: scaled weights, statistics far from 0 and 1."""
    rng = np.random.default_rng(seed)
    found = {}
    for name, shape in tensor_shapes(backbone, part).items():
        if len(shape) == 4:
            small = 0.05 if ".conv1x1." in name else 1
            value = rng.normal(0, small * np.sqrt(2 / np.prod(shape[1:])), shape)
        elif name.endswith(("gamma", "moving_variance")):
            # Small last gammas of the bottlenecks: their sums would grow block by block.
            value = rng.uniform(0.5, 1.5, shape) * (0.3 if name.endswith("bn3.gamma") else 1)
        else:
            value = rng.normal(0, 0.3, shape)
        found[name] = value.astype(np.float32)
    return found


def pytorch(tensors, prefix="body."):
    """The same under the names of Pytorch_Retinaface (or, with prefix "", of torchvision), with counters of batches."""
    found = {}
    for name, value in tensors.items():
        layer, _, word = name.rpartition(".")
        layer = layer.replace("base.", prefix, 1).replace("down_sample_layer", "downsample").replace("7X7_3", "7x7_3")
        found[f"{layer}.{NORM_WORDS.get(word, word)}"] = value
        if word == "moving_variance":
            found[f"{layer}.num_batches_tracked"] = np.array(5, np.int64)
    return found


def mindface(tensors):
    """The same under the names of mindface, with the classifier that its checkpoints carry."""
    rows = ("ClassHead", "BboxHead", "LandmarkHead", "conv3X3", "conv5X5", "conv7X7")
    found = {}
    for name, value in tensors.items():
        for row in rows:
            name = name.replace(row, row.lower())
        found[name] = value
    classifier = "base.end_point" if "base.conv1.weight" in tensors else "base.fc"
    return {**found, f"{classifier}.weight": np.ones((3, 5), np.float32), f"{classifier}.bias": np.ones(3, np.float32)}


def assert_equal(tensors, expected):
    """The same names and the same values."""
    assert tensors.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(tensors[name], value, err_msg=name)
