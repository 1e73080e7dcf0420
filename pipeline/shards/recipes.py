"""Settings of a shard: how images are resized, normalized and stored."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.core.options import HeightWidth, Options, Rate, Real, Shorthand
from pipeline.raw.decode.options import DecodeOptions
from pipeline.raw.recipes import Channels, NormalizeMethod, Storage
from pipeline.raw.source import Source

Interpolation = Literal["area", "linear"]
MaskResize = Literal["nearest", "area"]
Size = Literal["native"] | HeightWidth


class Normalize(Options):
    """Normalization of images for the network."""

    method: NormalizeMethod = Field(
        description="`minmax`: range of the image to [0, 1]; `unit`: full range of the type to [0, 1]; `symmetric`: "
        "to [-1, 1]; `standard`: `unit`, then (x - mean) / std."
    )
    mean: tuple[Real, ...] | None = Field(
        None, description="Mean of each channel on the scale [0, 1]; only for `standard`."
    )
    std: tuple[Rate, ...] | None = Field(
        None, description="Standard deviation of each channel on the scale [0, 1]; only for `standard`."
    )

    @model_validator(mode="after")
    def _check_mean_and_std(self) -> "Normalize":
        is_set = [self.mean is not None, self.std is not None]
        if is_set != [self.method == "standard"] * 2:
            raise ValueError(
                "`standard` needs `mean` and `std`, one number for each channel; other methods have neither"
            )
        if max(map(abs, (*(self.mean or ()), *(self.std or ()))), default=0) > 1:
            raise ValueError(
                "`mean` and `std` on the scale [0, 1]; divide values for 8-bit images by 255, such as 123.675 to 0.485"
            )
        return self


Normalization = Annotated[Normalize, Shorthand("method", "minmax", "unit", "symmetric")]


class Preparation(DecodeOptions):
    """Settings of the preparation of samples for a network.

    Parameters
    ----------
    size : (int, int) or 'native'
        Height and width.
    channels : {'rgb', 'grey'}
    interpolation : {'area', 'linear'}
        See `pipeline.shards.prepare.resize_image`.
    mask_resize : {'nearest', 'area'}
        See `pipeline.shards.masks.resize_mask`; soft masks are resized like images.
    storage : {'auto', 'uint8', 'float16', 'float32'}
        See `pipeline.shards.prepare.storage_type`.
    normalize : Normalize
        See `pipeline.shards.prepare.normalization`.
    nodata, exif : str
        See `DecodeOptions`.
    """

    size: Size = Field(
        description="[height, width] in pixels to which samples are resized, or `native` for their own size."
    )
    channels: Channels = Field("rgb", description="Channels of the network input: three colours, or one grey channel.")
    interpolation: Interpolation = Field(
        "area",
        description="Interpolation of images: `area` averages pixels when shrinking, and is bilinear when enlarging; "
        "`linear` is bilinear in both cases.",
    )
    mask_resize: MaskResize = Field(
        "area",
        description="Resizing of class masks and fields of view: `area` keeps the share of each class; `nearest` takes "
        "one source pixel, half a pixel off at even factors.",
    )
    storage: Storage = Field(
        "auto",
        description="Number type in shards: `auto` is `uint8` for shards of 8-bit images, which is exact, and else "
        "`float32`; `float16` rounds 8-bit images; 16-bit and float images require `float32` or `auto`.",
    )
    normalize: Normalization = Field(
        description="Normalization of images: the name of a method, or a mapping with its options."
    )

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """Height and width, or None if images keep their native sizes."""
        return None if self.size == "native" else self.size


class ShardRecipe(Preparation):
    """Settings of a shard: preparation, data set, split and source of the samples."""

    dataset: str
    split: str
    source: Source

    def fingerprint_settings(self) -> "ShardRecipe":
        """Return the recipe without the settings of single samples."""
        return self.changed(source=self.source.without_members())
