"""Select and configure the device: threads, memory allocation, precision, determinism."""

import os
import platform
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch

from pipeline.core.allocator import keep_freed_memory
from pipeline.core.errors import TrainingError
from pipeline.core.progress import log


def choose_device() -> torch.device:
    """Return CUDA if available, else Apple's MPS, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def describe_device(device: torch.device) -> str:
    """Return the name of the hardware."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({platform.processor() or platform.machine()})"


def describe_accelerators() -> dict[str, object]:
    """Return the GPUs visible to this process (name, memory in bytes), and the versions of CUDA and cuDNN."""
    gpus = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    return {
        "gpus": [{"name": gpu.name, "memory_bytes": gpu.total_memory} for gpu in gpus],
        "cuda": torch.version.cuda if gpus else None,
        "cudnn": torch.backends.cudnn.version() if gpus else None,  # type: ignore[no-untyped-call]
    }


def prepare_cpu(threads: int) -> None:
    """Set the number of threads, and keep freed memory in the process: up to 1.8x as fast, see `keep_freed_memory`.

    Parameters
    ----------
    threads : int
        Threads of one operation. Results depend on it in the last digits, so that it is a setting of the experiment.
    """
    torch.set_num_threads(threads)
    keep_freed_memory()


def prepare_fp32(*, exact: bool) -> None:
    """Set the precision of fp32 on a GPU.

    Parameters
    ----------
    exact : bool
        True: 24 bits of mantissa everywhere. False: convolutions and matrix products may use TF32, which has 11 bits
        and is faster; PyTorch uses it for convolutions by default. Other devices have no TF32.
    """
    torch.backends.cudnn.allow_tf32 = not exact
    torch.backends.cuda.matmul.allow_tf32 = not exact


def prepare_determinism(deterministic: bool, device: torch.device) -> None:
    """Select deterministic or faster operations, and log the consequences on this device.

    Parameters
    ----------
    deterministic : bool
        True: two training runs on the same kind of CPU with the same number of threads end with the same bits. On a
        GPU, PyTorch warns of each operation without a deterministic implementation; fp32 is exact (`prepare_fp32`).
    device : torch.device
        Device of the training run.
    """
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    # PyTorch would overwrite each new tensor with NaN before its values are computed: up to a quarter of a step
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.deterministic = deterministic
    torch.backends.cudnn.benchmark = not deterministic
    prepare_fp32(exact=deterministic)
    if deterministic and device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when it starts
    if device.type == "cpu":
        return
    if deterministic:
        log(
            "deterministic: deterministic operations are used, even if others are faster (`deterministic: false` uses "
            "those); PyTorch warns of operations that have no deterministic implementation on this device: their "
            "results may differ in the last digits from run to run, and they always do between kinds of devices"
        )
    else:
        log("not deterministic: the fastest operations are used; results differ in the last digits from run to run")


def bf16_is_native(device: torch.device) -> bool:
    """Return whether the hardware supports bfloat16 natively, not by emulation."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False


def choose_precision(precision: str, device: torch.device) -> str:
    """Return ``'fp32'`` or ``'bf16'``; ``'auto'`` selects bf16 if the hardware supports it.

    Raises
    ------
    TrainingError
        If bf16 would be emulated, which is slower and less precise than fp32.
    """
    if precision == "bf16" and not bf16_is_native(device):
        raise TrainingError(
            f"precision on {describe_device(device)}",
            "bf16, which this hardware only emulates",
            "a GPU of compute capability 8.0 or a CPU with AVX512-BF16 or AMX",
            "set `precision: fp32` (or auto)",
        )
    if precision == "auto":
        return "bf16" if bf16_is_native(device) else "fp32"
    return precision


@runtime_checkable
class SideOutputs(Protocol):
    """A network with side outputs: `logits` returns all of them, the fused ones first, in training and evaluation."""

    def logits(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Map (N, in_channels, H, W) to logits (N, out_channels, H, W)."""


def run_logits(network: Callable[[torch.Tensor], Any], image: torch.Tensor, precision: str) -> list[torch.Tensor]:
    """Run a network in the given precision; return all its logits as float32, those of side outputs last.

    Raises
    ------
    TrainingError
        If the network does not support images of this shape.
    """
    try:
        with torch.autocast(image.device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
            outputs = network.logits(image) if isinstance(network, SideOutputs) else [network(image)]
    except ValueError as error:
        raise TrainingError(
            f"network {type(network).__name__} on a batch of shape {tuple(image.shape)}",
            str(error),
            "a batch that the network supports",
            "set a larger `size` of the data set, a smaller `depth` of the network, or a larger `batch_size`",
        ) from error
    return [output.float() for output in outputs]


def run_network(network: Callable[[torch.Tensor], Any], image: torch.Tensor, precision: str) -> torch.Tensor:
    """Run a network in the given precision; return its (fused) logits (N, C, H, W) as float32; see `run_logits`."""
    return run_logits(network, image, precision)[0]
