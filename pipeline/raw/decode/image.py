"""Decode image files to pixels without loss, or raise an error that names the file and the reason.

The format is recognised by the first bytes, never by the file name. Nothing is guessed from the content of the
image, and truncated files are refused.
"""

import re
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import imageio.v3 as iio
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.core.digests import note_read
from pipeline.core.errors import Problem, RawDataError
from pipeline.raw.decode import tiff
from pipeline.raw.decode.containers import (
    FETCH_AGAIN,
    UnusableError,
    check_bmp,
    check_gif,
    check_jpeg,
    check_png,
    check_webp,
    multiple_images,
    require_size,
)
from pipeline.raw.decode.pages import TIFF_SIGNATURES, read_page

cv2.setNumThreads(1)  # shards run in parallel, so a resize uses one thread
Image.MAX_IMAGE_PIXELS = None  # `require_size` limits the size; Pillow's lower limit would only warn

Pixels = NDArray[Any]

_GIT_LFS = b"version https://git-lfs"
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_IMAGEIO_FORMATS = (  # signature, name of the format, function that refuses damaged files
    (re.compile(rb"\xff\xd8\xff"), "JPEG", check_jpeg),
    (re.compile(rb"GIF8[79]a"), "GIF", check_gif),
    (re.compile(rb"BM"), "BMP", check_bmp),
    (re.compile(rb"RIFF.{4}WEBP", re.DOTALL), "WEBP", check_webp),
)
_ORIENTATION = 0x0112  # the EXIF tag
_UNSUPPORTED_FORMATS = {  # common formats that are not supported, by their first bytes
    b"\x00\x00\x00\x0cjP  ": "a JPEG 2000 image",
    b"\xff\x4f\xff\x51": "a JPEG 2000 codestream",
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "a gzip file",
    b"%PDF": "a PDF file",
    b"\x89HDF": "an HDF5 file",
    b"8BPS": "a Photoshop file",
    b"<": "a web page or XML file",
}


def read_bytes(path: Path | str, page: int | None = None) -> bytes:
    """Read a whole file, or one page of a TIFF stack.

    Parameters
    ----------
    page : int, optional
        Page number, from 1. Of a TIFF file only this page and the list of pages are read, if they are enough to
        decode the page (see `pipeline.raw.decode.pages.read_page`).

    Raises
    ------
    RawDataError
        If the file cannot be read, is empty, or is a Git-LFS pointer.
    """
    try:
        data = (None if page is None else read_page(path, page)) or Path(path).read_bytes()
    except OSError as error:
        raise RawDataError(
            str(path), error.strerror or str(error), "a file that can be read", "check its name and permissions"
        ) from error
    if not data:
        raise RawDataError(str(path), "an empty file", "an image", FETCH_AGAIN)
    if data.startswith(_GIT_LFS):
        texts = ("a Git-LFS pointer", "the image itself", "run `git lfs pull` in its repository")
        raise RawDataError(Problem(str(path), *texts, kind="git-lfs"))
    if page is None:
        note_read(path, data)
    return data


def decode(data: bytes, path: Path | str, page: int | None = None) -> Pixels:
    """Decode one image.

    Parameters
    ----------
    data : bytes
        The whole file: TIFF, GIF, PNG, JPEG, BMP or WebP; or a TIFF page as returned by `read_bytes`.
    path : Path or str
        Path of the file, for messages only.
    page : int, optional
        Page number in a TIFF file, from 1. Without it the file must contain one image.

    Returns
    -------
    (H, W) or (H, W, C) array of uint8, uint16 or float32
        1-, 2- and 4-bit values are scaled to 0..255; palette images are converted to their colours; 16-bit and
        float images keep their values; the EXIF orientation is applied.

    Raises
    ------
    RawDataError
        If the file has another format, is damaged or truncated, or contains more than one image.
    """
    try:
        pixels = _decode(data, page)
        pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
        if pixels.dtype in (np.float16, np.float64):
            pixels = pixels.astype(np.float32)
        if pixels.dtype not in (np.uint8, np.uint16, np.float32):
            raise UnusableError(
                f"pixels of type {pixels.dtype}",
                "uint8, uint16 or floating-point pixels",
                "convert it, for example to unsigned 16 bits",
            )
        if pixels.ndim not in (2, 3) or 0 in pixels.shape:
            raise UnusableError(f"an array of shape {pixels.shape}", "one image of height x width (x channels)")
        if pixels.dtype == np.float32 and not np.isfinite(pixels).all():
            raise UnusableError("float pixels that are not finite (NaN or infinity)", "finite numbers")
    except UnusableError as error:
        location = str(path) if page is None else f"{path}, page {page}"
        raise RawDataError(Problem(location, *error.args)) from error
    return pixels


def _decode(data: bytes, page: int | None) -> Pixels:
    try:
        if data.startswith(TIFF_SIGNATURES):
            return tiff.decode_tiff(data, page)
        if page not in (None, 1):
            raise UnusableError("a file with one image", f"a TIFF file with page {page}")
        if data.startswith(_PNG_SIGNATURE):
            exif = check_png(data)
            return _apply_exif_orientation(np.asarray(imagecodecs.png_decode(data)), exif)
        for signature, kind, check in _IMAGEIO_FORMATS:
            if signature.match(data):
                check(data)
                return _decode_by_imageio(data, kind)
    except UnusableError:
        raise
    except Exception as error:  # decoders raise many types of errors; all of them mean that the file is damaged
        cause = error.__cause__ or error  # imageio puts the reason into the cause
        reason = " ".join(str(cause).split())[:200]
        raise UnusableError(
            f"a damaged or truncated file ({type(cause).__name__}: {reason})", "a complete image"
        ) from error
    format_name = next((name for start, name in _UNSUPPORTED_FORMATS.items() if data.startswith(start)), "a file")
    raise UnusableError(
        f"{format_name} that starts with {data[:8]!r}", "a TIFF, GIF, PNG, JPEG, BMP or WebP image", "convert it to PNG"
    )


