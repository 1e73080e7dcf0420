"""`background: none`: class 0 of several classes counts like any other, from the loss to the report."""

from unittest.mock import MagicMock

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import f1_score, jaccard_score
from sources import checked, opened

from pipeline.config.config import parse
from pipeline.core.counts import VOID
from pipeline.core.errors import ConfigError
from pipeline.evaluation.class_renderings import render_classes
from pipeline.evaluation.evaluate_classes import evaluate_classes
from pipeline.evaluation.recipes import EvaluateRecipe, RenderRecipe
from pipeline.graph.artifacts import Augmented, Checkpoint
from pipeline.graph.study import Study
from pipeline.images.colours import overlay_classes
from pipeline.images.png import write_png
from pipeline.prediction.new_images import _ImageWriter
from pipeline.raw.decode.image import read_image
from pipeline.raw.decode.palette import class_colours
from pipeline.report.comparisons import compare_methods
from pipeline.report.sources import image_scores
from pipeline.report.thumbnails import error_kinds
from pipeline.training.losses import LOSSES

CLASSES = ("sky", "road", "car")
OPTIONS = {
    "images": "images", "masks": "masks", "labels": {str(index): name for index, name in enumerate(CLASSES)},
    "background": "none", "ignore": [VOID],
}  # fmt: skip
SPLITS = {"test": {"rule": "fraction", "fraction": 0.5}, "validation": {"fraction": 0}}
EXPERIMENT = {
    "dataset": "d", "model": "unet", "loss": "cross-entropy-dice", "optimizer": {"name": "sgd", "lr": 1},
    "batch_size": 1, "epochs": 1,
}  # fmt: skip


@pytest.fixture
def scenes(tmp_path):
    """Six images with a mask of sky above road, two of them with a car."""
    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (tmp_path / "raw" / folder).mkdir(parents=True)
    for number in range(6):
        mask = np.zeros((40, 50), np.uint8)
        mask[15 + number :] = 1
        mask[25:35, 10:20] = 2 if number < 2 else 1
        mask[:, :2] = VOID
        write_png(tmp_path / f"raw/masks/{number}.png", mask)
        write_png(tmp_path / f"raw/images/{number}.png", rng.integers(0, 255, (40, 50, 3)).astype(np.uint8))
    return tmp_path / "raw"


def predict(raw, folder):
    """Write shifted masks as predictions of the test samples; return true and predicted classes."""
    folder.mkdir()
    pairs = []
    for sample in raw.splits["test"]:
        truth = raw.read_truth(sample)
        predicted = np.roll(np.where(truth == VOID, 0, truth), 4, axis=0).astype(np.uint8)
        write_png(folder / f"{sample.id}.png", predicted)
        pairs.append((truth[truth != VOID], predicted[truth != VOID]))
    return pairs


def parsed(dataset=None, **experiment):
    data = {"layout": "folder", "root": "raw", "size": [64, 64], **OPTIONS, **SPLITS, **(dataset or {})}
    return Study(parse({"datasets": {"d": data}, "experiments": {"e": {**EXPERIMENT, **experiment}}}))


def test_means_are_over_all_classes(tmp_path, scenes):
    raw = opened("d", "folder", scenes, OPTIONS, **SPLITS)
    true, predicted = map(np.concatenate, zip(*predict(raw, tmp_path / "p"), strict=True))
    recipe = EvaluateRecipe(dataset="d", empty_masks="skip", source=raw.source)
    evaluate_classes(recipe, experiment="e", predictions={"test": tmp_path / "p"}, output=tmp_path / "m")
    summary = pd.read_csv(tmp_path / "m/summary.csv").set_index(["averaging", "class"])
    labels = np.union1d(true, predicted)
    for name, function in (("iou", jaccard_score), ("f1", f1_score)):
        expected = function(true, predicted, labels=labels, average="macro")
        assert summary.loc[("micro", "mean"), name] == pytest.approx(expected, abs=1e-6)
        of_classes = summary.loc["macro"].loc[list(CLASSES), name]
        assert summary.loc[("macro", "mean"), name] == pytest.approx(of_classes.mean(), abs=1e-6)
    intervals = pd.read_csv(tmp_path / "m/intervals.csv").query("`class` == 'mean' and metric == 'iou'")
    assert (intervals["low"] <= intervals["estimate"]).all()
    assert (intervals["estimate"] <= intervals["high"]).all()
    assert summary["background"].isna().all()

    # the report and the comparisons read this from the tables
    images = pd.read_csv(tmp_path / "m/per_image.csv", dtype={"id": str})
    (scores,) = image_scores(images, raw.background)
    assert scores.table["share"].tolist() == [1.0] * len(scores.table)
    by_image = images.groupby("id")["iou"].mean()
    assert scores.table.set_index("id")["iou"].to_dict() == pytest.approx(by_image.to_dict())
    images.assign(experiment="other", iou=images["iou"] / 2).to_csv(tmp_path / "other.csv", index=False)
    files = [tmp_path / "m/per_image.csv", tmp_path / "other.csv"]
    compare_methods(per_image=files, output=tmp_path / "comparisons.csv")
    row = pd.read_csv(tmp_path / "comparisons.csv").query("`class` == 'mean' and metric == 'iou'").iloc[0]
    assert row["difference"] == pytest.approx(by_image.mean() / 2, abs=1e-6)


