import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from rawfiles import make_shapes
from sources import opened, source

from pipeline.config.config import parse
from pipeline.core.errors import ConfigError
from pipeline.evaluation.baselines import write_baseline
from pipeline.evaluation.contours import contour_scores
from pipeline.evaluation.evaluate import evaluate
from pipeline.evaluation.evaluate_classes import evaluate_classes
from pipeline.evaluation.recipes import BaselineRecipe, EvaluateRecipe
from pipeline.graph.artifacts import Baseline, scores_of
from pipeline.graph.study import Study
from pipeline.images.png import read_levels, write_png
from pipeline.shards.masks import resize_mask

OFFICIAL = {"test": {"rule": "official"}}


def recipe(origin, kind, **options):
    return BaselineRecipe.model_validate({"dataset": "d", "split": "test", "kind": kind, "source": origin, **options})


def write(root, folder, kind, **options):
    raw = opened("d", "drive", root, **OFFICIAL)
    write_baseline(recipe(raw.source, kind, **options), output=folder)
    masks = {sample.id: raw.read_truth(sample) for sample in raw.splits["test"]}
    return {name: (read_levels(folder / f"{name}.png", *mask.shape), mask) for name, mask in masks.items()}


def test_all_background_baseline_has_no_foreground(tmp_path, drive):
    pairs = write(drive, tmp_path / "p", "all-background")
    assert len(pairs) == 3
    assert not any(levels.any() for levels, _ in pairs.values())


def test_resolution_ceiling_is_mask_resized_and_back(tmp_path, drive):
    pairs = write(drive, tmp_path / "p", "resolution-ceiling", size=[32, 34])
    for levels, mask in pairs.values():
        small = resize_mask(mask, 32, 34, "area")
        # interpolated enlargement agrees with nearest-neighbour enlargement except at borders
        enlarged = resize_mask(small, *mask.shape, "area")
        assert ((levels > 127) == (enlarged == 1)).mean() > 0.9
        assert 0 < ((levels > 127) != (mask == 1)).mean() < 0.3


@pytest.mark.parametrize("size", [None, [70, 60]])
def test_resolution_ceiling_at_native_size_equals_mask(tmp_path, drive, size):
    for levels, mask in write(drive, tmp_path / "p", "resolution-ceiling", size=size).values():
        np.testing.assert_array_equal(levels, mask * 255)


def test_soft_masks_are_resized_like_shards(tmp_path, tgs):
    half = {"rule": "fraction", "fraction": 0.5}
    raw = opened("d", "tgs", tgs, {"masks": "csv"}, test=half, mask_kind="soft")
    for kind in ("area", "linear"):
        ceiling = recipe(raw.source, "resolution-ceiling", size=[40, 40], interpolation=kind)
        write_baseline(ceiling, output=tmp_path / kind)
    sample = next(sample for sample in raw.splits["test"] if raw.read_truth(sample).any())
    area, linear = (read_levels(tmp_path / kind / f"{sample.id}.png", 101, 101) for kind in ("area", "linear"))
    assert len(np.unique(area)) > 20
    assert (area != linear).any()


def test_invalid_baselines_are_refused(tmp_path, drive):
    with pytest.raises(ValidationError, match="all-background"):
        write(drive, tmp_path / "p", "best-network")
    shapes = source("shapes", make_shapes(tmp_path / "shapes"), **OFFICIAL)
    with pytest.raises(ConfigError, match="4 classes"):
        write_baseline(recipe(shapes, "all-background"), output=tmp_path / "p")
    assert not (tmp_path / "p").exists()


def test_baselines_of_data_sets():
    datasets = {
        "a": {"layout": "drive", "root": "r", "size": [64, 48]},
        "b": {"layout": "drive", "root": "r", "size": "native"},
        "c": {"layout": "shapes", "root": "r", "size": [64, 64]},
    }
    study = Study(parse({"datasets": datasets}))
    kinds = ("second-observer", "all-background", "resolution-ceiling")
    assert study.baselines == [*(f"a.{kind}" for kind in kinds), *(f"b.{kind}" for kind in kinds[:2])]
    assert Baseline("a", "resolution-ceiling", "test").recipe(study).plain()["size"] == [64, 48]
    assert "size" not in Baseline("a", "all-background", "test").recipe(study).plain()
    assert study.dataset_of("a.all-background") == "a"


