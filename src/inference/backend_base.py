# SPDX-License-Identifier: Apache-2.0
"""What all backends have in common: a network loaded from a file, with a check of what goes in and what comes out.

    class OnnxBackend(BackendBase): ...      # `load` sets spec, metadata and sizes; `_compute` runs the network
"""
from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dependency.errors import InputError
from src.models import Metadata, ModelSpec


class BackendBase(ABC):
    """A network: `load(path)` takes a file, then `backend(images)` gives the network's outputs.

    Attributes:
        spec, metadata: of the file that was loaded last.
        sizes: batch, height and width that the file takes, 0 where any will do.
        runtime: name and version of what computes, for reports.
    """
    spec: ModelSpec
    metadata: Metadata
    sizes: tuple[int, int, int] = (0, 0, 0)
    runtime: str

    @abstractmethod
    def load(self, path: str | Path) -> Metadata:
        """Load a file and return its metadata; InputError where it cannot be used."""

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
        """Compute the outputs, each float32 [B, ...], of uint8 BGR images [B, H, W, 3].

        Raises:
            InputError: the file was exported for another size, or is not what its metadata says.
        """
        require_size(images.shape, self.sizes, self.spec.side_multiple)
        outputs = tuple(self._compute(np.ascontiguousarray(images)))
        if len(outputs) != len(self.spec.outputs):
            raise InputError(f"the network gives {len(outputs)} outputs, but a {self.metadata['model']} gives "
                             f"{', '.join(self.spec.outputs)}; export the checkpoint again")
        return outputs

    @abstractmethod
    def _compute(self, images: np.ndarray) -> Sequence[np.ndarray]:
        """Run the network on contiguous images of a size that it takes."""


def require_size(shape: tuple[int, ...], sizes: tuple[int, int, int], multiple: int = 1) -> None:
    """Raise InputError where images of this shape cannot go into a network for these sizes (0: any)."""
    if any(size and size != side for size, side in zip(sizes, shape)):
        expected = " x ".join(str(size or "any") for size in sizes)
        raise InputError(f"{' x '.join(map(str, shape[:3]))} images (batch x height x width) for a file that was "
                         f"exported for {expected}; export it with --input_h 0 --input_w 0 --batch_size 0 for any size")
    if shape[1] % multiple or shape[2] % multiple:
        raise InputError(f"an image of {shape[2]} x {shape[1]} pixels: this network takes multiples of {multiple}")


def first_line(error: Exception) -> str:
    """Return the first line of a runtime's error message, at most 200 characters."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
