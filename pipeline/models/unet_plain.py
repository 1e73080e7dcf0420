"""U-Nets without normalization: nearest upsampling without a convolution, concatenated skips, a 1x1 head.

Ronneberger, Fischer, Brox: U-Net (MICCAI 2015); upsampling by repetition where the paper has an up-convolution.
"""

import torch
from torch import nn

from pipeline.models.shapes import centre_crop, check_input, crop_to, descend, mirror_pad, pad_to_multiple


class PlainUNet(nn.Module):
    """U-Net of biased 3x3 convolutions with ReLU, padded or valid.

    Parameters
    ----------
    in_channels, out_channels : int
    widths : sequence of int
        Channels of the levels, from the top down.
    padded : bool
        With padded convolutions every level keeps its size. With valid ones each convolution takes a pixel from
        every side and the skips are cropped, as in the paper.

    Notes
    -----
    Weights start as Glorot and Bengio (AISTATS 2010), eq. 16, have it, biases at 0: Keras' defaults, which the
    published recipe of the small network relies on.

    `forward` gives logits as large as the input, whatever the kind: padded networks fill sizes up to a multiple of
    ``2 ** (levels - 1)``; valid ones see the image mirrored at its borders. `valid_forward` is the paper's own
    mapping, such as 572 x 572 to 388 x 388.
    """

    def __init__(self, in_channels: int, out_channels: int, widths: tuple[int, ...], padded: bool) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.padded = padded
        self.multiple = 2 ** (len(widths) - 1)

        def pair(before: int, after: int) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv2d(before, after, 3, padding=int(padded)),
                nn.ReLU(inplace=True),
                nn.Conv2d(after, after, 3, padding=int(padded)),
                nn.ReLU(inplace=True),
            )

        self.down = nn.ModuleList(pair(a, b) for a, b in zip((in_channels, *widths[:-1]), widths, strict=True))
        pairs = zip(widths[:0:-1], widths[-2::-1], strict=True)
        self.up = nn.ModuleList(pair(below + here, here) for below, here in pairs)
        self.head = nn.Conv2d(widths[0], out_channels, 1)
        self.pool = nn.MaxPool2d(2)
        self.grow = nn.Upsample(scale_factor=2, mode="nearest")
        for module in self.modules():  # without normalization much hangs on where it starts
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
        """Map images whose size fits the pooling; valid convolutions make them smaller (572 to 388)."""
        *skips, x = descend(x, self.down, self.pool)
        for block in self.up:
            x = self.grow(x)
            x = block(torch.cat([centre_crop(skips.pop(), *x.shape[-2:]), x], dim=1))
        logits: torch.Tensor = self.head(x)
        return logits

    def margins(self, side: int) -> tuple[int, int]:
        """Return how far a side is mirrored before and behind, so that valid convolutions give it back whole."""
        lost = 4 * (self.multiple - 1)  # by the convolutions on the way up, in pixels of the output
        bottom = -(-(side + lost) // self.multiple)
        needed = self.multiple * (bottom + 4) + lost
        given = self.multiple * bottom - lost
        before = (needed - given) // 2
        return before, needed - side - before


def unet_original(in_channels: int, out_channels: int, width: int, depth: int) -> PlainUNet:
    """Build the paper's network: valid convolutions; `width` is doubled at each of `depth` levels below the first."""
    return PlainUNet(in_channels, out_channels, tuple(width * 2**level for level in range(depth)), padded=False)


def unet_small(in_channels: int, out_channels: int, widths: tuple[int, ...]) -> PlainUNet:
    """Build the small padded network."""
    return PlainUNet(in_channels, out_channels, widths, padded=True)
