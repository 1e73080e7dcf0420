"""Precision of fp32, checked by the flags of PyTorch, because most test machines have no GPU."""

import pytest
import torch

from pipeline.prediction.network import load_predictor
from pipeline.training.device import prepare_determinism, prepare_fp32


@pytest.fixture(autouse=True)
def restore_flags():
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    deterministic = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before
    torch.use_deterministic_algorithms(deterministic[0], warn_only=True)
    torch.backends.cudnn.benchmark = deterministic[1]


def tf32():
    return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize("deterministic", [True, False])
def test_deterministic_trainings_use_exact_fp32(deterministic):
    prepare_fp32(exact=not deterministic)
    prepare_determinism(deterministic, torch.device("cpu"))
    assert tf32() == (not deterministic,) * 2


def test_deterministic_trainings_fill_no_new_tensor():
    prepare_determinism(True, torch.device("cpu"))
    x = torch.zeros(1, 1, 4, 4)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        x.new_empty(1, 1, 4, 4)
        torch.nn.functional.conv2d(x, x)
    assert not [event.name for event in profile.events() if "fill" in event.name]


def test_predictions_always_use_exact_fp32(tmp_path):
    prepare_fp32(exact=False)
    with pytest.raises(Exception, match=r"best\.pt"):
        load_predictor(tmp_path / "best.pt", precision="fp32", threads=1)
    assert tf32() == (False, False)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU, named by CUDA_VISIBLE_DEVICES")
def test_exact_fp32_convolution_on_a_gpu():
    torch.manual_seed(0)
    image, weight = torch.randn(1, 64, 64, 64), torch.randn(64, 64, 3, 3)
    exact = torch.nn.functional.conv2d(image.double(), weight.double())
    prepare_fp32(exact=True)
    computed = torch.nn.functional.conv2d(image.cuda(), weight.cuda()).cpu()
    assert (computed - exact).abs().max() < 2e-5 * exact.abs().max()
