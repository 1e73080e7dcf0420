"""Overlap-tile prediction: for images that are larger than the memory or than the training images.

Ronneberger, Fischer, Brox: U-Net (MICCAI 2015), figure 2: overlapping tiles of an image mirrored at its borders.
Overlapping tiles of padded networks are blended with the weights of Isensee et al.: nnU-Net (Nature Methods 2021): a
Gaussian whose sigma is an eighth of the tile.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import torch

from pipeline.core.errors import ConfigError
from pipeline.models.shapes import SMALLEST, centre_crop, crop_to, mirror_indices
from pipeline.prediction.batches import PixelLimit

Source = Callable[[torch.Tensor], torch.Tensor]
"""An image: maps the indices (h,) of rows to these rows, (C, h, W) float32."""


class _Position(NamedTuple):
    """The image of a tile, and the first row and column of its used pixels."""

    image: int
    top: int
    left: int


RunBatches = Callable[[Iterable[tuple[list[_Position], torch.Tensor]]], Iterable[tuple[list[_Position], torch.Tensor]]]
"""Maps batches of tiles (N, C, H, W), each with a key, to their outputs (N, K, h, w) on the CPU with the same keys."""


class TileAxis(NamedTuple):
    """Positions of tiles along one axis of an image.

    Parameters
    ----------
    side : int
        Input pixels of a tile.
    output_side : int
        Pixels in the middle of a tile whose output is used.
    starts : list of int
        First used pixel of each tile, in pixels of the image; multiples of the network's pooling step.
    weights : (output_side,) tensor of float32
        Weight of each used pixel where tiles overlap.
    """

    side: int
    output_side: int
    starts: list[int]
    weights: torch.Tensor

    @property
    def margin(self) -> int:
        """Pixels at each side of a tile whose output is not used."""
        return (self.side - self.output_side) // 2


def blended_axis(length: int, side: int, *, overlap: float, margin: int, multiple: int) -> TileAxis:
    """Place the tiles of a network whose output is as large as its input.

    An axis that is not longer than a tile is not divided: the network continues it as it does in whole images.

    Parameters
    ----------
    length : int
        Pixels of the image along the axis.
    side : int
        Pixels of a tile; rounded up to a multiple of `multiple`.
    overlap : float
        Minimum fraction of a tile's used pixels that the next tile also covers, in [0, 1); the tiles are spread evenly
        from border to border.
    margin : int
        Pixels at each side that are dropped; rounded up to a multiple too. If it is at least the radius of the
        network's receptive field, tiles give the same result as the whole image, except near its borders, where tiles
        are continued by mirroring.
    multiple : int
        The network's pooling step: tiles begin at multiples of it, so that they are pooled like the whole image.

    Raises
    ------
    ConfigError
        If a tile is smaller than the network's minimum, or has no pixels between its margins.
    """
    side, margin = _round_up(side, multiple), _round_up(margin, multiple)
    output_side = side - 2 * margin
    if side < SMALLEST or output_side < multiple:
        raise ConfigError(
            "tiles",
            f"tiles of {side} pixels with a margin of {margin} (both rounded up to multiples of {multiple})",
            f"tiles of at least {SMALLEST} pixels, with at least {multiple} pixels between the margins",
            "choose larger tiles or a smaller margin",
        )
    if length <= side:
        side = length if length >= SMALLEST else _round_up(SMALLEST, multiple)
        return TileAxis(side, side, [0], torch.ones(side))
    stride = max(multiple, _round_down(int(output_side * (1 - overlap)), multiple))
    distances = torch.arange(output_side, dtype=torch.float32) - (output_side - 1) / 2
    weights = torch.exp(-0.5 * (distances / (output_side / 8)) ** 2)
    return TileAxis(side, output_side, _starts(length, output_side, stride, multiple), weights)


def valid_axis(length: int, side: int, *, margins: Callable[[int], tuple[int, int]], multiple: int) -> TileAxis:
    """Place the tiles of a network of valid convolutions, whose output is smaller than its input (572 to 388).

    Such tiles need no blending: they agree where they overlap, and give the same result as the whole image mirrored at
    its borders.

    Parameters
    ----------
    length, side : int
        Pixels of the image and of a tile; the tile is enlarged to the next size that fits the pooling.
    margins, multiple
        Margins and pooling step of the network, see `Unpadded`.
    """
    margin, _ = margins(multiple)
    requested_side = max(multiple, side - 2 * margin)
    side = requested_side + sum(margins(requested_side))
    output_side = side - 2 * margin
    return TileAxis(
        side,
        output_side,
        _starts(length, output_side, _round_down(output_side, multiple), multiple),
        torch.ones(output_side),
    )


def predict_bands(
    run: RunBatches,
    sources: Sequence[Source],
    size: Sequence[int],
    rows: TileAxis,
    columns: TileAxis,
    limit: PixelLimit,
) -> Iterator[tuple[int, torch.Tensor]]:
    """Predict images of one size tile by tile, and yield rows when no further tile changes them.

    Memory holds one row of tiles and one batch of tiles.

    Parameters
    ----------
    run : callable
        Maps batches of tiles to outputs of the same size, or smaller by the margin at each side.
    sources : sequence of callable
        The images.
    size : (int, int)
        Height and width of the images.
    rows, columns : TileAxis
        Tile positions along H and along W.
    limit : PixelLimit
        Of a batch of tiles.

    Yields
    ------
    int
        Index of the image.
    (K, h, W) float32 tensor on the CPU
        Its next rows, from top to bottom.
    """
    height, width = size
    weights = rows.weights[:, None] * columns.weights
    row_sums, column_sums = _weight_sums(rows, height)[:, None], _weight_sums(columns, width)
    tiles = _extract_tiles(sources, height, width, rows, columns)
    index = first = 0  # the image, and its first row that is not finished
    band = torch.empty(0)

    def finished(count: int) -> torch.Tensor:
        return band[:, :count] / row_sums[first : first + count] / column_sums

    def batches() -> Iterator[tuple[list[_Position], torch.Tensor]]:
        while group := list(islice(tiles, limit.batch(rows.side, columns.side))):
            yield [position for position, _ in group], torch.stack([tile for _, tile in group])

    for positions, predicted in run(batches()):
        outputs = centre_crop(predicted, rows.output_side, columns.output_side)
        for (tile_index, top, left), output in zip(positions, outputs, strict=True):
            if tile_index > index:
                yield index, finished(height - first)
                index, first, band = tile_index, 0, torch.empty(0)
            elif top > first:
                yield index, finished(top - first)
                band, first = band[:, top - first :], top
            if not band.numel() or band.shape[1] < min(rows.output_side, height - first):
                extended = torch.zeros(len(output), min(rows.output_side, height - first), width)
                if band.numel():
                    extended[:, : band.shape[1]] = band
                band = extended
            target = band[:, :, left : left + columns.output_side]
            target += crop_to(output * weights, *target.shape[-2:])
    yield index, finished(height - first)


def _extract_tiles(
    sources: Sequence[Source], height: int, width: int, rows: TileAxis, columns: TileAxis
) -> Iterator[tuple[_Position, torch.Tensor]]:
    """Yield the position of each tile and the tile (C, side, side), mirrored at the borders."""
    for index, source in enumerate(sources):
        for top in rows.starts:
            first = top - rows.margin
            band = source(mirror_indices(height, first, first + rows.side))
            for left in columns.starts:
                first = left - columns.margin
                tile = band.index_select(-1, mirror_indices(width, first, first + columns.side))
                yield _Position(index, top, left), tile


def _weight_sums(axis: TileAxis, length: int) -> torch.Tensor:
    """Sum the weights of all tiles along one axis; the sum over both axes is the product."""
    total = torch.zeros(max(axis.starts) + axis.output_side)
    for start in axis.starts:
        total[start : start + axis.output_side] += axis.weights
    return total[:length]


def _starts(length: int, output_side: int, stride: int, multiple: int) -> list[int]:
    """Spread tiles evenly, at multiples of the pooling step, at most `stride` pixels apart."""
    last = max(0, _round_up(length - output_side, multiple) // multiple)
    gaps = max(1, -(-last * multiple // stride))
    return sorted({last * index // gaps * multiple for index in range(gaps + 1)})


def _round_up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


def _round_down(size: int, multiple: int) -> int:
    return size // multiple * multiple
