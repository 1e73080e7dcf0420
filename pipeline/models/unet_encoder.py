"""U-Net whose contracting path is an image model, which may be trained on other images before."""

import importlib
from itertools import zip_longest

import torch
from torch import nn

from pipeline.models.attention import gates
from pipeline.models.encoders.registry import TIMM, factory
from pipeline.models.shapes import check_input, crop_to, pad_to_multiple
from pipeline.models.side_outputs import side_heads
from pipeline.models.u2net import ConvUnit
from pipeline.models.upsampling import DoublingConv, resize_bilinear

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
    deep_supervision : bool
        Whether there are side outputs in training: 1x1 convolutions of the blocks of the decoder.

    Notes
    -----
    The encoder gets the input, which should be in [0, 1], with the mean and the standard deviation of its training.
    Inputs are padded to multiples of the largest stride, and the logits are cropped to the input size.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self, in_channels: int, out_channels: int, encoder: str, width: int, attention: str, deep_supervision: bool
    ) -> None:
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
        self.sides = side_heads(widths[:-1] if deep_supervision else [], out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map images to logits; see `pipeline.models.registry.build_model`."""
        return self.logits(x)[0]

    def logits(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return the logits, and in training mode those of all side outputs after them, the shallowest first."""
        check_input(x, self.in_channels)
        image_size = x.shape[-2:]
        x = pad_to_multiple(x, self.multiple)
        padded_size, sides = x.shape[-2:], list[torch.Tensor]()
        *skips, x = self.encoder((x - self.mean) / self.std)
        for upsample, block, side in zip_longest(self.grow, self.up, self.sides):
            x = upsample(x)
            x = block(torch.cat([skips.pop(), x], dim=1) if skips else x)
            if side is not None and self.training:
                sides.append(resize_bilinear(side(x), padded_size))
        return [crop_to(logits, *image_size) for logits in (self.head(x), *sides[::-1])]
