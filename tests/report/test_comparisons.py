"""All methods against each other: who is compared with whom, over which family; and the tables that people read."""

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
    """Return rows as `evaluate` writes them, less those that nobody reads here."""
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
                            "scale": "native", "mask_binarization": "", "empty_masks": policy, "id": f"{number:02d}",
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


def test_all_pairs_of_test_images_in_families_of_their_own(tmp_path):
    tables = [scores("NA", 0.1), scores("007", 0.0), scores("b.second-observer", -0.1)]
    found = compare(tmp_path, *tables)
    assert tuple(found.columns) == COLUMNS
    assert set(found["split"]) == {"test"}
    assert found[["a", "b"]].drop_duplicates().to_numpy().tolist() == [
        ["007", "NA"], ["007", "b.second-observer"], ["NA", "b.second-observer"]
    ]  # fmt: skip
    families = found.groupby(["region", "metric"])
    assert families.ngroups == 6
    for _, family in families:
        assert (family["comparisons"] == 3).all()
        np.testing.assert_allclose(family["p_holm"], holm(family["p"].to_numpy()), atol=2e-6)
    one = found.query("region == 'fov' and metric == 'f1' and a == '007' and b == 'NA'").iloc[0]
    means = [table.query("split == 'test' and region == 'fov'")["f1"].mean() for table in (tables[1], tables[0])]
    assert one["difference"] == pytest.approx(means[0] - means[1], abs=2e-6)
    assert one["low"] < one["difference"] < one["high"] < 0
    assert (one["images"], one["p"]) == (IMAGES, round(2 / 2**IMAGES, 6))
    less = found.query("region == 'fov' and metric == 'mae' and a == '007' and b == 'NA'").iloc[0]
    assert less["difference"] == pytest.approx(-one["difference"], abs=2e-6)


def test_the_bytes_depend_on_no_order(tmp_path):
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
def test_who_was_scored_otherwise_is_not_compared_and_that_is_said(tmp_path, other, why, capsys):
    found = compare(tmp_path, scores("a", 0.1), scores("b", 0.0), other)
    assert set(found["a"]) | set(found["b"]) == {"a", "b"}, why
    assert set(found["comparisons"]) == {1}
    assert "d, fov: other images, masks or policies for empty masks, so not compared with each other: a, b; c" in (
        capsys.readouterr().err
    )


def test_two_groups_of_one_data_set_are_one_family(tmp_path):
    part = [scores(name, shift).query("id > '02'") for name, shift in (("c", 0.1), ("d", 0.0))]
    found = compare(tmp_path, scores("a", 0.1), scores("b", 0.0), *part).query("region == 'fov' and metric == 'f1'")
    assert found[["a", "b", "images"]].to_numpy().tolist() == [["a", "b", 8], ["c", "d", 5]]
    assert set(found["comparisons"]) == {2}


def test_several_classes_have_each_class_and_the_mean_over_the_foreground(tmp_path):
    given = {"classes": ("ground", "disc", "square"), "regions": ("full",), "mae": False}
    tables = [scores("a", 0.1, **given), scores("b", 0.0, **given)]
    found = compare(tmp_path, *tables)
    assert set(found["metric"]) == {"f1", "iou"}
    assert list(dict.fromkeys(found["class"])) == ["mean", "ground", "disc", "square"]
    means = [table.query("split == 'test' and `class` != 'ground'")["f1"].mean() for table in tables]
    (row,) = found.query("`class` == 'mean' and metric == 'f1'").to_dict("records")
    assert row["difference"] == pytest.approx(means[0] - means[1], abs=2e-6)


def test_images_without_a_score_are_left_out(tmp_path):
    table = scores("a", 0.1)
    table.loc[table["id"] < "03", ["f1", "iou"]] = np.nan
    found = compare(tmp_path, table, scores("b", 0.0)).query("region == 'fov'").set_index("metric")
    assert found["images"].to_dict() == {"f1": 5, "iou": 5, "mae": 8}


@pytest.mark.parametrize("tables", [[], [scores("a", 0.1)], [scores("a", 0.1), scores("b", 0.1, dataset="other")]])
def test_where_there_is_no_pair_the_table_has_no_row(tmp_path, tables):
    assert compare(tmp_path, *tables).empty
    assert (tmp_path / "out.csv").read_text() == ",".join(COLUMNS) + "\n"


