"""Encoders of the library timm: the features of each level of an image model."""

import torch
from torch import nn

from pipeline.core.errors import ConfigError
from pipeline.models.encoders.registry import TIMM


class TimmEncoder(nn.Module):
    """The features of a model of timm, without its classifier.

    Parameters
    ----------
    in_channels : int
    name : str
        The name in timm, after ``timm:``.

    Raises
    ------
    ConfigError
        If timm is not installed, has no such model, or its features do not halve in size from level to level.
    """

    def __init__(self, in_channels: int, name: str) -> None:
        super().__init__()
        where = f"encoder {name!r}"
        try:
            import timm
        except ImportError as error:
            raise ConfigError(
                where, "no package timm", "the package, which builds the encoder", "pip install timm"
            ) from error
        try:
            self.model = timm.create_model(
                name.removeprefix(TIMM), features_only=True, pretrained=False, in_chans=in_channels
            )
        except (RuntimeError, TypeError, AttributeError, ValueError) as error:
            found, expected = (
                " ".join(str(error).split())[:160],
                "a model of timm that gives features of several levels",
            )
            raise ConfigError(where, found, expected, "choose one of `timm.list_models()`, such as resnet18") from error
        self.channels: tuple[int, ...] = tuple(self.model.feature_info.channels())
        strides = list(self.model.feature_info.reduction())
        if strides != [strides[0] * 2**level for level in range(len(strides))] or strides[0] not in (1, 2, 4):
            expected = "features of halved size from level to level, the first at stride 1, 2 or 4"
            raise ConfigError(where, f"features of strides {strides}", expected, "choose another model")
        self.first_stride: int = strides[0]
        config = self.model.default_cfg if hasattr(self.model, "default_cfg") else self.model.pretrained_cfg
        self.mean, self.std = tuple(config["mean"]), tuple(config["std"])

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Map (N, in_channels, H, W) to the features of each level, the largest first."""
        features: list[torch.Tensor] = self.model(x)
        return features
