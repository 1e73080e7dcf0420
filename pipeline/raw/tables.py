"""Read text files of a data set, such as CSV tables, as people and spreadsheets write them."""

import codecs
import csv
import io
import re
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path

from pipeline.core.errors import Problem, RawDataError
from pipeline.raw.samples import IMAGE_EXTENSIONS, as_identifier

DELIMITERS = ",;\t"

_MAX_BYTES = 2**28
_SAVE_AS_CSV = 'save it as text in UTF-8; in a spreadsheet, as "CSV UTF-8"'
RESPELLED_REMEDY = "write the identifier as it is; in a spreadsheet, give the column the format text before you save"
"""Remedy for entries that `respelled` finds."""

_ENCODINGS = {  # by byte order mark, the longest first
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_OTHER_FORMATS = {  # by their first bytes
    b"PK\x03\x04": ("a spreadsheet (.xlsx, .ods) or another zip file", _SAVE_AS_CSV),
    b"\xd0\xcf\x11\xe0": ("an Excel workbook (.xls)", _SAVE_AS_CSV),
    b"\x1f\x8b": ("a gzip file", "unpack it"),
    b"%PDF": ("a PDF file", _SAVE_AS_CSV),
    b"version https://git-lfs": ("a Git-LFS pointer", "run `git lfs pull` in its repository"),
}
_SEPARATOR_LINE = re.compile(r"sep=(.)\r?\n?", re.IGNORECASE)  # the first line of files that Excel writes for itself
_TEXT_FORMULA = re.compile(r'="(.*)"', re.DOTALL)  # ="007" keeps the zeros in a spreadsheet
csv.field_size_limit(_MAX_BYTES)  # codes of large masks have more than its default of 128 kB
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?(e[+-]?\d{1,3})?", re.ASCII)
_SPREADSHEET_DIGITS = 6  # of numbers such as 1.23457E+17, into which a spreadsheet turns long ones


def read_text(path: Path, expected: str, remedy: str) -> str:
    """Read a text file: UTF-8, or UTF-16 and UTF-32 with a byte order mark.

    Parameters
    ----------
    expected, remedy : str
        For the message about a file that cannot be opened; the remedy for other contents follows from them.

    Raises
    ------
    RawDataError
        If the file cannot be read or is not text.
    """
    try:
        mode, size = path.stat().st_mode, path.stat().st_size
        if size > _MAX_BYTES or not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # pipes and devices have no end
            found = f"a file of {size} bytes" if stat.S_ISREG(mode) else "a pipe or a device"
            raise RawDataError(str(path), found, f"{expected}, of at most {_MAX_BYTES} bytes", remedy)
        data = path.read_bytes()
    except OSError as error:
        raise RawDataError(str(path), error.strerror or str(error), expected, remedy) from error
    for signature, (description, fitting_remedy) in _OTHER_FORMATS.items():
        if data.startswith(signature):
            raise RawDataError(str(path), description, expected, fitting_remedy)
    encoding = next((name for mark, name in _ENCODINGS.items() if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        found = f"bytes in line {line} that are not {encoding.removesuffix('-sig').upper()} text"
        raise RawDataError(str(path), found, expected, _SAVE_AS_CSV) from error
    if "\0" in text:
        raise RawDataError(
            str(path), "zero bytes: UTF-16 without a byte order mark, or no text", expected, _SAVE_AS_CSV
        )
    return text


def split_cells(line: str) -> list[str]:
    """Split a line at commas, semicolons or tabs into cells without quotes and surrounding spaces."""
    if '"' not in line:
        return [cell.strip() for cell in re.split(f"[{DELIMITERS}]", line)]
    try:
        parsed = [next(_parse(line, delimiter, padded=True), (0, [line])) for delimiter in DELIMITERS]
    except csv.Error:
        return [line]
    return max((cells for _, cells in parsed), key=len)


def read_columns(
    path: Path, key: str, value: str, problems: list[Problem], remedy: str = "fetch the table again"
) -> dict[str, str]:
    """Read two columns of a CSV file as a mapping.

    Parameters
    ----------
    path : Path
        Text as of `read_text`, with commas, semicolons or tabs between cells; the first row that is not blank names the
        columns.
    key, value : str
        Names of the columns.
    problems : list of Problem
        Problems are appended: an unreadable file, a missing or repeated column, a repeated key.
    remedy : str
        Remedy for a table that cannot be opened or lacks a column.

    Returns
    -------
    dict of str to str
        Missing cells of a short row are empty. Rows without key are passed over. If the names of the columns have
        surrounding spaces, all cells are stripped. Keys are normalized to Unicode NFC, as identifiers are; column names
        are compared in the same form.
    """
    key, value = as_identifier(key), as_identifier(value)
    expected = f"the columns {key!r} and {value!r}"
    rows: dict[str, str] = {}
    try:
        text = read_text(path, "a readable CSV table", remedy)
        header, cells_of_rows = _read_header(text, {key, value})
        if counts := {name: header.count(name) for name in (key, value) if header.count(name) != 1}:
            found = f"the columns {header}" if 0 in counts.values() else f"the column {next(iter(counts))!r} twice"
            problems.append(Problem(str(path), found, expected, remedy))
            return {}
        key_index, value_index = header.index(key), header.index(value)
        for line, cells in cells_of_rows:
            name = as_identifier(cells[key_index]) if key_index < len(cells) else ""
            if name and name in rows:
                problems.append(
                    Problem(
                        f"{path}, line {line}",
                        f"a second row with the id {name!r}",
                        "one row for each id",
                        "remove one of the rows",
                    )
                )
            if name:
                rows[name] = cells[value_index] if value_index < len(cells) else ""
    except RawDataError as error:
        problems.extend(error.problems)
        return {}
    except csv.Error as error:
        problems.append(Problem(str(path), str(error), "a readable CSV table", _SAVE_AS_CSV))
        return {}
    return rows


def respelled(entries: Iterable[str], ids: Collection[str]) -> dict[str, str]:
    """Find entries of a table that a spreadsheet or a person has written differently.

    Parameters
    ----------
    entries : iterable of str
        Texts that equal no identifier.

    Returns
    -------
    dict of str to str
        Entry to the only identifier that differs by number format (7 for 007, 1.23457E+17), upper and lower case,
        quotes or file name extension.
    """
    entries = [*entries]
    forms = ids_by_form(ids) if entries else {}
    candidates = ((entry, forms.get(name_forms(entry)[0], set())) for entry in entries)
    return {entry: next(iter(names)) for entry, names in candidates if len(names) == 1}


def ids_by_form(ids: Iterable[str]) -> Mapping[str | Decimal, set[str]]:
    """Return the identifiers that have a form of `name_forms`, for each form."""
    forms: dict[str | Decimal, set[str]] = {}
    for name in ids:
        for form in name_forms(name):
            forms.setdefault(form, set()).add(name)
    return forms


def describe_respelled(names: dict[str, str], max_listed: int = 3) -> str:
    """Describe the first pairs that `respelled` returns, such as ``'7' for '007'``."""
    pairs = [f"{entry!r} for {name!r}" for entry, name in names.items()]
    return ", ".join(pairs[:max_listed]) + (", ..." if len(pairs) > max_listed else "")


def name_forms(text: str) -> list[str | Decimal]:
    """Return the form in which names are compared, and that of a number which a spreadsheet has rounded.

    The form leaves out upper and lower case, quotes, the extension of an image file, and the format of a number.
    """
    text = text.strip(" \"'").casefold()
    if text.endswith(IMAGE_EXTENSIONS):
        text = text[: text.rindex(".")]
    if not _NUMBER.fullmatch(text):
        return [text]
    number = Decimal(text)
    return [number, Decimal(f"{number:.{_SPREADSHEET_DIGITS - 1}E}")]


def _read_header(text: str, columns: set[str]) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """Return the column names, and an iterator of the following rows with their line numbers.

    The delimiter is the first that gives all `columns`, else the one that gives most columns.
    """
    delimiters = DELIMITERS
    if match := _SEPARATOR_LINE.match(text):
        delimiters, text = match.group(1), "\n" + text[match.end() :]  # keeps the line numbers
    best: tuple[list[str], Iterator[tuple[int, list[str]]]] = ([], iter(()))
    for padded in (
        False,
        True,
    ):  # identifiers may begin with a space, so cells are stripped only if the header needs it
        for delimiter in delimiters:
            rows = _parse(text, delimiter, padded)
            header = [as_identifier(name) for name in next(rows, (0, []))[1]]
            if columns <= {*header}:
                return header, rows
            best = max(best, (header, rows), key=lambda table: len(table[0]))
    return best


def _parse(text: str, delimiter: str, padded: bool) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and cells of each row that is not blank; a cell ``="007"`` is 007.

    `padded` cells are stripped of surrounding spaces.
    """
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=padded)
    has_formulas = "=" in text
    for cells in reader:
        if padded:
            cells = [cell.strip() for cell in cells]
        if has_formulas:
            cells = [_TEXT_FORMULA.sub(r"\1", cell) for cell in cells]
        if any(cells):
            yield reader.line_num, cells
