"""Read lists of samples from text files with one entry in each line."""

import os
import re
from collections.abc import Collection, Iterable, Sequence
from functools import cache
from itertools import takewhile
from pathlib import Path

from pipeline.core.errors import Problem, RawDataError, plural
from pipeline.core.progress import log
from pipeline.raw.samples import IMAGE_EXTENSIONS, Sample, as_identifier
from pipeline.raw.splits.names import named_split
from pipeline.raw.tables import RESPELLED_REMEDY, ids_by_form, name_forms, read_text, split_cells

_MAX_PROBLEMS = 1000
_MAX_SHOWN = 200  # characters of a line in a message
_ID_COLUMN = re.compile(r"(id|name|image|img|file|path|sample|stem)s?|(image|img|file|sample)_?(id|name|path)s?")
_SPLIT_COLUMN = re.compile(r"splits?|subset|set|fold|partition|phase|usage")


def select_listed(file: Path, samples: Collection[Sample], split: str) -> set[str]:
    """Select the samples that a text file lists.

    An entry is an identifier, the name of an image or mask, or a path to one, of this machine or another, with slashes
    or backslashes. Names are compared without extension; if several samples match, those with the most parent folders
    in common are selected. If a whole line matches nothing, its first cell (before ``,``, ``;`` or tab) or its first
    word is the entry. Further cells may name this split or files; others are logged. Blank lines, lines that start with
    ``#`` and name no sample, and a first line of column names such as ``filename`` are passed over.

    Parameters
    ----------
    samples : collection of Sample
        The labelled samples.
    split : str
        The split that the list is for.

    Returns
    -------
    set of str
        Identifiers.

    Raises
    ------
    RawDataError
        If the file cannot be read or has no entry, or listing every entry that matches no sample or several, or whose
        line or heading names another split.
    """
    expected = f"a text file with one {split} sample in each line"
    lines = read_text(file, expected, "correct the key `file`").splitlines()
    reader = _ListReader(file, samples, split)
    for number, line in enumerate(lines, start=1):
        reader.read(number, line.strip())
        if len(reader.problems) == _MAX_PROBLEMS and number < len(lines):
            found, remedy = f"{_MAX_PROBLEMS} problems before it", "set the key `file` to a list of these samples"
            reader.problems.append(Problem(f"{file}, line {number + 1}", found, expected, remedy))
            break
    if not reader.entries:
        reader.problems.append(
            Problem(
                str(file),
                "no entry",
                f"at least one {split} sample",
                "add entries, or set the key `file` to another list",
            )
        )
    if reader.problems:
        raise RawDataError(reader.problems)
    if reader.unread:
        _log_once(
            f"{file}: only the first entry of a line is read; more in {plural(len(reader.unread), 'line')}, such as "
            f"{_shown(reader.unread[0])}"
        )
    return reader.selected


@cache
def _log_once(text: str) -> None:
    """Log a text once in a process, which may list a data set many times."""
    log(text)


