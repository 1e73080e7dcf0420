"""Change training samples at random, picture, mask and weights together, on the device that trains.

All random numbers come from one generator on the CPU, so that the same seed gives the same samples on every device.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from pipeline.training.data import Batch

Range = tuple[float, float]


@dataclass(frozen=True)
class Augmentation:
    """Random changes of a batch, each sample by its own.

    Parameters
    ----------
    crop : (int, int), optional
        Height and width to cut out at a random place. Without it the size stays.
    flip : {'none', 'horizontal', 'vertical', 'both'}
        Mirror left and right, top and bottom, each with probability 1/2.
    turns : bool
        Turn by 0, 90, 180 or 270 degrees; only by 0 or 180 where the result is not square.
    rotate, shear : float
        Degrees, uniform in plus or minus.
    scale : (float, float)
        Magnification, uniform in its logarithm.
    shift : float
        Share of height and width, uniform in plus or minus.
    elastic : mapping, optional
        ``grid`` and ``sigma``: smooth deformation by a grid x grid field of normal displacements of `sigma` pixels,
        interpolated bicubically (Ronneberger, Fischer, Brox: U-Net, MICCAI 2015, section 3.1: 3 and 10).
    brightness : float
        Share of the picture's own range, uniform in plus or minus, added.
    contrast : float
        Distances from the picture's mean are multiplied by 1 plus or minus up to this.
    gamma : (float, float)
        Exponent of the picture brought to [0, 1] by its own range, uniform in its logarithm.

    Notes
    -----
    Everything that moves pixels is one resampling: bilinear for the picture and for soft masks, nearest for class
    indices and weights. What comes from beyond the borders is mirrored.
    """

    crop: Sequence[int] | None = None
    flip: str = "none"
    turns: bool = False
    rotate: float = 0.0
    shear: float = 0.0
    scale: Range = (1.0, 1.0)
    shift: float = 0.0
    elastic: Mapping[str, Any] | None = None
    brightness: float = 0.0
    contrast: float = 0.0
    gamma: Range = (1.0, 1.0)

    def __call__(self, batch: Batch, random: torch.Generator, soft: bool = False) -> Batch:
        """Return a changed batch.

        Parameters
        ----------
        batch : Batch
        random : torch.Generator
            On the CPU.
        soft : bool
            Whether targets between 0 and 1 are meant, and may be interpolated.

        Raises
        ------
        ValueError
            If the crop is larger than the samples.
        """
        planes = {"image": batch.image, "target": batch.target}
        if batch.weight is not None:
            planes["weight"] = batch.weight
        height, width = batch.image.shape[-2:]
        rows, columns = self.crop or (height, width)
        if rows > height or columns > width:
            raise ValueError(f"a crop of {rows}x{columns} from samples of {height}x{width} (height x width)")
        if self._warps:
            grid = self._grid(len(batch.image), (height, width), (rows, columns), random).to(batch.image.device)
            planes = {name: _sample(plane, grid, name == "image" or soft) for name, plane in planes.items()}
        elif (rows, columns) != (height, width):
            planes = _cut(planes, rows, columns, random)
        planes = self._mirror(planes, random)
        planes["image"] = self._tint(planes["image"], random).contiguous(memory_format=torch.channels_last)
        return Batch(image=planes["image"], target=planes["target"], weight=planes.get("weight"))

    @property
    def _warps(self) -> bool:
        still = self.rotate == self.shear == self.shift == 0 and tuple(self.scale) == (1.0, 1.0)
        return not still or self.elastic is not None

    def _grid(self, count: int, size: tuple[int, int], crop: tuple[int, int], random: torch.Generator) -> torch.Tensor:
        """Return (N, h, w, 2) places (x, y) to sample at, for `grid_sample`: -1 and 1 are the outer edges."""
        angle = torch.deg2rad(_symmetric(count, self.rotate, random))
        slant = torch.tan(torch.deg2rad(_symmetric(count, self.shear, random)))
        shrink = 1.0 / _log_uniform(count, self.scale, random)
        cos, sin = torch.cos(angle) * shrink, torch.sin(angle) * shrink
        matrix = torch.stack([cos, slant * cos - sin, sin, slant * sin + cos], dim=1).view(count, 2, 2)
        y = torch.arange(crop[0], dtype=torch.float32) - (crop[0] - 1) / 2
        x = torch.arange(crop[1], dtype=torch.float32) - (crop[1] - 1) / 2
        grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
        from_centre = torch.stack([grid_x, grid_y], dim=-1).view(1, -1, 2)
        places = (from_centre @ matrix.transpose(1, 2)).view(count, *crop, 2)
        if self.elastic is not None:
            nodes = torch.randn(count, 2, self.elastic["grid"], self.elastic["grid"], generator=random)
            field = functional.interpolate(nodes * self.elastic["sigma"], crop, mode="bicubic", align_corners=True)
            places = places + field.permute(0, 2, 3, 1)
        centres = [
            (full - 1) / 2 + _symmetric(count, 0.5 * (full - part) + self.shift * full, random)
            for full, part in zip(size[::-1], crop[::-1], strict=True)
        ]
        places = places + torch.stack(centres, dim=1)[:, None, None]
        return (2.0 * places + 1.0) / torch.tensor([size[1], size[0]], dtype=torch.float32) - 1.0

    def _mirror(self, planes: dict[str, torch.Tensor], random: torch.Generator) -> dict[str, torch.Tensor]:
        count, _, rows, columns = planes["image"].shape
        for name, axis in (("horizontal", -1), ("vertical", -2)):
            if self.flip in (name, "both"):
                chosen = torch.rand(count, generator=random) < 0.5
                planes = {key: _where(chosen, plane.flip(axis), plane) for key, plane in planes.items()}
        if self.turns:
            quarters = torch.randint(4, (count,), generator=random)
            if rows != columns:
                quarters = quarters // 2 * 2
            for number in (1, 2, 3):
                chosen = quarters == number
                if chosen.any():
                    planes = {
                        key: _where(chosen, plane.rot90(number, (-2, -1)), plane) for key, plane in planes.items()
                    }
        return planes

    def _tint(self, image: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """Change brightness, contrast and gamma within each picture's own range of values."""
        if self.brightness == self.contrast == 0 and tuple(self.gamma) == (1.0, 1.0):
            return image
        count = len(image)
        gamma = _log_uniform(count, self.gamma, random)
        contrast = 1.0 + _symmetric(count, self.contrast, random)
        brightness = _symmetric(count, self.brightness, random)
        gamma, contrast, brightness = (
            value.to(image.device)[:, None, None, None] for value in (gamma, contrast, brightness)
        )
        low = image.amin(dim=(1, 2, 3), keepdim=True)
        span = (image.amax(dim=(1, 2, 3), keepdim=True) - low).clamp(min=1e-6)
        tinted = ((image - low) / span).clamp(0.0, 1.0)
        if tuple(self.gamma) != (1.0, 1.0):
            tinted = tinted**gamma
        mean = tinted.mean(dim=(1, 2, 3), keepdim=True)
        return ((tinted - mean) * contrast + mean + brightness) * span + low


