"""Deep supervision of U-Nets: logits of the blocks of the decoder, which count in training only.

Lee, Xie, Gallagher, Zhang, Tu: Deeply-supervised nets (AISTATS 2015, arXiv 1409.5185); for U-Nets: nnU-Net (Isensee
et al., Nature Methods 2021), with equal weights and at the size of the image, as in U2-Net.
"""

from collections.abc import Iterable

from torch import nn


def side_heads(widths: Iterable[int], out_channels: int) -> nn.ModuleList:
    """Build the 1x1 convolutions that map the output of each block to logits of its size; none without `widths`."""
    return nn.ModuleList(nn.Conv2d(width, out_channels, 1) for width in widths)
