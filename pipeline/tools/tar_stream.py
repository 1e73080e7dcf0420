"""Read tar archives as a stream, with bounds on everything that a header can claim.

`tarfile` reads headers of any size into memory, parses them in quadratic time, and takes a damaged header for the end
of the archive.
"""

import bz2
import gzip
import io
import lzma
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

MAX_HEADER = 1 << 20
"""Largest extended header in bytes: a long name, extended attributes."""

_BLOCK = 512
_READ_BYTES = 1 << 16
_MAX_CHAIN = 16  # extended headers of one member
_XZ_MEMORY = 1 << 29  # dictionaries of `xz -9` have 2**26 bytes

_FILES, _FOLDER = (b"0", b"\0", b"7"), b"5"
_LONG_NAME, _LONG_LINK, _PAX, _GLOBAL, _LABEL, _SPARSE = b"L", b"K", (b"x", b"X"), b"g", b"V", b"S"


class TarError(ValueError):
    """A damaged tar archive."""


class UnsafeTarError(ValueError):
    """A tar archive that claims more than it may; the arguments are found, expected and remedy."""


class NoTarError(ValueError):
    """A file that is no tar archive."""


class Member(NamedTuple):
    """A member of a tar archive.

    Parameters
    ----------
    name : str
    kind : {'file', 'folder', 'other'}
        ``other`` are links and devices.
    size : int
        Bytes of its data.
    """

    name: str
    kind: str
    size: int


