"""U2-Net: nested U-Nets, with a prediction at each level.

Qin, Zhang, Huang, Dehghan, Zaiane, Jagersand: U2-Net: Going deeper with nested U-structure for salient object detection
(Pattern Recognition 2020), figure 5 and table 1.
"""

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from pipeline.models.shapes import check_input, descend
from pipeline.models.upsampling import resize_bilinear


class Stage(NamedTuple):
    """One RSU block: number of levels (0 for the dilated block RSU-4F), middle channels, output channels."""

    height: int
    middle: int
    out: int


FULL = (
    (
        Stage(7, 32, 64),
        Stage(6, 32, 128),
        Stage(5, 64, 256),
        Stage(4, 128, 512),
        Stage(0, 256, 512),
        Stage(0, 256, 512),
    ),
    (Stage(0, 256, 512), Stage(4, 128, 256), Stage(5, 64, 128), Stage(6, 32, 64), Stage(7, 16, 64)),
)
LITE = (
    (Stage(7, 16, 64), Stage(6, 16, 64), Stage(5, 16, 64), Stage(4, 16, 64), Stage(0, 16, 64), Stage(0, 16, 64)),
    (Stage(0, 16, 64), Stage(4, 16, 64), Stage(5, 16, 64), Stage(6, 16, 64), Stage(7, 16, 64)),
)
"""Encoder En1 to En6 and decoder De5 to De1."""


class ConvUnit(nn.Sequential):
    """3x3 convolution without bias, optionally dilated, batch normalization, ReLU; the size does not change."""

    def __init__(self, in_channels: int, out_channels: int, dilation: int = 1) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, padding=dilation, dilation=dilation, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )


def _pool(x: torch.Tensor) -> torch.Tensor:
    return functional.max_pool2d(x, 2, stride=2, ceil_mode=True)


class ResidualU(nn.Module):
    """RSU block: a small U-Net whose input convolution is added to its output.

    Parameters
    ----------
    in_channels, middle_channels, out_channels : int
    height : int
        Number of levels, at least two; with 0 the block has no pooling, but dilations of 2, 4 and 8 (RSU-4F).
    """

    def __init__(self, in_channels: int, middle_channels: int, out_channels: int, height: int) -> None:
        super().__init__()
        self.pooled = height > 0
        dilations, bottom = ([1] * (height - 1), 2) if self.pooled else ([1, 2, 4], 8)
        widths = [out_channels, *[middle_channels] * (len(dilations) - 1)]
        self.enter = ConvUnit(in_channels, out_channels)
        self.down = nn.ModuleList(
            ConvUnit(width, middle_channels, dilation) for width, dilation in zip(widths, dilations, strict=True)
        )
        self.bottom = ConvUnit(middle_channels, middle_channels, bottom)
        self.up = nn.ModuleList(
            ConvUnit(2 * middle_channels, width, dilation)
            for width, dilation in zip(widths[::-1], dilations[::-1], strict=True)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H, W)."""
        residual = self.enter(x)
        skips = descend(residual, self.down, _pool if self.pooled else nn.Identity())
        x = self.bottom(skips[-1])
        for unit in self.up:
            skip = skips.pop()
            x = unit(torch.cat([resize_bilinear(x, skip.shape[-2:]), skip], dim=1))
        return torch.add(x, residual)


class U2Net(nn.Module):
    """U2-Net with side outputs at En6 and De5 to De1, fused by a 1x1 convolution.

    Parameters
    ----------
    in_channels, out_channels : int
    encoder, decoder : sequence of Stage
        For example those of `FULL` and `LITE`.
    """

    def __init__(
        self, in_channels: int, out_channels: int, encoder: tuple[Stage, ...], decoder: tuple[Stage, ...]
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.multiple = 2 ** (len(encoder) - 1)
        inputs = [in_channels, *(stage.out for stage in encoder[:-1])]
        self.encoder = nn.ModuleList(
            ResidualU(width, stage.middle, stage.out, stage.height)
            for width, stage in zip(inputs, encoder, strict=True)
        )
        deeper_widths = [encoder[-1].out, *(stage.out for stage in decoder[:-1])]
        skip_widths = [stage.out for stage in encoder[-2::-1]]
        self.decoder = nn.ModuleList(
            ResidualU(deeper + skip, stage.middle, stage.out, stage.height)
            for deeper, skip, stage in zip(deeper_widths, skip_widths, decoder, strict=True)
        )
        side_widths = [encoder[-1].out, *(stage.out for stage in decoder)]
        self.sides = nn.ModuleList(nn.Conv2d(width, out_channels, 3, padding=1) for width in side_widths)
        self.fuse = nn.Conv2d(len(side_widths) * out_channels, out_channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Map images to seven logits in training mode: the fused ones first, then De1 to De5 and En6.

        In evaluation mode, map them to the sigmoid of the fused logits.
        """
        logits = self.logits(x)
        return logits if self.training else torch.sigmoid(logits[0])

    def logits(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return the seven logits of `forward` in both modes."""
        check_input(x, self.in_channels)
        size = x.shape[-2:]
        skips = descend(x, self.encoder, _pool)
        outputs = [skips.pop()]
        for block in self.decoder:
            skip = skips.pop()
            outputs.append(block(torch.cat([resize_bilinear(outputs[-1], skip.shape[-2:]), skip], dim=1)))
        sides = [resize_bilinear(side(output), size) for side, output in zip(self.sides, outputs, strict=True)][::-1]
        return [self.fuse(torch.cat(sides, dim=1)), *sides]


def _scale_widths(stages: tuple[Stage, ...], width: int) -> tuple[Stage, ...]:
    return tuple(
        Stage(stage.height, max(1, stage.middle * width // 64), max(1, stage.out * width // 64)) for stage in stages
    )


def u2net(in_channels: int, out_channels: int, width: int) -> U2Net:
    """Build the full U2-Net; `width` is the number of output channels of the first block, the others scale with it."""
    return U2Net(in_channels, out_channels, *(_scale_widths(stages, width) for stages in FULL))


def u2net_lite(in_channels: int, out_channels: int, width: int) -> U2Net:
    """Build the lite U2-Net; `width` is the number of output channels of each block, with a quarter inside."""
    return U2Net(in_channels, out_channels, *(_scale_widths(stages, width) for stages in LITE))
