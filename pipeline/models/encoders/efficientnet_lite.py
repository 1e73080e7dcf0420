"""EfficientNet-Lite0 without its classifier: the features of five levels, for images normalized for it.

Tan, Le: EfficientNet (ICML 2019), table 1; the Lite variant (Google, 2020) has no squeeze-and-excitation, ReLU6 in
place of Swish, and a stem and last block of fixed width. Strided convolutions are padded as in TensorFlow, from which
the published weights come.
"""

import torch
from torch import nn
from torch.nn import functional

CHANNELS = (16, 24, 40, 112, 320)
"""Channels of the features with strides 2, 4, 8, 16 and 32."""

_STAGES = (
    # blocks, kernel, stride, expansion, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_LEVEL_ENDS = (0, 1, 2, 4, 6)  # the last stage of each level


class EfficientNetLite0(nn.Module):
    """The features of EfficientNet-Lite0.

    Parameters
    ----------
    in_channels : int
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.channels, self.first_stride = CHANNELS, 2
        self.mean, self.std = (127 / 255,) * 3, (128 / 255,) * 3  # of the Lite variants; the others have ImageNet's
        self.stem = _Unit(in_channels, 32, 3, stride=2)
        stages, width = [], 32
        for blocks, kernel, stride, expansion, channels in _STAGES:
            stage = []
            for number in range(blocks):
                stage.append(_Block(width, channels, kernel, stride if number == 0 else 1, expansion))
                width = channels
            stages.append(nn.Sequential(*stage))
        self.stages = nn.ModuleList(stages)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Map (N, in_channels, H, W), H and W multiples of 32, to features of strides 2, 4, 8, 16 and 32."""
        x, features = self.stem(x), []
        for number, stage in enumerate(self.stages):
            x = stage(x)
            if number in _LEVEL_ENDS:
                features.append(x)
        return features


class _Unit(nn.Sequential):
    """Convolution without bias, batch normalization and, unless linear, ReLU6."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1, linear: bool = False
    ) -> None:
        super().__init__(
            _SameConv(in_channels, out_channels, kernel, stride, groups=groups, bias=False),
            nn.BatchNorm2d(out_channels, eps=1e-3),
            *(() if linear else (nn.ReLU6(inplace=True),)),
        )


class _SameConv(nn.Conv2d):
    """Convolution with TensorFlow's padding: with stride 2, an even size gets one pixel less before than after.

    On a CPU, depthwise convolutions are in float32 also in a bf16 training: their gradients are slower in bf16.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, in, H, W), with even H and W for stride 2, to (N, out, H / stride, W / stride)."""
        if self.groups > 1 and x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            with torch.autocast("cpu", enabled=False):
                return self._convolve(x.float())
        return self._convolve(x)

    def _convolve(self, x: torch.Tensor) -> torch.Tensor:
        lost = self.kernel_size[0] - self.stride[0]
        before, after = lost // 2, lost - lost // 2
        if before == after:
            return functional.conv2d(x, self.weight, None, self.stride, before, self.dilation, self.groups)
        return super().forward(functional.pad(x, (before, after, before, after)))


class _Block(nn.Module):
    """Inverted residual block: expansion, depthwise convolution, linear projection; the input is added if it fits."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = in_channels * expansion
        self.expand = _Unit(in_channels, width, 1) if expansion > 1 else nn.Identity()
        self.depthwise = _Unit(width, width, kernel, stride, groups=width)
        self.project = _Unit(width, out_channels, 1, linear=True)
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H / stride, W / stride)."""
        result: torch.Tensor = self.project(self.depthwise(self.expand(x)))
        return torch.add(result, x) if self.residual else result


def published_names(names: list[str]) -> dict[str, str]:
    """Return the name in the published weights of each parameter and statistic of `EfficientNetLite0`."""
    parts = {"stem.0": "_conv_stem", "stem.1": "_bn0"}
    number = 0
    for stage, (blocks, *_, expansion, _) in enumerate(_STAGES):
        for block in range(blocks):
            units = {"expand": ("_expand_conv", "_bn0")} if expansion > 1 else {}
            units |= {"depthwise": ("_depthwise_conv", "_bn1"), "project": ("_project_conv", "_bn2")}
            for unit, published in units.items():
                for index, part in enumerate(published):
                    parts[f"stages.{stage}.{block}.{unit}.{index}"] = f"_blocks.{number}.{part}"
            number += 1
    split = ((name, *name.rsplit(".", 1)) for name in names)
    return {name: f"{parts[module]}.{kind}" for name, module, kind in split}
