"""Files of a raw folder that no sample uses, and why not."""

import os
from collections.abc import Collection, Iterable
from pathlib import Path

from pipeline.core.fingerprint import short_digest
from pipeline.raw.dataset import Opened
from pipeline.raw.samples import IMAGE_ENDINGS, MARKER, Sample
from pipeline.raw.splits.names import SPLITS

_SYSTEM = ("thumbs.db", "desktop.ini")
_NOTES = (".txt", ".csv", ".md", ".json", ".yaml", ".yml", ".xml", ".pdf", ".html")

HIDDEN = "hidden files (names that start with a dot)"
SYSTEM = "files of the operating system"
NOTES = "tables, lists and notes (read where the layout or the configuration asks for them)"
OTHER = "files that do not end as images do"
UNUSED = "images that the layout has no place for"
EXCLUDED = "files of excluded samples"


def unused_files(opened: Opened) -> dict[str, list[str]]:
    """Walk the raw folder of a data set; see `ignored_files`."""
    raw = opened.dataset

    def files(samples: Iterable[Sample]) -> set[str]:
        return {path for sample in samples for path in (*sample.files, *sample.truth_files, *sample.observer_files)}

    used = files([*(sample for split in SPLITS for sample in raw.splits[split]), *opened.unplaced])
    used |= {problem.where for problem in opened.problems} | set(raw.tables)
    left_out = files(item.sample for item in raw.excluded if item.sample is not None)
    return ignored_files(raw.root, used, left_out)


def unused_digest(opened: Opened) -> str:
    """Return a short text that changes when people add or remove files that no sample uses.

    Hidden files and those of the operating system come and go by themselves, so they do not count.
    """
    found = [paths for reason, paths in unused_files(opened).items() if reason not in (HIDDEN, SYSTEM)]
    return short_digest("\n".join(path for paths in found for path in paths))


def ignored_files(root: Path, used: Collection[str], excluded: Collection[str]) -> dict[str, list[str]]:
    """Walk a raw folder and sort the files that no sample uses by the reason.

    Parameters
    ----------
    used : collection of str
        Paths of the files that samples use, tables that many share included.
    excluded : collection of str
        Paths of the files of excluded samples.

    Returns
    -------
    dict of str to list of str
        Reason to sorted paths below `root`; links to folders are not followed.
    """
    known, left_out = {os.path.normpath(path) for path in used}, {os.path.normpath(path) for path in excluded}
    found: dict[str, list[str]] = {}
    for folder, subfolders, names in os.walk(root):
        subfolders.sort()
        for name in names:
            path = os.path.normpath(os.path.join(folder, name))
            if path not in known and name != MARKER:
                hidden = any(part.startswith(".") for part in Path(os.path.relpath(path, root)).parts)
                reason = EXCLUDED if path in left_out else HIDDEN if hidden else _reason(name)
                found.setdefault(reason, []).append(os.path.relpath(path, root))
    return {reason: sorted(paths) for reason, paths in sorted(found.items())}


def _reason(name: str) -> str:
    lower = name.lower()
    if lower in _SYSTEM:
        return SYSTEM
    if lower.endswith(IMAGE_ENDINGS):
        return UNUSED
    return NOTES if lower.endswith(_NOTES) else OTHER
