"""Where and how precisely to compute: device, threads, memory allocation, number format."""

import ctypes
import os
import platform
import sys
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch

from pipeline.core.errors import TrainingError
from pipeline.core.progress import log


def choose_device() -> torch.device:
    """Take CUDA if there is one, else Apple's MPS, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def describe_device(device: torch.device) -> str:
    """Name the hardware in words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({platform.processor() or platform.machine()})"


def describe_accelerators() -> dict[str, object]:
    """Return the GPUs that this process sees (name, memory in bytes), and the versions of CUDA and cuDNN."""
    seen = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    return {
        "gpus": [{"name": one.name, "memory_bytes": one.total_memory} for one in seen],
        "cuda": torch.version.cuda if seen else None,
        "cudnn": torch.backends.cudnn.version() if seen else None,  # type: ignore[no-untyped-call]
    }


def prepare_cpu(threads: int) -> None:
    """Set the number of threads, and keep freed memory inside the process.

    A training step frees and takes the same large blocks again and again. glibc returns them to the system each
    time, which costs a page fault for every 4 KiB; telling it not to is worth up to 1.8x on a CPU. Other systems
    are left alone.

    Parameters
    ----------
    threads : int
        Threads of one operation. Results depend on it in the last digits, so the experiment sets it, not the machine.
    """
    torch.set_num_threads(threads)
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        trim_threshold, top_pad, mmap_max = -1, -2, -4  # malloc.h
        libc.mallopt(mmap_max, 0)
        libc.mallopt(trim_threshold, 2**31 - 1)
        libc.mallopt(top_pad, 2**28)


def prepare_fp32(*, exact: bool) -> None:
    """Choose what fp32 means on a GPU.

    Parameters
    ----------
    exact : bool
        True: 24 bits of mantissa everywhere. False: convolutions and products of matrices may use TF32, which has 11
        and is faster; of itself PyTorch takes it for convolutions. Other devices have no TF32.
    """
    torch.backends.cudnn.allow_tf32 = not exact
    torch.backends.cuda.matmul.allow_tf32 = not exact


def prepare_determinism(deterministic: bool, device: torch.device) -> None:
    """Choose between repeatable operations and faster ones, and say what that means on this device.

    Parameters
    ----------
    deterministic : bool
        True: two trainings on one kind of CPU with as many threads end with the same bits. On a GPU, operations that
        have no repeatable form there stay as they are, and PyTorch warns of each; fp32 is exact (`prepare_fp32`).
    device : torch.device
        Where the training runs.
    """
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    torch.backends.cudnn.deterministic = deterministic
    torch.backends.cudnn.benchmark = not deterministic
    prepare_fp32(exact=deterministic)
    if deterministic and device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read by cuBLAS when it starts
    if device.type == "cpu":
        return
    if deterministic:
        log(
            "deterministic: repeatable operations are chosen, also where others are faster (`deterministic: false` "
            "takes those); operations that have none on this device are warned of, and may differ in the last digits "
            "from run to run; another kind of device differs in them anyway"
        )
    else:
        log("not deterministic: the fastest operations are chosen; results differ in the last digits from run to run")


def bf16_is_native(device: torch.device) -> bool:
    """Tell whether the hardware computes in bfloat16 itself, not by emulation."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False


def choose_precision(precision: str, device: torch.device) -> str:
    """Return ``'fp32'`` or ``'bf16'``; ``'auto'`` is bf16 where the hardware has it.

    Bf16 is refused where it would be emulated: slower than fp32, and less exact.

    Raises
    ------
    TrainingError
    """
    if precision == "bf16" and not bf16_is_native(device):
        raise TrainingError(
            f"precision on {describe_device(device)}",
            "bf16, which this hardware would emulate",
            "a GPU of compute capability 8.0 or a CPU with AVX512-BF16 or AMX",
            "set `precision: fp32` (or auto)",
        )
    if precision == "auto":
        return "bf16" if bf16_is_native(device) else "fp32"
    return precision


@runtime_checkable
class SideOutputs(Protocol):
    """A network with side outputs: `logits` gives all of them, the fused ones first, in training and evaluation."""

    def logits(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Map (N, in_channels, H, W) to logits (N, out_channels, H, W)."""


def run_logits(network: Callable[[torch.Tensor], Any], image: torch.Tensor, precision: str) -> list[torch.Tensor]:
    """Run a network in the chosen precision; give all its logits as float32, those of side outputs last.

    Raises
    ------
    TrainingError
        If the network cannot take images of this shape.
    """
    try:
        with torch.autocast(image.device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
            outputs = network.logits(image) if isinstance(network, SideOutputs) else [network(image)]
    except ValueError as error:
        raise TrainingError(
            f"network {type(network).__name__} on a batch of shape {tuple(image.shape)}",
            str(error),
            "a batch that the network can take",
            "give the data set a larger `size`, the network less `depth`, or the experiment a larger `batch_size`",
        ) from error
    return [output.float() for output in outputs]


def run_network(network: Callable[[torch.Tensor], Any], image: torch.Tensor, precision: str) -> torch.Tensor:
    """Run a network in the chosen precision; give its (fused) logits (N, C, H, W) as float32; see `run_logits`."""
    return run_logits(network, image, precision)[0]
