"""Format the report of a check as text for a terminal or a log."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.core.errors import MAX_LISTED, printable


def printable_data(value: Any) -> Any:  # noqa: ANN401 - walks plain data
    """Escape control characters and invalid UTF-8 in all strings of plain data, for terminals and files."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {printable_data(key): printable_data(item) for key, item in value.items()}
    return [printable_data(item) for item in value] if isinstance(value, list) else value


def format_counts(numbers: Mapping[str, int], max_listed: int = 6) -> str:
    """Format counts, the most frequent first, such as ``101x101 (4000)``."""
    ranked = sorted(numbers.items(), key=lambda item: (-item[1], item[0]))
    more = f" and {len(ranked) - max_listed} more" if len(ranked) > max_listed else ""
    return ", ".join(f"{name} ({count})" for name, count in ranked[:max_listed]) + more


def format_sizes(numbers: Mapping[str, int], max_listed: int = 6) -> str:
    """Format sizes as `format_counts` does, or as ranges if there are more than `max_listed`."""
    if len(numbers) <= max_listed:
        return format_counts(numbers)
    widths, heights = zip(*(map(int, size.split("x")) for size in numbers), strict=True)
    ranges = f"{min(widths)} to {max(widths)} wide, {min(heights)} to {max(heights)} high"
    return f"{len(numbers)} different, {ranges}; most often {format_counts(numbers, 1).partition(' and ')[0]}"


def format_facts(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the facts of a report as pairs of heading and text."""
    facts = report["facts"]
    masks = f"{facts['empty_masks']} empty"
    if facts["full_masks"] is not None:
        masks += f", {facts['full_masks']} without background"
    special = {"rotated or mirrored by EXIF": "exif_rotated", "with ICC profile": "icc_profiles", "with alpha": "alpha"}
    notes = ", ".join(f"{facts[key]} {label}" for label, key in special.items() if facts[key])
    lines = [
        ("pairs", f"{report['pairs']} (image and mask)"),
        ("splits", ", ".join(f"{split} {count}" for split, count in report["splits"].items() if count) or "none"),
        ("sizes", format_sizes(facts["sizes"])),
        ("images", "; ".join(filter(None, (format_counts(facts["image_types"]), notes)))),
        ("masks", "; ".join(filter(None, (format_counts(facts["mask_types"]), masks if report["balance"] else "")))),
    ]
    lines += [
        ("class", f"{row['class']}: {row['pixels']:.2%} of the pixels, in {row['masks']:.1%} of the masks")
        for row in report["balance"]
    ]
    lines += [("excluded", f"{name}: {reason}") for name, reason in report["excluded"].items()]
    for row in report["ignored"]:
        more = ", ..." if row["count"] > len(row["examples"]) else ""
        lines.append(("ignored", f"{row['count']} {row['reason']}: {', '.join(row['examples'])}{more}"))
    return [(heading, text) for heading, text in lines if text]


def count_findings(report: Mapping[str, Any]) -> str:
    """Format the numbers of errors and warnings."""
    errors, warnings = report["errors"], report["warnings"]
    return f"{errors} error{'s' if errors != 1 else ''}, {warnings} warning{'s' if warnings != 1 else ''}"


def group_findings(findings: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Group findings with the same severity, kind, expectation and remedy."""
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in findings:
        groups.setdefault(tuple(row[key] for key in ("severity", "kind", "expected", "remedy")), []).append(row)
    return list(groups.values())


def format_locations(group: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the location of each finding of a group, with what was found if that differs."""
    same_found = common_found(group) is not None
    return [row["location"] if same_found else f"{row['location']}: {row['found']}" for row in group]


def common_found(group: Sequence[Mapping[str, Any]]) -> str | None:
    """Return what was found in all findings of a group, or None if it differs."""
    texts = {row["found"] for row in group}
    return texts.pop() if len(texts) == 1 else None


def format_reports(reports: Sequence[Mapping[str, Any]], files: Sequence[Path]) -> str:
    """Format the reports of several data sets, written to `files`, as one text; a list stops after ten entries."""
    parts = []
    for report, file in zip(reports, files, strict=True):
        lines = [
            f"{report['dataset']}: {count_findings(report)}  ({report['layout']}, {report['root']}, {report['origin']})"
        ]
        lines += [f"  {heading + ':':<10}{text}" for heading, text in format_facts(report)]
        for group in group_findings(report["findings"]):
            row, locations, found_text = group[0], format_locations(group), common_found(group)
            title = f"  {row['severity'].upper()} {row['kind']}:"
            lines += [f"{title} {locations[0]}"] if len(group) == 1 else [f"{title} {len(group)} times"]
            lines += [f"      {location}" for location in locations[:MAX_LISTED] if len(group) > 1]
            if len(locations) > MAX_LISTED:
                lines.append(f"      ... and {len(locations) - MAX_LISTED} more of this kind; all are in {file}")
            lines += [] if found_text is None else [f"      found:    {found_text}"]
            lines += [f"      expected: {row['expected']}", f"      remedy:   {row['remedy']}"]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)
