# SPDX-License-Identifier: Apache-2.0
"""What the backends share: a network that a file was loaded into, and the look at what goes in and comes out.

    class OnnxBackend(BackendBase): ...      # sets spec, metadata and sizes, and computes in `_compute`
"""
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Callable

import numpy as np

from dependency.errors import InputError


class BackendBase(ABC):
    """A network: `network(images)` gives its outputs, once a file is loaded.

    Args:
        specs: the spec of a model's name.

    Attributes:
        spec, metadata: of the file that was loaded last.
        sizes: batch, height and width that the file was exported for, 0 where any will do.
        runtime: name and version of what computes, for reports.
    """
    runtime: str

    def __init__(self, specs: Callable[[str], Any]):
        self.spec: Any = None
        self.metadata: dict[str, Any] = {}
        self.sizes = (0, 0, 0)
        self._specs = specs

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
        """The network's outputs, each float32 [B, ...], of uint8 BGR images [B, H, W, 3].

        Raises:
            InputError: the file was exported for another size, or is not what its metadata says.
        """
        if self.spec is None:
            raise RuntimeError("load a file first")
        require_size(images.shape, self.sizes, self.spec.SIDE_MULTIPLE)
        outputs = tuple(self._compute(np.ascontiguousarray(images)))
        if len(outputs) != len(self.spec.OUTPUTS):
            raise InputError(f"the network gives {len(outputs)} outputs, but a {self.metadata['model']} gives "
                             f"{', '.join(self.spec.OUTPUTS)}; export the checkpoint again")
        return outputs

    @abstractmethod
    def _compute(self, images: np.ndarray) -> Sequence[np.ndarray]:
        """The outputs for images that were looked at."""


def require_size(shape: tuple[int, ...], sizes: tuple[int, int, int], multiple: int = 1) -> None:
    """InputError where images of this shape cannot go into a network for these sizes (0: any)."""
    if any(size and size != side for size, side in zip(sizes, shape)):
        wanted = " x ".join(str(size or "any") for size in sizes)
        raise InputError(f"{' x '.join(map(str, shape[:3]))} images (batch x height x width) for a file that was "
                         f"exported for {wanted}; export it with --input_h 0 --input_w 0 --batch_size 0 for any size")
    if shape[1] % multiple or shape[2] % multiple:
        raise InputError(f"an image of {shape[2]} x {shape[1]} pixels: this network takes multiples of {multiple}")


def first_line(error: Exception) -> str:
    """What a runtime said, in one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
