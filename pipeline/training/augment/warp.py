"""Rotate, shear, scale, shift and deform: everything that moves pixels freely, in one resampling."""

import torch
from torch.nn import functional

from pipeline.training.augment.options import Elastic
from pipeline.training.augment.planes import Draws, Planes


class Warp:
    """Resample each sample at places of its own; bilinear for images and soft masks, else nearest.

    What comes from beyond the borders is mirrored.

    Parameters
    ----------
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

    def __init__(
        self,
        rotate: float,
        shear: float,
        scale: tuple[float, float],
        shift: float,
        elastic: Elastic | None,
        crop: tuple[int, int] | None = None,
    ) -> None:
        self.rotate, self.shear, self.scale, self.shift, self.elastic, self.crop = (
            rotate, shear, scale, shift, elastic, crop,
        )  # fmt: skip

    def __call__(self, planes: Planes, draws: Draws) -> Planes:
        """Return the resampled planes."""
        image = planes["image"]
        size = (int(image.shape[-2]), int(image.shape[-1]))
        grid = self._grid(size, self.crop or size, draws).to(image.device)
        return {name: _sample(plane, grid, name == "image" or draws.soft) for name, plane in planes.items()}

    def _grid(self, size: tuple[int, int], crop: tuple[int, int], draws: Draws) -> torch.Tensor:
        """Return (N, h, w, 2) places (x, y) to sample at, for `grid_sample`: -1 and 1 are the outer edges."""
        angle = torch.deg2rad(draws.symmetric(self.rotate))
        slant = torch.tan(torch.deg2rad(draws.symmetric(self.shear)))
        shrink = 1.0 / draws.log_uniform(self.scale)
        cos, sin = torch.cos(angle) * shrink, torch.sin(angle) * shrink
        matrix = torch.stack([cos, slant * cos - sin, sin, slant * sin + cos], dim=1).view(len(angle), 2, 2)
        y = torch.arange(crop[0], dtype=torch.float32) - (crop[0] - 1) / 2
        x = torch.arange(crop[1], dtype=torch.float32) - (crop[1] - 1) / 2
        grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
        from_centre = torch.stack([grid_x, grid_y], dim=-1).view(1, -1, 2)
        places = (from_centre @ matrix.transpose(1, 2)).view(len(angle), *crop, 2)
        if self.elastic is not None:
            nodes = draws.normal(2, self.elastic.grid, self.elastic.grid)
            field = functional.interpolate(nodes * self.elastic.sigma, crop, mode="bicubic", align_corners=True)
            places = places + field.permute(0, 2, 3, 1)
        centres = [
            (full - 1) / 2 + draws.symmetric(0.5 * (full - part) + self.shift * full)
            for full, part in zip(size[::-1], crop[::-1], strict=True)
        ]
        places = places + torch.stack(centres, dim=1)[:, None, None]
        return (2.0 * places + 1.0) / torch.tensor([size[1], size[0]], dtype=torch.float32) - 1.0


def _sample(plane: torch.Tensor, grid: torch.Tensor, smooth: bool) -> torch.Tensor:
    """Look a (N, C, H, W) plane up at the places of a grid, mirrored beyond its borders."""
    mode = "bilinear" if smooth and plane.is_floating_point() else "nearest"
    looked_up = functional.grid_sample(plane.float(), grid, mode=mode, padding_mode="reflection", align_corners=False)
    return looked_up.to(plane.dtype)
