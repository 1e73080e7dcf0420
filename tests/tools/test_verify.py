import shutil

import h5py
import numpy as np
import pandas as pd
import pytest
import torch

from pipeline.cli import main as cli
from pipeline.core.errors import ComparisonError
from pipeline.core.fingerprint import Fingerprint
from pipeline.core.manifest import Manifest
from pipeline.core.tables import write_json, write_table
from pipeline.images.png import write_png
from pipeline.tools.contents import first_difference
from pipeline.tools.verify import compare_runs
from pipeline.training.checkpoint import CheckpointInfo, save_checkpoint


@pytest.fixture
def runs(tmp_path):
    """Two folders of results with a file of each kind."""
    first = tmp_path / "one" / "results"
    for name in ("shards/d", "models/a", "predictions/a/test/probability", "metrics/a", "logs/train", "benchmarks"):
        (first / name).mkdir(parents=True)
    with h5py.File(first / "shards/d/train-0.h5", "w", libver="latest") as file:
        file["images"] = np.arange(24, dtype=np.uint8).reshape(2, 1, 3, 4)
        file["ids"] = np.array([b"x", b"y"])
        file.attrs["origin"] = "raw files"
    save(first)
    write_table(first / "models/a/history.csv", pd.DataFrame({"epoch": [1, 2], "val_loss": [0.5, np.nan]}))
    write_table(first / "models/a/timing.csv", pd.DataFrame({"epoch": [1], "seconds": [2.5]}))
    write_json(first / "models/a/provenance.json", {"started": "now"})
    write_png(first / "predictions/a/test/probability/01.png", np.full((4, 5), 9, np.uint8))
    write_json(first / "predictions/a/threshold.json", {"value": 0.5, "by": {"f1": [0.1, 0.2]}})
    write_table(first / "metrics/a/per_image.csv", pd.DataFrame({"id": ["01", "02"], "dice": [0.5, 0.25]}))
    (first / "logs/train/a.log").write_text("epoch 1/2: 0.1 s")
    (first / "benchmarks/report.tsv").write_text("s\n1.5\n")
    second = shutil.copytree(first, tmp_path / "two" / "results")
    return first, second


def save(folder, weight=0.0, loss="bce"):
    """Write a checkpoint; return its path."""
    tensors = {"conv.weight": torch.tensor([[1.0, weight]]), "half": torch.tensor([1.5], dtype=torch.bfloat16)}
    settings = {"dataset": "d", "model": "unet", "loss": loss, "optimizer": {"name": "sgd", "lr": 1},
                "batch_size": 1, "epochs": 3}  # fmt: skip
    preparation = {"size": [32, 32], "normalize": "unit"}
    info = CheckpointInfo.model_validate({
        "model": "unet", "in_channels": 3, "out_channels": 1, "activation": "sigmoid", "size": [32, 32],
        "preparation": preparation, "dataset": "d", "origin": "raw files", "class_names": ["background", "vessel"],
        "experiment": "a", "seeds": {"seed": 0}, "settings": settings, "made_with": {},
    })  # fmt: skip
    save_checkpoint(folder / "models/a/best.pt", info, tensors, epoch=3)
    return folder / "models/a/best.pt"


def only_difference(runs):
    result = compare_runs(*runs)
    assert len(result.differences) == 1
    return result.differences[0]


def test_equal_runs_are_equal_and_what_tells_times_is_left_out(runs, capsys):
    (runs[1] / "models/a/timing.csv").write_text("epoch,seconds\n1,9\n")
    (runs[1] / "logs/train/a.log").unlink()
    (runs[1] / "predictions/.0123456789ab.partial-x.png").write_text("half")
    result = compare_runs(*runs)
    assert result.differences == []
    assert len(result.equal) == 6
    assert cli.main(["verify-run", *map(str, runs)]) == 0
    said = capsys.readouterr().out
    for words in (
        "compared 6 files: metrics 1, models 2, predictions 2, shards 1",
        "left out 5 files",
        "no difference",
    ):
        assert words in said
    for words in ("timing.csv (1): times", "logs/ (1): logs tell times", "benchmarks/ (1)", "provenance.json (1)"):
        assert words in said
    assert ".*.partial-* (1): not finished" in said


