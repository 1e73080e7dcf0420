"""The command `results`: rows of a run, and the page that is made from them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from untrained import checkpoint

from pipeline.cli import main as cli
from pipeline.core.fingerprint import Fingerprint
from pipeline.core.manifest import Manifest
from pipeline.evaluation.paired import exact_p, holm
from pipeline.report.average import average_runs
from pipeline.report.recipes import AverageRecipe
from pipeline.report.result_rows import COLUMNS

ROOT = Path(__file__).parents[2]
IMAGES = 6
CONFIG = """
datasets: {d: {layout: drive, root: raw, size: [64, 64]}}
experiments:
  a: &a {dataset: d, model: unet, loss: bce, optimizer: {name: sgd, lr: 0.1}, batch_size: 1, epochs: 1, seeds: [0, 1]}
  b: {<<: *a, seeds: null}
"""
F1 = {
    name: np.round(np.random.default_rng(number).uniform(0.5, 0.9, IMAGES), 6)
    for number, name in enumerate(("a-seed0", "a-seed1", "a.ensemble", "b"))
}


def write_scores(name, f1):
    """Write scores of full images and, with the given values, of the field of view, as `evaluate` does."""
    folder = Path("results/metrics") / name
    folder.mkdir(parents=True)
    conditions = {
        "experiment": name, "dataset": "d", "layout": "drive", "class": "vessel", "scale": "native",
        "mask_binarization": "", "empty_masks": "one", "background": "background",
    }  # fmt: skip
    images, summary, intervals = [], [], []
    for split, region, values in (("test", "fov", f1), ("test", "full", f1 - 0.1), ("validation", "fov", f1 + 0.1)):
        where = {**conditions, "split": split, "region": region}
        for number, value in enumerate(values):
            counts = {"id": f"{number:02d}", "pixels": 100, "tp": number, "fn": 9}
            images.append({**where, **counts, "f1": value, "iou": value / (2 - value)})
        for averaging in ("macro", "micro"):
            row = {**where, "averaging": averaging}
            scored = {"threshold": 0.4, "threshold_source": "validation", "threshold_metric": "micro f1"}
            mean = values.mean() + 0.05 * (averaging == "micro")
            summary.append({**row, **scored, "images": IMAGES, "f1": mean, "tgs_score": 0.1, "roc_auc": 0.9})
            intervals.append({**row, "metric": "f1", "low": mean - 0.1, "high": mean + 0.1, "level": 0.95})
    for file, rows in (("per_image", images), ("summary", summary), ("intervals", intervals)):
        pd.DataFrame(rows).to_csv(folder / f"{file}.csv", index=False, float_format="%.6f")
    sign(folder / "summary.csv", [folder / "summary.csv", folder / "intervals.csv", folder / "per_image.csv"])


def sign(path, files, **settings):
    Manifest.describe(Fingerprint(stage="x", settings=settings, code={}, libraries={}), files).write(path)


def write_network(name, seconds, commit="0123456789abcdef", changed=(), gpus=()):
    folder = Path("results/models") / name
    folder.mkdir(parents=True)
    checkpoint(folder / "best.pt", width=4, depth=2)
    pd.DataFrame({"epoch": [1, 2], "seconds": seconds / 2, "max_rss": [500.0, 700.0]}).to_csv(folder / "timing.csv")
    state = {"commit": commit, "changed": list(changed), "dirty": bool(changed)}
    hardware = {"threads": 2, "precision": "fp32", "gpus": [{"name": gpu, "memory_bytes": 1} for gpu in gpus]}
    text = {"format": 2, "code": {"pipeline": state if commit else None}, "hardware": hardware, "seeds": {"seed": 5}}
    (folder / "provenance.json").write_text(json.dumps({**text, "seeds": {"seed": int(name[-1] == "1")}}))
    write_benchmark("predict", name, seconds / 10)


def write_benchmark(kind, name, seconds, split="test"):
    path = Path("results/benchmarks") / kind / name / f"{split}.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"s\th:m:s\tmax_rss\n{seconds}\t0\t800\n")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run with an experiment of two seeds, its ensemble, and a single network, in the working folder."""
    monkeypatch.chdir(tmp_path)
    for name, f1 in F1.items():
        write_scores(name, f1)
    runs, summary = ("a-seed0", "a-seed1"), Path("results/metrics/a/summary.csv")
    files = [Path(f"results/metrics/{name}/summary.csv") for name in runs]
    average_runs(AverageRecipe(runs=runs, folds=False), experiment="a", summaries=files, output=summary)
    sign(summary, [summary], runs=list(runs))
    for name, seconds in (("a-seed0", 100), ("a-seed1", 300), ("b", 40)):
        write_network(name, seconds)
    write_benchmark("ensemble", "a.ensemble", 5)
    Path("config").mkdir()
    Path("config/c.yaml").write_text(CONFIG)
    Path("docs/results").mkdir(parents=True)
    Path("docs/results/head.md").write_text("# Results\n")
    return tmp_path


