"""Describe files that are not in a supported format, and pixels of unsupported types, with the way to convert them."""

import re
from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.raw.decode.containers import FETCH_AGAIN, UnusableError

SUPPORTED = "a TIFF, GIF, PNG, JPEG, BMP or WebP image"

_MAGICK = "convert it to PNG, for example with `magick FILE new.png` (ImageMagick)"
_SLICES = "export each slice as a 16-bit PNG or TIFF image"
_ARRAY = "save the array as an image, for example with `tifffile.imwrite` or `imageio.imwrite`"
_PAGE = "download the image itself: a server has answered with a page, for instance for a log-in or an error"
_UNPACK = "unpack it"

_FORMATS: tuple[tuple[str, str, str], ...] = (  # pattern of the first bytes, what it is, remedy
    (r"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51", "a JPEG 2000 image", _MAGICK),
    (r"\xff\x0a|\x00\x00\x00\x0cJXL ", "a JPEG XL image", _MAGICK),
    (r"II\xbc\x01|II\xbc\x00", "a JPEG XR image", _MAGICK),
    (r"....ftyp(heic|heix|hevc|mif1|msf1|avif|avis)", "a HEIC or AVIF image", _MAGICK),
    (r"P[1-7][\s#]|P[Ff]\s", "a PBM, PGM, PPM, PAM or PFM image", _MAGICK),
    (r"8BPS", "a Photoshop file", _MAGICK),
    (r"#\?RADIANCE|#\?RGBE", "a Radiance HDR image", _MAGICK),
    (r"v/1\x01", "an OpenEXR image", "convert it to a TIFF image of 32-bit floats"),
    (r"\x00\x00[\x01\x02]\x00", "a Windows icon", _MAGICK),
    (r"DDS ", "a DDS texture", _MAGICK),
    (r"qoif", "a QOI image", _MAGICK),
    (r"\x59\xa6\x6a\x95", "a Sun raster image", _MAGICK),
    (r"\x01\xda", "an SGI image", _MAGICK),
    (r".{128}DICM", "a DICOM file", _SLICES),
    (r".{344}n[i+][12]\x00", "a NIfTI volume", _SLICES),
    (r"NRRD", "an NRRD volume", _SLICES),
    (r"ObjectType|NDims", "a MetaImage volume", _SLICES),
    (r"SIMPLE  =", "a FITS image", "save it as a TIFF image of 16 bits or 32-bit floats"),
    (r"\x93NUMPY", "a NumPy array", _ARRAY),
    (r"MATLAB 5\.0", "a MATLAB file", _ARRAY),
    (r"\x89HDF|CDF[\x01\x02]", "an HDF5, MATLAB or netCDF file", _ARRAY),
    (r"\xda\xce\xbe\x0a", "an ND2 file", "export its planes as TIFF images"),
    (r"%PDF|%!PS", "a PDF or PostScript file", "extract the images, for example with `pdfimages -png`"),
    (r"PK\x03\x04", "a zip archive", _UNPACK),
    (r"\x1f\x8b", "a gzip file", _UNPACK),
    (r"7z\xbc\xaf|Rar!|BZh|\xfd7zXZ", "an archive", _UNPACK),
    (r"\s*<svg|\s*<\?xml.{0,400}<svg", "an SVG drawing", _MAGICK),
    (r"\s*<", "a web page or XML file", _PAGE),
    (r"\s*[{\[]", "a JSON file", _PAGE),
)
_SUFFIXES: tuple[tuple[str, str], ...] = (  # of files that are images, but not of a supported format; remedy
    (".ppm .pgm .pbm .pnm .pam .jp2 .j2k .jpx .jxl .jxr .heic .heif .avif .psd .tga .ico .qoi .dds .hdr .svg", _MAGICK),
    (".dcm .dicom .nii .nii.gz .mha .mhd .nrrd .mnc", _SLICES),
    (".npy .npz .mat .h5 .hdf5 .nc", _ARRAY),
    (".exr .fits .fit .img .ecw .vrt .grib", "convert it to TIFF, for example with `gdal_translate FILE new.tif`"),
    (".czi .lif .nd2 .svs .ndpi .vsi .mrxs .scn .oib .oif .lsm .stk", "export its planes as TIFF images"),
    (".dng .nef .cr2 .cr3 .arw .orf .rw2 .raf", "develop the raw photographs, and save them as TIFF or PNG"),
    (".pdf .eps .ps", "extract the images, for example with `pdfimages -png`"),
)
_REMEDIES = {suffix: remedy for suffixes, remedy in _SUFFIXES for suffix in suffixes.split()}

_FEWEST_OBJECTS = 5
_COMPILED = [(re.compile(pattern.encode("latin-1"), re.DOTALL), name, remedy) for pattern, name, remedy in _FORMATS]