def test_tables_that_cannot_be_used_are_all_named(tmp_path):
    good, words = write(tmp_path, scores("a", 0.1), scores("words", 0.1))
    words.write_text(words.read_text().replace("0.", "x", 1))
    (twice,) = write(tmp_path, pd.concat([scores("twice", 0.1)] * 2))
    torn = tmp_path / "torn.csv"
    torn.write_text("experiment,dataset\n")
    files = [good, good, words, twice, torn, tmp_path / "gone.csv"]
    with pytest.raises(PredictionError) as caught:
        compare_methods(per_image=files, output=tmp_path / "out.csv")
    where = [problem.where for problem in caught.value.problems]
    assert where == [*map(str, files[2:]), "experiment 'a'"]
    for said in ("twice", "without split", "No such file", "scores in 2 files"):
        assert said in str(caught.value)
    assert not (tmp_path / "out.csv").exists()


# -- the table in the terminal -----------------------------------------------------------------------------------------


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
            its = {key: row[key] for key in keys}
            folder = tmp_path / "results/metrics" / row["experiment"]
            folder.mkdir()
            cells = [{**its, "metric": m, "low": row[m] - 0.1, "high": row[m] + 0.1} for m in ("mae", "f1", "iou")]
            pd.DataFrame(cells).to_csv(folder / "intervals.csv", index=False, float_format="%.6f")
    return tmp_path


def run(capsys, *words, status=0):
    assert cli.main(["compare", *words]) == status
    said = capsys.readouterr()
    return said.err if status else said.out


