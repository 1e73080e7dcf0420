"""A training run that starts from the weights of another network."""

import hashlib
import itertools
import json
import shutil
import types
import zipfile

import pytest
import torch
from safetensors.torch import save
from untrained import checkpoint, network_of

from pipeline.core.errors import CheckpointError, TrainingError
from pipeline.models.networks import NETWORKS, UNet
from pipeline.models.registry import build_model
from pipeline.training import run as training
from pipeline.training import state_saver
from pipeline.training.checkpoint import load_checkpoint
from pipeline.training.data import Batch
from pipeline.training.init import adapt_channels, describe, match_weights, read_origin
from pipeline.training.recipes import TrainRecipe
from pipeline.training.step_graph import WARM_UP_STEPS, StepGraph

RECIPE = {
    "dataset": "d",
    "model": {"name": "unet", "width": 4, "depth": 3},
    "loss": {"name": "bce", "region": "fov"},
    "optimizer": {"name": "adamw", "lr": 0.02, "weight_decay": 0.1},
    "batch_size": 3,
    "epochs": 3,
    "precision": "fp32",
    "threads": 1,
}


def run(shards, output, state=None, save_every=60.0, **changes):
    training.train(
        TrainRecipe.model_validate({**RECIPE, **changes}),
        experiment="e",
        train_shards=[shards / "train.h5"],
        validation_shards=[shards / "validation.h5"],
        output=output,
        state=state,
        save_every=save_every,
    )
    return load_checkpoint(output / "last.pt").state


def bundle(path, weights, compression=zipfile.ZIP_STORED, count=1, digest=None):
    network = {"experiment": "theirs", "weights_sha256": digest or hashlib.sha256(save(weights)).hexdigest()}
    info = {"networks": [network], "provenance": {"licence": "CC-BY-4.0", "dataset": "d"}}
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("bundle.json", json.dumps(info))
        for number in range(count):
            archive.writestr(f"network-{number}/weights.safetensors", save(weights))
    return path


def test_frozen_and_released_steps_are_recorded_separately():
    seen = []
    step_graph = StepGraph(lambda batch: seen.append("computed"), Recordings(seen), "e")
    batch = Batch(torch.zeros(1, 3, 4, 4), torch.zeros(1, 1, 4, 4), None)
    for frozen in (True, False):
        step_graph.frozen = frozen
        for _ in range(WARM_UP_STEPS + 1):
            step_graph(batch)
    assert seen == [*["computed"] * WARM_UP_STEPS, "replayed 0", *["computed"] * WARM_UP_STEPS, "replayed 1"]


class Recordings:
    """A recorder whose replays tell which recording they are."""

    def __init__(self, seen):
        self.seen, self.count = seen, itertools.count()

    def run(self, compute):
        compute()

    def record(self, compute):
        number = next(self.count)
        return lambda: self.seen.append(f"replayed {number}")


@pytest.mark.parametrize("kind", NETWORKS, ids=lambda kind: kind.model_fields["name"].annotation.__args__[0])
def test_each_network_names_its_encoder(kind):
    network = kind(name=kind.model_fields["name"].annotation.__args__[0])
    with torch.device("meta"):
        names = build_model(network, in_channels=3, out_channels=1).state_dict()
    encoder = [name for name in names if network.in_encoder(name)]
    assert 0 < len(encoder) < len(names)
    assert encoder == list(names)[: len(encoder)]
    assert len({name.partition(".")[0] for name in encoder}) == len(network.encoder_parts)


def test_frozen_encoder_stays_and_is_then_trained(shards, tmp_path, capfd):
    first = checkpoint(tmp_path / "first.pt")
    start = load_checkpoint(first).state
    init = {"checkpoint": str(first), "layers": "encoder", "freeze": 3}
    frozen = run(shards, tmp_path / "frozen", init=init)
    for name, tensor in start.items():
        assert torch.equal(frozen[name], tensor) == name.startswith("down."), name
    released = run(shards, tmp_path / "released", init=init | {"freeze": 1})
    assert not any(torch.equal(released[name], start[name]) for name in start if name.startswith("down."))
    log = capfd.readouterr().err
    assert "42 of 76 weights loaded" in log
    assert "starts from first.pt (experiment e, dataset d): " in log
    assert "not in the encoder: grow.0.weight" in log


def test_resume_with_a_frozen_encoder_is_exact(shards, tmp_path, monkeypatch):
    init = {"init": {"checkpoint": str(checkpoint(tmp_path / "first.pt")), "freeze": 1}}
    expected = run(shards, tmp_path / "whole", **init)
    begin = training._Training.finish_epoch
    for epoch in (1, 2):  # power fails at the end of a frozen epoch, and of the one after it
        monkeypatch.setattr(state_saver, "time", types.SimpleNamespace(monotonic=itertools.count().__next__))

        def fail(self, saver, epoch=epoch):
            if self.progress.epoch == epoch:
                raise KeyboardInterrupt
            begin(self, saver)

        monkeypatch.setattr(training._Training, "finish_epoch", fail)
        with pytest.raises(KeyboardInterrupt):
            run(shards, tmp_path / "broken", tmp_path / f"state-{epoch}", save_every=1, **init)
        monkeypatch.setattr(training._Training, "finish_epoch", begin)
        resumed = run(shards, tmp_path / "resumed", tmp_path / f"state-{epoch}", **init)
        assert all(torch.equal(resumed[name], expected[name]) for name in expected)


