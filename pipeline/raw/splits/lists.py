"""Read lists of samples from text files with one entry in each line."""

import os
import re
from collections.abc import Collection, Iterable, Iterator
from itertools import takewhile
from pathlib import Path

from pipeline.core.errors import Problem, RawDataError
from pipeline.raw.samples import IMAGE_EXTENSIONS, Sample, as_identifier

_CELL_SEPARATOR = re.compile(r"[,;\t]")


def select_listed(file: Path, samples: Collection[Sample], split: str) -> set[str]:
    """Select the samples that a text file lists.

    An entry is an identifier, the name of an image or mask, or a path to one, of this machine or another, with slashes
    or backslashes. Names are compared without extension; if several samples match, those with the most parent folders
    in common are selected. If a whole line matches nothing, its first cell (before ``,``, ``;`` or tab) or its first
    word is the entry. Blank lines and lines that start with ``#`` are ignored.

    Parameters
    ----------
    samples : collection of Sample
        The labelled samples.
    split : str
        The split that the list is for, for messages.

    Returns
    -------
    set of str
        Identifiers.

    Raises
    ------
    RawDataError
        If the file cannot be read or has no entry, or listing every entry that matches no sample or several.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        message = (error.strerror if isinstance(error, OSError) else None) or "bytes that are not UTF-8 text"
        raise RawDataError(
            str(file), message, f"a text file with one {split} sample in each line", "correct the key `file`"
        ) from error
    entries = [(number, line.strip()) for number, line in enumerate(lines, start=1)]
    entries = [(number, line) for number, line in entries if line and not line.startswith("#")]
    index = _SampleIndex(samples)
    selected: set[str] = set()
    problems: list[Problem] = []
    for number, line in entries:
        matches = next((ids for entry in _candidate_entries(line) if (ids := index.find(entry))), set())
        if len(matches) == 1:
            selected |= matches
            continue
        names = ", ".join(sorted(matches)[:8])
        problems.append(
            Problem(
                f"{file}, line {number}",
                f"{line!r}, which matches {len(matches)} samples: {names}"
                if matches
                else f"{line!r}, which matches no sample",
                "the identifier, file name or path of one labelled sample",
                "write its identifier (`python -m pipeline splits` lists them)" if matches else "correct or remove it",
            )
        )
    if not entries:
        problems.append(
            Problem(
                str(file),
                "no entry",
                f"at least one {split} sample",
                "add entries, or set the key `file` to another list",
            )
        )
    if problems:
        raise RawDataError(problems)
    return selected


def _candidate_entries(line: str) -> Iterator[str]:
    """Yield the possible entries of a line, the most likely first."""
    first_parts = (_CELL_SEPARATOR.split(line)[0].strip(), line.split()[0])
    files = [text for text in first_parts if text != line and text.lower().endswith(IMAGE_EXTENSIONS)]
    # "images/1.png masks/2.png" as a whole would be a path to 2.png, so the first file is tried first
    yield from (*files, line) if "/" in line or "\\" in line else (line, *files)
    yield from first_parts


class _SampleIndex:
    """Finds samples by identifier and by the names of their files."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._samples = {sample.id: sample for sample in samples}
        self._by_name: dict[str, set[str]] = {}
        for sample in self._samples.values():
            for path in {sample.image, sample.mask or sample.image}:
                file = as_identifier(path.rpartition(os.sep)[2])
                for name in {file, _stem(file)}:
                    self._by_name.setdefault(name, set()).add(sample.id)

    def find(self, entry: str) -> set[str]:
        """Return the identifiers of the samples that an entry matches."""
        entry = as_identifier(entry)
        if entry in self._samples:
            return {entry}
        parts = [part for part in entry.replace("\\", "/").split("/") if part not in ("", ".")]
        if not parts:
            return set()
        *folders, file = parts
        matches = self._by_name.get(file) or self._by_name.get(_stem(file), set())
        matches = matches or {name for name in (file, _stem(file)) if name in self._samples}
        if len(matches) < 2:
            return matches
        shared = {name: max(_count_shared(folders, path) for path in self._samples[name].files) for name in matches}
        return {name for name in matches if shared[name] == max(shared.values())}


def _stem(file: str) -> str:
    return file[: file.rindex(".")] if file.lower().endswith(IMAGE_EXTENSIONS) else file


def _count_shared(folders: list[str], path: str) -> int:
    """Count the parent folders, from the innermost, that an entry and a path have in common."""
    path_folders = path.replace(os.sep, "/").split("/")[:-1]
    pairs = zip(reversed(folders), reversed(path_folders), strict=False)
    return len([*takewhile(lambda pair: pair[0] == pair[1], pairs)])
