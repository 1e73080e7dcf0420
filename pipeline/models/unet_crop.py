"""Small U-Net with unpadded convolutions: skips are cropped, the output is interpolated to the input's size."""

import torch
from torch import nn

from pipeline.models.shapes import centre_crop, check_input, descend


class UNetCrop(nn.Module):
    """U-Net of unpadded convolutions.

    Parameters
    ----------
    in_channels, out_channels : int
    widths : sequence of int
        Channels of the levels, from the top down.

    Notes
    -----
    Upsampling is a transposed 2x2 convolution; the skip is centre-cropped to it; a 1x1 head follows, and nearest
    interpolation brings the logits to the input's size. Inputs too small for the depth are padded first by
    repeating their border, and the logits are cropped back.
    """

    def __init__(self, in_channels: int, out_channels: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.multiple = 2 ** (len(widths) - 1)
        self.smallest = _smallest(len(widths))
        self.down = nn.ModuleList(_pair(a, b) for a, b in zip((in_channels, *widths[:-1]), widths, strict=True))
        self.pool = nn.MaxPool2d(2)
        pairs = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.grow = nn.ModuleList(nn.ConvTranspose2d(below, here, 2, stride=2) for below, here in pairs)
        self.up = nn.ModuleList(_pair(2 * here, here) for _, here in pairs)
        self.head = nn.Conv2d(widths[0], out_channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map images to logits; see `pipeline.models.registry.build_model`."""
        check_input(x, self.in_channels)
        height, width = x.shape[-2:]
        down, right = max(0, self.smallest - height), max(0, self.smallest - width)
        if down or right:
            edges = (right // 2, right - right // 2, down // 2, down - down // 2)
            x = nn.functional.pad(x, edges, mode="replicate")
        size = x.shape[-2:]
        *skips, x = descend(x, self.down, self.pool)
        for grow, block in zip(self.grow, self.up, strict=True):
            x = grow(x)
            x = block(torch.cat([x, centre_crop(skips.pop(), *x.shape[-2:])], dim=1))
        logits = nn.functional.interpolate(self.head(x), size=size, mode="nearest")
        return centre_crop(logits, height, width)


def _pair(before: int, after: int) -> nn.Sequential:
    """Build unpadded 3x3 convolution, ReLU, unpadded 3x3 convolution: each side loses four pixels."""
    return nn.Sequential(nn.Conv2d(before, after, 3), nn.ReLU(inplace=True), nn.Conv2d(after, after, 3))


def _smallest(levels: int) -> int:
    """Return the smallest side that leaves one pixel at the end of all unpadded convolutions."""
    side = 1
    for _ in range(levels - 1):
        side = -(-(side + 4) // 2)
    for _ in range(levels - 1):
        side = 2 * (side + 4)
    return side + 4
