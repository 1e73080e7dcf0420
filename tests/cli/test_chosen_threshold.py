import json
from pathlib import Path

import numpy as np
import pytest
from untrained import checkpoint

from pipeline.cli import main as cli
from pipeline.cli.chosen_threshold import threshold_for
from pipeline.core.errors import OriginError, PredictionError
from pipeline.core.fingerprint import Fingerprint
from pipeline.core.manifest import Manifest
from pipeline.images.png import read_levels, write_png


def fingerprint(stage, made_from=None, **settings):
    return Fingerprint(
        stage, settings, {}, {}, made_from={kind: [identity] for kind, identity in (made_from or {}).items()}
    )


def write_threshold(path, value=0.8, source="validation"):
    path.parent.mkdir(parents=True, exist_ok=True)
    text = {"value": value, "source": source, "criterion": "micro f1 0.9", "metric": "micro f1"}
    path.write_text(json.dumps(text))
    return path


def make_results(results, predict_with="best", trained_again=False):
    """Write the checkpoints of an experiment `e`, and a threshold that was chosen with one of them."""
    folder, predicted = results / "models/e", results / "predictions/e"
    folder.mkdir(parents=True)
    for name in ("best.pt", "last.pt"):
        checkpoint(folder / name)
    training = Manifest.describe(fingerprint("train"), [folder / "best.pt", folder / "last.pt"])
    training.write(folder / "best.pt")
    (predicted / "validation/probability").mkdir(parents=True)
    settings = {"predict_with": "last"} if predict_with == "last" else {}
    network = {"checkpoint": "of an earlier training" if trained_again else training.identity}
    predictions = Manifest.describe(fingerprint("predict", network, **settings), [predicted / "validation/probability"])
    predictions.write(predicted / "validation/probability")
    threshold = write_threshold(predicted / "threshold.json")
    Manifest.describe(fingerprint("threshold", {"predictions": predictions.identity}), [threshold]).write(threshold)
    return folder


@pytest.mark.parametrize("name", ["best", "last"])
def test_threshold_of_the_experiment_is_found(tmp_path, monkeypatch, name):
    folder = make_results(tmp_path / "results", predict_with=name)
    (tmp_path / "link.pt").symlink_to(folder / f"{name}.pt")
    monkeypatch.chdir(tmp_path)
    for path in (folder / f"{name}.pt", Path(f"results/models/e/{name}.pt"), Path("link.pt")):
        value, source, given = threshold_for(path, None)
        assert (value, given) == (0.8, False)
        assert "predictions/e/threshold.json: validation, micro f1 0.9" in source
    other = {"best": "last", "last": "best"}[name]
    value, source, _ = threshold_for(folder / f"{other}.pt", None)
    assert value == 0.5
    assert "was chosen for another checkpoint" in source


def test_threshold_of_an_earlier_training_is_not_used(tmp_path):
    folder = make_results(tmp_path / "results", trained_again=True)
    assert threshold_for(folder / "best.pt", None).value == 0.5


def test_an_edited_or_unreadable_threshold_is_refused(tmp_path):
    folder = make_results(tmp_path / "results")
    threshold = tmp_path / "results/predictions/e/threshold.json"
    threshold.write_text(threshold.read_text().replace("0.8", "0.3"))
    with pytest.raises(OriginError, match="edited after the pipeline wrote it"):
        threshold_for(folder / "best.pt", None)
    assert threshold_for(folder / "best.pt", 0.4).value == 0.4
    threshold.unlink()
    threshold.symlink_to("gone.json")
    with pytest.raises(PredictionError, match="No such file"):
        threshold_for(folder / "best.pt", None)
    threshold.unlink()
    threshold.mkdir()
    with pytest.raises((OriginError, PredictionError), match=r"edited|Is a directory"):
        threshold_for(folder / "best.pt", None)


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        ("--checkpoint loop.pt --input in --output o", 1, "levels of symbolic links"),
        ("--checkpoint best.pt --input x.png --output o", 1, "no such file or folder"),
        ("--checkpoint best.pt --input in --output out", 0, "threshold 0.5"),
    ],
)
def test_links_to_themselves_end_with_a_message(tmp_path, capsys, monkeypatch, words, status, text):
    monkeypatch.chdir(tmp_path)
    checkpoint(tmp_path / "best.pt")
    for name in ("loop.pt", "x.png", "out"):
        Path(name).symlink_to(name)
    Path("in").mkdir()
    write_png(Path("in/x.png"), np.eye(64, dtype=np.uint8) * 200)
    assert cli.main(["predict", *words.split(), "--threads", "1"]) == status
    assert text in capsys.readouterr().err


def test_threshold_beside_a_copied_checkpoint_is_found(tmp_path):
    assert threshold_for(tmp_path / "best.pt", None)[:2] == (
        0.5,
        "the default: no threshold.json of this checkpoint was found; --threshold sets another one",
    )
    write_threshold(tmp_path / "threshold.json", 0.3)
    assert threshold_for(tmp_path / "best.pt", None).value == 0.3


def test_predict_uses_and_prints_the_threshold_of_checkpoint(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = make_results(Path("results"))
    Path("in").mkdir()
    write_png(Path("in/x.png"), np.eye(64, dtype=np.uint8) * 200)
    write_threshold(Path("other.json"), 0.45, source="fixed")
    command = f"predict --checkpoint {folder}/best.pt --input in --output out --threads 1"
    for more, text, level in (
        ("", "threshold 0.8 (found for this checkpoint, results/predictions/e/threshold.json: validation", 204),
        (" --threshold 0.4", "threshold 0.4 (--threshold)", 102),
        (" --threshold other.json", "threshold 0.45 (--threshold, other.json: fixed", 114),
    ):
        assert cli.main((command + more).split()) == 0
        assert text in capsys.readouterr().err
        levels, mask = (read_levels(Path(f"out/{kind}/x.png"), 64, 64) for kind in ("probability", "mask"))
        np.testing.assert_array_equal(mask > 0, levels > level)
