"""Export a trained network as an ONNX graph whose weights stay in a safetensors file, in the file once."""

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from pipeline.bundle.schema import OPSET, WEIGHTS
from pipeline.models.registry import build_model
from pipeline.models.shapes import valid_margins
from pipeline.prediction.network import Unpadded
from pipeline.training.checkpoint import CheckpointInfo
from pipeline.training.device import run_logits
from pipeline.training.losses import activate

GRAPH_ONLY = "graph."
"""Prefix of tensors in the safetensors file that are constants of the graph, and no weights."""

_INLINE_BYTES = 1024  # of constants that stay in the graph
_EXAMPLE = (75, 107)  # odd, so that the exported graph has all padding and cropping


class Exported(NamedTuple):
    """An ONNX graph, and the safetensors file that it names as its external data."""

    graph: bytes
    weights: bytes


class _ExactNearest(TorchFunctionMode):
    """Replaces nearest-neighbour resizing to a size by indices, computed as PyTorch does.

    onnxruntime divides where PyTorch multiplies, and at some sizes takes the neighbouring pixel.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[Any],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - what the function returns
        """Run a function of PyTorch."""
        kwargs = kwargs or {}
        size = kwargs.get("size")
        if func is not nn.functional.interpolate or kwargs.get("mode") != "nearest" or size is None:
            return func(*args, **kwargs)
        resized = args[0]
        for axis, side in zip((-2, -1), map(int, size), strict=True):
            step = np.float32(resized.shape[axis]) / np.float32(side)
            indices = np.floor(np.arange(side, dtype=np.float32) * step).astype(np.int64)
            resized = resized.index_select(axis, torch.tensor(indices.clip(max=int(resized.shape[axis]) - 1).tolist()))
        return resized


class _Probability(nn.Module):
    """Maps images (N, C, H, W) to probabilities (N, K, H, W); of a valid network, to those of their centre."""

    def __init__(self, network: nn.Module, activation: str, *, valid: bool) -> None:
        super().__init__()
        self.network, self.activation, self.valid = network, activation, valid

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Run the network."""
        run = self.network.valid_forward if self.valid else self.network
        with _ExactNearest():
            output = run_logits(run, image, "fp32")[0]  # type: ignore[arg-type]
        return activate(output, self.activation)


def is_valid(network: nn.Module) -> bool:
    """Return whether the exported graph is that of valid convolutions: the caller mirrors the borders of images."""
    return isinstance(network, Unpadded) and not network.padded


def export_network(info: CheckpointInfo, state: Mapping[str, torch.Tensor]) -> Exported:
    """Export a network.

    Parameters
    ----------
    info : CheckpointInfo
    state : dict of str to tensor
        Its weights; in float32, as in all checkpoints.

    Returns
    -------
    Exported
        The graph maps ``image`` (N, C, H, W) float32 to ``probability`` (N, K, H, W) float32, for any N, H and W, for
        the size of training of a network with a fixed size. Its batch normalization is not folded into copies of the
        weights. Equal input gives equal bytes.
    """
    from safetensors.torch import save

    network = build_model(info.model, in_channels=info.in_channels, out_channels=info.out_channels)
    network.load_state_dict(dict(state))
    model = _trace(network.eval(), info)
    graph_only = _name_tensors(model, set(state))
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    weights = save({**tensors, **graph_only})
    _point_at(model, weights)
    return Exported(model.SerializeToString(deterministic=True), weights)


def _trace(network: nn.Module, info: CheckpointInfo) -> Any:  # noqa: ANN401 - onnx has no types
    """Return the ONNX model of a network, with its weights inside."""
    valid = is_valid(network)
    height, width = info.size if info.model.fixed_size else _EXAMPLE
    axes: dict[int, Any] = {0: torch.export.Dim("batch")}
    if valid:  # sides for which every cropped border has a constant width, see `pipeline.bundle.schema.Network.valid`
        multiple = int(network.multiple)  # type: ignore[arg-type]
        height, width = (side + sum(valid_margins(side, multiple)) for side in (height, width))
        lost = 4 * (multiple - 1)
        axes |= {
            2: multiple * torch.export.Dim("rows", min=2) + lost,
            3: multiple * torch.export.Dim("columns", min=2) + lost,
        }
    elif not info.model.fixed_size:
        axes |= {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    image = torch.zeros(2, info.in_channels, height, width)
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            _Probability(network, info.activation, valid=valid).eval(),
            (image,),
            dynamo=True,
            opset_version=OPSET,
            dynamic_shapes=(axes,),
            input_names=["image"],
            output_names=["probability"],
            verbose=False,
            optimize=False,  # would fold batch normalization into copies of the weights
        )
    assert program is not None
    return program.model_proto


@contextlib.contextmanager
def _quiet() -> Any:  # noqa: ANN401
    """Silence the exporter, which reports packages that are not needed."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _name_tensors(model: Any, weights: set[str]) -> dict[str, torch.Tensor]:  # noqa: ANN401
    """Name the initializers as in the state_dict, remove what describes the exporting program.

    Returns
    -------
    dict of str to tensor
        Larger constants of the graph by their new names.
    """
    from onnx import numpy_helper

    graph, names, graph_only = model.graph, dict[str, str](), dict[str, torch.Tensor]()
    for tensor in graph.initializer:
        name = tensor.name.removeprefix("network.")
        if name not in weights and tensor.ByteSize() > _INLINE_BYTES:
            name = GRAPH_ONLY + tensor.name
            graph_only[name] = torch.from_numpy(numpy_helper.to_array(tensor).copy())
        names[tensor.name] = name if name in weights or name in graph_only else tensor.name
        tensor.name = names[tensor.name]
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    for part in (model, graph, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    graph.ClearField("value_info")
    model.producer_version = ""
    return graph_only


def _point_at(model: Any, weights: bytes) -> None:  # noqa: ANN401
    """Replace the values of initializers that are in a safetensors file by their places in it."""
    from onnx import TensorProto

    for tensor in model.graph.initializer:
        place = tensor_places(weights).get(tensor.name)
        if place is None:
            continue
        tensor.ClearField("raw_data")
        tensor.ClearField("external_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", WEIGHTS), ("offset", place[0]), ("length", place[1])):
            tensor.external_data.add(key=key, value=str(value))


def tensor_places(weights: bytes) -> dict[str, tuple[int, int]]:
    """Return the offset and the length in bytes of each tensor in a safetensors file."""
    size = int.from_bytes(weights[:8], "little")
    header = json.loads(weights[8 : 8 + size])
    header.pop("__metadata__", None)
    return {
        name: (8 + size + entry["data_offsets"][0], entry["data_offsets"][1] - entry["data_offsets"][0])
        for name, entry in header.items()
    }
