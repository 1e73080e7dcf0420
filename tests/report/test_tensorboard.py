"""The event file for TensorBoard: read back by TensorBoard, and written during training."""

import math
import sys

import pandas as pd
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pipeline.cli import main as cli
from pipeline.core import paths
from pipeline.core.errors import PipelineError, TrainingError
from pipeline.core.tables import write_table
from pipeline.report.follow import follow
from pipeline.report.tensorboard import TAGS, write_events
from pipeline.training.history import Progress
from pipeline.training.live_history import read_live_history
from pipeline.training.state import save_state

NAME = paths.events("e").name
CONFIG = """
datasets: {d: {layout: drive, root: DRIVE, size: [48, 48]}}
experiments:
  e: {dataset: d, model: unet, loss: bce, optimizer: {name: adam, lr: 0.02}, batch_size: 2, epochs: 1}
"""


def epochs(count):
    """Rows of a history; every other epoch was validated."""
    rows = []
    for epoch in range(1, count + 1):
        scores = {"val_loss": 1.5 / epoch, "val_dice": 1 - 1 / epoch, "val_mae": 0.2 / epoch, "val_max_f": 0.7}
        scores["val_accuracy"] = 1 - 0.2 / epoch
        scores = scores if epoch % 2 else dict.fromkeys(scores, math.nan)
        training = {"train_loss": 1 / epoch, "accuracy": 1 - 0.1 / epoch, "lr": 0.01 * 0.5**epoch}
        rows.append({"epoch": epoch, **training, **scores})
    return rows


@pytest.fixture
def history(tmp_path):
    path = tmp_path / "history.csv"
    write_table(path, pd.DataFrame(epochs(5)))
    return path


def read_back(folder):
    log = EventAccumulator(str(folder))
    log.Reload()
    return {tag: [(event.step, event.value) for event in log.Scalars(tag)] for tag in log.Tags()["scalars"]}


def test_tensorboard_reads_all_numbers_of_the_history(tmp_path, history):
    write_events(history=history, output=tmp_path / "log" / NAME)
    events, table = read_back(tmp_path / "log"), pd.read_csv(history)
    assert set(events) == set(TAGS.values())
    for column, tag in TAGS.items():
        measured = table[["epoch", column]].dropna()
        assert [step for step, _ in events[tag]] == measured["epoch"].tolist()
        assert [value for _, value in events[tag]] == pytest.approx(measured[column].tolist(), rel=1e-6)
    assert len(events["validation/dice"]) == 3


def test_events_are_reproducible_and_replace_the_old_file(tmp_path, history):
    output = tmp_path / "log" / NAME
    write_events(history=history, output=output)
    first = output.read_bytes()
    write_events(history=history, output=output)
    assert output.read_bytes() == first
    assert [path.name for path in output.parent.iterdir()] == [NAME]
    write_table(history, pd.DataFrame(epochs(2)))
    write_events(history=history, output=output)
    assert first.startswith(output.read_bytes())
    assert [step for step, _ in read_back(output.parent)["loss/train"]] == [1, 2]


def test_unknown_columns_keep_their_name(tmp_path, history):
    write_table(history, pd.read_csv(history).assign(val_iou=0.5))
    write_events(history=history, output=tmp_path / "log" / NAME)
    assert [value for _, value in read_back(tmp_path / "log")["val_iou"]] == [0.5] * 5


@pytest.mark.parametrize("text", [None, "", "a,b\n1,2\n", "epoch,lr\n1,high\n"])
def test_invalid_histories_are_rejected(tmp_path, text):
    if text is not None:
        (tmp_path / "h.csv").write_text(text)
    with pytest.raises(TrainingError, match=r"h\.csv"):
        write_events(history=tmp_path / "h.csv", output=tmp_path / "log" / NAME)
    assert not (tmp_path / "log" / NAME).exists()


