"""The mean of what several networks predict."""

import numpy as np
import pytest

from pipeline.core.errors import PredictionError, RawDataError
from pipeline.images.png import read_grey, write_png
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


def draw(folder, names, seed, shape=(9, 7)):
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
def test_a_mean_is_that_of_the_levels_rounded(tmp_path, threads):
    planes = [draw(tmp_path / run, "xyz", seed) for seed, run in enumerate(RUNS)]
    average(tmp_path, RUNS, threads=threads)
    assert images(tmp_path / "out") == ["x.png", "y.png", "z.png"]
    for name in "xyz":
        mean = np.mean([run[name] for run in planes], axis=0)
        found = read_grey(tmp_path / "out" / f"{name}.png")
        np.testing.assert_array_equal(found, np.rint(mean))
        # rounded three times and once more: within 1/255 of the mean of what the networks said
        assert np.abs(found / 255 - mean / 255).max() <= 1 / 510 + 1e-12


def test_halves_go_to_the_even_level():
    assert mean_levels(np.array([1, 3, 5, 510], dtype=np.uint32), 2).tolist() == [0, 2, 2, 255]


def test_many_networks_do_not_overflow(tmp_path):
    runs = {f"a-seed{seed}": {"seed": seed} for seed in range(300)}
    white = np.full((2, 2), 255, dtype=np.uint8)
    for run in runs:
        (tmp_path / run).mkdir()
        write_png(tmp_path / run / "x.png", white)
    average(tmp_path, runs)
    assert (read_grey(tmp_path / "out/x.png") == 255).all()


def test_out_of_fold_a_sample_is_the_mean_of_the_networks_that_have_not_seen_it(tmp_path):
    members = {"x": 0, "y": 1, "z": 0}
    write_fold_table(tmp_path / "2.json", members, folds=2)
    planes = {
        run: draw(tmp_path / run, [name for name, fold in members.items() if fold == said["fold"]["fold"]], seed)
        for seed, (run, said) in enumerate(FOLDED.items())
    }
    average(tmp_path, FOLDED, split="out-of-fold", folds=tmp_path / "2.json")
    assert images(tmp_path / "out") == ["x.png", "y.png", "z.png"]  # each of them, once
    for name, fold in members.items():
        unseen = [planes[run][name] for run, said in FOLDED.items() if said["fold"]["fold"] == fold]
        assert len(unseen) == 3
        np.testing.assert_array_equal(read_grey(tmp_path / "out" / f"{name}.png"), np.rint(np.mean(unseen, axis=0)))


def test_of_several_classes_the_mean_of_each_and_the_likeliest_of_them(tmp_path):
    folders = ["background", "red-green", "blue"]
    planes = [
        {title: draw(tmp_path / run / title, "xy", 10 * seed + k) for k, title in enumerate(folders)}
        for seed, run in enumerate(RUNS)
    ]
    average(tmp_path, RUNS, classes=CLASSES)
    average(tmp_path, RUNS, classes=CLASSES, kind="mask", output="mask")
    assert images(tmp_path / "mask") == ["x.png", "y.png"]
    for name in "xy":
        means = np.array([np.mean([run[title][name] for run in planes], axis=0) for title in folders])
        for title, mean in zip(folders, means, strict=True):
            np.testing.assert_array_equal(read_grey(tmp_path / "out" / title / f"{name}.png"), np.rint(mean))
        np.testing.assert_array_equal(read_grey(tmp_path / "mask" / f"{name}.png"), means.argmax(axis=0))


def test_of_equally_likely_classes_the_first_is_taken(tmp_path):
    for run in RUNS:
        for title in ("background", "red-green", "blue"):
            draw(tmp_path / run / title, "x", 5)
    average(tmp_path, RUNS, classes=CLASSES, kind="mask")
    assert not read_grey(tmp_path / "out/x.png").any()


def test_runs_that_do_not_agree_are_all_named_and_nothing_is_written(tmp_path):
    draw(tmp_path / "a-seed1", "xyz", 1)
    draw(tmp_path / "a-seed2", "xw", 2)
    with pytest.raises(PredictionError) as error:
        average(tmp_path, RUNS)
    text = str(error.value)
    assert "3 problems" in text
    assert "a-seed2\n    found:    no image of y, z" in text
    assert "a-seed2\n    found:    images that do not belong there: w" in text
    assert "a-seed3\n    found:    no image of x, y, z" in text
    assert not (tmp_path / "out").exists()


def test_nothing_to_average_is_refused(tmp_path):
    with pytest.raises(PredictionError, match=r"a-seed1\n *found: *no images"):
        average(tmp_path, RUNS)


def test_a_fold_that_was_not_predicted_is_refused(tmp_path):
    write_fold_table(tmp_path / "2.json", {"x": 0, "y": 1}, folds=2)
    runs = {run: said for run, said in FOLDED.items() if said["fold"]["fold"] == 0}
    for run in runs:
        draw(tmp_path / run, "x", 1)
    with pytest.raises(PredictionError, match="1 samples that no run predicts: y"):
        average(tmp_path, runs, split="out-of-fold", folds=tmp_path / "2.json")
    thirds = {"a-fold0": {"seed": 0, "fold": {"folds": 3, "fold": 0}}}
    with pytest.raises(RawDataError, match="a table of 3 folds"):
        average(tmp_path, thirds, split="validation", folds=tmp_path / "2.json")


def test_every_image_that_cannot_be_used_is_named(tmp_path):
    for seed, run in enumerate(RUNS):
        draw(tmp_path / run, "xyz", seed)
    draw(tmp_path / "a-seed2", "x", 1, shape=(9, 8))
    (tmp_path / "a-seed3/y.png").write_bytes(b"no image")
    write_png(tmp_path / "a-seed1/z.png", np.zeros((9, 7, 3), dtype=np.uint8))
    with pytest.raises(PredictionError) as error:
        average(tmp_path, RUNS, threads=2)
    text = str(error.value)
    assert "x.png\n    found:    a size of (9, 8)" in text
    assert "y.png\n    found:    a damaged file" in text
    assert "z.png\n    found:    uint8 pixels of shape (9, 7, 3)" in text
    assert not (tmp_path / "out").exists()