def _apply_exif_orientation(pixels: Pixels, exif: bytes) -> Pixels:
    if not exif:
        return pixels
    tags = Image.Exif()
    tags.load(exif if exif.startswith(b"Exif\0\0") else b"Exif\0\0" + exif)
    return tiff.apply_orientation(pixels, tags.get(_ORIENTATION, 1))


def _decode_by_imageio(data: bytes, kind: str) -> Pixels:
    file: Any = iio.imopen(data, "r", plugin="pillow")
    with file:
        metadata = file.metadata(index=0)
        require_size(*metadata["shape"])
        if (count := file.properties(index=...).n_images) != 1:
            raise multiple_images(count, kind, "frames")
        mode = metadata["mode"]
        if mode not in ("1", "P", "L", "LA", "RGB", "RGBA"):
            raise UnusableError(f"pixels of mode {mode}", "grey or RGB", "convert it to RGB")
        convert = {"1": "L", "P": "RGBA" if "transparency" in metadata else "RGB"}.get(mode)
        return np.ascontiguousarray(file.read(index=0, mode=convert, rotate=kind in ("JPEG", "WEBP")))


def full_range(pixels: Pixels) -> int:
    """Return the value of white in integer pixels: 255 for uint8, 65535 for uint16."""
    return int(np.iinfo(pixels.dtype).max)


def as_channels(pixels: Pixels, channels: str, path: Path | str) -> Pixels:
    """Convert an image to the channels that the data set is configured with.

    Parameters
    ----------
    pixels : (H, W) or (H, W, C) array
        Grey, grey + alpha, RGB or RGB + alpha.
    channels : {'rgb', 'grey'}
        Grey is repeated to RGB. RGB becomes one of its channels if all three are equal, else luma (ITU-R BT.601).
    path : Path or str
        For messages only.

    Returns
    -------
    (H, W, 3) or (H, W, 1) array of the same type

    Raises
    ------
    RawDataError
        For an alpha channel that varies (the background to blend with is unknown), or another number of channels.
    """
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    count = pixels.shape[2]
    if count in (2, 4):
        alpha = pixels[:, :, -1]
        if alpha.min() != alpha.max():
            raise RawDataError(
                str(path),
                "an alpha channel that varies",
                "no or a constant alpha channel",
                "flatten it onto a background",
            )
        pixels = pixels[:, :, :-1]
        count -= 1
    if count not in (1, 3):
        raise RawDataError(
            str(path), f"{count} channels", "1 (grey) or 3 (RGB), with or without alpha", "convert the file"
        )
    if channels == "rgb":
        return np.repeat(pixels, 3, axis=2) if count == 1 else np.ascontiguousarray(pixels)
    if count == 1:
        return np.ascontiguousarray(pixels)
    red, green, blue = np.moveaxis(pixels, -1, 0)
    equal = np.array_equal(red, green) and np.array_equal(red, blue)
    grey = red if equal else cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY)
    return np.ascontiguousarray(grey)[:, :, None]


def read_pixels(path: Path | str, data: bytes | None = None, page: int | None = None) -> Pixels:
    """Read and `decode` an image; `data` are the contents of the file if they were read already."""
    return decode(read_bytes(path, page) if data is None else data, path, page)


def read_image(path: Path | str, channels: str, data: bytes | None = None, page: int | None = None) -> Pixels:
    """Read an image as (H, W, 3) for ``'rgb'`` or (H, W, 1) for ``'grey'``; see `decode` and `as_channels`."""
    return as_channels(read_pixels(path, data, page), channels, path)


def read_grey(path: Path | str, data: bytes | None = None, page: int | None = None) -> Pixels:
    """Read an image as one (H, W) plane of uint8; see `to_8_bit`."""
    return to_8_bit(as_channels(read_pixels(path, data, page), "grey", path)[:, :, 0], path)


def to_8_bit(pixels: Pixels, path: Path | str, *, keep_small: bool = False) -> NDArray[np.uint8]:
    """Convert mask pixels to 8 bits if that is exact.

    Parameters
    ----------
    pixels : array of uint8, uint16 or float32
        16-bit values are divided by 257 if all of them are multiples of 257.
    path : Path or str
        For messages only.
    keep_small : bool
        Whether 16-bit values are kept unchanged if all of them are below 256.

    Raises
    ------
    RawDataError
        If a value cannot be converted exactly.
    """
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == np.uint16 and keep_small and pixels.max() < 256:
        return pixels.astype(np.uint8)
    if pixels.dtype == np.uint16 and not (pixels % 257).any():
        return (pixels // 257).astype(np.uint8)
    raise RawDataError(
        str(path),
        f"{pixels.dtype} values from {pixels.min()} to {pixels.max()} that have no equivalent in 0..255",
        "an 8-bit mask, or a 16-bit mask that uses the full range (0 and 65535)",
        "save the mask as 8-bit PNG",
    )
