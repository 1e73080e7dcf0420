"""Check whole data sets: read every file once and say what is there, what is wrong and what is worth knowing.

`check_dataset` gives plain data, which is also what ``<dataset>.json`` holds, with these keys:

- ``dataset``, ``layout``, ``root``, ``origin``, ``mask_kind``, ``classes``
- ``pairs``: labelled samples all of whose files pair; ``splits``: samples of each split
- ``excluded``: identifier to reason
- ``ignored``: list of ``reason``, ``count``, ``first`` (paths below the root): files that no sample uses
- ``errors``, ``warnings``: how many of each stand in ``findings``, a list of ``severity``, ``kind`` (see `Finding`),
  ``count``, ``where``, ``found``, ``expected``, ``remedy``
- ``leak``: images that also stand in another of the splits train, validation and test (blank ones apart)
- ``facts``: counts of ``images_read``, ``blank_images`` (of those with a mask), ``blank_unlabelled``,
  ``empty_masks`` (no class but the first), ``full_masks`` (nothing of the first class), ``turned`` (as EXIF says),
  ``icc_profiles``, ``alpha``; and ``sizes`` (width x height), ``image_types``, ``mask_types`` (format and bits of a
  channel): text to number of files
- ``balance``: for each class ``class``, ``pixels`` (share of the pixels that count), ``masks`` (share of the masks that
  have it); empty where no mask was read
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.core.files import atomic_file, write_text
from pipeline.core.parallel import in_order
from pipeline.core.progress import progress_bar
from pipeline.core.tables import write_json
from pipeline.images.png import write_png
from pipeline.raw.check.findings import ERROR, Finding, find
from pipeline.raw.check.ignored import unused_files
from pipeline.raw.check.measure import Measured, measure
from pipeline.raw.check.page import page
from pipeline.raw.check.sheet import contact_sheet, spread
from pipeline.raw.check.text import printable
from pipeline.raw.dataset import Opened, RawDataset, open_leniently
from pipeline.raw.decode.headers import Header
from pipeline.raw.recipes import CheckRecipe
from pipeline.raw.reports import Report
from pipeline.raw.samples import Sample
from pipeline.raw.splits.names import SPLITS

_FIRST = 5  # ignored files that are named for each reason


def check_dataset(recipe: CheckRecipe, *, output: Path, threads: int = 1) -> Report:
    """Read every file of a data set once; write ``<dataset>.json``, ``<dataset>.html`` and ``<dataset>.png``.

    The PNG is a contact sheet of samples spread evenly over the data set, with their masks drawn on. The files
    are written whatever is found.

    Parameters
    ----------
    output : Path
        Folder for the three files.
    threads : int
        Files decoded at a time; it changes the speed, not the report.

    Returns
    -------
    dict
        The report: plain data, the same in every run on the same files.

    Raises
    ------
    OutputError
    """
    dataset, opened = recipe.dataset, open_leniently(recipe.dataset, recipe.source)
    placed = [(sample, split) for split in SPLITS for sample in opened.dataset.splits[split]]
    placed += [(sample, "") for sample in opened.unplaced]
    measured = list(_measure_all(opened.dataset, placed, recipe, threads))
    report = _describe(opened, measured, recipe.normalize)
    sheet = contact_sheet(measured)
    with atomic_file(output / f"{dataset}.png") as temporary:
        write_png(temporary, sheet)
    write_text(output / f"{dataset}.html", page(report, (output / f"{dataset}.png").read_bytes()))
    write_json(output / f"{dataset}.json", report)
    return report


def _measure_all(
    raw: RawDataset, placed: Sequence[tuple[Sample, str]], recipe: CheckRecipe, threads: int
) -> Iterator[Measured]:
    with_thumbnail = spread(len(placed))

    def attempt(index: int) -> Measured:
        sample, split = placed[index]
        return measure(raw, sample, split or None, recipe, index in with_thumbnail)

    return progress_bar(in_order(attempt, range(len(placed)), threads), f"{raw.name}: samples checked", len(placed))


def _describe(opened: Opened, measured: Sequence[Measured], normalize: str) -> Report:
    raw = opened.dataset
    findings = find(opened.problems, measured, raw.classes, normalize)
    read = [item for item in measured if not item.problems]
    unpaired = {problem.sample for problem in opened.problems if problem.sample is not None}
    errors = sum(finding.severity == ERROR for finding in findings)
    told = {
        "dataset": raw.name,
        "layout": raw.layout,
        "root": str(raw.root),
        "origin": raw.origin,
        "mask_kind": raw.mask_kind,
        "classes": list(raw.classes),
        "pairs": sum(item.sample.labelled and item.sample.id not in unpaired for item in measured),
        "splits": {split: len(raw.splits[split]) for split in SPLITS},
        "excluded": {item.id: item.reason for item in raw.excluded},
        "ignored": _ignored(opened),
        "errors": errors,
        "warnings": len(findings) - errors,
        "findings": [_plain(finding) for finding in findings],
        "leak": sum(finding.count for finding in findings if finding.kind == "leak"),
        "facts": _facts(read),
        "balance": _balance(read, raw.classes),
    }
    return {key: printable(value) for key, value in told.items()}


def _plain(finding: Finding) -> dict[str, Any]:
    told = {key: getattr(finding, key) for key in ("severity", "kind", "count")}
    return told | {key: getattr(finding.problem, key) for key in ("where", "found", "expected", "remedy")}


def _ignored(opened: Opened) -> list[dict[str, Any]]:
    found = unused_files(opened)
    return [{"reason": why, "count": len(paths), "first": paths[:_FIRST]} for why, paths in found.items()]


def _facts(read: Sequence[Measured]) -> dict[str, Any]:
    images = [item.image for item in read if item.image is not None]
    counted = [item.pixels for item in read if item.pixels is not None]
    return {
        "images_read": len(read),
        "blank_images": sum(item.blank for item in read if item.sample.labelled),
        "blank_unlabelled": sum(item.blank for item in read if not item.sample.labelled),
        "empty_masks": sum(not any(pixels[1:-1]) for pixels in counted),
        "full_masks": sum(pixels[0] == 0 and any(pixels[1:-1]) for pixels in counted),
        "turned": sum(header.turned for header in images),
        "icc_profiles": sum(header.icc for header in images),
        "alpha": sum(header.alpha for header in images),
        "sizes": dict(Counter(f"{item.size[1]}x{item.size[0]}" for item in read)),
        "image_types": dict(Counter(map(_type, images))),
        "mask_types": dict(Counter(_type(item.mask) for item in read if item.mask is not None)),
    }


def _type(header: Header) -> str:
    return f"{header.format} {header.bits}-bit" if header.bits else header.format


def _balance(read: Sequence[Measured], classes: Sequence[str]) -> list[dict[str, Any]]:
    counted = [item.pixels for item in read if item.pixels is not None]
    total = sum(sum(pixels[:-1]) for pixels in counted)
    if not total:
        return []
    return [
        {
            "class": name,
            "pixels": round(sum(pixels[index] for pixels in counted) / total, 6),
            "masks": round(sum(pixels[index] > 0 for pixels in counted) / len(counted), 6),
        }
        for index, name in enumerate(classes)
    ]
