"""The networks that there are: their options, and where each is built. No import of torch."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from pipeline.core.options import NUMBER, Options, Positive, one_of

Width = Annotated[int, Field(ge=1, le=512, description="Channels of the first block; deeper ones follow it"), NUMBER]
Widths = Annotated[tuple[Positive, ...], Field(min_length=2, max_length=7, description="Channels of each level")]


class Network(Options):
    """A network, told by its word `name`; its other fields are keyword arguments of what builds it."""

    factory: ClassVar[str]
    """Module and name of the class or function that takes ``in_channels``, ``out_channels`` and the options."""

    name: str

    def modules(self) -> set[str]:
        """Name the module that builds it."""
        return {self.factory.rpartition(".")[0]}


class UNet(Network):
    """Batch-normalised U-Net with padded convolutions."""

    factory: ClassVar = "pipeline.models.unet.UNet"
    name: Literal["unet"]
    width: Width = 64
    depth: Annotated[int, Field(ge=2, le=7, description="Levels, the deepest included"), NUMBER] = 5
    bias: bool = True
    head_kernel: Literal[1, 3] = 3


class UNetOriginal(Network):
    """The U-Net of the paper: valid convolutions, cropped skips; the image is mirrored at its borders."""

    factory: ClassVar = "pipeline.models.unet_plain.unet_original"
    name: Literal["unet-original"]
    width: Width = 64
    depth: Annotated[int, Field(ge=2, le=6, description="Levels, the deepest included"), NUMBER] = 5


class UNetSmall(Network):
    """Small U-Net with padded convolutions and without normalization."""

    factory: ClassVar = "pipeline.models.unet_plain.unet_small"
    name: Literal["unet-small"]
    widths: Widths = (32, 32, 64, 128, 256)


class UNetCrop(Network):
    """U-Net with unpadded convolutions, centre-cropped skips and an interpolated output."""

    factory: ClassVar = "pipeline.models.unet_crop.UNetCrop"
    name: Literal["unet-crop"]
    widths: Widths = (16, 32, 64)


class U2Net(Network):
    """U2-Net: nested Us with side outputs, all of which the loss supervises."""

    factory: ClassVar = "pipeline.models.u2net.u2net"
    name: Literal["u2net"]
    width: Width = 64


class U2NetLite(Network):
    """U2-Net whose blocks all have the same width."""

    factory: ClassVar = "pipeline.models.u2net.u2net_lite"
    name: Literal["u2net-lite"]
    width: Width = 64


NETWORKS: tuple[type[Network], ...] = (UNet, UNetOriginal, UNetSmall, UNetCrop, U2Net, U2NetLite)

if TYPE_CHECKING:
    AnyNetwork = Network
else:
    AnyNetwork = one_of(NETWORKS, "name")
