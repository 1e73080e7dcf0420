"""Read the format, bit depth, orientation, colour profile and alpha channel from the header of an image file."""

import io
from dataclasses import dataclass
from typing import Any

import tifffile
from PIL import ExifTags, Image

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TIFF_SIGNATURES = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_ALPHA_MODES = ("LA", "La", "PA", "RGBA", "RGBa")
_ORIENTATION, _EXTRA_SAMPLES, _ICC = 274, 338, 34675  # tags of TIFF 6.0 and of the ICC


@dataclass(frozen=True)
class Header:
    """Facts from the header of an image file.

    Parameters
    ----------
    format : str
        ``TIFF``, ``GIF``, ``PNG``, ``JPEG`` or another name of Pillow; ``unknown`` if the header cannot be read.
    bits : int
        Bits of each channel, or of a palette index; 0 if the header cannot be read.
    orientation : int
        1 to 8 as in EXIF; 1 is upright.
    icc, alpha : bool
        Whether the file has a colour profile, and an alpha channel or a transparent colour.
    """

    format: str = "unknown"
    bits: int = 0
    orientation: int = 1
    icc: bool = False
    alpha: bool = False

    @property
    def orientation_applied(self) -> bool:
        """Whether the image is rotated or mirrored by its orientation tag when it is decoded."""
        return self.orientation in range(2, 9)


def read_header(data: bytes) -> Header:
    """Read the header of an image file without decoding pixels; never raises.

    Parameters
    ----------
    data : bytes
        The whole file.
    """
    try:
        return _read_tiff(data) if data.startswith(_TIFF_SIGNATURES) else _read_with_pillow(data)
    except Exception:  # `decode` reports files that cannot be used
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


def _read_with_pillow(data: bytes) -> Header:
    with Image.open(io.BytesIO(data)) as image:
        bits = 1 if image.mode == "1" else 8
        if data.startswith(_PNG_SIGNATURE):
            bits = data[24]  # IHDR: width, height, bit depth
        return Header(
            format=image.format or "unknown",
            bits=bits,
            orientation=int(image.getexif().get(ExifTags.Base.Orientation, 1)),
            icc=bool(image.info.get("icc_profile")),
            alpha=image.mode in _ALPHA_MODES or "transparency" in image.info,
        )
