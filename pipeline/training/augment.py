"""Change training samples at random, picture, mask and weights together, on the device that trains.

All random numbers come from one generator on the CPU, so that the same seed gives the same samples on every device; and
they are drawn for a whole batch, so that a sample is changed in the same way whichever process works on it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

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

    def __call__(
        self, batch: Batch, random: torch.Generator, soft: bool = False, rows: slice | None = None, whole: int = 0
    ) -> Batch:
        """Return a changed batch.

        Parameters
        ----------
        batch : Batch
        random : torch.Generator
            On the CPU.
        soft : bool
            Whether targets between 0 and 1 are meant, and may be interpolated.
        rows : slice, optional
            Which rows of a larger batch these are, where they are a part of one.
        whole : int
            Number of rows of that larger batch.

        Raises
        ------
        ValueError
            If the crop is larger than the samples.
        """
        draws = _Draws(random, whole if rows else len(batch.image), rows or slice(None))
        planes = {"image": batch.image, "target": batch.target}
        if batch.weight is not None:
            planes["weight"] = batch.weight
        height, width = batch.image.shape[-2:]
        crop = (self.crop[0], self.crop[1]) if self.crop else (height, width)
        if crop[0] > height or crop[1] > width:
            raise ValueError(f"a crop of {crop[0]}x{crop[1]} from samples of {height}x{width} (height x width)")
        if self._warps:
            grid = self._grid((height, width), crop, draws).to(batch.image.device)
            planes = {name: _sample(plane, grid, name == "image" or soft) for name, plane in planes.items()}
        elif crop != (height, width):
            planes = _cut(planes, *crop, draws)
        planes = self._mirror(planes, draws)
        planes["image"] = self._tint(planes["image"], draws).contiguous(memory_format=torch.channels_last)
        return Batch(image=planes["image"], target=planes["target"], weight=planes.get("weight"))

    @property
    def _warps(self) -> bool:
        still = self.rotate == self.shear == self.shift == 0 and tuple(self.scale) == (1.0, 1.0)
        return not still or self.elastic is not None

    def _grid(self, size: tuple[int, int], crop: tuple[int, int], draws: "_Draws") -> torch.Tensor:
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
            nodes = draws.normal(2, self.elastic["grid"], self.elastic["grid"])
            field = functional.interpolate(nodes * self.elastic["sigma"], crop, mode="bicubic", align_corners=True)
            places = places + field.permute(0, 2, 3, 1)
        centres = [
            (full - 1) / 2 + draws.symmetric(0.5 * (full - part) + self.shift * full)
            for full, part in zip(size[::-1], crop[::-1], strict=True)
        ]
        places = places + torch.stack(centres, dim=1)[:, None, None]
        return (2.0 * places + 1.0) / torch.tensor([size[1], size[0]], dtype=torch.float32) - 1.0

    def _mirror(self, planes: dict[str, torch.Tensor], draws: "_Draws") -> dict[str, torch.Tensor]:
        rows, columns = planes["image"].shape[-2:]
        for name, axis in (("horizontal", -1), ("vertical", -2)):
            if self.flip in (name, "both"):
                chosen = draws.uniform() < 0.5
                planes = {key: _where(chosen, plane.flip(axis), plane) for key, plane in planes.items()}
        if self.turns:
            quarters = draws.below(4)
            if rows != columns:
                quarters = quarters // 2 * 2
            for number in (1, 2, 3):
                chosen = quarters == number
                if chosen.any():
                    planes = {
                        key: _where(chosen, plane.rot90(number, (-2, -1)), plane) for key, plane in planes.items()
                    }
        return planes

    def _tint(self, image: torch.Tensor, draws: "_Draws") -> torch.Tensor:
        """Change brightness, contrast and gamma within each picture's own range of values."""
        if self.brightness == self.contrast == 0 and tuple(self.gamma) == (1.0, 1.0):
            return image
        gamma = draws.log_uniform(self.gamma)
        contrast = 1.0 + draws.symmetric(self.contrast)
        brightness = draws.symmetric(self.brightness)
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


class _Draws(NamedTuple):
    """Random numbers for some rows of a batch, drawn for all of it.

    Parameters
    ----------
    random : torch.Generator
    whole : int
        Rows of the batch.
    rows : slice
        Those that the numbers are for, n of them.
    """

    random: torch.Generator
    whole: int
    rows: slice

    def uniform(self) -> torch.Tensor:
        """Return (n,) numbers from 0 to 1."""
        return torch.rand(self.whole, generator=self.random)[self.rows]

    def normal(self, *shape: int) -> torch.Tensor:
        """Return (n, *shape) normal numbers."""
        return torch.randn(self.whole, *shape, generator=self.random)[self.rows]

    def below(self, limit: int) -> torch.Tensor:
        """Return (n,) whole numbers from 0 to below `limit`."""
        return torch.randint(limit, (self.whole,), generator=self.random)[self.rows]

    def symmetric(self, limit: float) -> torch.Tensor:
        """Return (n,) numbers from -limit to limit."""
        return (2.0 * self.uniform() - 1.0) * limit

    def log_uniform(self, limits: Range) -> torch.Tensor:
        """Return (n,) numbers between the limits, uniform in their logarithms."""
        low, high = math.log(limits[0]), math.log(limits[1])
        return torch.exp(low + (high - low) * self.uniform())


def _cut(planes: dict[str, torch.Tensor], rows: int, columns: int, draws: _Draws) -> dict[str, torch.Tensor]:
    height, width = planes["image"].shape[-2:]
    tops, lefts = draws.below(height - rows + 1).tolist(), draws.below(width - columns + 1).tolist()
    cut = {}
    for name, plane in planes.items():
        cut[name] = plane.new_empty((len(plane), plane.shape[1], rows, columns))
        for n, (top, left) in enumerate(zip(tops, lefts, strict=True)):
            cut[name][n] = plane[n, :, top : top + rows, left : left + columns]
    return cut


def _sample(plane: torch.Tensor, grid: torch.Tensor, smooth: bool) -> torch.Tensor:
    """Look a (N, C, H, W) plane up at the places of a grid, mirrored beyond its borders."""
    mode = "bilinear" if smooth and plane.is_floating_point() else "nearest"
    looked_up = functional.grid_sample(plane.float(), grid, mode=mode, padding_mode="reflection", align_corners=False)
    return looked_up.to(plane.dtype)


def _where(chosen: torch.Tensor, changed: torch.Tensor, plane: torch.Tensor) -> torch.Tensor:
    return torch.where(chosen.to(plane.device)[:, None, None, None], changed, plane)
