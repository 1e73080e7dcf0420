"""Lists of samples that people keep in text files: one entry in each line, written in many ways."""

import os
import re
from collections.abc import Collection, Iterable, Iterator
from itertools import takewhile
from pathlib import Path

from pipeline.core.errors import Problem, RawDataError
from pipeline.raw.samples import IMAGE_ENDINGS, Sample, as_identifier

_CELLS = re.compile(r"[,;\t]")


def take_listed(file: Path, samples: Collection[Sample], what: str) -> set[str]:
    """Take the samples that a text file names.

    An entry is an identifier, the name of an image or mask, or a path to one, of this machine or another, with slashes
    or backslashes. The name without its ending decides; where it fits several samples, those with the most folders in
    common. A line that fits nothing as a whole counts by its first cell (before ``,``, ``;`` or tab) or its first
    word. Blank lines and lines that start with ``#`` are passed over.

    Parameters
    ----------
    samples : collection of Sample
        The labelled samples.
    what : str
        What the list is for, for messages.

    Returns
    -------
    set of str
        Identifiers.

    Raises
    ------
    RawDataError
        If the file cannot be read or names nothing, or listing every entry that fits no sample or several.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        found = (error.strerror if isinstance(error, OSError) else None) or "bytes that are no UTF-8 text"
        raise RawDataError(
            str(file), found, f"a text file with one {what} sample in each line", "correct `file`"
        ) from error
    entries = [(number, line.strip()) for number, line in enumerate(lines, start=1)]
    entries = [(number, line) for number, line in entries if line and not line.startswith("#")]
    index = _Index(samples)
    taken: set[str] = set()
    problems: list[Problem] = []
    for number, line in entries:
        fits = next((fits for text in _readings(line) if (fits := index.find(text))), set())
        if len(fits) == 1:
            taken |= fits
            continue
        names = ", ".join(sorted(fits)[:8])
        problems.append(
            Problem(
                f"{file}, line {number}",
                f"{line!r}, which fits {len(fits)} samples: {names}" if fits else f"{line!r}, which fits no sample",
                "the identifier, file name or path of one labelled sample",
                "write its identifier (`python -m pipeline splits` lists them)" if fits else "correct or remove it",
            )
        )
    if not entries:
        problems.append(Problem(str(file), "no entry", f"at least one {what} sample", "add entries, or correct `file`"))
    if problems:
        raise RawDataError(problems)
    return taken


def _readings(line: str) -> Iterator[str]:
    """Give what a line may name, the likeliest first."""
    first = (_CELLS.split(line)[0].strip(), line.split()[0])
    files = [text for text in first if text != line and text.lower().endswith(IMAGE_ENDINGS)]
    # the end of "images/1.png masks/2.png" looks like a path to 2.png: there the first file comes first
    yield from (*files, line) if "/" in line or "\\" in line else (line, *files)
    yield from first


class _Index:
    """Samples by identifier and by the names of their files."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._samples = {sample.id: sample for sample in samples}
        self._by_name: dict[str, set[str]] = {}
        for sample in self._samples.values():
            for path in {sample.image, sample.mask or sample.image}:
                file = as_identifier(path.rpartition(os.sep)[2])
                for name in {file, _stem(file)}:
                    self._by_name.setdefault(name, set()).add(sample.id)

    def find(self, text: str) -> set[str]:
        """Return the identifiers that an entry may mean."""
        text = as_identifier(text)
        if text in self._samples:
            return {text}
        parts = [part for part in text.replace("\\", "/").split("/") if part not in ("", ".")]
        if not parts:
            return set()
        *folders, file = parts
        fits = self._by_name.get(file) or self._by_name.get(_stem(file), set())
        fits = fits or {name for name in (file, _stem(file)) if name in self._samples}
        if len(fits) < 2:
            return fits
        shared = {name: max(_common(folders, path) for path in self._samples[name].files) for name in fits}
        return {name for name in fits if shared[name] == max(shared.values())}


def _stem(file: str) -> str:
    return file[: file.rindex(".")] if file.lower().endswith(IMAGE_ENDINGS) else file


def _common(folders: list[str], path: str) -> int:
    """Count the folders right above a file that two paths have in common."""
    own = path.replace(os.sep, "/").split("/")[:-1]
    pairs = zip(reversed(folders), reversed(own), strict=False)
    return len([*takewhile(lambda pair: pair[0] == pair[1], pairs)])