def results(*words):
    return cli.main(["results", *words])


def rows():
    return pd.read_csv("docs/results/c.csv", keep_default_na=False, dtype=str).set_index("method")


def test_rows_have_scores_costs_and_commands_of_methods(run):
    assert results("--config", "config/c.yaml") == 0
    table = rows()
    assert (tuple(table.reset_index()), len({*COLUMNS})) == (COLUMNS, len(COLUMNS))
    assert list(table.index) == ["a", "b", "a.ensemble"]
    assert {*table["region"]} == {"fov"}
    assert {*table["averaging"]} == {"macro"}
    means = [F1["a-seed0"].mean().round(6), F1["a-seed1"].mean().round(6)]
    mean, single, ensemble = (table.loc[name] for name in ("a", "b", "a.ensemble"))
    assert float(mean["f1"]) == pytest.approx(np.mean(means), abs=1e-6)
    assert float(mean["f1_sd"]) == pytest.approx(np.std(means, ddof=1), abs=1e-6)
    assert (mean["f1_low"], single["f1_sd"], mean["tgs_score"]) == ("", "", "")
    assert float(ensemble["f1_low"]) == pytest.approx(F1["a.ensemble"].mean() - 0.1, abs=1e-6)
    costs = ["networks", "seeds", "training_seconds", "prediction_seconds", "peak_memory_mb", "hardware"]
    assert list(mean[costs]) == ["2", "0 1", "200.0", "20.0", "800", "2 CPU cores"]
    assert list(ensemble[costs]) == ["2", "0 1", "400.0", "45.0", "800", "2 CPU cores"]
    assert list(single[costs]) == ["1", "0", "40.0", "4.0", "800", "2 CPU cores"]
    assert mean["parameters"] == single["parameters"]
    assert ensemble["command"].endswith("--configfile config/c.yaml --replace-workflow-config metrics_a")
    assert single["commit"] == "0123456789ab"


def test_experiment_of_one_seed_has_the_interval_of_its_network(run):
    summary = Path("results/metrics/a/summary.csv")
    average_runs(
        AverageRecipe(runs=("a-seed0",), folds=False),
        experiment="a",
        summaries=[summary.parent.with_name("a-seed0") / "summary.csv"],
        output=summary,
    )
    sign(summary, [summary], runs=["a-seed0"])
    assert results("--config", "config/c.yaml", "--methods", "a") == 0
    row = rows().loc["a"]
    assert list(row[["statistic", "networks", "f1_sd"]]) == ["run", "1", ""]
    assert float(row["f1_low"]) == pytest.approx(F1["a-seed0"].mean() - 0.1, abs=1e-6)


def test_methods_are_compared_with_the_reference_on_each_image(run):
    results("--config", "config/c.yaml", "--reference", "results/metrics/b")
    table = rows()
    differences = (F1["a-seed0"] + F1["a-seed1"]) / 2 - F1["b"]
    assert float(table.loc["a", "difference"]) == pytest.approx(differences.mean(), abs=2e-6)
    p = exact_p(np.rint(differences * 1e6))
    assert float(table.loc["a", "p"]) == pytest.approx(p, abs=1e-6)
    assert table.loc["a", "difference_low"] < table.loc["a", "difference_high"]
    assert table.loc["b", "reference"] == ""
    corrected = holm(table.loc[["a", "a.ensemble"], "p"].astype(float).to_numpy())[0]
    assert f"`b`, F1: {differences.mean():+.3f}" in Path("docs/results.md").read_text()
    assert f"p = {corrected:.3f}" in Path("docs/results.md").read_text()


def test_rows_are_replaced_and_others_stay_as_they_are(run):
    results("--config", "config/c.yaml")
    before = rows()
    results("--config", "config/c.yaml", "--methods", "b", "--commit", "feed")
    after = rows()
    assert after.loc["b", "commit"] == "feed"
    assert (after.drop(index="b") == before.drop(index="b")).all(axis=None)
    assert Path("docs/results.md").read_text().count("| `b` |") == 2  # scores, and costs


def test_page_that_differs_from_its_tables_fails_the_check(run, capsys):
    results("--config", "config/c.yaml")
    assert results("--check") == 0
    with Path("docs/results.md").open("a") as page:
        page.write("by hand\n")
    assert results("--check") == 1
    assert "differs from its tables" in capsys.readouterr().out
    assert results() == 0
    assert results("--check") == 0


