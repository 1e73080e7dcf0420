import json
from pathlib import Path

import imagecodecs
import numpy as np
import pandas as pd
import pytest
from rawfiles import write_gif
from sklearn.metrics import roc_auc_score
from sources import opened, source

from pipeline.core.errors import PredictionError, RawDataError
from pipeline.core.fine_levels import quantize
from pipeline.evaluation.baselines import write_baseline
from pipeline.evaluation.choice import choose_threshold
from pipeline.evaluation.evaluate import evaluate
from pipeline.evaluation.recipes import BaselineRecipe, ChosenThreshold, EvaluateRecipe, RenderRecipe, ThresholdRecipe
from pipeline.evaluation.renderings import render
from pipeline.evaluation.thresholds import read_threshold
from pipeline.images.figures import FALSE_NEGATIVE, FALSE_POSITIVE, TRUE_POSITIVE, overlay
from pipeline.images.png import read_levels, write_png
from pipeline.raw.dataset import open_dataset
from pipeline.report.comparisons import compare_methods
from pipeline.report.gallery import choose_cases
from pipeline.report.sources import SCORE_COLUMNS, image_scores

SPLITS = {"test": {"rule": "official"}, "validation": {"fraction": 0.34}}


def predict_truth(raw, folder, split, noise=0.0):
    """Write the masks with some noise as predictions."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(5)
    for sample in raw.splits[split]:
        mask = raw.read_foreground(sample)
        levels = np.clip(mask * 200.0 + 20 + rng.normal(0, noise, mask.shape), 0, 255)
        write_png(folder / f"{sample.id}.png", levels.astype(np.uint8))


def score(raw, folder, tmp_path, empty_masks="one"):
    recipe = EvaluateRecipe(dataset="d", source=raw.source, empty_masks=empty_masks)
    evaluate(recipe, experiment="e", predictions={"test": folder}, threshold=0.5, output=tmp_path / "m")
    return pd.read_csv(tmp_path / "m/per_image.csv", dtype={"id": str}), pd.read_csv(tmp_path / "m/summary.csv")


@pytest.fixture
def raw(drive):
    return opened("d", "drive", drive, **SPLITS)


def test_perfect_prediction_scores_one(tmp_path, raw):
    predict_truth(raw, tmp_path / "p", "test")
    images, summary = score(raw, tmp_path / "p", tmp_path)
    assert images["id"].tolist() == ["01", "02", "03"] * 2
    for name in ("f1", "dice", "iou", "precision", "recall", "specificity", "accuracy"):
        assert (summary[name] == 1.0).all()
        assert (images[name] == 1.0).all()
    assert set(zip(summary["region"], summary["averaging"], strict=True)) == {
        (region, averaging) for region in ("fov", "full") for averaging in ("macro", "micro")
    }
    assert (summary["scale"] == "native").all()
    assert (summary["threshold_source"] == "fixed").all()


def test_summary_is_computed_from_image_scores(tmp_path, raw):
    predict_truth(raw, tmp_path / "p", "test", noise=120)
    images, summary = score(raw, tmp_path / "p", tmp_path)
    for region in ("fov", "full"):
        region_images = images[images["region"] == region]
        rows = summary[summary["region"] == region].set_index("averaging")
        assert rows.loc["macro", "f1"] == pytest.approx(region_images["f1"].mean(), abs=2e-6)
        assert 0.5 < rows.loc["macro", "f1"] < 0.99
        tp, fp, fn = region_images["tp"].sum(), region_images["fp"].sum(), region_images["fn"].sum()
        assert rows.loc["micro", "f1"] == pytest.approx(2 * tp / (2 * tp + fp + fn), abs=2e-6)
        assert (
            region_images["tp"] + region_images["fp"] + region_images["fn"] + region_images["tn"]
            == region_images["pixels"]
        ).all()
    inside, full = (images[images["region"] == region]["pixels"].sum() for region in ("fov", "full"))
    assert inside < full == 3 * 70 * 60


def test_sixteen_bits_change_areas_under_curves_only(tmp_path, raw):
    rng, expected = np.random.default_rng(6), {}
    for bits in (8, 16):
        (tmp_path / f"p{bits}").mkdir()
    for sample in raw.splits["test"]:
        mask, fov = raw.read_foreground(sample), raw.read_fov(sample) == 1
        probability = 1 / (1 + np.exp(-rng.normal(np.where(mask, -2.0, -7.0), 2.0)))
        expected[sample.id] = roc_auc_score(mask[fov], probability[fov])
        for bits in (8, 16):
            write_png(tmp_path / f"p{bits}/{sample.id}.png", quantize(probability, bits))
    tables = {bits: score(raw, tmp_path / f"p{bits}", tmp_path) for bits in (8, 16)}
    areas = ["roc_auc", "pr_auc"]
    for coarse, fine in zip(tables[8], tables[16], strict=True):
        assert set(coarse["probability_levels"]) == {256}
        assert set(fine["probability_levels"]) == {65536}
        unchanged = coarse.columns.drop([*areas, "probability_levels"])
        pd.testing.assert_frame_equal(coarse[unchanged], fine[unchanged])
    images, summary = (table.query("region == 'fov'") for table in tables[16])
    assert images.set_index("id")["roc_auc"].to_dict() == pytest.approx(expected, abs=1e-4)
    intervals = pd.read_csv(tmp_path / "m/intervals.csv").query("region == 'fov' and metric in @areas")
    assert len(intervals) == 4  # macro and micro
    assert (intervals["low"] <= intervals["estimate"]).all()
    assert (intervals["estimate"] <= intervals["high"]).all()
    lower = tables[8][1].query("region == 'fov'")["roc_auc"]
    assert (lower < summary["roc_auc"] - 1e-3).all()


def test_images_of_eight_bits_among_sixteen_are_listed(tmp_path, raw):
    predict_truth(raw, tmp_path / "p", "test")
    for name in ("01", "03"):
        write_png(tmp_path / f"p/{name}.png", read_levels(tmp_path / f"p/{name}.png", 70, 60).astype(np.uint16) * 257)
    with pytest.raises(PredictionError) as caught:
        score(raw, tmp_path / "p", tmp_path)
    (problem,) = caught.value.problems
    assert (problem.where, problem.found) == (str(tmp_path / "p/02.png"), "8 bits")
    assert "16 bits" in problem.remedy
    assert not (tmp_path / "m").exists()


def test_empty_mask_policy_is_applied_and_written(tmp_path, tgs):
    raw = opened("d", "tgs", tgs, test={"rule": "fraction", "fraction": 0.6})
    predict_truth(raw, tmp_path / "p", "test")
    empty = [sample.id for sample in raw.splits["test"] if not raw.read_foreground(sample).any()]
    assert empty
    wrong = next(sample for sample in raw.splits["test"] if sample.id not in empty)
    write_png(tmp_path / "p" / f"{wrong.id}.png", np.zeros((101, 101), np.uint8))
    for policy, extra in (("one", len(empty)), ("skip", 0)):
        images, summary = score(raw, tmp_path / "p", tmp_path, empty_masks=policy)
        good = len(images) - len(empty) - 1
        assert summary.loc[0, "f1"] == pytest.approx((good + extra) / (good + extra + 1), abs=1e-6)
        assert (summary["empty_masks"] == policy).all()


def test_mae_against_soft_masks_is_a_column_of_its_own(tmp_path):
    rng = np.random.default_rng(0)
    pairs, fovs = {}, {}
    for number in range(6):
        name, shape = f"{number}", (30 + number, 40)
        levels, mask = rng.integers(0, 256, (2, *shape)).astype(np.uint8)
        fov = np.zeros(shape, np.uint8)
        fov[5:20, 5:30] = 255
        for folder, pixels in (("images", levels), ("masks", mask), ("fov", fov), ("p", levels)):
            (tmp_path / folder).mkdir(exist_ok=True)
            write_png(tmp_path / folder / f"{name}.png", pixels)
        pairs[name], fovs[name] = (levels / 255, mask / 255), fov == 255
    options = {"images": "images", "masks": "masks", "fov": "fov"}
    rules = {"test": {"rule": "fraction", "fraction": 0.9}, "validation": {"fraction": 0}}
    raw = opened("d", "folder", tmp_path, options, mask_kind="soft", **rules)
    images, summary = score(raw, tmp_path / "p", tmp_path)
    intervals = pd.read_csv(tmp_path / "m/intervals.csv").query("metric == 'mae_soft'")
    for region in ("full", "fov"):
        rows = images[images["region"] == region].set_index("id")
        assert len(rows) == 5
        errors = {
            name: np.abs(np.subtract(*pairs[name]))[fovs[name] if region == "fov" else slice(None)].ravel()
            for name in rows.index
        }
        assert rows["mae_soft"].to_dict() == pytest.approx({n: e.mean() for n, e in errors.items()}, abs=1e-6)
        assert (rows["mae_soft"] < rows["mae"]).all()  # against masks of 0 and 1, random values are farther away
        means = summary[summary["region"] == region].set_index("averaging")["mae_soft"]
        assert means["macro"] == pytest.approx(np.mean([e.mean() for e in errors.values()]), abs=1e-6)
        assert means["micro"] == pytest.approx(np.concatenate([*errors.values()]).mean(), abs=1e-6)
        ends = intervals[intervals["region"] == region].set_index("averaging")
        assert (ends["low"] < means).all()
        assert (means < ends["high"]).all()


def test_identifiers_like_formulas_stay_as_they_are(tmp_path):
    names = ["=1+1", "+2", "-3", "@SUM(A1)", "007", "1e5", "NA", "a;b", '"q"']
    mask = np.zeros((40, 40), np.uint8)
    mask[:20] = 255
    for folder in ("images", "masks", "p"):
        (tmp_path / folder).mkdir()
        for name in [*names, "train"]:
            write_png(tmp_path / folder / f"{name}.png", mask)
    (tmp_path / "test.txt").write_text("".join(f"{name}.png\n" for name in names))
    rules = {"test": {"rule": "list", "file": "test.txt"}, "validation": {"fraction": 0}}
    raw = opened("d", "folder", tmp_path, {"images": "images", "masks": "masks"}, **rules)
    score(raw, tmp_path / "p", tmp_path)
    images = tmp_path / "m/per_image.csv"
    written = pd.read_csv(images, dtype=str, keep_default_na=False)
    assert sorted(written["id"]) == sorted(names)
    images.with_name("other.csv").write_text(images.read_text().replace("e,d,", "other,d,"))
    compare_methods(per_image=[images, images.with_name("other.csv")], output=tmp_path / "comparisons.csv")
    assert set(pd.read_csv(tmp_path / "comparisons.csv")["images"]) == {len(names)}
    (scores,) = image_scores(written.astype(dict.fromkeys(("pixels", "tp", "fn", *SCORE_COLUMNS), float)), "")
    assert {case.id for case in choose_cases(scores.table, "f1")} <= set(names)


def test_missing_damaged_and_missized_predictions_are_listed(tmp_path, raw):
    predict_truth(raw, tmp_path / "p", "test")
    (tmp_path / "p/01.png").unlink()
    contents = (tmp_path / "p/02.png").read_bytes()
    (tmp_path / "p/02.png").write_bytes(contents[: len(contents) // 2])
    write_png(tmp_path / "p/03.png", np.zeros((70, 61), np.uint8))
    with pytest.raises(PredictionError) as caught:
        score(raw, tmp_path / "p", tmp_path)
    assert len(caught.value.problems) == 3
    assert not (tmp_path / "m").exists()


def test_a_prediction_in_colour_is_refused(tmp_path):
    write_png(tmp_path / "a.png", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(PredictionError, match="8-bit grey"):
        read_levels(tmp_path / "a.png", 8, 8)


def test_threshold_uses_only_validation_samples(tmp_path, drive, raw):
    predict_truth(raw, tmp_path / "v", "validation", noise=30)
    # unreadable test masks: reading them would raise an error
    for path in (drive / "test/1st_manual").iterdir():
        path.write_bytes(b"x")
    arguments = {"experiment": "e", "predictions": tmp_path / "v", "output": tmp_path / "t.json"}
    choose_threshold(ThresholdRecipe(dataset="d", criterion=ChosenThreshold(), source=raw.source), **arguments)
    contents = json.loads((tmp_path / "t.json").read_text())
    assert contents["source"] == "validation"
    assert 20 / 255 < contents["value"] < 220 / 255
    assert "region fov" in contents["criterion"]
    assert "2 validation samples" in contents["criterion"]
    choose_threshold(ThresholdRecipe(dataset="d", fixed=0.3), **arguments)
    fixed = {"criterion": "", "metric": "", "source": "fixed", "value": 0.3}
    assert json.loads((tmp_path / "t.json").read_text()) == fixed


@pytest.mark.parametrize(
    ("contents", "found"),
    [
        *[
            (f'{{"value": {value}, "source": "fixed"}}', f'{{"value": {value}, "source": "fixed"}}')
            for value in ('"high"', "NaN", "null", "7", "-0.5", "true", "[0.5]")
        ],
        ("0.3\n", "0.3"),
        ('{"threshold": 0.4}', '{"threshold": 0.4}'),
        ('{"value": 0.4}', '{"value": 0.4}'),
        ('{"value": 0.4, "source": null}', '{"value": 0.4, "source": null}'),
        ('{"value": 0.4, "source": "fixed", "note": ""}', '"note"'),
        ("[0.3, 0.4]", "[0.3, 0.4]"),
        ("threshold\n0.3\n", "line 1"),
        ("", "line 1"),
        (json.dumps(["x"] * 9999), "..."),
    ],
)
def test_threshold_files_with_other_contents_are_refused(tmp_path, contents, found):
    (tmp_path / "t.json").write_text(contents)
    with pytest.raises(PredictionError) as caught:
        read_threshold(tmp_path / "t.json")
    (problem,) = caught.value.problems
    assert found in problem.found
    assert len(problem.found) < 120
    assert "Threshold" not in problem.found
    assert '{"value": 0.5, "source": "fixed"}' in problem.remedy


def test_threshold_is_refused_if_no_pixel_counts(tmp_path, raw):
    predict_truth(raw, tmp_path / "v", "validation")
    for sample in raw.splits["validation"]:
        write_gif(Path(sample.fov), np.zeros_like(raw.read_fov(sample)))
    arguments = {"experiment": "e", "predictions": tmp_path / "v", "output": tmp_path / "t.json"}
    with pytest.raises(PredictionError, match="only ignored pixels"):
        choose_threshold(ThresholdRecipe(dataset="d", criterion=ChosenThreshold(), source=raw.source), **arguments)
    assert not (tmp_path / "t.json").exists()


def test_second_observer_is_scored_like_a_network(tmp_path, drive, raw):
    recipe = BaselineRecipe(dataset="d", kind="second-observer", split="test", source=raw.source)
    write_baseline(recipe, output=tmp_path / "p")
    _, summary = score(raw, tmp_path / "p", tmp_path)
    assert summary["f1"].between(0.7, 0.999).all()
    (drive / "test/2nd_manual/02_manual2.gif").write_bytes(b"")
    with pytest.raises(RawDataError, match="02_manual2"):
        write_baseline(recipe, output=tmp_path / "q")
    assert not (tmp_path / "q").exists()
    with pytest.raises(RawDataError, match="no second observer"):
        write_baseline(recipe.changed(split="validation"), output=tmp_path / "q")


def test_overlay_colours_hits_misses_and_false_alarms():
    image = np.full((2, 2, 3), 100, np.uint8)
    predicted = np.array([[True, True], [False, False]])
    true = np.array([[True, False], [True, False]])
    painted = overlay(image, predicted, true)
    for pixel, colour in (
        ((0, 0), TRUE_POSITIVE),
        ((0, 1), FALSE_POSITIVE),
        ((1, 0), FALSE_NEGATIVE),
        ((1, 1), (70, 70, 70)),
    ):
        distance = {
            c: np.abs(painted[pixel].astype(int) - c).sum()
            for c in (TRUE_POSITIVE, FALSE_NEGATIVE, FALSE_POSITIVE, (70, 70, 70))
        }
        assert min(distance, key=distance.get) == colour


@pytest.mark.parametrize(("height", "width"), [(900, 1400), (1500, 700), (40, 1500)])
def test_images_on_the_sheet_have_at_most_640_pixels(tmp_path, height, width):
    mask = np.zeros((height, width), np.uint8)
    mask[height // 4 : height // 2, width // 4 :] = 255
    for folder, pixels in (("images", np.stack([mask] * 3, axis=2)), ("masks", mask), ("p", mask)):
        (tmp_path / folder).mkdir()
        for number in range(2):
            write_png(tmp_path / folder / f"{number}.png", pixels)
    (tmp_path / "t.json").write_text('{"value": 0.5, "source": "fixed", "criterion": ""}')
    origin = source(
        "folder", tmp_path, {"images": "images", "masks": "masks"}, test={"rule": "fraction", "fraction": 0.5}
    )
    recipe = RenderRecipe(dataset="d", split="test", source=origin)
    arguments = {"predictions": tmp_path / "p", "threshold": tmp_path / "t.json", "output": tmp_path / "out"}
    render(recipe, experiment="e", **arguments)
    sheet = imagecodecs.png_decode((tmp_path / "out/sheet.png").read_bytes())
    panel = imagecodecs.png_decode(next((tmp_path / "out/panel").iterdir()).read_bytes())
    small_width = round(640 / max(height, width) * width)
    assert sheet.shape[1] == 3 * small_width + 12
    assert panel.shape[1] >= 3 * width + 12
    # the aspect ratio stays: the white area of the mask is half as large as a quarter of the image
    middle = sheet[26 : 26 + round(640 / max(height, width) * height), small_width + 6 : 2 * small_width + 6, 0]
    assert (middle > 127).mean() == pytest.approx((mask > 0).mean(), abs=0.04)


@pytest.mark.parametrize("split", ["test", "unlabelled"])
def test_renderings_of_a_split(tmp_path, tgs, split):
    origin = source("tgs", tgs, test={"rule": "fraction", "fraction": 0.5})
    predictions = tmp_path / "out" / "probability"
    if split == "test":
        predict_truth(open_dataset("d", origin), predictions, "test")
    else:
        predictions.mkdir(parents=True)
        for name in ("tile012", "tile013"):
            write_png(predictions / f"{name}.png", np.full((101, 101), 200, np.uint8))
    (tmp_path / "t.json").write_text('{"value": 0.5, "source": "fixed", "criterion": ""}')
    render(
        RenderRecipe(dataset="d", split=split, source=origin),
        experiment="e",
        predictions=predictions,
        threshold=tmp_path / "t.json",
        output=tmp_path / "out",
    )
    expected = sorted(path.name for path in predictions.iterdir())
    for kind, width in (("mask", 101), ("overlay", 101), ("panel", 3 * 303 + 12)):
        folder = tmp_path / "out" / kind
        assert sorted(path.name for path in folder.iterdir()) == expected
        if kind == "mask":
            mask = read_levels(folder / expected[0], 101, 101)
            np.testing.assert_array_equal(mask, (read_levels(predictions / expected[0], 101, 101) > 127) * 255)
        else:
            assert imagecodecs.png_decode((folder / expected[0]).read_bytes()).shape[1] == width
    assert (tmp_path / "out/sheet.png").exists()
