"""Transforms: each augments the samples of a batch, with other random numbers for each sample.

The numbers are sampled on the CPU. What is computed from them for each pixel is computed on the device of the batch,
which receives those of all transforms in one copy, and nothing waits for it.
"""

import torch
from torch.nn import functional

from pipeline.training.augment.batch_rng import BatchRng, Change, Planes, Size
from pipeline.training.augment.options import Elastic


def warp(
    rng: BatchRng,
    size: Size,
    *,
    rotate: float,
    shear: float,
    scale: tuple[float, float],
    shift: float,
    elastic: Elastic | None,
    crop: Size | None,
) -> Change:
    """Apply an affine and an elastic deformation in one resampling, with reflection padding.

    Bilinear interpolation for images and soft masks, nearest neighbour for hard masks and weights.

    Parameters
    ----------
    rng : BatchRng
    size : Size
    rotate, shear : float
        Degrees, uniform in plus or minus.
    scale : (float, float)
        Range of the magnification, log-uniform.
    shift : float
        Fraction of height and width, uniform in plus or minus.
    elastic : Elastic, optional
        Smooth deformation by a grid of normal displacements, interpolated bicubically (Ronneberger, Fischer, Brox:
        U-Net, MICCAI 2015, section 3.1: grid 3, sigma 10).
    crop : Size, optional
        Size of a random crop. Without it the size does not change.
    """
    output_size = crop or size
    angle = torch.deg2rad(rng.symmetric(rotate))
    shear_factor = torch.tan(torch.deg2rad(rng.symmetric(shear)))
    inverse_scale = 1.0 / rng.log_uniform(scale)
    cos, sin = torch.cos(angle) * inverse_scale, torch.sin(angle) * inverse_scale
    matrix = torch.stack([cos, shear_factor * cos - sin, sin, shear_factor * sin + cos], dim=1).view(len(angle), 2, 2)
    numbers = [matrix] if elastic is None else [matrix, rng.normal(2, elastic.grid, elastic.grid) * elastic.sigma]
    numbers += [
        (side - 1) / 2 + rng.symmetric(0.5 * (side - output_side) + shift * side)
        for side, output_side in zip(size[::-1], output_size[::-1], strict=True)
    ]

    def apply(planes: Planes, *numbers: torch.Tensor) -> Planes:
        grid = _grid(size, output_size, *numbers)
        return {name: _sample(plane, grid, name == "image" or rng.soft) for name, plane in planes.items()}

    return Change(numbers, apply)


