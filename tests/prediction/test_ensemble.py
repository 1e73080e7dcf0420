"""Ensembles: the mean of the predictions of several networks."""

import numpy as np
import pytest

from pipeline.core.errors import PredictionError, RawDataError
from pipeline.images.png import read_grey, read_probability, write_png
from pipeline.prediction.ensemble import average_predictions, mean_levels
from pipeline.prediction.recipes import EnsembleRecipe
from pipeline.raw.splits.fold_table import write_fold_table

RUNS = {"a-seed1": {"seed": 1}, "a-seed2": {"seed": 2}, "a-seed3": {"seed": 3}}
FOLDED = {
    f"a-fold{fold}-seed{seed}": {"seed": seed, "fold": {"folds": 2, "fold": fold}}
    for fold in range(2)
    for seed in range(3)
}
CLASSES = ["background", "red/green", "blue"]


def write_random(folder, names, seed, shape=(9, 7)):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    planes = {name: rng.integers(0, 256, shape, dtype=np.uint8) for name in names}
    for name, plane in planes.items():
        write_png(folder / f"{name}.png", plane)
    return planes


def average(tmp_path, runs, output="out", split="test", kind="probability", classes=None, **more):
    settings = {"dataset": "d", "split": split, "kind": kind, "runs": runs, "classes": classes}
    predictions = [tmp_path / run for run in sorted(runs)]
    recipe = EnsembleRecipe.model_validate(settings)
    average_predictions(recipe, experiment="a", predictions=predictions, output=tmp_path / output, **more)


