"""The page: what it collects, what it marks, what it lets in, and how large it gets."""

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
from pipeline.report.board import build_board
from pipeline.report.gallery import choose_cases
from pipeline.report.page import as_block
from pipeline.report.runs import commands, stage_times
from pipeline.report.series import curves
from pipeline.report.sources import Method, Reader, find_methods
from pipeline.report.thumbnails import errors_of, reduced


@pytest.fixture
def project(project_with_page, tmp_path, monkeypatch):
    """A copy to change."""
    folder = shutil.copytree(project_with_page, tmp_path / "project")
    monkeypatch.chdir(folder)
    return folder


class Page(HTMLParser):
    """What a browser would make of it: tags, texts, and the contents of scripts."""

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


def test_everything_that_is_scored_or_trained_is_on_the_page(page):
    data = json.loads(page.blocks["data-figures"])
    names = [method["name"] for method in data["methods"]]
    assert names == ["eyes", "d.second-observer", "classes", "good", "worse"]
    assert [one["method"] for one in data["learning"]] == [0, 2, 3, 4]
    assert data["learning"][0]["val_dice"] == [None, 0.6, 0.7]
    assert {one["method"] for one in data["curves"]} == {0, 1, 3, 4}
    assert {(one["dataset"], one["region"]) for one in data["images"]} == {
        ("d", "fov"), ("d", "full"), ("s", "full"), ("t", "full")
    }  # fmt: skip
    assert {one["method"] for one in data["confusions"]} == {0, 1, 2, 3, 4}
    matrix = next(one for one in data["confusions"] if one["method"] == 2)
    assert matrix["classes"] == ["background", *CLASSES]
    text = " ".join(page.texts)
    for words in ("Paired comparisons", "[0.801, 0.942]", "fingerprint of the scores", "evaluate --experiment good"):
        assert words in text, words
    assert "95%" in text


def test_commands_on_the_page_are_those_of_the_command_line(project):
    (project / "results/shards/t").mkdir(parents=True)
    (project / "results/shards/t/test-0.h5").touch()
    found = [line for method in find_methods(*scored_and_configured(project)) for line in commands(method)]
    words = [shlex.split(line.removeprefix("python -m pipeline ")) for line in found]
    assert {line[0] for line in words} == {"shard", "train", "baseline", "predict", "threshold", "render", "evaluate"}
    parser = argparse.ArgumentParser()
    group = parser.add_subparsers()
    for command in COMMANDS:
        command.add_to(group)
    for line in words:
        parser.parse_args(line)  # ends the process where it does not understand


def scored_and_configured(project):
    board = pd.read_csv(project / "results/leaderboard.csv", dtype=str, keep_default_na=False)
    return board, {name: run.dataset for name, run in load([project / "config.yaml"]).experiments.items()}


def test_numbers_are_those_of_the_tables(page, project_with_page):
    data = json.loads(page.blocks["data-figures"])
    group = next(one for one in data["images"] if one["dataset"] == "t")
    table = pd.read_csv(project_with_page / "results/metrics/good/per_image.csv", dtype={"id": str}).set_index("id")
    for place, name in enumerate(group["ids"]):
        row = table.loc[name]
        assert group["scores"]["3"]["f1"][place] == pytest.approx(row["f1"], abs=6e-5)
        assert group["share"][place] == pytest.approx((row["tp"] + row["fn"]) / row["pixels"], abs=6e-5)
    matrix = next(one for one in data["confusions"] if one["method"] == 3)
    assert matrix["pixels"] == [[table["tn"].sum(), table["fp"].sum()], [table["fn"].sum(), table["tp"].sum()]]
    curve = next(one for one in data["curves"] if one["method"] == 3 and one["averaging"] == "micro")
    whole = pd.read_csv(project_with_page / "results/metrics/good/curve.csv")
    micro = whole[whole["averaging"] == "micro"]
    assert len(curve["recall"]) < 10  # two levels only: points that do not move are left out
    assert curve["recall"][curve["at"]] == pytest.approx(micro.loc[micro["level"] == 128, "recall"].item(), abs=6e-5)


def test_several_classes_are_means_over_the_foreground_classes(page, project_with_page):
    data = json.loads(page.blocks["data-figures"])
    group = next(one for one in data["images"] if one["dataset"] == "s")
    table = pd.read_csv(project_with_page / "results/metrics/classes/per_image.csv", dtype={"id": str})
    rows = table[(table["id"] == group["ids"][0]) & (table["class"] != "background")]
    assert group["scores"]["2"]["iou"][0] == pytest.approx(rows["iou"].mean(), abs=6e-5)


