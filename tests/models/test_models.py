import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from pipeline.core.options import tag_values
from pipeline.models.networks import NETWORKS, AnyNetwork
from pipeline.models.published import PUBLISHED, describe, print_layers, print_models
from pipeline.models.registry import build_model, count_parameters
from pipeline.models.shapes import centre_crop, mirror_pad

MODELS = tag_values(NETWORKS, "name")
SMALL = {
    "unet": {"width": 4, "depth": 3},
    "unet-crop": {"widths": (4, 6, 8)},
    "unet-original": {"width": 4, "depth": 3},
    "unet-small": {"widths": (4, 4, 6)},
}


def small(name):
    """Return options of a small network."""
    (kind,) = (kind for kind in NETWORKS if tag_values([kind], "name") == [name])
    return SMALL.get(name, {"width": 8} if "width" in kind.model_fields else {})


def build(name, in_channels=3, out_channels=1, **options):
    network = TypeAdapter(AnyNetwork).validate_python({"name": name, **options})
    return build_model(network, in_channels=in_channels, out_channels=out_channels)


@pytest.mark.parametrize(
    ("name", "in_channels", "options", "parameters"),
    [
        ("unet", 3, {}, 31_044_033),
        ("unet", 1, {"bias": False, "head_kernel": 1}, 31_036_481),
        ("unet-crop", 3, {}, 117_041),
        ("u2net", 3, {}, 43_995_469),
        ("u2net-lite", 3, {}, 1_128_333),
    ],
)
def test_networks_have_published_parameter_counts(name, in_channels, options, parameters):
    assert count_parameters(build(name, in_channels, **options)) == parameters


def test_multiclass_networks_have_published_parameter_counts():
    for name, classes, parameters in (("unet-original", 21, 31_380_245), ("unet-small", 4, 1_993_188)):
        assert count_parameters(build(name, out_channels=classes)) == parameters


def test_print_models_lists_the_published_networks(capsys):
    print_models()
    lines = {line[:20].strip(): line for line in capsys.readouterr().out.splitlines()}
    assert len(lines) == 8
    assert "21x388x388" in lines["B. original U-Net"]
    assert "43,995,469" in lines["D. U2-Net"]
    assert describe(PUBLISHED[4])["megabytes"] == pytest.approx(176.1, abs=0.1)
    # a single 3x3 convolution of the first block: 2 * 9 * 64 * 64 * 512**2 = 19.3 * 10**9
    assert 300 < describe(PUBLISHED[0])["gflops"] < 400


