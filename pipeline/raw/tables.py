"""CSV tables that a data set brings along, read as text."""

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
        What is wrong with the table joins it: a file that cannot be read, a column that is not there, a key twice.
    remedy : str
        What to do about a table that cannot be read or lacks a column.

    Returns
    -------
    dict of str to str
        A cell that a short row lacks is empty. Keys are in Unicode form NFC, as identifiers are; so are the names of
        columns when they are compared.
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
            key_at, value_at = header.index(key), header.index(value)
            for cells in reader:
                if not cells:
                    continue
                name, text = as_identifier(cells[key_at]), cells[value_at] if value_at < len(cells) else ""
                if name in rows:
                    problems.append(
                        Problem(
                            f"{path}, line {reader.line_num}",
                            f"the id {name!r} for the second time",
                            "one row for each id",
                            "remove one of the rows",
                        )
                    )
                rows[name] = text
    except (OSError, UnicodeDecodeError, IndexError, csv.Error) as error:
        problems.append(Problem(str(path), str(error), "a readable CSV table", remedy))
        return {}
    return rows