class _ListReader:
    """Reads the lines of a list.

    Attributes
    ----------
    selected : set of str
        Identifiers of the listed samples.
    entries : int
        Number of lines with an entry.
    unread : list of str
        Lines with further cells that have no meaning in a list.
    """

    def __init__(self, file: Path, samples: Collection[Sample], split: str) -> None:
        self._file, self._split = file, split
        self._ids_by_form = ids_by_form(sample.id for sample in samples)
        self._index = _SampleIndex(samples)
        self._split_column: int | None = None
        self.selected: set[str] = set()
        self.entries = 0
        self.unread: list[str] = []
        self.problems: list[Problem] = []

    def read(self, number: int, line: str) -> None:
        """Read one line, without surrounding spaces."""
        if not line or (line.startswith("#") and not self._index.find(split_cells(line)[0])):
            if named_split(line) not in (None, self._split):
                self._refuse(number, f"the heading {_shown(line)}")
            return
        self.entries += 1
        matches, others = self._match(line)
        if not matches and self.entries == 1 and self._read_header(number, line):
            self.entries = 0
        elif len(matches) == 1:
            self.selected |= matches
            self._check_others(number, line, matches, others)
        else:
            self.problems.append(self._unmatched(number, line, matches))

    def _match(self, line: str) -> tuple[set[str], list[str]]:
        """Return the identifiers that a line matches, and its cells or words behind the entry."""
        cells, words = split_cells(line), line.split()
        first_parts = ((cells[0], cells[1:]), (words[0], words[1:]))
        whole = (line, list[str]())
        files = [part for part in first_parts if part[0] != line and part[0].lower().endswith(IMAGE_EXTENSIONS)]
        # "images/1.png masks/2.png" as a whole would be a path to 2.png, so the first file is tried first
        ordered = (*files, whole) if "/" in line or "\\" in line else (whole, *files)
        for entry, others in (*ordered, *first_parts):
            if matches := self._index.find(entry):
                return matches, others
        return set(), []

    def _read_header(self, number: int, line: str) -> bool:
        """Return whether a line that matches no sample consists of column names."""
        cells = split_cells(line)
        columns = [re.sub(r"[ -]", "_", cell.casefold()) for cell in cells]
        is_split = [_SPLIT_COLUMN.fullmatch(name) is not None for name in columns]
        if not any(is_split) and not any(map(_ID_COLUMN.fullmatch, columns)):
            return False
        if any(map(named_split, cells)):
            self._refuse(number, f"a table with the columns {_shown(line)}")
        self._split_column = is_split.index(True) if any(is_split) else None
        return True

    def _check_others(self, number: int, line: str, matches: set[str], others: Sequence[str]) -> None:
        """Check what stands behind the entry of a line."""
        named = {split for text in others if (split := named_split(text)) is not None}
        if self._split_column is not None:
            named.add(named_split((*split_cells(line), *[""] * self._split_column)[self._split_column]) or "")
        if named - {self._split}:
            self._refuse(number, _shown(line))
        elif other_ids := set[str]().union(*map(self._index.find, others)) - matches:
            self.problems.append(
                Problem(
                    f"{self._file}, line {number}",
                    f"{_shown(line)}, which names the samples {', '.join(sorted(matches | other_ids))}",
                    "one sample in each line",
                    "keep only the column with the identifiers or file names",
                )
            )
        elif not named and any(text and not text.lower().endswith(IMAGE_EXTENSIONS) for text in others):
            self.unread.append(line)

    def _refuse(self, number: int, found: str) -> None:
        self.problems.append(
            Problem(
                f"{self._file}, line {number}",
                f"{found}, in the list for the split {self._split!r}",
                f"only {self._split} samples: every sample in a list is in its split",
                f"write the {self._split} samples into a file of their own, one in each line",
            )
        )

    def _unmatched(self, number: int, line: str, matches: set[str]) -> Problem:
        """Return the problem of a line that matches no sample or several."""
        names = ", ".join(sorted(matches)[:8])
        found = f"which matches {len(matches)} samples: {names}" if matches else "which matches no sample"
        remedy = "write its identifier (`python -m pipeline splits` lists them)" if matches else "correct or remove it"
        similar = self._ids_by_form.get(name_forms(split_cells(line)[0])[0], set())
        if not matches and len(similar) == 1:
            (name,) = similar
            found, remedy = f"which matches no sample, although there is {name!r}", RESPELLED_REMEDY
        return Problem(
            f"{self._file}, line {number}",
            f"{_shown(line)}, {found}",
            "the identifier, file name or path of one labelled sample",
            remedy,
        )


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


def _shown(line: str) -> str:
    """Return a line for a message, at most its first characters."""
    return repr(line if len(line) <= _MAX_SHOWN else f"{line[:_MAX_SHOWN]}...")


def _stem(file: str) -> str:
    return file[: file.rindex(".")] if file.lower().endswith(IMAGE_EXTENSIONS) else file


def _count_shared(folders: list[str], path: str) -> int:
    """Count the parent folders, from the innermost, that an entry and a path have in common."""
    path_folders = path.replace(os.sep, "/").split("/")[:-1]
    pairs = zip(reversed(folders), reversed(path_folders), strict=False)
    return len([*takewhile(lambda pair: pair[0] == pair[1], pairs)])
