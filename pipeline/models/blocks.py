"""The blocks of a U-Net: two 3x3 convolutions, plain or residual."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import nn

from pipeline.models.attention import gates

_GROUP = 8  # channels, at least: with fewer in a group errors rise, up to those of instance normalization (table 3)


class Activation(NamedTuple):
    """A function between convolutions.

    Parameters
    ----------
    module : callable
    moment : float
        Mean square of its values of standard normal numbers.
    """

    module: Callable[[], nn.Module]
    moment: float


ACTIVATIONS = {"relu": Activation(partial(nn.ReLU, inplace=True), 0.5), "silu": Activation(nn.SiLU, 0.35578)}
"""Activations by name: ReLU, and SiLU, x / (1 + exp(-x)) (Elfwing, Uchibe, Doya, arXiv 1702.03118, eq. 7)."""


class Style(NamedTuple):
    """What all blocks of a network have in common.

    Parameters
    ----------
    bias : bool
        Whether convolutions have a bias.
    norm : {'batch', 'group', 'none'}
        See `normalization`. Without it, convolutions start with weights that keep the size of activations: see
        `he_normal`.
    activation : {'relu', 'silu'}
        See `ACTIVATIONS`.
    residual : bool
        See `ResidualBlock`.
    attention : {'none', 'scse', 'eca'}
        Gate at the end of a plain block, and of the branch of a residual one; see `pipeline.models.attention`.
    """

    bias: bool
    norm: str
    activation: str
    residual: bool
    attention: str

    def block(self, in_channels: int, out_channels: int) -> nn.Module:
        """Build a block: (N, in_channels, H, W) to (N, out_channels, H, W)."""
        layers = [
            *self._convolution(in_channels, out_channels, 3),
            ACTIVATIONS[self.activation].module(),
            *self._convolution(out_channels, out_channels, 3),
        ]
        activation = ACTIVATIONS[self.activation].module()
        if not self.residual:
            return nn.Sequential(*layers, activation, *gates(self.attention, out_channels))
        last = layers[-2 if self.norm == "none" else -1]
        nn.init.zeros_(last.weight)  # type: ignore[arg-type]
        same = in_channels == out_channels
        shortcut = nn.Identity() if same else nn.Sequential(*self._convolution(in_channels, out_channels, 1))
        branch = nn.Sequential(*layers, *gates(self.attention, out_channels))
        return ResidualBlock(branch, shortcut, activation)

    def _convolution(self, in_channels: int, out_channels: int, kernel: int) -> tuple[nn.Module, nn.Module]:
        """Build a convolution that keeps the size, and its normalization."""
        convolution = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=self.bias)
        if self.norm == "none":
            he_normal(convolution, in_channels * kernel**2, ACTIVATIONS[self.activation].moment)
        return convolution, normalization(self.norm, out_channels)


def normalization(norm: str, channels: int) -> nn.Module:
    """Build a normalization: ``'batch'``, ``'group'`` or ``'none'``.

    Wu, He: Group normalization (ECCV 2018, arXiv 1803.08494). There are 32 groups, as in the paper, or fewer, so that
    each has the same number of channels, at least 8: one group of 8 or 12 channels, 2 of 16, 32 of 256 or 512.
    """
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    if norm == "none":
        return nn.Identity()
    groups = [count for count in range(1, 33) if channels % count == 0 and channels // count >= _GROUP]
    return nn.GroupNorm(max(groups, default=1), channels)


def he_normal(convolution: nn.Conv2d | nn.ConvTranspose2d, fan_in: int, moment: float) -> None:
    """Initialize a convolution so that it keeps the variance of activations, and its bias with 0.

    He, Zhang, Ren, Sun: Delving deep into rectifiers (ICCV 2015, arXiv 1502.01852), eq. 10: weights are normal with
    variance 1 / (fan_in moment).

    Parameters
    ----------
    fan_in : int
        Number of products in an output value.
    moment : float
        Mean square of the inputs over the variance of what they were before their activation.
    """
    nn.init.normal_(convolution.weight, std=(fan_in * moment) ** -0.5)
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)


class ResidualBlock(nn.Module):
    """activation(branch(x) + shortcut(x)): the block of ResNet-18.

    He, Zhang, Ren, Sun: Deep residual learning (CVPR 2016, arXiv 1512.03385), figure 2, shortcuts of kind B: the
    identity where the number of channels stays, else a 1x1 convolution with normalization. The branch ends with a
    normalization, or without any its last convolution, whose weights are 0 at first, so that the block starts as its
    shortcut (Goyal et al., arXiv 1706.02677, section 5.1). A gate, if there is one, comes before the sum (Hu et al.,
    arXiv 1709.01507, figure 3).

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
