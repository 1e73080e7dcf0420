"""Small U-Net with unpadded convolutions and cropped skip connections."""

import torch
from torch import nn

from pipeline.models.shapes import centre_crop, check_input, crop_to, descend, mirror_pad, valid_margins
from pipeline.models.upsampling import DoublingConv


class UNetCrop(nn.Module):
    """U-Net with unpadded convolutions.

    Parameters
    ----------
    in_channels, out_channels : int
    widths : sequence of int
        Channels of each level, the shallowest first.
    padding : {'stretch', 'mirror'}
        ``'stretch'``, as published: nearest-neighbour interpolation resizes the logits of the centre to the input size.
        Inputs too small for the depth are first padded with replicated borders, and the logits are cropped to the input
        size. ``'mirror'``: the input is padded by reflection, so that the logits cover it pixel by pixel.

    Notes
    -----
    Upsampling is a transposed 2x2 convolution, and the skip connection is centre-cropped to its output. The head is a
    1x1 convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, widths: tuple[int, ...], padding: str) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.padded = padding == "stretch"
        self.multiple = 2 ** (len(widths) - 1)
        self.min_side = _min_side(len(widths))
        self.down = nn.ModuleList(_double_conv(a, b) for a, b in zip((in_channels, *widths[:-1]), widths, strict=True))
        self.pool = nn.MaxPool2d(2)
        pairs = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.grow = nn.ModuleList(DoublingConv(deep, shallow) for deep, shallow in pairs)
        self.up = nn.ModuleList(_double_conv(2 * shallow, shallow) for _, shallow in pairs)
        self.head = nn.Conv2d(widths[0], out_channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map images to logits; see `pipeline.models.registry.build_model`."""
        check_input(x, self.in_channels)
        height, width = x.shape[-2:]
        if not self.padded:
            return crop_to(self.valid_forward(mirror_pad(x, self.margins(height), self.margins(width))), height, width)
        pad_y, pad_x = max(0, self.min_side - height), max(0, self.min_side - width)
        if pad_y or pad_x:
            padding = (pad_x // 2, pad_x - pad_x // 2, pad_y // 2, pad_y - pad_y // 2)
            x = nn.functional.pad(x, padding, mode="replicate")
        logits = nn.functional.interpolate(self.valid_forward(x), size=x.shape[-2:], mode="nearest")
        return centre_crop(logits, height, width)

    def valid_forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map images to the logits of their centre; unpadded convolutions shrink them."""
        *skips, x = descend(x, self.down, self.pool)
        for upsample, block in zip(self.grow, self.up, strict=True):
            x = upsample(x)
            x = block(torch.cat([x, centre_crop(skips.pop(), *x.shape[-2:])], dim=1))
        logits: torch.Tensor = self.head(x)
        return logits

    def margins(self, side: int) -> tuple[int, int]:
        """Return the reflection padding before and after a side; see `valid_margins`."""
        return valid_margins(side, self.multiple)


def _double_conv(in_channels: int, out_channels: int) -> nn.Sequential:
    """Build unpadded 3x3 convolution, ReLU, unpadded 3x3 convolution: height and width shrink by four pixels."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3), nn.ReLU(inplace=True), nn.Conv2d(out_channels, out_channels, 3)
    )


def _min_side(levels: int) -> int:
    """Return the smallest input side with at least one output pixel after all unpadded convolutions."""
    side = 1
    for _ in range(levels - 1):
        side = -(-(side + 4) // 2)
    for _ in range(levels - 1):
        side = 2 * (side + 4)
    return side + 4
