"""Registry of networks: the options and the factory of each. Does not import torch."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from pipeline.core.options import NUMBER, OMIT_DEFAULT, Options, tagged_union
from pipeline.models.encoders.registry import factory as encoder_factory

Width = Annotated[
    int, Field(ge=1, le=512, description="Number of channels of the first block; deeper blocks scale with it."), NUMBER
]
Widths = Annotated[
    tuple[Annotated[int, Field(ge=1, le=4096), NUMBER], ...],
    Field(min_length=2, max_length=7, description="Number of channels of each level, 2 to 7 levels, top level first."),
]
Attention = Annotated[
    Literal["none", "scse"],
    Field(
        description="Gates at the end of each block (of `unet-encoder`, of the decoder): `scse`, one for each pixel "
        "and one for each channel, summed (arXiv 1803.02579)."
    ),
    OMIT_DEFAULT,
]
_NAME = Field(description="Network architecture.")


class Network(Options):
    """A network, identified by `name`; its other fields are keyword arguments of its factory."""

    factory: ClassVar[str]
    """Dotted name of the class or function that takes ``in_channels``, ``out_channels`` and the options."""

    encoder_parts: ClassVar[tuple[str, ...]] = ("down",)
    """Submodules that are the encoder: its weights have names that start with one of them and a dot."""

    name: str

    def in_encoder(self, weight: str) -> bool:
        """Return whether a weight or running statistic, by its name in the network, belongs to the encoder."""
        return weight.partition(".")[0] in self.encoder_parts

    @property
    def fixed_size(self) -> bool:
        """Whether predictions are right only for images of the size of the training samples."""
        return False

    def modules(self) -> set[str]:
        """Return the module of the factory."""
        return {self.factory.rpartition(".")[0]}


class UNet(Network):
    """U-Net with batch normalization and padded convolutions."""

    factory: ClassVar = "pipeline.models.unet.UNet"
    name: Literal["unet"] = _NAME
    width: Width = 64
    depth: Annotated[int, Field(ge=2, le=7, description="Number of levels, including the deepest."), NUMBER] = 5
    bias: bool = Field(
        True, description="Whether the 3x3 convolutions have a bias, which is redundant with batch normalization."
    )
    head_kernel: Literal[1, 3] = Field(3, description="Kernel size of the output convolution in pixels.")
    attention: Attention = "none"


class UNetOriginal(Network):
    """The U-Net of the paper: unpadded convolutions, cropped skip connections; the image is mirrored at its borders."""

    factory: ClassVar = "pipeline.models.unet_plain.unet_original"
    name: Literal["unet-original"] = _NAME
    width: Width = 64
    depth: Annotated[int, Field(ge=2, le=6, description="Number of levels, including the deepest."), NUMBER] = 5


class UNetSmall(Network):
    """Small U-Net with padded convolutions and without normalization."""

    factory: ClassVar = "pipeline.models.unet_plain.unet_small"
    name: Literal["unet-small"] = _NAME
    widths: Widths = (32, 32, 64, 128, 256)


class UNetCrop(Network):
    """U-Net with unpadded convolutions and centre-cropped skip connections."""

    factory: ClassVar = "pipeline.models.unet_crop.UNetCrop"
    name: Literal["unet-crop"] = _NAME
    widths: Widths = (16, 32, 64)
    padding: Literal["stretch", "mirror"] = Field(
        "stretch",
        description="`stretch`, as published: the output, the centre of the image, is stretched to its size, for "
        "images of one size. `mirror`: images are mirrored at their borders, and nothing is stretched.",
    )

    @property
    def fixed_size(self) -> bool:
        """Whether the output is stretched: where a pixel of it lies depends on the size of the image."""
        return self.padding == "stretch"


class U2Net(Network):
    """U2-Net: nested U-Nets with side outputs and deep supervision."""

    factory: ClassVar = "pipeline.models.u2net.u2net"
    encoder_parts: ClassVar = ("encoder",)
    name: Literal["u2net"] = _NAME
    width: Width = 64


class U2NetLite(Network):
    """U2-Net with the same number of channels in all blocks."""

    factory: ClassVar = "pipeline.models.u2net.u2net_lite"
    encoder_parts: ClassVar = ("encoder",)
    name: Literal["u2net-lite"] = _NAME
    width: Width = Field(64, description="Number of output channels of every block.")


class UNetEncoder(Network):
    """U-Net whose contracting path is an image model: EfficientNet-Lite0, or a model of timm."""

    factory: ClassVar = "pipeline.models.unet_encoder.UNetEncoder"
    encoder_parts: ClassVar = ("encoder",)
    name: Literal["unet-encoder"] = _NAME
    encoder: str = Field(
        "efficientnet-lite0",
        pattern=r"^(efficientnet-lite0|timm:[A-Za-z0-9_.-]+)$",
        description="Image model: `efficientnet-lite0`, or `timm:` and the name of a model of the library timm.",
    )
    width: Width = Field(256, description="Number of channels of the deepest block of the decoder; the others follow.")
    attention: Attention = "none"

    def modules(self) -> set[str]:
        """Return the modules of the factory and of the encoder."""
        return {*super().modules(), encoder_factory(self.encoder).rpartition(".")[0]}


NETWORKS: tuple[type[Network], ...] = (UNet, UNetOriginal, UNetSmall, UNetCrop, U2Net, U2NetLite, UNetEncoder)

if TYPE_CHECKING:
    AnyNetwork = Network
else:
    AnyNetwork = tagged_union(NETWORKS, "name")
