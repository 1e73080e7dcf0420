"""Several seeds of one experiment, run by real Snakemake."""

import numpy as np
import pandas as pd
import pytest
import yaml
from projects import CONFIG, Project
from rawfiles import make_drive

pytestmark = pytest.mark.slow

DATA = yaml.safe_load(CONFIG)
ONE = {**DATA["experiments"]["a"], "epochs": 1}

KEYS = ["split", "region", "class", "averaging"]
SCORES = ["mae", "roc_auc", "max_f03_of_mean_pr", "f1", "iou", "precision", "recall"]


def write_config(project, **experiments):
    project.config.write_text(yaml.safe_dump({"datasets": {"d": DATA["datasets"]["d"]}, "experiments": experiments}))


@pytest.fixture(scope="module")
def seeded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seeds")
    make_drive(folder / "raw" / "DRIVE", training=6)
    project = Project(folder)
    write_config(project, a={**ONE, "seeds": [1, 2]})
    project.snakemake()
    return project


def board_of(project):
    return pd.read_csv(project.folder / "results/leaderboard.csv", dtype={"threshold": str})


def expected(project, seeds):
    tables = [pd.read_csv(project.folder / f"results/metrics/a-seed{seed}/summary.csv") for seed in seeds]
    assert all(table[KEYS].equals(tables[0][KEYS]) for table in tables)
    values = np.stack([table[SCORES].to_numpy(float) for table in tables])
    mean = values.sum(axis=0) / len(seeds)
    return tables[0][KEYS], mean, np.sqrt(((values - mean) ** 2).sum(axis=0) / (len(seeds) - 1))


def check_board(project, seeds):
    board = board_of(project)
    runs = board[(board["statistic"] == "run") & ~board["experiment"].str.contains(".", regex=False)]
    assert set(runs["experiment"]) == {f"a-seed{seed}" for seed in seeds}
    assert set(runs["runs"]) == {1}
    assert set(board.loc[board["experiment"] == "a", "statistic"]) == {"mean", "std"}
    assert set(board.loc[board["experiment"] == "a", "runs"]) == {len(seeds)}
    rows, mean, std = expected(project, seeds)
    assert std.max() > 0
    for statistic, values in (("mean", mean), ("std", std)):
        found = board[(board["experiment"] == "a") & (board["statistic"] == statistic)].set_index(KEYS)
        assert len(found) == len(rows)
        np.testing.assert_allclose(found.loc[list(map(tuple, rows.to_numpy())), SCORES], values, atol=1.01e-6)


def test_added_seed_trains_alone_and_updates_the_average(seeded):
    assert {f"results/models/a-seed{seed}/best.pt" for seed in (1, 2)} <= seeded.files()
    weights = [(seeded.folder / f"results/models/a-seed{seed}/best.pt").read_bytes() for seed in (1, 2)]
    assert weights[0] != weights[1]
    check_board(seeded, (1, 2))
    assert seeded.planned() == {}

    write_config(seeded, a={**ONE, "seeds": [1, 2, 3]})
    assert seeded.planned("models_a")["train"] == 1
    assert seeded.planned("models_a-seed1") == {}
    planned = seeded.planned()
    assert (planned["train"], planned["average"], planned["leaderboard"]) == (1, 1, 1)
    assert (planned["ensemble"], planned["evaluate"]) == (2, 2)  # of both splits; of the run and of the ensemble
    assert "shard" not in planned
    times = {seed: (seeded.folder / f"results/models/a-seed{seed}/best.pt").stat().st_mtime_ns for seed in (1, 2)}
    seeded.snakemake()
    for seed, time in times.items():
        assert (seeded.folder / f"results/models/a-seed{seed}/best.pt").stat().st_mtime_ns == time
    check_board(seeded, (1, 2, 3))

    write_config(seeded, a={**ONE, "seeds": [3, 1, 2]})  # the same networks
    assert set(seeded.planned()) <= {"average", "comparisons", "leaderboard", "report"}


def test_clashing_seeds_stop_the_workflow_early(tmp_path):
    project = Project(tmp_path)
    write_config(project, **{"a": {**ONE, "seeds": [1, 2]}, "a-seed1": ONE})
    assert project.snakemake("-n", check=False) != 0
    assert "'a-seed1', which is also the name of experiment 'a-seed1'" in project.output
