"""Names of networks and where they are built: no import, so that a name can be looked up without torch."""

MODELS = {
    "unet": ("pipeline.models.unet", "UNet"),
    "unet-crop": ("pipeline.models.unet_crop", "UNetCrop"),
    "unet-original": ("pipeline.models.unet_plain", "unet_original"),
    "unet-small": ("pipeline.models.unet_plain", "unet_small"),
    "u2net": ("pipeline.models.u2net", "u2net"),
    "u2net-lite": ("pipeline.models.u2net", "u2net_lite"),
}
"""Name to module and class (or function) that takes ``in_channels, out_channels`` and its own keyword arguments."""
