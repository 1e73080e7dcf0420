"""Options of the blocks of U-Nets: equal to plain computations, and without effect at their defaults."""

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn
from torch.nn import functional

from pipeline.models.attention import gates
from pipeline.models.blocks import ACTIVATIONS, Style, normalization
from pipeline.models.networks import AnyNetwork
from pipeline.models.registry import build_model, count_parameters
from pipeline.training.device import run_logits
from pipeline.training.losses import LOSSES, supervise

UNET = {"name": "unet", "width": 4, "depth": 3}
ENCODER = {"name": "unet-encoder", "width": 32}


def build(options, in_channels=3, out_channels=1, seed=0):
    """Build a network, with weights of normalizations and biases other than 0 and 1."""
    torch.manual_seed(seed)
    network = TypeAdapter(AnyNetwork).validate_python(options)
    model = build_model(network, in_channels=in_channels, out_channels=out_channels)
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


def eca(x, gate):
    """Apply ECA channel by channel."""
    (weights,) = (value.detach().numpy().astype(float).ravel() for value in gate.parameters())
    scaled = np.empty_like(x)
    for sample, output in zip(x, scaled, strict=True):
        means = np.pad(sample.mean((1, 2)), len(weights) // 2)
        for channel in range(len(sample)):
            output[channel] = sample[channel] * sigmoid(means[channel : channel + len(weights)] @ weights)
    return scaled


@pytest.mark.parametrize(("attention", "plain"), [("scse", scse), ("eca", eca)])
@pytest.mark.parametrize("channels", [1, 6, 64])
def test_gates_equal_a_plain_computation(attention, plain, channels):
    torch.manual_seed(1)
    (gate,) = gates(attention, channels)
    x = torch.randn(2, channels, 5, 3, dtype=torch.float64)
    for values in (x, x.contiguous(memory_format=torch.channels_last)):
        np.testing.assert_allclose(gate.double()(values).detach(), plain(x.numpy(), gate), rtol=1e-6)
    if channels == 6:
        assert torch.autograd.gradcheck(gate, x[:1, :, :2, :2].clone().requires_grad_())


@pytest.mark.parametrize(("channels", "kernel"), [(1, 1), (8, 3), (64, 3), (128, 5), (256, 5), (2048, 7)])
def test_eca_kernels_follow_the_code_of_the_paper(channels, kernel):
    (gate,) = gates("eca", channels)
    assert gate.mix.weight.shape == (1, 1, kernel)


@pytest.mark.parametrize(
    ("network", "attention", "parameters"),
    [
        # blocks of 4, 8, 16, 8, 4 channels: C x C/2 + C/2 + C/2 x C + C and C + 1 each
        (UNET, "scse", 2 * (4 * 4 + 6 + 5) + 2 * (8 * 8 + 12 + 9) + 16 * 16 + 24 + 17),
        (UNET, "eca", 2 * 1 + 2 * 3 + 3),
        # decoder blocks of 32, 16, 16, 16, 16 channels
        (ENCODER, "scse", 32 * 32 + 48 + 33 + 4 * (16 * 16 + 24 + 17)),
        (ENCODER, "eca", 5 * 3),
    ],
)
def test_attention_adds_the_parameters_counted_by_hand(network, attention, parameters):
    added = count_parameters(build({**network, "attention": attention})) - count_parameters(build(network))
    assert added == parameters


CASES = [
    {**UNET, "attention": "scse"},
    {**UNET, "attention": "eca"},
    {**ENCODER, "attention": "scse"},
    {**UNET, "residual": True, "attention": "scse"},
]
IDS = [" ".join(str(value) for value in options.values()) for options in CASES]


@pytest.mark.parametrize("options", CASES, ids=IDS)
def test_options_of_blocks_keep_sizes_and_give_gradients(options):
    model = build(options, out_channels=2).to(memory_format=torch.channels_last)
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
    changed = network.changed(attention="eca")
    assert TypeAdapter(AnyNetwork).validate_python(changed.plain()) == changed
    assert changed.plain() == {**network.plain(), "attention": "eca"}
    encoder = TypeAdapter(AnyNetwork).validate_python({"name": "unet-encoder"})
    assert encoder.plain() == {"name": "unet-encoder", "encoder": "efficientnet-lite0", "width": 256}


def test_attention_ends_each_block():
    model = build({**UNET, "attention": "eca"}).eval()
    plain = build(UNET).eval()
    missing = plain.load_state_dict(model.state_dict(), strict=False)
    assert missing.missing_keys == []
    assert len(missing.unexpected_keys) == 5
    ends = [block[-1] for block in (*model.down, *model.up)]
    for block, gate in zip((*plain.down, *plain.up), ends, strict=True):
        block.append(gate)
    x = torch.rand(1, 3, 40, 36)
    with torch.no_grad():
        assert torch.equal(model(x), plain(x))
    assert not any(isinstance(module, nn.Conv1d) for module in build(ENCODER | {"attention": "eca"}).encoder.modules())


@pytest.mark.parametrize("channels", [(3, 6), (6, 6)])
@pytest.mark.parametrize("attention", ["none", "eca"])
def test_residual_block_equals_a_plain_computation(channels, attention):
    torch.manual_seed(2)
    block = (
        Style(bias=True, norm="batch", activation="silu", residual=True, attention=attention).block(*channels).eval()
    )
    x = torch.randn(2, channels[0], 9, 7)
    weights = {name: torch.randn_like(value) for name, value in block.state_dict().items() if "num" not in name}
    weights |= {name: value.abs() for name, value in weights.items() if "running_var" in name}
    block.load_state_dict(weights, strict=False)

    def normalized_conv(x, conv, norm, padding):
        conv = functional.conv2d(x, weights[f"{conv}.weight"], weights[f"{conv}.bias"], padding=padding)
        mean, var, weight, bias = (
            weights[f"{norm}.{key}"] for key in ("running_mean", "running_var", "weight", "bias")
        )
        return functional.batch_norm(conv, mean, var, weight, bias)

    branch = normalized_conv(x, "branch.0", "branch.1", 1)
    branch = normalized_conv(branch * branch.sigmoid(), "branch.3", "branch.4", 1)
    if attention == "eca":
        branch = torch.from_numpy(eca(branch.numpy(), block.branch[-1]))
    shortcut = x if channels[0] == channels[1] else normalized_conv(x, "shortcut.0", "shortcut.1", 0)
    with torch.no_grad():
        total = branch + shortcut
        torch.testing.assert_close(block(x), total * total.sigmoid())


@pytest.mark.parametrize("norm", ["batch", "group", "none"])
def test_residual_block_starts_as_its_shortcut(norm):
    block = Style(bias=False, norm=norm, activation="relu", residual=True, attention="none").block(4, 4)
    x = torch.rand(2, 4, 8, 8)
    assert torch.equal(block(x), x)


def test_residual_blocks_add_the_projections_counted_by_hand():
    added = count_parameters(build({**UNET, "residual": True})) - count_parameters(build(UNET))
    # 1x1 convolutions with bias, and normalizations: 3 to 4, 4 to 8, 8 to 16, 16 to 8, 8 to 4 channels
    assert added == sum(a * b + b + 2 * b for a, b in [(3, 4), (4, 8), (8, 16), (16, 8), (8, 4)])


SMALL = {"name": "unet-small", "widths": (4, 8, 16)}
SUPERVISED = [
    pytest.param(UNET, [8], id="unet"),
    pytest.param({**UNET, "depth": 4}, [16, 8], id="unet of 4 levels"),
    pytest.param(SMALL, [8], id="unet-small"),
    pytest.param(ENCODER, [32, 16, 16, 16], id="unet-encoder"),
]


@pytest.mark.parametrize(("options", "widths"), SUPERVISED)
def test_deep_supervision_adds_one_convolution_per_block(options, widths):
    supervised = build({**options, "deep_supervision": True}, out_channels=2)
    assert count_parameters(supervised) - count_parameters(build(options, out_channels=2)) == sum(
        2 * width + 2 for width in widths
    )
    assert [head.in_channels for head in supervised.sides] == widths


@pytest.mark.parametrize(("options", "widths"), SUPERVISED)
def test_side_outputs_are_enlarged_logits_of_the_blocks(options, widths):
    model = build({**options, "deep_supervision": True}, out_channels=2)
    outputs = []
    for block in model.up:
        block.register_forward_hook(lambda _, __, output: outputs.append(output))
    logits = run_logits(model, torch.rand(2, 3, 64, 64), "fp32")
    expected = [
        functional.interpolate(
            torch.einsum("nchw,kc->nkhw", output, head.weight[..., 0, 0]) + head.bias[:, None, None],
            size=(64, 64),
            mode="bilinear",
        )
        for output, head in zip(outputs, model.sides, strict=False)
    ]
    torch.testing.assert_close(logits[1:], expected[::-1])
    torch.testing.assert_close(logits[0], model.head(outputs[-1]))


@pytest.mark.parametrize(("options", "widths"), SUPERVISED[:3])
def test_side_outputs_count_in_training_only(options, widths):
    """They fit odd sizes, every parameter gets a gradient, and predictions do not compute them."""
    model = build({**options, "deep_supervision": True}).to(memory_format=torch.channels_last)
    image = torch.rand(2, 3, 33, 47).contiguous(memory_format=torch.channels_last)
    outputs = run_logits(model, image, "bf16")
    assert [tuple(output.shape) for output in outputs] == [(2, 1, 33, 47)] * (1 + len(widths))
    supervise(LOSSES["bce"].function, outputs, torch.rand(2, 1, 33, 47), None).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
    for head in model.eval().sides:
        head.register_forward_hook(lambda *_: pytest.fail("a side output was computed"))
    with torch.no_grad():
        (output,) = run_logits(model, image, "fp32")
        plain = build(options)
        unused = plain.load_state_dict(model.state_dict(), strict=False).unexpected_keys
        assert all(name.startswith("sides.") for name in unused)
        assert torch.equal(output, plain.eval().to(memory_format=torch.channels_last)(image))


@pytest.mark.parametrize(("options", "key"), [({**UNET, "depth": 2}, "depth"), ({**SMALL, "widths": (4, 8)}, "widths")])
def test_deep_supervision_of_two_levels_is_refused(options, key):
    with pytest.raises(ValidationError, match=rf"three or more levels.*larger `{key}`"):
        build({**options, "deep_supervision": True})


@pytest.mark.parametrize(
    ("channels", "groups"), [(1, 1), (4, 1), (12, 1), (16, 2), (24, 3), (48, 6), (256, 32), (512, 32)]
)
def test_group_normalization_equals_a_plain_computation(channels, groups):
    norm = normalization("group", channels)
    torch.manual_seed(3)
    x = torch.randn(2, channels, 3, 2, dtype=torch.float64) * 4 + 1
    expected = torch.empty_like(x)
    size = channels // groups
    for sample, output in zip(x, expected, strict=True):
        for first in range(0, channels, size):
            group = sample[first : first + size]
            output[first : first + size] = (group - group.mean()) / (group.var(correction=0) + 1e-5).sqrt()
    with torch.no_grad():
        norm.weight += torch.randn(channels)
        norm.bias += torch.randn(channels)
        expected = expected * norm.weight[:, None, None] + norm.bias[:, None, None]
        torch.testing.assert_close(norm.double()(x), expected)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_have_the_stated_mean_square(name):
    x = torch.linspace(-12, 12, 200_001, dtype=torch.float64)
    density = torch.exp(-x.square() / 2) / (2 * torch.pi) ** 0.5
    moment = torch.trapezoid(ACTIVATIONS[name].module()(x.clone()).square() * density, x)
    assert moment.item() == pytest.approx(ACTIVATIONS[name].moment, abs=1e-5)


# pooling enlarges activations, and the gain of SiLU, unlike that of ReLU, rises with them
@pytest.mark.parametrize(
    ("residual", "activation", "limit"), [(True, "relu", 3), (False, "relu", 3), (False, "silu", 10)]
)
def test_without_normalization_activations_keep_their_size(residual, activation, limit):
    torch.manual_seed(4)
    options = {"name": "unet", "width": 16, "norm": "none", "activation": activation, "residual": residual}
    network = TypeAdapter(AnyNetwork).validate_python(options)
    model = build_model(network, in_channels=3, out_channels=1)
    ends = []
    model.up[-1].register_forward_hook(lambda _, __, output: ends.append(output))
    with torch.no_grad():
        model(torch.randn(2, 3, 64, 64))
    assert 0.3 < ends[0].square().mean().sqrt() < limit


@pytest.mark.parametrize(("norm", "parameters"), [("group", 0), ("none", -2 * 2 * (4 + 8 + 16 + 8 + 4))])
def test_normalizations_have_the_parameters_counted_by_hand(norm, parameters):
    """Two normalizations in each block of 4, 8, 16, 8, 4 channels, each with a weight and a bias per channel."""
    model = build({**UNET, "norm": norm})
    assert count_parameters(model) - count_parameters(build(UNET)) == parameters
    assert not any("running" in name for name in model.state_dict())
