"""Gates that scale the output of a block by what it contains."""

import math
from collections.abc import Callable

import torch
from torch import nn


def _channel_means(x: torch.Tensor) -> torch.Tensor:
    """Return the means of (N, C, H, W) over all pixels, (N, C), with a gradient in channels-last format."""
    return x.permute(0, 2, 3, 1).mean((1, 2))


class SpatialChannelGate(nn.Module):
    """Concurrent spatial and channel squeeze and excitation (scSE), by addition.

    Roy, Navab, Wachinger (MICCAI 2018, arXiv 1803.02579), section 2: U s(W1 relu(W2 z)) + U s(w * U), where s is the
    logistic function, z the mean of U over all pixels, W1 and W2 fully connected layers with half as many channels
    between them, and w a 1x1 convolution to one channel. All have a bias.

    Parameters
    ----------
    channels : int
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = max(1, channels // 2)
        self.channel = nn.Sequential(nn.Linear(channels, squeezed), nn.ReLU(), nn.Linear(squeezed, channels))
        self.pixel = nn.Conv2d(channels, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scale (N, channels, H, W)."""
        return x * (torch.sigmoid(self.channel(_channel_means(x)))[..., None, None] + torch.sigmoid(self.pixel(x)))


class ChannelGate(nn.Module):
    """Efficient channel attention (ECA).

    Wang, Wu, Zhu, Li, Zuo, Hu (CVPR 2020, arXiv 1910.03151), eq. 5 and 12: U s(w * z), where s is the logistic
    function, z the mean of U over all pixels, and w a convolution along the channels, without a bias, of kernel size
    |log2(channels) / 2 + 1 / 2|, which is rounded down and then up to an odd number, as in the authors' code.

    Parameters
    ----------
    channels : int
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        kernel = int((math.log2(channels) + 1) / 2) | 1
        self.mix = nn.Conv1d(1, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scale (N, channels, H, W)."""
        return x * torch.sigmoid(self.mix(_channel_means(x)[:, None]))[:, 0, :, None, None]


_GATES: dict[str, Callable[[int], nn.Module]] = {"scse": SpatialChannelGate, "eca": ChannelGate}


def gates(attention: str, channels: int) -> list[nn.Module]:
    """Return the modules that follow a block: a gate, or none for ``'none'``."""
    return [] if attention == "none" else [_GATES[attention](channels)]
