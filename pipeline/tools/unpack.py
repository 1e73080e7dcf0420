"""Unpack archives of raw data, including nested ones, safely and atomically."""

import errno
import os
import stat
import tempfile
import unicodedata
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from pipeline.core.errors import OutputError, Problem, RawDataError, plural
from pipeline.core.files import atomic_folder, exists, is_folder, name_bytes, names_in
from pipeline.core.progress import log
from pipeline.raw.layouts.registry import recognise
from pipeline.raw.samples import is_archive
from pipeline.tools.tar_stream import NoTarError, TarStream, UnsafeTarError

MAX_FILES = 1_000_000
"""Maximum number of files and folders in an archive, including nested archives."""

MAX_DEPTH = 3
"""Maximum depth of nested archives."""

_MAX_RATIO = 20  # default limit of unpacked bytes: this times the size of the archive,
_EXTRA_BYTES = 10**9  # plus this
_BLOCK = 1 << 20
_SUFFIXES = (".zip", ".tar", ".tgz", ".tar.gz", ".tbz2", ".tar.bz2", ".txz", ".tar.xz")
_CLUTTER = ("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini")
_MAX_FOLDERS = 100  # in a path
_MAX_LISTED_NAME = 120  # characters of a long name in a message
_MAX_NAME, _MAX_PATH = 255, 4000  # bytes that common file systems allow
_ZIP_METHODS = {
    zipfile.ZIP_STORED: "stored",
    zipfile.ZIP_DEFLATED: "deflate",
    zipfile.ZIP_BZIP2: "bzip2",
    zipfile.ZIP_LZMA: "LZMA",
}
_OTHER_ARCHIVES = {
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\x07": "a RAR archive",
    b"\x28\xb5\x2f\xfd": "a file compressed by Zstandard",
    b"\x04\x22\x4d\x18": "a file compressed by LZ4",
    b"LZIP": "a file compressed by lzip",
    b"\x1f\x9d": "a file compressed by compress",
    b"MSCF": "a cabinet archive",
    b"PK\x07\x08": "a part of a zip archive in several parts",
    b"PK00PK": "a part of a zip archive in several parts",
}
"""Formats that are named, by their first bytes."""

_END_OF_ZIP = b"PK\x05\x06"
_END_SIZE, _END64_SIZE, _LOCATOR_SIZE = 22, 56, 20  # bytes of the records at the end of a zip archive
_MAX_COMMENT = 2**16 - 1  # bytes between the end record and the end of the file
_IS_ENCRYPTED = 1 | 1 << 6  # flags of a zip member: by a password, by a strong method
_DOWNLOAD_AGAIN = "download the archive again"
_OTHER_PROGRAM = "unpack it with another program, such as 7-Zip"
_BY_HAND = "inspect the archive and unpack it by hand"
_DISTINCT = "names that differ in more than case and the form of accents"


@dataclass
class _Budget:
    """Limit and counts of unpacked bytes and members, over all nested archives."""

    limit: int
    written: int = 0
    passed_over: int = 0
    files: int = 0
    members: int = 0
    skipped: int = 0
    taken_paths: dict[str, str] = field(default_factory=dict)

    def require(self, count: int, location: str) -> None:
        """Refuse `count` more bytes if they exceed the limit."""
        if self.written + self.passed_over + count > self.limit:
            raise _error(
                location,
                f"more than {self.limit} bytes when unpacked",
                f"at most {self.limit} bytes",
                "raise --max-bytes if the archive is trustworthy",
            )

    def count_member(self, location: str) -> None:
        """Count a member of any kind: a file, a folder, or clutter."""
        self.members += 1
        if self.members > MAX_FILES:
            raise _error(location, f"more than {MAX_FILES} files and folders", f"at most {MAX_FILES}", _BY_HAND)