def test_origin_of_other_classes_channels_and_depth_is_used(tmp_path):
    origin = load_checkpoint(checkpoint(tmp_path / "first.pt", classes=3)).state
    network = UNet(name="unet", width=4, depth=4)
    own = build_model(network, in_channels=1, out_channels=1).state_dict()
    loaded, rows = match_weights(network, own, origin, "all")
    outcomes = {row.name: row.outcome for row in rows}
    assert torch.allclose(loaded["down.0.0.weight"], origin["down.0.0.weight"].sum(1, keepdim=True))
    assert outcomes["down.0.0.weight"] == "adapted"
    assert outcomes["down.2.0.weight"] == "loaded"
    assert outcomes["down.3.0.weight"] == outcomes["head.weight"] == "skipped"
    assert {row.reason for row in rows if row.name == "head.weight"} == {"another shape"}


@pytest.mark.parametrize(("before", "after"), [(3, 1), (1, 3), (3, 4), (4, 3)])
def test_first_layer_answers_grey_images_as_before(before, after):
    weight, grey = torch.randn(5, before, 3, 3), torch.randn(2, 1, 8, 8)
    answers = [
        torch.nn.functional.conv2d(grey.expand(-1, part.shape[1], -1, -1), part)
        for part in (weight, adapt_channels(weight, after))
    ]
    torch.testing.assert_close(*answers)


def test_bundle_gives_weights_experiment_and_licence(tmp_path):
    info = load_checkpoint(checkpoint(tmp_path / "first.pt")).info
    weights = network_of(info).state_dict()
    path = bundle(tmp_path / "model.zip", weights)
    origin = read_origin(recipe_of({"bundle": str(path)}))
    assert origin.about == {"file": "model.zip", "experiment": "theirs", "dataset": "d", "licence": "CC-BY-4.0"}
    assert all(torch.equal(origin.weights[name], tensor) for name, tensor in weights.items())


def recipe_of(init):
    return TrainRecipe.model_validate({**RECIPE, "init": init})


def test_provenance_lists_each_weight_and_the_digest(tmp_path):
    path = checkpoint(tmp_path / "first.pt", classes=3)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    described = describe(recipe_of({"checkpoint": str(path)}), 3, 1, digest)
    assert (described["sha256"], described["file"], described["experiment"]) == (digest, "first.pt", "e")
    head = next(row for row in described["weights"] if row["name"] == "head.weight")
    assert (head["outcome"], head["here"], head["there"]) == ("skipped", (1, 4, 3, 3), (3, 4, 3, 3))
    with pytest.raises(TrainingError, match="changed after the job was planned"):
        describe(recipe_of({"checkpoint": str(path)}), 3, 1, "0" * 64)


def without(path):
    return {"checkpoint": str(path / "missing.pt")}


def of_another_network(path):
    return {"checkpoint": str(checkpoint(path / "u2net.pt", name="u2net-lite", width=4))}


def not_a_number(path):
    return {"bundle": str(bundle(path / "nan.zip", {"down.0.0.weight": torch.full((4, 3, 3, 3), torch.nan)}))}


def compressed(path):
    weights = {"down.0.0.weight": torch.zeros(4, 3, 3, 3)}
    return {"bundle": str(bundle(path / "bomb.zip", weights, zipfile.ZIP_DEFLATED))}


def ensemble(path):
    return {"bundle": str(bundle(path / "two.zip", {"down.0.0.weight": torch.zeros(4, 3, 3, 3)}, count=2))}


def swapped(path):
    return {"bundle": str(bundle(path / "swapped.zip", {"down.0.0.weight": torch.zeros(4, 3, 3, 3)}, digest="0" * 64))}


def checkpoint_as_bundle(path):
    return {"bundle": str(checkpoint(path / "first.pt"))}


@pytest.mark.parametrize(
    ("origin", "message"),
    [
        (without, "No such file"),
        (of_another_network, "no weight that fits the network unet"),
        (not_a_number, "not finite"),
        (compressed, "compressed or too large"),
        (ensemble, "weights of 2 networks"),
        (swapped, "SHA-256 of its weights is not that"),
        (checkpoint_as_bundle, "no bundle|weights of 0 networks"),
    ],
)
def test_origin_that_cannot_be_used_is_one_message(tmp_path, origin, message):
    with pytest.raises((TrainingError, CheckpointError), match=message) as caught:
        describe(recipe_of(origin(tmp_path)), 3, 1, None)
    assert len(caught.value.problems) == 1


def test_moved_origin_has_the_same_recipe_and_checkpoint(shards, tmp_path):
    here = checkpoint(tmp_path / "first.pt")
    there = shutil.copy(here, tmp_path / "moved.pt")
    fingerprints = [recipe_of({"checkpoint": str(path)}).fingerprint_settings().plain() for path in (here, there)]
    assert fingerprints[0] == fingerprints[1]
    for path in (here, there):
        run(shards, tmp_path / path.name.removesuffix(".pt"), epochs=1, init={"checkpoint": str(path)})
    first, moved = ((tmp_path / name / "last.pt").read_bytes() for name in ("first", "moved"))
    assert first == moved


@pytest.mark.parametrize(
    "init", [{}, {"checkpoint": "a", "bundle": "b"}, {"checkpoint": "a", "freeze": 9}, {"pretrained": "x"}]
)
def test_contradictory_init_is_refused(init):
    with pytest.raises(ValueError, match=r"exactly one|at most `epochs`|unet-encoder"):
        recipe_of(init)
