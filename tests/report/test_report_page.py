"""The HTML report: contents, marks, escaping and size."""

import argparse
import json
import re
import shlex
import shutil
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from manifests import sign_all
from pages import CLASSES, HOSTILE, REASON

from pipeline.cli import main as cli
from pipeline.cli.commands import COMMANDS
from pipeline.config.config import load
from pipeline.core import paths
from pipeline.core.errors import PredictionError
from pipeline.images.downscale import downscale
from pipeline.report.board import build_board
from pipeline.report.gallery import choose_cases
from pipeline.report.page import json_block
from pipeline.report.runs import commands, stage_times
from pipeline.report.series import curves
from pipeline.report.sources import Method, Reader, find_methods
from pipeline.report.thumbnails import error_kinds


@pytest.fixture
def project(project_with_page, tmp_path, monkeypatch):
    """A copy of the project that a test may change."""
    folder = shutil.copytree(project_with_page, tmp_path / "project")
    monkeypatch.chdir(folder)
    return folder


class Page(HTMLParser):
    """Parsed HTML: tags, texts, and the contents of scripts by id."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self.blocks, self._block = [], [], {}, None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._block = dict(attrs).get("id", "") if tag == "script" else None

    def handle_data(self, data):
        if self._block is None:
            self.texts.append(data)
        else:
            self.blocks[self._block] = self.blocks.get(self._block, "") + data

    def handle_endtag(self, tag):
        self._block = None


@pytest.fixture(scope="module")
def page(project_with_page):
    return Page((project_with_page / "results/report.html").read_text())


def test_page_contains_all_scored_and_trained_methods(page):
    data = json.loads(page.blocks["data-figures"])
    names = [method["name"] for method in data["methods"]]
    assert names == ["eyes", "d.second-observer", "classes", "good", "worse"]
    assert [entry["method"] for entry in data["learning"]] == [0, 2, 3, 4]
    assert data["learning"][0]["val_dice"] == [None, 0.6, 0.7]
    assert {entry["method"] for entry in data["curves"]} == {0, 1, 3, 4}
    assert {(entry["dataset"], entry["region"]) for entry in data["images"]} == {
        ("d", "fov"), ("s", "full"), ("t", "full")
    }  # fmt: skip
    assert {entry["method"] for entry in data["confusions"]} == {0, 1, 2, 3, 4}
    matrix = next(entry for entry in data["confusions"] if entry["method"] == 2)
    assert matrix["classes"] == ["background", *CLASSES]
    text = " ".join(page.texts)
    for part in ("Paired comparisons", "[0.801, 0.942]", "identity of the scores", "evaluate --experiment good"):
        assert part in text, part
    assert "95%" in text


def test_commands_on_the_page_are_accepted_by_the_parser(project):
    (project / "results/shards/t").mkdir(parents=True)
    (project / "results/shards/t/test-0.h5").touch()
    lines = [line for method in find_methods(*scored_and_configured(project)) for line in commands(method)]
    argument_lists = [shlex.split(line.removeprefix("python -m pipeline ")) for line in lines]
    assert {line[0] for line in argument_lists} == {
        "shard",
        "train",
        "baseline",
        "predict",
        "threshold",
        "render",
        "evaluate",
    }
    parser = argparse.ArgumentParser()
    group = parser.add_subparsers()
    for command in COMMANDS:
        command.add_to(group)
    for line in argument_lists:
        parser.parse_args(line)  # exits if an argument is unknown


def scored_and_configured(project):
    board = pd.read_csv(project / "results/leaderboard.csv", dtype=str, keep_default_na=False)
    return board, {name: run.dataset for name, run in load([project / "config.yaml"]).experiments.items()}


def test_numbers_on_the_page_equal_those_of_the_tables(page, project_with_page):
    data = json.loads(page.blocks["data-figures"])
    group = next(entry for entry in data["images"] if entry["dataset"] == "t")
    table = pd.read_csv(project_with_page / "results/metrics/good/per_image.csv", dtype={"id": str}).set_index("id")
    for index, name in enumerate(group["ids"]):
        row = table.loc[name]
        assert group["scores"]["3"]["f1"][index] == pytest.approx(row["f1"], abs=6e-5)
        assert group["share"][index] == pytest.approx((row["tp"] + row["fn"]) / row["pixels"], abs=6e-5)
    matrix = next(entry for entry in data["confusions"] if entry["method"] == 3)
    assert matrix["pixels"] == [[table["tn"].sum(), table["fp"].sum()], [table["fn"].sum(), table["tp"].sum()]]
    curve = next(entry for entry in data["curves"] if entry["method"] == 3 and entry["averaging"] == "micro")
    curve_table = pd.read_csv(project_with_page / "results/metrics/good/curve.csv")
    micro = curve_table[curve_table["averaging"] == "micro"]
    assert len(curve["recall"]) < 10  # there are only two levels: equal consecutive points are left out
    assert curve["recall"][curve["working_point"]] == pytest.approx(
        micro.loc[micro["level"] == 128, "recall"].item(), abs=6e-5
    )


def test_multiclass_scores_are_means_over_foreground_classes(page, project_with_page):
    data = json.loads(page.blocks["data-figures"])
    group = next(entry for entry in data["images"] if entry["dataset"] == "s")
    table = pd.read_csv(project_with_page / "results/metrics/classes/per_image.csv", dtype={"id": str})
    rows = table[(table["id"] == group["ids"][0]) & (table["class"] != "background")]
    assert group["scores"]["2"]["iou"][0] == pytest.approx(rows["iou"].mean(), abs=6e-5)


def test_hostile_names_are_escaped(page):
    text = " ".join(page.texts)
    assert HOSTILE in text
    assert REASON in text
    assert not any(tag == "img" and attributes.get("src", "").startswith("x") for tag, attributes in page.tags)
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert sum(tag == "script" for tag, _ in page.tags) == 4
    assert HOSTILE in json.loads(page.blocks["data-figures"])["images"][-1]["ids"]
    policy = next(attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-inline" not in policy.partition("style-src")[0]


def test_page_refers_to_no_external_resource(page, project_with_page):
    """Links lead to files in the folder of the report; nothing else refers to a file or a host."""
    for tag, attributes in page.tags:
        for name in ("src", "href", "srcset", "action", "data"):
            address = attributes.get(name)
            if address and not address.startswith(("data:", "#")):
                assert tag == "a", (tag, address)
                assert (project_with_page / "results" / address).exists(), address
    style = re.search(r"<style>(.*?)</style>", (project_with_page / "results/report.html").read_text(), re.DOTALL)[1]
    assert "url(" not in style
    assert "@import" not in style
    data = json.loads(page.blocks["data-figures"])
    assert (project_with_page / "results" / data["methods"][3]["panels"] / f"{HOSTILE}.png").exists()


def test_the_same_results_give_the_same_bytes(project):
    first = (project / "results/report.html").read_bytes()
    assert cli.main(["report"]) == 0
    assert (project / "results/report.html").read_bytes() == first
    (project / "results/benchmarks/evaluate/good.tsv").write_text("s\tmax_rss\n99\t-\n")
    assert cli.main(["report"]) == 0
    second = (project / "results/report.html").read_bytes()
    assert second != first
    sections = [re.sub(rb'<section id="runs".*?</section>', b"", text, flags=re.DOTALL) for text in (first, second)]
    assert sections[0] == sections[1]


def test_missing_results_are_left_out(project):
    for path in ("models", "benchmarks", "check", "predictions/worse", "comparisons.csv", "metrics/good/intervals.csv"):
        target = project / "results" / path
        shutil.rmtree(target) if target.is_dir() else target.unlink()
    assert cli.main(["report"]) == 0
    page = Page((project / "results/report.html").read_text())
    text = " ".join(page.texts)
    assert "Paired comparisons" not in text
    assert "python -m pipeline check --dataset d" in text
    assert json.loads(page.blocks["data-figures"])["learning"] == []


def test_all_damaged_files_are_reported_at_once(project, capsys):
    (project / "results/metrics/good/per_image.csv").write_text("id,split\n")
    (project / "results/metrics/worse/curve.csv").write_bytes(b"\xff\xfe\x00")
    (project / "results/models/eyes/provenance.json").write_text("{")
    page_before = (project / "results/report.html").read_bytes()
    assert cli.main(["report", "--leaderboard", "results/leaderboard.csv"]) == 1
    stderr = capsys.readouterr().err
    for name in ("metrics/good/per_image.csv", "metrics/worse/curve.csv", "models/eyes/provenance.json"):
        assert name in stderr
    assert "3 problems" in stderr
    assert (project / "results/report.html").read_bytes() == page_before
    (project / "results/models/eyes/provenance.json").unlink()
    assert cli.main(["report", "--intervals", "gone.csv"]) == 1
    assert "gone.csv" in capsys.readouterr().err
    assert cli.main(["report", "--comparisons", "away.csv"]) == 1
    assert "away.csv" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "table"),
    [
        ("--leaderboard", "leaderboard.csv"),
        ("--comparisons", "comparisons.csv"),
        ("--intervals", "metrics/good/intervals.csv"),
    ],
)
def test_named_tables_of_other_columns_or_cells_are_refused(project, capsys, option, table):
    text = (project / "results" / table).read_text()
    number = ",0[.](95)" if option == "--intervals" else ",0[.]([0-9]+)"
    for changed, found in (
        ('{"a": 1}', "experiment"),
        (re.sub(number, r",0;\1", text, count=1), "'0;"),
        (text + text, "in the column"),
    ):
        (project / "x.csv").write_text(changed)
        assert cli.main(["report", option, "x.csv"]) == 1
        stderr = capsys.readouterr().err
        assert "x.csv\n    found:" in stderr
        assert found in stderr or (option == "--comparisons" and "columns" in stderr)


@pytest.mark.parametrize("table", ["leaderboard.csv", "comparisons.csv", "metrics/good/intervals.csv"])
def test_edited_tables_are_rejected(project, capsys, table):
    path = project / "results" / table
    text = path.read_text()
    number = re.search(r"0\.\d+", text)[0]
    path.write_text(text.replace(number, "0.99", 1))
    page_before = (project / "results/report.html").read_bytes()
    assert cli.main(["report"]) == 1
    stderr = capsys.readouterr().err
    assert f"results/{table}\n    found:    edited after the pipeline wrote it" in stderr
    assert "1 problem" in stderr
    assert (project / "results/report.html").read_bytes() == page_before


def test_outdated_results_are_rejected_unless_named(project, capsys):
    config = project / "config.yaml"
    config.write_text(config.read_text().replace("threshold: 0.5", "threshold: 0.4"))
    assert cli.main(["report"]) == 1
    stderr = capsys.readouterr().err
    for name in ("leaderboard.csv", "comparisons.csv", "metrics/good/intervals.csv", "predictions/good/test/panel"):
        assert f"results/{name}\n    found:    a result of other settings, code, raw files or inputs" in stderr
    assert "metrics/classes" not in stderr
    assert cli.main(["report", "--leaderboard", "results/leaderboard.csv"]) == 0


def test_all_missing_and_damaged_images_are_reported_at_once(project, capsys):
    folder = project / "results/predictions/good/test/mask"
    names = sorted(path.name for path in folder.glob("tile*.png"))
    (folder / names[0]).unlink()
    (folder / names[1]).write_bytes(b"no image")
    assert cli.main(["report"]) == 1
    stderr = capsys.readouterr().err
    assert names[0] in stderr
    assert names[1] in stderr


def test_names_with_path_separators_are_rejected():
    table = pd.DataFrame({"experiment": ["../../etc"], "dataset": ["d"]})
    with pytest.raises(PredictionError, match="letters, digits"):
        find_methods(table, {})


# -- the leaderboard -------------------------------------------------------------------------------------------------


def board(*rows, images=None):
    shared = {"statistic": "run", "runs": "1", "dataset": "d", "origin": "raw files", "split": "test", "region": "fov",
              "class": "vessel", "averaging": "macro", "scale": "native", "empty_masks": "one", "images": "20",
              "suspicious": "", "f1": "0.8", "mae": "0.1", "oracle_f1": "0.9"}  # fmt: skip
    return build_board(pd.DataFrame([{**shared, **row} for row in rows]).astype(str), {}, images)


def best(built, name):
    index = [column.name for column in built.columns].index(name)
    return [row.record["experiment"] for row in built.rows if row.cells[index].best]


def test_best_score_depends_on_the_direction_of_the_metric():
    built = board({"experiment": "a", "f1": "0.7", "mae": "0.05"}, {"experiment": "b", "f1": "0.9", "mae": "0.2"})
    assert best(built, "f1") == ["b"]
    assert best(built, "mae") == ["a"]
    assert best(built, "oracle_f1") == []


@pytest.mark.parametrize(
    "conditions",
    [{"dataset": "t"}, {"split": "validation"}, {"region": "full"}, {"class": "salt"}, {"averaging": "micro"},
     {"empty_masks": "skip"}, {"images": "19"}, {"statistic": "mean"}, {"origin": "synthetic"}],
)  # fmt: skip
def test_rows_with_different_conditions_are_not_compared(conditions):
    built = board({"experiment": "a", "f1": "0.7"}, {"experiment": "b", "f1": "0.9", **conditions})
    assert best(built, "f1") == []


def test_networks_validated_on_different_folds_are_not_compared():
    f1 = {"a-fold0": "0.9", "a-fold1": "0.8", "b-fold0": "0.7", "b-fold1": "0.85"}
    images = {(name, "validation"): "21\n22" if "fold0" in name else "23\n24" for name in f1}
    rows = [{"experiment": name, "f1": score, "split": "validation"} for name, score in f1.items()]
    means = [{**row, "experiment": row["experiment"][0], "statistic": "mean", "images": ""} for row in rows[1:3]]
    assert best(board(*rows, *means, images=images), "f1") == ["a-fold0", "b-fold1"]


def test_baselines_and_suspicious_rows_are_never_best():
    built = board(
        {"experiment": "d.second-observer", "f1": "0.99"},
        {"experiment": "leaky", "f1": "0.98", "suspicious": "likely leak"},
        {"experiment": "a", "f1": "0.7"},
        {"experiment": "b", "f1": "0.6"},
        {"experiment": "a.ensemble", "f1": "0.71"},
    )
    assert best(built, "f1") == ["a.ensemble"]
    assert [row.kind for row in built.rows] == ["baseline", "run", "run", "run", "run"]


def test_equal_scores_are_both_best_and_missing_scores_are_not():
    built = board({"experiment": "a"}, {"experiment": "b"}, {"experiment": "c", "f1": ""})
    assert best(built, "f1") == ["a", "b"]


def test_standard_deviation_is_shown_in_the_row_of_the_mean():
    built = board(
        {"experiment": "s", "statistic": "mean", "runs": "3", "f1": "0.8123"},
        {"experiment": "s", "statistic": "std", "runs": "3", "f1": "0.0123"},
    )
    (row,) = built.rows
    cell = row.cells[[column.name for column in built.columns].index("f1")]
    assert (cell.text, cell.spread) == ("0.812", "± 0.012")


def test_rows_of_the_mean_over_classes_are_shown_by_default():
    built = board(
        {"experiment": "m", "class": "mean"}, {"experiment": "m", "class": "disc"}, {"experiment": "x", "dataset": "t"}
    )
    assert [row.overall for row in built.rows] == [True, False, True]


# -- cases, images, blocks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", range(30))
def test_cases_are_distinct_and_in_order(count):
    table = pd.DataFrame({"id": [f"{i:02d}" for i in range(count)], "share": 0.5, "f1": np.linspace(0, 1, count)})
    cases = choose_cases(table, "f1")
    ids = [case.id for case in cases]
    assert len(ids) == len(set(ids)) == (count if count < 3 else 3 * min(3, count // 3))
    assert [case.score for case in cases] == sorted((case.score for case in cases), reverse=True)
    if count:
        assert (cases[0].kind, cases[0].id) == ("best", f"{count - 1:02d}")
    if count > 1:
        assert (cases[-1].kind, cases[-1].id) == ("worst", "00")


def test_unscored_images_are_no_cases_and_ties_sort_by_name():
    table = pd.DataFrame({"id": ["b", "a", "c"], "share": 0.5, "f1": [0.5, 0.5, np.nan]})
    assert [(case.kind, case.id) for case in choose_cases(table, "f1")] == [("best", "a"), ("worst", "b")]


def test_best_cases_have_foreground():
    table = pd.DataFrame({"id": list("abcdef"), "share": [0, 0, 0.1, 0.2, 0.3, 0], "f1": [1, 1, 0.9, 0.8, 0.1, 0]})
    assert [case.id for case in choose_cases(table, "f1") if case.kind == "best"] == ["a", "b"]  # one above the median
    table["share"] = [0, 0.1, 0.2, 0.2, 0.3, 0]
    assert [case.id for case in choose_cases(table, "f1")] == ["b", "a", "c", "d", "e", "f"]


def test_error_kinds_of_pixels():
    truth = np.array([[0, 1, 1, 0, 2, 255]], np.uint8)
    predicted = np.array([[0, 1, 0, 1, 1, 1]], np.uint8)
    assert error_kinds(truth, predicted).tolist() == [[0, 1, 2, 3, 4, 0]]


def test_downscaled_class_indices_have_no_new_values():
    classes = np.zeros((300, 100), np.uint8)
    classes[::2] = 200
    small = downscale(classes, 100, classes=True)
    assert small.shape == (100, 33)
    assert set(np.unique(small)) <= {0, 200}
    assert downscale(classes, 300).shape == (300, 100)


def budgeted(project, monkeypatch, **values):
    from pipeline.report import gallery

    for name, value in values.items():
        monkeypatch.setattr(gallery, name, value)
    assert cli.main(["report"]) == 0
    page = Page((project / "results/report.html").read_text())
    images = json.loads(page.blocks["data-images"])
    return json.loads(page.blocks["data-figures"]), sum(len(image) for image in images)


def test_images_stay_within_the_budget(project, monkeypatch):
    data, full_size = budgeted(project, monkeypatch)
    assert [len(ids) for ids in data["album_ids"]] == [3, 0, 2, 6, 6]
    budget = 3 * full_size // 8  # half of all images, as bytes without base64
    data, half_size = budgeted(project, monkeypatch, BUDGET=budget)
    assert half_size < full_size
    assert half_size <= budget * 4 / 3 + 100 * 30  # in base64, each with the prefix of a data URI
    data, small_size = budgeted(project, monkeypatch, BUDGET=3000)
    assert small_size <= 3000 * 4 / 3 + 100 * 30
    assert sum(len(ids) for ids in data["album_ids"]) < 8


def test_room_that_is_left_goes_to_the_worst_images(project, monkeypatch):
    monkeypatch.setattr("pipeline.report.gallery._CASES_PER_KIND", 1)
    data, full_size = budgeted(project, monkeypatch)
    data, _ = budgeted(project, monkeypatch, BUDGET=full_size * 5 // 8)
    index = [method["name"] for method in data["methods"]].index("good")
    table = pd.read_csv("results/metrics/good/per_image.csv", dtype={"id": str})
    ranked = table[table["split"] == "test"].sort_values(["f1", "id"])["id"].tolist()
    embedded = data["album_ids"][index]
    assert 3 < len(embedded) < 6
    assert {ranked[0], ranked[1]} <= {*embedded}


def test_json_blocks_contain_no_markup():
    for text in ("</script>", "<!--", "<script", "&amp;", "\u2028", "]]>", "\\", '"', "ü", "\ud800"):
        block = str(json_block([text]))
        assert not set("<>&\u2028") & set(block)
        assert json.loads(block) == [text]


def test_equal_consecutive_curve_points_are_left_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths.metrics("a").mkdir(parents=True)
    levels = np.arange(257)
    table = {
        "split": "test",
        "region": "full",
        "averaging": "micro",
        "level": levels,
        "threshold": (levels - 0.5) / 255,
    }
    steps = (levels < 100).astype(float)
    pd.DataFrame({**table, "precision": 0.5, "recall": steps, "f1": steps, "fpr": np.nan}).to_csv(
        paths.metrics("a") / "curve.csv", index=False
    )
    (curve,) = curves(Reader(), [Method("a", "d", "experiment")], {"a": 0.5})
    assert curve["recall"] == [1, 1, 0, 0, 0]  # both ends of each step, and the point at the threshold
    assert curve["fpr"] == [None] * 5
    assert curve["threshold"][curve["working_point"]] == pytest.approx(127.5 / 255)


def test_times_of_configured_jobs_are_summed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in {
        "shard/d/test-0": "s\tmax_rss\n0.5\t80\n",
        "shard/d/train-0": "s\tmax_rss\n1.5\t90\n",
        "evaluate/d.second-observer": "s\th:m:s\tmax_rss\n2\t0:00:02\t-\n",
        "leaderboard": "s\tmax_rss\n3\tNA\n",
        "report": "s\tmax_rss\n9\t9\n",
        "evaluate/gone": "s\tmax_rss\n7\t7\n",
        "unknown/d": "s\tmax_rss\n7\t7\n",
        "threshold/d": "",
    }.items():
        path = tmp_path / f"results/benchmarks/{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    rows = stage_times(Reader(), {"d", "d.second-observer"})
    assert [tuple(row.values()) for row in rows] == [
        ("shard", "d", 2, 2.0, 90.0),
        ("evaluate", "d.second-observer", 1, 2.0, None),
        ("leaderboard", "all", 1, 3.0, None),
    ]


def test_page_shows_an_ensemble_scored_on_other_images(project):
    """An ensemble has no model, and its test images may differ from those of the data set."""
    table = pd.read_csv(project / "results/metrics/good/per_image.csv", dtype=str, keep_default_na=False)
    table = table[table["id"].isin(["tile002", "tile003"])].replace("tile003", "tile004")
    folder = project / "results/metrics/good.ensemble"
    folder.mkdir()
    table.assign(experiment="good.ensemble").to_csv(folder / "per_image.csv", index=False)
    masks = project / "results/predictions/good.ensemble/test/mask"
    masks.mkdir(parents=True)
    for name in ("tile002", "tile004"):
        shutil.copy(project / "results/predictions/good/test/mask/tile002.png", masks / f"{name}.png")
    board = pd.read_csv(project / "results/leaderboard.csv", dtype=str, keep_default_na=False)
    row = board[(board["experiment"] == "good") & (board["averaging"] == "macro")].assign(experiment="good.ensemble")
    pd.concat([board, row]).to_csv(project / "results/leaderboard.csv", index=False)
    sign_all()
    assert cli.main(["report"]) == 0
    page = Page((project / "results/report.html").read_text())
    data = json.loads(page.blocks["data-figures"])
    index = [method["name"] for method in data["methods"]].index("good.ensemble")
    assert data["methods"][index]["kind"] == "derived"
    assert sorted(data["album_ids"][index]) == ["tile002", "tile004"]
    assert "snakemake --cores all results/metrics/good.ensemble/summary.csv" in " ".join(page.texts)


def test_leftovers_of_a_single_run_are_not_shown_for_its_mean(project):
    """An experiment first trained once, then with `seeds`: the mean takes its name and has only a summary."""
    config = project / "config.yaml"
    config.write_text(config.read_text().replace("worse: *two", "worse: {<<: *two, seeds: [1, 2]}"))
    board = pd.read_csv(project / "results/leaderboard.csv", dtype=str, keep_default_na=False)
    others, rows = board[board["experiment"] != "worse"], board[board["experiment"] == "worse"]
    means = [rows.assign(statistic=kind, runs="2") for kind in ("mean", "std")]
    pd.concat([others, *means]).to_csv(project / "results/leaderboard.csv", index=False)
    table = (project / "results/metrics/good/intervals.csv").read_text()
    (project / "results/metrics/worse/intervals.csv").write_text(
        table.replace("good,", "worse,").replace("0.801", "0.6")
    )
    sign_all()
    assert cli.main(["report"]) == 0
    page = Page((project / "results/report.html").read_text())
    data = json.loads(page.blocks["data-figures"])
    names = [method["name"] for method in data["methods"]]
    index = names.index("worse")
    for part in ("learning", "curves", "confusions"):
        assert index not in {entry["method"] for entry in data[part]}, part
    assert not [group for group in data["images"] if str(index) in group["scores"]]
    assert data["album_ids"][index] == []
    texts = " ".join(page.texts)
    assert "[0.801, 0.942]" in texts
    assert "[0.600, 0.942]" not in texts
    assert [text for text in page.texts if text.strip() == "worse"]


def test_leftovers_of_another_class_count_are_not_shown(project):
    for name, source, file in (("classes", "good", "curve.csv"), ("good", "classes", "confusion.csv")):
        shutil.copy(project / f"results/metrics/{source}/{file}", project / f"results/metrics/{name}/{file}")
    page_before = Page((project / "results/report.html").read_text()).blocks["data-figures"]
    assert cli.main(["report"]) == 0
    assert Page((project / "results/report.html").read_text()).blocks["data-figures"] == page_before


def test_a_difference_on_one_image_has_no_interval(project):
    path = project / "results/comparisons.csv"
    path.write_text(path.read_text().replace("worse,6,0.2,0.1,0.3", "worse,1,0.2,,"))
    sign_all()
    assert cli.main(["report"]) == 0
    page = Page((project / "results/report.html").read_text())
    families = json.loads(page.blocks["data-figures"])["comparisons"]
    good, worse = 3, 4
    assert [family["metric"] for family in families] == ["f1", "iou"]
    assert families[0]["pairs"] == [[good, worse, 0.2, None, None, 0.01, 0.02, 1]]
    assert families[1]["pairs"] == [[good, worse, 0.2, -0.1, 0.3, 0.2, 0.2, 6]]
    assert "closest: worse (+0.200, corrected p = 0.020)" in " ".join(page.texts)
