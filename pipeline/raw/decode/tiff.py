"""Decode a page of a TIFF file, of any byte order, tiling, planar configuration, compression and bit depth."""

import io
import logging
import math
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from pipeline.raw.decode.containers import FETCH_AGAIN, UnusableError, damaged_file, palette_exceeded, require_size
from pipeline.raw.decode.nodata import Missing, find_missing, outside_mask
from pipeline.raw.decode.pages import PageBytes, image_pages, in_memory
from pipeline.raw.decode.planes import described_planes

logging.getLogger("tifffile").addHandler(logging.NullHandler())  # errors are raised here instead
logging.getLogger("tifffile").propagate = False

Pixels = NDArray[Any]

_CHANGED = "run the command again: the file has changed since its pages were counted"
_ORIENTATION, _STK = 274, 33629  # tags; the second one has an entry for every plane of a MetaMorph stack
_ALPHA = (tifffile.EXTRASAMPLE.ASSOCALPHA, tifffile.EXTRASAMPLE.UNASSALPHA)
_COLOUR = tifffile.PHOTOMETRIC
_SUPPORTED_COLOURS = (_COLOUR.MINISBLACK, _COLOUR.MINISWHITE, _COLOUR.RGB, _COLOUR.PALETTE)
_JPEG = (tifffile.COMPRESSION.JPEG, tifffile.COMPRESSION.OJPEG)


def decode_tiff(data: bytes, number: int | None = None) -> tuple[Pixels, Missing | None, int]:
    """Decode a page of a TIFF file.

    Parameters
    ----------
    data : bytes
        The whole file, or an extracted page.
    number : int, optional
        Page number in a whole file, from 1. Without it the file must have one page.

    Returns
    -------
    pixels : (H, W) or (H, W, C) array
        As stored, not oriented. 1-, 2- and 4-bit values are scaled to 0..255; other integers and floats keep their
        values.
    missing : Missing, optional
        The pixels without data, if there are any.
    orientation : int
        As in TIFF 6.0 and EXIF.

    Raises
    ------
    UnusableError
        If the page is missing, truncated, too large or of an unsupported kind, or the file has planes that are no
        pages.
    """
    pages = image_pages(in_memory(data), len(data))
    if isinstance(data, PageBytes):
        number = None
    # closing the stream frees the bytes, to which pages in reference cycles would refer for some time
    with io.BytesIO(data) as stream, tifffile.TiffFile(stream) as tiff:
        if number is None and len(pages) > 1:
            raise UnusableError(
                f"a TIFF with {len(pages)} pages",
                "one image in one file",
                "save each page as a separate file, or set `pages: samples` (layout folder)",
            )
        if number is not None and number > len(pages):
            raise UnusableError(f"a TIFF with {len(pages)} pages", f"page {number}", _CHANGED)
        selected = pages[0 if number is None else number - 1]
        page = _read_tags(tiff, selected.number, selected.offset)
        first = page if selected == pages[0] else _read_tags(tiff, pages[0].number, pages[0].offset)
        _refuse_hidden_planes(first, len(pages))
        _check_page(page, len(data))
        by_libtiff = selected.number == 0 and _decodable_by_libtiff(page)  # libtiff decodes LZW three times as fast
        stored = np.asarray(imagecodecs.tiff_decode(data)) if by_libtiff else _read_page(page)
        _refuse_extra_channel(page, stored)
        missing = find_missing(page, first, stored)
        if selected.mask is not None and missing is None:
            mask = _read_tags(tiff, *selected.mask)
            _check_page(mask, len(data))
            missing = outside_mask(np.asarray(mask.asarray()), stored)
        orientation = page.tags.get(_ORIENTATION)
        pixels = stored if by_libtiff else _convert(page, stored)
        return pixels, missing, 1 if orientation is None else orientation.value


def _read_tags(tiff: tifffile.TiffFile, index: int, offset: int) -> Any:  # noqa: ANN401
    tiff.filehandle.seek(offset)
    return tifffile.TiffPage(tiff, index=index)


def _refuse_hidden_planes(page: Any, count: int) -> None:  # noqa: ANN401
    """Refuse a stack of which the list of pages names only some planes: the others would be left out."""
    values = page.imagewidth * page.imagelength * page.samplesperpixel
    planes, writer = described_planes(page.description, values, page.samplesperpixel) if values else (0, "")
    if _STK in page.tags and page.tags[_STK].count > planes:
        planes, writer = page.tags[_STK].count, "MetaMorph"
    if page.imagedepth > planes > 0 or page.imagedepth > count:
        planes, writer = page.imagedepth, "the tag ImageDepth"
    if planes > count:
        raise UnusableError(
            f"a stack of {planes} planes according to {writer}, in a TIFF with {count} page{'s' if count != 1 else ''}",
            "one image in one file, or a page for every plane (`pages: samples`, layout folder)",
            "export each plane as an image of its own, or save the stack again with a page for every plane; if it is a "
            "single image, remove the description (`tiffset -u 270 FILE`)",
        )