class TarStream:
    """Members of a tar archive, compressed or not, in the order of the file.

    Parameters
    ----------
    path : Path
        Compression is detected by the first bytes.
    limit : int
        Maximum number of bytes of the decompressed archive.
    """

    def __init__(self, path: Path, limit: int) -> None:
        with path.open("rb") as handle:
            magic = handle.read(6)
        openers: dict[bytes, Callable[[Path], Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": _open_xz}
        opener = next(
            (opener for mark, opener in openers.items() if magic.startswith(mark)), lambda path: path.open("rb")
        )
        self._stream: IO[bytes] = opener(path)
        self._limit, self._position, self._remaining = limit, 0, 0

    def __enter__(self) -> "TarStream":
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def __iter__(self) -> Iterator[Member]:
        """Yield each member; its data can be read before the next one is requested.

        Raises
        ------
        TarError, NoTarError, UnsafeTarError
        """
        name: str | None = None
        size: int | None = None
        chain = 0
        while (block := self._block()) is not None:
            kind, data_size = block[156:157], _number(block[124:136])
            if kind in (_LONG_NAME, _LONG_LINK, _GLOBAL, *_PAX):
                chain += 1
                data = self._extended_header(data_size, chain)
                if kind == _LONG_NAME:
                    name = _text(data)
                elif kind in _PAX:
                    records = _pax_records(data)
                    _refuse_sparse(any(key.startswith(b"GNU.sparse.") for key in records))
                    name = _text(records[b"path"]) if b"path" in records else name
                    size = _decimal(records[b"size"]) if b"size" in records else size
                continue
            _refuse_sparse(kind == _SPARSE)
            if kind != _LABEL:
                yield self._member(block, kind, name, data_size if size is None else size)
                self._skip()
            name, size, chain = None, None, 0
        self._require_end()

    def read(self, count: int) -> bytes:
        """Read at most `count` bytes of the data of the current member; none at its end."""
        data = self._read(min(count, self._remaining))
        if not data and self._remaining:
            raise TarError("the archive ends within a file")
        self._remaining -= len(data)
        return data

    def _member(self, block: bytes, kind: bytes, long_name: str | None, size: int) -> Member:
        name = _text(block[:100]) if long_name is None else long_name
        if long_name is None and block[257:263] == b"ustar\0" and block[345]:
            name = f"{_text(block[345:500])}/{name}"
        is_folder = kind == _FOLDER or (kind == b"\0" and name.endswith("/"))  # before 1988 only the slash
        is_file = kind in _FILES and not is_folder
        self._remaining = size if is_file or is_folder else 0
        return Member(name, "folder" if is_folder else "file" if is_file else "other", self._remaining)

    def _extended_header(self, size: int, chain: int) -> bytes:
        if size > MAX_HEADER or chain > _MAX_CHAIN:
            found = (
                f"a header that claims {size} bytes"
                if size > MAX_HEADER
                else f"more than {_MAX_CHAIN} headers of one file"
            )
            remedy = "do not unpack it: no program writes such headers. Get the archive from a source that you trust"
            raise UnsafeTarError(found, f"at most {_MAX_CHAIN} headers of at most {MAX_HEADER} bytes", remedy)
        return self._exactly(size + -size % _BLOCK)[:size]

    def _block(self) -> bytes | None:
        """Read a header and verify its checksum; None at the end of the archive."""
        self._skip()
        is_first = self._position == 0
        self._padding()
        block = self._exactly(_BLOCK) if not is_first else self._read(_BLOCK)
        if is_first and (len(block) < _BLOCK or (any(block) and not _is_header(block))):
            raise NoTarError
        if not any(block):
            return None
        if not _is_header(block):
            raise TarError("a header does not match its checksum")
        return block

    def _skip(self) -> None:
        while self._remaining:
            self.read(_READ_BYTES)

    def _padding(self) -> None:
        self._exactly(-self._position % _BLOCK)

    def _require_end(self) -> None:
        """Read to the end, to verify the checksum of the compression; only zeros may follow."""
        rest = 0
        while data := self._read(_READ_BYTES):
            if any(data):
                raise TarError("there are data after its end")
            rest += len(data)
        if rest < _BLOCK:
            raise TarError("its end is missing")

    def _exactly(self, count: int) -> bytes:
        parts = []
        while count:
            data = self._read(count)
            if not data:
                raise TarError("it ends early")
            parts.append(data)
            count -= len(data)
        return b"".join(parts)

    def _read(self, count: int) -> bytes:
        data = self._stream.read(min(count, _READ_BYTES))
        self._position += len(data)
        if self._position > self._limit:
            raise UnsafeTarError(
                f"more than {self._limit} bytes when decompressed",
                f"at most {self._limit} bytes",
                "raise --max-bytes if the archive is trustworthy",
            )
        return data


class _XzReader(io.RawIOBase):
    """Decompresses xz with a limit on the memory of its dictionary, which the file chooses."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._decompressor: lzma.LZMADecompressor | None = None
        self._input = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:  # noqa: ANN401 - any buffer
        while True:
            if self._decompressor is None:
                self._input = (self._input or self._file.read(_READ_BYTES)).lstrip(b"\0")  # padding between streams
                if not self._input:
                    return 0
                self._decompressor = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
            if self._decompressor.needs_input and not self._input:
                self._input = self._file.read(_READ_BYTES)
                if not self._input:
                    raise EOFError("the compressed data end early")
            try:
                data = self._decompressor.decompress(self._input, max_length=len(buffer))
            except lzma.LZMAError as error:
                if "limit" not in str(error):
                    raise
                found, remedy = "an xz file that needs more memory", "decompress it by hand (`xz -d`)"
                raise UnsafeTarError(found, f"at most {_XZ_MEMORY >> 20} MB for its dictionary", remedy) from error
            self._input = b""
            if self._decompressor.eof:
                self._input, self._decompressor = self._decompressor.unused_data, None
            if data:
                buffer[: len(data)] = data
                return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def _open_xz(path: Path) -> io.BufferedReader:
    return io.BufferedReader(_XzReader(path), _READ_BYTES)


def _is_header(block: bytes) -> bool:
    """Compare the sum of all bytes, with spaces in place of the stored sum, with that sum."""
    try:
        stored = int(block[148:156].replace(b"\0", b" ").strip() or b"-1", 8)
    except ValueError:
        return False
    total = sum(block[:148]) + sum(block[156:]) + 8 * 0x20
    signed = total - 256 * sum(byte > 127 for byte in block[:148] + block[156:])  # some old programs
    return stored in (total, signed)


def _number(field: bytes) -> int:
    """Read an octal number, or a binary one (GNU)."""
    if field[0] & 0x80:
        number = int.from_bytes(field[1:], "big") | (field[0] & 0x7F) << 88
        if field[0] & 0x40:
            raise TarError("a negative size")
        return number
    try:
        return int(field.replace(b"\0", b" ").strip() or b"0", 8)
    except ValueError as error:
        raise TarError("a size that is no number") from error


def _pax_records(data: bytes) -> dict[bytes, bytes]:
    """Parse the records of an extended header: length, space, key, equals sign, value, newline."""
    records: dict[bytes, bytes] = {}
    position = 0
    while position < len(data) and data[position] != 0:
        space = data.find(b" ", position, position + 12)
        end = position + _decimal(data[position:space]) if space > position else 0
        key, equals, value = data[space + 1 : end].partition(b"=")
        if not space < end <= len(data) or not equals or not value.endswith(b"\n"):
            raise TarError("an extended header that cannot be read")
        records[key] = value[:-1]
        position = end
    return records


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > 20:
        raise TarError("a length that is no number")
    return int(text)


def _refuse_sparse(is_sparse: bool) -> None:
    if is_sparse:
        raise UnsafeTarError(
            "a file with holes (sparse)", "files whose data are all in the archive", "pack it again without `--sparse`"
        )


def _text(data: bytes) -> str:
    return data.partition(b"\0")[0].decode("utf-8", "surrogateescape")
