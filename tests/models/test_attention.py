"""Attention gates of U-Nets: equal to a plain computation, and without effect if there are none."""

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from pipeline.models.attention import SpatialChannelGate, gates
from pipeline.models.networks import AnyNetwork
from pipeline.models.registry import build_model, count_parameters

UNET = {"name": "unet", "width": 4, "depth": 3}
ENCODER = {"name": "unet-encoder", "width": 32}


def build(options, out_channels=1):
    """Build a network, with weights of normalizations and biases other than 0 and 1."""
    torch.manual_seed(0)
    network = TypeAdapter(AnyNetwork).validate_python(options)
    model = build_model(network, in_channels=3, out_channels=out_channels)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += torch.rand_like(parameter) * 0.1
    return model


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def scse(x, gate):
    """Apply scSE pixel by pixel."""
    weights = {name: value.detach().numpy().astype(float) for name, value in gate.named_parameters()}
    scaled = np.empty_like(x)
    for sample, output in zip(x, scaled, strict=True):
        means = sample.mean((1, 2))
        hidden = np.maximum(weights["channel.0.weight"] @ means + weights["channel.0.bias"], 0)
        by_channel = sigmoid(weights["channel.2.weight"] @ hidden + weights["channel.2.bias"])
        for row, column in np.ndindex(*sample.shape[1:]):
            pixel = sample[:, row, column]
            by_pixel = sigmoid(weights["pixel.weight"][0, :, 0, 0] @ pixel + weights["pixel.bias"][0])
            output[:, row, column] = pixel * by_channel + pixel * by_pixel
    return scaled


@pytest.mark.parametrize("channels", [1, 6, 64])
def test_scse_equals_a_plain_computation(channels):
    torch.manual_seed(1)
    (gate,) = gates("scse", channels)
    x = torch.randn(2, channels, 5, 3, dtype=torch.float64)
    for values in (x, x.contiguous(memory_format=torch.channels_last)):
        np.testing.assert_allclose(gate.double()(values).detach(), scse(x.numpy(), gate), rtol=1e-6)
    if channels == 6:
        assert torch.autograd.gradcheck(gate, x[:1, :, :2, :2].clone().requires_grad_())


@pytest.mark.parametrize(
    ("network", "parameters"),
    [
        # blocks of 4, 8, 16, 8, 4 channels: C x C/2 + C/2 + C/2 x C + C and C + 1 each
        (UNET, 2 * (4 * 4 + 6 + 5) + 2 * (8 * 8 + 12 + 9) + 16 * 16 + 24 + 17),
        # decoder blocks of 32, 16, 16, 16, 16 channels
        (ENCODER, 32 * 32 + 48 + 33 + 4 * (16 * 16 + 24 + 17)),
    ],
)
def test_attention_adds_the_parameters_counted_by_hand(network, parameters):
    added = count_parameters(build({**network, "attention": "scse"})) - count_parameters(build(network))
    assert added == parameters


@pytest.mark.parametrize("network", [UNET, ENCODER], ids=["unet", "unet-encoder"])
def test_attention_keeps_sizes_and_gives_gradients(network):
    model = build({**network, "attention": "scse"}, out_channels=2).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        output = model(torch.rand(2, 3, 33, 47).contiguous(memory_format=torch.channels_last))
    assert output.shape == (2, 2, 33, 47)
    output.float().square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_defaults_of_later_options_are_not_recorded():
    network = TypeAdapter(AnyNetwork).validate_python({"name": "unet", "attention": "none"})
    assert network.plain() == {"name": "unet", "width": 64, "depth": 5, "bias": True, "head_kernel": 3}
    changed = network.changed(attention="scse")
    assert TypeAdapter(AnyNetwork).validate_python(changed.plain()) == changed
    assert changed.plain() == {**network.plain(), "attention": "scse"}
    encoder = TypeAdapter(AnyNetwork).validate_python({"name": "unet-encoder"})
    assert encoder.plain() == {"name": "unet-encoder", "encoder": "efficientnet-lite0", "width": 256}


def test_attention_ends_each_block():
    model = build({**UNET, "attention": "scse"}).eval()
    plain = build(UNET).eval()
    missing = plain.load_state_dict(model.state_dict(), strict=False)
    assert missing.missing_keys == []
    assert len(missing.unexpected_keys) == 5 * 6
    ends = [block[-1] for block in (*model.down, *model.up)]
    for block, gate in zip((*plain.down, *plain.up), ends, strict=True):
        block.append(gate)
    x = torch.rand(1, 3, 40, 36)
    with torch.no_grad():
        assert torch.equal(model(x), plain(x))
    encoder = build(ENCODER | {"attention": "scse"}).encoder
    assert not any(isinstance(module, SpatialChannelGate) for module in encoder.modules())
