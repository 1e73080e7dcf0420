"""Upsampling that is fast on CPUs and on GPUs, with a gradient that is repeatable on both."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional


class DoublingConv(nn.ConvTranspose2d):
    """Transposed 2x2 convolution of stride 2: doubles height and width, (N, in, H, W) to (N, out, 2 H, 2 W).

    In bf16 on a CPU it is one matrix product, whose rows are put in place: the same products as those of oneDNN's
    transposed convolution, and with its gradient up to four times as fast.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 2, stride=2)

    def forward(self, x: torch.Tensor, output_size: list[int] | None = None) -> torch.Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, 2 H, 2 W)."""
        if x.dtype != torch.bfloat16 or not x.is_cpu or self.bias is None:
            return super().forward(x, output_size)
        samples, channels, height, width = x.shape
        pixels = x.permute(0, 2, 3, 1).reshape(-1, channels)
        # no copy for weights in channels-last format; columns: row and column within 2x2, then output channel
        weights = self.weight.permute(0, 2, 3, 1).reshape(channels, -1)
        products = torch.addmm(self.bias.repeat(4), pixels, weights)
        rows = products.view(samples, height, width, 2, 2, -1).transpose(2, 3)
        return rows.reshape(samples, 2 * height, 2 * width, -1).permute(0, 3, 1, 2)


def resize_bilinear(x: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Resize (N, C, H, W) to a (height, width), bilinearly: `interpolate` with ``align_corners=False``.

    Its gradient is repeatable on every device.
    """
    height, width = size
    if x.shape[-2:] == (height, width):
        return x
    if x.is_cpu:  # PyTorch's gradient is repeatable there, and the fastest
        return keep_format(functional.interpolate(x, size=(height, width), mode="bilinear", align_corners=False))
    resized: torch.Tensor = Bilinear.apply(x, height, width)  # type: ignore[no-untyped-call]
    return resized


def keep_format(upsampled: torch.Tensor) -> torch.Tensor:
    """Return a result of PyTorch's upsampling, whose gradient on a CPU is up to ten times as fast.

    The gradient of a concatenation is a part of the channels of a larger tensor. PyTorch's kernels for channels-last
    tensors refuse it, and copy it to the slower format and back, unless it is copied to a tensor of its own.
    """
    if upsampled.requires_grad and upsampled.is_cpu and upsampled.is_contiguous(memory_format=torch.channels_last):
        upsampled.register_hook(  # type: ignore[no-untyped-call]
            lambda gradient: gradient.contiguous(memory_format=torch.channels_last)
        )
    return upsampled


class Bilinear(torch.autograd.Function):
    """`resize_bilinear` with PyTorch's forward pass, and a backward pass of two matrix products.

    On a GPU PyTorch adds up the gradient in random order; in its deterministic mode it decomposes both passes into
    indexed reads and writes, which costs U2-Net a factor of 3.5. Two products with interpolation matrices are
    repeatable, read the gradient once, and wait for nothing. In bf16 the gradient is rounded twice, after each product,
    and not once. The matrices are kept, so that a CUDA graph, which is captured after some ordinary steps, finds them
    on the device.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, height: int, width: int) -> torch.Tensor:  # noqa: ANN401
        """Resize (N, C, H, W) to (N, C, height, width)."""
        ctx.input_size = x.shape[-2:]
        return torch.ops.aten.upsample_bilinear2d(x, [height, width], False)  # type: ignore[no-any-return]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:  # noqa: ANN401
        """Map the gradient of the output, (N, C, height, width), to that of the input."""
        samples, channels, height, _ = gradient.shape
        rows, columns = (
            interpolation_matrix(output_side, input_side, gradient.dtype, gradient.device)
            for output_side, input_side in zip(gradient.shape[-2:], ctx.input_size, strict=True)
        )
        if channels == 1 or gradient.stride(1) != 1:
            return rows.T @ (gradient @ columns), None, None
        # channels last, maybe a part of the channels (a gradient of `cat`): columns first, so that nothing is copied
        narrow = columns.T @ gradient.permute(0, 2, 3, 1)  # (N, height, input width, C)
        resized = rows.T @ narrow.reshape(samples, height, -1)
        return resized.view(samples, *ctx.input_size, channels).permute(0, 3, 1, 2), None, None


@cache
def interpolation_matrix(output_side: int, input_side: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Return the (output_side, input_side) weights of bilinear interpolation along one axis; pixels are areas."""
    positions = (torch.arange(output_side, dtype=torch.float64) + 0.5) * (input_side / output_side) - 0.5
    positions = positions.clamp(0.0, input_side - 1.0)  # borders are repeated
    distances = (positions[:, None] - torch.arange(input_side, dtype=torch.float64)).abs()
    return (1.0 - distances).clamp(min=0.0).to(dtype).to(device)