def test_hostile_names_are_text_and_nothing_else(page):
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


def test_nothing_is_asked_of_anywhere(page, project_with_page):
    """Links lead to files beside the page; nothing else leads anywhere."""
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
    other = (project / "results/report.html").read_bytes()
    assert other != first
    sections = [re.sub(rb'<section id="runs".*?</section>', b"", text, flags=re.DOTALL) for text in (first, other)]
    assert sections[0] == sections[1]


def test_what_is_not_there_is_left_out(project):
    for path in ("models", "benchmarks", "check", "predictions/worse", "comparisons.csv", "metrics/good/intervals.csv"):
        found = project / "results" / path
        shutil.rmtree(found) if found.is_dir() else found.unlink()
    assert cli.main(["report"]) == 0
    page = Page((project / "results/report.html").read_text())
    text = " ".join(page.texts)
    assert "Paired comparisons" not in text
    assert "python -m pipeline check --dataset d" in text
    assert json.loads(page.blocks["data-figures"])["learning"] == []


def test_all_that_is_damaged_is_said_at_once(project, capsys):
    (project / "results/metrics/good/per_image.csv").write_text("id,split\n")
    (project / "results/metrics/worse/curve.csv").write_bytes(b"\xff\xfe\x00")
    (project / "results/models/eyes/provenance.json").write_text("{")
    before = (project / "results/report.html").read_bytes()
    assert cli.main(["report", "--leaderboard", "results/leaderboard.csv"]) == 1
    said = capsys.readouterr().err
    for name in ("metrics/good/per_image.csv", "metrics/worse/curve.csv", "models/eyes/provenance.json"):
        assert name in said
    assert "3 problems" in said
    assert (project / "results/report.html").read_bytes() == before
    (project / "results/models/eyes/provenance.json").unlink()
    assert cli.main(["report", "--intervals", "gone.csv"]) == 1
    assert "gone.csv" in capsys.readouterr().err
    assert cli.main(["report", "--comparisons", "away.csv"]) == 1
    assert "away.csv" in capsys.readouterr().err


@pytest.mark.parametrize("table", ["leaderboard.csv", "comparisons.csv", "metrics/good/intervals.csv"])
def test_a_number_that_was_typed_in_does_not_reach_the_page(project, capsys, table):
    path = project / "results" / table
    text = path.read_text()
    number = re.search(r"0\.\d+", text)[0]
    path.write_text(text.replace(number, "0.99", 1))
    before = (project / "results/report.html").read_bytes()
    assert cli.main(["report"]) == 1
    said = capsys.readouterr().err
    assert f"results/{table}\n    found:    changed since it was made" in said
    assert "1 problem" in said
    assert (project / "results/report.html").read_bytes() == before


def test_results_of_other_settings_are_refused_unless_they_are_named(project, capsys):
    config = project / "config.yaml"
    config.write_text(config.read_text().replace("threshold: 0.5", "threshold: 0.4"))
    assert cli.main(["report"]) == 1
    said = capsys.readouterr().err
    for name in ("leaderboard.csv", "comparisons.csv", "metrics/good/intervals.csv", "predictions/good/test/panel"):
        assert f"results/{name}\n    found:    a result of other settings, code, raw files or inputs" in said
    assert "metrics/classes" not in said
    assert cli.main(["report", "--leaderboard", "results/leaderboard.csv"]) == 0


def test_missing_and_damaged_images_are_said_at_once(project, capsys):
    folder = project / "results/predictions/good/test/mask"
    names = sorted(path.name for path in folder.glob("tile*.png"))
    (folder / names[0]).unlink()
    (folder / names[1]).write_bytes(b"no image")
    assert cli.main(["report"]) == 1
    said = capsys.readouterr().err
    assert names[0] in said
    assert names[1] in said


def test_names_that_are_no_names_lead_nowhere():
    table = pd.DataFrame({"experiment": ["../../etc"], "dataset": ["d"]})
    with pytest.raises(PredictionError, match="letters, digits"):
        find_methods(table, {})


# -- the leaderboard -------------------------------------------------------------------------------------------------


def board(*rows, images=None):
    shared = {"statistic": "run", "runs": "1", "dataset": "d", "origin": "raw files", "split": "test", "region": "fov",
              "class": "vessel", "averaging": "macro", "scale": "native", "empty_masks": "one", "images": "20",
              "suspicious": "", "f1": "0.8", "mae": "0.1", "oracle_f1": "0.9"}  # fmt: skip
    return build_board(pd.DataFrame([{**shared, **row} for row in rows]).astype(str), {}, images)