def test_a_pipe_gets_every_number_and_no_colour(results, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    text = run(capsys)
    assert "\x1b" not in text
    assert "…" not in text
    lines = text.splitlines()
    assert lines[0] == "d, 8 test images, region fov, class vessel, macro, native size"
    order = [next(k for k, line in enumerate(lines) if line.split()[:1] == [name]) for name in
             ("d.resolution-ceiling", "z-seed1", "z", "[a]b", "z-seed2")]  # fmt: skip
    assert order == sorted(order)
    assert "0.8000 [0.7000, 0.9000]" in lines[order[1]]
    assert lines[order[1]].split()[-1] == "reference"
    assert "0.7001 (sd 0.1414, 2 runs)" in lines[order[2]]
    assert "-0.2" in lines[order[4]]
    assert lines[order[4]].split()[-1] == f"{6 * 2 / 2**IMAGES:.4f}"  # all eight images, six comparisons
    assert "corrected for 6 comparisons" in text
    assert "s, 2 test images, region full, class mean, macro" in text


def test_json_and_csv_have_the_same_rows(results, capsys):
    records = json.loads(run(capsys, "--format", "json", "z-seed1", "[a]b", "few"))
    assert [one["experiment"] for one in records] == ["z-seed1", "[a]b", "few"]
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


def test_of_an_error_less_is_better(results, capsys):
    records = json.loads(run(capsys, "--format", "json", "--metric", "mae", "--dataset", "d"))
    assert [one["experiment"] for one in records][:2] == ["d.resolution-ceiling", "z-seed1"]
    assert records[0]["low"] == pytest.approx(0.0, abs=1e-9)
    last = records[-1]
    assert (last["experiment"], last["reference"]) == ("z-seed2", "z-seed1")
    assert last["difference"] > 0
    assert "less is better" in run(capsys, "--metric", "mae")


def test_other_rows_and_what_is_not_compared(results, capsys):
    assert "region full" in run(capsys, "--region", "full", "--dataset", "d")
    board = pd.read_csv("results/leaderboard.csv", keep_default_na=False).assign(roc_auc=0.9)
    board.to_csv("results/leaderboard.csv", index=False)
    text = run(capsys, "--metric", "roc_auc", "--dataset", "d")
    assert "Differences are compared by macro f1, iou and mae only." in text
    assert "reference" not in text
    means = run(capsys, "z")
    assert "Means over networks are not compared image by image: name their runs, or an ensemble." in means
    assert "only" not in means
    board.assign(mae="").to_csv("results/leaderboard.csv", index=False)
    text = run(capsys, "--metric", "mae", "z-seed1", "z-seed2")
    assert "compared" not in text


def test_what_is_in_doubt_is_no_reference_unless_all_is(results, capsys):
    board = pd.read_csv("results/leaderboard.csv", keep_default_na=False, dtype=str)
    board.loc[board["experiment"] == "z-seed1", "suspicious"] = "likely leak"
    board.to_csv("results/leaderboard.csv", index=False)
    records = json.loads(run(capsys, "--format", "json", "--dataset", "d"))
    assert {one["reference"] for one in records} == {"[a]b"}
    assert {one["experiment"]: one["difference"] is None for one in records if one["statistic"] == "run"} == {
        "d.resolution-ceiling": False, "z-seed1": False, "[a]b": True, "z-seed2": False
    }  # fmt: skip
    board.loc[board["experiment"].isin(["[a]b", "z-seed2"]), "suspicious"] = "likely leak"
    board.to_csv("results/leaderboard.csv", index=False)
    assert {one["reference"] for one in json.loads(run(capsys, "--format", "json", "--dataset", "d"))} == {"z-seed1"}


def test_scores_that_count_empty_masks_otherwise_are_told(results, capsys):
    board = pd.read_csv("results/leaderboard.csv", keep_default_na=False, dtype=str)
    assert "empty_masks" not in run(capsys)
    board.loc[board["experiment"] == "[a]b", "empty_masks"] = "skip"
    board.loc[board["experiment"] == "z", "empty_masks"] = ""  # a mean over runs that differ
    board.to_csv("results/leaderboard.csv", index=False)
    said = "`empty_masks` differs: one in d.resolution-ceiling, skip in [a]b."
    assert said in run(capsys, "--dataset", "d")
    records = json.loads(run(capsys, "--format", "json", "--dataset", "d"))
    assert {one["empty_masks"] for one in records if one["statistic"] == "run"} == {"one", "skip"}


def test_folds_of_equal_size_are_still_other_images(results, capsys):
    rows = [board_row(name, 0.7, split="validation", dataset="k") for name in ("k-fold0", "k-fold1", "other")]
    pd.DataFrame(rows).to_csv("results/leaderboard.csv", index=False)
    for number, name in enumerate(("k-fold0", "k-fold1", "other")):
        table = scores(name, 0.1, dataset="k")
        table["id"] = [f"{int(one) + IMAGES * (number % 2) * (split == 'validation')}" for one, split in zip(
            table["id"], table["split"], strict=True
        )]  # fmt: skip
        folder = results / "results/metrics" / name
        folder.mkdir()
        table.to_csv(folder / "per_image.csv", index=False)
    said = "Not all of them were scored on the same images"
    assert said in run(capsys, "--split", "validation")
    assert said not in run(capsys, "--split", "validation", "k-fold0", "other")
    (results / "results/metrics/other/per_image.csv").write_text("experiment,id\nother,1\n")
    assert "a table without split or id" in run(capsys, "--split", "validation", status=1)


def test_networks_of_folds_of_different_sizes_have_a_mean_without_a_number_of_images(results, capsys):
    changes = {"split": "validation", "dataset": "k"}
    rows = [board_row(f"k-fold{fold}", 0.7, **changes, images=fold + 7) for fold in range(2)]
    rows += [board_row("k", 0.7, **changes, statistic=kind, runs=2, images="") for kind in ("mean", "std")]
    rows += [board_row("l", 0.7, **{**changes, "dataset": "l"}, statistic="mean", runs=2, images="")]
    pd.DataFrame(rows).to_csv("results/leaderboard.csv", index=False)
    lines = run(capsys, "--split", "validation").splitlines()
    assert lines[0].startswith("k, 7/8 validation images, ")
    assert [line for line in lines if line.startswith("Not all of them were scored on the same images")]
    assert any(line.startswith("l, validation images, ") for line in lines)
    records = json.loads(run(capsys, "--split", "validation", "--format", "json", "--dataset", "k"))
    assert {one["experiment"]: one["images"] for one in records} == {"k": None, "k-fold0": 7, "k-fold1": 8}
    text = run(capsys, "--split", "validation", "--format", "csv", "--dataset", "k")
    table = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    assert sorted(table["images"]) == ["", "7", "8"]


def test_a_narrow_terminal_gets_a_list(results, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    narrow = run(capsys, "--dataset", "d")
    assert "\x1b[1m" in narrow
    assert "…" not in narrow
    assert "  difference  reference" in narrow
    monkeypatch.setenv("COLUMNS", "300")
    assert "  difference  reference" not in run(capsys, "--dataset", "d")


def test_mistakes_say_what_there_is(results, capsys):
    said = run(capsys, "nope", "other", "--metric", "f7", status=2)
    assert "3 problems" in said
    assert "one of [a]b, z-seed1, z-seed2, d.resolution-ceiling, z, few" in said
    assert "one of mae, f1, iou" in said
    said = run(capsys, "--split", "validation", status=2)
    assert "no row of split validation" in said
    assert "split test; region fov, full" in said


def test_without_results_it_says_what_to_run(results, capsys):
    (results / "results/comparisons.csv").unlink()
    assert "p_holm" not in run(capsys, "--dataset", "d")
    board = results / "results/leaderboard.csv"
    board.write_text("experiment,statistic\na,run\n")
    assert "a table without runs, dataset" in run(capsys, status=1)
    board.write_text("experiment,statistic,runs,dataset,split,class,f1\n")
    assert "no rows" in run(capsys, status=1)
    board.unlink()
    said = run(capsys, status=1)
    assert "no such file" in said
    assert "snakemake --cores all" in said
