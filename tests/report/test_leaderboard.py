import numpy as np
import pandas as pd
import pytest

from pipeline.core.errors import PipelineError, PredictionError, RawDataError
from pipeline.report.leaderboard import build_leaderboard


def test_leaderboard_order_by_split_region_and_score(tmp_path):
    rows = [
        (name, "d", split, region, "vessel", "macro", value)
        for name, value in (("a", 0.2), ("b", 0.7))
        for split in ("validation", "test")
        for region in ("full", "fov")
    ]
    table = pd.DataFrame(rows, columns=["experiment", "dataset", "split", "region", "class", "averaging", "f1"])
    table.iloc[:4].to_csv(tmp_path / "a.csv", index=False)
    table.iloc[4:].to_csv(tmp_path / "b.csv", index=False)
    build_leaderboard(summaries=[tmp_path / "a.csv", tmp_path / "b.csv"], output=tmp_path / "l.csv")
    board = pd.read_csv(tmp_path / "l.csv")
    assert board.iloc[0][["experiment", "split", "region"]].tolist() == ["b", "test", "fov"]
    assert board.iloc[1][["experiment", "split", "region"]].tolist() == ["a", "test", "fov"]
    assert len(board) == 8
    build_leaderboard(summaries=[], output=tmp_path / "l.csv")
    assert len(pd.read_csv(tmp_path / "l.csv")) == 0
    with pytest.raises(PipelineError, match=r"gone\.csv"):
        build_leaderboard(summaries=[tmp_path / "gone.csv"], output=tmp_path / "l.csv")


@pytest.mark.parametrize("cell", ["f1", "0.8;5"])
def test_scores_that_are_no_numbers_are_named(tmp_path, cell):
    header = "experiment,dataset,split,region,class,averaging,images,f1\n"
    (tmp_path / "s.csv").write_text(f"{header}e,d,test,full,,micro,3,{cell}\n")
    with pytest.raises(PredictionError, match=f"'{cell}' in the column 'f1'"):
        build_leaderboard(summaries=[tmp_path / "s.csv"], output=tmp_path / "l.csv")


def test_leaderboard_has_the_leaks_of_each_data_set(tmp_path):
    rows = {"experiment": ["e", "f"], "dataset": ["d", "unchecked"], "excluded": [2, 0], "split": "test"}
    rows |= {"region": "full", "averaging": "macro", "class": "a", "f1": 0.5}
    pd.DataFrame(rows).to_csv(tmp_path / "s.csv", index=False)
    (tmp_path / "d.json").write_text('{"dataset": "d", "errors": 1, "findings": [], "leak": 6}')
    out = tmp_path / "l.csv"
    build_leaderboard(summaries=[tmp_path / "s.csv"], checks=[tmp_path / "d.json"], output=out)
    board = pd.read_csv(out, dtype=str, keep_default_na=False).set_index("experiment")
    assert board["leak"].to_dict() == {"e": "6", "f": ""}
    assert board["excluded"].to_dict() == {"e": "2", "f": "0"}
    with pytest.raises(RawDataError, match="report of a check"):
        build_leaderboard(summaries=[tmp_path / "s.csv"], checks=[tmp_path / "s.csv"], output=out)


def test_leaderboard_has_means_over_classes_before_classes(tmp_path):
    def summary(experiment, dataset, scores, **columns):
        rows = [
            {"experiment": experiment, "dataset": dataset, "split": "test", "region": "full", "class": name,
             "averaging": averaging, "f1": score, **columns}
            for averaging in ("macro", "micro")
            for name, score in scores.items()
        ]  # fmt: skip
        path = tmp_path / f"{experiment}.csv"
        pd.DataFrame(rows).to_csv(path, index=False, float_format="%.6f")
        return path

    summaries = [
        summary("low", "shapes", {"zebra": 0.9, "apple": 0.2, "mean": 0.3}),
        summary("007", "shapes", {"zebra": 0.8, "apple": 0.5, "mean": 0.6}),
        summary("one", "NA", {"vessel": 0.7}, mae=0.1, probability_levels=256),
        summary("blank", "shapes", {"zebra": 0.8, "apple": np.nan, "mean": np.nan}),
    ]
    build_leaderboard(summaries=summaries, output=tmp_path / "l.csv")
    board = pd.read_csv(tmp_path / "l.csv", dtype=str, keep_default_na=False)
    macro = board[board["averaging"] == "macro"]
    assert macro[["dataset", "class", "experiment"]].to_numpy().tolist() == [
        ["NA", "vessel", "one"],
        *(["shapes", "mean", name] for name in ("007", "low", "blank")),
        *(["shapes", "zebra", name] for name in ("low", "007", "blank")),
        *(["shapes", "apple", name] for name in ("007", "low", "blank")),
    ]
    assert board.loc[0, ["mae", "probability_levels"]].tolist() == ["0.100000", "256"]
    assert set(board.loc[board["dataset"] == "shapes", "mae"]) == {""}