def images(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.png"))


@pytest.mark.parametrize("threads", [1, 3])
def test_mean_is_rounded_mean_of_levels(tmp_path, threads):
    planes = [write_random(tmp_path / run, "xyz", seed) for seed, run in enumerate(RUNS)]
    average(tmp_path, RUNS, threads=threads)
    assert images(tmp_path / "out") == ["x.png", "y.png", "z.png"]
    for name in "xyz":
        mean = np.mean([run[name] for run in planes], axis=0)
        averaged = read_grey(tmp_path / "out" / f"{name}.png")
        np.testing.assert_array_equal(averaged, np.rint(mean))
        # each level and their mean are rounded: within 1/255 of the mean of the networks' probabilities
        assert np.abs(averaged / 255 - mean / 255).max() <= 1 / 510 + 1e-12


def test_mean_of_16_bits_has_16_bits_and_runs_of_other_bits_are_refused(tmp_path):
    rng = np.random.default_rng(0)
    planes = []
    for run in RUNS:
        (tmp_path / run).mkdir()
        planes.append(rng.integers(0, 65536, (9, 7), dtype=np.uint16))
        write_png(tmp_path / run / "x.png", planes[-1])
    average(tmp_path, RUNS)
    averaged = read_probability(tmp_path / "out/x.png", 9, 7)
    assert averaged.dtype == np.uint16
    np.testing.assert_array_equal(averaged, np.ceil(np.mean(planes, axis=0) - 0.5))
    write_png(tmp_path / "a-seed2/x.png", planes[0].astype(np.uint8))
    with pytest.raises(PredictionError, match=r"8 bits[\s\S]*16 bits"):
        average(tmp_path, RUNS, output="other")
    assert not (tmp_path / "other").exists()


def test_halves_are_rounded_to_the_lower_level():
    assert mean_levels(np.array([1, 3, 5, 510], dtype=np.uint32), 2).tolist() == [0, 1, 2, 255]


def test_masks_of_0_and_1_are_no_predictions(tmp_path):
    for seed, run in enumerate(RUNS):
        write_random(tmp_path / run, "xy", seed)
    for name in "xy":
        write_png(tmp_path / "a-seed2" / f"{name}.png", np.eye(9, 7, dtype=np.uint8))
    with pytest.raises(PredictionError, match=r"a-seed2[\s\S]*save as 0 and 255"):
        average(tmp_path, RUNS)


def test_many_networks_do_not_overflow(tmp_path):
    runs = {f"a-seed{seed}": {"seed": seed} for seed in range(300)}
    white = np.full((2, 2), 255, dtype=np.uint8)
    for run in runs:
        (tmp_path / run).mkdir()
        write_png(tmp_path / run / "x.png", white)
    average(tmp_path, runs)
    assert (read_grey(tmp_path / "out/x.png") == 255).all()


def test_out_of_fold_mean_uses_networks_not_trained_on_sample(tmp_path):
    members = {"x": 0, "y": 1, "z": 0}
    write_fold_table(tmp_path / "2.json", members, folds=2)
    planes = {
        run: write_random(
            tmp_path / run, [name for name, fold in members.items() if fold == options["fold"]["fold"]], seed
        )
        for seed, (run, options) in enumerate(FOLDED.items())
    }
    average(tmp_path, FOLDED, split="out-of-fold", folds=tmp_path / "2.json")
    assert images(tmp_path / "out") == ["x.png", "y.png", "z.png"]  # each of them, once
    for name, fold in members.items():
        expected = [planes[run][name] for run, options in FOLDED.items() if options["fold"]["fold"] == fold]
        assert len(expected) == 3
        np.testing.assert_array_equal(read_grey(tmp_path / "out" / f"{name}.png"), np.rint(np.mean(expected, axis=0)))


def test_several_classes_give_class_means_or_argmax_mask(tmp_path):
    folders = ["background", "red-green", "blue"]
    planes = [
        {name: write_random(tmp_path / run / name, "xy", 10 * seed + k) for k, name in enumerate(folders)}
        for seed, run in enumerate(RUNS)
    ]
    average(tmp_path, RUNS, classes=CLASSES)
    average(tmp_path, RUNS, classes=CLASSES, kind="mask", output="mask")
    assert images(tmp_path / "mask") == ["x.png", "y.png"]
    for name in "xy":
        means = np.array([np.mean([run[folder][name] for run in planes], axis=0) for folder in folders])
        for class_folder, mean in zip(folders, means, strict=True):
            np.testing.assert_array_equal(read_grey(tmp_path / "out" / class_folder / f"{name}.png"), np.rint(mean))
        np.testing.assert_array_equal(read_grey(tmp_path / "mask" / f"{name}.png"), means.argmax(axis=0))


def test_argmax_tie_selects_first_class(tmp_path):
    for run in RUNS:
        for class_folder in ("background", "red-green", "blue"):
            write_random(tmp_path / run / class_folder, "x", 5)
    average(tmp_path, RUNS, classes=CLASSES, kind="mask")
    assert not read_grey(tmp_path / "out/x.png").any()


def test_runs_with_different_images_are_listed_nothing_written(tmp_path):
    write_random(tmp_path / "a-seed1", "xyz", 1)
    write_random(tmp_path / "a-seed2", "xw", 2)
    with pytest.raises(PredictionError) as error:
        average(tmp_path, RUNS)
    text = str(error.value)
    assert "3 problems" in text
    assert "a-seed2\n    found:    no image of y, z" in text
    assert "a-seed2\n    found:    unexpected images: w" in text
    assert "a-seed3\n    found:    no image of x, y, z" in text
    assert not (tmp_path / "out").exists()


def test_empty_folders_are_refused(tmp_path):
    with pytest.raises(PredictionError, match=r"a-seed1\n *found: *no images"):
        average(tmp_path, RUNS)


def test_fold_without_predictions_is_refused(tmp_path):
    write_fold_table(tmp_path / "2.json", {"x": 0, "y": 1}, folds=2)
    runs = {run: options for run, options in FOLDED.items() if options["fold"]["fold"] == 0}
    for run in runs:
        write_random(tmp_path / run, "x", 1)
    with pytest.raises(PredictionError, match="1 sample that no run predicts: y"):
        average(tmp_path, runs, split="out-of-fold", folds=tmp_path / "2.json")
    thirds = {"a-fold0": {"seed": 0, "fold": {"folds": 3, "fold": 0}}}
    with pytest.raises(RawDataError, match="a table of 3 folds"):
        average(tmp_path, thirds, split="validation", folds=tmp_path / "2.json")


def test_every_unusable_image_is_listed(tmp_path):
    for seed, run in enumerate(RUNS):
        write_random(tmp_path / run, "xyz", seed)
    write_random(tmp_path / "a-seed2", "x", 1, shape=(9, 8))
    (tmp_path / "a-seed3/y.png").write_bytes(b"no image")
    write_png(tmp_path / "a-seed1/z.png", np.zeros((9, 7, 3), dtype=np.uint8))
    with pytest.raises(PredictionError) as error:
        average(tmp_path, RUNS, threads=2)
    text = str(error.value)
    assert "x.png\n    found:    a size of (9, 8)" in text
    assert "y.png\n    found:    a damaged file" in text
    assert "z.png\n    found:    uint8 pixels of shape (9, 7, 3)" in text
    assert not (tmp_path / "out").exists()
