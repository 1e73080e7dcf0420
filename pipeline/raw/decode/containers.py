"""Check that a PNG, JPEG, GIF, BMP or WebP file is complete, and read the image size in its header, before decoding.

Decoders tolerate a missing end, a wrong checksum or a second image. These checks refuse such files.
"""

import re
import struct
import zlib
from typing import NamedTuple

MAX_PIXELS = 2**28
"""Images with more pixels (height x width) are refused before memory is allocated."""

FETCH_AGAIN = "download or copy the file again, or leave it out"

_PNG_SIGNATURE_SIZE = 8
_PNG_PALETTE = 3  # the colour type
_GIF_FRAME, _GIF_EXTENSION, _GIF_END = 0x2C, 0x21, 0x3B
_JPEG_MARKERS_WITHOUT_LENGTH = frozenset((0x01, *range(0xD0, 0xD8)))  # markers without a length
_JPEG_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_SCAN, _JPEG_END = 0xDA, 0xD9
# in the coded data of a JPEG, ff 00 is a value, ff d0 to ff d7 are restart markers, and ff ff is padding
_JPEG_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")


class UnusableError(Exception):
    """A file that cannot be used: what was found, what was expected, and a remedy."""

    def __init__(self, actual: str, expected: str, remedy: str) -> None:
        super().__init__(actual, expected, remedy)


def damaged_file(detail: str) -> UnusableError:
    """Return the error for a damaged or truncated file."""
    return UnusableError(f"a damaged or truncated file ({detail})", "a complete image", FETCH_AGAIN)


def palette_exceeded(highest: int, colours: int) -> UnusableError:
    """Return the error for palette indices without a colour, which decoders show as black."""
    return UnusableError(
        f"palette indices up to {highest}, while the palette has {colours} colours",
        "a colour for every index",
        f"save the file with a palette of at least {highest + 1} colours, or save the indices as a grey PNG",
    )


def multiple_images(count: int, kind: str, parts: str) -> UnusableError:
    """Return the error for a file with more than one image."""
    return UnusableError(f"a {kind} with {count} {parts}", "one image in one file", f"export one of the {parts}")


def require_size(width: int, height: int) -> None:
    """Raise `UnusableError` for an image without pixels, or with more than `MAX_PIXELS`."""
    if width < 1 or height < 1:
        raise damaged_file(f"{width}x{height} pixels")
    if width * height > MAX_PIXELS:
        raise UnusableError(
            f"an image of {width}x{height} pixels according to its header",
            f"at most {MAX_PIXELS} pixels",
            f"split it into tiles; if the image is small, {FETCH_AGAIN}",
        )


class PngFacts(NamedTuple):
    """The EXIF data of a PNG file, empty if there are none, and the colours of its palette if they are incomplete."""

    exif: bytes
    short_palette: int | None


def check_png(data: bytes) -> PngFacts:
    """Check every chunk of a PNG file against its checksum (CRC-32).

    Bytes after the end chunk are ignored.
    """
    view = memoryview(data)
    position, is_first_chunk, exif, colours = _PNG_SIGNATURE_SIZE, True, b"", 0
    while True:
        if position + 12 > len(data):
            raise damaged_file("the PNG has no end chunk")
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        name = kind.decode("latin-1")
        if end > len(data):
            raise damaged_file(f"PNG chunk {name!r} extends past the end of the file")
        (stored_checksum,) = struct.unpack_from(">I", data, end - 4)
        if zlib.crc32(view[position + 4 : end - 4]) != stored_checksum:
            raise damaged_file(f"PNG chunk {name!r} has a wrong checksum")
        if is_first_chunk:
            if kind != b"IHDR" or length != 13:
                raise damaged_file("the PNG has no header")
            require_size(*struct.unpack_from(">II", data, position + 8))
        elif kind == b"acTL":
            (count,) = struct.unpack_from(">I", data, position + 8)
            if count != 1:
                raise multiple_images(count, "PNG", "frames")
        elif kind == b"eXIf":
            exif = data[position + 8 : end - 4]
        elif kind == b"PLTE":
            colours = length // 3
        elif kind == b"IEND":
            bits, colour_type = data[_PNG_SIGNATURE_SIZE + 16], data[_PNG_SIGNATURE_SIZE + 17]
            is_short = colour_type == _PNG_PALETTE and colours < 2**bits
            return PngFacts(exif, colours if is_short else None)
        position, is_first_chunk = end, False


