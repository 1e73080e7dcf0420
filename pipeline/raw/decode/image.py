"""Decode image files to pixels without loss, or raise an error that names the file and the reason.

The format is recognised by the first bytes, never by the file name. Nothing is guessed from the content of the
image, and truncated files are refused.
"""

import io
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import imagecodecs
import imageio.v3 as iio
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.core.digests import note_read
from pipeline.core.errors import Problem, RawDataError, plural
from pipeline.raw.decode import tiff
from pipeline.raw.decode.containers import (
    FETCH_AGAIN,
    UnusableError,
    check_bmp,
    check_gif,
    check_jpeg,
    check_png,
    check_webp,
    damaged_file,
    multiple_images,
    palette_exceeded,
    require_size,
)
from pipeline.raw.decode.nodata import Missing
from pipeline.raw.decode.options import DecodeOptions
from pipeline.raw.decode.pages import TIFF_SIGNATURES, read_page
from pipeline.raw.decode.unsupported import (
    as_mask_remedy,
    beyond_float32,
    describe_other_format,
    not_finite,
    unsupported_type,
)

cv2.setNumThreads(1)  # shards run in parallel, so a resize uses one thread
Image.MAX_IMAGE_PIXELS = None  # `require_size` limits the size; Pillow's lower limit would only warn

Pixels = NDArray[Any]

_GIT_LFS = b"version https://git-lfs"
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_Check = Callable[[bytes], int | None]
Refuse = Callable[[Missing, Pixels], UnusableError | None]

_IMAGEIO_FORMATS: tuple[tuple[re.Pattern[bytes], str, _Check], ...] = (
    # signature, name of the format, function that refuses damaged files and returns the number of palette colours
    (re.compile(rb"\xff\xd8\xff"), "JPEG", check_jpeg),
    (re.compile(rb"GIF8[79]a"), "GIF", check_gif),
    (re.compile(rb"BM"), "BMP", check_bmp),
    (re.compile(rb"RIFF.{4}WEBP", re.DOTALL), "WEBP", check_webp),
)
_ORIENTATION = 0x0112  # the EXIF tag
_FILL_SAMPLE = 2**18  # at most about twice as many pixels determine the value of pixels without data
_FLOAT32_MAX = np.finfo(np.float32).max
_LOWEST_WHITE = 128 * 257  # 16-bit masks whose highest value is below do not use the full range
_ROTATED = range(2, 9)  # orientations other than upright


class DecodedFile(NamedTuple):
    """The pixels of a file, and what else it says about them.

    Parameters
    ----------
    pixels : (H, W) or (H, W, C) array of uint8, uint16 or float32
        As `decode` returns them. Pixels without data have the value of another pixel, the one closest to the mean.
    valid : (H, W) array of bool, optional
        False for pixels without data (NoData value, transparency mask of a TIFF file); None if all pixels have data.
    orientation : int
        The orientation that was applied, 2 to 8 as in EXIF; 1 if the pixels are as stored.
    """

    pixels: Pixels
    valid: NDArray[np.bool_] | None
    orientation: int


DEFAULT_OPTIONS = DecodeOptions()


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
    """Decode one image in which every pixel has data.

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
        float images keep their values; the EXIF orientation is applied. Of a photograph with several frames (MPO) the
        first one.

    Raises
    ------
    RawDataError
        If the file has another format, is damaged or truncated, contains more than one image, or says that pixels have
        no data.
    """
    return decode_file(data, path, page).pixels


