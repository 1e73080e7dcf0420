"""U-Nets without normalization: nearest-neighbour upsampling, concatenated skip connections, a 1x1 head.

Ronneberger, Fischer, Brox: U-Net (MICCAI 2015), with nearest-neighbour upsampling instead of up-convolutions.
"""

import torch
from torch import nn

from pipeline.models.shapes import (
    centre_crop,
    check_input,
    crop_to,
    descend,
    mirror_pad,
    pad_to_multiple,
    valid_margins,
)
from pipeline.models.upsampling import keep_format


class PlainUNet(nn.Module):
    """U-Net of 3x3 convolutions with bias and ReLU, padded or valid.

    Parameters
    ----------
    in_channels, out_channels : int
    widths : sequence of int
        Channels of each level, the shallowest first.
    padded : bool
        Padded convolutions keep the size of each level. Valid convolutions remove one pixel at each side, and the skip
        connections are cropped, as in the paper.

    Notes
    -----
    Weights are initialized by Glorot and Bengio (AISTATS 2010), eq. 16, and biases with 0. These are the defaults of
    Keras, with which the small network was published.

    `forward` returns logits of the size of the input. Padded networks pad the input to a multiple of
    ``2 ** (levels - 1)``; valid networks pad it by reflection. `valid_forward` is the mapping of the paper, such as
    572 x 572 to 388 x 388.
    """

    def __init__(self, in_channels: int, out_channels: int, widths: tuple[int, ...], padded: bool) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.padded = padded
        self.multiple = 2 ** (len(widths) - 1)

        def double_conv(in_channels: int, out_channels: int) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 3, padding=int(padded)),
                nn.ReLU(inplace=True),
                nn.Conv2d(out_channels, out_channels, 3, padding=int(padded)),
                nn.ReLU(inplace=True),
            )

        self.down = nn.ModuleList(double_conv(a, b) for a, b in zip((in_channels, *widths[:-1]), widths, strict=True))
        pairs = zip(widths[:0:-1], widths[-2::-1], strict=True)
        self.up = nn.ModuleList(double_conv(deep + shallow, shallow) for deep, shallow in pairs)
        self.head = nn.Conv2d(widths[0], out_channels, 1)
        self.pool = nn.MaxPool2d(2)
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")
        for module in self.modules():  # without normalization training is sensitive to the initialization
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map images to logits; see `pipeline.models.registry.build_model`."""
        check_input(x, self.in_channels)
        height, width = x.shape[-2:]
        if self.padded:
            x = pad_to_multiple(x, self.multiple)
        else:
            x = mirror_pad(x, self.margins(height), self.margins(width))
        return crop_to(self.valid_forward(x), height, width)

    def valid_forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map images whose height and width stay even at every pooling to logits; unpadded convolutions shrink them."""
        *skips, x = descend(x, self.down, self.pool)
        for block in self.up:
            x = keep_format(self.upsample(x))
            x = block(torch.cat([centre_crop(skips.pop(), *x.shape[-2:]), x], dim=1))
        logits: torch.Tensor = self.head(x)
        return logits

    def margins(self, side: int) -> tuple[int, int]:
        """Return the reflection padding before and after a side, so that the output of the network covers it."""
        return valid_margins(side, self.multiple)


def unet_original(in_channels: int, out_channels: int, width: int, depth: int) -> PlainUNet:
    """Build the network of the paper: unpadded convolutions, `depth` levels, `width` channels doubled at each level."""
    return PlainUNet(in_channels, out_channels, tuple(width * 2**level for level in range(depth)), padded=False)


def unet_small(in_channels: int, out_channels: int, widths: tuple[int, ...]) -> PlainUNet:
    """Build the small padded network."""
    return PlainUNet(in_channels, out_channels, widths, padded=True)
