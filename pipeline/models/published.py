"""The networks as their tutorials publish them, and what they cost."""

from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from pipeline.models.networks import Network, U2Net, U2NetLite, UNet, UNetCrop, UNetOriginal, UNetSmall
from pipeline.models.registry import build_model, count_parameters
from pipeline.models.unet_plain import PlainUNet


@dataclass(frozen=True)
class Published:
    """A network at the input it was published for.

    Parameters
    ----------
    title : str
    network : Network
    in_channels, out_channels, side : int
        The input is (1, in_channels, side, side).
    """

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


def describe(published: Published) -> dict[str, Any]:
    """Count what a network is made of and what one picture costs; nothing is computed.

    Returns
    -------
    dict
        ``network``, ``model``, ``parameters`` (trainable), ``megabytes`` (weights and buffers as stored, 10**6 bytes),
        ``gflops`` (10**9 multiplications and additions for one picture, convolutions counted), ``input`` and
        ``output`` shapes. The original U-Net is counted in its own valid form.
    """
    with torch.device("meta"):
        channels = {"in_channels": published.in_channels, "out_channels": published.out_channels}
        model = build_model(published.network, **channels).eval()
        x = torch.zeros(1, published.in_channels, published.side, published.side)
        forward = model.valid_forward if isinstance(model, PlainUNet) and not model.padded else model
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            output = forward(x)
    stored = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    return {
        "network": published.title,
        "model": published.network.name,
        "parameters": count_parameters(model),
        "megabytes": stored / 1e6,
        "gflops": counter.get_total_flops() / 1e9,
        "input": "x".join(map(str, x.shape[1:])),
        "output": "x".join(map(str, output.shape[1:])),
    }


def print_models() -> None:
    """Print the table of all published networks."""
    print(f"{'network':20} {'model':14} {'parameters':>12} {'MB':>7} {'GFLOP/image':>12} {'input':>11} {'output':>11}")
    for published in PUBLISHED:
        row = describe(published)
        print(
            f"{row['network']:20} {row['model']:14} {row['parameters']:12,} {row['megabytes']:7.1f} "
            f"{row['gflops']:12.1f} {row['input']:>11} {row['output']:>11}"
        )
