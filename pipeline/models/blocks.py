"""The blocks of a U-Net: two 3x3 convolutions, plain or residual."""

from typing import NamedTuple

import torch
from torch import nn

from pipeline.models.attention import gates


class Style(NamedTuple):
    """What all blocks of a network have in common.

    Parameters
    ----------
    bias : bool
        Whether convolutions have a bias.
    residual : bool
        See `ResidualBlock`.
    attention : {'none', 'scse', 'eca'}
        Gate at the end of a plain block, and of the branch of a residual one; see `pipeline.models.attention`.
    """

    bias: bool
    residual: bool
    attention: str

    def block(self, in_channels: int, out_channels: int) -> nn.Module:
        """Build a block: (N, in_channels, H, W) to (N, out_channels, H, W)."""
        layers = [
            nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=self.bias),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=self.bias),
            nn.BatchNorm2d(out_channels),
        ]
        if not self.residual:
            return nn.Sequential(*layers, nn.ReLU(inplace=True), *gates(self.attention, out_channels))
        nn.init.zeros_(layers[-1].weight)  # type: ignore[arg-type]
        shortcut: nn.Module = nn.Identity()
        if in_channels != out_channels:
            shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, bias=self.bias), nn.BatchNorm2d(out_channels)
            )
        branch = nn.Sequential(*layers, *gates(self.attention, out_channels))
        return ResidualBlock(branch, shortcut, nn.ReLU(inplace=True))


class ResidualBlock(nn.Module):
    """activation(branch(x) + shortcut(x)): the block of ResNet-18.

    He, Zhang, Ren, Sun: Deep residual learning (CVPR 2016, arXiv 1512.03385), figure 2, shortcuts of kind B: the
    identity where the number of channels stays, else a 1x1 convolution with normalization. The branch ends with a
    normalization whose weights are 0 at first, so that the block starts as its shortcut (Goyal et al., arXiv
    1706.02677, section 5.1), and with a gate if there is one, before the sum (Hu et al., arXiv 1709.01507, figure 3).

    Parameters
    ----------
    branch, shortcut, activation : nn.Module
    """

    def __init__(self, branch: nn.Module, shortcut: nn.Module, activation: nn.Module) -> None:
        super().__init__()
        self.branch, self.shortcut, self.activation = branch, shortcut, activation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H, W)."""
        output: torch.Tensor = self.activation(self.branch(x) + self.shortcut(x))
        return output
