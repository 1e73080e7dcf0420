"""Finished shards and checkpoints, kept by identity: a change that is taken back costs no training.

An entry is a folder with the files of a result and their manifest; large files are hard links to the results themselves
where the file system has them: then what is in use takes no room of its own.
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from pipeline.core import paths
from pipeline.core.digests import contents_digest
from pipeline.core.errors import OutputError
from pipeline.core.files import atomic_file, atomic_folder
from pipeline.core.manifest import ENDING, Manifest, beside
from pipeline.core.progress import log

_GIGABYTE = 10**9
_SMALL = 1 << 20


class Entry(NamedTuple):
    """Something that is kept.

    Parameters
    ----------
    path : Path
        Its folder, named by the identity.
    bytes : int
        What removing it would free; nothing where a file of it is a result at the same time.
    used : int
        When it was made or last taken, in nanoseconds.
    """

    path: Path
    bytes: int
    used: int


class Store:
    """What is kept.

    Parameters
    ----------
    limit : float
        Gigabytes that entries may take which are no results at the moment; with 0 nothing is kept.
    folder : Path
        It may be a link to a folder that several projects share.
    """

    def __init__(self, limit: float, folder: Path | None = None) -> None:
        self.limit, self.folder = limit, folder or paths.store()

    def take(self, identity: str, outputs: Sequence[Path]) -> bool:
        """Put the files of an entry in place, with their manifest; tell whether there was one.

        An entry whose bytes are not those that its manifest tells is removed.

        Raises
        ------
        OutputError
        """
        entry = self.folder / identity
        first = entry / outputs[0].name
        if not self.limit or not beside(first).exists():
            return False
        try:
            kept = Manifest.read(first)
            whole = kept.identity == identity and {path.name for path in outputs} == kept.contents.keys()
            whole = whole and all(contents_digest(entry / name) == digest for name, digest in kept.contents.items())
        except (OSError, ValueError):
            whole = False
        if not whole:
            log(f"{entry}: damaged, and removed")
            shutil.rmtree(entry, ignore_errors=True)
            return False
        try:
            for path in outputs:
                _put(entry / path.name, path)
        except OutputError:
            if entry.exists():
                raise
            return False  # another job removed it, to keep the limit
        kept.write(outputs[0])
        os.utime(beside(first))
        log(f"{', '.join(map(str, outputs))}: taken from {entry}, where the same was kept")
        return True

    def keep(self, made: Manifest, outputs: Sequence[Path]) -> None:
        """Keep a result, and remove entries that have not been used for longest until the limit is kept.

        What cannot be kept, as on a full disk, is said and does no harm.
        """
        if not self.limit:
            return
        entry = self.folder / made.identity
        with suppress(OSError, ValueError):
            Manifest.read(entry / outputs[0].name)
            return
        try:
            with atomic_folder(entry) as folder:
                for path in outputs:
                    _put(path, folder / path.name)
                made.write(folder / outputs[0].name)
        except OutputError as error:
            log(f"{outputs[0]}: not kept for later. {error}")
        self.prune()

    def prune(self) -> None:
        """Remove entries that have not been used for longest until the limit is kept."""
        entries = sorted(self.entries(), key=lambda entry: entry.used, reverse=True)
        total = 0
        for entry in entries:
            total += entry.bytes
            if entry.bytes and total > self.limit * _GIGABYTE:
                total -= entry.bytes
                shutil.rmtree(entry.path, ignore_errors=True)

    def entries(self) -> Iterator[Entry]:
        """Yield what is kept; of another job's work, whatever is there at the moment."""
        with suppress(OSError):
            for path in self.folder.iterdir():
                if path.name.startswith(".") or not path.is_dir():
                    continue
                with suppress(OSError):
                    manifests = [*path.glob(f"*{ENDING}")]
                    states = [file.stat() for file in path.iterdir() if file not in manifests]
                    free = all(state.st_nlink == 1 for state in states)
                    used = max((file.stat().st_mtime_ns for file in manifests), default=0)
                    yield Entry(path, free * sum(state.st_size for state in states), used)


def _put(source: Path, path: Path) -> None:
    """Give a large file a second name, or a copy; its time is now, later than all that it was made from.

    A small one is copied: people edit tables in place. So is one that is a result already, of another project that
    shares the store: there its time has to stay.
    """
    with atomic_file(path) as temporary:
        state = source.stat()
        linked = state.st_size >= _SMALL and state.st_nlink == 1
        if linked:
            try:
                temporary.unlink()
                os.link(source, temporary)
            except OSError:
                linked = False
        if not linked:
            shutil.copyfile(source, temporary)
        os.utime(temporary)
