"""The small file that a running training writes for the terminal."""

import json
import math
import shutil

import pytest

from pipeline.training import progress_file
from pipeline.training.progress_file import NAME, ProgressFile


@pytest.fixture
def clock(monkeypatch):
    times = {"now": 100.0}
    monkeypatch.setattr(progress_file.time, "monotonic", lambda: times["now"])
    return times


def contents(folder):
    return json.loads((folder / NAME).read_text())


def test_progress_states_position_losses_and_time_left(tmp_path, clock):
    file = ProgressFile(tmp_path / "a/key", epochs=4, steps=10, monitor="val_dice")
    file.update(2, 0, lambda: math.nan, {"epoch": 1, "train_loss": 0.5, "val_dice": math.nan})
    first = contents(tmp_path / "a/key")
    assert (first["loss"], first["seconds_left"], first["scores"]) == (None, None, {"epoch": 1, "train_loss": 0.5})
    clock["now"] += 30
    file.update(2, 5, lambda: 0.25, {"epoch": 1, "val_dice": 0.75})
    # from a resumed quarter to 3/8 in 30 s: 5/8 are left
    assert contents(tmp_path / "a/key") == {
        **{"epoch": 2, "epochs": 4, "step": 5, "steps": 10, "done": 0.375, "seconds_left": 150.0, "loss": 0.25},
        **{"monitor": "val_dice", "scores": {"epoch": 1, "val_dice": 0.75}},
    }


def test_progress_is_written_at_most_once_a_second(tmp_path, clock):
    losses = []
    file = ProgressFile(tmp_path, epochs=1, steps=1000, monitor="val_loss")
    for step in range(1000):
        clock["now"] += 0.01
        file.update(1, step, lambda: losses.append(1) or 1.0, None)
    assert 9 <= len(losses) <= 11  # nor does anything wait for the device more often


def test_progress_file_is_gone_after_the_training(tmp_path):
    folder = tmp_path / "state"
    with ProgressFile(folder, 1, 1, "val_loss") as file:
        file.update(1, 0, lambda: 1.0, None)
        assert [path.name for path in folder.iterdir()] == [NAME]
    assert not folder.exists()


@pytest.mark.parametrize("state", ["removed", "a file", "none"])
def test_training_survives_without_the_progress_file(tmp_path, clock, state):
    folder = tmp_path / "state"
    with ProgressFile(None if state == "none" else folder, 1, 2, "val_loss") as file:
        file.update(1, 0, lambda: 1.0, None)
        shutil.rmtree(folder, ignore_errors=True)
        if state == "a file":
            folder.write_text("mine")
        clock["now"] += 5
        file.update(1, 1, lambda: 1.0, None)
    assert folder.is_file() == (state == "a file")
    assert not folder.is_dir()
