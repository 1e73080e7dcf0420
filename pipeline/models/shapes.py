"""Shared functions of networks: input check, padding, cropping, and the contracting path of a U-Net."""

from collections.abc import Callable, Iterable

import torch
from torch import nn

SMALLEST = 32
"""Smallest height and width, in pixels."""


def check_input(x: torch.Tensor, channels: int) -> None:
    """Check the shape of the input of a network.

    Raises
    ------
    ValueError
        If the input does not have shape (N, channels, H, W), or H or W is below `SMALLEST`.
    """
    if x.ndim != 4 or x.shape[1] != channels or min(x.shape[2:]) < SMALLEST:
        raise ValueError(
            f"the input has shape {tuple(x.shape)}; expected (N, {channels}, H, W) with H and W from {SMALLEST} up"
        )


def descend(
    x: torch.Tensor, blocks: Iterable[nn.Module], pool: Callable[[torch.Tensor], torch.Tensor]
) -> list[torch.Tensor]:
    """Run the contracting path of a U-Net: a block on each level, with pooling between levels; return all outputs."""
    outputs: list[torch.Tensor] = []
    for block in blocks:
        x = block(pool(x) if outputs else x)
        outputs.append(x)
    return outputs


def pad_to_multiple(x: torch.Tensor, multiple: int) -> torch.Tensor:
    """Pad a (N, C, H, W) tensor at bottom and right with replicated borders, to multiples of `multiple`."""
    height, width = x.shape[-2:]
    bottom, right = -height % multiple, -width % multiple
    return nn.functional.pad(x, (0, right, 0, bottom), mode="replicate") if bottom or right else x


def crop_to(x: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Crop (N, C, H, W) to its upper left (height, width): the inverse of `pad_to_multiple`."""
    return x[..., :height, :width]


def centre_crop(x: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Crop (N, C, H, W) to its central (height, width); offsets are rounded half to even, as in torchvision."""
    rows, columns = x.shape[-2:]
    if (rows, columns) == (height, width):
        return x
    top, left = round((rows - height) / 2), round((columns - width) / 2)
    # the gradient of a negative padding keeps the channels-last format, that of slices does not
    return nn.functional.pad(x, (-left, left + width - columns, -top, top + height - rows))


def valid_margins(side: int, multiple: int) -> tuple[int, int]:
    """Return the reflection padding before and after a side, so that the output of valid convolutions covers it.

    Parameters
    ----------
    side : int
        In pixels.
    multiple : int
        Pooling step of a U-Net with two valid 3x3 convolutions for each block.
    """
    lost = 4 * (multiple - 1)  # output pixels that the convolutions of the expanding path remove
    bottom_side = -(-(side + lost) // multiple)
    input_side = multiple * (bottom_side + 4) + lost
    output_side = multiple * bottom_side - lost
    pad_before = (input_side - output_side) // 2
    return pad_before, input_side - side - pad_before


def mirror_pad(x: torch.Tensor, rows: tuple[int, int], columns: tuple[int, int]) -> torch.Tensor:
    """Pad (N, C, H, W) by reflection; the padding may exceed the size.

    Parameters
    ----------
    x : (N, C, H, W) tensor
    rows, columns : (int, int)
        Pixels to add before and after; the border pixel itself is not repeated.
    """
    for axis, (pad_before, pad_after) in ((-2, rows), (-1, columns)):
        size = x.shape[axis]
        x = x.index_select(axis, mirror_indices(size, -pad_before, size + pad_after, x.device))
    return x


def mirror_indices(size: int, start: int, stop: int, device: torch.device | None = None) -> torch.Tensor:
    """Return the (N,) int64 reflection of the indices `start` to `stop` - 1 into an axis of `size`."""
    period = max(1, 2 * (size - 1))
    indices = torch.arange(start, stop, device=device) % period
    return torch.where(indices < size, indices, period - indices)
