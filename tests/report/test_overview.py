"""Cards at the top of the report: the best method, whether methods differ, what to look at."""

import pandas as pd
import pytest

from pipeline.report.board import build_board, heat_tables
from pipeline.report.gallery import Case
from pipeline.report.overview import build_overview
from pipeline.report.sources import Scores

CHECK = {"dataset": "d", "checked": True, "synthetic": False, "leak": 0, "findings": []}
ROW = {"statistic": "run", "runs": "1", "dataset": "d", "origin": "raw files", "split": "test", "region": "fov",
       "class": "vessel", "averaging": "macro", "scale": "native", "threshold": "0.4", "threshold_source": "validation",
       "threshold_metric": "f1", "empty_masks": "one", "images": "20", "suspicious": ""}  # fmt: skip


def card(rows, pairs=(), check=None, cases=None, multiclass=False):
    metric = "iou" if multiclass else "f1"
    table = pd.DataFrame([{**ROW, metric: score, "experiment": name, **more} for name, score, more in rows])
    board = build_board(
        table.astype(str), {("b", "d", "test", "fov", "vessel", "macro", "f1"): ("0.78", "0.82", "0.95")}
    )
    shared = {"dataset": "d", "split": "test", "region": "fov", "class": "vessel", "metric": metric}
    compared = pd.DataFrame([{**shared, **pair} for pair in pairs]).astype(str) if pairs else None
    (built,) = build_overview(board, compared, [{**CHECK, **(check or {})}], cases or {}, {"d": multiclass})
    return built


def pair(a, b, difference, p):
    return {"a": a, "b": b, "difference": difference, "low": difference - 0.01, "high": difference + 0.01, "p_holm": p}


METHODS = [("a", 0.79, {}), ("b", 0.8, {}), ("d.second-observer", 0.81, {}), ("d.all-background", 0, {})]


def test_best_method_has_its_interval_and_is_no_baseline():
    built = card(METHODS)
    assert built["best"].name == "b"
    assert (built["cell"].text, built["cell"].interval) == ("0.800", "[0.780, 0.820]")
    assert "field of view" in built["conditions"]
    assert "threshold 0.400: validation (f1)" in built["conditions"]


def test_suspicious_methods_are_noted_and_never_best():
    built = card([*METHODS, ("leaky", 0.99, {"suspicious": "likely leak"})])
    assert built["best"].name == "b"
    assert [(note["severity"], note["text"]) for note in built["notes"]] == [("bad", "leaky: likely leak")]


@pytest.mark.parametrize(
    ("pairs", "verdict"),
    [
        ([pair("a", "b", -0.01, 0.03)],
         "b is better than a; closest: a (+0.010 [+0.000, +0.020], corrected p = 0.030)."),
        ([pair("b", "a", 0.01, 0.4)],
         "No network is significantly the best: the lead of b over a may be chance "
         "(+0.010 [+0.000, +0.020], corrected p = 0.400)."),
        ([pair("b", "d.second-observer", -0.01, 0.01)],
         "b is below the second observer (\u22120.010 [\u22120.020, +0.000], corrected p = 0.010)."),
        ([], "There are no comparisons between methods."),
    ],
)  # fmt: skip
def test_verdict_says_whether_methods_differ(pairs, verdict):
    assert card(METHODS, pairs)["verdict"] == verdict


def test_verdict_names_the_methods_that_are_worse():
    rows = [("a", 0.79, {}), ("b", 0.8, {}), ("c", 0.5, {})]
    text = card(rows, [pair("a", "b", -0.01, 0.4), pair("b", "c", 0.3, 0.0001)])["verdict"]
    assert text.startswith("b is better than c, but its lead over a may be chance (+0.010")


def test_bars_share_an_axis_and_mark_what_lies_outside():
    bars = {bar["name"]: bar for bar in card(METHODS)["bars"]}
    assert [*bars] == ["d.second-observer", "b", "a", "d.all-background"]
    assert bars["d.all-background"]["outside"] == "below"
    assert bars["d.second-observer"]["kind"] == "human"
    b = bars["b"]
    assert b["left"] < b["at"] < b["left"] + b["width"]
    scale = (bars["d.second-observer"]["at"] - bars["a"]["at"]) / 0.02
    assert b["width"] == pytest.approx(scale * 0.04, abs=0.05)


def test_notes_list_findings_leaks_and_failing_images():
    finding = {"severity": "warning", "kind": "blank", "locations": ["x"], "unlisted": 0,
               "details": [("found", "85 blank images, " + "y" * 200)]}  # fmt: skip
    scores = pd.DataFrame({"id": ["1", "2", "3"], "share": 0.1, "f1": [0.2, 0.9, None]})
    cases = {"b": (Scores("test", "fov", scores), [Case("best", "2", 0.9), Case("worst", "1", 0.2)])}
    built = card(METHODS, check={"leak": 2, "findings": [finding]}, cases=cases)
    assert [(note["severity"], note["text"], note["target"], note["below"]) for note in built["notes"]] == [
        ("bad", "2 images in two splits", "#data", None),
        ("warn", "blank: 85 blank images …", "#data", None),
        ("warn", "1 of 2 test images with F1 below 0.5 (b)", "#images", 0.5),
    ]
    assert built["method"] == "b"
    assert [case.id for case in built["cases"]] == ["2", "1"]


def test_failing_classes_are_noted_and_in_the_heat_table():
    rows = [("b", score, {"class": name}) for name, score in (("mean", 0.6), ("disc", 0.9), ("edge", 0.3))]
    built = card(rows, multiclass=True)
    assert [note["text"] for note in built["notes"]] == ["Classes with IoU below 0.5: edge 0.300"]
    table = pd.DataFrame([{**ROW, "experiment": name, "iou": score, **more} for name, score, more in rows]).astype(str)
    (heat,) = heat_tables(build_board(table, {}))
    assert heat["classes"] == ["mean", "disc", "edge"]
    assert heat["rows"] == [("b", "run", ["0.600", "0.900", "0.300"])]


def test_data_set_without_scores_has_a_card():
    built = card([("d.second-observer", 0.8, {})], check={"checked": False})
    assert built["best"] is None
    assert [note["text"] for note in built["notes"]] == ["The raw files have not been checked"]