def unpack(archive: Path, folder: Path, *, max_bytes: int | None = None) -> None:
    """Unpack an archive into a folder atomically.

    The first bytes identify the format: zip, tar, and tar compressed by gzip, bzip2 or xz. A nested
    ``train.zip`` becomes the folder ``train/`` in its place; a single top folder ``train/`` in it is not repeated.
    Clutter of macOS and Windows (``__MACOSX``, ``.DS_Store``, ``Thumbs.db``) is left out.

    Parameters
    ----------
    archive : Path
    folder : Path
        New, or empty.
    max_bytes : int, optional
        Maximum number of bytes to write, counted while writing; by default twenty times the size of the archive plus a
        gigabyte.

    Raises
    ------
    RawDataError
        If the file is not an archive, empty, damaged, encrypted or too large, or contains unsafe members: paths that
        lead out of the folder or are too long, links, devices, names that differ only in case. Nothing is written.
    OutputError
        If `folder` is not empty, or cannot be written.
    """
    if not exists(archive) or not archive.is_file():
        state = "a folder" if is_folder(archive) else "no such file"
        raise _error(archive, state, "an archive: zip, tar, tar.gz, tar.bz2 or tar.xz", "correct the name")
    if not is_archive(archive):
        with archive.open("rb") as handle:
            start = handle.read(8)
        found = next((name for signature, name in _OTHER_ARCHIVES.items() if start.startswith(signature)), None)
        if found is None and zipfile.is_zipfile(archive):
            found = "a zip archive after other data, or the last of several parts"
        remedy = _OTHER_PROGRAM if found else _DOWNLOAD_AGAIN
        raise _error(archive, found or "a file of another format", "a zip, tar, tar.gz, tar.bz2 or tar.xz", remedy)
    if names_in(folder) or (exists(folder) and not is_folder(folder)):
        raise OutputError(
            str(folder), "a file, or a folder with files", "a new or an empty folder", "name another folder"
        )
    limit = archive.stat().st_size * _MAX_RATIO + _EXTRA_BYTES if max_bytes is None else max_bytes
    budget = _Budget(limit)
    with atomic_folder(folder) as temporary:
        _unpack(archive, temporary, str(archive), budget, depth=1)
        if not budget.files:
            found = f"an archive without files ({budget.skipped} left out: {', '.join(_CLUTTER)})"
            raise _error(
                archive, found if budget.skipped else "an archive without files", "at least one file", _DOWNLOAD_AGAIN
            )
    skipped = f", {budget.skipped} left out ({', '.join(_CLUTTER)})" if budget.skipped else ""
    log(f"{folder}: {plural(budget.files, 'file')}, {budget.written / 1e6:.1f} MB{skipped}")
    _log_root(folder)


