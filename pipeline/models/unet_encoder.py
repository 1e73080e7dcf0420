"""U-Net whose contracting path is an image model, which may be trained on other images before."""

import importlib

import torch
from torch import nn

from pipeline.models.attention import gates
from pipeline.models.encoders.registry import TIMM, factory
from pipeline.models.shapes import check_input, crop_to, pad_to_multiple
from pipeline.models.u2net import ConvUnit
from pipeline.models.upsampling import DoublingConv

_NARROWEST = 16  # channels


class UNetEncoder(nn.Module):
    """U-Net with an image model as encoder, and transposed 2x2 convolutions and batch normalization in the decoder.

    Parameters
    ----------
    in_channels, out_channels : int
    encoder : str
        ``'efficientnet-lite0'``, or the name of a model of timm after ``timm:``.
    width : int
        Channels of the deepest block of the decoder; each block above has half as many.
    attention : {'none', 'scse'}
        Gate at the end of each block of the decoder; see `pipeline.models.attention`.

    Notes
    -----
    The encoder gets the input, which should be in [0, 1], with the mean and the standard deviation of its training.
    Inputs are padded to multiples of the largest stride, and the logits are cropped to the input size.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, in_channels: int, out_channels: int, encoder: str, width: int, attention: str) -> None:
        super().__init__()
        self.in_channels = in_channels
        module, _, name = factory(encoder).rpartition(".")
        build = getattr(importlib.import_module(module), name)
        self.encoder = build(in_channels, encoder) if encoder.startswith(TIMM) else build(in_channels)
        channels = self.encoder.channels
        for key in ("mean", "std"):  # of an encoder for colours, grey and other images get the average
            values = torch.tensor(getattr(self.encoder, key))
            values = values if in_channels == len(values) else values.mean().repeat(in_channels)
            self.register_buffer(key, values[:, None, None], persistent=False)
        skips = [*channels[-2::-1], *[0] * (self.encoder.first_stride.bit_length() - 1)]
        self.multiple = self.encoder.first_stride * 2 ** (len(channels) - 1)
        widths = [max(_NARROWEST, width // 2**level) for level in range(len(skips))]
        deeper = [channels[-1], *widths[:-1]]
        self.grow = nn.ModuleList(DoublingConv(a, b) for a, b in zip(deeper, widths, strict=True))
        self.up = nn.ModuleList(
            nn.Sequential(ConvUnit(skip + own, own), ConvUnit(own, own), *gates(attention, own))
            for skip, own in zip(skips, widths, strict=True)
        )
        self.head = nn.Conv2d(widths[-1], out_channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map images to logits; see `pipeline.models.registry.build_model`."""
        check_input(x, self.in_channels)
        height, width = x.shape[-2:]
        *skips, x = self.encoder((pad_to_multiple(x, self.multiple) - self.mean) / self.std)
        for upsample, block in zip(self.grow, self.up, strict=True):
            x = upsample(x)
            x = block(torch.cat([skips.pop(), x], dim=1) if skips else x)
        return crop_to(self.head(x), height, width)