def best(made, column):
    place = [one.name for one in made.columns].index(column)
    return [row.said["experiment"] for row in made.rows if row.cells[place].best]


def test_best_is_the_highest_or_the_lowest_of_rows_that_can_be_compared():
    made = board({"experiment": "a", "f1": "0.7", "mae": "0.05"}, {"experiment": "b", "f1": "0.9", "mae": "0.2"})
    assert best(made, "f1") == ["b"]
    assert best(made, "mae") == ["a"]
    assert best(made, "oracle_f1") == []


@pytest.mark.parametrize(
    "other",
    [{"dataset": "t"}, {"split": "validation"}, {"region": "full"}, {"class": "salt"}, {"averaging": "micro"},
     {"empty_masks": "skip"}, {"images": "19"}, {"statistic": "mean"}, {"origin": "synthetic"}],
)  # fmt: skip
def test_rows_of_other_conditions_are_not_compared(other):
    made = board({"experiment": "a", "f1": "0.7"}, {"experiment": "b", "f1": "0.9", **other})
    assert best(made, "f1") == []


def test_networks_validated_on_different_folds_are_not_compared():
    f1 = {"a-fold0": "0.9", "a-fold1": "0.8", "b-fold0": "0.7", "b-fold1": "0.85"}
    images = {(name, "validation"): "21\n22" if "fold0" in name else "23\n24" for name in f1}
    rows = [{"experiment": name, "f1": score, "split": "validation"} for name, score in f1.items()]
    means = [{**row, "experiment": row["experiment"][0], "statistic": "mean", "images": ""} for row in rows[1:3]]
    assert best(board(*rows, *means, images=images), "f1") == ["a-fold0", "b-fold1"]


def test_baselines_and_rows_in_doubt_are_never_best():
    made = board(
        {"experiment": "d.second-observer", "f1": "0.99"},
        {"experiment": "leaky", "f1": "0.98", "suspicious": "likely leak"},
        {"experiment": "a", "f1": "0.7"},
        {"experiment": "b", "f1": "0.6"},
        {"experiment": "a.ensemble", "f1": "0.71"},
    )
    assert best(made, "f1") == ["a.ensemble"]
    assert [row.kind for row in made.rows] == ["baseline", "run", "run", "run", "run"]


def test_equal_scores_are_both_best_and_missing_ones_never():
    made = board({"experiment": "a"}, {"experiment": "b"}, {"experiment": "c", "f1": ""})
    assert best(made, "f1") == ["a", "b"]


def test_the_spread_over_seeds_stands_with_the_mean():
    made = board(
        {"experiment": "s", "statistic": "mean", "runs": "3", "f1": "0.8123"},
        {"experiment": "s", "statistic": "std", "runs": "3", "f1": "0.0123"},
    )
    (row,) = made.rows
    cell = row.cells[[one.name for one in made.columns].index("f1")]
    assert (cell.text, cell.spread) == ("0.812", "± 0.012")


def test_of_several_classes_the_mean_is_what_is_shown_first():
    made = board(
        {"experiment": "m", "class": "mean"}, {"experiment": "m", "class": "disc"}, {"experiment": "x", "dataset": "t"}
    )
    assert [row.overall for row in made.rows] == [True, False, True]