def test_missing_tensorboard_is_reported_with_a_remedy(tmp_path, drive, history, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(CONFIG)
    for name in [name for name in sys.modules if name.split(".")[0] == "tensorboard"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(PipelineError, match=r"\.\[tensorboard\]"):
        write_events(history=history, output=tmp_path / "log" / NAME)
    assert not (tmp_path / "log" / NAME).exists()
    line = f"tensorboard --experiment e --history {history} --output {tmp_path / 'log' / NAME}"
    assert cli.main(line.split()) == 1
    assert "pip install" in capsys.readouterr().err


def save(folder, rows):
    state = {"parts": {"network": {"w": torch.zeros(1000)}}, "progress": Progress(history=rows).state()}
    save_state(folder, state)


def test_reading_a_state_does_not_change_files(tmp_path):
    assert read_live_history(tmp_path / "e") is None
    save(tmp_path / "e/key", epochs(2))
    save(tmp_path / "e/key", epochs(3))
    before = {path: path.read_bytes() for path in (tmp_path / "e/key").iterdir()}
    assert len(before) == 2
    assert [row["epoch"] for row in read_live_history(tmp_path / "e")] == [1, 2, 3]
    assert {path: path.read_bytes() for path in (tmp_path / "e/key").iterdir()} == before
    (tmp_path / "e/key/current.pt").write_bytes(b"torn")
    assert [row["epoch"] for row in read_live_history(tmp_path / "e")] == [1, 2]
    assert (tmp_path / "e/key/current.pt").read_bytes() == b"torn"


def test_missing_state_is_logged_with_the_existing_ones(tmp_path, history, capsys):
    final = history.read_bytes()
    history.unlink()
    save(tmp_path / "state/known/key", epochs(2))

    def wait(_):
        history.write_bytes(final)

    for name in ("knwon", "known"):
        history.unlink(missing_ok=True)
        states = tmp_path / "state" / name
        follow(experiment=name, states=states, history=history, output=tmp_path / name, interval=1, wait=wait)
    lines = [line for line in capsys.readouterr().err.splitlines() if "experiments with a state" in line]
    assert len(lines) == 1
    assert lines[0].startswith("knwon: no state in ")
    assert lines[0].endswith("experiments with a state: known")


def test_training_is_followed_to_its_end(tmp_path, history):
    """No state, two epochs, unchanged, four epochs, a second training run that replaces the first, its end."""
    states, log, sizes = tmp_path / "state/e", tmp_path / "log" / NAME, []
    final = history.read_bytes()
    history.unlink()
    steps = [
        lambda: save(states / "one", epochs(2)),
        lambda: None,
        lambda: save(states / "one", epochs(4)),
        lambda: save(states / "two", [{**row, "train_loss": 9.0} for row in epochs(1)]),
        lambda: (history.write_bytes(final), [path.unlink() for path in states.glob("two/*")]),
    ]

    def wait(seconds):
        assert seconds == 7
        sizes.append(len(read_back(log.parent)["loss/train"]) if log.exists() else 0)
        steps.pop(0)()

    follow(experiment="e", states=states, history=history, output=log, interval=7, wait=wait)
    assert sizes == [0, 2, 2, 4, 1]
    assert not steps
    assert read_live_history(states) is not None  # the state of the abandoned training run
    followed = log.read_bytes()
    write_events(history=history, output=log)
    assert log.read_bytes() == followed
    assert [path.name for path in log.parent.iterdir()] == [NAME]


def test_epochs_are_appended_to_the_open_event_file(tmp_path, history):
    states, log = tmp_path / "state/e", tmp_path / "log" / NAME
    final = history.read_bytes()
    history.unlink()
    save(states / "one", epochs(2))
    readings = []

    def wait(_):
        if not readings:
            readings.append(EventAccumulator(str(log.parent)))
            readings[0].Reload()
            save(states / "one", epochs(4))
        elif len(readings) == 1:
            readings[0].Reload()
            readings.append([event.step for event in readings[0].Scalars("loss/train")])
            history.write_bytes(final)
            for path in states.glob("*/*"):
                path.unlink()

    follow(experiment="e", states=states, history=history, output=log, interval=1, wait=wait)
    assert readings[1] == [1, 2, 3, 4]
