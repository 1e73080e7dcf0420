"""Paired comparisons of methods: pairs, families and groups; and the output of `compare`."""

import io
import json

import numpy as np
import pandas as pd
import pytest

from pipeline.cli import main as cli
from pipeline.core.errors import PredictionError
from pipeline.evaluation.paired import holm
from pipeline.report.comparisons import COLUMNS, compare_methods

IMAGES = 8


def scores(
    name, shift, *, classes=("vessel",), regions=("fov", "full"), policy="one", dataset="d", mae=True, **changes
):
    """Return rows like those of `evaluate`, with the columns that comparisons read."""
    rng = np.random.default_rng(1)
    rows = []
    for split in ("test", "validation"):
        for region in regions:
            for number in range(IMAGES):
                for kind in classes:
                    f1 = float(np.clip(rng.beta(6, 2) + shift + rng.normal(0, 0.02) * (shift != 0), 0, 1))
                    rows.append(
                        {
                            "experiment": name, "dataset": dataset, "split": split, "region": region, "class": kind,
                            "scale": "native", "mask_binarization": "", "empty_masks": policy,
                            "background": classes[0] if len(classes) > 1 else "", "id": f"{number:02d}",
                            "pixels": 100, "tp": int(10 * f1), "fp": 3, "fn": 20 - int(10 * f1), "f1": f1,
                            "iou": f1 / (2 - f1), **({"mae": 1 - f1} if mae else {}), **changes,
                        }
                    )  # fmt: skip
    return pd.DataFrame(rows)


def write(folder, *tables):
    files = []
    for table in tables:
        files.append(folder / f"{table['experiment'].iloc[0]}.csv")
        table.to_csv(files[-1], index=False, float_format="%.6f")
    return files


def compare(folder, *tables):
    compare_methods(per_image=write(folder, *tables), output=folder / "out.csv")
    return pd.read_csv(folder / "out.csv", dtype={"a": str, "b": str}, keep_default_na=False, na_values={"p": [""]})


def test_all_pairs_are_compared_in_separate_families(tmp_path):
    tables = [scores("NA", 0.1), scores("007", 0.0), scores("b.second-observer", -0.1)]
    rows = compare(tmp_path, *tables)
    assert tuple(rows.columns) == COLUMNS
    assert set(rows["split"]) == {"test"}
    assert rows[["a", "b"]].drop_duplicates().to_numpy().tolist() == [
        ["007", "NA"], ["007", "b.second-observer"], ["NA", "b.second-observer"]
    ]  # fmt: skip
    families = rows.groupby(["region", "metric"])
    assert families.ngroups == 6
    for _, family in families:
        assert (family["comparisons"] == 3).all()
        np.testing.assert_allclose(family["p_holm"], holm(family["p"].to_numpy()), atol=2e-6)
    f1_row = rows.query("region == 'fov' and metric == 'f1' and a == '007' and b == 'NA'").iloc[0]
    means = [table.query("split == 'test' and region == 'fov'")["f1"].mean() for table in (tables[1], tables[0])]
    assert f1_row["difference"] == pytest.approx(means[0] - means[1], abs=2e-6)
    assert f1_row["low"] < f1_row["difference"] < f1_row["high"] < 0
    assert (f1_row["images"], f1_row["p"]) == (IMAGES, round(2 / 2**IMAGES, 6))
    mae_row = rows.query("region == 'fov' and metric == 'mae' and a == '007' and b == 'NA'").iloc[0]
    assert mae_row["difference"] == pytest.approx(-f1_row["difference"], abs=2e-6)


def test_baselines_are_not_compared_with_each_other(tmp_path):
    # with six images and one network, p = 2 / 64 stays below 0.05 after the correction for two baselines
    tables = [scores(name, shift).query("id < '06'") for name, shift in (
        ("net", 0.3), ("d.second-observer", 0.0), ("d.all-background", -0.3), ("d.resolution-ceiling", 0.1)
    )]  # fmt: skip
    rows = compare(tmp_path, *tables).query("region == 'fov' and metric == 'f1'")
    assert rows["b"].tolist() == ["net"] * 3
    assert set(rows["comparisons"]) == {3}
    np.testing.assert_allclose(rows["p_holm"], holm(rows["p"].to_numpy()), atol=2e-6)
    assert rows["p_holm"].max() == pytest.approx(3 * rows["p"].min(), abs=2e-6)
    assert compare(tmp_path, *tables[1:]).empty