def _unpack(archive: Path, folder: Path, location: str, budget: _Budget, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise _error(location, f"nested archives, {depth} deep", f"at most {MAX_DEPTH}", _BY_HAND)
    try:
        with archive.open("rb") as handle:
            is_zip = handle.read(4) in (b"PK\x03\x04", b"PK\x05\x06")
        files = (_unpack_zip if is_zip else _unpack_tar)(archive, folder, location, budget)
    except RawDataError:
        raise
    except UnsafeTarError as error:
        found, expected, remedy = error.args
        raise _error(location, found, expected, remedy) from error
    except NoTarError as error:
        raise _error(
            location, "a compressed file that is no tar archive", "a tar archive", "decompress it by hand"
        ) from error
    except NotImplementedError as error:  # of `zipfile`
        remedy = f"{_OTHER_PROGRAM}; if that fails too, {_DOWNLOAD_AGAIN}"
        raise _error(location, f"a zip archive of a rare kind ({error})", "a usual zip archive", remedy) from error
    except Exception as error:  # `zipfile` raises many types of errors; almost all of them mean that it is damaged
        is_of_disk = isinstance(error, OSError) and (error.errno not in (None, errno.EINVAL) or error.filename)
        if isinstance(error, MemoryError) or is_of_disk:
            raise
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise _error(location, f"a damaged archive ({reason})", "a complete archive", _DOWNLOAD_AGAIN) from error
    for nested in files:
        if not nested.name.lower().endswith(_SUFFIXES) or not is_archive(nested):
            continue  # spreadsheets and numpy arrays are zip files, too
        _unpack_nested(nested, f"{location}, {nested.relative_to(folder)}", budget, depth + 1)


def _unpack_nested(archive: Path, location: str, budget: _Budget, depth: int) -> None:
    """Replace an archive by a folder of its name."""
    suffix = max((suffix for suffix in _SUFFIXES if archive.name.lower().endswith(suffix)), key=len)
    stem = archive.name[: -len(suffix)]
    target = archive.with_name(stem if stem.strip(".") else "unpacked")
    if target.exists():
        raise _error(location, f"an archive beside a folder {target.name!r}", "only one of them", _BY_HAND)
    target.mkdir()
    _unpack(archive, target, location, budget, depth)
    archive.unlink()
    budget.files -= 1
    if os.listdir(target) == [target.name] and (target / target.name).is_dir():
        outer = target.rename(tempfile.mkdtemp(dir=target.parent))  # train/train/ of train.zip becomes train/
        (outer / target.name).rename(target)
        outer.rmdir()


def _unpack_zip(archive: Path, folder: Path, location: str, budget: _Budget) -> list[Path]:
    with zipfile.ZipFile(archive) as opened:
        members = opened.infolist()
        _require_count(archive, len(members))
        problems = [
            Problem(f"{location}, {member.filename}", "an encrypted file", "files without password", _BY_HAND)
            for member in members
            if member.flag_bits & _IS_ENCRYPTED
        ]
        problems += [
            Problem(
                f"{location}, {member.filename}",
                f"compression method {member.compress_type}",
                ", ".join(_ZIP_METHODS.values()),
                _OTHER_PROGRAM,
            )
            for member in members
            if member.compress_type not in _ZIP_METHODS
        ]
        problems += [
            _unsafe_member(location, member.filename, "a link or device")
            for member in members
            if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR)
        ]
        names = _safe_names(
            [(m.filename, m.filename.endswith("/")) for m in members], folder, location, budget, problems
        )
        sizes = {member.filename: member.file_size for member in members}
        budget.require(sum(sizes[name] for name in names), location)
        files = []
        for name, path in names.items():
            with opened.open(name) as source:  # verifies the CRC at the end
                files.append(_write(source.read, folder / path, f"{location}, {name}", budget))
            if files[-1].stat().st_size != sizes[name]:
                raise zipfile.BadZipFile(f"{name} has {files[-1].stat().st_size} of {sizes[name]} bytes")
        return files


def _require_count(archive: Path, count: int) -> None:
    """Compare the number of members with the end record, which `zipfile` ignores.

    A flipped bit in the directory can turn members into the comment of the one before them.

    Raises
    ------
    zipfile.BadZipFile
    """
    with archive.open("rb") as handle:
        size = handle.seek(0, os.SEEK_END)
        handle.seek(max(size - _END_SIZE - _MAX_COMMENT - _LOCATOR_SIZE - _END64_SIZE, 0))
        data = handle.read()
    start = len(data) - _END_SIZE
    if not (data.startswith(_END_OF_ZIP, start) and data.endswith(b"\0\0")):  # it has a comment
        start = data.rfind(_END_OF_ZIP)
    expected, modulus = int.from_bytes(data[start + 10 : start + 12], "little"), 2**16
    start64 = start - _LOCATOR_SIZE - _END64_SIZE
    if expected == modulus - 1 and start64 >= 0 and data.startswith(b"PK\x06\x06", start64):
        expected, modulus = int.from_bytes(data[start64 + 32 : start64 + 40], "little"), 2**64
    if count % modulus != expected:  # some programs write the lowest bits of a large number
        raise zipfile.BadZipFile(f"{count} of {expected} files in its directory")


def _unpack_tar(archive: Path, folder: Path, location: str, budget: _Budget) -> list[Path]:
    files: list[Path] = []
    with TarStream(archive, 2 * budget.limit + _EXTRA_BYTES) as members:
        for member in members:
            problems = [_unsafe_member(location, member.name, "a link or device")] if member.kind == "other" else []
            names = _safe_names([(member.name, member.kind == "folder")], folder, location, budget, problems)
            budget.require(member.size, f"{location}, {member.name}")
            for name, path in names.items():
                files.append(_write(members.read, folder / path, f"{location}, {name}", budget))
            if not names:
                budget.passed_over += member.size
    return files


