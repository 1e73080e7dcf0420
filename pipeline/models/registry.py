"""Build a network by name, without importing the others."""

import importlib
from collections.abc import Mapping
from typing import Any

from torch import nn

from pipeline.core.errors import CheckpointError, Problem
from pipeline.models.names import MODELS


def build_model(name: str, *, in_channels: int, out_channels: int, options: Mapping[str, Any]) -> nn.Module:
    """Build a network by name.

    Parameters
    ----------
    name : str
        A key of `pipeline.models.names.MODELS`.
    in_channels, out_channels : int
    options : mapping
        Keyword arguments of the class.

    Returns
    -------
    nn.Module
        Maps (N, in_channels, H, W) float32 to (N, out_channels, H, W) logits, for any H and W from 32 up. Its
        attribute ``multiple`` is the step of its deepest pooling in pixels: moved by it, a picture pools alike.

    Raises
    ------
    CheckpointError
        If no network has that name.
    """
    if name not in MODELS:
        raise CheckpointError(
            Problem(f"model {name!r}", "an unknown name", f"one of {', '.join(sorted(MODELS))}", "correct `model.name`")
        )
    module, attribute = MODELS[name]
    network = getattr(importlib.import_module(module), attribute)
    model: nn.Module = network(in_channels=in_channels, out_channels=out_channels, **options)
    return model


def count_parameters(model: nn.Module) -> int:
    """Count the trainable parameters."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
