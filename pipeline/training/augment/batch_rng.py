"""What the steps of augmentation work on: the tensors of a batch, and random numbers for its samples."""

import math
from typing import NamedTuple

import torch

Planes = dict[str, torch.Tensor]
"""``image`` (N, C, H, W) float32, ``target`` and perhaps ``weight`` (N, 1, H, W), all on one device."""


class BatchRng(NamedTuple):
    """Random numbers for some rows of a batch, drawn for all of it: on the CPU, so that every device gets the same.

    Parameters
    ----------
    rng : torch.Generator
    batch_rows : int
        Rows of the batch.
    rows : slice
        Those that the numbers are for, n of them.
    soft : bool
        Whether targets between 0 and 1 are meant, and may be interpolated.
    """

    rng: torch.Generator
    batch_rows: int
    rows: slice
    soft: bool = False

    def uniform(self) -> torch.Tensor:
        """Return (n,) numbers from 0 to 1."""
        return torch.rand(self.batch_rows, generator=self.rng)[self.rows]

    def normal(self, *shape: int) -> torch.Tensor:
        """Return (n, *shape) normal numbers."""
        return torch.randn(self.batch_rows, *shape, generator=self.rng)[self.rows]

    def below(self, limit: int) -> torch.Tensor:
        """Return (n,) whole numbers from 0 to below `limit`."""
        return torch.randint(limit, (self.batch_rows,), generator=self.rng)[self.rows]

    def symmetric(self, limit: float) -> torch.Tensor:
        """Return (n,) numbers from -limit to limit."""
        return (2.0 * self.uniform() - 1.0) * limit

    def log_uniform(self, limits: tuple[float, float]) -> torch.Tensor:
        """Return (n,) numbers between the limits, uniform in their logarithms."""
        low, high = math.log(limits[0]), math.log(limits[1])
        return torch.exp(low + (high - low) * self.uniform())


def where(chosen: torch.Tensor, changed: torch.Tensor, plane: torch.Tensor) -> torch.Tensor:
    """Take the changed plane of the samples that are chosen, (n,) bool, and the plane itself of the others."""
    return torch.where(chosen.to(plane.device)[:, None, None, None], changed, plane)