def test_print_layers_lists_layers_with_output_shapes_and_totals(capsys):
    print_layers(["unet-small"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "B. small U-Net (unet-small), input 3x128x128"
    rows = [line.split() for line in lines[3:] if line.endswith(tuple("0123456789")) and "x" in line]
    assert rows[0] == ["down.0.0", "(Conv2d)", "32x128x128", "896"]
    assert rows[-1] == ["head", "(Conv2d)", "4x128x128", "132"]
    assert sum(int(row[-1].replace(",", "")) for row in rows) == 1_993_188
    assert "parameters: 1,993,188 (trainable 1,993,188, not trainable 0), 8.0 MB" in lines
    print_layers([])
    every = capsys.readouterr().out
    for parameters in (31_044_033, 31_380_245, 31_036_481, 43_995_469, 1_128_333, 117_041):
        assert f"parameters: {parameters:,} (" in every
    assert "21x388x388" in every


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("size", [(32, 32), (33, 47), (64, 40), (101, 101), (44, 130)])
def test_output_has_the_size_of_the_input(name, size):
    model = build(name, **small(name)).eval()
    with torch.no_grad():
        assert model(torch.rand(2, 3, *size)).shape == (2, 1, *size)


@pytest.mark.parametrize("name", MODELS)
def test_every_network_has_a_pooling_stride(name):
    """Tiles start at multiples of the stride."""
    multiple = build(name, **small(name)).multiple
    assert isinstance(multiple, int)
    assert multiple >= 1


@pytest.mark.parametrize("name", MODELS)
def test_every_parameter_gets_a_gradient(name):
    torch.manual_seed(0)
    model = build(name, **small(name))
    output = model(torch.rand(2, 3, 64, 64))
    sum(logits.square().sum() for logits in (output if isinstance(output, list) else [output])).backward()
    for label, parameter in model.named_parameters():
        assert parameter.grad is not None, label
        assert torch.isfinite(parameter.grad).all(), label


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("shape", [(1, 1, 64, 64), (3, 64, 64), (1, 3, 31, 64)])
def test_shape_error_names_actual_and_expected_shape(name, shape):
    with pytest.raises(ValueError, match=r"expected \(N, 3, H, W\) with H and W from 32 up") as caught:
        build(name, **small(name))(torch.zeros(shape))
    assert str(shape) in str(caught.value)


# weights set by a formula, independent of random numbers and initialization
PINNED = {
    "unet": (0.2555713, 0.0525905, 0.2550338),
    "unet-crop": (0.1673019, 0.0135057, 0.1525130),
    "unet-original": (0.6005498, 0.4777737, 0.5325271),
    "unet-small": (2.3388999, 9.0968695, 0.5288168),
    "u2net": (0.4564183, 0.0761240, 0.4831130),
    "u2net-lite": (0.4954538, 0.0305759, 0.4872392),
}


def pinned_outputs(name):
    model = build(name, **small(name)).eval()
    with torch.no_grad():
        for index, parameter in enumerate(model.parameters()):
            steps = torch.arange(parameter.numel(), dtype=torch.float64)
            size = (2.0 / parameter[0].numel()) ** 0.5 if parameter.ndim > 1 else 0.3
            parameter.copy_((torch.sin(steps * 0.7 + index) * size).float().view_as(parameter))
        ramp = torch.linspace(-1, 1, 3 * 40 * 44).view(1, 3, 40, 44).sin()
        output = model(ramp)
    return output.mean().item(), output.std().item(), output[0, 0, 17, 23].item()


@pytest.mark.parametrize("name", PINNED)
def test_fixed_weights_give_fixed_outputs(name):
    assert pinned_outputs(name) == pytest.approx(PINNED[name], rel=2e-4)


def test_output_is_equivariant_to_shifts_by_the_pooling_stride():
    torch.manual_seed(1)
    model = build("unet", width=4, depth=3).eval()
    x = torch.rand(1, 3, 96, 96)
    with torch.no_grad():
        shifted = model(torch.roll(x, (4, 4), dims=(2, 3)))
        expected = torch.roll(model(x), (4, 4), dims=(2, 3))
    torch.testing.assert_close(shifted[..., 36:60, 36:60], expected[..., 36:60, 36:60], atol=1e-5, rtol=1e-4)


def test_centre_crop_rounds_as_torchvision_does():
    x = torch.arange(7.0).expand(1, 1, 7, 7)
    assert centre_crop(x, 4, 4)[0, 0, 0].tolist() == [2, 3, 4, 5]  # (7 - 4) / 2 = 1.5 is rounded to 2
    assert centre_crop(x, 2, 2)[0, 0, 0].tolist() == [2, 3]  # 2.5 to 2


def test_error_for_unknown_network_lists_the_networks():
    with pytest.raises(ValidationError, match=r"'resnet'.*'unet', 'unet-original', 'unet-small', 'unet-crop'"):
        build("resnet")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("unet", {"width": 2048}),
        ("unet", {"depth": 60}),
        ("unet-original", {"depth": 7}),
        ("unet-small", {"widths": (8, 10**9)}),
        ("unet-crop", {"widths": (8,) * 60}),
        ("u2net", {"width": 10**9}),
    ],
)
def test_networks_beyond_any_memory_are_refused(name, options):
    with pytest.raises(ValidationError, match=r"less than or equal|at most"):
        build(name, **options)


