"""Image models as encoders of a U-Net, and their published weights."""

import hashlib
import sys
import types

import pytest
import torch
from safetensors.torch import save
from torch import nn

from pipeline.core.errors import ConfigError, TrainingError
from pipeline.models.encoders import efficientnet_lite
from pipeline.models.networks import UNetEncoder
from pipeline.models.registry import build_model
from pipeline.training import pretrained
from pipeline.training.init import describe, initialize
from pipeline.training.recipes import TrainRecipe

LITE0 = "efficientnet-lite0"


def recipe_of(weights="imagenet", encoder=LITE0):
    return TrainRecipe.model_validate(
        {
            "dataset": "d",
            "model": {"name": "unet-encoder", "encoder": encoder, "width": 32},
            "loss": "bce",
            "optimizer": {"name": "sgd", "lr": 0.1},
            "batch_size": 1,
            "epochs": 1,
            "init": {"pretrained": weights},
        }
    )


def test_lite0_has_the_published_number_of_parameters():
    with torch.device("meta"):
        encoder = efficientnet_lite.EfficientNetLite0(3)
        features = encoder(torch.zeros(1, 3, 64, 96))
    classifier = 1280 * (320 + 2) + 1000 * (1280 + 1)
    assert sum(part.numel() for part in encoder.parameters()) + classifier == 4_652_008
    strides = [(tuple(feature.shape[1:])) for feature in features]
    assert strides == [(16, 32, 48), (24, 16, 24), (40, 8, 12), (112, 4, 6), (320, 2, 3)]


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A package of weights under their published names, random here."""
    encoder = efficientnet_lite.EfficientNetLite0(3)
    names = efficientnet_lite.published_names(list(encoder.state_dict()))
    weights = {names[name]: tensor for name, tensor in encoder.state_dict().items()} | {"_fc.bias": torch.zeros(1000)}
    file = tmp_path / "weights_of_lite0" / "lite0.pth"
    file.parent.mkdir()
    (file.parent / "__init__.py").write_text("raise RuntimeError('code of the package ran')")
    torch.save(weights, file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(
        pretrained.PUBLISHED, LITE0, pretrained.Published(file.parent.name, file.name, digest, "Apache-2.0")
    )
    return file, encoder.state_dict()


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_imagenet_weights_fill_the_encoder_for_any_channels(published, channels, capfd):
    network = build_model(recipe_of().model, in_channels=channels, out_channels=2)
    initialize(network, recipe_of(), "e")
    _, expected = published
    for name, tensor in network.encoder.state_dict().items():
        if name != "stem.0.weight":
            assert torch.equal(tensor, expected[name])
    total = network.encoder.stem[0].weight.sum(1)
    torch.testing.assert_close(total, expected["stem.0.weight"].sum(1))
    assert "288 of" in capfd.readouterr().err


def test_published_weights_are_recorded_with_licence_and_digest(published):
    file, _ = published
    described = describe(recipe_of(), 3, 1, None)
    assert described["licence"] == "Apache-2.0"
    assert described["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()


def test_published_weights_with_another_digest_are_refused(published):
    file, _ = published
    file.write_bytes(file.read_bytes() + b"\0")
    with pytest.raises(TrainingError, match="SHA-256"):
        describe(recipe_of(), 3, 1, None)


def test_missing_package_of_weights_names_the_extra(monkeypatch):
    missing = pretrained.PUBLISHED[LITE0]._replace(package="no_such_package")
    monkeypatch.setitem(pretrained.PUBLISHED, LITE0, missing)
    with pytest.raises(ConfigError, match=r"\[encoders\]"):
        recipe_of().initial_file()


def test_grey_and_colour_input_are_normalized_for_the_encoder():
    for channels in (1, 3):
        network = build_model(UNetEncoder(name="unet-encoder", width=32), in_channels=channels, out_channels=1).eval()
        seen = []
        network.encoder.stem.register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(inputs[0]))
        with torch.no_grad():
            network(torch.full((1, channels, 32, 32), 1.0))
        torch.testing.assert_close(seen[0], torch.ones(1, channels, 32, 32))  # (255 - 127) / 128


def test_depthwise_convolutions_on_a_cpu_are_in_float32():
    network = build_model(UNetEncoder(name="unet-encoder", width=32), in_channels=1, out_channels=1).eval()
    formats = {"depthwise": set(), "expand": set()}
    for name, module in network.encoder.named_modules():
        if (unit := name.rpartition(".")[0].rpartition(".")[2]) in formats and name.endswith(".0"):
            module.register_forward_hook(lambda _m, _i, output, unit=unit: formats[unit].add(output.dtype))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        network(torch.zeros(1, 1, 32, 32))
    assert formats == {"depthwise": {torch.float32}, "expand": {torch.bfloat16}}


class Features(nn.Module):
    """A stand-in for a model of timm: features of strides 4 and 8."""

    def __init__(self, channels, strides=(4, 8)):
        super().__init__()
        self.layer1_0 = nn.Conv2d(channels, 6, 4, stride=4)
        self.layer2 = nn.Conv2d(6, 8, 2, stride=2)
        self.feature_info = types.SimpleNamespace(channels=lambda: [6, 8], reduction=lambda: list(strides))
        self.default_cfg = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.2, 0.2)}

    def forward(self, x):
        first = self.layer1_0(x)
        return [first, self.layer2(first)]


def stand_in(monkeypatch, **options):
    def create_model(name, features_only, pretrained, in_chans):
        if name != "toy":
            raise RuntimeError(f"Unknown model ({name})")
        return Features(in_chans, **options)

    monkeypatch.setitem(sys.modules, "timm", types.SimpleNamespace(create_model=create_model))


def test_encoder_of_timm_takes_weights_of_a_local_file(monkeypatch, tmp_path):
    stand_in(monkeypatch)
    recipe = recipe_of(str(tmp_path / "toy.safetensors"), "timm:toy")
    network = build_model(recipe.model, in_channels=1, out_channels=2)
    assert network.multiple == 8
    assert network(torch.zeros(2, 1, 45, 33)).shape == (2, 2, 45, 33)
    weights = {"layer1.0.weight": torch.ones(6, 3, 4, 4), "fc.weight": torch.zeros(5)}
    (tmp_path / "toy.safetensors").write_bytes(save(weights))
    initialize(network, recipe, "e")
    assert torch.equal(network.encoder.model.layer1_0.weight, torch.full((6, 1, 4, 4), 3.0))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [("other", {}, "Unknown model"), ("toy", {"strides": (16, 16)}, "strides"), ("toy", None, "pip install timm")],
)
def test_encoder_of_timm_that_cannot_be_built_is_named(monkeypatch, name, options, message):
    if options is None:
        monkeypatch.setitem(sys.modules, "timm", None)
    else:
        stand_in(monkeypatch, **options)
    with pytest.raises(ConfigError, match=message):
        build_model(UNetEncoder(name="unet-encoder", encoder=f"timm:{name}"), in_channels=3, out_channels=1)


@pytest.mark.slow
def test_lite0_gives_the_features_of_timm():
    timm = pytest.importorskip("timm")
    theirs = timm.create_model("tf_efficientnet_lite0", pretrained=False, features_only=True).eval()
    ours = efficientnet_lite.EfficientNetLite0(3).eval()
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    x = torch.randn(2, 3, 160, 224)
    with torch.no_grad():
        for feature, expected in zip(ours(x), theirs(x), strict=True):
            torch.testing.assert_close(feature, expected)
