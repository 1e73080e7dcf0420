"""Several classes in the real workflow, and prediction of new images with a network of several classes."""

import cv2
import numpy as np
import pandas as pd
import pytest
from projects import Project
from rawfiles import make_shapes

from pipeline.cli import main as cli

CONFIG = """
datasets:
  s: {layout: shapes, root: raw/Shapes, size: [48, 48]}
experiments:
  few: &few
    dataset: s
    model: {name: unet, width: 8, depth: 2}
    loss: {name: cross-entropy, border: {w0: 2, sigma: 3}, class_balance: true}
    optimizer: {name: adam, lr: 0.02}
    schedule: {name: plateau, patience: 2}
    crop: [32, 40]
    augment: {flip: both, rotate: 10, elastic: {sigma: 2}, gamma: [0.8, 1.2]}
    batch_size: 2
    repeats: 4
    epochs: 6
    early_stopping: 5
    threads: 1
  kept: {<<: *few, loss: softmax-bce, epochs: 1, keep_probability: true, tiles: {size: [32, 32]}, test_time: rot90}
"""
COLOURS = np.array([(0, 0, 0), (128, 0, 0), (0, 128, 0), (0, 0, 128)])


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("classes"))
    make_shapes(project.folder / "raw/Shapes")
    project.config.write_text(CONFIG)
    project.snakemake()
    return project


def test_multiclass_results_listed_in_the_readme_exist(done):
    files = done.files()
    for split, name in (("test", "900"), ("validation", "800")):
        folder = f"results/predictions/few/{split}"
        assert {f"{folder}/{kind}/{name}.png" for kind in ("mask", "colour", "overlay", "panel")} <= files
        assert {f"{folder}/legend.png", f"{folder}/sheet.png"} <= files
        assert not [path for path in files if path.startswith(f"{folder}/probability")]
        assert f"results/predictions/kept/{split}/probability/triangle/{name}.png" in files
    for name in ("per_image.csv", "summary.csv", "intervals.csv", "confusion.csv", "confusion.png"):
        assert f"results/metrics/few/{name}" in files
    assert "results/models/few/augmented.png" in files
    assert not [path for path in files if "threshold" in path and path.endswith(".json")]
    assert done.planned() == {}


def test_masks_are_indices_and_colours_match_the_tutorial(done):
    folder = done.folder / "results/predictions/few/test"
    mask = cv2.imread(str(folder / "mask/900.png"), cv2.IMREAD_UNCHANGED)
    colour = cv2.imread(str(folder / "colour/900.png"))[:, :, ::-1]
    assert mask.shape == (48, 48)
    np.testing.assert_array_equal(colour, COLOURS[mask])


def test_learned_classes_and_their_report(done):
    summary = pd.read_csv(done.folder / "results/metrics/few/summary.csv").set_index(["split", "averaging", "class"])
    assert summary.loc[("validation", "micro", "square"), "dice"] > 0.7
    assert summary.loc[("validation", "micro", "circle"), "dice"] > 0.5
    board = pd.read_csv(done.folder / "results/leaderboard.csv")
    assert set(board["experiment"]) == {"few", "kept"}
    assert set(board["class"]) >= {"mean", "circle", "triangle", "square"}


def test_snakemake_report_contains_the_confusion_matrix(done):
    shown = done.reported()
    kinds = {figure["labels"]["figure"] for figure in shown.values() if figure["category"] == "Scores"}
    assert kinds == {"scores", "confusion matrix", "paired comparisons", "leaderboard"}
    sheet = next(figure for name, figure in shown.items() if name.endswith("/test/sheet.png"))
    assert "legend below" in sheet["caption"]


def test_test_time_augmentation_retrains_nothing(done, tmp_path):
    import shutil

    project = Project(shutil.copytree(done.folder, tmp_path / "project", copy_function=shutil.copy2))
    project.edit("test_time: rot90", "test_time: flips")
    planned = project.planned()
    assert "train" not in planned
    assert planned["predict_classes"] == 2
    assert planned["predict"] == 2


def test_network_predicts_new_images(done, tmp_path, capfd):
    new = tmp_path / "new images"
    new.mkdir()
    for name, size in (("a (1).png", (80, 60)), ("b.jpg", (48, 48))):
        image = cv2.imread(str(done.folder / "raw/Shapes/test_imgs/900.jpg"))
        cv2.imwrite(str(new / name), cv2.resize(image, size))
    checkpoint = done.folder / "results/models/few/best.pt"
    out = tmp_path / "out"
    status = cli.main(["predict", "--checkpoint", str(checkpoint), "--input", str(new), "--output", str(out)])
    assert status == 0, capfd.readouterr().err
    assert cv2.imread(str(out / "mask/a (1).png"), cv2.IMREAD_UNCHANGED).shape == (60, 80)
    assert cv2.imread(str(out / "cutout/b.png"), cv2.IMREAD_UNCHANGED).shape == (48, 48, 4)
    assert (pd.read_csv(out / "timing.csv")["network_seconds"] > 0).all()
