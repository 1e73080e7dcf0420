import copy

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.models import upsampling
from pipeline.models.networks import U2NetLite, UNetOriginal, UNetSmall
from pipeline.models.registry import build_model
from pipeline.models.shapes import centre_crop
from pipeline.models.upsampling import Bilinear, DoublingConv, interpolation_matrix, resize_bilinear

LAYOUTS = [torch.contiguous_format, torch.channels_last]
# U2-Net at 288 and at odd sizes: twice, all side outputs, ceil-mode pooling, one pixel, and a smaller size
SIZES = [
    ((144, 144), (288, 288)),
    ((9, 9), (288, 288)),
    ((5, 5), (9, 9)),
    ((19, 13), (37, 25)),
    ((1, 2), (2, 3)),
    ((25, 19), (50, 37)),
    ((12, 12), (5, 7)),
]


def interpolate(x, size):
    return functional.interpolate(x, size=size, mode="bilinear", align_corners=False)


def with_gradient(resize, x, gradient):
    x = x.detach().requires_grad_()
    y = resize(x)
    y.backward(gradient)
    return y.detach(), x.grad


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 2e-6), (torch.bfloat16, 2e-2)]
)
@pytest.mark.parametrize(("size", "output_size"), SIZES)
def test_bilinear_of_gpus_equals_interpolate(size, output_size, dtype, tolerance, layout):
    """The gradient is compared in float64, relative to the largest value."""
    torch.manual_seed(0)
    for channels in (1, 3):
        x = torch.randn(2, channels, *size).to(dtype).contiguous(memory_format=layout)
        gradient = torch.randn(2, channels, *output_size).to(dtype).contiguous(memory_format=layout)
        y, computed = with_gradient(lambda x, size=output_size: Bilinear.apply(x, *size), x, gradient)
        assert torch.equal(y, interpolate(x, output_size))
        _, exact = with_gradient(lambda x, size=output_size: interpolate(x, size), x.double(), gradient.double())
        assert computed.dtype == dtype
        assert (computed.double() - exact).abs().max() <= tolerance * exact.abs().max()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_gradient_of_bilinear_is_its_derivative(layout):
    x = torch.randn(2, 3, 3, 4, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: Bilinear.apply(x, 7, 8), (x,))


def test_gradient_of_a_concatenation_is_not_copied(monkeypatch):
    """It is a part of the channels of a larger tensor; the result is in channels-last format."""
    whole = torch.randn(2, 8, 12, 12).contiguous(memory_format=torch.channels_last)
    part = whole[:, 3:7]
    x = torch.randn(2, 4, 6, 6).contiguous(memory_format=torch.channels_last)
    _, expected = with_gradient(lambda x: interpolate(x, (12, 12)), x, part)
    interpolation_matrix(12, 6, torch.float32, torch.device("cpu"))
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], record_shapes=True) as profile:
        _, computed = with_gradient(lambda x: Bilinear.apply(x, 12, 12), x, part)
    torch.testing.assert_close(computed, expected)
    assert computed.is_contiguous(memory_format=torch.channels_last)
    names = [event.name for event in profile.events()]
    assert names.count("aten::bmm") == 2
    backward = names[names.index("BilinearBackward") : len(names) - names[::-1].index("aten::bmm")]
    assert not {"aten::copy_", "aten::clone"} & set(backward)


def test_resize_uses_the_repeatable_form_on_other_devices():
    x = torch.randn(1, 2, 4, 4, requires_grad=True)
    assert "UpsampleBilinear2D" in type(resize_bilinear(x, (8, 8)).grad_fn).__name__
    assert resize_bilinear(x, (4, 4)) is x
    other = torch.zeros(1, 2, 4, 4, device="meta", requires_grad=True)
    assert type(resize_bilinear(other, (8, 8)).grad_fn).__name__ == "BilinearBackward"


