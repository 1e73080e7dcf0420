"""The steps of augmentation: each changes the samples of a batch, every sample by its own random numbers."""

import torch
from torch.nn import functional

from pipeline.training.augment.batch_rng import BatchRng, Planes, where
from pipeline.training.augment.options import Elastic


def crop(planes: Planes, rng: BatchRng, *, size: tuple[int, int]) -> Planes:
    """Cut a part of the given height and width out of each sample; samples of that very size stay as they are."""
    height, width = planes["image"].shape[-2:]
    if size == (height, width):
        return planes
    tops, lefts = rng.below(height - size[0] + 1).tolist(), rng.below(width - size[1] + 1).tolist()
    cut: Planes = {}
    for name, plane in planes.items():
        cut[name] = plane.new_empty((*plane.shape[:2], *size))
        for n, (top, left) in enumerate(zip(tops, lefts, strict=True)):
            cut[name][n] = plane[n, :, top : top + size[0], left : left + size[1]]
    return cut


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
    """Move pixels freely, all in one resampling; what comes from beyond the borders is mirrored.

    Parameters
    ----------
    planes : Planes
        Images and soft masks are interpolated bilinearly; of hard masks and weights the nearest pixel is taken.
    rng : Draws
    rotate, shear : float
        Degrees, uniform in plus or minus.
    scale : (float, float)
        Magnification, uniform in its logarithm.
    shift : float
        Share of height and width, uniform in plus or minus.
    elastic : Elastic, optional
        Smooth deformation by a grid of normal displacements, interpolated bicubically (Ronneberger, Fischer, Brox:
        U-Net, MICCAI 2015, section 3.1: grid 3, sigma 10).
    crop : (int, int), optional
        Height and width to cut out at a random place. Without it the size stays.
    """
    full = planes["image"].shape[-2:]
    size = crop or (full[0], full[1])
    angle = torch.deg2rad(rng.symmetric(rotate))
    slant = torch.tan(torch.deg2rad(rng.symmetric(shear)))
    shrink = 1.0 / rng.log_uniform(scale)
    cos, sin = torch.cos(angle) * shrink, torch.sin(angle) * shrink
    matrix = torch.stack([cos, slant * cos - sin, sin, slant * sin + cos], dim=1).view(len(angle), 2, 2)
    y, x = (torch.arange(side, dtype=torch.float32) - (side - 1) / 2 for side in size)
    grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
    from_centre = torch.stack([grid_x, grid_y], dim=-1).view(1, -1, 2)
    places = (from_centre @ matrix.transpose(1, 2)).view(len(angle), *size, 2)
    if elastic is not None:
        nodes = rng.normal(2, elastic.grid, elastic.grid)
        field = functional.interpolate(nodes * elastic.sigma, size, mode="bicubic", align_corners=True)
        places = places + field.permute(0, 2, 3, 1)
    centres = [
        (side - 1) / 2 + rng.symmetric(0.5 * (side - part) + shift * side)
        for side, part in zip(full[::-1], size[::-1], strict=True)
    ]
    places = places + torch.stack(centres, dim=1)[:, None, None]
    # of `grid_sample`: (N, h, w, 2) places (x, y), in which -1 and 1 are the outer edges
    grid = (2.0 * places + 1.0) / torch.tensor(full[::-1], dtype=torch.float32) - 1.0
    grid = grid.to(planes["image"].device)
    return {name: _sample(plane, grid, name == "image" or rng.soft) for name, plane in planes.items()}


def _sample(plane: torch.Tensor, grid: torch.Tensor, smooth: bool) -> torch.Tensor:
    """Look a (N, C, H, W) plane up at the places of a grid, mirrored beyond its borders."""
    mode = "bilinear" if smooth and plane.is_floating_point() else "nearest"
    looked_up = functional.grid_sample(plane.float(), grid, mode=mode, padding_mode="reflection", align_corners=False)
    return looked_up.to(plane.dtype)


def mirror(planes: Planes, rng: BatchRng, *, flip: str) -> Planes:
    """Mirror left and right (``'horizontal'``), top and bottom (``'vertical'``) or both, each with probability 1/2."""
    for name, axis in (("horizontal", -1), ("vertical", -2)):
        if flip in (name, "both"):
            chosen = rng.uniform() < 0.5
            planes = {key: where(chosen, plane.flip(axis), plane) for key, plane in planes.items()}
    return planes


def rot90(planes: Planes, rng: BatchRng, *, rot90: bool) -> Planes:
    """Turn by 0, 90, 180 or 270 degrees; only by 0 or 180 where samples are not square."""
    rows, columns = planes["image"].shape[-2:]
    quarters = rng.below(4)
    if rows != columns:
        quarters = quarters // 2 * 2
    for number in (1, 2, 3) if rot90 else ():
        chosen = quarters == number
        if chosen.any():
            planes = {key: where(chosen, plane.rot90(number, (-2, -1)), plane) for key, plane in planes.items()}
    return planes


def tint(planes: Planes, rng: BatchRng, *, brightness: float, contrast: float, gamma: tuple[float, float]) -> Planes:
    """Change the values of each image within its own range.

    Parameters
    ----------
    planes : Planes
    rng : Draws
    brightness : float
        Share of the range, uniform in plus or minus, added.
    contrast : float
        Distances from the mean are multiplied by 1 plus or minus up to this.
    gamma : (float, float)
        Exponent of the image brought to [0, 1] by its range, uniform in its logarithm.
    """
    image = planes["image"]
    drawn = (rng.log_uniform(gamma), 1.0 + rng.symmetric(contrast), rng.symmetric(brightness))
    exponent, factor, added = (value.to(image.device)[:, None, None, None] for value in drawn)
    low = image.amin(dim=(1, 2, 3), keepdim=True)
    span = (image.amax(dim=(1, 2, 3), keepdim=True) - low).clamp(min=1e-6)
    tinted = ((image - low) / span).clamp(0.0, 1.0)
    if gamma != (1.0, 1.0):
        tinted = tinted**exponent
    mean = tinted.mean(dim=(1, 2, 3), keepdim=True)
    return {**planes, "image": ((tinted - mean) * factor + mean + added) * span + low}
