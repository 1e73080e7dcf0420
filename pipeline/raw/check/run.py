"""Check data sets: read every file once and report contents, errors and warnings.

`check_dataset` returns plain data, which is also written to ``<dataset>.json``, with these keys:

- ``dataset``, ``layout``, ``root``, ``origin``, ``mask_kind``, ``classes``
- ``pairs``: number of complete labelled samples; ``splits``: number of samples of each split
- ``excluded``: identifier to reason
- ``ignored``: files that no sample uses, a list of ``reason``, ``count``, ``examples`` (paths relative to the root)
- ``errors``, ``warnings``: how many of each are in ``findings``, a list of ``severity``, ``kind`` (see `Finding`),
  ``count``, ``location``, ``found``, ``expected``, ``remedy``
- ``leak``: number of images that are also in another of the splits train, validation and test, without blank images
- ``facts``: counts of ``images_read``, ``blank_images`` (of those with a mask), ``blank_unlabelled``,
  ``empty_masks`` (only background), ``full_masks`` (no background), ``exif_rotated`` (JPEG files rotated or mirrored
  by EXIF), ``icc_profiles``, ``alpha``; and ``sizes`` (width x height), ``image_types``, ``mask_types`` (format and
  bits of a channel): text to number of files
- ``balance``: for each class ``class``, ``pixels`` (fraction of the pixels that count), ``masks`` (fraction of the
  masks that contain it); empty if no mask was read
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.core.files import atomic_file, write_text
from pipeline.core.parallel import thread_map
from pipeline.core.progress import progress_bar
from pipeline.core.tables import write_json
from pipeline.images.png import write_png
from pipeline.raw.check.findings import ERROR, Finding, collect_findings
from pipeline.raw.check.ignored import unused_files
from pipeline.raw.check.measure import Measurement, measure
from pipeline.raw.check.page import html_page
from pipeline.raw.check.sheet import contact_sheet, evenly_spaced
from pipeline.raw.check.text import printable_data
from pipeline.raw.dataset import PartialDataset, RawDataset, open_partially
from pipeline.raw.decode.headers import Header
from pipeline.raw.decode.stacks import UNUSABLE_STACK
from pipeline.raw.recipes import CheckRecipe
from pipeline.raw.reports import Report
from pipeline.raw.samples import Sample
from pipeline.raw.splits.names import SPLITS

_MAX_LISTED = 5  # ignored files for each reason


def check_dataset(recipe: CheckRecipe, *, output: Path, threads: int = 1) -> Report:
    """Read every file of a data set once; write ``<dataset>.json``, ``<dataset>.html`` and ``<dataset>.png``.

    The PNG is a contact sheet of evenly spaced samples with their masks. The files are written in spite of errors.

    Parameters
    ----------
    output : Path
        Folder for the three files.
    threads : int
        Number of files decoded at a time; it does not change the report.

    Returns
    -------
    dict
        The report: plain data, identical for identical files.

    Raises
    ------
    OutputError
    """
    dataset, listing = recipe.dataset, open_partially(recipe.dataset, recipe.source)
    samples = [(sample, split) for split in SPLITS for sample in listing.dataset.splits[split]]
    stacks = {problem.sample for problem in listing.problems if problem.kind == UNUSABLE_STACK}
    samples += [(sample, "") for sample in listing.unplaced if sample.id not in stacks]
    measured = list(_measure_all(listing.dataset, samples, recipe, threads))
    report = _make_report(listing, measured, recipe)
    sheet = contact_sheet(measured, listing.dataset)
    with atomic_file(output / f"{dataset}.png") as temporary:
        write_png(temporary, sheet)
    write_text(output / f"{dataset}.html", html_page(report, (output / f"{dataset}.png").read_bytes()))
    write_json(output / f"{dataset}.json", report)
    return report


def _measure_all(
    raw: RawDataset, samples: Sequence[tuple[Sample, str]], recipe: CheckRecipe, threads: int
) -> Iterator[Measurement]:
    with_thumbnail = evenly_spaced(len(samples))

    def attempt(index: int) -> Measurement:
        sample, split = samples[index]
        return measure(raw, sample, split or None, recipe, index in with_thumbnail)

    measured = thread_map(attempt, range(len(samples)), threads)
    return progress_bar(measured, f"{raw.name}: samples checked", len(samples))


def _make_report(listing: PartialDataset, measured: Sequence[Measurement], recipe: CheckRecipe) -> Report:
    raw = listing.dataset
    findings = collect_findings(listing.problems, measured, raw.classes, recipe)
    readable = [item for item in measured if not item.problems]
    unpaired = {problem.sample for problem in listing.problems if problem.sample is not None}
    errors = sum(finding.severity == ERROR for finding in findings)
    report = {
        "dataset": raw.name,
        "layout": raw.layout,
        "root": str(raw.root),
        "origin": raw.origin,
        "mask_kind": raw.mask_kind,
        "classes": list(raw.classes),
        "pairs": sum(item.sample.labelled and item.sample.id not in unpaired for item in measured),
        "splits": {split: len(raw.splits[split]) for split in SPLITS},
        "excluded": {item.id: item.reason for item in raw.excluded},
        "ignored": _ignored(listing),
        "errors": errors,
        "warnings": len(findings) - errors,
        "findings": [_finding_row(finding) for finding in findings],
        "leak": sum(finding.count for finding in findings if finding.kind == "leak"),
        "facts": _facts(readable, raw.foreground),
        "balance": _balance(readable, raw.classes),
    }
    return {key: printable_data(value) for key, value in report.items()}


def _finding_row(finding: Finding) -> dict[str, Any]:
    problem = finding.problem
    return {
        "severity": finding.severity,
        "kind": finding.kind,
        "count": finding.count,
        "location": problem.where,
        "found": problem.found,
        "expected": problem.expected,
        "remedy": problem.remedy,
    }


def _ignored(listing: PartialDataset) -> list[dict[str, Any]]:
    by_reason = unused_files(listing)
    return [
        {"reason": reason, "count": len(paths), "examples": paths[:_MAX_LISTED]} for reason, paths in by_reason.items()
    ]


def _facts(readable: Sequence[Measurement], foreground: slice) -> dict[str, Any]:
    """Count properties of the readable images and masks: see ``facts`` above."""
    images = [item.image for item in readable if item.image is not None]
    pixel_counts = [item.mask_pixels for item in readable if item.mask_pixels is not None]
    # the last count is that of the ignored pixels
    by_foreground = [(sum(pixels[:-1][foreground]), sum(pixels[:-1])) for pixels in pixel_counts]
    return {
        "images_read": len(readable),
        "blank_images": sum(item.blank for item in readable if item.sample.labelled),
        "blank_unlabelled": sum(item.blank for item in readable if not item.sample.labelled),
        "empty_masks": sum(inside == 0 for inside, _ in by_foreground),
        "full_masks": sum(0 < inside == total for inside, total in by_foreground) if foreground.start else None,
        "exif_rotated": sum(header.orientation_applied for header in images),
        "icc_profiles": sum(header.icc for header in images),
        "alpha": sum(header.alpha for header in images),
        "sizes": dict(Counter(f"{item.size[1]}x{item.size[0]}" for item in readable)),
        "image_types": dict(Counter(map(_file_type, images))),
        "mask_types": dict(Counter(_file_type(item.mask) for item in readable if item.mask is not None)),
    }


def _file_type(header: Header) -> str:
    return f"{header.format} {header.bits}-bit" if header.bits else header.format


def _balance(readable: Sequence[Measurement], classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return the fraction of pixels and of masks of each class: see ``balance`` above."""
    pixel_counts = [item.mask_pixels for item in readable if item.mask_pixels is not None]
    total = sum(sum(pixels[:-1]) for pixels in pixel_counts)
    if not total:
        return []
    return [
        {
            "class": name,
            "pixels": round(sum(pixels[index] for pixels in pixel_counts) / total, 6),
            "masks": round(sum(pixels[index] > 0 for pixels in pixel_counts) / len(pixel_counts), 6),
        }
        for index, name in enumerate(classes)
    ]
