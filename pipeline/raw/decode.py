"""Turn the bytes of an image file into pixels, exactly, or say by name why not.

The format is told by the first bytes, never by the file's ending. Nothing is guessed from the picture's
content, and a file that ends too early is refused.
"""

import io
import logging
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import imageio.v3 as iio
import numpy as np
import tifffile
from numpy.typing import NDArray

from pipeline.errors import Problem, RawDataError

cv2.setNumThreads(1)  # parallel over shards, not inside a resize
logging.getLogger("tifffile").addHandler(logging.NullHandler())  # what it logs is raised here instead
logging.getLogger("tifffile").propagate = False

Pixels = NDArray[Any]

_GIT_LFS = b"version https://git-lfs"
_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_GIF = (b"GIF87a", b"GIF89a")
_TIFF = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_AGAIN = "fetch the file again, or leave it out of the folder"


class _UnusableError(Exception):
    """Why one file cannot be used: what was found, what was expected, what to do."""

    def __init__(self, found: str, expected: str, remedy: str = _AGAIN) -> None:
        super().__init__(found, expected, remedy)


def read_bytes(path: Path | str) -> bytes:
    """Read a whole file.

    Raises
    ------
    RawDataError
        If it cannot be read, is empty, or is a Git-LFS pointer in place of the file itself.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise RawDataError(
            Problem(str(path), error.strerror or str(error), "a file that can be read", "check name and rights")
        ) from error
    if not data:
        raise RawDataError(Problem(str(path), "an empty file", "an image", _AGAIN))
    if data.startswith(_GIT_LFS):
        raise RawDataError(
            Problem(str(path), "a Git-LFS pointer", "the image it stands for", "run `git lfs pull` where it lies")
        )
    return data


def decode(data: bytes, path: Path | str) -> Pixels:
    """Decode one picture.

    Parameters
    ----------
    data : bytes
        The whole file: TIFF, GIF, PNG or JPEG.
    path : Path or str
        Its name, for messages only.

    Returns
    -------
    (H, W) or (H, W, C) array of uint8, uint16 or float32
        1-, 2- and 4-bit values are spread over 0..255; palettes are looked up, so that a palette picture comes
        back in colours; 16-bit and float pictures keep their values; EXIF orientation is applied.

    Raises
    ------
    RawDataError
        If the file is of another kind, damaged, cut off, or holds more than one picture.
    """
    try:
        pixels = _decode(data)
        pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
        if pixels.dtype == np.float64:
            pixels = pixels.astype(np.float32)
        if pixels.dtype not in (np.uint8, np.uint16, np.float32):
            raise _UnusableError(f"pixels of type {pixels.dtype}", "8-bit, 16-bit or float pixels")
        if pixels.ndim not in (2, 3) or 0 in pixels.shape:
            raise _UnusableError(f"an array of shape {pixels.shape}", "one picture of height x width (x channels)")
        if pixels.dtype == np.float32 and not np.isfinite(pixels).all():
            raise _UnusableError("float pixels that are not finite (NaN or infinity)", "finite numbers")
    except _UnusableError as error:
        raise RawDataError(Problem(str(path), *error.args)) from error
    return pixels


def _decode(data: bytes) -> Pixels:
    try:
        if data.startswith(_PNG):
            return np.asarray(imagecodecs.png_decode(data))
        if data.startswith(_TIFF):
            return _decode_tiff(data)
        if data.startswith(_GIF):
            return _decode_gif(data)
        if data.startswith(_JPEG):
            return np.asarray(iio.imread(data, extension=".jpg", plugin="pillow", rotate=True))
    except _UnusableError:
        raise
    except Exception as error:  # decoders raise whatever they like; all of it means the file is damaged
        reason = " ".join(str(error).split())[:200]
        raise _UnusableError(
            f"a damaged or cut-off file ({type(error).__name__}: {reason})", "a whole image"
        ) from error
    raise _UnusableError(
        f"a file that starts with {data[:8]!r}", "a TIFF, GIF, PNG or JPEG image", "convert it to one of these"
    )


def _decode_gif(data: bytes) -> Pixels:
    frames = np.asarray(iio.imread(data, extension=".gif", plugin="pillow"))
    if len(frames) != 1:
        raise _UnusableError(f"a GIF of {len(frames)} frames", "one picture in one file", "export a single frame")
    return np.asarray(frames[0])


def _decode_tiff(data: bytes) -> Pixels:
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        if len(tiff.pages) == 0:
            raise _UnusableError("a TIFF without a single page (cut off, most likely)", "a whole image")
        if len(tiff.pages) > 1:
            raise _UnusableError(
                f"a TIFF of {len(tiff.pages)} pages", "one picture in one file", "save each page as a file of its own"
            )
        page = tiff.pages.first
        # tifffile fills strips that lie beyond the end of the file with zeros: look before it reads
        segments = zip(page.dataoffsets, page.databytecounts, strict=True)
        end = max((offset + count for offset, count in segments), default=0)
        if end == 0 or end > len(data) or 0 in page.databytecounts:
            raise _UnusableError(f"a TIFF cut off at {len(data)} of at least {end} bytes", "a whole image")
        if _is_plain(page):
            return np.asarray(imagecodecs.tiff_decode(data))  # libtiff: three times as fast for LZW
        if page.photometric == tifffile.PHOTOMETRIC.PALETTE and page.colormap is not None:
            return _look_up(page.asarray(), page.colormap)
        pixels = page.asarray()
        if page.bitspersample == 1:
            pixels = pixels.astype(np.uint8) * np.uint8(255)
        if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
            pixels = full_range(pixels) - pixels
        if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and pixels.ndim == 3:
            pixels = np.moveaxis(pixels, 0, -1)
        return np.asarray(pixels)


def _is_plain(page: Any) -> bool:  # noqa: ANN401 - a page of tifffile, which has no types
    """Tell whether a TIFF page holds whole pixels as they are: grey or RGB, 8 or 16 bits or float, no planes."""
    return (
        page.photometric in (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.RGB)
        and page.planarconfig == tifffile.PLANARCONFIG.CONTIG
        and page.dtype in (np.uint8, np.uint16, np.float32)
        and page.bitspersample == 8 * page.dtype.itemsize
        and page.compression in (tifffile.COMPRESSION.LZW, tifffile.COMPRESSION.ADOBE_DEFLATE)
    )


def _look_up(indices: Pixels, colormap: Pixels) -> Pixels:
    """Look palette indices up in a TIFF colour map (3, 2**bits) of 16-bit values; give 8-bit colours."""
    colours = np.asarray(colormap).T >> 8
    return np.asarray(colours.astype(np.uint8)[indices])


def full_range(pixels: Pixels) -> int:
    """Return the value of white in integer pixels: 255 for uint8, 65535 for uint16."""
    return int(np.iinfo(pixels.dtype).max)


def as_channels(pixels: Pixels, channels: str, path: Path | str) -> Pixels:
    """Give a picture the channels that the data set asks for.

    Parameters
    ----------
    pixels : (H, W) or (H, W, C) array
        Grey, grey + alpha, RGB or RGB + alpha.
    channels : {'rgb', 'grey'}
        Grey is repeated to RGB; RGB becomes its one plane where all three agree, else luma (ITU-R BT.601).
    path : Path or str
        For messages only.

    Returns
    -------
    (H, W, 3) or (H, W, 1) array of the same type

    Raises
    ------
    RawDataError
        For an alpha channel that varies (it would have to be composed onto something), or other channel counts.
    """
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    count = pixels.shape[2]
    if count in (2, 4):
        alpha = pixels[:, :, -1]
        if alpha.min() != alpha.max():
            raise RawDataError(
                Problem(str(path), "an alpha channel that varies", "an opaque picture", "flatten it onto a background")
            )
        pixels = pixels[:, :, :-1]
        count -= 1
    if count not in (1, 3):
        raise RawDataError(
            Problem(str(path), f"{count} channels", "1 (grey) or 3 (RGB), with or without alpha", "convert the file")
        )
    if channels == "rgb":
        return np.repeat(pixels, 3, axis=2) if count == 1 else np.ascontiguousarray(pixels)
    if count == 3:
        return _to_grey(pixels)[:, :, None]
    return np.ascontiguousarray(pixels)


def _to_grey(pixels: Pixels) -> Pixels:
    first = pixels[:, :, 0]
    if np.array_equal(first, pixels[:, :, 1]) and np.array_equal(first, pixels[:, :, 2]):
        return np.ascontiguousarray(first)
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY))


def read_image(path: Path | str, channels: str, data: bytes | None = None) -> Pixels:
    """Read a picture as (H, W, 3) for ``'rgb'`` or (H, W, 1) for ``'grey'``; see `decode` and `as_channels`."""
    data = read_bytes(path) if data is None else data
    return as_channels(decode(data, path), channels, path)


def read_grey(path: Path | str, data: bytes | None = None) -> Pixels:
    """Read a picture as one (H, W) plane of uint8.

    16-bit values are brought to 0..255 where that is exact (multiples of 257).

    Raises
    ------
    RawDataError
        If the file cannot be decoded, or holds values that 8 bits cannot say.
    """
    data = read_bytes(path) if data is None else data
    plane = as_channels(decode(data, path), "grey", path)[:, :, 0]
    if plane.dtype == np.uint8:
        return plane
    if plane.dtype == np.uint16 and not (plane % 257).any():
        return (plane // 257).astype(np.uint8)
    raise RawDataError(
        Problem(
            str(path),
            f"{plane.dtype} values from {plane.min()} to {plane.max()} that have no equal among 0..255",
            "a mask of 8 bits, or of 16 bits that uses the full range (0 and 65535)",
            "save the mask as 8-bit PNG",
        )
    )
