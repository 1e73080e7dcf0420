"""The layers of a network as a table: names, types, output shapes and parameters, in the order in which they run."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import nn


class Layer(NamedTuple):
    """One call of a module without submodules.

    Parameters
    ----------
    name, kind : str
        Dotted name in the network, and class.
    output : tuple of int
        Shape of the output without the batch: (C, H, W).
    parameters : int
        Of weights and biases; 0 where the module has run before. Running statistics are not counted.
    trainable : int
        Those of them that training changes.
    """

    name: str
    kind: str
    output: tuple[int, ...]
    parameters: int
    trainable: int


def list_layers(model: nn.Module, forward: Callable[[torch.Tensor], Any], x: torch.Tensor) -> list[Layer]:
    """Run a network and list its layers; on the device "meta" nothing is computed.

    Parameters
    ----------
    model : nn.Module
    forward : callable
        The model, or a method of it.
    x : (1, C, H, W) tensor
    """
    layers: list[Layer] = []
    counted: set[nn.Parameter] = set()

    def note(name: str) -> Callable[[nn.Module, Any, torch.Tensor], None]:
        def hook(module: nn.Module, _: Any, output: torch.Tensor) -> None:  # noqa: ANN401 - the inputs
            new = [parameter for parameter in module.parameters() if parameter not in counted]
            counted.update(new)
            trainable = sum(parameter.numel() for parameter in new if parameter.requires_grad)
            total = sum(parameter.numel() for parameter in new)
            layers.append(Layer(name, type(module).__name__, tuple(output.shape[1:]), total, trainable))

        return hook

    hooks = [
        module.register_forward_hook(note(name))
        for name, module in model.named_modules()
        if not any(True for _ in module.children())
    ]
    try:
        with torch.no_grad():
            forward(x)
    finally:
        for hook in hooks:
            hook.remove()
    return layers


def table_lines(layers: list[Layer], x: torch.Tensor) -> Iterator[str]:
    """Yield the lines of a table of layers, with totals; sizes in MB (10**6 bytes) of float32."""
    width = max(len("layer"), *(len(f"{layer.name} ({layer.kind})") for layer in layers))
    line = f"{{:{width}}}  {{:>15}}  {{:>12}}"
    yield line.format("layer (type)", "output", "parameters")
    for layer in layers:
        name = f"{layer.name} ({layer.kind})"
        yield line.format(name, "x".join(map(str, layer.output)), f"{layer.parameters:,}")
    total, trainable = (sum(getattr(layer, name) for layer in layers) for name in ("parameters", "trainable"))
    outputs = sum(torch.Size(layer.output).numel() for layer in layers)
    yield ""
    parts = f"trainable {trainable:,}, not trainable {total - trainable:,}"
    yield f"parameters: {total:,} ({parts}), {total * 4 / 1e6:.1f} MB"
    yield f"one image: input {x.numel() * 4 / 1e6:.1f} MB, outputs of all layers {outputs * 4 / 1e6:.1f} MB"
