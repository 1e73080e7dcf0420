"""Transforms: each augments the samples of a batch, with other random numbers for each sample."""

import torch
from torch.nn import functional

from pipeline.training.augment.batch_rng import BatchRng, Planes, where_samples
from pipeline.training.augment.options import Elastic


def crop(planes: Planes, rng: BatchRng, *, size: tuple[int, int]) -> Planes:
    """Randomly crop each sample to the given height and width; samples of this size are returned unchanged."""
    height, width = planes["image"].shape[-2:]
    if size == (height, width):
        return planes
    tops, lefts = rng.integers(height - size[0] + 1).tolist(), rng.integers(width - size[1] + 1).tolist()
    cropped: Planes = {}
    for name, plane in planes.items():
        cropped[name] = plane.new_empty((*plane.shape[:2], *size))
        for n, (top, left) in enumerate(zip(tops, lefts, strict=True)):
            cropped[name][n] = plane[n, :, top : top + size[0], left : left + size[1]]
    return cropped


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
    y, x = (torch.arange(side, dtype=torch.float32) - (side - 1) / 2 for side in size)
    grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
    from_centre = torch.stack([grid_x, grid_y], dim=-1).view(1, -1, 2)
    coordinates = (from_centre @ matrix.transpose(1, 2)).view(len(angle), *size, 2)
    if elastic is not None:
        nodes = rng.normal(2, elastic.grid, elastic.grid)
        field = functional.interpolate(nodes * elastic.sigma, size, mode="bicubic", align_corners=True)
        coordinates = coordinates + field.permute(0, 2, 3, 1)
    centres = [
        (side - 1) / 2 + rng.symmetric(0.5 * (side - output_side) + shift * side)
        for side, output_side in zip(input_size[::-1], size[::-1], strict=True)
    ]
    coordinates = coordinates + torch.stack(centres, dim=1)[:, None, None]
    # for `grid_sample`: (N, h, w, 2) coordinates (x, y), where -1 and 1 are the outer edges
    grid = (2.0 * coordinates + 1.0) / torch.tensor(input_size[::-1], dtype=torch.float32) - 1.0
    grid = grid.to(planes["image"].device)
    return {name: _sample(plane, grid, name == "image" or rng.soft) for name, plane in planes.items()}


def _sample(plane: torch.Tensor, grid: torch.Tensor, smooth: bool) -> torch.Tensor:
    """Sample a (N, C, H, W) plane at the coordinates of a grid, with reflection padding."""
    mode = "bilinear" if smooth and plane.is_floating_point() else "nearest"
    sampled = functional.grid_sample(plane.float(), grid, mode=mode, padding_mode="reflection", align_corners=False)
    return sampled.to(plane.dtype)


def flip(planes: Planes, rng: BatchRng, *, flip: str) -> Planes:
    """Flip left and right (``'horizontal'``), top and bottom (``'vertical'``) or both, each with probability 1/2."""
    for name, axis in (("horizontal", -1), ("vertical", -2)):
        if flip in (name, "both"):
            selected = rng.uniform() < 0.5
            planes = {key: where_samples(selected, plane.flip(axis), plane) for key, plane in planes.items()}
    return planes


def rot90(planes: Planes, rng: BatchRng, *, rot90: bool) -> Planes:
    """Rotate by 0, 90, 180 or 270 degrees; only by 0 or 180 if samples are not square."""
    rows, columns = planes["image"].shape[-2:]
    quarter_turns = rng.integers(4)
    if rows != columns:
        quarter_turns = quarter_turns // 2 * 2
    for number in (1, 2, 3) if rot90 else ():
        selected = quarter_turns == number
        if selected.any():
            planes = {
                key: where_samples(selected, plane.rot90(number, (-2, -1)), plane) for key, plane in planes.items()
            }
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
    parameters = (rng.log_uniform(gamma), 1.0 + rng.symmetric(contrast), rng.symmetric(brightness))
    exponent, factor, shift = (value.to(image.device)[:, None, None, None] for value in parameters)
    low = image.amin(dim=(1, 2, 3), keepdim=True)
    span = (image.amax(dim=(1, 2, 3), keepdim=True) - low).clamp(min=1e-6)
    adjusted = ((image - low) / span).clamp(0.0, 1.0)
    if gamma != (1.0, 1.0):
        adjusted = adjusted**exponent
    mean = adjusted.mean(dim=(1, 2, 3), keepdim=True)
    return {**planes, "image": ((adjusted - mean) * factor + mean + shift) * span + low}
