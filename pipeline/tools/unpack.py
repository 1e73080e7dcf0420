"""Unpack archives of raw data, also nested ones, so that nothing leaves the folder and nothing half-done stays."""

import bz2
import gzip
import lzma
import os
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

from pipeline.core.errors import OutputError, Problem, RawDataError
from pipeline.core.files import atomic_folder
from pipeline.core.options import tag_values
from pipeline.core.progress import log
from pipeline.raw.layouts.registry import LAYOUTS
from pipeline.raw.samples import is_archive

MAX_FILES = 1_000_000
"""How many files an archive may hold, those of nested archives included."""

MAX_DEPTH = 3
"""How deep archives may lie in archives."""

_GIVEN = 20  # times the size of the archive, and
_SPARE = 10**9  # bytes more may be unpacked where no other limit was named
_BLOCK = 1 << 20
_ENDINGS = (".zip", ".tar", ".tgz", ".tar.gz", ".tbz2", ".tar.bz2", ".txz", ".tar.xz")
_CLUTTER = ("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini")
_DAMAGED = (
    *(OSError, EOFError, ValueError, RuntimeError),
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError),
)
_AGAIN = "fetch the archive again"


@dataclass
class _Budget:
    """What may still be unpacked, over all nested archives."""

    limit: int
    written: int = 0
    files: int = 0
    skipped: int = 0
    taken: dict[str, str] = field(default_factory=dict)

    def spend(self, count: int, where: str) -> None:
        self.written += count
        if self.written > self.limit:
            found = f"more than {self.limit} bytes when unpacked"
            raise _refuse(where, found, "less", "raise --max-bytes if that is right")


def unpack(archive: Path, folder: Path, *, max_bytes: int | None = None) -> None:
    """Unpack an archive into a folder, all or nothing.

    The kind is told by the first bytes: zip, tar, and tar compressed by gzip, bzip2 or xz. An archive inside goes into
    a folder of its name beside where it lay (``train.zip`` into ``train/``), without a top folder of the same name.
    What macOS and Windows leave (``__MACOSX``, ``.DS_Store``, ``Thumbs.db``) is left out.

    Parameters
    ----------
    archive : Path
    folder : Path
        New, or empty.
    max_bytes : int, optional
        How many bytes may be written; twenty times the size of the archive and a gigabyte by default. Counted while
        writing.

    Raises
    ------
    RawDataError
        If it is no archive, damaged, encrypted or too large, or holds what must not be unpacked: paths that lead out,
        links, devices, names that differ by case alone. Nothing is left behind.
    OutputError
        If `folder` holds something, or cannot be written.
    """
    if not archive.is_file():
        found = "a folder" if archive.is_dir() else "nothing"
        raise _refuse(archive, found, "an archive: zip, tar, tar.gz, tar.bz2 or tar.xz", "correct the name")
    if not is_archive(archive):
        raise _refuse(archive, "a file of another kind", "a zip, tar, tar.gz, tar.bz2 or tar.xz", _AGAIN)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(str(folder), "something that stands there", "a new or an empty folder", "name another folder")
    limit = archive.stat().st_size * _GIVEN + _SPARE if max_bytes is None else max_bytes
    budget = _Budget(limit)
    with atomic_folder(folder) as temporary:
        _unpack(archive, temporary, str(archive), budget, depth=1)
    skipped = f", {budget.skipped} left out ({', '.join(_CLUTTER)})" if budget.skipped else ""
    log(f"{folder}: {budget.files} files, {budget.written / 1e6:.1f} MB{skipped}")
    _say_root(folder)


def _unpack(archive: Path, folder: Path, where: str, budget: _Budget, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise _refuse(where, f"archives in archives, {depth} deep", f"at most {MAX_DEPTH}", "unpack it by hand")
    try:
        with archive.open("rb") as handle:
            is_zip = handle.read(4) in (b"PK\x03\x04", b"PK\x05\x06")
        inside = (_unpack_zip if is_zip else _unpack_tar)(archive, folder, where, budget)
    except RawDataError:
        raise
    except _DAMAGED as error:
        if isinstance(error, OSError) and error.errno is not None:  # the disk, not the archive
            raise
        reason = " ".join(str(error).split())[:200]
        raise _refuse(where, f"a damaged archive ({type(error).__name__}: {reason})", "a whole one", _AGAIN) from error
    for nested in inside:
        if not nested.name.lower().endswith(_ENDINGS) or not is_archive(nested):
            continue  # spreadsheets and arrays of numpy are zip files too
        ending = max((ending for ending in _ENDINGS if nested.name.lower().endswith(ending)), key=len)
        target = nested.with_name(nested.name[: -len(ending)] or "unpacked")
        named = f"{where}, {nested.relative_to(folder)}"
        if target.exists():
            raise _refuse(named, f"an archive beside a folder {target.name!r}", "one of them", "unpack it by hand")
        target.mkdir()
        _unpack(nested, target, named, budget, depth + 1)
        nested.unlink()
        budget.files -= 1
        only = target / target.name
        if only.is_dir() and len(os.listdir(target)) == 1:  # train.zip that holds train/ is train/ too
            for path in only.iterdir():
                path.rename(target / f".{path.name}.moved")
            only.rmdir()
            for path in list(target.iterdir()):
                path.rename(target / path.name[1 : -len(".moved")])


def _unpack_zip(archive: Path, folder: Path, where: str, budget: _Budget) -> list[Path]:
    with zipfile.ZipFile(archive) as opened:
        members = opened.infolist()
        problems = [
            Problem(f"{where}, {member.filename}", "an encrypted file", "files without password", "unpack it by hand")
            for member in members
            if member.flag_bits & 1
        ]
        problems += [
            _unsafe(where, member.filename, "a link or device")
            for member in members
            if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR)
        ]
        names = _safe_names([(m.filename, m.is_dir()) for m in members], where, budget, problems)
        files = []
        for name, path in names.items():
            with opened.open(name) as source:  # checks the CRC at the end
                files.append(_write(source, folder / path, f"{where}, {name}", budget))
        return files