def _refuse_extra_channel(page: Any, pixels: Pixels) -> None:  # noqa: ANN401
    """Refuse grey or RGB with another channel that is not transparency and varies."""
    extra = page.extrasamples
    if len(extra) == 1 and extra[0] not in _ALPHA and pixels.ndim == 3 and pixels.shape[2] in (2, 4):
        channel = pixels[:, :, -1]
        if channel.min() != channel.max():
            bands = " ".join(f"-b {band}" for band in range(1, pixels.shape[2]))
            raise UnusableError(
                f"{pixels.shape[2]} channels, of which the last is no transparency (ExtraSamples 0) but another band, "
                "such as near infrared",
                "1 (grey) or 3 (RGB) channels, with or without alpha",
                f"select the bands, for example `gdal_translate {bands} FILE new.tif`",
            )


def _check_page(page: Any, length: int) -> None:  # noqa: ANN401
    """Refuse pages that are incomplete or too large: tifffile would fill missing strips and tiles with zeros."""
    require_size(page.imagewidth, page.imagelength)
    chunk = math.prod(page.chunks)
    if chunk > 16 * 2**28 or math.prod(page.shape) > 16 * 2**28:
        raise UnusableError(
            f"a TIFF with the shape {page.shape} according to its tags",
            "an image that fits into memory",
            f"split it into tiles; if the image is small, {FETCH_AGAIN}",
        )
    ends = [offset + count for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)]
    if len(ends) != math.prod(page.chunked) or 0 in page.databytecounts:
        raise damaged_file(f"the TIFF has {len(ends)} of {math.prod(page.chunked)} strips or tiles")
    if max(ends) > length:
        raise UnusableError(
            f"a TIFF truncated at {length} of at least {max(ends)} bytes", "a complete image", FETCH_AGAIN
        )
    if page.compression == tifffile.COMPRESSION.NONE:
        expected_bytes = math.prod(page.shape) * page.bitspersample / 8
        if sum(page.databytecounts) < expected_bytes:
            raise damaged_file(f"{sum(page.databytecounts)} of {expected_bytes:.0f} bytes of pixels")


def _read_page(page: Any) -> Pixels:  # noqa: ANN401
    colour, bits = page.photometric, page.bitspersample
    jpeg = page.compression in _JPEG
    if colour not in _SUPPORTED_COLOURS and not (jpeg and colour == _COLOUR.YCBCR):
        name = getattr(colour, "name", colour)
        raise UnusableError(
            f"a TIFF with the photometric interpretation {name}", "grey, RGB or palette", "convert it to RGB"
        )
    if page.dtype is None or (bits < 8 and bits not in (1, 2, 4)):
        raise UnusableError(
            f"a TIFF with {bits}-bit values", "1, 2, 4, 8 or 16 bits, or float", "convert it to 8 or 16 bits"
        )
    pixels = np.asarray(page.asarray())
    separate = page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and pixels.ndim == 3
    return np.moveaxis(pixels, 0, -1) if separate else pixels


def _convert(page: Any, pixels: Pixels) -> Pixels:  # noqa: ANN401
    """Convert stored values to colours and grey levels."""
    colour, bits = page.photometric, page.bitspersample
    if colour == _COLOUR.PALETTE and page.colormap is not None:
        return _apply_colormap(pixels, page.colormap)
    if bits < 8:
        pixels = pixels.astype(np.uint8) * np.uint8(255 // (2**bits - 1))
    if colour == _COLOUR.MINISWHITE:
        if pixels.dtype.kind != "u":
            raise UnusableError(
                f"{pixels.dtype} pixels with the photometric interpretation MINISWHITE",
                "unsigned integers",
                "save it with black as zero (photometric interpretation MINISBLACK)",
            )
        white = 255 if bits < 8 else 2**bits - 1
        pixels = pixels.dtype.type(white) - pixels
    return pixels


def _decodable_by_libtiff(page: Any) -> bool:  # noqa: ANN401
    """Return whether libtiff can decode the page: interleaved grey or RGB, of 8, 16 or 32 bits, LZW or deflate."""
    return (
        page.photometric in (_COLOUR.MINISBLACK, _COLOUR.RGB)
        and page.planarconfig == tifffile.PLANARCONFIG.CONTIG
        and page.dtype in (np.uint8, np.uint16, np.float32)
        and page.bitspersample == 8 * page.dtype.itemsize
        and page.compression in (tifffile.COMPRESSION.LZW, tifffile.COMPRESSION.ADOBE_DEFLATE)
    )


def _apply_colormap(indices: Pixels, colormap: Pixels) -> Pixels:
    """Convert palette indices to 8-bit colours by a TIFF colour map (3, 2**bits) of 16-bit values."""
    colours = np.asarray(colormap).T
    if (highest := int(indices.max())) >= len(colours):
        raise palette_exceeded(highest, len(colours))
    if colours.max() > 255:  # some programs write 8-bit values, as libtiff notes too
        colours = colours >> 8
    return np.asarray(colours.astype(np.uint8)[indices])


def apply_orientation(pixels: Pixels, orientation: int) -> Pixels:
    """Rotate and mirror an image upright according to its orientation tag.

    Parameters
    ----------
    pixels : (H, W) or (H, W, C) array
    orientation : int
        1 to 8 as in TIFF 6.0 and EXIF; any other value is treated as 1, upright.
    """
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
