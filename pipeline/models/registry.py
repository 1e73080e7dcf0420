"""Build a network from its options; only its own module is imported."""

import importlib

from torch import nn

from pipeline.models.networks import Network


def build_model(network: Network, *, in_channels: int, out_channels: int) -> nn.Module:
    """Build a network.

    Parameters
    ----------
    network : Network
    in_channels, out_channels : int

    Returns
    -------
    nn.Module
        Maps (N, in_channels, H, W) float32 to (N, out_channels, H, W) logits, for any H and W from 32 up. Its
        attribute ``multiple`` is its total pooling stride in pixels: shifting the image by a multiple of it shifts the
        output. An input of another shape raises ValueError.
    """
    module, _, name = network.factory.rpartition(".")
    build = getattr(importlib.import_module(module), name)
    options = {field: getattr(network, field) for field in type(network).model_fields if field != "name"}
    model: nn.Module = build(in_channels=in_channels, out_channels=out_channels, **options)
    return model


def count_parameters(model: nn.Module) -> int:
    """Count the trainable parameters."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
