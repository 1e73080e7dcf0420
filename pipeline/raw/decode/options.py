"""Options of decoding: what to do about NoData pixels and orientation tags."""

from typing import Literal

from pydantic import Field

from pipeline.core.options import Options


class DecodeOptions(Options):
    """What to do about information in a file that is not pixels."""

    nodata: Literal["error", "ignore"] = Field(
        "error",
        description="Pixels without data by the NoData value (tag 42113) or transparency mask of a TIFF file: `error` "
        "refuses such files; `ignore` leaves the pixels out of normalization, training, predictions and scores.",
    )
    exif: Literal["apply", "ignore"] = Field(
        "apply",
        description="Orientation tags of images and masks: `apply` turns them upright; `ignore` reads pixels as "
        "stored, for masks that were drawn on images as stored.",
    )
