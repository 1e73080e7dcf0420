"""Encoders by name. Does not import torch."""

TIMM = "timm:"
"""Prefix of the names of encoders that the library timm builds."""


def factory(encoder: str) -> str:
    """Return the dotted name of the class that builds an encoder."""
    module = "timm_encoder.TimmEncoder" if encoder.startswith(TIMM) else "efficientnet_lite.EfficientNetLite0"
    return f"pipeline.models.encoders.{module}"
