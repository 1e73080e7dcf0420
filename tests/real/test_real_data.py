"""The real DRIVE, TGS and DUTS data, mostly in the real workflow. Slow; skipped without PIPELINE_REAL_DATA."""

import json

import cv2
import h5py
import numpy as np
import pandas as pd
import pytest
from oracles import compare_areas, compare_contours, compare_counts, compare_curve, compare_saliency
from PIL import Image
from projects import Project
from sklearn.metrics import f1_score
from sources import opened, source

from pipeline.config import config
from pipeline.evaluation.baselines import write_baseline
from pipeline.evaluation.evaluate import evaluate
from pipeline.evaluation.recipes import BaselineRecipe, EvaluateRecipe
from pipeline.graph.artifacts import Shard
from pipeline.graph.study import Study
from pipeline.raw.decode.image import read_image
from pipeline.report.comparisons import compare_methods
from pipeline.shards.write import build_shard

pytestmark = pytest.mark.slow

CONFIG = """
datasets:
  drive: {{layout: drive, root: {root}/DRIVE, size: [512, 512]}}
  tgs:
    layout: tgs
    root: {root}/TGS
    size: [128, 128]
    shards: 8
    test: {{rule: permutation, fraction: 0.15, seed: 42}}
experiments: {{}}
"""


@pytest.fixture(scope="module")
def built(real_data, tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("real"))
    project.config.write_text(CONFIG.format(root=json.dumps(str(real_data))[1:-1]))
    project.snakemake("shards", "metrics")
    return project


def test_every_real_sample_is_in_a_shard(built):
    found = {}
    for path in sorted((built.folder / "results/shards").rglob("*.h5")):
        with h5py.File(path) as file:
            split = (path.parent.name, file.attrs["split"])
            found[split] = found.get(split, 0) + len(file["ids"])
            assert np.isfinite(file["images"][:]).all()
            assert file.attrs["origin"] == "raw files"
            if split[1] != "unlabelled":
                assert set(np.unique(file["masks"][:])) <= {0, 1}
    assert found == {
        ("drive", "train"): 16,
        ("drive", "validation"): 4,
        ("drive", "test"): 20,
        ("tgs", "train"): 2720,
        ("tgs", "validation"): 680,
        ("tgs", "test"): 600,
        ("tgs", "unlabelled"): 60,
    }
    for log in (built.folder / "results/logs/shard").rglob("*.log"):
        assert "arning" not in log.read_text(), log


def test_check_reports_known_oddities_and_no_error(built):
    built.snakemake("check")
    drive, tgs = (json.loads((built.folder / f"results/check/{name}.json").read_text()) for name in ("drive", "tgs"))
    assert (drive["pairs"], drive["errors"], drive["warnings"]) == (40, 0, 0)
    assert (tgs["pairs"], tgs["errors"], tgs["warnings"]) == (4000, 0, 1)
    assert tgs["facts"]["empty_masks"] == 1562
    assert tgs["facts"]["blank_images"] == 80
    assert tgs["facts"]["mask_types"] == {"PNG 16-bit": 2438, "PNG 8-bit": 1562}
    assert tgs["leak"] == 0
    (warning,) = tgs["findings"]
    assert warning["kind"] == "blank"
    assert "all identical" in warning["found"]


def test_second_observer_has_the_published_scores(built):
    summary = pd.read_csv(built.folder / "results/metrics/drive.second-observer/summary.csv")
    macro = summary[summary["averaging"] == "macro"].set_index("region").round(4)
    assert macro.loc["fov", ["f1", "recall", "specificity", "accuracy"]].tolist() == [0.7881, 0.7760, 0.9725, 0.9473]
    assert macro.loc["full", ["f1", "recall", "specificity", "accuracy"]].tolist() == [0.7879, 0.7757, 0.9819, 0.9637]
    assert (macro["images"] == 20).all()
    assert macro.loc["fov", "f1_sd"] == 0.0206
    images = pd.read_csv(built.folder / "results/metrics/drive.second-observer/per_image.csv")
    inside = images[images["region"] == "fov"]["f1"]
    assert len(inside) == 20
    assert (round(inside.std(ddof=1), 4), round(inside.std(ddof=0), 4)) == (0.0206, 0.0200)


