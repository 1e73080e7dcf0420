"""Read the format, bit depth, orientation, colour profile and alpha channel from the header of an image file."""

import io
from dataclasses import dataclass
from typing import Any

import tifffile
from PIL import ExifTags, Image

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TIFF_SIGNATURES = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_ALPHA_MODES = ("LA", "La", "PA", "RGBA", "RGBa")
_ORIENTATION, _ICC = 274, 34675  # tags of TIFF 6.0 and of the ICC
_ORIENTED_FORMATS = ("TIFF", "PNG", "JPEG", "MPO", "WEBP")
_ORIENTATIONS = {
    2: "mirrored",
    3: "turned by 180 degrees",
    4: "flipped upside down",
    5: "transposed",
    6: "turned by 90 degrees clockwise",
    7: "transposed along the other diagonal",
    8: "turned by 90 degrees anticlockwise",
}


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
    white_is_zero : bool
        Whether a TIFF file stores white as zero (photometric interpretation MINISWHITE).
    """

    format: str = "unknown"
    bits: int = 0
    orientation: int = 1
    icc: bool = False
    alpha: bool = False
    white_is_zero: bool = False

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


def read_orientation(data: bytes) -> int:
    """Return the orientation in which a file is decoded, 2 to 8 as in EXIF; 1 if its pixels are read as stored."""
    if data.startswith(_PNG_SIGNATURE):
        may_have_tag = b"eXIf" in data
    else:
        marks = (b"Exif", b"EXIF", b"Orientation")  # JPEG, WebP, XMP
        may_have_tag = data.startswith(_TIFF_SIGNATURES) or any(mark in data for mark in marks)
    header = read_header(data) if may_have_tag else Header()
    return header.orientation if header.orientation_applied and header.format in _ORIENTED_FORMATS else 1


def describe_orientation(orientation: int) -> str:
    """Describe in words what an orientation tag does to an image."""
    return f"{_ORIENTATIONS[orientation]} by its orientation tag" if orientation != 1 else "as stored"


def _read_tiff(data: bytes) -> Header:
    with io.BytesIO(data) as stream, tifffile.TiffFile(stream) as tiff:
        page: Any = tiff.pages.first
        bits = page.bitspersample
        return Header(
            format="TIFF",
            bits=int(max(bits) if isinstance(bits, tuple) else bits),
            orientation=int(page.tags.valueof(_ORIENTATION, 1)),
            icc=_ICC in page.tags,
            alpha=any(kind in (1, 2) for kind in page.extrasamples),  # associated and unassociated alpha
            white_is_zero=page.photometric == tifffile.PHOTOMETRIC.MINISWHITE,
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
