"""A gate that scales the output of a block by what it contains."""

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


def gates(attention: str, channels: int) -> list[nn.Module]:
    """Return the modules that follow a block: a gate, or none for ``'none'``."""
    return [] if attention == "none" else [SpatialChannelGate(channels)]
