"""Transforms: each augments the samples of a batch, with other random numbers for each sample.

The numbers are sampled on the CPU. What is computed from them for each pixel is computed on the device of the batch,
which receives them in one copy for each transform, and nothing waits for it.
"""

import torch
from torch.nn import functional

from pipeline.training.augment.batch_rng import BatchRng, Planes, upload_numbers, where_samples
from pipeline.training.augment.options import Elastic


def crop(planes: Planes, rng: BatchRng, *, size: tuple[int, int]) -> Planes:
    """Randomly crop each sample to the given height and width; samples of this size are returned unchanged."""
    height, width = planes["image"].shape[-2:]
    if size == (height, width):
        return planes
    device = planes["image"].device
    corners = upload_numbers(device, rng.integers(height - size[0] + 1), rng.integers(width - size[1] + 1))
    n = torch.arange(len(planes["image"]), device=device)[:, None, None]
    rows, columns = (
        corner.long()[:, None] + torch.arange(side, device=device) for corner, side in zip(corners, size, strict=True)
    )
    return {
        name: plane.permute(0, 2, 3, 1)[n, rows[:, :, None], columns[:, None]].permute(0, 3, 1, 2)
        for name, plane in planes.items()
    }


def warp(
    planes: Planes,
    rng: BatchRng,
    *,
    rotate: float,
    shear: float,
    scale: tuple[float, float],
    shift: float,
    elastic: Elastic | None,
    crop: tuple[int, int] | None,
) -> Planes:
    """Apply an affine and an elastic deformation in one resampling, with reflection padding.

    Parameters
    ----------
    planes : Planes
        Bilinear interpolation for images and soft masks, nearest neighbour for hard masks and weights.
    rng : BatchRng
    rotate, shear : float
        Degrees, uniform in plus or minus.
    scale : (float, float)
        Range of the magnification, log-uniform.
    shift : float
        Fraction of height and width, uniform in plus or minus.
    elastic : Elastic, optional
        Smooth deformation by a grid of normal displacements, interpolated bicubically (Ronneberger, Fischer, Brox:
        U-Net, MICCAI 2015, section 3.1: grid 3, sigma 10).
    crop : (int, int), optional
        Height and width of a random crop. Without it the size does not change.
    """
    input_size = planes["image"].shape[-2:]
    size = crop or (input_size[0], input_size[1])
    angle = torch.deg2rad(rng.symmetric(rotate))
    shear_factor = torch.tan(torch.deg2rad(rng.symmetric(shear)))
    inverse_scale = 1.0 / rng.log_uniform(scale)
    cos, sin = torch.cos(angle) * inverse_scale, torch.sin(angle) * inverse_scale
    matrix = torch.stack([cos, shear_factor * cos - sin, sin, shear_factor * sin + cos], dim=1).view(len(angle), 2, 2)
    numbers = [matrix] if elastic is None else [matrix, rng.normal(2, elastic.grid, elastic.grid) * elastic.sigma]
    numbers += [
        (side - 1) / 2 + rng.symmetric(0.5 * (side - output_side) + shift * side)
        for side, output_side in zip(input_size[::-1], size[::-1], strict=True)
    ]
    device = planes["image"].device
    matrix, *nodes, centre_x, centre_y = upload_numbers(device, *numbers)
    y, x = (torch.arange(side, dtype=torch.float32, device=device) - (side - 1) / 2 for side in size)
    # no matrix product: on a GPU it could have the 10 bits of TF32
    coordinates = [row[:, 0, None, None] * x + row[:, 1, None, None] * y[:, None] for row in matrix.unbind(1)]
    if nodes:
        field = functional.interpolate(nodes[0], size, mode="bicubic", align_corners=True)
        coordinates = [values + shifts for values, shifts in zip(coordinates, field.unbind(1), strict=True)]
    # for `grid_sample`: (N, h, w, 2) coordinates (x, y), where -1 and 1 are the outer edges
    grid = torch.stack(
        [
            (2.0 * (values + centre[:, None, None]) + 1.0) / side - 1.0
            for values, centre, side in zip(coordinates, (centre_x, centre_y), input_size[::-1], strict=True)
        ],
        dim=-1,
    )
    return {name: _sample(plane, grid, name == "image" or rng.soft) for name, plane in planes.items()}


def _sample(plane: torch.Tensor, grid: torch.Tensor, smooth: bool) -> torch.Tensor:
    """Sample a (N, C, H, W) plane at the coordinates of a grid, with reflection padding."""
    mode = "bilinear" if smooth and plane.is_floating_point() else "nearest"
    sampled = functional.grid_sample(plane.float(), grid, mode=mode, padding_mode="reflection", align_corners=False)
    return sampled.to(plane.dtype)


def flip(planes: Planes, rng: BatchRng, *, flip: str) -> Planes:
    """Flip left and right (``'horizontal'``), top and bottom (``'vertical'``) or both, each with probability 1/2."""
    axes = [axis for name, axis in (("horizontal", -1), ("vertical", -2)) if flip in (name, "both")]
    numbers = upload_numbers(planes["image"].device, *(rng.uniform() for _ in axes))
    for axis, number in zip(axes, numbers, strict=True):
        selected = number < 0.5
        planes = {key: where_samples(selected, plane.flip(axis), plane) for key, plane in planes.items()}
    return planes


def rot90(planes: Planes, rng: BatchRng, *, rot90: bool) -> Planes:
    """Rotate by 0, 90, 180 or 270 degrees; only by 0 or 180 if samples are not square."""
    rows, columns = planes["image"].shape[-2:]
    quarter_turns = rng.integers(4)
    if rows != columns:
        quarter_turns = quarter_turns // 2 * 2
    (uploaded,) = upload_numbers(planes["image"].device, quarter_turns)
    for number in sorted({*quarter_turns.tolist()} - {0}) if rot90 else ():
        selected = uploaded == number
        planes = {key: where_samples(selected, plane.rot90(number, (-2, -1)), plane) for key, plane in planes.items()}
    return planes


def adjust_intensity(
    planes: Planes, rng: BatchRng, *, brightness: float, contrast: float, gamma: tuple[float, float]
) -> Planes:
    """Change gamma, contrast and brightness of each image, relative to its range of values.

    Parameters
    ----------
    planes : Planes
    rng : BatchRng
    brightness : float
        Added, as a fraction of the range, uniform in plus or minus.
    contrast : float
        Differences from the mean are multiplied by 1 plus or minus at most this, uniform.
    gamma : (float, float)
        Range of the exponent, log-uniform; applied to the image normalized to [0, 1].
    """
    image = planes["image"]
    numbers = rng.log_uniform(gamma), 1.0 + rng.symmetric(contrast), rng.symmetric(brightness)
    exponent, factor, shift = (number[:, None, None, None] for number in upload_numbers(image.device, *numbers))
    low = image.amin(dim=(1, 2, 3), keepdim=True)
    span = (image.amax(dim=(1, 2, 3), keepdim=True) - low).clamp(min=1e-6)
    adjusted = ((image - low) / span).clamp(0.0, 1.0)
    if gamma != (1.0, 1.0):
        adjusted = adjusted**exponent
    mean = adjusted.mean(dim=(1, 2, 3), keepdim=True)
    return {**planes, "image": ((adjusted - mean) * factor + mean + shift) * span + low}
