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
    """Return two equal folders of results with a file of each type."""
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


def test_equal_runs_have_no_difference_except_in_times(runs, capsys):
    (runs[1] / "models/a/timing.csv").write_text("epoch,seconds\n1,9\n")
    (runs[1] / "logs/train/a.log").unlink()
    (runs[1] / "predictions/.0123456789ab.partial-x.png").write_text("half")
    result = compare_runs(*runs)
    assert result.differences == []
    assert len(result.equal) == 6
    assert cli.main(["verify-run", *map(str, runs)]) == 0
    output = capsys.readouterr().out
    for description in (
        "compared 6 files: metrics 1, models 2, predictions 2, shards 1",
        "left out 5 files",
        "no difference",
    ):
        assert description in output
    for description in (
        "timing.csv (1): times",
        "logs/ (1): logs contain times",
        "benchmarks/ (1)",
        "provenance.json (1)",
    ):
        assert description in output
    assert ".*.partial-* (1): incomplete" in output


def test_a_changed_table_cell_is_located_by_row_and_column(runs, capsys):
    path = runs[1] / "metrics/a/per_image.csv"
    path.write_text(path.read_text().replace("0.250000", "0.260000"))
    assert cli.main(["verify-run", *map(str, runs)]) == 1
    output = capsys.readouterr().out
    assert (
        "the first difference is in metrics/a/per_image.csv: row 2 (02), column dice: "
        "0.250000 in the first, 0.260000 in the second" in output
    )


@pytest.mark.parametrize(
    ("old", "new", "description"),
    [
        ("id,dice", "id,iou", "header: id, dice in the first, id, iou in the second"),
        ("02,0.250000\n", "", "number of rows: 2 in the first, 1 in the second"),
        ("01,0.500000\n02,0.250000", "01,\n02,0.3", "row 1 (01), column dice: 0.500000 in the first, empty in"),
        ("01,0.500000\n02,0.250000", "01,\n02,0.3", "in the second, and 1 more difference"),
        ("01,0.500000", "01,0.500000,7", "row 1 (01): 2 cells in the first, 3 cells in the second"),
        ("01,0.500000", '"01",0.500000', "byte "),
    ],
)
def test_first_difference_of_tables(runs, old, new, description):
    path = runs[1] / "metrics/a/per_image.csv"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    assert description in only_difference(runs)[1]


def test_missing_and_additional_files_are_differences(runs, capsys):
    (runs[1] / "metrics/a/per_image.csv").unlink()
    (runs[1] / "shards/d/train-1.h5").write_bytes(b"more")
    assert cli.main(["verify-run", *map(str, runs)]) == 1
    output = capsys.readouterr().out
    assert f"metrics/a/per_image.csv: only in {runs[0]}" in output
    assert "1 more file differs:\n  shards/d/train-1.h5" in output


def test_a_changed_tensor_is_reported_with_index_and_values(runs):
    save(runs[1], weight=2.0, loss="dice")
    name, description = only_difference(runs)
    assert name == "models/a/best.pt"
    assert description.startswith("settings.loss.name: 'bce' in the first, 'dice' in the second, and 1 more")
    save(runs[1], weight=2.0)
    description = only_difference(runs)[1]
    assert "state.conv.weight[0, 1]: np.float32(0.0) in the first, np.float32(2.0) in the second, 1 of 2" in description


def test_weights_are_compared_bit_for_bit(runs):
    save(runs[1], weight=-0.0)
    assert "np.float32(-0.0)" in only_difference(runs)[1]


def test_checkpoints_of_equal_contents_are_equal(runs, capsys):
    path = runs[1] / "models/a/best.pt"
    torch.save(torch.load(path, weights_only=True), path)  # changes the bytes: the file contains its own name
    result = compare_runs(*runs)
    assert result.differences == []
    assert result.equal_contents == ["models/a/best.pt"]
    assert cli.main(["verify-run", *map(str, runs)]) == 0
    assert "1 file has different bytes but equal contents:\n  models/a/best.pt" in capsys.readouterr().out


