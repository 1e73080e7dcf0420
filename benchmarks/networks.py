"""The networks of the documents, written plainly in PyTorch: NCHW, the operations that the documents name."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional


def crop(x: torch.Tensor, side: int) -> torch.Tensor:
    """Return the centre of images."""
    top, left = (x.shape[-2] - side) // 2, (x.shape[-1] - side) // 2
    return x[..., top : top + side, left : left + side]


class UNetA(nn.Module):
    """A: padded convolutions with batch normalization; `width` 64 has 31,044,033 parameters."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(5)]

        def block(before: int, after: int) -> nn.Sequential:
            layers: list[nn.Module] = []
            for channels in (before, after):
                layers += [nn.Conv2d(channels, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
            return nn.Sequential(*layers)

        self.down = nn.ModuleList(block(a, b) for a, b in zip([3, *widths], widths, strict=False))
        self.grow = nn.ModuleList(nn.ConvTranspose2d(2 * a, a, 2, stride=2) for a in reversed(widths[:-1]))
        self.up = nn.ModuleList(block(2 * a, a) for a in reversed(widths[:-1]))
        self.head = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips = []
        for level, block in enumerate(self.down):
            x = block(functional.max_pool2d(x, 2) if level else x)
            skips.append(x)
        skips.pop()
        for grow, block in zip(self.grow, self.up, strict=True):
            x = block(torch.cat([skips.pop(), grow(x)], dim=1))
        result: torch.Tensor = self.head(x)
        return result


class UNetB(nn.Module):
    """B: no normalization, nearest upsampling; padded and small (1,993,188 parameters), or the original, unpadded."""

    def __init__(self, widths: tuple[int, ...] = (32, 32, 64, 128, 256), padding: int = 1, side: int = 128) -> None:
        super().__init__()
        self.side = side

        def block(before: int, after: int) -> nn.Sequential:
            convs = [nn.Conv2d(channels, after, 3, padding=padding) for channels in (before, after)]
            return nn.Sequential(convs[0], nn.ReLU(inplace=True), convs[1], nn.ReLU(inplace=True))

        self.down = nn.ModuleList(block(a, b) for a, b in zip([3, *widths], widths, strict=False))
        self.up = nn.ModuleList(block(a + b, b) for a, b in zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.head = nn.Conv2d(widths[0], 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips = []
        for level, block in enumerate(self.down):
            x = block(functional.max_pool2d(x, 2) if level else x)
            skips.append(x)
        skips.pop()
        for block in self.up:
            x = functional.interpolate(x, scale_factor=2, mode="nearest")
            x = block(torch.cat([crop(skips.pop(), x.shape[-1]), x], dim=1))
        return crop(self.head(x), self.side)


class UNetE(nn.Module):
    """E: unpadded convolutions, cropped skip connections, output stretched; 117,041 parameters."""

    def __init__(self) -> None:
        super().__init__()

        def block(before: int, after: int) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(before, after, 3), nn.ReLU(), nn.Conv2d(after, after, 3))

        self.down = nn.ModuleList([block(3, 16), block(16, 32), block(32, 64)])
        self.grow = nn.ModuleList([nn.ConvTranspose2d(64, 32, 2, 2), nn.ConvTranspose2d(32, 16, 2, 2)])
        self.up = nn.ModuleList([block(64, 32), block(32, 16)])
        self.head = nn.Conv2d(16, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        side, skips = x.shape[-1], []
        for level, block in enumerate(self.down):
            x = block(functional.max_pool2d(x, 2) if level else x)
            skips.append(x)
        skips.pop()
        for grow, block in zip(self.grow, self.up, strict=True):
            x = grow(x)
            x = block(torch.cat([x, crop(skips.pop(), x.shape[-1])], dim=1))
        return functional.interpolate(self.head(x), (side, side))


class Unit(nn.Module):
    """D: convolution, batch normalization, ReLU."""

    def __init__(self, before: int, after: int, dilation: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, 3, padding=dilation, dilation=dilation, bias=False)
        self.norm = nn.BatchNorm2d(after)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = functional.relu(self.norm(self.conv(x)), inplace=True)
        return result


class Rsu(nn.Module):
    """D: a U-Net as a block, `height` levels; `flat`: dilations instead of pooling."""

    def __init__(self, height: int, before: int, middle: int, after: int, flat: bool = False) -> None:
        super().__init__()
        self.flat = flat
        self.first = Unit(before, after)
        dilations = [2**level if flat else 1 for level in range(height - 1)]
        self.down = nn.ModuleList(
            Unit(middle if level else after, middle, dilation) for level, dilation in enumerate(dilations)
        )
        self.bottom = Unit(middle, middle, 2 ** (height - 1) if flat else 2)
        self.up = nn.ModuleList(
            Unit(2 * middle, middle if level else after, dilations[level]) for level in reversed(range(height - 1))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = residual = self.first(x)
        skips = []
        for level, unit in enumerate(self.down):
            if level and not self.flat:
                x = functional.max_pool2d(x, 2, 2, ceil_mode=True)
            x = unit(x)
            skips.append(x)
        x = self.bottom(x)
        for unit in self.up:
            skip = skips.pop()
            x = unit(torch.cat([enlarge(x, skip), skip], dim=1))
        return torch.add(x, residual)


def enlarge(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Resize bilinearly to the size of another map, as the document does."""
    if x.shape[-2:] == like.shape[-2:]:
        return x
    return functional.interpolate(x, like.shape[-2:], mode="bilinear", align_corners=False)


class U2NetLite(nn.Module):
    """D: nested U-Nets with side outputs; 1,128,333 parameters; returns the fused and six side logits."""

    def __init__(self) -> None:
        super().__init__()
        heights = [(7, False), (6, False), (5, False), (4, False), (4, True), (4, True)]
        self.down = nn.ModuleList(
            Rsu(height, 64 if level else 3, 16, 64, flat) for level, (height, flat) in enumerate(heights)
        )
        self.up = nn.ModuleList(Rsu(height, 128, 16, 64, flat) for height, flat in reversed(heights[:-1]))
        self.side = nn.ModuleList(nn.Conv2d(64, 1, 3, padding=1) for _ in range(6))
        self.fuse = nn.Conv2d(6, 1, 1)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        image, skips = x, []
        for level, block in enumerate(self.down):
            x = block(functional.max_pool2d(x, 2, 2, ceil_mode=True) if level else x)
            skips.append(x)
        maps = [skips.pop()]
        for block in self.up:
            skip = skips.pop()
            x = block(torch.cat([enlarge(x, skip), skip], dim=1))
            maps.append(x)
        sides = [enlarge(side(x), image) for side, x in zip(self.side, reversed(maps), strict=True)]
        return [self.fuse(torch.cat(sides, dim=1)), *sides]


def dice_loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return cross-entropy and soft Dice, summed."""
    probability = logits.sigmoid()
    overlap = (probability * target).sum((1, 2, 3))
    dice = (2 * overlap + 1) / (probability.sum((1, 2, 3)) + target.sum((1, 2, 3)) + 1)
    return functional.binary_cross_entropy_with_logits(logits, target) + (1 - dice).mean()


def supervised(logits: list[torch.Tensor], target: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy of all outputs, summed."""
    losses = [functional.binary_cross_entropy_with_logits(output.float(), target) for output in logits]
    return torch.stack(losses).sum()


NETWORKS: dict[str, Any] = {
    "A": UNetA,
    "B small": UNetB,
    "B original": lambda: UNetB((64, 128, 256, 512, 1024), padding=0),
    "D lite": U2NetLite,
    "E": UNetE,
    "A 16 wide": lambda: UNetA(16),
}
LOSSES: dict[str, Any] = {
    "mse": functional.mse_loss,
    "bce": functional.binary_cross_entropy_with_logits,
    "bce-dice": dice_loss,
    "cross-entropy": functional.cross_entropy,
    "supervised": supervised,
}