def test_second_observer_beats_an_empty_prediction(built, tmp_path):
    intervals = pd.read_csv(built.folder / "results/metrics/drive.second-observer/intervals.csv")
    of_fov = intervals.query("region == 'fov' and averaging == 'macro'").set_index("metric")
    assert set(of_fov["images"]) == {20}
    f1 = of_fov.loc["f1"]
    # by t: 0.7881 -+ 2.093 * 0.0206 / sqrt(20)
    assert (f1["low"], f1["high"]) == pytest.approx((0.7785, 0.7977), abs=0.0015)
    assert f1["estimate"] == pytest.approx(0.7881, abs=5e-5)
    assert pd.read_csv(built.folder / "results/comparisons.csv").empty  # only pairs of baselines
    metrics = built.folder / "results/metrics"
    tables = [metrics / f"drive.{name}/per_image.csv" for name in ("all-background", "second-observer")]
    (tmp_path / "observer.csv").write_text(tables[1].read_text().replace("drive.second-observer", "observer"))
    compare_methods(per_image=[tables[0], tmp_path / "observer.csv"], output=tmp_path / "comparisons.csv")
    pairs = pd.read_csv(tmp_path / "comparisons.csv").query("region == 'fov' and metric == 'f1'")
    (row,) = pairs.to_dict("records")
    assert (row["images"], row["p"], row["comparisons"]) == (20, 2e-6, 1)  # worse on every one of 20 images
    assert -row["high"] == pytest.approx(f1["low"], abs=2e-6)


@pytest.mark.parametrize(
    ("size", "method", "ceiling"),
    [
        *[(256, "nearest", 0.8321), (512, "nearest", 0.9518), (592, "nearest", 0.9816)],
        *[(256, "area", 0.8424), (512, "area", 0.9521), (592, "area", 0.9816)],
    ],
)
def test_resolution_ceiling_of_drive(real_data, tmp_path, size, method, ceiling):
    given = {"dataset": "drive", "source": source("drive", real_data / "DRIVE", test="official")}
    baseline = BaselineRecipe(**given, split="test", kind="resolution-ceiling", size=(size, size), mask_resize=method)
    write_baseline(baseline, output=tmp_path / "p")
    recipe = EvaluateRecipe(**given, empty_masks="one")
    evaluate(recipe, experiment="c", predictions={"test": tmp_path / "p"}, threshold=0.5, output=tmp_path)
    summary = pd.read_csv(tmp_path / "summary.csv").set_index(["region", "averaging"])
    assert summary.loc[("fov", "macro"), "f1"] == pytest.approx(ceiling, abs=0.0002)
    assert summary.loc[("fov", "macro"), "images"] == 20


def test_resolution_ceiling_depends_on_the_interpolation(real_data):
    """Masks are resized to the shard size by the nearest pixel; published values differ in the way back."""

    def smoothly(mask, size):
        resized = Image.fromarray(mask * np.uint8(255)).resize(size, Image.Resampling.BILINEAR)  # antialiased
        return np.asarray(resized) > 127

    def nearest(mask, size):
        return cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST_EXACT) == 1

    raw = opened("drive", "drive", real_data / "DRIVE", test="official")
    found = {}
    for name, back in (("smoothly", smoothly), ("nearest", nearest)):
        for size in (256, 512, 592):
            scores = []
            for sample in raw.splits["test"]:
                mask, inside = raw.read_foreground(sample), raw.read_fov(sample) == 1
                small = cv2.resize(mask, (size, size), interpolation=cv2.INTER_NEAREST_EXACT)
                scores.append(f1_score((mask == 1)[inside], back(small, mask.shape[::-1])[inside]))
            found[name, size] = round(float(np.mean(scores)), 3)
    assert [found["smoothly", size] for size in (256, 512, 592)] == pytest.approx([0.832, 0.952, 0.980], abs=0.001)
    assert [found["nearest", size] for size in (256, 512, 592)] == pytest.approx([0.811, 0.957, 1.0], abs=0.001)


def test_leaderboard_of_baselines_has_no_suspicions(built):
    built.snakemake()
    board = pd.read_csv(built.folder / "results/leaderboard.csv", keep_default_na=False)
    rows = board[(board["averaging"] == "macro") & (board["region"] == "fov") & (board["split"] == "test")]
    assert rows["experiment"].tolist() == ["drive.resolution-ceiling", "drive.second-observer", "drive.all-background"]
    assert rows["accuracy"].astype(float).round(3).tolist()[2] == 0.873
    assert (board["suspicious"] == "").all()


