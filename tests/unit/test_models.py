import pytest
import torch

from pipeline.errors import CheckpointError
from pipeline.models.registry import MODELS, build_model, count_parameters
from pipeline.models.shapes import centre_crop

SMALL = {"unet": {"width": 4, "depth": 3}, "unet-crop": {"widths": (4, 6, 8)}}


def build(name, in_channels=3, **options):
    return build_model(name, in_channels=in_channels, out_channels=1, options=options)


@pytest.mark.parametrize(
    ("name", "in_channels", "options", "parameters"),
    [
        ("unet", 3, {}, 31_044_033),
        ("unet", 1, {"bias": False, "head_kernel": 1}, 31_036_481),
        ("unet-crop", 3, {}, 117_041),
    ],
)
def test_the_published_networks_have_their_parameters(name, in_channels, options, parameters):
    assert count_parameters(build(name, in_channels, **options)) == parameters


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("size", [(32, 32), (33, 47), (64, 40), (101, 101), (44, 130)])
def test_any_size_from_32_comes_back_as_it_went_in(name, size):
    model = build(name, **SMALL[name]).eval()
    with torch.no_grad():
        assert model(torch.rand(2, 3, *size)).shape == (2, 1, *size)


@pytest.mark.parametrize("name", MODELS)
def test_every_parameter_learns(name):
    torch.manual_seed(0)
    model = build(name, **SMALL[name])
    model(torch.rand(2, 3, 48, 48)).square().sum().backward()
    for label, parameter in model.named_parameters():
        assert parameter.grad is not None, label
        assert torch.isfinite(parameter.grad).all(), label


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("shape", [(1, 1, 64, 64), (3, 64, 64), (1, 3, 31, 64)])
def test_a_wrong_input_says_what_came_and_what_is_needed(name, shape):
    with pytest.raises(ValueError, match=r"needed is \(N, 3, H, W\) with H and W from 32 up") as caught:
        build(name, **SMALL[name])(torch.zeros(shape))
    assert str(shape) in str(caught.value)


# weights set by a formula, so that neither the generator nor the initialization matters
PINNED = {
    "unet": (0.3030655, 0.1190846, 0.3008763),
    "unet-crop": (0.0720456, 0.0243099, 0.0402116),
}


def pinned_outputs(name):
    model = build(name, **SMALL[name]).eval()
    with torch.no_grad():
        for index, parameter in enumerate(model.parameters()):
            steps = torch.arange(parameter.numel(), dtype=torch.float64)
            parameter.copy_((torch.sin(steps * 0.7 + index) * 0.35).float().view_as(parameter))
        ramp = torch.linspace(-1, 1, 3 * 40 * 44).view(1, 3, 40, 44).sin()
        output = model(ramp)
    return output.mean().item(), output.std().item(), output[0, 0, 17, 23].item()


@pytest.mark.parametrize("name", MODELS)
def test_fixed_weights_give_fixed_outputs(name):
    assert pinned_outputs(name) == pytest.approx(PINNED[name], rel=2e-4)


def test_a_picture_moved_by_whole_pooling_steps_moves_the_output():
    torch.manual_seed(1)
    model = build("unet", width=4, depth=3).eval()
    x = torch.rand(1, 3, 96, 96)
    with torch.no_grad():
        moved = model(torch.roll(x, (4, 4), dims=(2, 3)))
        still = torch.roll(model(x), (4, 4), dims=(2, 3))
    torch.testing.assert_close(moved[..., 36:60, 36:60], still[..., 36:60, 36:60], atol=1e-5, rtol=1e-4)


def test_centre_crop_rounds_as_torchvision_does():
    x = torch.arange(7.0).expand(1, 1, 7, 7)
    assert centre_crop(x, 4, 4)[0, 0, 0].tolist() == [2, 3, 4, 5]  # (7 - 4) / 2 = 1.5 is rounded to 2
    assert centre_crop(x, 2, 2)[0, 0, 0].tolist() == [2, 3]  # 2.5 to 2


def test_an_unknown_network_is_named_with_those_there_are():
    with pytest.raises(CheckpointError, match="unet, unet-crop"):
        build("resnet")
