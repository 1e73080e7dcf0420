"""A new metric needs only a module and an entry in `METRICS`: tested on a copy of the package."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from sources import opened

from pipeline.images.png import write_png

ROOT = Path(__file__).parents[2]
MODULE = """
from pipeline.evaluation.scores import accuracy


def error_rate(counts, empty=1.0):
    return 1 - accuracy(counts)
"""
IMPORT = "from pipeline.evaluation.error_rate import error_rate\n"
ENTRY = """    "error_rate": Metric(
        error_rate, "Error rate", lower_is_better=True, criterion=True, compared=True, visibility=Visibility.TERMINAL
    ),
"""
TABLE = "METRICS: dict[str, Metric] = {\n"
CONFIG = """
datasets: {t: {layout: tgs, root: TGS, size: [48, 48], test: {rule: fraction, fraction: 0.4},
               validation: {fraction: 0.5}}}
experiments:
  good: &one {dataset: t, model: unet, loss: bce, optimizer: {name: sgd, lr: 1}, batch_size: 1, epochs: 1,
              threshold: {metric: error_rate}}
  worse: *one
"""
RUN = """
import json, sys
from pipeline.cli import main as cli
for arguments in json.loads(sys.argv[1]):
    assert cli.main(arguments) == 0, arguments
"""


def package_with_metric(folder):
    """Copy the package and add the metric to it."""
    shutil.copytree(ROOT / "pipeline", folder / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "pipeline/evaluation/error_rate.py").write_text(MODULE)
    path = folder / "pipeline/evaluation/metrics.py"
    text = path.read_text()
    first_import = re.search(r"^from pipeline", text, re.MULTILINE).start()
    assert TABLE in text
    path.write_text((text[:first_import] + IMPORT + text[first_import:]).replace(TABLE, TABLE + ENTRY))
    return folder


def test_new_metric_appears_in_all_outputs(tmp_path, tgs):
    (tmp_path / "config.yaml").write_text(CONFIG)
    raw = opened("t", "tgs", tgs, test={"rule": "fraction", "fraction": 0.4}, validation={"fraction": 0.5})
    commands = []
    for name, noise in (("good", 30), ("worse", 90)):
        rng, folder = np.random.default_rng(0), f"results/predictions/{name}"
        for split in ("validation", "test"):
            (tmp_path / folder / split / "probability").mkdir(parents=True)
            for sample in raw.splits[split]:
                mask = raw.read_foreground(sample)
                levels = np.clip(mask * 80.0 + rng.normal(90, noise, mask.shape), 0, 255).astype(np.uint8)
                write_png(tmp_path / folder / split / "probability" / f"{sample.id}.png", levels)
        experiment, threshold = ["--experiment", name], f"{folder}/threshold.json"
        commands.append(["threshold", *experiment, "--predictions", f"{folder}/validation/probability"])
        tests = ["--test-predictions", f"{folder}/test/probability", "--threshold", threshold]
        commands.append(["evaluate", *experiment, *tests])
    summaries = [f"results/metrics/{name}/summary.csv" for name in ("good", "worse")]
    commands += [["leaderboard", "--summaries", *summaries]]
    commands += [["comparisons", "--per-image", *(path.replace("summary", "per_image") for path in summaries)]]
    commands += [["compare", "--metric", "error_rate"], ["report", "--leaderboard", "results/leaderboard.csv"]]
    commands += [["schema", "--output", "schema.json"]]
    completed = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps(commands)],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(package_with_metric(tmp_path / "code"))},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert completed.returncode == 0, completed.stderr

    results = tmp_path / "results"
    assert json.loads((results / "predictions/good/threshold.json").read_text())["metric"] == "micro error_rate"
    for table in ("metrics/good/summary.csv", "metrics/good/per_image.csv", "leaderboard.csv"):
        scores = pd.read_csv(results / table)
        np.testing.assert_allclose(scores["error_rate"], 1 - scores["accuracy"], atol=2e-6)
    assert set(pd.read_csv(results / "metrics/good/intervals.csv")["metric"]) >= {"error_rate"}
    assert set(pd.read_csv(results / "comparisons.csv")["metric"]) >= {"error_rate", "f1"}
    ranked = re.findall(r"^ *(good|worse)(?: |$)", completed.stdout, re.MULTILINE)
    assert ranked == ["good", "worse"]  # the lowest first
    for words in ("error_rate", "error_rate: lower is better.", "reference"):
        assert words in completed.stdout
    page = (results / "report.html").read_text()
    assert "Error rate ↓" in page
    assert ".c-error_rate { display: none }" not in page
    assert page.count("c-error_rate number best") == 2  # macro and micro
    assert '"error_rate":"Error rate"' in page
    assert '"error_rate"' in (tmp_path / "schema.json").read_text()
