"""What a dry run compares: the plan of a job with the manifest of its earlier result."""

from pathlib import Path

import pytest

from pipeline.core.manifest import Manifest
from pipeline.graph.artifacts import Checkpoint
from pipeline.graph.changes import changes
from pipeline.graph.plan import Plan
from pipeline.training.recipes import TrainRecipe


def make_plan(raw="1", made_from="a", **settings):
    recipe = TrainRecipe.model_validate(
        {
            **{
                "model": {"name": "unet", "width": 4, "depth": 2},
                "loss": {"name": "bce"},
                "batch_size": 2,
                "dataset": "d",
            },
            **{"optimizer": {"name": "adam", "lr": 0.02}, "epochs": 40, **settings},
        }
    )
    return Plan(Checkpoint.stage, {"experiment": "a"}, recipe, {"raw files": raw}, {"train_shards": [made_from]})


@pytest.fixture
def result(tmp_path):
    """A result that was made by `make_plan()`."""
    path = tmp_path / "best.pt"
    path.write_text("weights")
    Manifest.describe(make_plan().fingerprint(), [path]).write(path)
    return path


@pytest.mark.parametrize(
    ("changed", "described"),
    [
        ({}, []),
        ({"made_from": "b"}, []),
        ({"epochs": 60}, ["epochs 40 -> 60"]),
        ({"raw": "2", "optimizer": {"name": "adam", "lr": 0.1}}, ["optimizer.lr 0.02 -> 0.1", "raw files changed"]),
    ],
)
def test_changes_since_a_result_was_made_are_in_words(result, changed, described):
    assert changes(make_plan(**changed).to_json(), [Path("none"), result]) == described


def test_a_result_that_was_never_made_has_no_changes(tmp_path):
    assert changes(make_plan().to_json(), [tmp_path / "best.pt"]) is None
