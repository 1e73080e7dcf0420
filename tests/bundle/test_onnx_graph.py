"""Networks as ONNX graphs: equal to PyTorch for all sizes, with each weight in the file once."""

import onnx
import onnxruntime
import pytest
import safetensors.numpy
import torch
from untrained import checkpoint, network_of

from pipeline.bundle.onnx_graph import Exported, export_network, is_valid, tensor_places
from pipeline.bundle.schema import GRAPH, OPSET, WEIGHTS
from pipeline.training.checkpoint import load_checkpoint
from pipeline.training.device import run_network
from pipeline.training.losses import activate

SIZES = [(1, 75, 107), (3, 64, 96), (2, 33, 200), (1, 32, 32)]
SLOW = pytest.mark.slow
CASES = [
    pytest.param({"name": "unet", "width": 4, "depth": 3}, 3, id="unet-classes"),
    pytest.param({"name": "unet-original", "width": 2, "depth": 2}, 2, id="unet-original"),
    pytest.param({"name": "unet-crop", "widths": (4, 4)}, 2, id="unet-crop"),
    pytest.param({"name": "unet", "width": 16}, 2, id="unet-16", marks=SLOW),
    pytest.param({"name": "unet", "depth": 2, "head_kernel": 1, "bias": False}, 2, id="unet-1", marks=SLOW),
    pytest.param({"name": "unet-small", "widths": (4, 8, 8)}, 2, id="unet-small", marks=SLOW),
    pytest.param({"name": "unet-original", "width": 2}, 3, id="unet-original-5", marks=SLOW),
    pytest.param({"name": "unet-crop", "widths": (4, 4, 8), "padding": "mirror"}, 2, id="unet-crop-mirror", marks=SLOW),
    pytest.param({"name": "unet", "width": 16, "depth": 3, "attention": "scse"}, 2, id="unet-scse", marks=SLOW),
    pytest.param({"name": "u2net", "width": 8}, 2, id="u2net", marks=SLOW),
    pytest.param({"name": "u2net-lite", "width": 8}, 3, id="u2net-lite", marks=SLOW),
]


def _session(exported: Exported, folder) -> onnxruntime.InferenceSession:
    (folder / GRAPH).write_bytes(exported.graph)
    (folder / WEIGHTS).write_bytes(exported.weights)
    return onnxruntime.InferenceSession(str(folder / GRAPH), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize(("options", "classes"), CASES)
def test_graph_equals_pytorch_at_all_sizes(options, classes, tmp_path):
    activation = "softmax" if classes > 2 else "sigmoid"
    path = checkpoint(tmp_path / "best.pt", classes, activation, preparation={"size": [75, 107]}, **options)
    loaded = load_checkpoint(path)
    for name, tensor in loaded.state.items():  # as after a training
        if "running" in name:
            tensor += torch.rand_like(tensor) * 0.1
    network = network_of(loaded.info).eval()
    network.load_state_dict(loaded.state)
    session = _session(export_network(loaded.info, loaded.state), tmp_path)
    valid = is_valid(network)
    for batch, *size in [(1, 75, 107), (3, 75, 107)] if loaded.info.model.fixed_size else SIZES:
        sides = [side + sum(network.margins(side)) for side in size] if valid else size
        image = torch.rand(batch, 3, *sides)
        with torch.no_grad():
            expected = activate(
                run_network(network.valid_forward if valid else network, image, "fp32"), activation
            ).numpy()
        (probability,) = session.run(None, {"image": image.numpy()})
        assert probability.shape == expected.shape
        assert abs(probability - expected).max() < 2e-6


def test_weights_are_in_the_file_once_by_their_names(tmp_path):
    loaded = load_checkpoint(checkpoint(tmp_path / "best.pt", width=8))
    exported = export_network(loaded.info, loaded.state)
    tensors = safetensors.numpy.load(exported.weights)
    assert {name: tensor.tobytes() for name, tensor in tensors.items()} == {
        name: tensor.numpy().tobytes() for name, tensor in loaded.state.items()
    }
    model = onnx.load_from_string(exported.graph)
    places = tensor_places(exported.weights)
    external = {
        tensor.name: {entry.key: entry.value for entry in tensor.external_data} for tensor in model.graph.initializer
    }
    assert {name: place for name, place in external.items() if place} == {
        name: {"location": WEIGHTS, "offset": str(places[name][0]), "length": str(places[name][1])}
        for name in loaded.state
        if not name.endswith("num_batches_tracked")
    }
    assert len(exported.graph) < 20_000
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", OPSET)]
    assert export_network(loaded.info, loaded.state) == exported  # equal networks give equal bytes


@pytest.mark.parametrize("size", [(256, 320), *(pytest.param(size, marks=SLOW) for size in [(101, 101), (97, 133)])])
def test_stretched_output_is_aligned_at_all_sizes(size, tmp_path):
    path = checkpoint(tmp_path / "best.pt", preparation={"size": size}, name="unet-crop", widths=(4, 4, 8))
    loaded = load_checkpoint(path)
    network = network_of(loaded.info).eval()
    network.load_state_dict(loaded.state)
    session = _session(export_network(loaded.info, loaded.state), tmp_path)
    image = torch.rand(1, 3, *size)
    with torch.no_grad():
        expected = torch.sigmoid(network(image)).numpy()
    assert abs(session.run(None, {"image": image.numpy()})[0] - expected).max() < 1e-6