def _unpack_tar(archive: Path, folder: Path, where: str, budget: _Budget) -> list[Path]:
    files: list[Path] = []
    with tarfile.open(archive, "r|*") as opened:  # a stream, so that a bomb is not read to its end first
        for member in opened:
            plain = member.isfile() or member.isdir()
            problems = [] if plain else [_unsafe(where, member.name, "a link or device")]
            for name, path in _safe_names([(member.name, member.isdir())], where, budget, problems).items():
                source = opened.extractfile(member)
                assert source is not None  # it is a file
                files.append(_write(source, folder / path, f"{where}, {name}", budget))
    _check_end(archive, where, budget)
    return files


def _check_end(archive: Path, where: str, budget: _Budget) -> None:
    """Read a compressed tar to its end: its checksum stands there, where `tarfile` does not look."""
    with archive.open("rb") as handle:
        start = handle.read(6)
    openers: dict[bytes, Callable[[Path], Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
    opener = next((opener for mark, opener in openers.items() if start.startswith(mark)), lambda path: path.open("rb"))
    tail, seen = b"", 0
    with opener(archive) as opened:
        while block := opened.read(_BLOCK):
            tail = (tail + block)[-1024:]
            seen += len(block)
            if seen > 2 * budget.limit + _SPARE:
                raise _refuse(where, "a tar archive that goes on after its end", "a whole archive", _AGAIN)
    if len(tail) < 1024 or tail.strip(b"\0"):
        raise _refuse(where, "a tar archive without its end", "a whole archive", _AGAIN)


def _safe_names(
    members: list[tuple[str, bool]], where: str, budget: _Budget, problems: list[Problem]
) -> dict[str, PurePosixPath]:
    """Map the names of files to where they go; folders and clutter are left out, what is unsafe is raised."""
    safe: dict[str, PurePosixPath] = {}
    for name, is_folder in members:
        path = PurePosixPath(name.replace("\\", "/"))
        parts = [part for part in path.parts if part != "."]
        if path.is_absolute() or ".." in parts or ":" in name[:2] or "\0" in name:
            problems.append(_unsafe(where, name, "a path that leads out of the folder"))
            continue
        clutter = any(part in _CLUTTER or part.startswith("._") for part in parts)
        budget.skipped += clutter and not is_folder
        if clutter or is_folder or not parts:
            continue
        path = PurePosixPath(*parts)
        for whole in (path, *path.parents[:-1]):
            folded = f"{where}\n{unicodedata.normalize('NFC', str(whole)).casefold()}"
            kind = "file" if whole == path else "folder"
            before = budget.taken.setdefault(folded, f"{kind} {whole}")
            if before != f"{kind} {whole}" or (kind == "file" and name in safe):
                problems.append(_unsafe(where, name, f"a name that collides with {before}"))
        budget.files += 1
        if budget.files > MAX_FILES:
            raise _refuse(where, f"more than {MAX_FILES} files", "fewer", "unpack it by hand, and look what it is")
        safe[name] = path
    if problems:
        raise RawDataError(problems)
    return safe


def _write(source: IO[bytes], path: Path, where: str, budget: _Budget) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("xb") as target:
            while block := source.read(_BLOCK):
                budget.spend(len(block), where)
                target.write(block)
    except FileExistsError as error:
        raise RawDataError(_unsafe(where, path.name, "a name that stands twice")) from error
    return path


def _unsafe(where: str, name: str, found: str) -> Problem:
    return Problem(f"{where}, {name}", found, "plain files in folders", "unpack it by hand, and look what it is")


def _refuse(where: Path | str, found: str, expected: str, remedy: str) -> RawDataError:
    return RawDataError(str(where), found, expected, remedy)


def _say_root(folder: Path) -> None:
    """Say what the configuration is to name: the folder that looks like a known layout, or the top folder."""
    inside = sorted(folder.iterdir())
    folders = [path for path in inside if path.is_dir()]
    known = [
        (root, layout)
        for root in (folder, *folders)
        for layout, kind in zip(tag_values(LAYOUTS, "layout"), LAYOUTS, strict=True)
        if kind.marks and all((root / mark).is_dir() for mark in kind.marks)
    ]
    for root, layout in known:
        log(f"This looks like the layout {layout}. In the configuration:\n\n    layout: {layout}\n    root: {root}\n")
    if not known:
        root = inside[0] if folders == inside and len(inside) == 1 else folder
        log(
            f"No layout that is known by its folders: see `layout: folder`. In the configuration:\n\n    root: {root}\n"
        )
