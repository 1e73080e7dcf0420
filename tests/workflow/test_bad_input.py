import re

import numpy as np
import pytest
from projects import ROOT
from rawfiles import write_gif


def refuse(project, *words):
    """Run Snakemake, which must fail; return its output."""
    assert project.snakemake(*words, check=False) != 0
    assert "remedy:" in project.output, project.output
    return project.output


def shards_of(project, dataset):
    return [name for name in project.files() if name.startswith(f"results/shards/{dataset}/") and name.endswith(".h5")]


def test_bad_files_are_all_reported_and_other_jobs_run(fresh):
    training = fresh.folder / "raw/DRIVE/training"
    image = training / "images/22_training.tif"
    image.write_bytes(image.read_bytes()[:-3000])
    write_gif(training / "1st_manual/24_manual1.gif", np.zeros((71, 60), np.uint8))
    write_gif(training / "1st_manual/25_manual1.gif", np.full((70, 60), 128, np.uint8))
    fresh.edit("shards: 3, ", "")
    fresh.edit("{fraction: 0.34}", "{fraction: 0}")
    fresh.edit("threads: 1\n  b-2", "threads: 1\n    threshold: 0.5\n  b-2")
    output = refuse(fresh, "shards", "--keep-going")
    for name in ("22_training.tif", "24_manual1.gif", "25_manual1.gif"):
        assert name in output
    assert "results/shards/d/train-0.h5" not in fresh.files()
    assert "results/shards/d/test-0.h5" in fresh.files()
    assert len(shards_of(fresh, "t")) == 4
    assert not [name for name in fresh.files() if "partial" in name]


def test_raw_data_problems_of_all_data_sets_are_one_message(fresh):
    (fresh.folder / "raw/DRIVE/training/1st_manual/22_manual1.gif").unlink()
    (fresh.folder / "raw/TGS").rename(fresh.folder / "raw/other")
    output = refuse(fresh)
    assert "22_training.tif" in output
    assert "raw/TGS" in output
    assert "python -m pipeline synthetic" in output
    assert not (fresh.folder / "results").exists()


def test_threshold_without_validation_samples_stops_early(fresh):
    fresh.edit("{fraction: 0.34}", "{fraction: 0.01}")
    assert fresh.snakemake("metrics_a", check=False) != 0
    assert "but d has none" in fresh.output
    assert not (fresh.folder / "results").exists()


def test_empty_raw_folder_is_reported(fresh):
    for path in (fresh.folder / "raw/TGS/train/images").iterdir():
        path.unlink()
    assert "no PNG images" in refuse(fresh)


def test_invalid_configuration_lists_every_mistake(fresh):
    fresh.edit("loss: bce", "loss: bse")
    fresh.edit("epochs: 2", "epochs: two")
    output = refuse(fresh)
    assert "experiments.a.loss" in output
    assert "experiments.a.epochs" in output
    assert not (fresh.folder / "results").exists()


@pytest.mark.parametrize("place", ["results/shards", "results/shards/t"])
def test_unwritable_output_is_reported(fresh, place):
    path = fresh.folder / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("in the way")
    assert fresh.snakemake("results/shards/t/test-0.h5", check=False) != 0
    assert place in fresh.output
    assert path.read_text() == "in the way"


def test_failed_training_leaves_no_checkpoint(fresh):
    fresh.edit("loss: mse, optimizer: {name: sgd, lr: 0.01}", "loss: mse, optimizer: {name: sgd, lr: 1e29}")
    fresh.edit("epochs: 1,", "epochs: 9,")
    output = refuse(fresh, "models_b-2")
    assert "lower the learning rate" in output
    assert not [name for name in fresh.files() if name.endswith((".pt", "history.csv"))]


def test_equal_keys_are_refused_although_snakemake_reads_first(fresh):
    fresh.edit("epochs: 2", "epochs: 2\n    epochs: 3")
    output = refuse(fresh, "--dry-run")
    assert re.search(
        r"config\.yaml, line \d+\n +found: +the key 'epochs' a second time; the first is in line \d+", output
    )
    assert "Traceback" not in output


def test_nested_aliases_are_refused_before_snakemake_hangs(fresh):
    lines = ["x0: &x0 {a: 1}", *(f"x{n}: &x{n} {{b: *x{n - 1}, c: *x{n - 1}}}" for n in range(1, 40))]
    (fresh.folder / "more.yaml").write_text("\n".join(lines))
    profile = ("--workflow-profile", str(ROOT / "profiles/default"))
    output = refuse(fresh, "--dry-run", "--configfile", "more.yaml", *profile)
    assert re.search(r"more\.yaml, line \d+", output)
    assert "more than 100000 values" in output
