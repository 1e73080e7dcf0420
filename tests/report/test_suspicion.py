import pandas as pd
import pytest

from pipeline.core.errors import RawDataError
from pipeline.report.leaderboard import build_leaderboard

ROW = {"experiment": "e", "dataset": "d", "layout": "drive", "origin": "raw files", "excluded": "0"}
ROW |= {"split": "test", "region": "fov", "class": "vessel", "averaging": "macro", "images": "20"}
ROW |= {"f1": "0.8", "accuracy": "0.95"}


def board(tmp_path, *rows, checks=()):
    pd.DataFrame([{**ROW, **row} for row in rows]).to_csv(tmp_path / "s.csv", index=False)
    build_leaderboard(summaries=[tmp_path / "s.csv"], checks=checks, output=tmp_path / "l.csv")
    return pd.read_csv(tmp_path / "l.csv", dtype=str, keep_default_na=False)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ({"f1": "0.840000"}, []),
        ({"f1": "0.840001"}, ["f1 0.8400 is above 0.84"]),
        ({"accuracy": "0.958200"}, []),
        ({"accuracy": "0.958300"}, ["accuracy 0.9583 is above 0.9582"]),
        ({"f1": "0.91", "accuracy": "0.97"}, ["f1 0.9100", "accuracy 0.9700"]),
        ({"f1": "0.91", "accuracy": "0.97", "region": "full"}, []),
        ({"f1": "0.91", "accuracy": "0.97", "split": "validation"}, []),
        ({"f1": "0.91", "accuracy": "0.97", "origin": "synthetic"}, []),
        ({"f1": "0.91", "accuracy": "0.97", "layout": "tgs"}, []),
        ({"f1": "0.91", "accuracy": "0.97", "experiment": "d.resolution-ceiling"}, []),
        ({"f1": "0.91", "accuracy": "", "statistic": "mean"}, ["f1 0.9100"]),
        ({"f1": "0.91", "accuracy": "0.97", "statistic": "std"}, []),
    ],
)
def test_scores_above_the_best_known_score_are_suspicious(tmp_path, scores, expected):
    (suspicious,) = board(tmp_path, scores)["suspicious"]
    reasons = suspicious.split("; ") if suspicious else []
    assert len(reasons) == len(expected)
    for reason, beginning in zip(reasons, expected, strict=True):
        assert reason.startswith("likely leak: ")
        assert beginning in reason


@pytest.mark.parametrize("leak", ['"many"', "true", "1.5", "null"])
def test_reports_with_values_of_other_types_are_refused(tmp_path, leak):
    report = tmp_path / "d.json"
    report.write_text(f'{{"dataset": "d", "errors": 1, "findings": [], "leak": {leak}}}')
    with pytest.raises(RawDataError, match="not the report of a check"):
        board(tmp_path, {}, checks=[report])


def test_images_in_two_splits_are_a_likely_leak(tmp_path):
    report = tmp_path / "d.json"
    report.write_text('{"dataset": "d", "errors": 1, "findings": [], "leak": 3}')
    rows = board(tmp_path, {}, {"experiment": "d.all-background", "f1": "0"}, checks=[report]).set_index("experiment")
    assert rows["leak"].tolist() == ["3", "3"]
    assert rows.loc["e", "suspicious"] == "likely leak: 3 images also in another split"
    assert rows.loc["d.all-background", "suspicious"] == ""
