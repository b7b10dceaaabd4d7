# SPDX-License-Identifier: Apache-2.0
"""A checkpoint as a file for inference engines, checked against the checkpoint.

    print(Export("MINDIR", (1, 832, 832, 3)).run(models.recipe, "0-140_27720.ckpt", "centerface"))

The whole inference cell goes into the file: uint8 BGR images [B, H, W, 3] in, raw float32 maps out
(CenterFace: [B, C, H / 4, W / 4]; RetinaFace: a row for each anchor).
"""
import json
import tempfile
from pathlib import Path
from typing import Any, Callable, Optional, Union

import cv2
import numpy as np

from dependency.errors import InputError
from dependency.files import atomic_write
from src.common import checkpoint, device
from src.common.inference import Forward

STRIDE = 32
TOLERANCE = 1e-4
SUFFIXES = {"AIR": ".air", "MINDIR": ".mindir"}


class ExportError(RuntimeError):
    """What was exported is not what the checkpoint computes."""


class Export:
    """Writes checkpoints in one format for one input shape.

    Args:
        file_format: "AIR" or "MINDIR".
        shape: B, H, W, 3 of the images.
        device_target: see `device.setup`.

    Raises:
        InputError: sides that are not multiples of 32; AIR without an Ascend device.
    """

    def __init__(self, file_format: str, shape: tuple[int, int, int, int], device_target: str = "auto"):
        _, height, width, _ = shape
        if height < STRIDE or width < STRIDE or height % STRIDE or width % STRIDE:
            raise InputError(f"--input_h {height} --input_w {width}: expected multiples of {STRIDE}")
        target = device.choose_target(device_target)
        if file_format == "AIR" and target != "Ascend":
            raise InputError("--file_format AIR: MindSpore writes AIR files only with an Ascend device, and "
                             f"this is {target}. Run the same command on an Ascend host, or give "
                             "--file_format MINDIR (for Ascend 310, MindSpore Lite converts it)")
        self.file_format, self.shape, self.target = file_format, shape, target

    def run(self, recipes: Callable[[str], Any], path: Union[str, Path], name: Optional[str] = None,
            model: str = "centerface") -> str:
        """Export a checkpoint to `<name>.air` or `<name>.mindir` with `<name>.json` beside it.

        Args:
            recipes: the recipe of a model's name.
            path: the checkpoint.
            name: the file without its suffix, None = the model's name; an existing one is replaced once the new one
                is proven.
            model: what a checkpoint without a card is.

        Returns:
            what was written, how to feed it and how near it is, for the user.

        Raises:
            InputError: the checkpoint cannot be used.
            ExportError: the exported network differs from the checkpoint.
        """
        forward = Forward(recipes, model, self.target)
        card = forward.load(path)
        suffix, name = SUFFIXES[self.file_format], name or card["model"]
        target = Path(name if name.lower().endswith(suffix) else name + suffix)
        images = sample_images(self.shape)
        expected = forward(images)
        with tempfile.TemporaryDirectory() as folder:       # MindSpore refuses names with spaces and umlauts
            written = self._write(forward.recipe, card, path, Path(folder) / "exported")
            difference = self._difference(written, images, expected)
            content = written.read_bytes()
        with atomic_write(target, "wb") as file:
            file.write(content)
        described = self._describe(card, path, expected, difference)
        with atomic_write(target.with_suffix(".json")) as file:
            json.dump(described, file, indent=2)
        return self._summary(target, described)

    def _write(self, recipe: Any, card: dict[str, Any], path: Union[str, Path], stem: Path) -> Path:
        """A cell of its own, of static shape, written by MindSpore."""
        import mindspore as ms
        cell = recipe.inference_cell(card)
        tensors = recipe.own_names(checkpoint.network_tensors(checkpoint.load(path)))
        for name, parameter in cell.network.parameters_and_names():
            parameter.set_data(ms.Tensor(tensors[name].astype(np.float32, copy=False)))
        ms.export(cell, ms.Tensor(np.zeros(self.shape, np.uint8)), file_name=str(stem),
                  file_format=self.file_format)
        written = stem.with_name(stem.name + SUFFIXES[self.file_format])
        if not written.is_file():
            raise ExportError(f"MindSpore wrote no single file {written.name} but "
                              f"{sorted(each.name for each in stem.parent.iterdir())}")
        return written

    def _difference(self, written: Path, images: np.ndarray,
                    expected: tuple[np.ndarray, ...]) -> Optional[float]:
        """Largest difference of any value from the checkpoint's; None for AIR, which MindSpore cannot load.

        Raises:
            ExportError: it is over TOLERANCE, not finite, or the shapes differ.
        """
        if self.file_format == "AIR":
            return None
        import mindspore as ms
        maps = ms.nn.GraphCell(ms.load(str(written)))(ms.Tensor(images))
        return compare([each.asnumpy() for each in maps], expected)

    def _describe(self, card: dict[str, Any], path: Union[str, Path], maps: tuple[np.ndarray, ...],
                  difference: Optional[float]) -> dict[str, Any]:
        return {**card, "export": {
            "format": self.file_format, "checkpoint": Path(path).name, "versions": device.versions(),
            "input": {"shape": list(self.shape), "layout": "NHWC", "dtype": "uint8", "channels": "BGR",
                      "normalised": "inside the network"},
            "outputs": [list(each.shape) for each in maps], "largest_difference": difference}}

    @staticmethod
    def _summary(target: Path, described: dict[str, Any]) -> str:
        told = described["export"]
        shape = "x".join(map(str, told["input"]["shape"]))
        outputs = ", ".join("x".join(map(str, each)) for each in told["outputs"])
        checked = ("AIR files cannot be loaded here, so it is not compared with the checkpoint"
                   if told["largest_difference"] is None else
                   f"loaded again, it is within {told['largest_difference']:.3g} of the checkpoint")
        return (f"{target}: {told['format']} of {told['checkpoint']}\n"
                f"  input: uint8 BGR images {shape} (NHWC, 0..255; it normalises them itself)\n"
                f"  outputs: raw maps {outputs}, read by decoder '{described['decoder']}'\n"
                f"  {checked}\n"
                f"  {target.with_suffix('.json')} says the same to programs")


def sample_images(shape: tuple[int, int, int, int], seed: int = 0) -> np.ndarray:
    """uint8 [B, H, W, 3], each with large soft shapes and fine grain."""
    batch, height, width, _ = shape
    rng = np.random.default_rng(seed)
    images = np.empty(shape, np.uint8)
    for index in range(batch):
        coarse = rng.uniform(0, 255, (height // STRIDE + 1, width // STRIDE + 1, 3)).astype(np.float32)
        smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        images[index] = np.clip(smooth + rng.normal(0, 12, smooth.shape), 0, 255)
    return images


def compare(maps: list[np.ndarray], expected: tuple[np.ndarray, ...]) -> float:
    """The largest difference of any value.

    Raises:
        ExportError: it is over TOLERANCE, not finite, or the shapes differ.
    """
    shapes = [each.shape for each in maps], [each.shape for each in expected]
    if shapes[0] != shapes[1]:
        raise ExportError(f"the exported network gives shapes {shapes[0]}, the checkpoint {shapes[1]}")
    # np.max, because max() loses NaN
    largest = float(np.max([np.abs(new - old).max() for new, old in zip(maps, expected)]))
    if not largest <= TOLERANCE:
        raise ExportError(f"the exported network differs from the checkpoint by {largest:.3g}, more than "
                          f"{TOLERANCE:g}; nothing was written")
    return largest