def test_scores_of_real_images_agree_with_other_libraries(real_data):
    raw = opened("drive", "drive", real_data / "DRIVE", test="official")
    pairs = []
    for sample in raw.splits["test"][:4]:
        image = read_image(sample.image, "rgb")
        mask, inside = raw.read_foreground(sample), raw.read_fov(sample) == 1
        # vessels are darker than their surroundings, especially in green: a simple prediction for any threshold
        green = image[..., 1].astype(np.float32)
        guess = cv2.GaussianBlur(green, (0, 0), 12) - cv2.GaussianBlur(green, (0, 0), 1)
        levels = cv2.normalize(guess, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
        pairs.append((levels, mask))
        for region in (None, inside):
            cut = int(np.percentile(levels, 85))
            compare_counts(levels, mask, region, cut)
            compare_areas(levels, mask, region)
            compare_curve(levels, mask, region)
            compare_contours(levels > cut, mask == 1, region)
            compare_contours(raw.read_observer(sample) == 1, mask == 1, region)
    compare_saliency(pairs)


def test_vessels_cover_the_known_share_of_pixels(built, real_data):
    raw = opened("drive", "drive", real_data / "DRIVE", test="official")
    samples = [*raw.splits["train"], *raw.splits["test"]]
    masks = np.stack([raw.read_truth(sample) for sample in samples])
    fovs = np.stack([raw.read_fov(sample) for sample in samples])
    assert masks.mean() == pytest.approx(0.086, abs=0.001)
    assert masks[fovs == 1].mean() == pytest.approx(0.1263, abs=0.0002)


def test_run_length_codes_and_png_masks_agree(real_data):
    files = opened("tgs", "tgs", real_data / "TGS")
    codes = opened("tgs", "tgs", real_data / "TGS", {"masks": "csv"})
    empty = 0
    for a, b in zip(files.splits["train"], codes.splits["train"], strict=True):
        assert a.id == b.id
        mask = files.read_truth(a)
        np.testing.assert_array_equal(mask, codes.read_truth(b), err_msg=a.id)
        empty += not mask.any()
    assert len(files.splits["train"]) == 4000
    assert empty == 1562


def test_tutorial_split_is_the_first_600_of_the_permutation(built, real_data):
    table = pd.read_csv(built.folder / "results/splits/tgs.csv", dtype=str)
    names = sorted(path.stem for path in (real_data / "TGS/train/images").iterdir())
    order = np.random.RandomState(42).permutation(4000)
    assert set(table[table["split"] == "test"]["id"]) == {names[index] for index in order[:600]}


def test_four_real_duts_pairs_become_a_shard(real_data, tmp_path):
    parsed = config.parse(
        {"datasets": {"duts": {"layout": "duts", "root": str(real_data / "DUTS"), "size": [320, 320]}}}
    )
    study = Study(parsed)
    raw = study.raw("duts")
    samples = raw.splits["train"]
    assert [sample.id for sample in samples] == [
        "ILSVRC2012_test_00004908",
        "ILSVRC2013_test_00008420",
        "n03188531_21621",
        "n04371430_146",
    ]
    masks = [raw.read_truth(sample) for sample in samples]
    assert sum(len(np.unique(mask)) > 200 for mask in masks) == 3  # the others are soft-edged
    path = tmp_path / "train-0.h5"
    build_shard(Shard("duts", "train", 0).recipe(study), number=0, output=path)
    with h5py.File(path) as file:
        assert file["images"].shape == (4, 3, 320, 320)
        assert np.isfinite(file["images"][:]).all()
        for stored, mask in zip(file["masks"][:, 0], masks, strict=True):
            assert stored.mean() == pytest.approx(mask.mean(), abs=1)
        assert file.attrs["mask_kind"] == "soft"


def test_four_real_duts_pairs_train_u2net_lite(real_data, tmp_path):
    project = Project(tmp_path)
    project.config.write_text(
        f"""
datasets:
  duts:
    layout: duts
    root: {json.dumps(str(real_data / "DUTS"))}
    size: [96, 96]
    test: {{rule: fraction, fraction: 0.25}}
    validation: {{fraction: 0.34}}
experiments:
  lite:
    {{dataset: duts, model: u2net-lite, loss: bce, optimizer: {{name: adamw, lr: 1e-3}}, crop: [64, 64],
     augment: {{flip: horizontal}}, batch_size: 2, repeats: 4, epochs: 6, monitor: val_max_f, threshold: 0.5}}
"""
    )
    project.snakemake()
    summary = pd.read_csv(tmp_path / "results/metrics/lite/summary.csv")
    assert set(summary["mask_binarization"]) == {"soft mask > 127"}
    assert set(summary["images"]) == {1}
    assert summary["max_f03_of_mean_pr"].between(0.05, 1).all()
    history = pd.read_csv(tmp_path / "results/models/lite/history.csv")
    assert history["train_loss"].iloc[-1] < history["train_loss"].iloc[0]
    test = summary[summary["split"] == "test"].iloc[0]
    table = pd.read_csv(tmp_path / "results/splits/duts.csv")
    (name,) = table[table["split"] == "test"]["id"]
    assert (tmp_path / f"results/predictions/lite/test/overlay/{name}.png").is_file()
    assert test["scale"] == "native"