def test_a_damaged_checkpoint_is_a_difference(runs):
    path = runs[1] / "models/a/best.pt"
    path.write_bytes(path.read_bytes()[:-100])
    assert "cannot be opened" in only_difference(runs)[1]


def test_the_first_difference_of_shards_is_reported(runs):
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
    assert "data set fov: missing in the first, present in the second" in only_difference(runs)[1]


def test_the_first_difference_of_images_and_json_is_reported(runs, tmp_path):
    pixels = np.full((4, 5), 9, np.uint8)
    pixels[2, 3] = 8
    write_png(runs[1] / "predictions/a/test/probability/01.png", pixels)
    assert "pixel (row, column, channel) [2, 3]: np.uint8(9)" in only_difference(runs)[1]
    for side, value in (("a", 0.2), ("b", 0.3)):
        write_json(tmp_path / f"{side}.json", {"value": 0.5, "by": {"f1": [0.1, value]}})
    assert first_difference(tmp_path / "a.json", tmp_path / "b.json") == "by.f1[1]: 0.2 in the first, 0.3 in the second"


def test_other_files_are_compared_by_byte(runs):
    for run, text in zip(runs, ("same", "same and more"), strict=True):
        (run / "models/a/curves.svg").write_text(text)
    assert "4 bytes in the first, 13 bytes in the second" in only_difference(runs)[1]


def test_links_to_a_cache_are_followed(runs, tmp_path):
    path = runs[1] / "shards/d/train-0.h5"
    path.rename(tmp_path / "cached")
    path.symlink_to(tmp_path / "cached")
    (runs[1] / "models/loop").symlink_to(runs[1])
    assert compare_runs(*runs).differences == []


def write_manifest(run, loss="bce"):
    """Write the manifest of a checkpoint and of timing.csv."""
    files = [run / "models/a" / name for name in ("best.pt", "timing.csv")]
    Manifest.describe(Fingerprint("train", {"loss": {"name": loss}}, {}, {}), files).write(files[0])


def test_manifests_are_compared_without_content_digests(runs):
    (runs[1] / "models/a/timing.csv").write_text("epoch,seconds\n1,9\n")
    for run in runs:
        write_manifest(run)
    result = compare_runs(*runs)
    assert result.differences == []
    assert "models/a/best.pt.manifest.json" in result.equal


def test_fingerprints_are_compared_except_with_values_only(runs, capsys):
    write_manifest(runs[0])
    write_manifest(runs[1], loss="dice")
    name, description = only_difference(runs)
    assert name == "models/a/best.pt.manifest.json"
    assert description.startswith(
        "fingerprint.settings.loss.name: 'bce' in the first, 'dice' in the second, and 1 more"
    )
    save(runs[1], loss="dice")
    assert cli.main(["verify-run", *map(str, runs)]) == 1
    capsys.readouterr()
    assert cli.main(["verify-run", "--values-only", *map(str, runs)]) == 0
    output = capsys.readouterr().out
    assert "*.manifest.json (1): descriptions of how results were made" in output
    assert "models/a/best.pt" in output.partition("equal contents:")[2]
    save(runs[1], weight=2.0)
    assert cli.main(["verify-run", "--values-only", *map(str, runs)]) == 1
    assert "state.conv.weight[0, 1]" in capsys.readouterr().out


def test_the_store_is_not_compared(runs):
    entry = runs[0] / "store" / ("0" * 32)
    entry.mkdir(parents=True)
    shutil.copy(runs[0] / "models/a/best.pt", entry)
    result = compare_runs(*runs)
    assert result.differences == []
    assert result.left_out["results of earlier settings"] == {"store/": 1}


def test_folders_without_results_are_refused_together(runs, tmp_path, capsys):
    assert cli.main(["verify-run", str(runs[0].parent), str(tmp_path / "nowhere")]) == 1
    output = capsys.readouterr().err
    assert f"remedy:   name {runs[0]}" in output
    assert "no such folder" in output
    with pytest.raises(ComparisonError, match="the same folder twice"):
        compare_runs(runs[0], runs[0] / ".")
