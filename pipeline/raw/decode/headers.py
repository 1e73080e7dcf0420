"""What an image file says about itself besides its pixels, read from its first bytes."""

import io
from dataclasses import dataclass
from typing import Any

import tifffile
from PIL import ExifTags, Image

_PNG = b"\x89PNG\r\n\x1a\n"
_TIFF = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_ALPHA_MODES = ("LA", "La", "PA", "RGBA", "RGBa")
_ORIENTATION, _EXTRA_SAMPLES, _ICC = 274, 338, 34675  # tags of TIFF 6.0 and of the ICC


@dataclass(frozen=True)
class Header:
    """What the header of a file says.

    Parameters
    ----------
    format : str
        ``TIFF``, ``GIF``, ``PNG`` or ``JPEG``; ``unknown`` where the header cannot be read.
    bits : int
        Of each channel, or of a palette's indices; 0 where it cannot be read.
    orientation : int
        1 to 8 as EXIF has it; 1 is upright.
    icc, alpha : bool
        Whether there is a colour profile, and an alpha channel or a transparent colour.
    """

    format: str = "unknown"
    bits: int = 0
    orientation: int = 1
    icc: bool = False
    alpha: bool = False

    @property
    def turned(self) -> bool:
        """Whether `pipeline.raw.decode.image` turns or mirrors the image: it does so for JPEG."""
        return self.format == "JPEG" and self.orientation in range(2, 9)


def read_header(data: bytes) -> Header:
    """Read the header of an image file; no pixel is decoded, and nothing is raised.

    Parameters
    ----------
    data : bytes
        The whole file.
    """
    try:
        return _read_tiff(data) if data.startswith(_TIFF) else _read_other(data)
    except Exception:  # whether the file can be used is for `decode` to say; this is only about its facts
        return Header()


def _read_tiff(data: bytes) -> Header:
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        page: Any = tiff.pages.first
        bits = page.bitspersample
        return Header(
            format="TIFF",
            bits=int(max(bits) if isinstance(bits, tuple) else bits),
            orientation=int(page.tags.valueof(_ORIENTATION, 1)),
            icc=_ICC in page.tags,
            alpha=bool(page.tags.valueof(_EXTRA_SAMPLES, ())),
        )


def _read_other(data: bytes) -> Header:
    with Image.open(io.BytesIO(data)) as image:
        bits = 1 if image.mode == "1" else 8
        if data.startswith(_PNG):
            bits = data[24]  # IHDR: width, height, bit depth
        return Header(
            format=image.format or "unknown",
            bits=bits,
            orientation=int(image.getexif().get(ExifTags.Base.Orientation, 1)),
            icc=bool(image.info.get("icc_profile")),
            alpha=image.mode in _ALPHA_MODES or "transparency" in image.info,
        )
