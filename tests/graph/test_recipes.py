"""The recipe of a stage contains only settings that it uses, so that other settings change no result."""

import pytest
from rawfiles import make_drive

from pipeline.config.config import parse
from pipeline.graph.artifacts import Checkpoint, Predictions, Renderings, Scores, Shard, Threshold
from pipeline.graph.study import Study

DATASET = {"layout": "drive", "root": "raw", "size": [512, 512]}
EXPERIMENT = {
    "dataset": "drive",
    "model": "unet",
    "loss": "mse",
    "optimizer": {"name": "sgd", "lr": 0.01},
    "batch_size": 1,
    "epochs": 100,
}
RESULTS = {
    "shard": Shard("drive", "train", 0),
    "test shard": Shard("drive", "test", 0),
    "train": Checkpoint("e"),
    "predict": Predictions("e", "test", "probability"),
    "threshold": Threshold("e"),
    "render": Renderings("e", "test"),
    "evaluate": Scores("e"),
}


@pytest.fixture(autouse=True)
def raw(tmp_path, monkeypatch):
    make_drive(tmp_path / "raw")
    monkeypatch.chdir(tmp_path)


def recipes(dataset=None, **experiment):
    data = {"datasets": {"drive": {**DATASET, **(dataset or {})}}, "experiments": {"e": {**EXPERIMENT, **experiment}}}
    study = Study(parse(data))
    return {stage: artifact.recipe(study).plain() for stage, artifact in RESULTS.items()}


def moved(dataset=None, **experiment):
    before, after = recipes(), recipes(dataset, **experiment)
    return {stage for stage, recipe in before.items() if recipe != after[stage]}


def test_recipe_contains_only_settings_of_its_stage():
    assert moved(optimizer={"name": "sgd", "lr": 0.02}) == {"train"}
    assert moved(threshold=0.4) == {"threshold"}
    assert moved(threshold={"metric": "iou", "averaging": "macro"}) == {"threshold"}
    assert moved(threshold={"averaging": "micro"}) == set()  # the same as `validation`
    assert moved(empty_masks="skip") == {"evaluate"}
    assert moved({"storage": "uint8"}) == {"shard", "test shard"}
    assert moved({"size": [256, 256]}) == {"shard", "test shard"}
    assert moved({"validation": {"fraction": 0.3}}) == {"shard", "threshold", "evaluate"}
    assert moved({"shards": 3}) == {"shard", "test shard"}
    assert moved(keep_probability=True) == set()
    assert moved(ensemble=False) == set()
    assert moved(probability_bits=16) == {"predict"}


def test_recipe_omits_disabled_augmentation():
    """A new option that is off by default must not retrain networks."""
    assert recipes(augment={"flip": "both", "rotate": 0})["train"]["augment"] == {"flip": "both"}
    assert recipes(augment={"elastic": {}})["train"]["augment"] == {"elastic": {"grid": 3, "sigma": 10.0}}


def test_prediction_settings_are_not_in_the_training_recipe():
    plain = recipes()
    assert plain["predict"] == {
        "dataset": "drive",
        "split": "test",
        "kind": "probability",
        "precision": "auto",
        "threads": 2,
        "test_time": "none",
        "probability_bits": 8,
        "predict_with": "best",
    }
    assert moved(tiles=None, test_time="none") == set()
    tiled = recipes(tiles={"size": [256, 320]}, test_time="rot90")
    assert tiled["predict"]["tiles"] == {"size": [256, 320], "overlap": 0.5, "margin": 0}
    assert tiled["predict"]["test_time"] == "rot90"
    assert tiled["train"] == plain["train"]
    assert not {"tiles", "test_time"} & tiled["train"].keys()


def test_fixed_threshold_needs_no_samples():
    recipe = recipes(threshold=0.5, dataset={"validation": {"fraction": 0}})["threshold"]
    assert (recipe["fixed"], "source" in recipe, "criterion" in recipe) == (0.5, False, False)


def test_predict_with_selects_checkpoint_and_retrains_nothing():
    assert moved(predict_with="last") == {"predict"}
    for name in ("best", "last"):
        data = {"datasets": {"drive": DATASET}, "experiments": {"e": {**EXPERIMENT, "predict_with": name}}}
        (checkpoint,) = RESULTS["predict"].inputs(Study(parse(data)))["checkpoint"]
        assert (checkpoint.artifact, checkpoint.path.name) == (Checkpoint("e"), f"{name}.pt")
