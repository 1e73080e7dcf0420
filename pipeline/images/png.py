"""Write and read the PNG images of the pipeline."""

import struct
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import PredictionError, Problem
from pipeline.core.files import exists, is_folder
from pipeline.core.fine_levels import StoredLevels
from pipeline.core.manifest import remake_remedy

_ORIENTATION, _SHORT = 274, 3  # of TIFF and EXIF: a tag and a type of values
_OTHER_SUFFIXES = (".Png", ".npy", ".npz", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
_EXPECTED = "a prediction for every sample, an 8-bit grey PNG"
_SAVE_AS_LEVELS = (
    "save predictions as 8-bit grey PNG: 0 to 255 for probabilities 0 to 1, or class indices of several classes"
)


def write_png(path: Path, pixels: NDArray[Any]) -> None:
    """Write (H, W) grey (uint8 or uint16) or (H, W, 3) RGB or (H, W, 4) RGBA (uint8) pixels as PNG.

    Raises
    ------
    OSError
        If the file cannot be written; `pipeline.core.files` converts it into an `OutputError`.
    """
    # enlarged rows and captions repeat the row above: `UP` makes panels several times as small, and no image larger
    png_filter = imagecodecs.PNG.FILTER.UP if pixels.ndim == 3 else imagecodecs.PNG.FILTER.SUB
    rle = imagecodecs.PNG.STRATEGY.RLE
    path.write_bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels), level=1, strategy=rle, filter=png_filter))


class PngWriter:
    """Writes a PNG from top to bottom, so that memory holds a few of its rows only.

    Parameters
    ----------
    path : Path
    height, width : int
    channels : {1, 3, 4}
        Grey, RGB or RGBA.
    bits : {8, 16}
        Of each value.

    Raises
    ------
    OSError
        If the file cannot be written.
    """

    def __init__(self, path: Path, height: int, width: int, channels: int, bits: int = 8) -> None:
        self._pixel_bytes = channels * bits // 8
        self._dtype = {8: "u1", 16: ">u2"}[bits]
        self._stream = zlib.compressobj(1, strategy=zlib.Z_RLE)  # as `write_png`
        self._file = path.open("wb")
        self._file.write(b"\x89PNG\r\n\x1a\n")
        colour_type = {1: 0, 3: 2, 4: 6}[channels]
        self._write_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0))

    def write(self, rows: StoredLevels) -> None:
        """Append (h, W) or (h, W, C) rows."""
        values = np.ascontiguousarray(rows, dtype=self._dtype).reshape(len(rows), -1).view(np.uint8)
        filtered = np.empty((len(values), values.shape[1] + 1), dtype=np.uint8)
        filtered[:, 0] = 1  # the filter `Sub`: each byte minus that of the pixel to the left
        filtered[:, 1:] = values
        filtered[:, 1 + self._pixel_bytes :] -= values[:, : -self._pixel_bytes]
        self._write_chunk(b"IDAT", self._stream.compress(filtered.data))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        try:
            if error is None:
                self._write_chunk(b"IDAT", self._stream.flush())
                self._write_chunk(b"IEND", b"")
        finally:
            self._file.close()

    def _write_chunk(self, kind: bytes, data: bytes) -> None:
        if data or kind != b"IDAT":
            checksum = zlib.crc32(data, zlib.crc32(kind))
            self._file.write(struct.pack(">I4s", len(data), kind) + data + struct.pack(">I", checksum))


def read_levels(path: Path, height: int, width: int) -> NDArray[np.uint8]:
    """Read a prediction of the expected size.

    Parameters
    ----------
    path : Path
        8-bit grey PNG.
    height, width : int
        Size of the raw image.

    Returns
    -------
    (height, width) array of uint8

    Raises
    ------
    PredictionError
        If it is missing, damaged, of another type or of another size.
    """
    levels = read_grey(path)
    _require_size(path, levels, height, width)
    return levels


def read_probability(path: Path, height: int, width: int) -> StoredLevels:
    """Read a probability image of the expected size.

    Parameters
    ----------
    path : Path
        Grey PNG of 8 or 16 bits.
    height, width : int
        Size of the raw image.

    Returns
    -------
    (height, width) array of uint8 or uint16
        The largest value of the type is probability 1.

    Raises
    ------
    PredictionError
        As `read_levels`.
    """
    stored = read_stored_levels(path)
    _require_size(path, stored, height, width)
    return stored


