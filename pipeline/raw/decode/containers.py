"""Whether a PNG, JPEG, GIF, BMP or WebP file is whole, and how large an image it claims, before it is decoded.

Decoders forgive: a missing end, a wrong checksum, a second image. What they forgive is refused here.
"""

import re
import struct
import zlib

MAX_PIXELS = 2**28
"""An image of more pixels (height x width) is refused before memory is taken for it."""

AGAIN = "fetch the file again, or leave it out of the folder"

_PNG_START = 8
_GIF_FRAME, _GIF_EXTENSION, _GIF_END = 0x2C, 0x21, 0x3B
_JPEG_ALONE = frozenset((0x01, *range(0xD0, 0xD8)))  # markers without a length
_JPEG_SIZE = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_SCAN, _JPEG_END = 0xDA, 0xD9
# in the coded data of a JPEG, ff 00 is a value, ff d0 to ff d7 restart it, and ff ff fills
_JPEG_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")


class UnusableError(Exception):
    """Why one file cannot be used: what was found, what was expected, what to do."""

    def __init__(self, found: str, expected: str, remedy: str = AGAIN) -> None:
        super().__init__(found, expected, remedy)


def cut_off(what: str) -> UnusableError:
    """Say that a file ends, or breaks, before its image does."""
    return UnusableError(f"a damaged or cut-off file ({what})", "a whole image")


def several(count: int, kind: str, parts: str) -> UnusableError:
    """Say that a file holds more than one image."""
    return UnusableError(f"a {kind} of {count} {parts}", "one image in one file", f"export one of the {parts}")


def require_size(width: int, height: int) -> None:
    """Refuse an image without pixels, or with more than `MAX_PIXELS`."""
    if width < 1 or height < 1:
        raise cut_off(f"{width}x{height} pixels")
    if width * height > MAX_PIXELS:
        raise UnusableError(
            f"an image that claims {width}x{height} pixels",
            f"at most {MAX_PIXELS} pixels",
            f"cut it into tiles; if it should be small, {AGAIN}",
        )


def check_png(data: bytes) -> bytes:
    """Check every chunk of a PNG file against its checksum (CRC-32); return the EXIF data, or nothing.

    Bytes after the end chunk are passed over.
    """
    view = memoryview(data)
    position, first, exif = _PNG_START, True, b""
    while True:
        if position + 12 > len(data):
            raise cut_off("a PNG without its end")
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        name = kind.decode("latin-1")
        if end > len(data):
            raise cut_off(f"PNG chunk {name!r} reaches beyond the file")
        (written,) = struct.unpack_from(">I", data, end - 4)
        if zlib.crc32(view[position + 4 : end - 4]) != written:
            raise cut_off(f"PNG chunk {name!r} does not have its checksum")
        if first:
            if kind != b"IHDR" or length != 13:
                raise cut_off("a PNG without its header")
            require_size(*struct.unpack_from(">II", data, position + 8))
        elif kind == b"acTL":
            (count,) = struct.unpack_from(">I", data, position + 8)
            if count != 1:
                raise several(count, "PNG", "frames")
        elif kind == b"eXIf":
            exif = data[position + 8 : end - 4]
        elif kind == b"IEND":
            return exif
        position, first = end, False


def check_jpeg(data: bytes) -> None:
    """Walk through the segments of a JPEG file to its end marker.

    A damaged value inside the coded data cannot be seen: JPEG has no checksums.
    """
    position, scans = 2, 0
    while True:
        while data[position : position + 2] == b"\xff\xff":
            position += 1
        if position + 2 > len(data) or data[position] != 0xFF:
            raise cut_off("a JPEG without its end marker")
        marker = data[position + 1]
        position += 2
        if marker == _JPEG_END:
            if not scans:
                raise cut_off("a JPEG without pixels")
            return
        if marker in _JPEG_ALONE:
            continue
        if position + 2 > len(data):
            raise cut_off("a JPEG without its end marker")
        (length,) = struct.unpack_from(">H", data, position)
        if length < 2 or position + length > len(data):
            raise cut_off("a JPEG segment reaches beyond the file")
        if marker in _JPEG_SIZE:
            _check_jpeg_frame(data[position + 2 : position + length])
        position += length
        if marker == _JPEG_SCAN:
            scans += 1
            after = _JPEG_MARKER.search(data, position)
            if after is None:
                raise cut_off("a JPEG without its end marker")
            position = after.start()


def _check_jpeg_frame(header: bytes) -> None:
    if len(header) < 6:
        raise cut_off("a JPEG without its size")
    bits, height, width, components = struct.unpack_from(">BHHB", header)
    require_size(width, height)
    if bits != 8:
        raise UnusableError(f"a JPEG of {bits} bits", "8 bits", "save it as 16-bit PNG or TIFF")
    if components not in (1, 3):
        raise UnusableError(
            f"a JPEG of {components} components (CMYK, most likely)", "grey or RGB", "convert it to RGB"
        )


def check_gif(data: bytes) -> None:
    """Walk through the blocks of a GIF file to its end; there must be one frame, as large as the screen.

    A damaged value inside the coded data cannot be seen: GIF has no checksums.
    """
    if len(data) < 13:
        raise cut_off("a GIF without its header")
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    require_size(width, height)
    position, frames = 13 + _palette_bytes(flags), 0
    while True:
        kind = data[position] if position < len(data) else None
        if kind == _GIF_END:
            break
        if kind == _GIF_EXTENSION:
            position = _after_blocks(data, position + 2)
        elif kind == _GIF_FRAME and position + 10 < len(data):
            frames += 1
            frame = struct.unpack_from("<HHHH", data, position + 1)
            if frames == 1 and frame != (0, 0, width, height):
                found = f"a GIF frame of {frame[2]}x{frame[3]} at {frame[:2]}, on a screen of {width}x{height}"
                raise UnusableError(found, "a frame that fills the screen", "save the image as PNG")
            position = _after_blocks(data, position + 11 + _palette_bytes(data[position + 9]))
        else:
            raise cut_off("a GIF without its end")
    if frames == 0:
        raise cut_off("a GIF without a frame")
    if frames > 1:
        raise several(frames, "GIF", "frames")


def _palette_bytes(flags: int) -> int:
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _after_blocks(data: bytes, position: int) -> int:
    """Step over blocks that start with their length, up to the empty one that ends them."""
    while position < len(data) and data[position]:
        position += data[position] + 1
    return position + 1


def check_bmp(data: bytes) -> None:
    """Compare a BMP file with the length and the size in its header."""
    if len(data) < 26:
        raise cut_off("a BMP without its header")
    (length,) = struct.unpack_from("<I", data, 2)
    if length > len(data):
        raise cut_off(f"{len(data)} of {length} bytes")
    if struct.unpack_from("<I", data, 14) == (12,):  # the header of OS/2
        require_size(*struct.unpack_from("<HH", data, 18))
    else:
        width, height = struct.unpack_from("<ii", data, 18)
        require_size(width, abs(height))


def check_webp(data: bytes) -> None:
    """Compare a WebP file with the length in its header."""
    length = struct.unpack_from("<I", data, 4)[0] + 8 if len(data) >= 12 else 12
    if length > len(data):
        raise cut_off(f"{len(data)} of {length} bytes")