def test_class_0_is_painted_and_has_a_colour(tmp_path, scenes):
    colours = class_colours(CLASSES, background=False)
    assert (0, 0, 0) not in colours
    image = np.full((20, 20, 3), 100, np.uint8)
    classes = np.zeros((20, 20), np.uint8)
    classes[:5] = VOID
    painted = overlay_classes(image, np.zeros_like(classes), classes, colours, background=False)
    assert (painted[:5] == 70).all()
    assert (painted[5:] != 70).any(axis=2).all()
    raw = opened("d", "folder", scenes, OPTIONS, **SPLITS)
    predict(raw, tmp_path / "p")
    recipe = RenderRecipe(dataset="d", split="test", source=raw.source)
    render_classes(recipe, experiment="e", predictions=tmp_path / "p", output=tmp_path / "o")
    name = f"{raw.splits['test'][0].id}.png"
    assert (read_image(str(tmp_path / "o/colour" / name), "rgb")[8, 10] == colours[0]).all()
    overlay = read_image(str(tmp_path / "o/overlay" / name), "rgb").astype(int)
    assert (overlay[5:12, 3:].max(axis=2) - overlay[5:12, 3:].min(axis=2) > 10).all()


@pytest.mark.parametrize("has_background", [True, False])
def test_cut_outs_of_new_images_keep_class_0(tmp_path, has_background):
    network = MagicMock(classes=CLASSES, multiclass=True)
    network.info.settings.has_background = has_background
    band = np.zeros((3, 4, 5), np.float32)
    band[0, :2], band[1, 2:] = 1, 1
    levels = (band * 255).astype(np.uint8)
    renderings = _ImageWriter(tmp_path, network, 127)._render(np.full((4, 5, 3), 90, np.uint8), band, levels, None)
    assert (renderings["cutout"][:, :, 3] == 255).all(axis=1).tolist() == [not has_background] * 2 + [True] * 2
    is_grey = (renderings["overlay"].max(axis=2) == renderings["overlay"].min(axis=2)).all(axis=1)
    assert is_grey.tolist() == [has_background] * 2 + [False] * 2


def test_errors_of_class_0_are_shown():
    truth, predicted = np.array([[0, 0, 1, 1, VOID]], np.uint8), np.array([[0, 1, 0, 1, 0]], np.uint8)
    assert error_kinds(truth, predicted).tolist() == [[0, 3, 2, 1, 0]]
    assert error_kinds(truth, predicted, background=False).tolist() == [[1, 4, 4, 1, 0]]


def test_check_counts_class_0_as_foreground(scenes):
    report = checked("folder", scenes, OPTIONS, **SPLITS)
    assert (report["facts"]["empty_masks"], report["facts"]["full_masks"]) == (0, None)


@pytest.mark.parametrize("name", ["softmax-dice", "cross-entropy-dice"])
def test_dice_loss_averages_over_all_classes(name):
    generator = torch.Generator().manual_seed(0)
    output, target = (
        torch.randn(2, 3, 8, 8, generator=generator),
        torch.randint(0, 3, (2, 1, 8, 8), generator=generator),
    )
    probability, one_hot = torch.softmax(output, dim=1), torch.zeros_like(output).scatter_(1, target, 1.0)
    overlap, sizes = (probability * one_hot).sum((0, 2, 3)), (probability + one_hot).sum((0, 2, 3))
    by_class = 1 - (2 * overlap + 1) / (sizes + 1)
    loss = LOSSES[name]
    entropy = LOSSES["cross-entropy"].function(output, target, None) if name == "cross-entropy-dice" else 0.0
    torch.testing.assert_close(loss.function(output, target, None), entropy + by_class[1:].mean())
    torch.testing.assert_close(loss.without_background().function(output, target, None), entropy + by_class.mean())


def test_training_knows_that_there_is_no_background(scenes):
    study = parsed({"root": str(scenes)})
    assert Checkpoint("e").recipe(study).background == "none"
    assert not Checkpoint("e").recipe(study).has_background
    assert Augmented("e").recipe(study).background == "none"
    assert "background" not in Checkpoint("e").recipe(parsed({"background": None})).plain()


@pytest.mark.parametrize(
    ("dataset", "experiment", "message"),
    [
        ({"labels": {"0": "sky", "1": "road"}}, {"loss": "bce"}, "'none', for two classes"),
        ({}, {"loss": {"name": "cross-entropy", "border": {}}}, "remove `border`"),
        ({"test": {"rule": "fraction", "fraction": 0.5, "stratify": "foreground"}}, {}, "remove `stratify`"),
        ({"background": "sky"}, {}, "background"),
    ],
)
def test_settings_that_need_a_background_are_refused(dataset, experiment, message):
    with pytest.raises(ConfigError, match=r"background|border|stratify") as caught:
        parsed(dataset, **experiment)
    assert message in str(caught.value)
