"""List the pages of a TIFF file and extract a single page, without reading the whole stack for each page."""

import os
import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO, NamedTuple

from pipeline.core.errors import RawDataError
from pipeline.raw.decode.containers import UnusableError, damaged_file
from pipeline.raw.decode.planes import described_channels, described_planes

TIFF_SIGNATURES = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")

ReadAt = Callable[[int, int], bytes]
"""Function of offset and size that returns these bytes; fewer at the end of the file."""

_SUBFILE, _COMPRESSION, _BITS, _SAMPLE_FORMAT = 254, 259, 258, 339
_NODATA_TAGS = (42112, 42113)  # of GDAL; those of the first page count for pages without
_WIDTH, _HEIGHT, _SAMPLES, _DESCRIPTION = 256, 257, 277, 270
_REDUCED, _MASK = 1, 4  # bits of NewSubfileType: an overview, a transparency mask
_OJPEG = 6  # its tables may be anywhere in the file
_DATA_TAGS = ((273, 279), (324, 325))  # offsets and byte counts of strips, and of tiles
_SHORT, _LONG, _LONG8 = 3, 4, 16
_INTEGER_CODES = {_SHORT: "H", _LONG: "I", _LONG8: "Q"}
_TYPE_SIZES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    16: 8,
    17: 8,
}  # bytes per value of each type

# tags that pixels depend on (TIFF 6.0, its JPEG supplement, LERC, GDAL's NoData), and the colour profile
_SINGLE_VALUE_TAGS = frozenset((254, 255, 256, 257, 259, 262, 266, 274, 277, 278, 284, 292, 293, 317, 322, 323, 332))
_MULTI_VALUE_TAGS = frozenset((258, 320, 338, 339, 347, 529, 530, 531, 532, 34675, 50674, *_NODATA_TAGS))
# old-style JPEG, image depth, and vendor formats (STK, LSM, NDPI) whose pages need special rules
_UNSUPPORTED_TAGS = frozenset((513, 514, 519, 520, 521, 32997, 32998, 33628, 33629, 34412, 65420))


class PageBytes(bytes):
    """A page extracted from a TIFF file, as a TIFF file with one page."""


class Page(NamedTuple):
    """A page that is an image.

    Parameters
    ----------
    number : int
        Index in the list of all pages, from 0.
    offset : int
        Offset of its tags in bytes.
    mask : (int, int), optional
        The same of its transparency mask.
    """

    number: int
    offset: int
    mask: tuple[int, int] | None = None


class _TiffFormat(NamedTuple):
    """Byte order of a TIFF file, and the `struct` codes of an offset, of the number of tags, and of a tag."""

    order: str
    big: bool

    @property
    def offset(self) -> str:
        return "Q" if self.big else "I"

    @property
    def tag_count(self) -> str:
        return "Q" if self.big else "H"

    @property
    def tag(self) -> str:
        return "HHQ8s" if self.big else "HHI4s"

    def size(self, code: str) -> int:
        return struct.calcsize(f"={code}")


class _Tag(NamedTuple):
    code: int
    type: int
    value_count: int
    field: bytes
    """The value if it is short enough, else its offset."""


def count_pages(path: Path | str) -> int:
    """Count the images in a file: the pages of a TIFF file except overviews and masks; 1 for any other format.

    Raises
    ------
    RawDataError
        If the file cannot be read, or its list of pages is damaged.
    """
    try:
        with Path(path).open("rb") as handle:
            return len(_cached_pages(str(path), _file_state(handle))) if handle.read(4) in TIFF_SIGNATURES else 1
    except OSError as error:
        actual, remedy = error.strerror or str(error), "check its name and permissions"
    except UnusableError as error:
        actual, _, remedy = error.args
    raise RawDataError(str(path), actual, "a TIFF file whose pages can be counted", remedy)


