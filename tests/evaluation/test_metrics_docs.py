"""docs/metrics.md lists exactly the columns that are written."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rawfiles import make_shapes
from sources import opened, source

from pipeline.evaluation.baselines import write_baseline
from pipeline.evaluation.evaluate import CURVE_CONDITIONS, evaluate
from pipeline.evaluation.evaluate_classes import evaluate_classes
from pipeline.evaluation.recipes import BaselineRecipe, EvaluateRecipe
from pipeline.images.png import write_png

TEXT = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")


def documented(section, classes):
    """Return the columns that a section lists for ``two`` or ``several`` classes, in order."""
    body = re.search(rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)[1]
    rows = re.findall(r"^\| (`.*?`) \| (two|several|both) \|", body, re.MULTILINE)
    return [name for names, scope in rows if scope in (classes, "both") for name in re.findall(r"`(\w+)`", names)]


@pytest.mark.parametrize("mask_kind", ["index", "soft"])
def test_two_class_columns_are_documented(tmp_path, tgs, mask_kind):
    half = {"rule": "fraction", "fraction": 0.5}
    dataset = {"dataset": "d", "source": source("tgs", tgs, {"masks": "csv"}, test=half, mask_kind=mask_kind)}
    write_baseline(BaselineRecipe(split="test", kind="all-background", **dataset), output=tmp_path / "p")
    arguments = {"experiment": "e", "predictions": {"test": tmp_path / "p"}, "threshold": 0.5}
    evaluate(EvaluateRecipe(empty_masks="one", **dataset), output=tmp_path, **arguments)
    conditions = documented("Conditions", "two")
    for name in ("per_image", "summary"):
        written = list(pd.read_csv(tmp_path / f"{name}.csv").columns)
        expected = {*conditions, *documented(f"{name}.csv", "two")} - ({"mae_soft"} if mask_kind == "index" else set())
        assert sorted(written) == sorted(expected)
    assert list(pd.read_csv(tmp_path / "curve.csv").columns) == [*CURVE_CONDITIONS, *documented("curve.csv", "two")]
    assert set(CURVE_CONDITIONS) < set(conditions)


def test_class_columns_are_documented(tmp_path):
    raw = opened("s", "shapes", make_shapes(tmp_path / "raw"), test={"rule": "official"})
    (tmp_path / "p").mkdir()
    for sample in raw.splits["test"]:
        write_png(tmp_path / "p" / f"{sample.id}.png", np.asarray(raw.read_truth(sample)))
    recipe = EvaluateRecipe(dataset="s", empty_masks="one", source=raw.source)
    evaluate_classes(recipe, experiment="e", predictions={"test": tmp_path / "p"}, output=tmp_path)
    for name in ("per_image", "summary"):
        written = list(pd.read_csv(tmp_path / f"{name}.csv").columns)
        assert sorted(written) == sorted([*documented("Conditions", "several"), *documented(f"{name}.csv", "several")])
    *conditions, _, _, _, _ = written = list(pd.read_csv(tmp_path / "confusion.csv").columns)
    assert written[-4:] == documented("confusion.csv", "several")
    assert set(conditions) < set(documented("Conditions", "several"))


def test_readme_links_to_metrics_page():
    assert "docs/metrics.md" in (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
