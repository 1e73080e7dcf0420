"""Input of the transforms: the tensors of a batch, and random numbers for its samples."""

import math
from typing import NamedTuple

import torch

from pipeline.training.uploads import upload

Planes = dict[str, torch.Tensor]
"""``image`` (N, C, H, W) float32, ``target`` and optionally ``weight`` (N, 1, H, W), all on one device."""


class BatchRng(NamedTuple):
    """Random numbers for some rows of a batch, sampled for the whole batch, on the CPU: the same on every device.

    Parameters
    ----------
    rng : torch.Generator
    batch_rows : int
        Number of rows of the batch.
    rows : slice
        The n rows to return numbers for.
    soft : bool
        Whether targets are soft and can be interpolated.
    """

    rng: torch.Generator
    batch_rows: int
    rows: slice
    soft: bool = False

    def uniform(self) -> torch.Tensor:
        """Return (n,) uniform numbers in [0, 1)."""
        return torch.rand(self.batch_rows, generator=self.rng)[self.rows]

    def normal(self, *shape: int) -> torch.Tensor:
        """Return (n, *shape) standard normal numbers."""
        return torch.randn(self.batch_rows, *shape, generator=self.rng)[self.rows]

    def integers(self, limit: int) -> torch.Tensor:
        """Return (n,) uniform integers in [0, limit)."""
        return torch.randint(limit, (self.batch_rows,), generator=self.rng)[self.rows]

    def symmetric(self, limit: float) -> torch.Tensor:
        """Return (n,) uniform numbers in [-limit, limit)."""
        return (2.0 * self.uniform() - 1.0) * limit

    def log_uniform(self, limits: tuple[float, float]) -> torch.Tensor:
        """Return (n,) log-uniform numbers between the limits."""
        low, high = math.log(limits[0]), math.log(limits[1])
        return torch.exp(low + (high - low) * self.uniform())


def upload_numbers(device: torch.device, *numbers: torch.Tensor) -> list[torch.Tensor]:
    """Copy random numbers, (n, ...) of any type, to a device as float32, all in one copy."""
    joined = upload(torch.cat([number.reshape(-1).float() for number in numbers]), device)
    parts = torch.split(joined, [number.numel() for number in numbers])
    return [part.view(number.shape) for part, number in zip(parts, numbers, strict=True)]


def where_samples(selected: torch.Tensor, changed: torch.Tensor, plane: torch.Tensor) -> torch.Tensor:
    """Return `changed` for the selected samples, (n,) bool on the device, and `plane` for the others."""
    return torch.where(selected[:, None, None, None], changed, plane)
