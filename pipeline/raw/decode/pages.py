"""Where the pages of a TIFF file lie, and one of them cut out: a stack is not read whole for each of its pages."""

import os
import struct
from collections.abc import Callable
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO, NamedTuple

from pipeline.core.errors import RawDataError
from pipeline.raw.decode.containers import UnusableError, cut_off

STARTS = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")

Read = Callable[[int, int], bytes]
"""Gives the bytes at an offset, as many as asked for or as there are."""

_SUBFILE, _COMPRESSION, _BITS, _SAMPLE_FORMAT = 254, 259, 258, 339
_REDUCED, _MASK = 1, 4
_OJPEG = 6  # its tables lie about the file
_DATA = ((273, 279), (324, 325))  # offsets and byte counts of strips, and of tiles
_SHORT, _LONG, _LONG8 = 3, 4, 16
_NUMBERS = {_SHORT: "H", _LONG: "I", _LONG8: "Q"}
_WIDTHS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 16: 8, 17: 8}  # bytes of a type

# what pixels depend on (TIFF 6.0, its JPEG supplement, LERC), and the colour profile; the rest only describes
_SINGLE = frozenset((254, 255, 256, 257, 259, 262, 266, 274, 277, 278, 284, 292, 293, 317, 322, 323, 332))
_SEVERAL = frozenset((258, 320, 338, 339, 347, 529, 530, 531, 532, 34675, 50674))
# JPEG in pieces, depth, and makers (STK, LSM, NDPI) whose pages are to be read by rules of their own
_PECULIAR = frozenset((513, 514, 519, 520, 521, 32997, 32998, 33628, 33629, 34412, 65420))


class PageBytes(bytes):
    """A page cut out of a TIFF file: a TIFF of its own, of one page."""


class Page(NamedTuple):
    """A page that is an image: its place in the list of all pages, from 0, and where its tags start."""

    number: int
    offset: int


class _Form(NamedTuple):
    """How a file writes its lists of tags: byte order, and struct codes of a place, of how many tags, and of a tag."""

    order: str
    big: bool

    @property
    def place(self) -> str:
        return "Q" if self.big else "I"

    @property
    def many(self) -> str:
        return "Q" if self.big else "H"

    @property
    def tag(self) -> str:
        return "HHQ8s" if self.big else "HHI4s"

    def size(self, code: str) -> int:
        return struct.calcsize(f"={code}")


class _Tag(NamedTuple):
    code: int
    type: int
    values: int
    field: bytes
    """The value where it is short enough, else where the value stands."""


def count_pages(path: Path | str) -> int:
    """Count the images of a file: the pages of a TIFF without overviews and masks; any other file has one.

    Raises
    ------
    RawDataError
        If the file cannot be read or its list of pages is damaged.
    """
    try:
        with Path(path).open("rb") as handle:
            return len(_listed(str(path), _stamp(handle))) if handle.read(4) in STARTS else 1
    except OSError as error:
        found, remedy = error.strerror or str(error), "check name and rights"
    except UnusableError as error:
        found, _, remedy = error.args
    raise RawDataError(str(path), found, "a TIFF file whose pages can be counted", remedy)


