"""A card for each data set: how much of what it holds, and what the check of its raw files said."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pipeline.core import paths
from pipeline.raw.check.text import fact_lines, found, grouped, places, verdict
from pipeline.raw.reports import read_reports
from pipeline.report.thumbnails import as_uri, photograph, reduced

SHEET = 1000
"""Pixels of the longer side of a contact sheet."""

_PLACES = 20  # of one kind of finding that are listed


def read_cards(datasets: Sequence[str]) -> list[dict[str, Any]]:
    """Read what the check of each data set said.

    Parameters
    ----------
    datasets : sequence of str

    Returns
    -------
    list of dict
        For each data set ``dataset``, ``checked`` and, where it was checked, ``about``, ``verdict``, ``leak``,
        ``facts`` (heading and text), ``balance`` (class, share of pixels, share of masks), ``splits``, ``findings``
        (severity, kind, places, what was found and expected, remedy), ``sheet`` (the contact sheet as an address) and
        its ``width`` and ``height``.

    Raises
    ------
    RawDataError
        If a report is damaged.
    """
    there = [name for name in datasets if paths.check(name).exists()]
    reports = dict(zip(there, read_reports([paths.check(name) for name in there]), strict=True))
    return [_card(name, reports.get(name)) for name in datasets]


def _card(name: str, report: dict[str, Any] | None) -> dict[str, Any]:
    if report is None:
        return {"dataset": name, "checked": False}
    card = {
        "dataset": name,
        "checked": True,
        "about": f"layout {report['layout']}, {report['root']}, {report['origin']}",
        "synthetic": report["origin"] != "raw files",
        "verdict": verdict(report),
        "errors": report["errors"],
        "warnings": report["warnings"],
        "leak": report["leak"],
        "splits": {split: count for split, count in report["splits"].items() if count},
        "facts": [(heading, text) for heading, text in fact_lines(report) if heading not in ("class", "splits")],
        "balance": report["balance"],
        "findings": [_finding(group) for group in grouped(report["findings"])],
    }
    return card | _sheet(paths.check(name).with_suffix(".png"))


def _finding(group: Sequence[Any]) -> dict[str, Any]:
    row, where = group[0], places(group)
    told = (("found", found(group)), ("expected", row["expected"]), ("remedy", row["remedy"]))
    return {
        "severity": row["severity"],
        "kind": row["kind"],
        "places": where[:_PLACES],
        "more": max(0, len(where) - _PLACES),
        "told": [(heading, text) for heading, text in told if text is not None],
    }


def _sheet(path: Path) -> dict[str, Any]:
    """Encode a contact sheet; nothing where there is none, or one that cannot be read."""
    if not path.exists():
        return {}
    pixels = cv2.imdecode(np.frombuffer(path.read_bytes(), dtype=np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        return {}
    small = reduced(np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), dtype=np.uint8), SHEET)
    return {"sheet": as_uri(photograph(small)), "width": small.shape[1], "height": small.shape[0]}