def decode_file(
    data: bytes,
    path: Path | str,
    page: int | None = None,
    options: DecodeOptions = DEFAULT_OPTIONS,
    refuse: Refuse | None = None,
) -> DecodedFile:
    """Decode one image as `decode` does; the options say what to do about NoData pixels and the orientation.

    `refuse` returns the error for pixels without data that are refused whatever the options are, else None.
    """
    try:
        pixels, missing, orientation = _decode(data, page)
        if missing is not None and refuse is not None and (refusal := refuse(missing, pixels)) is not None:
            raise refusal
        if missing is not None and (options.nodata == "error" or missing.pixels.all()):
            raise missing.refusal()
        orientation = orientation if orientation in _ROTATED and options.exif == "apply" else 1
        valid = None if missing is None else tiff.apply_orientation(~missing.pixels, orientation)
        pixels = tiff.apply_orientation(pixels, orientation)
        if valid is not None:
            pixels = _fill(pixels, valid)
        pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
        if pixels.ndim not in (2, 3) or 0 in pixels.shape:
            raise UnusableError(
                f"an array of shape {pixels.shape}",
                "one image of height x width (x channels)",
                "export each plane as an image of its own",
            )
        if pixels.dtype == np.float64 and np.abs(pixels).max(initial=0, where=np.isfinite(pixels)) > _FLOAT32_MAX:
            raise beyond_float32(pixels)
        if pixels.dtype in (np.float16, np.float64):
            pixels = pixels.astype(np.float32)
        if pixels.dtype not in (np.uint8, np.uint16, np.float32):
            raise unsupported_type(pixels)
        if pixels.dtype == np.float32 and not np.isfinite(pixels).all():
            raise not_finite(pixels)
    except UnusableError as error:
        location = str(path) if page is None else f"{path}, page {page}"
        raise RawDataError(Problem(location, *error.args)) from error
    return DecodedFile(pixels, valid, orientation)


def _decode(data: bytes, page: int | None) -> tuple[Pixels, Missing | None, int]:
    """Return the pixels as stored, those without data, and the orientation."""
    try:
        if data.startswith(TIFF_SIGNATURES):
            return tiff.decode_tiff(data, page)
        if page not in (None, 1):
            raise UnusableError("a file with one image", f"a TIFF file with page {page}", "remove `pages: samples`")
        if data.startswith(_PNG_SIGNATURE):
            exif, short_palette = check_png(data)
            pixels = np.asarray(imagecodecs.png_decode(data))
            if short_palette is not None:
                with Image.open(io.BytesIO(data)) as image:
                    _require_colours(np.asarray(image), short_palette)
            return pixels, None, _exif_orientation(exif)
        for signature, kind, check in _IMAGEIO_FORMATS:
            if signature.match(data):
                colours = check(data)
                pixels, orientation = (
                    _decode_gif(data, colours) if kind == "GIF" else _decode_by_imageio(data, kind, colours)
                )
                return pixels, None, orientation
    except (UnusableError, MemoryError):
        raise
    except Exception as error:  # decoders raise many types of errors; all of them mean that the file is damaged
        reason = " ".join(str(error).split())[:200]
        raise damaged_file(f"{type(error).__name__}: {reason}") from error
    raise UnusableError(*describe_other_format(data))


def _exif_orientation(exif: bytes) -> int:
    if not exif:
        return 1
    tags = Image.Exif()
    tags.load(exif if exif.startswith(b"Exif\0\0") else b"Exif\0\0" + exif)
    return int(tags.get(_ORIENTATION, 1))


def _decode_by_imageio(data: bytes, kind: str, colours: int | None) -> tuple[Pixels, int]:
    file: Any = iio.imopen(data, "r", plugin="pillow")
    with file:
        metadata = file.metadata(index=0, exclude_applied=False)
        require_size(*metadata["shape"])
        if kind != "JPEG" and (count := file.properties(index=...).n_images) != 1:
            raise multiple_images(count, kind, "frames")
        mode = metadata["mode"]
        if mode not in ("1", "P", "L", "LA", "RGB", "RGBA"):
            raise UnusableError(f"pixels of mode {mode}", "grey or RGB", "convert it to RGB")
        read = partial(file.read, index=0, writeable_output=False)  # else imageio copies the pixels once more
        if colours is not None and mode in ("P", "L"):
            _require_colours(read(mode=mode), colours)
        orientation = int(metadata.get("Orientation", 1)) if kind in ("JPEG", "WEBP") else 1
        converted = {"1": "L", "P": "RGBA" if "transparency" in metadata else "RGB"}.get(mode)
        if kind == "JPEG":  # the same pixels without Pillow's copies, three times the memory of the image
            return np.asarray(imagecodecs.jpeg8_decode(data)), orientation
        return read(mode=converted), orientation


