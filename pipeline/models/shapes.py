"""What networks share: the sizes of their inputs, and the way down of a U."""

from collections.abc import Callable, Iterable

import torch
from torch import nn

SMALLEST = 32
"""Smallest height and width, in pixels."""


def check_input(x: torch.Tensor, channels: int) -> None:
    """Refuse an input that a network cannot take.

    Raises
    ------
    ValueError
        Naming the shape that came and the one that is needed.
    """
    if x.ndim != 4 or x.shape[1] != channels or min(x.shape[2:]) < SMALLEST:
        raise ValueError(
            f"the input has shape {tuple(x.shape)}; needed is (N, {channels}, H, W) with H and W from {SMALLEST} up"
        )


def descend(
    x: torch.Tensor, blocks: Iterable[nn.Module], pool: Callable[[torch.Tensor], torch.Tensor]
) -> list[torch.Tensor]:
    """Go down a U: run a block on each level and pool between two of them; return all outputs, the deepest last."""
    outputs: list[torch.Tensor] = []
    for block in blocks:
        x = block(pool(x) if outputs else x)
        outputs.append(x)
    return outputs


def pad_to_multiple(x: torch.Tensor, multiple: int) -> torch.Tensor:
    """Pad a (N, C, H, W) tensor at bottom and right, by repeating its border, to multiples of `multiple`."""
    height, width = x.shape[-2:]
    bottom, right = -height % multiple, -width % multiple
    return nn.functional.pad(x, (0, right, 0, bottom), mode="replicate") if bottom or right else x


def crop_to(x: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Cut (N, C, H, W) back to its upper left (height, width): the inverse of `pad_to_multiple`."""
    return x[..., :height, :width]


def centre_crop(x: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Cut the middle (height, width) out of (N, C, H, W); an odd rest is rounded to even, as torchvision does."""
    top, left = round((x.shape[-2] - height) / 2), round((x.shape[-1] - width) / 2)
    return x[..., top : top + height, left : left + width]


def mirror_pad(x: torch.Tensor, rows: tuple[int, int], columns: tuple[int, int]) -> torch.Tensor:
    """Continue (N, C, H, W) beyond its borders by mirroring, also further than it is large.

    Parameters
    ----------
    x : (N, C, H, W) tensor
    rows, columns : (int, int)
        Pixels to add before and behind; the border pixel itself is not repeated.
    """
    for axis, (before, behind) in ((-2, rows), (-1, columns)):
        size = x.shape[axis]
        x = x.index_select(axis, mirror_places(size, -before, size + behind).to(x.device))
    return x


def mirror_places(size: int, start: int, stop: int) -> torch.Tensor:
    """Return the place inside an axis of `size` that each place from `start` to `stop` mirrors, as (N,) int64."""
    period = max(1, 2 * (size - 1))
    places = torch.arange(start, stop) % period
    return torch.where(places < size, places, period - places)