def test_a_changed_number_in_a_table_is_named_by_row_and_column(runs, capsys):
    path = runs[1] / "metrics/a/per_image.csv"
    path.write_text(path.read_text().replace("0.250000", "0.260000"))
    assert cli.main(["verify-run", *map(str, runs)]) == 1
    said = capsys.readouterr().out
    assert (
        "the first difference is in metrics/a/per_image.csv: row 2 (02), column dice: "
        "0.250000 in the first, 0.260000 in the second" in said
    )


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("id,dice", "id,iou", "header: id, dice in the first, id, iou in the second"),
        ("02,0.250000\n", "", "number of rows: 2 in the first, 1 in the second"),
        ("01,0.500000\n02,0.250000", "01,\n02,0.3", "row 1 (01), column dice: 0.500000 in the first, empty in"),
        ("01,0.500000\n02,0.250000", "01,\n02,0.3", "in the second, and 1 more place"),
        ("01,0.500000", "01,0.500000,7", "row 1 (01): 2 cells in the first, 3 cells in the second"),
        ("01,0.500000", '"01",0.500000', "byte "),
    ],
)
def test_tables(runs, old, new, words):
    path = runs[1] / "metrics/a/per_image.csv"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    assert words in only_difference(runs)[1]


def test_missing_and_additional_files_are_differences(runs, capsys):
    (runs[1] / "metrics/a/per_image.csv").unlink()
    (runs[1] / "shards/d/train-1.h5").write_bytes(b"more")
    assert cli.main(["verify-run", *map(str, runs)]) == 1
    said = capsys.readouterr().out
    assert f"metrics/a/per_image.csv: only in {runs[0]}" in said
    assert "1 more file differs:\n  shards/d/train-1.h5" in said


def test_a_tensor_is_named_with_its_place_and_both_values(runs):
    save(runs[1], weight=2.0, loss="dice")
    name, words = only_difference(runs)
    assert name == "models/a/best.pt"
    assert words.startswith("settings.loss.name: 'bce' in the first, 'dice' in the second, and 1 more")
    save(runs[1], weight=2.0)
    words = only_difference(runs)[1]
    assert "state.conv.weight[0, 1]: np.float32(0.0) in the first, np.float32(2.0) in the second, 1 of 2" in words


def test_weights_are_compared_to_the_bit(runs):
    save(runs[1], weight=-0.0)
    assert "np.float32(-0.0)" in only_difference(runs)[1]


def test_a_checkpoint_of_other_bytes_and_the_same_contents_is_equal(runs, capsys):
    path = runs[1] / "models/a/best.pt"
    torch.save(torch.load(path, weights_only=True), path)  # writes its own name into the file
    result = compare_runs(*runs)
    assert result.differences == []
    assert result.equal_contents == ["models/a/best.pt"]
    assert cli.main(["verify-run", *map(str, runs)]) == 0
    assert "1 file has other bytes and equal contents:\n  models/a/best.pt" in capsys.readouterr().out


def test_a_damaged_checkpoint_is_a_difference(runs):
    path = runs[1] / "models/a/best.pt"
    path.write_bytes(path.read_bytes()[:-100])
    assert "cannot be opened" in only_difference(runs)[1]


def test_what_differs_in_a_shard_is_named(runs):
    path = runs[1] / "shards/d/train-0.h5"
    with h5py.File(path, "r+") as file:
        file["images"][1, 0, 2, 3] = 99
    assert "data set images[1, 0, 2, 3]: np.uint8(23) in the first, np.uint8(99)" in only_difference(runs)[1]
    with h5py.File(path, "r+") as file:
        file["images"][1, 0, 2, 3] = 23
        file.attrs["origin"] = "synthetic"
    assert "attribute origin: 'raw files' in the first, 'synthetic'" in only_difference(runs)[1]
    with h5py.File(path, "r+") as file:
        file.attrs["origin"] = "raw files"
        file["fov"] = np.zeros(3)
    assert "data set fov: missing in the first, there in the second" in only_difference(runs)[1]