def _decode_gif(data: bytes, colours: int | None) -> tuple[Pixels, int]:
    """Decode a GIF with one frame by Pillow; imageio would search for plugins of other formats for each file."""
    with Image.open(io.BytesIO(data), formats=("GIF",)) as image:
        pixels = np.asarray(image)
        if colours is not None:
            _require_colours(pixels, colours)
        if image.mode == "P":
            pixels = np.asarray(image.convert("RGBA" if "transparency" in image.info else "RGB"))
    return pixels, 1


def _require_colours(indices: Pixels, colours: int) -> None:
    if (highest := int(indices.max())) >= colours:
        raise palette_exceeded(highest, colours)


def _fill(pixels: Pixels, valid: NDArray[np.bool_]) -> Pixels:
    """Give the pixels without data the value of the valid pixel that is closest to the mean of all valid pixels."""
    values = pixels[valid]
    values = values[:: 1 + len(values) // _FILL_SAMPLE]
    numbers = values.reshape(len(values), -1).astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):  # values that are not finite are refused later
        distances = np.abs(numbers - numbers.mean(axis=0)).sum(axis=1)
    filled = pixels.copy()
    filled[~valid] = values[np.argmin(distances)]
    return filled


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
                "flatten it onto a background (`magick FILE -background black -alpha remove -alpha off new.png`), or "
                "remove it to keep the colours under it (`magick FILE -alpha off new.png`)",
            )
        pixels = pixels[:, :, :-1]
        count -= 1
    if count not in (1, 3):
        raise RawDataError(
            str(path),
            plural(count, "channel"),
            "1 (grey) or 3 (RGB), with or without alpha",
            "select up to three of them, for example `gdal_translate -b 1 -b 2 -b 3 FILE new.tif`",
        )
    if channels == "rgb":
        return np.repeat(pixels, 3, axis=2) if count == 1 else np.ascontiguousarray(pixels)
    if count == 1:
        return np.ascontiguousarray(pixels)
    red, green, blue = np.moveaxis(pixels, -1, 0)
    equal = np.array_equal(red, green) and np.array_equal(red, blue)
    grey = red if equal else cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY)
    return np.ascontiguousarray(grey)[:, :, None]


def read_file(
    path: Path | str,
    data: bytes | None = None,
    page: int | None = None,
    options: DecodeOptions = DEFAULT_OPTIONS,
    refuse: Refuse | None = None,
) -> DecodedFile:
    """Read an image and decode it by `decode_file`; `data` are the contents of the file if they were read already."""
    return decode_file(read_bytes(path, page) if data is None else data, path, page, options, refuse)


def read_image(path: Path | str, channels: str, data: bytes | None = None, page: int | None = None) -> Pixels:
    """Read an image as (H, W, 3) for ``'rgb'`` or (H, W, 1) for ``'grey'``; see `decode` and `as_channels`."""
    return as_channels(read_file(path, data, page).pixels, channels, path)


def to_8_bit(pixels: Pixels, path: Path | str, *, keep_small: bool = False) -> NDArray[np.uint8]:
    """Convert mask pixels to 8 bits if that is exact.

    Parameters
    ----------
    pixels : array of uint8, uint16 or float32
        16-bit values are divided by 257 if all of them are multiples of 257.
    path : Path or str
        For messages only.
    keep_small : bool
        Whether the pixels are labels: 16-bit values are kept unchanged if all of them are below 256, and grey ones are
        divided only if some are at least 128 * 257, because low multiples may be numbers of objects.

    Raises
    ------
    RawDataError
        If a value cannot be converted exactly.
    """
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == np.uint16 and keep_small and pixels.max() < 256:
        return pixels.astype(np.uint8)
    if pixels.dtype == np.uint16 and not (keep_small and _may_number_objects(pixels)) and not (pixels % 257).any():
        return (pixels // 257).astype(np.uint8)
    raise RawDataError(
        str(path),
        f"{pixels.dtype} values from {pixels.min()} to {pixels.max()} that have no equivalent in 0..255",
        "an 8-bit mask, or a 16-bit mask that uses the full range (0 and 65535)",
        as_mask_remedy(pixels),
    )


def _may_number_objects(pixels: Pixels) -> bool:
    has_colours = pixels.ndim == 3 and bool((pixels[:, :, :1] != pixels[:, :, 1:]).any())
    return not has_colours and bool(pixels.max() < _LOWEST_WHITE)
