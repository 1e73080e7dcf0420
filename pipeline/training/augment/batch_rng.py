"""Input and result of the transforms: the tensors of a batch, random numbers for its samples, and their change."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from pipeline.training.uploads import upload

Planes = dict[str, torch.Tensor]
"""``image`` (N, C, H, W) float32, ``target`` and optionally ``weight`` (N, 1, H, W), all on one device."""


Size = tuple[int, int]
"""Height and width."""


class Change(NamedTuple):
    """A change of the samples of a batch.

    Parameters
    ----------
    numbers : sequence of tensor
        What was drawn for the samples, of any type, on the CPU.
    apply : callable
        Maps `Planes`, and these numbers as float32 on the device of the planes, to the changed planes.
    """

    numbers: Sequence[torch.Tensor]
    apply: Callable[..., Planes]


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
    """Copy numbers of any type and shape to a device as float32, all in one copy."""
    if not numbers:
        return []
    joined = upload(torch.cat([number.reshape(-1).float() for number in numbers]), device)
    parts = torch.split(joined, [number.numel() for number in numbers])
    return [part.view(number.shape) for part, number in zip(parts, numbers, strict=True)]
