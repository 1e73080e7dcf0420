"""Cards at the top of the report: for each data set its best method, whether methods differ, and what to look at."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from pipeline.core.errors import plural
from pipeline.evaluation.methods import BACKGROUND, LEFT_OUT, MEAN, OBSERVER, parse_method_name
from pipeline.report.board import ALPHA, Board, Cell, Row
from pipeline.report.gallery import Case, case_score
from pipeline.report.sources import Scores

LOW_SCORE = 0.5
"""Images and classes with a lower score are listed as failing."""

_MAX_BARS = 8  # methods in the figure of a card
_MAX_NAMES = 3  # listed in a sentence
_MAX_FINDING = 170  # characters of a finding of the check
_PER_KIND = 2  # best, median and worst images in a card

MINUS = "\u2212"
"""The minus sign, which is as wide as a plus sign."""

Pairs = Mapping[tuple[str, str], "Pair"]


class Pair(NamedTuple):
    """A paired comparison: difference of the scores, its interval and the corrected p-value."""

    difference: float
    low: float
    high: float
    p: float

    @property
    def is_significant(self) -> bool:
        """Whether the corrected p-value is below `pipeline.report.board.ALPHA`."""
        return self.p < ALPHA

    def text(self) -> str:
        """Describe it in words and numbers."""
        interval = f" [{self.low:+.3f}, {self.high:+.3f}]" if self.low == self.low and self.high == self.high else ""
        p = "corrected p < 0.001" if self.p < 0.001 else f"corrected p = {self.p:.3f}"
        return f"{self.difference:+.3f}{interval}".replace("-", MINUS) + f", {p}"


def build_overview(
    board: Board,
    comparisons: pd.DataFrame | None,
    checks: Sequence[Mapping[str, Any]],
    cases: Mapping[str, tuple[Scores, Sequence[Case]]],
    multiclass: Mapping[str, bool],
) -> list[dict[str, Any]]:
    """Describe the scores of the test images of each data set, in its main region, as means over images.

    Parameters
    ----------
    board : Board
    comparisons : DataFrame, optional
        ``comparisons.csv``, as text.
    checks : sequence of mapping
        A card for each data set, see `pipeline.report.cards.read_cards`.
    cases : mapping
        Scores of the test images and the cases of each method that has rendered masks, by name.
    multiclass : mapping of str to bool
        Whether a data set has several foreground classes; these are scored by mean IoU, others by F1.

    Returns
    -------
    list of dict
        For each data set ``dataset``, ``synthetic``, ``conditions`` (what all numbers of the card depend on), ``label``
        (of the score), ``best`` (`Row` or None), ``cell`` (its score), ``bars`` (all methods with the position of their
        intervals on a common axis, in percent), ``unlisted`` (number of methods without a bar), ``verdict`` (a
        sentence on whether methods differ), ``method`` (whose images are shown) and ``cases``, ``notes`` (what to look
        at: ``severity``, ``text``, ``target`` of a link, and for failing images ``below``, the limit of the score).
    """
    return [
        _card(check, board, comparisons, cases, case_score(multiclass[str(check["dataset"])]))
        for check in checks
        if check["dataset"] in multiclass
    ]


def _card(
    check: Mapping[str, Any],
    board: Board,
    comparisons: pd.DataFrame | None,
    cases: Mapping[str, tuple[Scores, Sequence[Case]]],
    metric: str,
) -> dict[str, Any]:
    rows = [row for row in board.rows if row.record["dataset"] == check["dataset"] and row.is_main]
    names = [column.name for column in board.columns]
    column = names.index(metric) if metric in names else None
    scored = [
        (row, row.cells[column]) for row in rows if row.overall and column is not None and row.cells[column].value
    ]
    scored.sort(key=lambda pair: -float(pair[1].value))
    trained = [pair for pair in scored if pair[0].kind != "baseline"]
    # means over networks have no images of their own, and cannot be compared in pairs
    candidates = [pair for pair in trained if pair[0].kind == "run" and not pair[0].record.get("suspicious")] or trained
    best, cell = candidates[0] if candidates else (None, Cell())
    name = best.record["experiment"] if best is not None else ""
    label = board.columns[column].label if column is not None else metric
    shown = name if name in cases else next((row.record["experiment"] for row, _ in scored if row.name in cases), "")
    bars, unlisted = _bars(scored)
    return {
        "dataset": check["dataset"],
        "synthetic": check.get("synthetic", False),
        "conditions": _conditions(best, label, board.level) if best is not None else "",
        "label": label,
        "best": best,
        "cell": cell,
        "bars": bars,
        "unlisted": unlisted,
        "verdict": _verdict(name, candidates, scored, _pairs(comparisons, best, metric)) if best is not None else "",
        "method": shown,
        "cases": _strip(cases[shown][1]) if shown else [],
        "notes": [
            *_suspicious_notes(rows),
            *_check_notes(check),
            *(_class_notes(name, rows, column, label) if column is not None else ()),
            *(_image_notes(shown, cases[shown][0].table[metric], label) if shown else ()),
        ],
    }


def _conditions(row: Row, label: str, level: str) -> str:
    """Say once what the numbers of a card depend on."""
    of_class = "mean over classes" if row.record.get("class") == MEAN else f"class {row.record.get('class')}"
    texts = [
        f"{label} of the test images ({row.record.get('images') or 'different'}), mean over images",
        of_class,
        row.condition("region"),
        row.condition("scale"),
        f"threshold {row.condition('threshold')}: {row.condition('threshold_source')}"
        if row.record.get("threshold")
        else "most probable class",
        f"{level} bootstrap intervals over images" if level else "",
    ]
    return "; ".join(text for text in texts if text)


def _bars(scored: Sequence[tuple[Row, Cell]]) -> tuple[list[dict[str, Any]], int]:
    """Place scores and intervals on a common axis that spans the networks and the human observer."""
    trained = [pair for pair in scored if pair[0].kind != "baseline"]
    listed = [*trained[:_MAX_BARS], *(pair for pair in scored if pair[0].kind == "baseline")]
    listed.sort(key=lambda pair: -float(pair[1].value))
    framed = [pair for pair in listed if pair[0].kind != "baseline" or parse_method_name(pair[0].name)[1] == OBSERVER]
    ends = [end for row, cell in framed or listed for end in _ends(row, cell)]
    if not ends:
        return [], 0
    margin = 0.05 * (max(ends) - min(ends)) + 0.005
    start, stop = min(ends) - margin, max(ends) + margin

    def position(value: float) -> float:
        return round(100 * min(1.0, max(0.0, (value - start) / (stop - start))), 2)

    bars = []
    for row, cell in listed:
        value, low, high = float(cell.value), *_ends(row, cell)
        bars.append(
            {
                "name": row.name,
                "kind": "human" if parse_method_name(row.name)[1] == OBSERVER else row.kind,
                "text": cell.text,
                "interval": cell.interval or cell.spread,
                "at": position(value),
                "left": position(low),
                "width": round(position(high) - position(low), 2),
                "outside": "below" if value < start else "above" if value > stop else "",
            }
        )
    return bars, max(0, len(trained) - _MAX_BARS)


def _ends(row: Row, cell: Cell) -> tuple[float, float]:
    value = float(cell.value)
    if cell.spread:
        spread = float(cell.spread.removeprefix("± "))
        return value - spread, value + spread
    if cell.interval:
        low, high = cell.interval.strip("[]").split(", ")
        return float(low), float(high)
    return value, value


def _pairs(comparisons: pd.DataFrame | None, best: Row | None, metric: str) -> dict[tuple[str, str], Pair]:
    """Return the comparisons under the conditions of a row, in both directions."""
    pairs: dict[tuple[str, str], Pair] = {}
    if comparisons is None or best is None:
        return pairs
    conditions = {name: best.record[name] for name in ("dataset", "split", "region", "class")} | {"metric": metric}
    rows = comparisons[(comparisons[list(conditions)] == pd.Series(conditions)).all(axis=1)]
    for row in rows.to_dict("records"):
        difference, low, high, p = (
            float(row[name]) if row[name] else float("nan") for name in ("difference", "low", "high", "p_holm")
        )
        pairs[row["a"], row["b"]] = Pair(difference, low, high, p)
        pairs[row["b"], row["a"]] = Pair(0 - difference, 0 - high, 0 - low, p)  # 0 - x is never -0
    return pairs


def _verdict(
    name: str, candidates: Sequence[tuple[Row, Cell]], scored: Sequence[tuple[Row, Cell]], pairs: Pairs
) -> str:
    """Say in a sentence or two whether the best method differs from the others and from the human observer."""
    others = [row.name for row, _ in candidates if row.name != name and (name, row.name) in pairs]
    sure = [other for other in others if pairs[name, other].is_significant]
    unsure = [other for other in others if other not in sure]
    sentences = []
    if unsure:
        start = (
            f"{name} is better than {_listed(sure)}, but its" if sure else "No network is significantly the best: the"
        )
        lead = f"lead over {unsure[0]}" if sure else f"lead of {name} over {unsure[0]}"
        sentences.append(f"{start} {lead} may be chance ({pairs[name, unsure[0]].text()}).")
    elif sure:
        sentences.append(f"{name} is better than {_listed(sure)}; closest: {sure[0]} ({pairs[name, sure[0]].text()}).")
    baselines = [row.name for row, _ in scored if row.kind == "baseline" and (name, row.name) in pairs]
    human = [other for other in baselines if parse_method_name(other)[1] == OBSERVER]
    floor = [other for other in baselines if parse_method_name(other)[1] == BACKGROUND]
    for other in human or ([] if sentences else floor):
        pair = pairs[name, other]
        kind = parse_method_name(other)[1].replace("-", " ")
        relation = (
            "not significantly different from"
            if not pair.is_significant
            else "above"
            if pair.difference > 0
            else "below"
        )
        subject = "It" if sentences else name
        sentences.append(f"{subject} is {relation} {kind if other in floor else 'the ' + kind} ({pair.text()}).")
    return " ".join(sentences) or "There are no comparisons between methods."


def _listed(names: Sequence[str]) -> str:
    if len(names) > _MAX_NAMES:
        return f"{len(names)} others"
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _strip(cases: Sequence[Case]) -> list[Case]:
    """Return the first best cases, the ones in the middle, and the very worst ones."""
    kinds = {kind: [case for case in cases if case.kind == kind] for kind in ("best", "median", "worst")}
    return [*kinds["best"][:_PER_KIND], *kinds["median"][-_PER_KIND:], *kinds["worst"][-_PER_KIND:]]


def _note(severity: str, text: str, target: str, below: float | None = None) -> dict[str, Any]:
    return {"severity": severity, "text": text, "target": target, "below": below}


def _suspicious_notes(rows: Sequence[Row]) -> list[dict[str, Any]]:
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if reason := row.record.get("suspicious"):
            names = reasons.setdefault(reason, [])
            names += [row.name] if row.name not in names else []
    return [_note("bad", f"{_listed(names)}: {reason}", "#leaderboard") for reason, names in reasons.items()]


def _check_notes(check: Mapping[str, Any]) -> list[dict[str, Any]]:
    if not check["checked"]:
        return [_note("warn", "The raw files have not been checked", "#data")]
    notes = []
    if check["leak"]:
        notes.append(_note("bad", f"{plural(check['leak'], 'image')} in two splits", "#data"))
    for finding in check["findings"]:
        details = dict(finding["details"])
        found = details.get("found") or plural(len(finding["locations"]) + finding["unlisted"], "file")
        text = f"{finding['kind']}: {found}"
        text = f"{text[:_MAX_FINDING].rpartition(', ')[0]} …" if len(text) > _MAX_FINDING else text
        notes.append(_note("bad" if finding["severity"] == "error" else "warn", text, "#data"))
    return notes


def _class_notes(name: str, rows: Sequence[Row], column: int, label: str) -> list[dict[str, Any]]:
    """Name the classes on which the best method fails, and those that are left out of the mean."""
    of_method = [row for row in rows if row.name == name]
    scores = [(float(row.cells[column].value), row) for row in of_method if not row.overall and row.cells[column].value]
    failing = sorted((score, row.record["class"]) for score, row in scores if score < LOW_SCORE)
    notes = []
    if failing:
        names = ", ".join(f"{class_name} {score:.3f}" for score, class_name in failing[:_MAX_NAMES])
        more = f" and {len(failing) - _MAX_NAMES} more" if len(failing) > _MAX_NAMES else ""
        notes.append(_note("warn", f"Classes with {label} below {LOW_SCORE}: {names}{more}", "#classes"))
    left_out = {row.record.get(LEFT_OUT, "") for row in of_method if row.overall} - {""}
    notes += [_note("warn", f"In neither masks nor predictions: {classes}", "#classes") for classes in sorted(left_out)]
    return notes


def _image_notes(name: str, scores: pd.Series, label: str) -> list[dict[str, Any]]:
    low, count = int((scores < LOW_SCORE).sum()), int(scores.notna().sum())
    if not low:
        return []
    text = f"{low} of {plural(count, 'test image')} with {label} below {LOW_SCORE} ({name})"
    return [_note("warn", text, "#images", below=LOW_SCORE)]
