"""U-Net with batch normalization and padded convolutions: output as large as the input.

Ronneberger, Fischer, Brox: U-Net (MICCAI 2015), with padding 1 in place of valid convolutions and batch
normalization after each of them.
"""

import torch
from torch import nn

from pipeline.models.shapes import check_input, crop_to, pad_to_multiple


class ConvBlock(nn.Sequential):
    """Twice: 3x3 convolution, batch normalization, ReLU.

    Parameters
    ----------
    in_channels, out_channels : int
    bias : bool
        Whether the convolutions have a bias (which the normalization makes redundant).
    """

    def __init__(self, in_channels: int, out_channels: int, bias: bool) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=bias),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=bias),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )


class UNet(nn.Module):
    """U-Net: max-pooling down, transposed 2x2 convolutions up, concatenated skips.

    Parameters
    ----------
    in_channels, out_channels : int
    width : int
        Channels of the first block; each level below has twice as many.
    depth : int
        Levels, the deepest included.
    bias : bool
        Whether the 3x3 convolutions of the blocks have a bias.
    head_kernel : {1, 3}
        Kernel of the last convolution, padded to keep the size.

    Notes
    -----
    Sizes that are no multiple of ``2 ** (depth - 1)`` are padded inside and cropped back.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        width: int,
        depth: int,
        bias: bool,
        head_kernel: int,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        widths = [width * 2**level for level in range(depth)]
        inputs = [in_channels, *widths[:-1]]
        self.down = nn.ModuleList(ConvBlock(a, b, bias) for a, b in zip(inputs, widths, strict=True))
        self.pool = nn.MaxPool2d(2)
        pairs = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.grow = nn.ModuleList(nn.ConvTranspose2d(below, here, 2, stride=2) for below, here in pairs)
        self.up = nn.ModuleList(ConvBlock(2 * here, here, bias) for _, here in pairs)
        self.head = nn.Conv2d(width, out_channels, head_kernel, padding=head_kernel // 2)
        self.multiple = 2 ** (depth - 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map a picture to logits.

        Parameters
        ----------
        x : (N, in_channels, H, W) float32
            H and W from 32 up.

        Returns
        -------
        (N, out_channels, H, W) float32

        Raises
        ------
        ValueError
            For another shape.
        """
        check_input(x, self.in_channels)
        height, width = x.shape[-2:]
        x = pad_to_multiple(x, self.multiple)
        skips: list[torch.Tensor] = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else self.pool(x))
            skips.append(x)
        skips.pop()
        for grow, block in zip(self.grow, self.up, strict=True):
            x = block(torch.cat([skips.pop(), grow(x)], dim=1))
        logits: torch.Tensor = self.head(x)
        return crop_to(logits, height, width)
