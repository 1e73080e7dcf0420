"""Steps of training on the device "meta", where nothing is computed, call the same operations as on a GPU.

None may be among those that `torch.use_deterministic_algorithms` warns of on a GPU or replaces by a slow form.
"""

import warnings

import pytest
import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.models.networks import U2Net, U2NetLite, UNet, UNetCrop, UNetEncoder, UNetOriginal, UNetSmall
from pipeline.models.registry import build_model
from pipeline.training.augment.augmentation import Augmentation
from pipeline.training.augment.options import Augment, Elastic
from pipeline.training.data import Batch
from pipeline.training.device import SideOutputs, prepare_determinism
from pipeline.training.losses import LOSSES, supervise

# operations on a GPU without a deterministic form, or with one that is made of indexed writes; PyTorch 2.13
NOT_REPEATABLE = {
    *(f"upsample_{mode}_backward" for mode in ("linear1d", "bilinear2d", "bicubic2d", "trilinear3d")),
    *(f"{kind}_pad{axes}d_backward" for kind in ("reflection", "replication") for axes in (1, 2, 3)),
    *("_adaptive_avg_pool2d_backward", "_adaptive_avg_pool3d_backward", "adaptive_max_pool2d_backward"),
    *("avg_pool3d_backward", "max_pool3d_with_indices_backward", "fractional_max_pool2d_backward"),
    *("max_unpool2d", "max_unpool3d", "grid_sampler_2d_backward", "grid_sampler_3d_backward"),
    *("nll_loss_forward", "nll_loss2d_forward", "nll_loss_backward", "nll_loss2d_backward", "_ctc_loss_backward"),
    *("index_put", "_index_put_impl", "put", "scatter", "scatter_add", "scatter_reduce", "index_add", "index_copy"),
    *("repeat_interleave", "_embedding_bag", "histc", "bincount", "cumsum", "median"),
}
WAITS_FOR_THE_DEVICE = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2"}

NETWORKS = {
    "unet": UNet(name="unet", width=2),
    "unet-original": UNetOriginal(name="unet-original", width=2, depth=3),
    "unet-small": UNetSmall(name="unet-small"),
    "unet-crop": UNetCrop(name="unet-crop"),
    "unet-crop, mirrored": UNetCrop(name="unet-crop", padding="mirror"),
    "u2net": U2Net(name="u2net", width=8),
    "u2net-lite": U2NetLite(name="u2net-lite", width=8),
    "unet-encoder": UNetEncoder(name="unet-encoder", width=32),
    "unet, scse": UNet(name="unet", width=2, attention="scse"),
}


class RecordOperations(TorchDispatchMode):
    """Records the names of all operations, also of the backward pass; those in place by the names of the others.

    Sums of whole numbers are repeatable, so that `cumsum` of them is not recorded.
    """

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        name = function._schema.name.removeprefix("aten::").removesuffix("_")
        if name != "cumsum" or result.is_floating_point():
            self.names.add(name)
        return result


def logits(network, side=70, channels=1):
    with torch.device("meta"):
        model = build_model(network, in_channels=3, out_channels=channels).to(memory_format=torch.channels_last)
        return all_logits(model.train(), torch.zeros(2, 3, side, side - 25))


def all_logits(model, x):
    return model.logits(x) if isinstance(model, SideOutputs) else [model(x)]


@pytest.mark.parametrize("name", NETWORKS)
def test_steps_of_all_networks_are_repeatable_on_gpus(name):
    with RecordOperations() as recorded:
        sum(output.square().sum() for output in logits(NETWORKS[name])).backward()
    assert {"convolution", "convolution_backward"} <= recorded.names
    assert not recorded.names & (NOT_REPEATABLE | WAITS_FOR_THE_DEVICE)


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_repeatable_on_gpus_and_wait_for_nothing(name, weighted):
    channels = LOSSES[name].channels(3)
    with torch.device("meta"):
        outputs = [torch.zeros(2, channels, 8, 8, requires_grad=True) for _ in range(2)]
        target = torch.zeros(2, 1, 8, 8, dtype=torch.int64 if channels > 1 else torch.float32)
        weight = torch.zeros(2, 1, 8, 8) if weighted else None
    with RecordOperations() as recorded:
        supervise(LOSSES[name].function, outputs, target, weight).backward()
    assert outputs[0].grad is not None
    assert not recorded.names & (NOT_REPEATABLE | WAITS_FOR_THE_DEVICE)


def test_augmentation_is_repeatable_on_gpus():
    every = Augment(
        **{"flip": "both", "rot90": True, "rotate": 20, "shear": 5, "scale": (0.8, 1.25), "shift": 0.1},
        **{"elastic": Elastic(), "brightness": 0.1, "contrast": 0.1, "gamma": (0.7, 1.5)},
    )
    with torch.device("meta"):
        batch = Batch(
            torch.zeros(2, 3, 40, 40), torch.zeros(2, 1, 40, 40, dtype=torch.int64), torch.zeros(2, 1, 40, 40)
        )
    with RecordOperations() as recorded:
        for crop, augment in (((32, 32), every), ((32, 32), None), (None, every)):
            assert Augmentation(crop, augment)(batch, torch.Generator()).image.is_meta
    assert "grid_sampler_2d" in recorded.names
    assert not recorded.names & NOT_REPEATABLE


@pytest.mark.parametrize(
    ("operation", "name"),
    [
        (lambda x: functional.interpolate(x, scale_factor=2, mode="bilinear"), "upsample_bilinear2d_backward"),
        (lambda x: functional.pad(x, (1, 1, 1, 1), mode="reflect"), "reflection_pad2d_backward"),
        (lambda x: functional.pad(x, (1, 1, 1, 1), mode="replicate"), "replication_pad2d_backward"),
        (lambda x: functional.adaptive_avg_pool2d(x, 3), "_adaptive_avg_pool2d_backward"),
        (lambda x: functional.grid_sample(x, torch.zeros(1, 2, 2, 2), align_corners=True), "grid_sampler_2d_backward"),
        (lambda x: functional.nll_loss(x, torch.zeros(1, 4, 4, dtype=torch.int64)), "nll_loss2d_forward"),
        (lambda x: x[:, :, torch.tensor([0, 0])], "index_put"),
        (lambda x: x.index_select(2, torch.tensor([0, 0])), "index_add"),
        (lambda x: x.gather(2, torch.zeros(1, 1, 1, 1, dtype=torch.int64)), "scatter_add"),
    ],
)
def test_operations_that_are_not_repeatable_are_noticed(operation, name):
    with RecordOperations() as recorded:
        operation(torch.rand(1, 1, 4, 4, requires_grad=True)).sum().backward()
    assert name in recorded.names & NOT_REPEATABLE


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU, named by CUDA_VISIBLE_DEVICES")
@pytest.mark.parametrize("name", NETWORKS)
def test_pytorch_warns_of_no_operation_on_a_gpu(name):
    device = torch.device("cuda")
    prepare_determinism(True, device)
    gradients = []
    try:
        for _ in range(2):
            torch.manual_seed(0)
            model = build_model(NETWORKS[name], in_channels=3, out_channels=1)
            model = model.to(device, memory_format=torch.channels_last).train()
            with warnings.catch_warnings(), torch.autocast("cuda", torch.bfloat16):
                warnings.simplefilter("error")
                outputs = all_logits(model, torch.rand(2, 3, 70, 45, device=device))
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                sum(output.float().square().sum() for output in outputs).backward()
            gradients.append([parameter.grad for parameter in model.parameters()])
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(first, second) for first, second in zip(*gradients, strict=True))