def test_baselines_use_empty_mask_policy_of_experiments():
    plain = {"model": "unet", "loss": "bce", "optimizer": {"name": "sgd", "lr": 0.1}, "batch_size": 1, "epochs": 1}
    policies = {"a": ("skip", "skip"), "b": ("skip", "one"), "c": ()}
    datasets = {name: {"layout": "drive", "root": "r", "size": [64, 48]} for name in policies}
    experiments = {
        f"{dataset}{number}": {**plain, "dataset": dataset, "empty_masks": policy}
        for dataset, dataset_policies in policies.items()
        for number, policy in enumerate(dataset_policies)
    }
    study = Study(parse({"datasets": datasets, "experiments": experiments}))
    policy_of = {name: scores_of(study, f"{name}.all-background").recipe(study).empty_masks for name in policies}
    assert policy_of == {"a": "skip", "b": "one", "c": "one"}


def test_tables_have_contour_scores_and_their_means(tmp_path, drive):
    pairs = write(drive, tmp_path / "p", "resolution-ceiling", size=[32, 34])
    write_png(tmp_path / "p/03.png", np.zeros_like(pairs["03"][0]))
    scores = EvaluateRecipe(dataset="d", source=source("drive", drive, **OFFICIAL), empty_masks="one")
    evaluate(scores, experiment="e", predictions={"test": tmp_path / "p"}, threshold=0.5, output=tmp_path)
    images = pd.read_csv(tmp_path / "per_image.csv", dtype={"id": str}).set_index(["region", "id"])
    for name in ("01", "02"):
        levels, mask = pairs[name]
        scores_of_image = images.loc[("full", name), ["boundary_dice_2px", "hd95_px"]].astype(float)
        np.testing.assert_allclose(scores_of_image, contour_scores(levels > 127, mask), atol=1e-6)
    assert images.loc[("full", "03"), "boundary_dice_2px"] == 0
    assert np.isnan(images.loc[("full", "03"), "hd95_px"])
    macro = pd.read_csv(tmp_path / "summary.csv").set_index(["region", "averaging"]).loc[("full", "macro")]
    full = images.loc["full"]
    assert macro["hd95_px_images"] == 2
    for name in ("hd95_px", "boundary_dice_2px", "tgs_score", "pr_auc", "mcc"):
        assert macro[name] == pytest.approx(full[name].mean(), abs=2e-6)
    assert macro["f1_sd"] == pytest.approx(full["f1"].std(), abs=2e-6)
    assert macro["oracle_f1"] >= macro["f1"]


def test_contour_scores_of_several_classes(tmp_path):
    raw = opened("s", "shapes", make_shapes(tmp_path / "raw"), **OFFICIAL)
    (tmp_path / "p").mkdir()
    expected = []
    for sample in raw.splits["test"]:
        truth = raw.read_truth(sample)
        moved = np.roll(truth, 4, axis=0)
        write_png(tmp_path / "p" / f"{sample.id}.png", moved)
        expected += [contour_scores(moved == index, truth == index) for index in range(4)]
    for policy, absent in (("one", 1.0), ("skip", np.nan)):
        scores = EvaluateRecipe(dataset="s", source=raw.source, empty_masks=policy)
        evaluate_classes(scores, experiment="e", predictions={"test": tmp_path / "p"}, output=tmp_path)
        images = pd.read_csv(tmp_path / "per_image.csv")
        numbers = np.array(expected)
        missing = np.isnan(numbers[:, 0])
        assert missing.any()
        numbers[missing, 0] = absent
        np.testing.assert_allclose(images[["boundary_dice_2px", "hd95_px"]], numbers, atol=1e-6)
        summary = pd.read_csv(tmp_path / "summary.csv").set_index(["averaging", "class"])
        squares = images[images["class"] == "square"]
        assert summary.loc[("macro", "square"), "hd95_px"] == pytest.approx(squares["hd95_px"].mean(), abs=1e-6)
        assert np.isnan(summary.loc[("micro", "square"), "hd95_px"])