def describe_other_format(data: bytes) -> tuple[str, str, str]:
    """Return what a file of another format is, what was expected, and a remedy."""
    start = data[:1024]
    for pattern, name, remedy in _COMPILED:
        if pattern.match(start):
            return f"{name} that starts with {data[:8]!r}", SUPPORTED, remedy
    if not data.strip(b"\0"):
        return f"{len(data)} bytes that are all zero", SUPPORTED, FETCH_AGAIN
    remedy = f"save it as PNG or TIFF; if it is an image of one of these formats, {FETCH_AGAIN}"
    return f"a file that starts with {data[:8]!r}", SUPPORTED, remedy


def is_other_format(name: str) -> bool:
    """Return whether a file name ends like that of an image in a format that is not supported."""
    return name.lower().endswith(tuple(_REMEDIES))


def conversion_remedy(names: Collection[str]) -> str | None:
    """Return how to convert the images among these files whose formats are not supported; None if there are none."""
    found = {
        suffix: remedy for suffix, remedy in _REMEDIES.items() if any(name.lower().endswith(suffix) for name in names)
    }
    by_remedy: dict[str, list[str]] = {}
    for suffix, remedy in found.items():
        by_remedy.setdefault(remedy, []).append(suffix)
    texts = [f"{', '.join(suffixes)} files are not read: {remedy}" for remedy, suffixes in by_remedy.items()]
    return "; ".join(texts) or None


def unsupported_type(pixels: NDArray[Any]) -> UnusableError:
    """Return the error for pixels of a type that images and masks cannot have."""
    expected = "uint8, uint16 or floating-point pixels"
    if pixels.dtype.kind not in "iu":
        return UnusableError(
            f"pixels of type {pixels.dtype}", expected, "save magnitudes or real parts as 32-bit floats"
        )
    low, high = int(pixels.min()), int(pixels.max())
    kind = "uint16" if 0 <= low <= high < 2**16 else "32-bit floats"
    return UnusableError(
        f"pixels of type {pixels.dtype} with values from {low} to {high}",
        expected,
        f"if this is an image, save it as {kind}; if it is a mask, {as_mask_remedy(pixels)}",
    )


def as_mask_remedy(pixels: NDArray[Any]) -> str:
    """Return how to save a mask of other numbers than 0 to 255 as 8-bit PNG; which way depends on its values."""
    low, high = float(pixels.min()), float(pixels.max())
    if pixels.dtype.kind == "f" and (pixels != np.rint(pixels)).any():
        if 0 <= low <= high <= 1:
            return (
                "multiply the probabilities by 255, save them as 8-bit PNG and set `mask_kind: soft`; or save 0 and "
                "255, with 255 where the probability is above 0.5"
            )
        return (
            "save it as 8-bit PNG with the number of a class in every pixel; check that it is a mask, and not an image"
        )
    if 0 <= low <= high < 2**8:
        return "save the same numbers as uint8, in an 8-bit PNG"
    return (
        "save it as 8-bit PNG: of classes the numbers 0 to 254, with 255 for pixels to ignore; if the numbers count "
        "objects (instances), 255 where they are above 0, and 0 elsewhere"
    )


def numbers_objects(plane: NDArray[np.uint8]) -> bool:
    """Return whether a grey mask seems to number its objects: few gaps in the numbers, even areas, none dominant."""
    counts = np.bincount(plane.ravel(), minlength=256)[1:]
    highest = int(np.flatnonzero(counts)[-1]) + 1 if counts.any() else 0
    if highest < _FEWEST_OBJECTS or np.count_nonzero(counts) < 0.8 * highest or plane.shape[1] < 2:
        return False
    even = np.count_nonzero(plane[:, 1:] == plane[:, :-1]) / plane[:, 1:].size
    return bool(even > 0.6 and counts.max() < 0.5 * counts.sum())


def not_finite(pixels: NDArray[np.float32]) -> UnusableError:
    """Return the error for a float image with NaN or infinity."""
    nan, infinite = int(np.isnan(pixels).sum()), int(np.isinf(pixels).sum())
    counts = " and ".join(text for count, text in ((nan, f"{nan} NaN"), (infinite, f"{infinite} infinite")) if count)
    remedy = "replace the infinite values by numbers"
    if nan:
        remedy = (
            "if these pixels have no data, declare NaN as the NoData value (`gdal_edit.py -a_nodata nan FILE`) and set "
            "`nodata: ignore`; otherwise replace them by numbers"
        )
    return UnusableError(f"float pixels that are not finite: {counts}", "finite numbers", remedy)


def beyond_float32(pixels: NDArray[np.float64]) -> UnusableError:
    """Return the error for float values that 32-bit floats cannot hold."""
    return UnusableError(
        f"values from {np.nanmin(pixels):.3g} to {np.nanmax(pixels):.3g}",
        "values that 32-bit floats can hold, below 3.4e38",
        "divide the values by a constant; if such values mean that there are no data, declare the value "
        "(`gdal_edit.py -a_nodata VALUE FILE`) and set `nodata: ignore`",
    )
