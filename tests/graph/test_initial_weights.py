"""Plans of training runs that start from the weights of a file."""

import json

import pytest

from pipeline.config.config import parse
from pipeline.core.errors import ConfigError
from pipeline.graph.artifacts import INITIAL_WEIGHTS, Checkpoint
from pipeline.graph.base import plan_without_inputs
from pipeline.graph.study import Study

EXPERIMENT = {
    "dataset": "d",
    "model": "unet",
    "loss": "bce",
    "optimizer": {"name": "adam", "lr": 0.02},
    "batch_size": 2,
    "epochs": 1,
}


def plan_of(init=None, size=(48, 48)):
    experiment = EXPERIMENT if init is None else {**EXPERIMENT, "init": init}
    data = {"layout": "drive", "size": [*size], "root": "raw"}
    study = Study(parse({"datasets": {"d": data}, "experiments": {"e": experiment}}))
    return plan_without_inputs(Checkpoint("e"), study)


def test_changed_origin_trains_again_and_a_moved_one_does_not(tmp_path):
    here, there = tmp_path / "here.pt", tmp_path / "there.pt"
    here.write_bytes(b"weights")
    there.write_bytes(b"weights")
    first, moved = (plan_of({"checkpoint": str(path)}).fingerprint() for path in (here, there))
    assert first.identity == moved.identity
    here.write_bytes(b"others")
    assert plan_of({"checkpoint": str(here)}).fingerprint().identity != first.identity


def test_plan_without_init_does_not_mention_it(tmp_path):
    plan = plan_of()
    assert "init" not in json.loads(plan.to_json())["recipe"]
    assert plan.raw == {}
    assert "pipeline.training.init" not in plan.fingerprint().code
    origin = tmp_path / "best.pt"
    origin.write_bytes(b"weights")
    started = plan_of({"checkpoint": str(origin)})
    assert started.raw.keys() == {INITIAL_WEIGHTS}
    assert "pipeline.training.init" in started.fingerprint().code


def test_missing_origin_is_an_error_of_the_plan(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        plan_of({"checkpoint": str(tmp_path / "missing.pt")})


def test_pretrained_encoder_needs_images_from_0_to_1():
    model = {"model": {"name": "unet-encoder"}}
    data = {"layout": "drive", "size": [48, 48], "root": "raw", "normalize": "symmetric"}
    with pytest.raises(ConfigError, match="normalize: symmetric"):
        parse({"datasets": {"d": data}, "experiments": {"e": EXPERIMENT | model}})
