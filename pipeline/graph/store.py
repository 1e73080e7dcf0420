"""Keep finished shards and checkpoints by identity, so that undoing a change of settings needs no new training.

An entry is a folder with the files of a result and their manifest. Large files are hard links to the results where the
file system supports them, so that an entry in use takes no extra disk space.
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from pipeline.core import paths
from pipeline.core.digests import contents_digest
from pipeline.core.errors import OutputError
from pipeline.core.files import atomic_file, atomic_folder
from pipeline.core.fingerprint import Fingerprint
from pipeline.core.manifest import MANIFEST_SUFFIX, Manifest, manifest_path
from pipeline.core.progress import log

_GIGABYTE = 10**9
_LINK_BYTES = 1 << 20


class Entry(NamedTuple):
    """An entry of the store.

    Parameters
    ----------
    path : Path
        Its folder; the name is the identity.
    freed_bytes : int
        Bytes that its removal frees; 0 if one of its files is also a result.
    last_used_ns : int
        Time of its creation or last use, in nanoseconds.
    """

    path: Path
    freed_bytes: int
    last_used_ns: int


class Store:
    """Shards and checkpoints kept from earlier configurations.

    Parameters
    ----------
    limit : float
        Gigabytes for entries that are not currently in use as results; 0 keeps nothing.
    folder : Path
        May be a link to a folder that several projects use.
    """

    def __init__(self, limit: float, folder: Path | None = None) -> None:
        self.limit, self.folder = limit, folder or paths.store()

    def restore(self, identity: str, outputs: Sequence[Path], fingerprint: Fingerprint | None = None) -> bool:
        """Restore the files of an entry with their manifest; return whether there is a valid entry.

        An entry whose contents do not match the digests in its manifest is removed.

        Parameters
        ----------
        identity : str
            Of the entry.
        outputs : sequence of Path
        fingerprint : Fingerprint, optional
            The fingerprint of the restored result, if it differs from that of the entry: see `Options.resolutions`.

        Raises
        ------
        OutputError
        """
        entry = self.folder / identity
        first = entry / outputs[0].name
        if not self.limit or not manifest_path(first).exists():
            return False
        try:
            manifest = Manifest.read(first)
            valid = manifest.identity == identity and {path.name for path in outputs} == manifest.contents.keys()
            valid = valid and all(contents_digest(entry / name) == digest for name, digest in manifest.contents.items())
        except (OSError, ValueError):
            valid = False
        if not valid:
            log(f"{entry}: damaged; removed")
            shutil.rmtree(entry, ignore_errors=True)
            return False
        try:
            for path in outputs:
                _put(entry / path.name, path)
        except OutputError:
            if entry.exists():
                raise
            return False  # another job pruned it
        if fingerprint is not None:
            manifest = replace(manifest, fingerprint=fingerprint)
        manifest.write(outputs[0])
        os.utime(manifest_path(first))
        log(f"{', '.join(map(str, outputs))}: restored from {entry}")
        return True

    def keep(self, manifest: Manifest, outputs: Sequence[Path]) -> None:
        """Add a result, and remove the least recently used entries until the limit is met.

        If it cannot be added, for example because the disk is full, only a log line reports it.
        """
        if not self.limit:
            return
        entry = self.folder / manifest.identity
        with suppress(OSError, ValueError):
            Manifest.read(entry / outputs[0].name)
            return
        try:
            with atomic_folder(entry) as folder:
                for path in outputs:
                    _put(path, folder / path.name)
                manifest.write(folder / outputs[0].name)
        except OutputError as error:
            log(f"{outputs[0]}: not kept in the store. {error}")
        self.prune()

    def prune(self) -> None:
        """Remove the least recently used entries until the limit is met."""
        entries = sorted(self.entries(), key=lambda entry: entry.last_used_ns, reverse=True)
        total = 0
        for entry in entries:
            total += entry.freed_bytes
            if entry.freed_bytes and total > self.limit * _GIGABYTE:
                total -= entry.freed_bytes
                shutil.rmtree(entry.path, ignore_errors=True)

    def entries(self) -> Iterator[Entry]:
        """Yield the entries; an entry that another job removes meanwhile is skipped."""
        with suppress(OSError):
            for path in self.folder.iterdir():
                if path.name.startswith(".") or not path.is_dir():
                    continue
                with suppress(OSError):
                    manifests = [*path.glob(f"*{MANIFEST_SUFFIX}")]
                    stats = [file.stat() for file in path.iterdir() if file not in manifests]
                    size = sum(stat.st_size for stat in stats)
                    only_in_store = all(stat.st_nlink == 1 for stat in stats)
                    last_used_ns = max((file.stat().st_mtime_ns for file in manifests), default=0)
                    yield Entry(path, size if only_in_store else 0, last_used_ns)


def _put(source: Path, path: Path) -> None:
    """Hard-link a large file, or copy it, and set its modification time to now: later than those of its inputs.

    Small files are copied, because people edit tables in place. Files with several links are copied as well: they are
    results of another project that uses the same store, where their modification time must not change.
    """
    with atomic_file(path) as temporary:
        stat = source.stat()
        linked = stat.st_size >= _LINK_BYTES and stat.st_nlink == 1
        if linked:
            try:
                temporary.unlink()
                os.link(source, temporary)
            except OSError:
                linked = False
        if not linked:
            shutil.copyfile(source, temporary)
        os.utime(temporary)
