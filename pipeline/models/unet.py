"""U-Net with batch normalization and padded convolutions: the output has the size of the input.

Ronneberger, Fischer, Brox: U-Net (MICCAI 2015), with padding 1 instead of unpadded convolutions, and batch
normalization after each convolution.
"""

import torch
from torch import nn

from pipeline.models.attention import gates
from pipeline.models.shapes import check_input, crop_to, descend, pad_to_multiple
from pipeline.models.upsampling import DoublingConv


class UNet(nn.Module):
    """U-Net with max-pooling, transposed 2x2 convolutions and concatenated skip connections.

    Parameters
    ----------
    in_channels, out_channels : int
    width : int
        Channels of the first block; each level below has twice as many.
    depth : int
        Number of levels, including the deepest.
    bias : bool
        Whether the 3x3 convolutions of the blocks have a bias (redundant with batch normalization).
    head_kernel : {1, 3}
        Kernel size of the last convolution, padded to keep the size.
    attention : {'none', 'scse'}
        Gate at the end of each block; see `pipeline.models.attention`.

    Notes
    -----
    Inputs are padded to multiples of ``2 ** (depth - 1)``, and the logits are cropped to the input size.
    """

    def __init__(
        self, in_channels: int, out_channels: int, width: int, depth: int, bias: bool, head_kernel: int, attention: str
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.multiple = 2 ** (depth - 1)

        def block(in_channels: int, out_channels: int) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=bias),
                nn.BatchNorm2d(out_channels),
                nn.ReLU(inplace=True),
                nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=bias),
                nn.BatchNorm2d(out_channels),
                nn.ReLU(inplace=True),
                *gates(attention, out_channels),
            )

        widths = [width * 2**level for level in range(depth)]
        in_widths = [in_channels, *widths[:-1]]
        self.down = nn.ModuleList(block(a, b) for a, b in zip(in_widths, widths, strict=True))
        self.pool = nn.MaxPool2d(2)
        pairs = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.grow = nn.ModuleList(DoublingConv(deep, shallow) for deep, shallow in pairs)
        self.up = nn.ModuleList(block(2 * shallow, shallow) for _, shallow in pairs)
        self.head = nn.Conv2d(width, out_channels, head_kernel, padding=head_kernel // 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map images to logits; see `pipeline.models.registry.build_model`."""
        check_input(x, self.in_channels)
        height, width = x.shape[-2:]
        *skips, x = descend(pad_to_multiple(x, self.multiple), self.down, self.pool)
        for upsample, block in zip(self.grow, self.up, strict=True):
            x = block(torch.cat([skips.pop(), upsample(x)], dim=1))
        return crop_to(self.head(x), height, width)
