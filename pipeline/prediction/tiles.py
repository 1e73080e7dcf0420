"""Overlap-tile prediction: for images larger than the memory, or than what a network was trained on.

Ronneberger, Fischer, Brox: U-Net (MICCAI 2015), figure 2: overlapping tiles of an image mirrored at its borders.
Where padded networks blend, the weights are those of Isensee et al.: nnU-Net (Nature Methods 2021): a Gaussian whose
sigma is an eighth of the tile.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple

import torch

from pipeline.core.errors import ConfigError
from pipeline.models.shapes import SMALLEST, centre_crop, crop_to, mirror_places

Forward = Callable[[torch.Tensor], torch.Tensor]
"""Maps (N, C, H, W) float32 to (N, K, h, w) float32."""

PIXELS_AT_ONCE = 2**20
"""A batch holds about this many input pixels (at least one sample): it changes the speed, not the results."""


class Axis(NamedTuple):
    """How tiles lie along one axis of an image.

    Parameters
    ----------
    side : int
        Pixels of a tile that the network sees.
    kept : int
        Pixels in its middle that are used.
    starts : list of int
        Where the used parts begin, in pixels of the image; multiples of the network's pooling step.
    weights : (kept,) tensor of float32
        How much each used pixel counts where parts overlap.
    """

    side: int
    kept: int
    starts: list[int]
    weights: torch.Tensor

    @property
    def margin(self) -> int:
        """Pixels on each side of a tile that are seen and not used."""
        return (self.side - self.kept) // 2


def blended_axis(length: int, side: int, *, overlap: float, margin: int, multiple: int) -> Axis:
    """Lay tiles of a network whose output is as large as its input.

    Parameters
    ----------
    length : int
        Pixels of the image along the axis.
    side : int
        Pixels of a tile; filled up to a multiple of `multiple`.
    overlap : float
        Share of the used part that the next one covers again, in [0, 1); at least, because the parts are spread
        evenly from border to border.
    margin : int
        Pixels on each side that are dropped; filled up likewise. From the radius of the network's receptive field
        on, tiles equal the whole image everywhere but near its borders, beyond which tiles see it mirrored.
    multiple : int
        The network's pooling step: parts begin at multiples of it, so that a tile pools as the whole image does.

    Raises
    ------
    ConfigError
        If a tile is smaller than a network takes, or nothing of it is left between the margins.
    """
    side, margin = _fill_up(side, multiple), _fill_up(margin, multiple)
    kept = side - 2 * margin
    if side < SMALLEST or kept < multiple:
        raise ConfigError(
            "tiles",
            f"tiles of {side} pixels with a margin of {margin} (both filled up to multiples of {multiple})",
            f"tiles from {SMALLEST} pixels up, of which at least {multiple} are left between the margins",
            "choose larger tiles or a smaller margin",
        )
    stride = max(multiple, _cut_down(int(kept * (1 - overlap)), multiple))
    places = torch.arange(kept, dtype=torch.float32) - (kept - 1) / 2
    weights = torch.exp(-0.5 * (places / (kept / 8)) ** 2)
    return Axis(side, kept, _starts(length, kept, stride, multiple), weights)


def valid_axis(length: int, side: int, *, margins: Callable[[int], tuple[int, int]], multiple: int) -> Axis:
    """Lay tiles of a network of valid convolutions, whose output is smaller than its input (572 to 388).

    Such tiles need no blending: where two overlap they agree, and together they equal the whole image mirrored at
    its borders.

    Parameters
    ----------
    length, side : int
        Pixels of the image and of a tile; the tile is filled up to the next size that fits the pooling.
    margins, multiple
        Those of `PlainUNet`.
    """
    margin, _ = margins(multiple)
    wanted = max(multiple, side - 2 * margin)
    side = wanted + sum(margins(wanted))
    kept = side - 2 * margin
    return Axis(side, kept, _starts(length, kept, _cut_down(kept, multiple), multiple), torch.ones(kept))


def predict_tiles(forward: Forward, image: torch.Tensor, rows: Axis, columns: Axis) -> torch.Tensor:
    """Predict images tile by tile and put them together.

    In memory are the images, the result, one row of tiles and one batch of them.

    Parameters
    ----------
    forward : callable
        Maps a batch of tiles to something as large, or smaller by the margin on each side.
    image : (N, C, H, W) float32 tensor on the CPU
    rows, columns : Axis
        Of H and of W.

    Returns
    -------
    (N, K, H, W) float32 tensor on the CPU
    """
    height, width = image.shape[-2:]
    batch = max(1, PIXELS_AT_ONCE // (rows.side * columns.side))
    weights = rows.weights[:, None] * columns.weights
    tiles = _cut(image, rows, columns)
    whole = torch.empty(0)
    while group := list(islice(tiles, batch)):
        parts = centre_crop(forward(torch.stack([tile for *_, tile in group])).cpu(), rows.kept, columns.kept)
        if not whole.numel():
            whole = torch.zeros(len(image), parts.shape[1], height, width)
        for (index, top, left, _), part in zip(group, parts, strict=True):
            target = whole[index, :, top : top + rows.kept, left : left + columns.kept]
            target += crop_to(part * weights, *target.shape[-2:])
    whole /= _total(rows, height)[:, None]
    whole /= _total(columns, width)
    return whole


def _cut(image: torch.Tensor, rows: Axis, columns: Axis) -> Iterator[tuple[int, int, int, torch.Tensor]]:
    """Yield the image's index, top and left of the used part, and the tile (C, side, side), mirrored at the borders."""
    height, width = image.shape[-2:]
    for index, plane in enumerate(image):
        for top in rows.starts:
            first = top - rows.margin
            band = plane.index_select(-2, mirror_places(height, first, first + rows.side))
            for left in columns.starts:
                first = left - columns.margin
                yield index, top, left, band.index_select(-1, mirror_places(width, first, first + columns.side))


def _total(axis: Axis, length: int) -> torch.Tensor:
    """Sum the weights of all tiles along an axis: over both axes the sum is the product."""
    total = torch.zeros(max(axis.starts) + axis.kept)
    for start in axis.starts:
        total[start : start + axis.kept] += axis.weights
    return total[:length]


def _starts(length: int, kept: int, stride: int, multiple: int) -> list[int]:
    """Spread parts evenly, at multiples of the pooling step, no two further apart than `stride`."""
    last = max(0, _fill_up(length - kept, multiple) // multiple)
    gaps = max(1, -(-last * multiple // stride))
    return sorted({last * index // gaps * multiple for index in range(gaps + 1)})


def _fill_up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


def _cut_down(size: int, multiple: int) -> int:
    return size // multiple * multiple
