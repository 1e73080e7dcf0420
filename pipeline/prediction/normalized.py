"""Images that are normalized row by row, so that memory holds their pixels once."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray


@dataclass(frozen=True)
class NormalizedImage:
    """The input of a network: ``stored * scale + offset``, in float32.

    Parameters
    ----------
    name : str
        For messages.
    stored : (C, H, W) array of uint8, uint16, float16 or float32
    scale, offset : (C,) array of float32
    """

    name: str
    stored: NDArray[Any]
    scale: NDArray[np.float32]
    offset: NDArray[np.float32]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.stored.shape[1], self.stored.shape[2]

    def rows(self, indices: torch.Tensor) -> torch.Tensor:
        """Return some rows as (C, h, W) float32; `indices` (h,) of int64 may repeat."""
        return self._normalize(self.stored[:, indices.numpy()])

    def whole(self) -> torch.Tensor:
        """Return the image as (C, H, W) float32."""
        return self._normalize(self.stored)

    def top_left(self, height: int, width: int) -> "NormalizedImage":
        """Return the upper left corner of the image, without a copy."""
        return NormalizedImage(self.name, self.stored[:, :height, :width], self.scale, self.offset)

    def _normalize(self, stored: NDArray[Any]) -> torch.Tensor:
        image = np.empty(stored.shape, dtype=np.float32)
        np.multiply(stored, self.scale[:, None, None], out=image)
        image += self.offset[:, None, None]
        return torch.from_numpy(image)
