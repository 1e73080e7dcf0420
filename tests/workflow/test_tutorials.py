"""The experiments of the five tutorials on synthetic data, with reduced settings: each learns."""

import shutil

import pandas as pd
import pytest
from projects import ROOT, Project

from pipeline.raw.synthetic.datasets import write_datasets

pytestmark = [pytest.mark.slow, pytest.mark.alone]

FLOORS = {
    "a-drive": ("f1", 0.75),
    "b-shapes": ("dice", 0.90),
    "b-shapes-as-published": ("dice", 0.90),
    "b-shapes-original": ("dice", 0.90),
    "c-grey": ("f1", 0.70),
    "d-u2net-lite": ("max_f03_of_mean_pr", 0.80),
    "d-u2net": ("max_f03_of_mean_pr", 0.80),
    "e-tgs": ("f1", 0.70),
}
"""Score and minimum on validation and test samples, by experiment: F1 and Dice over all pixels; maxF has beta² 0.3."""


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("tutorials"))
    write_datasets(project.folder / "data/synthetic")
    shutil.copy(ROOT / "config/tutorials-quick.yaml", project.config)
    project.snakemake(timeout=1700)
    return project


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", FLOORS)
def test_each_tutorial_system_learns(done, name):
    history = pd.read_csv(done.folder / f"results/models/{name}/history.csv")
    assert history["train_loss"].iloc[-1] < 0.7 * history["train_loss"].iloc[0]
    score, floor = FLOORS[name]
    board = pd.read_csv(done.folder / "results/leaderboard.csv")
    rows = board[(board["experiment"] == name) & (board["averaging"] == "micro")]
    region = "fov" if "fov" in set(rows["region"]) else "full"
    rows = rows[rows["region"] == region]
    if name.startswith("b-"):
        rows = rows[rows["class"] == "mean"]
    for split in ("validation", "test"):
        assert rows.loc[rows["split"] == split, score].item() >= floor, split


def test_all_tutorial_networks_are_scored(done):
    board = pd.read_csv(done.folder / "results/leaderboard.csv")
    assert set(FLOORS) <= set(board["experiment"])
    assert (board["origin"] == "synthetic").all()
    assert done.planned() == {}
