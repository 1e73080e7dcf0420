"""Read CSV tables of a data set as text."""

import csv
from pathlib import Path

from pipeline.core.errors import Problem
from pipeline.raw.samples import as_identifier


def read_columns(
    path: Path, key: str, value: str, problems: list[Problem], remedy: str = "fetch the table again"
) -> dict[str, str]:
    """Read two columns of a CSV file as a mapping.

    Parameters
    ----------
    path : Path
        UTF-8, with or without a byte order mark; the first line names the columns.
    key, value : str
        Names of the columns.
    problems : list of Problem
        Problems are appended: an unreadable file, a missing column, a repeated key.
    remedy : str
        Remedy for a table that cannot be read or lacks a column.

    Returns
    -------
    dict of str to str
        Missing cells of a short row are empty. Keys are normalized to Unicode NFC, as identifiers are; column names are
        compared in the same form.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            reader = csv.reader(handle)
            header = [as_identifier(name) for name in next(reader, [])]
            key, value = as_identifier(key), as_identifier(value)
            if key not in header or value not in header:
                expected = f"the columns {key!r} and {value!r}"
                problems.append(Problem(str(path), f"the columns {list(header)}", expected, remedy))
                return {}
            rows: dict[str, str] = {}
            key_index, value_index = header.index(key), header.index(value)
            for cells in reader:
                if not cells:
                    continue
                name = as_identifier(cells[key_index])
                text = cells[value_index] if value_index < len(cells) else ""
                if name in rows:
                    problems.append(
                        Problem(
                            f"{path}, line {reader.line_num}",
                            f"a second row with the id {name!r}",
                            "one row for each id",
                            "remove one of the rows",
                        )
                    )
                rows[name] = text
    except (OSError, UnicodeDecodeError, IndexError, csv.Error) as error:
        problems.append(Problem(str(path), str(error), "a readable CSV table", remedy))
        return {}
    return rows
