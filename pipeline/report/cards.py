"""Cards of the data sets for the report: sample counts and the result of the check of raw files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pipeline.core import paths
from pipeline.images.downscale import downscale
from pipeline.raw.check.text import common_found, count_findings, format_facts, format_locations, group_findings
from pipeline.raw.reports import read_reports
from pipeline.report.thumbnails import data_uri, encode_image

SHEET_SIDE = 1000
"""Pixels of the longer side of a contact sheet."""

_MAX_LOCATIONS = 20  # listed for each kind of finding


def read_cards(datasets: Sequence[str]) -> list[dict[str, Any]]:
    """Read the check report of each data set.

    Parameters
    ----------
    datasets : sequence of str

    Returns
    -------
    list of dict
        For each data set ``dataset``, ``checked`` and, if it was checked, ``source``, ``verdict``, ``leak``, ``facts``
        (heading and text), ``balance`` (class, share of pixels, share of masks), ``splits``, ``findings`` (severity,
        kind, locations, number of locations not listed, details), ``sheet`` (the contact sheet as a data URI) and its
        ``width`` and ``height``.

    Raises
    ------
    RawDataError
        If a check report is damaged.
    """
    checked = [name for name in datasets if paths.check(name).exists()]
    reports = dict(zip(checked, read_reports([paths.check(name) for name in checked]), strict=True))
    return [_card(name, reports.get(name)) for name in datasets]


def _card(name: str, report: dict[str, Any] | None) -> dict[str, Any]:
    if report is None:
        return {"dataset": name, "checked": False}
    card = {
        "dataset": name,
        "checked": True,
        "source": f"layout {report['layout']}, {report['root']}, {report['origin']}",
        "synthetic": report["origin"] != "raw files",
        "verdict": count_findings(report),
        "errors": report["errors"],
        "warnings": report["warnings"],
        "leak": report["leak"],
        "splits": {split: count for split, count in report["splits"].items() if count},
        "facts": [(heading, text) for heading, text in format_facts(report) if heading not in ("class", "splits")],
        "balance": report["balance"],
        "findings": [_finding(group) for group in group_findings(report["findings"])],
    }
    return card | _sheet(paths.check(name).with_suffix(".png"))


def _finding(group: Sequence[Any]) -> dict[str, Any]:
    row, locations = group[0], format_locations(group)
    details = (("found", common_found(group)), ("expected", row["expected"]), ("remedy", row["remedy"]))
    return {
        "severity": row["severity"],
        "kind": row["kind"],
        "locations": locations[:_MAX_LOCATIONS],
        "unlisted": max(0, len(locations) - _MAX_LOCATIONS),
        "details": [(heading, text) for heading, text in details if text is not None],
    }


def _sheet(path: Path) -> dict[str, Any]:
    """Encode a contact sheet; empty if it is missing or cannot be read."""
    if not path.exists():
        return {}
    pixels = cv2.imdecode(np.frombuffer(path.read_bytes(), dtype=np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        return {}
    small = downscale(np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), dtype=np.uint8), SHEET_SIDE)
    return {"sheet": data_uri(encode_image(small)), "width": small.shape[1], "height": small.shape[0]}