def check_jpeg(data: bytes) -> None:
    """Walk through the segments of a JPEG file to its end marker.

    Damage inside the coded data is not detected: JPEG has no checksums.
    """
    position, scans = 2, 0
    while True:
        while data[position : position + 2] == b"\xff\xff":
            position += 1
        if position + 2 > len(data) or data[position] != 0xFF:
            raise damaged_file("the JPEG has no end marker")
        marker = data[position + 1]
        position += 2
        if marker == _JPEG_END:
            if not scans:
                raise damaged_file("the JPEG has no pixels")
            return
        if marker in _JPEG_MARKERS_WITHOUT_LENGTH:
            continue
        if position + 2 > len(data):
            raise damaged_file("the JPEG has no end marker")
        (length,) = struct.unpack_from(">H", data, position)
        if length < 2 or position + length > len(data):
            raise damaged_file("a JPEG segment extends past the end of the file")
        if marker in _JPEG_FRAME_HEADERS:
            _check_jpeg_frame(data[position + 2 : position + length])
        position += length
        if marker == _JPEG_SCAN:
            scans += 1
            next_marker = _JPEG_MARKER.search(data, position)
            if next_marker is None:
                raise damaged_file("the JPEG has no end marker")
            position = next_marker.start()


def _check_jpeg_frame(header: bytes) -> None:
    if len(header) < 6:
        raise damaged_file("the JPEG has no image size")
    bits, height, width, channels = struct.unpack_from(">BHHB", header)
    require_size(width, height)
    if bits != 8:
        raise UnusableError(f"a {bits}-bit JPEG", "8 bits", "save it as 16-bit PNG or TIFF")
    if channels not in (1, 3):
        raise UnusableError(f"a JPEG with {channels} channels (probably CMYK)", "grey or RGB", "convert it to RGB")


def check_gif(data: bytes) -> int:
    """Walk through the blocks of a GIF file to its end; it must have one frame, of the size of the logical screen.

    Damage inside the coded data is not detected: GIF has no checksums.

    Returns
    -------
    int
        Number of colours in the palette of the frame.
    """
    if len(data) < 13:
        raise damaged_file("the GIF header is incomplete")
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    require_size(width, height)
    position, frames, palette_size = 13 + _palette_bytes(flags), 0, _palette_bytes(flags)
    while True:
        kind = data[position] if position < len(data) else None
        if kind == _GIF_END:
            break
        if kind == _GIF_EXTENSION:
            position = _skip_blocks(data, position + 2)
        elif kind == _GIF_FRAME and position + 10 < len(data):
            frames += 1
            frame = struct.unpack_from("<HHHH", data, position + 1)
            if frames == 1 and frame != (0, 0, width, height):
                actual = f"a GIF frame of {frame[2]}x{frame[3]} at {frame[:2]}, on a logical screen of {width}x{height}"
                raise UnusableError(actual, "a frame that fills the screen", "save the image as PNG")
            local_palette = _palette_bytes(data[position + 9])
            palette_size = local_palette or palette_size
            position = _skip_blocks(data, position + 11 + local_palette)
        else:
            raise damaged_file("the GIF has no end")
    if frames == 0:
        raise damaged_file("the GIF has no frame")
    if frames > 1:
        raise multiple_images(frames, "GIF", "frames")
    return palette_size // 3


def _palette_bytes(flags: int) -> int:
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _skip_blocks(data: bytes, position: int) -> int:
    """Return the position after a series of sub-blocks, each preceded by its length, and the empty one that ends it."""
    while position < len(data) and data[position]:
        position += data[position] + 1
    return position + 1


def check_bmp(data: bytes) -> int | None:
    """Check the file length and the image size in the header of a BMP file.

    Returns
    -------
    int or None
        Number of colours in the palette, if the file has one.
    """
    if len(data) < 26:
        raise damaged_file("the BMP has no header")
    (length,) = struct.unpack_from("<I", data, 2)
    if length > len(data):
        raise damaged_file(f"{len(data)} of {length} bytes")
    if struct.unpack_from("<I", data, 14) == (12,):  # the header of an OS/2 bitmap
        require_size(*struct.unpack_from("<HH", data, 18))
        (bits,) = struct.unpack_from("<H", data, 24)
        return 2**bits if bits <= 8 else None
    width, height = struct.unpack_from("<ii", data, 18)
    require_size(width, abs(height))
    if len(data) < 54:
        raise damaged_file("the BMP header is incomplete")
    (bits,) = struct.unpack_from("<H", data, 28)
    (colours,) = struct.unpack_from("<I", data, 46)
    return (colours or 2**bits) if bits <= 8 else None


def check_webp(data: bytes) -> None:
    """Check the file length in the header of a WebP file."""
    length = struct.unpack_from("<I", data, 4)[0] + 8 if len(data) >= 12 else 12
    if length > len(data):
        raise damaged_file(f"{len(data)} of {length} bytes")
