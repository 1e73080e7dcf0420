"""What a shard is made by: how images are resized, normalized and stored."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.core.options import ByName, Options, Rate, Real, Side
from pipeline.raw.recipes import Channels, NormalizeMethod, Storage
from pipeline.raw.source import Source

Interpolation = Literal["area", "linear"]
Size = Literal["native"] | tuple[Side, Side]


class Normalize(Options):
    """How stored values become network input."""

    method: NormalizeMethod
    mean: tuple[Real, ...] | None = None
    std: tuple[Rate, ...] | None = None

    @model_validator(mode="after")
    def _needs_numbers(self) -> "Normalize":
        given = [self.mean is not None, self.std is not None]
        if given != [self.method == "standard"] * 2:
            raise ValueError("`standard` needs `mean` and `std`, one number for each channel; no other method has them")
        return self


Normalization = Annotated[Normalize, ByName("method", "minmax", "unit", "symmetric")]


class Preparation(Options):
    """How samples are prepared for a network.

    Parameters
    ----------
    size : (int, int) or 'native'
        Height and width.
    channels : {'rgb', 'grey'}
    interpolation : {'area', 'linear'}
        See `pipeline.shards.prepare.resize_image`.
    storage : {'float16', 'float32', 'uint8'}
        Images of 16 bits and floats need ``'float32'``: the others would merge levels, and are refused.
    normalize : Normalize
        See `pipeline.shards.prepare.normalization`.
    """

    size: Size = Field(description="[height, width] in pixels, or native")
    channels: Channels = "rgb"
    interpolation: Interpolation = "area"
    storage: Storage = "float16"
    normalize: Normalization

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """Height and width, or None where images keep their native sizes."""
        return None if self.size == "native" else self.size


class ShardRecipe(Preparation):
    """What a shard is made by: preparation, and which samples of which data set there are."""

    dataset: str
    split: str
    source: Source

    def deciding(self) -> "ShardRecipe":
        """Return it without what concerns single samples."""
        return self.changed(source=self.source.without_members())