# -- cases, images, blocks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", range(30))
def test_cases_are_distinct_and_in_order(count):
    table = pd.DataFrame({"id": [f"{i:02d}" for i in range(count)], "f1": np.linspace(0, 1, count)})
    cases = choose_cases(table, "f1")
    ids = [case.id for case in cases]
    assert len(ids) == len(set(ids)) == (count if count < 3 else 3 * min(3, count // 3))
    assert [case.score for case in cases] == sorted((case.score for case in cases), reverse=True)
    if count:
        assert (cases[0].kind, cases[0].id) == ("best", f"{count - 1:02d}")
    if count > 1:
        assert (cases[-1].kind, cases[-1].id) == ("worst", "00")


def test_images_without_a_score_are_no_cases_and_ties_go_by_name():
    table = pd.DataFrame({"id": ["b", "a", "c"], "f1": [0.5, 0.5, np.nan]})
    assert [(case.kind, case.id) for case in choose_cases(table, "f1")] == [("best", "a"), ("worst", "b")]


def test_errors_tell_hits_misses_false_alarms_and_other_classes():
    truth = np.array([[0, 1, 1, 0, 2, 255]], np.uint8)
    predicted = np.array([[0, 1, 0, 1, 1, 1]], np.uint8)
    assert errors_of(truth, predicted).tolist() == [[0, 1, 2, 3, 4, 0]]


def test_classes_are_reduced_without_new_values():
    classes = np.zeros((300, 100), np.uint8)
    classes[::2] = 200
    small = reduced(classes, 100, classes=True)
    assert small.shape == (100, 33)
    assert set(np.unique(small)) <= {0, 200}
    assert reduced(classes, 300).shape == (300, 100)


def budgeted(project, monkeypatch, **values):
    from pipeline.report import gallery

    for name, value in values.items():
        monkeypatch.setattr(gallery, name, value)
    assert cli.main(["report"]) == 0
    page = Page((project / "results/report.html").read_text())
    images = json.loads(page.blocks["data-images"])
    return json.loads(page.blocks["data-figures"]), sum(len(one) for one in images), " ".join(page.texts)


def test_images_stay_within_their_budget(project, monkeypatch):
    data, whole, text = budgeted(project, monkeypatch)
    assert [len(ids) for ids in data["shown"]] == [3, 0, 2, 6, 6]
    assert "All test images of d, s, t are in this file." in " ".join(text.split())
    data, _, text = budgeted(project, monkeypatch, FEW=2)
    assert [len(ids) for ids in data["shown"]] == [3, 0, 2, 6, 6]  # as many as are cases of one method or another
    assert "Of d, t only these are" in " ".join(text.split())
    budget = 3 * whole // 8  # half of it, encoded
    data, less, _ = budgeted(project, monkeypatch, BUDGET=budget)
    assert less < whole
    assert less <= budget * 4 / 3 + 100 * 30  # as text, each with its type before it
    data, least, text = budgeted(project, monkeypatch, BUDGET=3000)
    assert least <= 3000 * 4 / 3 + 100 * 30
    assert sum(len(ids) for ids in data["shown"]) < 8


def test_blocks_of_data_cannot_be_left():
    for text in ("</script>", "<!--", "<script", "&amp;", "\u2028", "]]>", "\\", '"', "ü", "\ud800"):
        block = str(as_block([text]))
        assert not set("<>&\u2028") & set(block)
        assert json.loads(block) == [text]


def test_points_that_do_not_move_are_left_out(tmp_path, monkeypatch):
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
    assert curve["recall"] == [1, 1, 0, 0, 0]  # both ends of each step, and the place it works at
    assert curve["fpr"] == [None] * 5
    assert curve["threshold"][curve["at"]] == pytest.approx(127.5 / 255)


def test_times_of_what_is_configured_are_added_up(tmp_path, monkeypatch):
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


def test_an_method_without_model_and_tested_on_other_images_is_shown(project):
    """Such as an ensemble, or a fold: its test images need not be those of the data set."""
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
    assert sorted(data["shown"][index]) == ["tile002", "tile004"]
    assert "snakemake --cores all results/metrics/good.ensemble/summary.csv" in " ".join(page.texts)


def test_what_one_network_left_is_not_shown_as_that_of_several(project):
    """An experiment that was trained once, and then got `seeds`: the mean has its name, and nothing but a summary."""
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
        assert index not in {one["method"] for one in data[part]}, part
    assert not [group for group in data["images"] if str(index) in group["scores"]]
    assert data["shown"][index] == []
    texts = " ".join(page.texts)
    assert "[0.801, 0.942]" in texts
    assert "[0.600, 0.942]" not in texts
    assert [text for text in page.texts if text.strip() == "worse"]


def test_what_another_number_of_classes_left_is_not_shown(project):
    for name, of, file in (("classes", "good", "curve.csv"), ("good", "classes", "confusion.csv")):
        shutil.copy(project / f"results/metrics/{of}/{file}", project / f"results/metrics/{name}/{file}")
    before = Page((project / "results/report.html").read_text()).blocks["data-figures"]
    assert cli.main(["report"]) == 0
    assert Page((project / "results/report.html").read_text()).blocks["data-figures"] == before


def test_a_difference_on_one_image_has_no_interval(project):
    path = project / "results/comparisons.csv"
    path.write_text(path.read_text().replace("worse,6,0.2,0.1,0.3", "worse,1,0.2,,"))
    sign_all()
    assert cli.main(["report"]) == 0
    texts = " ".join(Page((project / "results/report.html").read_text()).texts)
    assert "[-0.100, 0.300]" in texts
    assert "[, ]" not in texts