def page_channels(path: Path | str) -> int:
    """Return how many pages of a TIFF file are the channels of one image, according to its description; else 1.

    Raises
    ------
    RawDataError
        See `count_pages`.
    """
    if count_pages(path) == 1:
        return 1
    with Path(path).open("rb") as handle:
        read, length = _from_file(handle), os.fstat(handle.fileno()).st_size
        fmt = _read_format(read(0, 4))
        try:
            tags = _read_tags(read, _cached_pages(str(path), _file_state(handle))[0].offset, fmt)
            description, _, samples = _description(read, tags, fmt, length)
        except (UnusableError, struct.error, OverflowError):
            return 1  # decoding a page reports the damage
        return described_channels(description, samples)


def read_page(path: Path | str, number: int) -> PageBytes | None:
    """Read one page of a TIFF stack and the list of pages of the file, which is cached.

    Parameters
    ----------
    number : int
        Page number, from 1.

    Returns
    -------
    PageBytes or None
        None if the page cannot be extracted: in files other than TIFF, with old-style JPEG compression, and in
        some vendor formats; also if the file is damaged, so that decoding the whole file reports the damage.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    with Path(path).open("rb") as handle:
        if handle.read(4) not in TIFF_SIGNATURES:
            return None
        try:
            pages = _cached_pages(str(path), _file_state(handle))
            if not 1 <= number <= len(pages):
                return None
            return _extract_page(_from_file(handle), pages, number, os.fstat(handle.fileno()).st_size)
        except (UnusableError, struct.error, OverflowError):
            return None


def image_pages(read: ReadAt, length: int) -> tuple[Page, ...]:
    """List the pages of a TIFF file that are images, without overviews, each with its transparency mask (GeoTIFF).

    tifffile does not list the pages, because a damaged list may be circular.

    Parameters
    ----------
    read : callable
    length : int
        Size of the file in bytes.

    Raises
    ------
    UnusableError
        If the list points outside the file, is circular, or has no image.
    """
    fmt = _read_format(read(0, 4))
    images: list[Page] = []
    index = list_bytes = 0
    try:
        (offset,) = struct.unpack(fmt.order + fmt.offset, read(8 if fmt.big else 4, fmt.size(fmt.offset)))
        while offset:
            (count,) = struct.unpack(fmt.order + fmt.tag_count, read(offset, fmt.size(fmt.tag_count)))
            size = fmt.size(fmt.tag_count) + count * fmt.size(fmt.tag)
            list_bytes += size
            if list_bytes > length:
                raise damaged_file("the list of pages of the TIFF has no end")
            tags = read(offset + fmt.size(fmt.tag_count), count * fmt.size(fmt.tag) + fmt.size(fmt.offset))
            kind = _subfile_type(tags, count, fmt)
            if not kind & (_REDUCED | _MASK):
                images.append(Page(index, offset))
            elif not kind & _REDUCED and images and images[-1].mask is None:
                images[-1] = images[-1]._replace(mask=(index, offset))
            (offset,) = struct.unpack_from(fmt.order + fmt.offset, tags, count * fmt.size(fmt.tag))
            index += 1
    except (struct.error, OverflowError) as error:
        raise damaged_file("the list of pages of the TIFF points outside the file") from error
    if not images:
        if index:
            raise UnusableError(
                f"a TIFF whose {index} pages are overviews or masks, as of a raw photograph",
                "a page with the image",
                "export the image as TIFF or PNG with the program of the camera or scanner",
            )
        raise damaged_file("the TIFF has no image")
    return tuple(images)


def in_memory(data: bytes) -> ReadAt:
    """Return a `ReadAt` for the bytes of a whole file."""
    return lambda offset, size: data[offset : offset + size]


def _from_file(handle: BinaryIO) -> ReadAt:
    return lambda offset, size: os.pread(handle.fileno(), size, offset)


def _file_state(handle: BinaryIO) -> tuple[int, ...]:
    state = os.fstat(handle.fileno())
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns


@lru_cache(maxsize=64)
def _cached_pages(path: str, file_state: tuple[int, ...]) -> tuple[Page, ...]:
    """List the pages of a file; cached until the file changes, to walk through a stack once."""
    with Path(path).open("rb") as handle:
        return image_pages(_from_file(handle), os.fstat(handle.fileno()).st_size)


def _read_format(start: bytes) -> _TiffFormat:
    return _TiffFormat("<" if start[:1] == b"I" else ">", b"+" in start[2:4])


def _subfile_type(tags: bytes, count: int, fmt: _TiffFormat) -> int:
    """Return the NewSubfileType bits of a page."""
    tag_size = fmt.size(fmt.tag)
    for position in range(0, count * tag_size, tag_size):
        code, number_type = struct.unpack_from(f"{fmt.order}HH", tags, position)
        if code == _SUBFILE:
            start = position + tag_size - fmt.size(fmt.offset)
            return int(struct.unpack_from(fmt.order + ("H" if number_type == _SHORT else "I"), tags, start)[0])
    return 0


def _read_tags(read: ReadAt, offset: int, fmt: _TiffFormat) -> dict[int, _Tag]:
    (count,) = struct.unpack(fmt.order + fmt.tag_count, read(offset, fmt.size(fmt.tag_count)))
    tag_size = fmt.size(fmt.tag)
    block = read(offset + fmt.size(fmt.tag_count), count * tag_size)
    tags: dict[int, _Tag] = {}
    for position in range(0, count * tag_size, tag_size):
        tag = _Tag(*struct.unpack_from(fmt.order + fmt.tag, block, position))
        tags.setdefault(tag.code, tag)
    return tags


def _read_value(read: ReadAt, tag: _Tag, fmt: _TiffFormat, length: int) -> bytes:
    if tag.type not in _TYPE_SIZES:
        raise damaged_file("a TIFF tag has an unknown type")
    size = _TYPE_SIZES[tag.type] * tag.value_count
    if size <= len(tag.field):
        return tag.field[:size]
    (offset,) = struct.unpack(fmt.order + fmt.offset, tag.field)
    if offset + size > length:
        raise damaged_file("a TIFF tag points outside the file")
    return read(offset, size)


def _parse_integers(value: bytes, tag: _Tag, fmt: _TiffFormat) -> tuple[int, ...]:
    if tag.type not in _INTEGER_CODES:
        raise damaged_file("a TIFF tag is not an integer")
    return struct.unpack(f"{fmt.order}{tag.value_count}{_INTEGER_CODES[tag.type]}", value)


def _extract_page(read: ReadAt, pages: Sequence[Page], number: int, length: int) -> PageBytes | None:
    """Extract a page as a separate TIFF file, or return None if that is not possible."""
    fmt = _read_format(read(0, 4))
    page = pages[number - 1]
    tags, first_tags = (_read_tags(read, offset, fmt) for offset in (page.offset, pages[0].offset))
    tags = {code: tag for code, tag in first_tags.items() if code in _NODATA_TAGS} | tags
    single = all(tag.value_count == 1 for code, tag in tags.items() if code in _SINGLE_VALUE_TAGS)
    if not single or page.mask is not None or _UNSUPPORTED_TAGS & (tags.keys() | first_tags.keys()):
        return None
    if _described_planes(read, first_tags, fmt, length) > len(pages):
        return None  # decoding the whole file reports it
    kept_tags = {code: tag for code, tag in sorted(tags.items()) if code in _SINGLE_VALUE_TAGS | _MULTI_VALUE_TAGS}
    values = {code: _read_value(read, tag, fmt, length) for code, tag in kept_tags.items()}
    compression = _first_integer(values, kept_tags, _COMPRESSION, fmt)
    ambiguous_type = _SAMPLE_FORMAT not in tags and _first_integer(values, kept_tags, _BITS, fmt) == 32
    data_tags = [pair for pair in _DATA_TAGS if pair[0] in tags]
    if compression == _OJPEG or ambiguous_type or len(data_tags) != 1 or data_tags[0][1] not in tags:
        return None
    starts, sizes = (
        _parse_integers(_read_value(read, tags[code], fmt, length), tags[code], fmt)
        for code in (data_tags[0][0], data_tags[0][1])
    )
    # overlapping strips or tiles could add up to more than the file
    if len(starts) != len(sizes) or 0 in sizes or sum(sizes) + sum(map(len, values.values())) > length:
        return None
    chunks = [read(start, size) for start, size in zip(starts, sizes, strict=True)]
    if tuple(map(len, chunks)) != sizes:
        return None
    return _build_page(fmt, kept_tags, values, data_tags[0], chunks)


def _described_planes(read: ReadAt, tags: dict[int, _Tag], fmt: _TiffFormat, length: int) -> int:
    description, page_values, samples = _description(read, tags, fmt, length)
    return described_planes(description, page_values, samples)[0] if page_values else 0


def _description(read: ReadAt, tags: dict[int, _Tag], fmt: _TiffFormat, length: int) -> tuple[str, int, int]:
    """Return the description of a page, and how many values and samples per pixel it has."""
    codes = [code for code in (_WIDTH, _HEIGHT, _SAMPLES) if code in tags]
    values = {code: _read_value(read, tags[code], fmt, length) for code in codes}
    width, height, samples = (_first_integer(values, tags, code, fmt) for code in (_WIDTH, _HEIGHT, _SAMPLES))
    text = _read_value(read, tags[_DESCRIPTION], fmt, length) if _DESCRIPTION in tags else b""
    return text.decode("utf-8", "replace"), width * height * samples, samples


def _first_integer(values: dict[int, bytes], tags: dict[int, _Tag], code: int, fmt: _TiffFormat) -> int:
    return _parse_integers(values[code], tags[code], fmt)[0] if code in tags and values[code] else 1


def _build_page(
    fmt: _TiffFormat, tags: dict[int, _Tag], values: dict[int, bytes], data_tags: tuple[int, int], chunks: list[bytes]
) -> PageBytes:
    """Build a TIFF file with one page: header, list of tags, their long values, then the strips or tiles (`chunks`)."""
    offset_type = _LONG8 if fmt.big else _LONG
    code = _INTEGER_CODES[offset_type]
    count = len(chunks)
    placeholder = bytes(count * fmt.size(code))  # the offsets are filled in below
    sizes = struct.pack(f"{fmt.order}{count}{code}", *map(len, chunks))
    types = {key: (tag.type, tag.value_count) for key, tag in tags.items()} | dict.fromkeys(
        data_tags, (offset_type, count)
    )
    values = values | {data_tags[0]: placeholder, data_tags[1]: sizes}
    start = 16 if fmt.big else 8
    position = start + fmt.size(fmt.tag_count) + len(types) * fmt.size(fmt.tag) + fmt.size(fmt.offset)
    value_offsets: dict[int, int] = {}
    for key in sorted(types):
        if len(values[key]) > fmt.size(fmt.offset):
            value_offsets[key] = position
            position += len(values[key]) + len(values[key]) % 2
    offsets = list(accumulate(map(len, chunks), initial=position))[:-1]
    values[data_tags[0]] = struct.pack(f"{fmt.order}{count}{code}", *offsets)
    header = struct.pack(f"{fmt.order}2sH", b"II" if fmt.order == "<" else b"MM", 43 if fmt.big else 42)
    header += struct.pack(f"{fmt.order}HHQ" if fmt.big else f"{fmt.order}I", *((8, 0, 16) if fmt.big else (8,)))
    parts = [header, struct.pack(fmt.order + fmt.tag_count, len(types))]
    for key in sorted(types):
        field = struct.pack(fmt.order + fmt.offset, value_offsets[key]) if key in value_offsets else values[key]
        parts.append(struct.pack(fmt.order + fmt.tag, key, *types[key], field))
    parts.append(struct.pack(fmt.order + fmt.offset, 0))
    parts += [values[key] + b"\0" * (len(values[key]) % 2) for key in sorted(value_offsets)]
    return PageBytes(b"".join([*parts, *chunks]))