def _safe_names(
    members: list[tuple[str, bool]], folder: Path, location: str, budget: _Budget, problems: list[Problem]
) -> dict[str, PurePosixPath]:
    """Return the target path of each regular file by its name in the archive; folders and clutter are left out.

    Parameters
    ----------
    members : list of (str, bool)
        Name of each member, and whether it is a folder.
    folder : Path
        The target.
    problems : list of Problem
        Problems found before; the error lists them as well.

    Raises
    ------
    RawDataError
        Listing all unsafe names.
    """
    safe: dict[str, PurePosixPath] = {}
    for name, names_folder in members:
        budget.count_member(location)
        path = PurePosixPath(name.replace("\\", "/"))
        parts = [part for part in path.parts if part != "."]
        if path.is_absolute() or ".." in parts or ":" in name[:2] or "\0" in name:
            problems.append(
                _unsafe_member(location, name, "a path that leads out of the folder", "a path inside the folder")
            )
            continue
        is_clutter = any(part in _CLUTTER or part.startswith("._") for part in parts)
        budget.skipped += is_clutter and not names_folder
        if is_clutter or names_folder:
            continue
        if not parts:
            problems.append(_unsafe_member(location, repr(name), "a file without a name"))
            continue
        path = PurePosixPath(*parts)
        if problem := _too_long(location, name, parts, folder):
            problems.append(problem)
            continue
        for prefix in (path, *path.parents[:-1]):
            normalized_key = f"{location}\n{unicodedata.normalize('NFC', str(prefix)).casefold()}"
            kind = "file" if prefix == path else "folder"
            existing = budget.taken_paths.setdefault(normalized_key, f"{kind} {prefix}")
            if existing != f"{kind} {prefix}" or (kind == "file" and name in safe):
                problems.append(_unsafe_member(location, name, f"a name that collides with {existing}", _DISTINCT))
        budget.files += 1
        safe[name] = path
    if problems:
        raise RawDataError(problems)
    return safe


def _too_long(location: str, name: str, parts: list[str], folder: Path) -> Problem | None:
    """Return a problem for a path that is too deep or too long for file systems."""
    sizes = [len(name_bytes(part)) for part in parts]
    if len(parts) > _MAX_FOLDERS:
        found = f"a path of {len(parts)} folders"
    elif max(sizes) > _MAX_NAME:
        found = f"a name of {max(sizes)} bytes"
    elif len(name_bytes(str(folder))) + sum(sizes) + len(sizes) > _MAX_PATH:
        found = f"a path of {sum(sizes) + len(sizes)} bytes"
    else:
        return None
    short_name = name if len(name) <= _MAX_LISTED_NAME else f"{name[:_MAX_LISTED_NAME]}..."
    expected = f"at most {_MAX_FOLDERS} folders, names of {_MAX_NAME} bytes and paths of {_MAX_PATH} bytes"
    return Problem(f"{location}, {short_name}", found, expected, _BY_HAND)


def _write(read: Callable[[int], bytes], path: Path, location: str, budget: _Budget) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("xb") as target:
            while block := read(_BLOCK):
                budget.require(len(block), location)
                budget.written += len(block)
                target.write(block)
    except FileExistsError as error:
        raise RawDataError(_unsafe_member(location, path.name, "a duplicate name", _DISTINCT)) from error
    return path


def _unsafe_member(location: str, name: str, reason: str, expected: str = "regular files in folders") -> Problem:
    return Problem(f"{location}, {name}", reason, expected, _BY_HAND)


def _error(location: Path | str, actual: str, expected: str, remedy: str) -> RawDataError:
    return RawDataError(str(location), actual, expected, remedy)


def _log_root(folder: Path) -> None:
    """Log the `root` for the configuration: each folder that matches a layout, or else the top folder."""
    contents = sorted(folder.iterdir())
    folders = [path for path in contents if path.is_dir()]
    matches = [(root, layout) for root in (folder, *folders) for layout in recognise(root)]
    for root, layout in matches:
        log(f"This looks like the layout {layout}. In the configuration:\n\n    layout: {layout}\n    root: {root}\n")
    if not matches:
        root = contents[0] if folders == contents and len(contents) == 1 else folder
        log(f"The folders match no layout: see `layout: folder`. In the configuration:\n\n    root: {root}\n")
