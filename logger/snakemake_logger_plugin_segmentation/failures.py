"""What to show of the log of a failed job."""

import re
from collections.abc import Sequence
from pathlib import Path

HEADING = re.compile(r"^\S.* \(\d+ problems?\):$")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_MOST_BYTES = 200_000


def cause(log: str, lines: int) -> list[str]:
    """Return the pipeline's own message at the end of a log, or else its last lines.

    Parameters
    ----------
    log : str
    lines : int
        How many lines to return at most if the log has no message of the pipeline; of a traceback, only the last line
        where one line was asked for.
    """
    rows = [_CONTROL.sub("", row).rstrip() for row in log.split("\n")]
    headings = [number for number, row in enumerate(rows) if HEADING.match(row)]
    if headings:
        message = [rows[headings[-1]]]
        for row in rows[headings[-1] + 1 :]:
            if not row.startswith("  "):
                break
            message.append(row)
        return message
    return [row for row in rows if row][-lines:]


def describe_failure(logs: Sequence[str], lines: int) -> list[str]:
    """Return the cause of a failure, and where its log is."""
    described = []
    for name in logs:
        try:
            with Path(name).open("rb") as file:
                file.seek(max(0, Path(name).stat().st_size - _MOST_BYTES))
                text = file.read().decode("utf-8", "replace")
        except OSError:
            described.append("it ended before it wrote a log")
            continue
        described += cause(text, lines) or ["its log is empty: it was killed, or could not start"]
        described.append(f"log: {name}")
    return described