def edit(path, old, new):
    path = Path(path)
    path.write_text(path.read_text().replace(old, new))


def other_images():
    edit("results/metrics/b/per_image.csv", ",05,", ",77,")


def uncommitted():
    edit(
        "results/models/b/provenance.json",
        '"changed": []',
        '"changed": ["config/c.yaml", "pipeline/core/x.py", "docs/x.md"]',
    )


def no_git():
    edit("results/models/b/provenance.json", '"commit": "0123456789abcdef"', '"commit": null')


def edited_scores():
    edit("results/metrics/b/summary.csv", "native", "Native")


def missing_file():
    Path("results/models/b/timing.csv").unlink()


def missing_scores():
    Path("results/metrics/b/summary.csv").unlink()


@pytest.mark.parametrize(
    ("damage", "words", "message"),
    [
        (other_images, ["--reference", "results/metrics/b"], "other images, masks or definitions"),
        (uncommitted, [], "files that are not committed: config/c.yaml, pipeline/core/x.py\n"),
        (no_git, [], "name the commit that has exactly these with --commit"),
        (edited_scores, [], "results/metrics/b/summary.csv"),
        (missing_file, [], "results/models/b/timing.csv"),
        (missing_scores, [], "run `snakemake --cores all --configfile config/c.yaml"),
        (lambda: None, ["--methods", "b", "x", "y"], "the scores of y"),
        (lambda: None, ["--metric", "q", "--reference", "results/metrics/b"], "name another score with --metric"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_run_that_does_not_fit_is_refused_with_a_remedy(run, capsys, damage, words, message):
    damage()
    assert results("--config", "config/c.yaml", *words) == 1
    assert message in capsys.readouterr().err
    assert not Path("docs/results/c.csv").exists()


def test_command_for_others_has_no_path_of_this_machine(run, capsys):
    assert results("--config", str(run / "config/c.yaml")) == 2
    assert "name the configuration relative to it" in capsys.readouterr().err


def test_gpus_are_named_in_place_of_cores(run):
    write_scores("c", F1["b"])
    write_network("c", 7, gpus=["NVIDIA H200"])
    results("--config", "config/c.yaml", "--methods", "c")
    assert rows().loc["c", "hardware"] == "1 NVIDIA H200"


ABLATION = (
    "tutorial,dataset,mistake,metric,mended,with_mistake,difference,low,high,images\n"
    "A,d,threshold chosen on test images,f1,0.7012,0.7122,0.011,-0.002,0.024,6\n"
)


def test_page_has_what_recipes_were_chosen_from_and_what_mistakes_change(run):
    results("--config", "config/c.yaml")
    write_benchmark("predict", "b", 3, split="validation")
    Path("config/trials.yaml").write_text(CONFIG)
    words = ["--split", "validation", "--reference", "results/metrics/b"]
    assert results("--config", "config/trials.yaml", "--methods", "b", *words) == 0
    Path("docs/results/ablation.csv").write_text(ABLATION)
    Path("docs/results/d.md").write_text("The goal was not reached.\n")
    assert results() == 0
    scores, chosen = Path("docs/results.md").read_text().split("## What recipes were chosen from\n\n### d\n\n")
    assert "\n\nThe goal was not reached.\n\n" in scores
    assert chosen.startswith("6 validation images, field of view")
    assert f"| `b` | 1 | {F1['b'].mean() + 0.1:.3f}" in chosen
    assert "config/trials.yaml --replace-workflow-config metrics_b" in chosen
    assert "| A | d | threshold chosen on test images | F1 | 0.701 | 0.712 | +0.011 [-0.002, +0.024] | 6 |" in chosen
    lines = [line for line in scores.splitlines() if line.startswith("| `")][:3]
    values = [float(line.split(" | ")[2].split()[0]) for line in lines]
    assert len(values) == 3
    assert values == sorted(values, reverse=True)


def test_missing_files_columns_and_numbers_are_one_error(run, capsys):
    results("--config", "config/c.yaml")
    folder = Path("docs/results")
    (folder / "head.md").unlink()
    (folder / "other.csv").write_text("method,f1\nb,0.8\n")
    rows().assign(f1="high").to_csv(folder / "bad.csv")
    (folder / "ablation.csv").write_text(ABLATION.replace("mistake,metric", "error,metric"))
    (folder / "e.csv").write_text((folder / "c.csv").read_text())
    page = Path("docs/results.md").read_text()
    assert results() == 1
    message = capsys.readouterr().err
    for text in (
        "head.md",
        "a table without accuracy, accuracy_high",
        "'high' in the column 'f1'",
        "without mistake",
    ):
        assert text in message
    assert "a.ensemble on d in c.csv, e.csv" in message
    assert Path("docs/results.md").read_text() == page
