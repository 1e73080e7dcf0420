"""Files of a raw folder that no sample uses, by reason."""

import os
from collections.abc import Collection, Iterable
from pathlib import Path

from pipeline.core.fingerprint import short_digest
from pipeline.core.folders import walk
from pipeline.raw.dataset import PartialDataset
from pipeline.raw.decode.unsupported import is_other_format
from pipeline.raw.samples import IMAGE_EXTENSIONS, SYNTHETIC_MARKER, Sample
from pipeline.raw.splits.names import SPLITS

_SYSTEM_FILES = ("thumbs.db", "desktop.ini")
_NOTE_EXTENSIONS = (".txt", ".csv", ".md", ".json", ".yaml", ".yml", ".xml", ".pdf", ".html")

OTHER_FORMAT = "images in formats that are not read"
HIDDEN = "hidden files (names that start with a dot)"
SYSTEM = "files of the operating system"
NOTES = "tables, lists and notes (read only if the layout or the configuration uses them)"
OTHER = "files without an image extension"
UNUSED = "images that the layout does not use"
EXCLUDED = "files of excluded samples"


def unused_files(opened: PartialDataset) -> dict[str, list[str]]:
    """List the unused files of a data set by reason; see `ignored_files`."""
    raw = opened.dataset

    def files_of(samples: Iterable[Sample]) -> set[str]:
        return {path for sample in samples for path in (*sample.files, *sample.truth_files, *sample.observer_files)}

    used = files_of([*(sample for split in SPLITS for sample in raw.splits[split]), *opened.unplaced])
    used |= {problem.where for problem in opened.problems} | set(raw.tables)
    excluded = files_of(item.sample for item in raw.excluded if item.sample is not None)
    return ignored_files(raw.root, used, excluded)


def unused_digest(opened: PartialDataset) -> str:
    """Return a short digest of the paths of files that no sample uses.

    Hidden files and files of the operating system are left out, because programs create and remove them.
    """
    path_lists = [paths for reason, paths in unused_files(opened).items() if reason not in (HIDDEN, SYSTEM)]
    return short_digest("\n".join(path for paths in path_lists for path in paths))


def ignored_files(root: Path, used: Collection[str], excluded: Collection[str]) -> dict[str, list[str]]:
    """List the files of a raw folder that no sample uses, by reason.

    Parameters
    ----------
    used : collection of str
        Paths of the files that samples use, including shared tables.
    excluded : collection of str
        Paths of the files of excluded samples.

    Returns
    -------
    dict of str to list of str
        Reason to sorted paths below `root`, also in folders that it links to.
    """
    used, excluded = {os.path.normpath(path) for path in used}, {os.path.normpath(path) for path in excluded}
    by_reason: dict[str, list[str]] = {}
    for folder, subfolders, names in walk(root):
        subfolders.sort()
        for name in names:
            path = os.path.normpath(os.path.join(folder, name))
            if path not in used and name != SYNTHETIC_MARKER:
                hidden = any(part.startswith(".") for part in Path(os.path.relpath(path, root)).parts)
                reason = EXCLUDED if path in excluded else HIDDEN if hidden else _reason(name)
                by_reason.setdefault(reason, []).append(os.path.relpath(path, root))
    return {reason: sorted(paths) for reason, paths in sorted(by_reason.items())}


def _reason(name: str) -> str:
    lower = name.lower()
    if lower in _SYSTEM_FILES:
        return SYSTEM
    if lower.endswith(IMAGE_EXTENSIONS):
        return UNUSED
    if lower.endswith(_NOTE_EXTENSIONS):
        return NOTES
    return OTHER_FORMAT if is_other_format(lower) else OTHER