def test_output_is_independent_of_the_order_of_inputs(tmp_path):
    tables = [scores("a", 0.1), scores("b", 0.0), scores("c", -0.1)]
    (tmp_path / "x").mkdir()
    compare(tmp_path, *tables)
    shuffled = [table.sample(frac=1, random_state=0) for table in tables[::-1]]
    compare(tmp_path / "x", *shuffled)
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "x/out.csv").read_bytes()


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (scores("c", 0.1).query("id != '03'"), "another image"),
        (scores("c", 0.1, policy="skip"), "another policy"),
        (scores("c", 0.1, pixels=99), "other masks"),
        (scores("c", 0.1, mask_binarization="soft mask > 127"), "another definition"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_methods_scored_differently_are_logged_not_compared(tmp_path, other, why, capsys):
    rows = compare(tmp_path, scores("a", 0.1), scores("b", 0.0), other)
    assert set(rows["a"]) | set(rows["b"]) == {"a", "b"}, why
    assert set(rows["comparisons"]) == {1}
    assert "d, fov: not compared with each other because images, masks or policies for empty masks differ: a, b; c" in (
        capsys.readouterr().err
    )


def test_two_groups_of_a_data_set_form_one_family(tmp_path):
    part = [scores(name, shift).query("id > '02'") for name, shift in (("c", 0.1), ("d", 0.0))]
    rows = compare(tmp_path, scores("a", 0.1), scores("b", 0.0), *part).query("region == 'fov' and metric == 'f1'")
    assert rows[["a", "b", "images"]].to_numpy().tolist() == [["a", "b", 8], ["c", "d", 5]]
    assert set(rows["comparisons"]) == {2}


def test_multiclass_comparisons_have_each_class_and_the_mean(tmp_path):
    options = {"classes": ("ground", "disc", "square"), "regions": ("full",), "mae": False}
    tables = [scores("a", 0.1, **options), scores("b", 0.0, **options)]
    rows = compare(tmp_path, *tables)
    assert set(rows["metric"]) == {"f1", "iou"}
    assert list(dict.fromkeys(rows["class"])) == ["mean", "ground", "disc", "square"]
    means = [table.query("split == 'test' and `class` != 'ground'")["f1"].mean() for table in tables]
    (row,) = rows.query("`class` == 'mean' and metric == 'f1'").to_dict("records")
    assert row["difference"] == pytest.approx(means[0] - means[1], abs=2e-6)


def test_images_without_a_score_are_left_out(tmp_path):
    table = scores("a", 0.1)
    table.loc[table["id"] < "03", ["f1", "iou"]] = np.nan
    rows = compare(tmp_path, table, scores("b", 0.0)).query("region == 'fov'").set_index("metric")
    assert rows["images"].to_dict() == {"f1": 5, "iou": 5, "mae": 8}


@pytest.mark.parametrize("tables", [[], [scores("a", 0.1)], [scores("a", 0.1), scores("b", 0.1, dataset="other")]])
def test_table_without_pairs_has_no_rows(tmp_path, tables):
    assert compare(tmp_path, *tables).empty
    assert (tmp_path / "out.csv").read_text() == ",".join(COLUMNS) + "\n"


def test_all_unusable_tables_are_reported(tmp_path):
    valid, invalid = write(tmp_path, scores("a", 0.1), scores("words", 0.1))
    invalid.write_text(invalid.read_text().replace("0.", "x", 1))
    (duplicated,) = write(tmp_path, pd.concat([scores("twice", 0.1)] * 2))
    incomplete = tmp_path / "torn.csv"
    incomplete.write_text("experiment,dataset\n")
    files = [valid, valid, invalid, duplicated, incomplete, tmp_path / "gone.csv"]
    with pytest.raises(PredictionError) as caught:
        compare_methods(per_image=files, output=tmp_path / "out.csv")
    paths = [problem.where for problem in caught.value.problems]
    assert paths == [*map(str, files[2:]), "experiment 'a'"]
    for message in ("duplicate images", "without split", "No such file", "scores in 2 files"):
        assert message in str(caught.value)
    assert not (tmp_path / "out.csv").exists()


# -- output of `compare` -----------------------------------------------------------------------------------------------


def board_row(name, f1, **changes):
    row = {
        "experiment": name, "statistic": "run", "runs": 1, "dataset": "d", "origin": "raw files", "suspicious": "",
        "split": "test", "region": "fov", "class": "vessel", "scale": "native", "threshold": 0.4,
        "threshold_source": "validation", "empty_masks": "one", "averaging": "macro", "images": IMAGES,
        "mae": 1 - f1, "f1": f1, "iou": f1 / 2, "f1_low": f1 - 0.1, "f1_high": f1 + 0.1,
    }  # fmt: skip
    return {**row, **changes}


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Results of two experiments, one of them with two seeds, and a baseline that beats them."""
    monkeypatch.chdir(tmp_path)
    names = {"[a]b": 0.7, "z-seed1": 0.8, "z-seed2": 0.6, "d.resolution-ceiling": 0.9}
    rows = [board_row(name, f1) for name, f1 in names.items()]
    rows += [board_row("z", f1, statistic=kind, runs=2) for kind, f1 in (("mean", 0.7001), ("std", 0.1414))]
    rows += [{**row, "region": "full", "f1": 0.5} for row in rows]
    rows.append(board_row("few", 0.4, dataset="s", region="full", **{"class": "mean", "threshold": "", "images": 2}))
    (tmp_path / "results/metrics").mkdir(parents=True)
    pd.DataFrame(rows).to_csv("results/leaderboard.csv", index=False, float_format="%.6f")
    files = write(tmp_path, *(scores(name, f1 - 0.8) for name, f1 in names.items()))
    compare_methods(per_image=files, output=tmp_path / "results/comparisons.csv")
    for row in rows:
        if row["statistic"] == "run" and row["region"] == "fov":
            keys = ["experiment", "dataset", "split", "region", "class", "averaging"]
            shared = {key: row[key] for key in keys}
            folder = tmp_path / "results/metrics" / row["experiment"]
            folder.mkdir()
            cells = [{**shared, "metric": m, "low": row[m] - 0.1, "high": row[m] + 0.1} for m in ("mae", "f1", "iou")]
            pd.DataFrame(cells).to_csv(folder / "intervals.csv", index=False, float_format="%.6f")
    return tmp_path


def run(capsys, *arguments, status=0):
    assert cli.main(["compare", *arguments]) == status
    output = capsys.readouterr()
    return output.err if status else output.out


def test_output_to_a_pipe_is_complete_and_without_colour(results, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    text = run(capsys)
    assert "\x1b" not in text
    assert "…" not in text
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0] == "d, 8 test images, region fov, class vessel, macro, native size"
    methods = ("d.resolution-ceiling", "z-seed1", "z", "[a]b", "z-seed2")
    starts = [lines.index(name) for name in methods]
    assert starts == sorted(starts)
    cells = [" ".join(line.split()) for line in lines]
    second, third, last = cells[starts[1] : starts[2]], cells[starts[2] : starts[3]], cells[starts[4] :]
    assert "f1 0.8000 [0.7000, 0.9000]" in second
    assert "difference reference" in second
    assert "f1 0.7001 (sd 0.1414, 2 runs)" in third
    assert any(cell.startswith("difference -0.2") for cell in last)
    assert f"p_holm {6 * 2 / 2**IMAGES:.4f}" in last  # all eight images, six comparisons
    assert "corrected for 6 comparisons" in " ".join(text.split())
    assert "s, 2 test images, region full, class mean, macro" in text


def test_json_and_csv_have_the_same_rows(results, capsys):
    records = json.loads(run(capsys, "--format", "json", "z-seed1", "[a]b", "few"))
    assert [record["experiment"] for record in records] == ["z-seed1", "[a]b", "few"]
    lower = records[1]
    assert lower["reference"] == "z-seed1"
    assert lower["difference"] < 0
    assert lower["difference_low"] <= lower["difference"] <= lower["difference_high"] < 0
    assert lower["threshold"] == 0.4
    assert records[2]["threshold"] is None
    (results / "out.csv").write_text(run(capsys, "--format", "csv", "z-seed1", "[a]b", "few"))
    table = pd.read_csv(results / "out.csv")
    assert table["experiment"].tolist() == ["z-seed1", "[a]b", "few"]
    assert table["p_holm"].tolist()[1] == pytest.approx(lower["p_holm"])
    assert list(records[0])[:7] == list(table.columns)[:7]


def test_mae_ranks_lower_values_first(results, capsys):
    records = json.loads(run(capsys, "--format", "json", "--metric", "mae", "--dataset", "d"))
    assert [record["experiment"] for record in records][:2] == ["d.resolution-ceiling", "z-seed1"]
    assert records[0]["low"] == pytest.approx(0.0, abs=1e-9)
    last = records[-1]
    assert (last["experiment"], last["reference"]) == ("z-seed2", "z-seed1")
    assert last["difference"] > 0
    assert "mae: lower is better" in run(capsys, "--metric", "mae")


def test_notes_explain_why_there_are_no_differences(results, capsys):
    assert "region full" in run(capsys, "--region", "full", "--dataset", "d")
    board = pd.read_csv("results/leaderboard.csv", keep_default_na=False).assign(roc_auc=0.9)
    board.to_csv("results/leaderboard.csv", index=False)
    text = run(capsys, "--metric", "roc_auc", "--dataset", "d")
    assert "Differences are tested for macro f1, iou and mae only." in text
    assert "reference" not in text
    assert "Baselines are not compared with each other." in run(capsys, "d.resolution-ceiling")
    means = run(capsys, "z")
    assert "Means over networks have no paired differences: compare their runs, or an ensemble." in means
    assert "only" not in means
    board.assign(mae="").to_csv("results/leaderboard.csv", index=False)
    text = run(capsys, "--metric", "mae", "z-seed1", "z-seed2")
    assert "compared" not in text


def test_suspicious_rows_are_the_reference_only_if_all_are(results, capsys):
    board = pd.read_csv("results/leaderboard.csv", keep_default_na=False, dtype=str)
    board.loc[board["experiment"] == "z-seed1", "suspicious"] = "likely leak"
    board.to_csv("results/leaderboard.csv", index=False)
    records = json.loads(run(capsys, "--format", "json", "--dataset", "d"))
    assert {record["reference"] for record in records} == {"[a]b"}
    runs = [record for record in records if record["statistic"] == "run"]
    assert {record["experiment"]: record["difference"] is None for record in runs} == {
        "d.resolution-ceiling": False, "z-seed1": False, "[a]b": True, "z-seed2": False
    }  # fmt: skip
    board.loc[board["experiment"].isin(["[a]b", "z-seed2"]), "suspicious"] = "likely leak"
    board.to_csv("results/leaderboard.csv", index=False)
    assert {record["reference"] for record in json.loads(run(capsys, "--format", "json", "--dataset", "d"))} == {
        "z-seed1"
    }


def test_different_policies_for_empty_masks_are_noted(results, capsys):
    board = pd.read_csv("results/leaderboard.csv", keep_default_na=False, dtype=str)
    assert "empty_masks" not in run(capsys)
    board.loc[board["experiment"] == "[a]b", "empty_masks"] = "skip"
    board.loc[board["experiment"] == "z", "empty_masks"] = ""  # a mean over runs that differ
    board.to_csv("results/leaderboard.csv", index=False)
    note = "with empty mask and prediction: one in d.resolution-ceiling, skip in [a]b."
    assert note in " ".join(run(capsys, "--dataset", "d").split())
    records = json.loads(run(capsys, "--format", "json", "--dataset", "d"))
    assert {record["empty_masks"] for record in records if record["statistic"] == "run"} == {"one", "skip"}


def test_classes_left_out_of_the_mean_are_named(results, capsys):
    board = pd.read_csv("results/leaderboard.csv", keep_default_na=False, dtype=str)
    names = board["experiment"].map({"few": "tram; bus"}).fillna("")
    board.insert(list(board.columns).index("images"), "left_out", names)
    board.to_csv("results/leaderboard.csv", index=False)
    assert "few: the mean leaves out tram; bus, which neither masks nor predictions have." in run(capsys, "few")
    assert json.loads(run(capsys, "few", "--format", "json"))[0]["left_out"] == "tram; bus"


def test_folds_of_equal_size_have_different_images(results, capsys):
    rows = [board_row(name, 0.7, split="validation", dataset="k") for name in ("k-fold0", "k-fold1", "other")]
    pd.DataFrame(rows).to_csv("results/leaderboard.csv", index=False)
    for number, name in enumerate(("k-fold0", "k-fold1", "other")):
        table = scores(name, 0.1, dataset="k")
        table["id"] = [f"{int(image) + IMAGES * (number % 2) * (split == 'validation')}" for image, split in zip(
            table["id"], table["split"], strict=True
        )]  # fmt: skip
        folder = results / "results/metrics" / name
        folder.mkdir()
        table.to_csv(folder / "per_image.csv", index=False)
    note = "Not all experiments were scored on the same images"
    assert note in run(capsys, "--split", "validation")
    assert note not in run(capsys, "--split", "validation", "k-fold0", "other")
    (results / "results/metrics/other/per_image.csv").write_text("experiment,id\nother,1\n")
    assert "a table without split or id" in run(capsys, "--split", "validation", status=1)


def test_mean_over_folds_has_no_number_of_images(results, capsys):
    changes = {"split": "validation", "dataset": "k"}
    rows = [board_row(f"k-fold{fold}", 0.7, **changes, images=fold + 7) for fold in range(2)]
    rows += [board_row("k", 0.7, **changes, statistic=kind, runs=2, images="") for kind in ("mean", "std")]
    rows += [board_row("l", 0.7, **{**changes, "dataset": "l"}, statistic="mean", runs=2, images="")]
    pd.DataFrame(rows).to_csv("results/leaderboard.csv", index=False)
    lines = run(capsys, "--split", "validation").splitlines()
    assert lines[0].startswith("k, 7/8 validation images, ")
    assert [line for line in lines if line.startswith("Not all experiments were scored on the same images")]
    assert any(line.startswith("l, validation images, ") for line in lines)
    records = json.loads(run(capsys, "--split", "validation", "--format", "json", "--dataset", "k"))
    assert {record["experiment"]: record["images"] for record in records} == {"k": None, "k-fold0": 7, "k-fold1": 8}
    text = run(capsys, "--split", "validation", "--format", "csv", "--dataset", "k")
    table = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    assert sorted(table["images"]) == ["", "7", "8"]


def test_narrow_terminal_gets_a_list(results, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    narrow = run(capsys, "--dataset", "d")
    assert "\x1b[1m" in narrow
    assert "…" not in narrow
    assert "  difference  reference" in narrow
    monkeypatch.setenv("COLUMNS", "300")
    assert "  difference  reference" not in run(capsys, "--dataset", "d")


def test_unknown_names_are_reported_with_the_known_ones(results, capsys):
    message = run(capsys, "nope", "other", "--metric", "f7", status=2)
    assert "3 problems" in message
    assert "one of [a]b, z-seed1, z-seed2, d.resolution-ceiling, z, few" in message
    assert "one of mae, f1, iou" in message
    message = run(capsys, "--split", "validation", status=2)
    assert "no row of split validation" in message
    assert "split test; region fov, full" in message


def test_missing_results_are_reported_with_a_command(results, capsys):
    (results / "results/comparisons.csv").unlink()
    assert "p_holm" not in run(capsys, "--dataset", "d")
    board = results / "results/leaderboard.csv"
    board.write_text("experiment,statistic\na,run\n")
    assert "a table without runs, dataset" in run(capsys, status=1)
    board.write_text("experiment,statistic,runs,dataset,split,class,f1\n")
    assert "no rows" in run(capsys, status=1)
    board.unlink()
    message = run(capsys, status=1)
    assert "no such file" in message
    assert "snakemake --cores all" in message