def test_what_differs_in_a_image_and_in_plain_data_is_named(runs, tmp_path):
    pixels = np.full((4, 5), 9, np.uint8)
    pixels[2, 3] = 8
    write_png(runs[1] / "predictions/a/test/probability/01.png", pixels)
    assert "pixel (row, column, channel) [2, 3]: np.uint8(9)" in only_difference(runs)[1]
    for side, value in (("a", 0.2), ("b", 0.3)):
        write_json(tmp_path / f"{side}.json", {"value": 0.5, "by": {"f1": [0.1, value]}})
    assert first_difference(tmp_path / "a.json", tmp_path / "b.json") == "by.f1[1]: 0.2 in the first, 0.3 in the second"


def test_other_files_are_compared_by_bytes(runs):
    for run, text in zip(runs, ("same", "same and more"), strict=True):
        (run / "models/a/curves.svg").write_text(text)
    assert "4 bytes in the first, 13 bytes in the second" in only_difference(runs)[1]


def test_links_to_a_cache_are_followed(runs, tmp_path):
    path = runs[1] / "shards/d/train-0.h5"
    path.rename(tmp_path / "cached")
    path.symlink_to(tmp_path / "cached")
    (runs[1] / "models/loop").symlink_to(runs[1])
    assert compare_runs(*runs).differences == []


def describe(run, loss="bce"):
    """Write the manifest of the checkpoint and of the times beside it."""
    files = [run / "models/a" / name for name in ("best.pt", "timing.csv")]
    Manifest.describe(Fingerprint("train", {"loss": {"name": loss}}, {}, {}), files).write(files[0])


def test_manifests_of_equal_settings_are_equal_whatever_the_bytes_that_they_speak_of(runs):
    (runs[1] / "models/a/timing.csv").write_text("epoch,seconds\n1,9\n")
    for run in runs:
        describe(run)
    result = compare_runs(*runs)
    assert result.differences == []
    assert "models/a/best.pt.manifest.json" in result.equal


def test_what_results_were_made_by_differs_unless_values_alone_count(runs, capsys):
    describe(runs[0])
    describe(runs[1], loss="dice")
    name, words = only_difference(runs)
    assert name == "models/a/best.pt.manifest.json"
    assert words.startswith("fingerprint.settings.loss.name: 'bce' in the first, 'dice' in the second, and 1 more")
    save(runs[1], loss="dice")
    assert cli.main(["verify-run", *map(str, runs)]) == 1
    capsys.readouterr()
    assert cli.main(["verify-run", "--values-only", *map(str, runs)]) == 0
    said = capsys.readouterr().out
    assert "*.manifest.json (1): what says how results were made" in said
    assert "models/a/best.pt" in said.partition("equal contents:")[2]
    save(runs[1], weight=2.0)
    assert cli.main(["verify-run", "--values-only", *map(str, runs)]) == 1
    assert "state.conv.weight[0, 1]" in capsys.readouterr().out


def test_what_is_kept_of_earlier_settings_is_no_result(runs):
    kept = runs[0] / "store" / ("0" * 32)
    kept.mkdir(parents=True)
    shutil.copy(runs[0] / "models/a/best.pt", kept)
    result = compare_runs(*runs)
    assert result.differences == []
    assert result.left_out["kept of earlier settings"] == {"store/": 1}


def test_folders_that_are_no_results_are_refused_both_at_once(runs, tmp_path, capsys):
    assert cli.main(["verify-run", str(runs[0].parent), str(tmp_path / "nowhere")]) == 1
    said = capsys.readouterr().err
    assert f"remedy:   name {runs[0]}" in said
    assert "no such folder" in said
    with pytest.raises(ComparisonError, match="the same folder twice"):
        compare_runs(runs[0], runs[0] / ".")
