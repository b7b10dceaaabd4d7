# SPDX-License-Identifier: Apache-2.0
"""RetinaFace written once more, as functions of PyTorch's tensors, to compare with: by NumPy, or by PyTorch itself.

    forward(tensors, images, NumpyOperators())        ->   bbox, logits, landm

`tensors` have the names of Pytorch_Retinaface; `images` are float32 [B, 3, H, W], already normalised.
"""
import numpy as np


class NumpyOperators:
    """The operators on arrays, in float64."""

    def tensor(self, value):
        return np.asarray(value, np.float64)

    def conv(self, x, weight, bias, stride, padding, groups):
        x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
        kernel = weight.shape[-1]
        windows = np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel), (2, 3))[:, :, ::stride, ::stride]
        if groups > 1:                                                   # depthwise
            y = np.einsum("bchwkl,ckl->bchw", windows, weight[:, 0])
        else:
            y = np.tensordot(windows, weight, ((1, 4, 5), (1, 2, 3))).transpose(0, 3, 1, 2)
        return y if bias is None else y + bias[:, None, None]

    def norm(self, x, mean, variance, gamma, beta):
        gain = gamma / np.sqrt(variance + 1e-5)
        return x * gain[:, None, None] + (beta - mean * gain)[:, None, None]

    def leaky(self, x, slope):
        return np.where(x > 0, x, slope * x)

    def pool(self, x):
        x = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
        return np.lib.stride_tricks.sliding_window_view(x, (3, 3), (2, 3))[:, :, ::2, ::2].max((-1, -2))

    def resize(self, x, size):
        rows, columns = (np.arange(new) * old // new for new, old in zip(size, x.shape[2:]))
        return x[:, :, rows][..., columns]

    def concat(self, parts, axis):
        return np.concatenate(parts, axis)

    def permute(self, x):
        return x.transpose(0, 2, 3, 1)

    def array(self, x):
        return x


class Reference:
    """The network's layers by their names in `tensors`."""

    def __init__(self, tensors, operators):
        self.tensors, self.op = {name: operators.tensor(value) for name, value in tensors.items()}, operators

    def conv(self, name, x, stride=1, groups=1):
        weight = self.tensors[f"{name}.weight"]
        return self.op.conv(x, weight, self.tensors.get(f"{name}.bias"), stride, weight.shape[-1] // 2, groups)

    def norm(self, name, x):
        return self.op.norm(x, *(self.tensors[f"{name}.{word}"] for word in ("running_mean", "running_var", "weight",
                                                                             "bias")))

    def block(self, name, x, stride):
        """A bottleneck of ResNet-50."""
        y = self.op.leaky(self.norm(f"{name}.bn1", self.conv(f"{name}.conv1", x)), 0)
        y = self.op.leaky(self.norm(f"{name}.bn2", self.conv(f"{name}.conv2", y, stride)), 0)
        y = self.norm(f"{name}.bn3", self.conv(f"{name}.conv3", y))
        if f"{name}.downsample.0.weight" in self.tensors:
            x = self.norm(f"{name}.downsample.1", self.conv(f"{name}.downsample.0", x, stride))
        return self.op.leaky(x + y, 0)

    def resnet(self, x):
        x = self.op.pool(self.op.leaky(self.norm("body.bn1", self.conv("body.conv1", x, 2)), 0))
        taps = []
        for stage, repeats in enumerate((3, 4, 6, 3), start=1):
            for index in range(repeats):
                x = self.block(f"body.layer{stage}.{index}", x, 2 if stage > 1 and index == 0 else 1)
            taps.append(x)
        return taps[1:]

    def mobilenet(self, x):
        x = self.op.leaky(self.norm("body.stage1.0.1", self.conv("body.stage1.0.0", x, 2)), 0.1)
        taps = []
        for stage, strides in enumerate(((1, 2, 1, 2, 1), (2, 1, 1, 1, 1, 1), (2, 1)), start=1):
            for index, stride in enumerate(strides, start=1 if stage == 1 else 0):
                name = f"body.stage{stage}.{index}"
                x = self.op.leaky(self.norm(f"{name}.1", self.conv(f"{name}.0", x, stride, groups=x.shape[1])), 0.1)
                x = self.op.leaky(self.norm(f"{name}.4", self.conv(f"{name}.3", x)), 0.1)
            taps.append(x)
        return taps

    def unit(self, name, x, slope=None):
        x = self.norm(f"{name}.1", self.conv(f"{name}.0", x))
        return x if slope is None else self.op.leaky(x, slope)

    def context(self, name, x, slope):
        shared = self.unit(f"{name}.conv5X5_1", x, slope)
        views = [self.unit(f"{name}.conv3X3", x), self.unit(f"{name}.conv5X5_2", shared),
                 self.unit(f"{name}.conv7x7_3", self.unit(f"{name}.conv7X7_2", shared, slope))]
        return self.op.leaky(self.op.concat(views, 1), 0)

    def head(self, name, levels, numbers):
        maps = [self.op.permute(self.conv(f"{name}.{index}.conv1x1", level)) for index, level in enumerate(levels)]
        return self.op.concat([each.reshape(each.shape[0], -1, numbers) for each in maps], 1)


def forward(tensors, images, operators):
    """(bbox [B, N, 4], logits [B, N, 2], landm [B, N, 10]) as arrays."""
    net = Reference(tensors, operators)
    wide = "body.layer1.0.conv1.weight" in tensors
    slope = 0.0 if wide else 0.1
    x = operators.tensor(images)
    p3, p4, p5 = (net.unit(f"fpn.output{number}", tap, slope)
                  for number, tap in enumerate(net.resnet(x) if wide else net.mobilenet(x), start=1))
    p4 = net.unit("fpn.merge2", p4 + operators.resize(p5, p4.shape[2:]), slope)
    p3 = net.unit("fpn.merge1", p3 + operators.resize(p4, p3.shape[2:]), slope)
    levels = [net.context(f"ssh{number}", level, slope) for number, level in enumerate((p3, p4, p5), start=1)]
    heads = (("BboxHead", 4), ("ClassHead", 2), ("LandmarkHead", 10))
    return tuple(operators.array(net.head(name, levels, numbers)) for name, numbers in heads)
