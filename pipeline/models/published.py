"""The networks in their published configurations, and their computational cost."""

from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pipeline.models.layers import list_layers, table_lines
from pipeline.models.networks import Network, U2Net, U2NetLite, UNet, UNetCrop, UNetOriginal, UNetSmall
from pipeline.models.registry import build_model, count_parameters
from pipeline.models.unet_plain import PlainUNet


class Published(NamedTuple):
    """A network in its published configuration, for an input of (1, in_channels, side, side)."""

    title: str
    network: Network
    in_channels: int
    out_channels: int
    side: int


PUBLISHED = (
    Published("A. DRIVE U-Net", UNet(name="unet"), 3, 1, 512),
    Published("B. original U-Net", UNetOriginal(name="unet-original"), 3, 21, 572),
    Published("B. small U-Net", UNetSmall(name="unet-small"), 3, 4, 128),
    Published("C. grey-level U-Net", UNet(name="unet", bias=False, head_kernel=1), 1, 1, 480),
    Published("D. U2-Net", U2Net(name="u2net"), 3, 1, 320),
    Published("D. U2-Net lite", U2NetLite(name="u2net-lite"), 3, 1, 320),
    Published("E. TGS salt U-Net", UNetCrop(name="unet-crop"), 3, 1, 128),
)


class _Example(NamedTuple):
    """A network on the device "meta", an input, and the function that maps it to the published output."""

    model: nn.Module
    x: torch.Tensor
    forward: Callable[[torch.Tensor], Any]


def _example(published: Published) -> _Example:
    """Build a network without computing anything. The original U-Net has unpadded convolutions."""
    _, network, in_channels, out_channels, side = published
    with torch.device("meta"):
        model = build_model(network, in_channels=in_channels, out_channels=out_channels).eval()
        x = torch.zeros(1, in_channels, side, side)
    return _Example(model, x, model.valid_forward if isinstance(model, PlainUNet) and not model.padded else model)


def describe(published: Published) -> dict[str, Any]:
    """Count the parameters of a network and the operations for one image, without computing anything.

    Returns
    -------
    dict
        ``network``, ``model``, ``parameters`` (trainable), ``megabytes`` (weights and buffers as stored, 10**6 bytes),
        ``gflops`` (10**9 multiplications and additions of the convolutions for one image), ``input`` and
        ``output`` shapes.
    """
    model, x, forward = _example(published)
    with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
        output = forward(x)
    stored_bytes = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    return {
        "network": published.title,
        "model": published.network.name,
        "parameters": count_parameters(model),
        "megabytes": stored_bytes / 1e6,
        "gflops": counter.get_total_flops() / 1e9,
        "input": "x".join(map(str, x.shape[1:])),
        "output": "x".join(map(str, output.shape[1:])),
    }


def print_models() -> None:
    """Print the table of all published networks."""
    print(f"{'network':20} {'model':14} {'parameters':>12} {'MB':>7} {'GFLOP/image':>12} {'input':>11} {'output':>11}")
    line = "{network:20} {model:14} {parameters:12,} {megabytes:7.1f} {gflops:12.1f} {input:>11} {output:>11}"
    for published in PUBLISHED:
        print(line.format(**describe(published)))


def print_layers(names: Collection[str]) -> None:
    """Print the layers of the published networks with these names (`Network.name`); without names, of all."""
    for published in PUBLISHED:
        if names and published.network.name not in names:
            continue
        model, x, forward = _example(published)
        print(f"{published.title} ({published.network.name}), input {'x'.join(map(str, x.shape[1:]))}\n")
        with torch.device("meta"):
            print("\n".join(table_lines(list_layers(model, forward, x), x)), end="\n\n")
