"""The report of a check as text for a terminal or a log."""

from collections.abc import Mapping, Sequence
from typing import Any


def printable(value: Any) -> Any:  # noqa: ANN401 - walks plain data
    """Escape controls and bytes that are no UTF-8 in all texts of plain data: terminals and files cannot hold them."""
    if isinstance(value, str):
        return "".join(
            letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in value
        )
    if isinstance(value, Mapping):
        return {printable(key): printable(inner) for key, inner in value.items()}
    return [printable(inner) for inner in value] if isinstance(value, list) else value


def counts(numbers: Mapping[str, int], most: int = 6) -> str:
    """Write counts, the most frequent first, such as ``101x101 (4000)``."""
    ranked = sorted(numbers.items(), key=lambda item: (-item[1], item[0]))
    more = f" and {len(ranked) - most} more" if len(ranked) > most else ""
    return ", ".join(f"{name} ({count})" for name, count in ranked[:most]) + more


def sizes(numbers: Mapping[str, int], most: int = 6) -> str:
    """Write sizes as `counts` does, or, where there are many, from which to which they go."""
    if len(numbers) <= most:
        return counts(numbers)
    wide, high = zip(*(map(int, size.split("x")) for size in numbers), strict=True)
    ranges = f"{min(wide)} to {max(wide)} wide, {min(high)} to {max(high)} high"
    return f"{len(numbers)} different, {ranges}; most often {counts(numbers, 1).partition(' and ')[0]}"


def fact_lines(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Say what is there: pairs of a heading and a text."""
    facts = report["facts"]
    masks = f"{facts['empty_masks']} empty, {facts['full_masks']} without background"
    special = {"turned as EXIF says": "turned", "with ICC profile": "icc_profiles", "with alpha": "alpha"}
    notes = ", ".join(f"{facts[key]} {words}" for words, key in special.items() if facts[key])
    lines = [
        ("pairs", f"{report['pairs']} of image and mask"),
        ("splits", ", ".join(f"{split} {count}" for split, count in report["splits"].items() if count) or "none"),
        ("sizes", sizes(facts["sizes"])),
        ("images", "; ".join(filter(None, (counts(facts["image_types"]), notes)))),
        ("masks", "; ".join(filter(None, (counts(facts["mask_types"]), masks if report["balance"] else "")))),
    ]
    lines += [
        ("class", f"{row['class']}: {row['pixels']:.2%} of the pixels, in {row['masks']:.1%} of the masks")
        for row in report["balance"]
    ]
    lines += [("excluded", f"{name}: {reason}") for name, reason in report["excluded"].items()]
    lines += [
        ("ignored", f"{row['count']} {row['reason']}: {', '.join(row['first'])}{', ...' if _more(row) else ''}")
        for row in report["ignored"]
    ]
    return [(heading, text) for heading, text in lines if text]


def _more(row: Mapping[str, Any]) -> bool:
    return bool(row["count"] > len(row["first"]))


def verdict(report: Mapping[str, Any]) -> str:
    """Count errors and warnings in words."""
    errors, warnings = report["errors"], report["warnings"]
    return f"{errors} error{'s' if errors != 1 else ''}, {warnings} warning{'s' if warnings != 1 else ''}"


def grouped(findings: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Put findings together that one remedy mends: same severity, kind, expectation and remedy."""
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in findings:
        groups.setdefault(tuple(row[key] for key in ("severity", "kind", "expected", "remedy")), []).append(row)
    return list(groups.values())


def places(group: Sequence[Mapping[str, Any]]) -> list[str]:
    """Write where the findings of a group are, each with what was found there unless that is the same everywhere."""
    alike = len({row["found"] for row in group}) == 1
    return [row["where"] if alike else f"{row['where']}: {row['found']}" for row in group]


def found(group: Sequence[Mapping[str, Any]]) -> str | None:
    """Return what was found in all places of a group, or None where it differs."""
    texts = {row["found"] for row in group}
    return texts.pop() if len(texts) == 1 else None


def as_text(reports: Sequence[Mapping[str, Any]]) -> str:
    """Write the reports of several data sets as one text."""
    parts = []
    for report in reports:
        lines = [f"{report['dataset']}: {verdict(report)}  ({report['layout']}, {report['root']}, {report['origin']})"]
        lines += [f"  {heading + ':':<10}{text}" for heading, text in fact_lines(report)]
        for group in grouped(report["findings"]):
            row, where, common = group[0], places(group), found(group)
            title = f"  {row['severity'].upper()} {row['kind']}:"
            lines += [f"{title} {where[0]}"] if len(group) == 1 else [f"{title} {len(group)} times"]
            lines += [f"      {place}" for place in where if len(group) > 1]
            lines += [] if common is None else [f"      found:    {common}"]
            lines += [f"      expected: {row['expected']}", f"      remedy:   {row['remedy']}"]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)