def _grid(input_size: Size, size: Size, matrix: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
    """Return the coordinates of `warp` for `grid_sample`: (N, h, w, 2), x and y; -1 and 1 are the outer edges.

    Parameters
    ----------
    input_size, size : Size
        Sizes before and after.
    matrix : (N, 2, 2)
        Affine map from the output to the input, in pixels from the centre.
    *parameters
        (N, 2, grid, grid) displacements in pixels, or nothing; (N,) x and (N,) y of the centre in the input.
    """
    *nodes, centre_x, centre_y = parameters
    y, x = (torch.arange(side, dtype=torch.float32, device=matrix.device) - (side - 1) / 2 for side in size)
    # no matrix product: on a GPU it could have the 10 bits of TF32
    coordinates = [row[:, 0, None, None] * x + row[:, 1, None, None] * y[:, None] for row in matrix.unbind(1)]
    if nodes:
        field = functional.interpolate(nodes[0], size, mode="bicubic", align_corners=True)
        coordinates = [values + shifts for values, shifts in zip(coordinates, field.unbind(1), strict=True)]
    return torch.stack(
        [
            (2.0 * (values + centre[:, None, None]) + 1.0) / side - 1.0
            for values, centre, side in zip(coordinates, (centre_x, centre_y), input_size[::-1], strict=True)
        ],
        dim=-1,
    )


def _sample(plane: torch.Tensor, grid: torch.Tensor, smooth: bool) -> torch.Tensor:
    """Sample a (N, C, H, W) plane at the coordinates of a grid, with reflection padding."""
    mode = "bilinear" if smooth and plane.is_floating_point() else "nearest"
    sampled = functional.grid_sample(plane.float(), grid, mode=mode, padding_mode="reflection", align_corners=False)
    return sampled.to(plane.dtype)


def place(rng: BatchRng, size: Size, *, flip: str, rot90: bool, crop: Size | None) -> Change:
    """Crop each sample at random, mirror it and rotate it by a multiple of 90 degrees: no pixel changes its value.

    Parameters
    ----------
    rng : BatchRng
    size : Size
    flip : {'none', 'horizontal', 'vertical', 'both'}
        Mirror left and right, top and bottom, or both, each with probability 1/2.
    rot90 : bool
        Rotate by 0, 90, 180 or 270 degrees; only by 0 or 180 if the result is not square.
    crop : Size, optional
        Without it the size does not change.
    """
    height, width = crop = crop or size
    zeros = torch.zeros(rng.batch_rows, dtype=torch.int64)[rng.rows]
    top, left = (
        rng.integers(outer - inner + 1) if crop != size else zeros for outer, inner in zip(size, crop, strict=True)
    )
    mirrored_x, mirrored_y = (
        rng.uniform() < 0.5 if flip in (name, "both") else zeros > 0 for name in ("horizontal", "vertical")
    )
    quarter_turns = rng.integers(4) if rot90 else zeros
    if height != width:
        quarter_turns = quarter_turns // 2 * 2
    # a rotation is mirroring, and exchanging rows with columns if it is odd
    mirrored_x ^= (quarter_turns == 1) | (quarter_turns == 2)
    mirrored_y ^= quarter_turns >= 2
    first_row, first_column = top + mirrored_y * (height - 1), left + mirrored_x * (width - 1)
    # steps in the memory of a plane from one row or column of the result to the next
    along_y, along_x = (1 - 2 * mirrored_y.long()) * size[1], 1 - 2 * mirrored_x.long()
    is_odd = quarter_turns % 2 == 1
    row_step, column_step = torch.where(is_odd, along_x, along_y), torch.where(is_odd, along_y, along_x)

    def apply(planes: Planes, numbers: torch.Tensor) -> Planes:
        row, column, row_step, column_step = numbers.long()[:, :, None, None].unbind()
        y, x = (torch.arange(side, device=numbers.device) for side in crop)
        pixels = row * size[1] + column + y[:, None] * row_step + x * column_step
        samples = torch.arange(len(pixels), device=numbers.device)[:, None, None]
        return {name: _gather(plane, samples, pixels) for name, plane in planes.items()}

    return Change([torch.stack([first_row, first_column, row_step, column_step])], apply)


def _gather(plane: torch.Tensor, samples: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
    """Return the pixels with (N, h, w) indices of a (N, C, H, W) plane, in the memory format of the plane."""
    gathered = plane.permute(0, 2, 3, 1).flatten(1, 2)[samples, pixels].permute(0, 3, 1, 2)
    return gathered.contiguous() if plane.is_contiguous() else gathered


def adjust_intensity(
    rng: BatchRng, size: Size, *, brightness: float, contrast: float, gamma: tuple[float, float]
) -> Change:
    """Change gamma, contrast and brightness of each image, relative to its range of values.

    Parameters
    ----------
    rng : BatchRng
    size : Size
    brightness : float
        Added, as a fraction of the range, uniform in plus or minus.
    contrast : float
        Differences from the mean are multiplied by 1 plus or minus at most this, uniform.
    gamma : (float, float)
        Range of the exponent, log-uniform; applied to the image normalized to [0, 1].
    """

    def apply(planes: Planes, *numbers: torch.Tensor) -> Planes:
        image = planes["image"]
        exponent, factor, shift = (number[:, None, None, None] for number in numbers)
        low = image.amin(dim=(1, 2, 3), keepdim=True)
        span = (image.amax(dim=(1, 2, 3), keepdim=True) - low).clamp(min=1e-6)
        adjusted = ((image - low) / span).clamp(0.0, 1.0)
        if gamma != (1.0, 1.0):
            adjusted = adjusted**exponent
        mean = adjusted.mean(dim=(1, 2, 3), keepdim=True)
        return {**planes, "image": ((adjusted - mean) * factor + mean + shift) * span + low}

    return Change([rng.log_uniform(gamma), 1.0 + rng.symmetric(contrast), rng.symmetric(brightness)], apply)