def _require_size(path: Path, levels: StoredLevels, height: int, width: int) -> None:
    if levels.shape != (height, width):
        expected = f"grey of shape {(height, width)}, like its mask"
        remedy = remake_remedy(path, "save the predictions at the size of the raw images")
        raise PredictionError(str(path), f"pixels of shape {levels.shape}", expected, remedy)


def require_folder(folder: Path) -> None:
    """Refuse a file that is named as the folder of predictions, once.

    Raises
    ------
    PredictionError
    """
    if exists(folder) and not is_folder(folder):
        remedy = "name the folder that contains the predictions"
        raise PredictionError(str(folder), "a file", f"a folder with {_EXPECTED}", remedy)


def read_grey(path: Path) -> NDArray[np.uint8]:
    """Read an 8-bit grey PNG of any size as (H, W) of uint8.

    Raises
    ------
    PredictionError
        If it is missing, damaged or of another type, or its EXIF orientation says that it is stored turned.
    """
    grey: NDArray[np.uint8] = _read(path, np.uint8)
    return grey


def read_stored_levels(path: Path) -> StoredLevels:
    """Read a grey PNG of 8 or 16 bits as (H, W) of uint8 or uint16; otherwise as `read_grey`."""
    return _read(path, np.uint8, np.uint16)


def _read(path: Path, *dtypes: type[np.generic]) -> NDArray[Any]:
    bits = " or ".join(f"{8 * np.dtype(dtype).itemsize}-bit" for dtype in dtypes)
    try:
        data = path.read_bytes()
        levels = np.asarray(imagecodecs.png_decode(data))
    except OSError as error:
        raise PredictionError(_unreadable(path, error)) from error
    except (ValueError, imagecodecs.PngError) as error:  # ValueError: not a PNG file
        remedy = remake_remedy(path, "save it as PNG, or copy it again if it is one")
        raise PredictionError(str(path), f"a damaged file ({error})", f"{bits} grey PNG", remedy) from error
    if levels.dtype not in dtypes or levels.ndim != 2:
        pixels = f"{levels.dtype} pixels of shape {levels.shape}"
        advice = "save it as 8-bit grey PNG without colours and alpha" if levels.ndim > 2 else _SAVE_AS_LEVELS
        remedy = remake_remedy(path, advice)
        raise PredictionError(str(path), pixels, f"{bits} grey, height x width", remedy)
    if (orientation := _exif_orientation(data)) != 1:
        remedy = "save it turned upright, without the EXIF of the photograph"
        raise PredictionError(str(path), f"the EXIF orientation {orientation}", "a prediction stored upright", remedy)
    return levels


def _unreadable(path: Path, error: OSError) -> Problem:
    """Return the problem of a prediction that is missing, or is no file with permission to read it."""
    if is_folder(path):
        return Problem(str(path), "a folder", _EXPECTED, "move it, and save the prediction under this name")
    if not isinstance(error, FileNotFoundError):
        remedy = "give yourself permission to read it (`chmod u+r`), or copy it to another disk"
        return Problem(str(path), f"a file that cannot be read ({error.strerror})", _EXPECTED, remedy)
    suffixes = (*_OTHER_SUFFIXES, *map(str.upper, _OTHER_SUFFIXES))
    other = next(filter(exists, map(path.with_suffix, suffixes)), None)
    if other is None:
        advice = "add the image, or name the folder that contains it"
    else:
        advice = f"rename it to {path.name}" if other.suffix.lower() == ".png" else _SAVE_AS_LEVELS
    found = "no such file" if other is None else f"no such file, but {other.name}"
    return Problem(str(path), found, _EXPECTED, remake_remedy(path, advice))


def _exif_orientation(data: bytes) -> int:
    """Return the EXIF orientation, 1 to 8, of a PNG that could be decoded; 1 if it has none, or one that is damaged.

    Pillow raises errors and prints warnings for damaged EXIF.
    """
    position = 8
    with suppress(struct.error, KeyError):
        while True:
            length, kind = struct.unpack_from(">I4s", data, position)
            if kind == b"eXIf":
                break
            position += length + 12
        exif = data[position + 8 : position + 8 + length].removeprefix(b"Exif\0\0")
        order = {b"II*\0": "<", b"MM\0*": ">"}[exif[:4]]
        (start,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, start)
        for entry in range(count):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", exif, start + 2 + 12 * entry)
            if tag == _ORIENTATION and kind == _SHORT and 1 <= value <= 8:
                return int(value)
    return 1