def test_original_unet_maps_572_to_388_and_pads_by_reflection():
    torch.manual_seed(2)
    model = build("unet-original", in_channels=1, out_channels=2, width=2)
    with torch.no_grad():
        assert model.valid_forward(torch.zeros(1, 1, 572, 572)).shape == (1, 2, 388, 388)
        x = torch.rand(1, 1, 388, 388)
        mirrored = nn.functional.pad(x, (92, 92, 92, 92), mode="reflect")
        torch.testing.assert_close(model(x), model.valid_forward(mirrored))
    assert [model.margins(side) for side in (388, 32)] == [(92, 92), (92, 96)]


def test_reflection_padding_can_exceed_the_image_size():
    x = torch.arange(4.0).view(1, 1, 1, 4)
    row = mirror_pad(x, (0, 0), (7, 5))[0, 0, 0].tolist()
    assert row == [1, 0, 1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1, 2]
    assert mirror_pad(x, (3, 2), (0, 0)).shape == (1, 1, 6, 4)


@pytest.mark.parametrize("name", ["u2net", "u2net-lite"])
def test_u2net_returns_seven_logits_only_in_training_mode(name):
    torch.manual_seed(3)
    model = build(name, **small(name))
    x = torch.rand(2, 3, 50, 37)
    outputs = model(x)
    assert [tuple(output.shape) for output in outputs] == [(2, 1, 50, 37)] * 7
    assert min(output.min() for output in outputs) < 0 or max(output.max() for output in outputs) > 1
    model.eval()
    with torch.no_grad():
        probability = model(x)
        torch.testing.assert_close(probability, torch.sigmoid(model.logits(x)[0]))
    assert probability.shape == (2, 1, 50, 37)


MIRRORED = {"widths": (4, 6, 8), "padding": "mirror"}


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (128, 101), (44, 130)])
def test_mirrored_unet_crop_has_the_size_and_place_of_the_input(size):
    """Every output pixel depends on the input pixels around its own place, as far on one side as on the other."""
    model = build("unet-crop", in_channels=1, **MIRRORED).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1 / parameter.numel())
    x = torch.ones(1, 1, *size, dtype=torch.float64, requires_grad=True)
    output = model(x)
    assert output.shape == (1, 1, *size)
    row, column = size[0] // 2 // 4 * 4, size[1] // 2 // 4 * 4
    (weights,) = torch.autograd.grad(output[0, 0, row : row + 4, column : column + 4].sum(), x)
    rows, columns = (weights[0, 0].sum(axis) for axis in (1, 0))
    for sums, first in ((rows, row), (columns, column)):
        if len(sums) > 100:  # the field of view is inside
            centre = (sums * torch.arange(len(sums))).sum() / sums.sum()
            assert centre.item() == pytest.approx(first + 1.5, abs=0.01)


def test_mirrored_unet_crop_pads_128_by_20_pixels_on_each_side():
    torch.manual_seed(4)
    model = build("unet-crop", **MIRRORED)
    assert model.margins(128) == (20, 20)
    x = torch.rand(1, 3, 128, 128)
    with torch.no_grad():
        mirrored = nn.functional.pad(x, (20, 20, 20, 20), mode="reflect")
        torch.testing.assert_close(model(x), model.valid_forward(mirrored))


@pytest.mark.parametrize(("padding", "aligned"), [("mirror", True), ("stretch", False)])
def test_only_mirrored_unet_crop_shifts_with_the_image(padding, aligned):
    torch.manual_seed(5)
    model = build("unet-crop", **{**MIRRORED, "padding": padding})
    image = torch.rand(1, 3, 140, 140)
    with torch.no_grad():
        first, second = model(image[..., :128, :128]), model(image[..., 4:132, 8:136])
    inner, shifted = first[..., 28:100, 28:100], second[..., 24:96, 20:92]
    assert torch.allclose(inner, shifted, atol=1e-6) == aligned


def test_stretched_and_mirrored_unet_crop_share_weights():
    stretched, mirrored = build("unet-crop"), build("unet-crop", padding="mirror")
    mirrored.load_state_dict(stretched.state_dict())
    assert count_parameters(mirrored) == count_parameters(stretched) == 117_041