def test_matrices_are_built_once_and_not_stored_with_weights():
    device = torch.device("cpu")
    assert interpolation_matrix(6, 3, torch.float32, device) is interpolation_matrix(6, 3, torch.float32, device)
    torch.testing.assert_close(
        interpolation_matrix(4, 2, torch.float32, device),
        torch.tensor([[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]]),
    )


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("training", [True, False])
def test_doubling_convolution_equals_pytorch_in_bf16(layout, training):
    torch.manual_seed(1)
    ours = DoublingConv(6, 5).to(memory_format=layout)
    theirs = nn.ConvTranspose2d(6, 5, 2, stride=2)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 6, 7, 9).contiguous(memory_format=layout)
    gradient = torch.randn(2, 5, 14, 18).bfloat16()
    results = []
    for module in (ours, theirs, copy.deepcopy(ours).double()):
        input = x.detach().to(module.weight.dtype).requires_grad_()
        exact = module.weight.dtype == torch.float64
        with torch.autocast("cpu", torch.bfloat16, enabled=not exact), torch.set_grad_enabled(training):
            y = module(input if exact else input.bfloat16())
        if training:
            y.backward(gradient.to(y.dtype))
        results.append([y, input.grad, module.weight.grad, module.bias.grad] if training else [y])
    for computed, reference, exact in zip(*results, strict=True):
        assert computed.dtype == reference.dtype
        assert computed.shape == reference.shape
        error = (computed.double() - exact).abs().max()
        assert error <= max(1.5 * (reference.double() - exact).abs().max(), 0.01 * exact.abs().max())


def test_doubling_convolution_of_bf16_is_a_matrix_product():
    module, x = DoublingConv(3, 2), torch.randn(1, 3, 4, 4, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16), torch.profiler.profile() as profile:
        module(x.bfloat16()).sum().backward()
    assert not [event.name for event in profile.events() if "conv" in event.name]
    assert torch.equal(module(x), nn.ConvTranspose2d.forward(module, x))


def test_gradient_of_a_crop_keeps_the_channels_last_format():
    x = torch.randn(1, 4, 9, 8).contiguous(memory_format=torch.channels_last).requires_grad_()
    (gradient,) = torch.autograd.grad(centre_crop(x, 4, 6).square().sum(), x)
    expected = torch.zeros_like(x)
    expected[..., 2:6, 1:7] = 2 * x.detach()[..., 2:6, 1:7]
    assert torch.equal(gradient, expected)
    assert gradient.is_contiguous(memory_format=torch.channels_last)
    assert centre_crop(x, 9, 8) is x


class RecordGradients(TorchDispatchMode):
    """Records whether the gradients that upsampling gets are tensors of their own in channels-last format."""

    def __init__(self):
        super().__init__()
        self.formats = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if "upsample" in function._schema.name and "backward" in function._schema.name:
            self.formats.append(args[0].is_contiguous(memory_format=torch.channels_last))
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("network", "upsamplings"),
    [
        (UNetSmall(name="unet-small", widths=(4, 6, 8)), 2),
        (UNetOriginal(name="unet-original", width=2, depth=3), 2),
        (U2NetLite(name="u2net-lite", width=8), 38),
    ],
)
def test_upsampling_gets_gradients_in_the_fast_format(network, upsamplings):
    torch.manual_seed(2)
    model = build_model(network, in_channels=3, out_channels=1).to(memory_format=torch.channels_last).train()
    outputs = model(torch.rand(2, 3, 64, 64).contiguous(memory_format=torch.channels_last))
    with RecordGradients() as recorded:
        sum(output.square().sum() for output in (outputs if isinstance(outputs, list) else [outputs])).backward()
    assert recorded.formats == [True] * upsamplings


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU, named by CUDA_VISIBLE_DEVICES")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bilinear_on_a_gpu_equals_interpolate_on_a_cpu(dtype):
    x = torch.randn(4, 16, 36, 36).to(dtype).contiguous(memory_format=torch.channels_last)
    gradient = torch.randn(4, 16, 72, 72).to(dtype).contiguous(memory_format=torch.channels_last)
    expected = with_gradient(lambda x: interpolate(x, (72, 72)), x.float(), gradient.float())
    computed = [
        with_gradient(lambda x: upsampling.resize_bilinear(x, (72, 72)), x.cuda(), gradient.cuda()) for _ in range(2)
    ]
    assert all(torch.equal(first, second) for first, second in zip(*computed, strict=True))
    for value, reference in zip(computed[0], expected, strict=True):
        torch.testing.assert_close(
            value.float().cpu(), reference, atol=3e-2 if dtype == torch.bfloat16 else 1e-5, rtol=0
        )