def read_page(path: Path | str, number: int) -> PageBytes | None:
    """Read one page of a stack, and of the rest of the file its list of pages, which is walked once and remembered.

    Parameters
    ----------
    number : int
        Which image, from 1.

    Returns
    -------
    PageBytes or None
        None where the page cannot stand alone: in files that are no TIFF, in old JPEG and in the formats of some
        makers; also where the file is damaged, so that whoever decodes it whole says how.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    with Path(path).open("rb") as handle:
        if handle.read(4) not in STARTS:
            return None
        try:
            pages = _listed(str(path), _stamp(handle))
            if not 1 <= number <= len(pages):
                return None
            return _cut(
                _from_file(handle), pages[0].offset, pages[number - 1].offset, os.fstat(handle.fileno()).st_size
            )
        except (UnusableError, struct.error, OverflowError):
            return None


def image_pages(read: Read, length: int) -> tuple[Page, ...]:
    """List the pages that are images: overviews and masks (GeoTIFF) are pages too.

    The list of pages is followed here, because damaged ones may lead tifffile around in circles.

    Parameters
    ----------
    read : callable
    length : int
        Size of the file in bytes.

    Raises
    ------
    UnusableError
        If the list leads out of the file or in circles, or has no image.
    """
    form = _form(read(0, 4))
    images: list[Page] = []
    index = used = 0
    try:
        (offset,) = struct.unpack(form.order + form.place, read(8 if form.big else 4, form.size(form.place)))
        while offset:
            (count,) = struct.unpack(form.order + form.many, read(offset, form.size(form.many)))
            size = form.size(form.many) + count * form.size(form.tag)
            used += size
            if used > length:
                raise cut_off("a TIFF whose list of pages has no end")
            tags = read(offset + form.size(form.many), count * form.size(form.tag) + form.size(form.place))
            if not _kind(tags, count, form) & (_REDUCED | _MASK):
                images.append(Page(index, offset))
            (offset,) = struct.unpack_from(form.order + form.place, tags, count * form.size(form.tag))
            index += 1
    except (struct.error, OverflowError) as error:
        raise cut_off("a TIFF whose list of pages leads out of the file") from error
    if not images:
        raise cut_off("a TIFF without a single page")
    return tuple(images)


def in_memory(data: bytes) -> Read:
    """Read from the bytes of a whole file."""
    return lambda offset, size: data[offset : offset + size]


def _from_file(handle: BinaryIO) -> Read:
    return lambda offset, size: os.pread(handle.fileno(), size, offset)


def _stamp(handle: BinaryIO) -> tuple[int, ...]:
    state = os.fstat(handle.fileno())
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns


@lru_cache(maxsize=64)
def _listed(path: str, stamp: tuple[int, ...]) -> tuple[Page, ...]:
    """List the pages of a file; once for as long as its stamp stays, or a stack would be walked for each page."""
    with Path(path).open("rb") as handle:
        return image_pages(_from_file(handle), os.fstat(handle.fileno()).st_size)


def _form(start: bytes) -> _Form:
    return _Form("<" if start[:1] == b"I" else ">", b"+" in start[2:4])


def _kind(tags: bytes, count: int, form: _Form) -> int:
    """Return the NewSubfileType bits of a page."""
    step = form.size(form.tag)
    for at in range(0, count * step, step):
        code, number_type = struct.unpack_from(f"{form.order}HH", tags, at)
        if code == _SUBFILE:
            start = at + step - form.size(form.place)
            return int(struct.unpack_from(form.order + ("H" if number_type == _SHORT else "I"), tags, start)[0])
    return 0


def _tags(read: Read, offset: int, form: _Form) -> dict[int, _Tag]:
    (count,) = struct.unpack(form.order + form.many, read(offset, form.size(form.many)))
    step = form.size(form.tag)
    block = read(offset + form.size(form.many), count * step)
    found: dict[int, _Tag] = {}
    for at in range(0, count * step, step):
        tag = _Tag(*struct.unpack_from(form.order + form.tag, block, at))
        found.setdefault(tag.code, tag)
    return found


def _value(read: Read, tag: _Tag, form: _Form, length: int) -> bytes:
    if tag.type not in _WIDTHS:
        raise cut_off("a TIFF tag of an unknown type")
    size = _WIDTHS[tag.type] * tag.values
    if size <= len(tag.field):
        return tag.field[:size]
    (offset,) = struct.unpack(form.order + form.place, tag.field)
    if offset + size > length:
        raise cut_off("a TIFF with a tag beyond its end")
    return read(offset, size)


def _numbers(value: bytes, tag: _Tag, form: _Form) -> tuple[int, ...]:
    if tag.type not in _NUMBERS:
        raise cut_off("a TIFF tag that is no whole number")
    return struct.unpack(f"{form.order}{tag.values}{_NUMBERS[tag.type]}", value)


def _cut(read: Read, first: int, offset: int, length: int) -> PageBytes | None:
    """Write a page anew: its tags, their values, its strips or tiles one after the other."""
    form = _form(read(0, 4))
    tags = _tags(read, offset, form)
    single = all(tag.values == 1 for code, tag in tags.items() if code in _SINGLE)
    if not single or _PECULIAR & (tags.keys() | _tags(read, first, form).keys()):
        return None
    kept = {code: tag for code, tag in sorted(tags.items()) if code in _SINGLE | _SEVERAL}
    values = {code: _value(read, tag, form, length) for code, tag in kept.items()}
    compression = _number(values, kept, _COMPRESSION, form)
    guessed = _SAMPLE_FORMAT not in tags and _number(values, kept, _BITS, form) == 32
    data = [pair for pair in _DATA if pair[0] in tags]
    if compression == _OJPEG or guessed or len(data) != 1 or data[0][1] not in tags:
        return None
    starts, sizes = (
        _numbers(_value(read, tags[code], form, length), tags[code], form) for code in (data[0][0], data[0][1])
    )
    # pieces that lie over each other could ask for more than there is
    if len(starts) != len(sizes) or 0 in sizes or sum(sizes) + sum(map(len, values.values())) > length:
        return None
    pieces = [read(*place) for place in zip(starts, sizes, strict=True)]
    if tuple(map(len, pieces)) != sizes:
        return None
    return _write(form, kept, values, data[0], pieces)


def _number(values: dict[int, bytes], tags: dict[int, _Tag], code: int, form: _Form) -> int:
    return _numbers(values[code], tags[code], form)[0] if code in tags and values[code] else 1


def _write(
    form: _Form, kept: dict[int, _Tag], values: dict[int, bytes], data: tuple[int, int], pieces: list[bytes]
) -> PageBytes:
    number = _LONG8 if form.big else _LONG
    code = _NUMBERS[number]
    count = len(pieces)
    blank = bytes(count * form.size(code))  # offsets are known at the end
    sizes = struct.pack(f"{form.order}{count}{code}", *map(len, pieces))
    types = {key: (tag.type, tag.values) for key, tag in kept.items()} | dict.fromkeys(data, (number, count))
    values = values | {data[0]: blank, data[1]: sizes}
    start = 16 if form.big else 8
    place = start + form.size(form.many) + len(types) * form.size(form.tag) + form.size(form.place)
    outside: dict[int, int] = {}
    for key in sorted(types):
        if len(values[key]) > form.size(form.place):
            outside[key] = place
            place += len(values[key]) + len(values[key]) % 2
    offsets = list(accumulate(map(len, pieces), initial=place))[:-1]
    values[data[0]] = struct.pack(f"{form.order}{count}{code}", *offsets)
    header = struct.pack(f"{form.order}2sH", b"II" if form.order == "<" else b"MM", 43 if form.big else 42)
    header += struct.pack(f"{form.order}HHQ" if form.big else f"{form.order}I", *((8, 0, 16) if form.big else (8,)))
    parts = [header, struct.pack(form.order + form.many, len(types))]
    for key in sorted(types):
        field = struct.pack(form.order + form.place, outside[key]) if key in outside else values[key]
        parts.append(struct.pack(form.order + form.tag, key, *types[key], field))
    parts.append(struct.pack(form.order + form.place, 0))
    parts += [values[key] + b"\0" * (len(values[key]) % 2) for key in sorted(outside)]
    return PageBytes(b"".join([*parts, *pieces]))