def _symmetric(count: int, limit: float, random: torch.Generator) -> torch.Tensor:
    return (2.0 * torch.rand(count, generator=random) - 1.0) * limit


def _log_uniform(count: int, limits: Range, random: torch.Generator) -> torch.Tensor:
    low, high = math.log(limits[0]), math.log(limits[1])
    return torch.exp(low + (high - low) * torch.rand(count, generator=random))


def _cut(planes: dict[str, torch.Tensor], rows: int, columns: int, random: torch.Generator) -> dict[str, torch.Tensor]:
    count, _, height, width = planes["image"].shape
    tops = torch.randint(height - rows + 1, (count,), generator=random).tolist()
    lefts = torch.randint(width - columns + 1, (count,), generator=random).tolist()
    return {
        name: torch.stack(
            [
                plane[n, :, top : top + rows, left : left + columns]
                for n, (top, left) in enumerate(zip(tops, lefts, strict=True))
            ]
        )
        for name, plane in planes.items()
    }


def _sample(plane: torch.Tensor, grid: torch.Tensor, smooth: bool) -> torch.Tensor:
    """Look a (N, C, H, W) plane up at the places of a grid, mirrored beyond its borders."""
    mode = "bilinear" if smooth and plane.is_floating_point() else "nearest"
    looked_up = functional.grid_sample(plane.float(), grid, mode=mode, padding_mode="reflection", align_corners=False)
    return looked_up.to(plane.dtype)


def _where(chosen: torch.Tensor, changed: torch.Tensor, plane: torch.Tensor) -> torch.Tensor:
    return torch.where(chosen.to(plane.device)[:, None, None, None], changed, plane)
