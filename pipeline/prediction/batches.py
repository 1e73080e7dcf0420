"""Run a network on batches of a suitable size; on a GPU, the next one runs while the results of this one are used.

The number of pixels affects the speed; results differ at most by rounding.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.core.counts import LEVELS
from pipeline.prediction.memory import lacks_memory
from pipeline.prediction.normalized import NormalizedImage

PIXELS_AT_ONCE = 2**20
"""Input pixels of a batch, approximately (at least one sample): on a CPU, and for the first batch on a GPU."""

_MOST_PIXELS = (
    2**22
)  # of a batch on a GPU: with larger ones, images are not read and written while others are predicted
_USED_FRACTION = 0.5  # of the free memory of a GPU: fragments and work space of convolutions need some, too

Key = TypeVar("Key")
Forward = Callable[[torch.Tensor], torch.Tensor]
"""Maps (N, C, H, W) float32 to (N, K, h, w) float32."""


class PixelLimit:
    """How many input pixels a network gets at once: on a GPU, as many as fit into the free memory.

    Parameters
    ----------
    device : torch.device
    """

    def __init__(self, device: torch.device) -> None:
        self.pixels = PIXELS_AT_ONCE
        self._device, self._measured = device, device.type != "cuda"

    def batch(self, height: int, width: int) -> int:
        """Return the number of images of this size that are one batch."""
        return max(1, self.pixels // (height * width))

    def within_memory(self, run: Forward) -> Forward:
        """Return a function that halves a batch for which the memory of the device is too small, and tries again."""

        def run_parts(batch: torch.Tensor) -> torch.Tensor:
            try:
                return self._measure(run, batch)
            except RuntimeError as error:
                if len(batch) == 1 or not lacks_memory(error):
                    raise
            # after the handler, whose traceback would keep the tensors of the failed attempt
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
            half = (len(batch) + 1) // 2
            self.pixels = min(self.pixels, half * batch.shape[-2] * batch.shape[-1])
            return torch.cat([run_parts(batch[:half]), run_parts(batch[half:])])

        return run_parts

    def _measure(self, run: Forward, batch: torch.Tensor) -> torch.Tensor:
        """Run a batch; after the first one on a GPU, compute the limit from the memory that it needed."""
        if self._measured:
            return run(batch)
        device, self._measured = self._device, True
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        output = run(batch)
        pixels = len(batch) * batch.shape[-2] * batch.shape[-1]
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        self.pixels = pixels_within(
            free=torch.cuda.mem_get_info(device)[0] + unused,
            needed=torch.cuda.max_memory_allocated(device) - before,
            pixels=pixels,
        )
        return output


def pixels_within(free: int, needed: int, pixels: int) -> int:
    """Return how many pixels fit into half of `free` bytes, if `needed` bytes were enough for `pixels`."""
    return min(_MOST_PIXELS, max(pixels, int(_USED_FRACTION * free * pixels / max(1, needed))))


class HostBatch(NamedTuple):
    """Images of one size as they are stored, (N, C, H, W), and their scale and offset, (N, C, 1, 1) of float32."""

    stored: torch.Tensor
    scale: torch.Tensor
    offset: torch.Tensor

    @classmethod
    def of(cls, images: Sequence[NormalizedImage], *, pinned: bool) -> "HostBatch":
        """Copy images into one batch.

        Parameters
        ----------
        pinned : bool
            Whether to copy into memory that a GPU reads while the CPU goes on.
        """
        stored = torch.from_numpy(np.stack([image.stored for image in images]))
        scale, offset = (
            torch.from_numpy(np.stack(values))[:, :, None, None]
            for values in ([image.scale for image in images], [image.offset for image in images])
        )
        batch = cls(stored, scale, offset)
        return cls(*(tensor.pin_memory() for tensor in batch)) if pinned else batch


def to_level_tensor(probability: torch.Tensor) -> torch.Tensor:
    """Quantize float32 probabilities to levels on their device, to the same values as `to_levels`."""
    return (probability.clamp(0, 1) * (LEVELS - 1) - 0.5).ceil().to(torch.uint8)


def to_class_tensor(probability: torch.Tensor) -> torch.Tensor:
    """Return the index of the most probable of (N, K, H, W) classes as (N, 1, H, W) uint8, like `class_indices`."""
    return probability.argmax(dim=1, keepdim=True).to(torch.uint8)


def normalize(batch: HostBatch) -> torch.Tensor:
    """Return ``stored * scale + offset`` (N, C, H, W) in float32, with the same bits as `NormalizedImage`."""
    return batch.stored.to(torch.float32, copy=True).mul_(batch.scale).add_(batch.offset)


class Transfer(Protocol):
    """Moves tensors to a device and back."""

    ahead: int
    """Batches that run while the results of an earlier one are used."""

    def upload(self, tensor: torch.Tensor) -> torch.Tensor:
        """Move a tensor to the device."""

    def download(self, *tensors: torch.Tensor) -> Callable[[], tuple[list[torch.Tensor], float]]:
        """Start to copy results; the returned function waits for them, and for the seconds since `start`."""

    def start(self) -> None:
        """Start to measure the time of a batch."""


class Direct:
    """Moves tensors at once: for the CPU, where results are complete when a call returns, and for Apple's MPS."""

    ahead = 0

    def __init__(self, device: torch.device) -> None:
        self._device, self._started = device, 0.0

    def upload(self, tensor: torch.Tensor) -> torch.Tensor:
        """Move a tensor."""
        return tensor.to(self._device)

    def start(self) -> None:
        """Start to measure the time of a batch."""
        self._started = time.perf_counter()

    def download(self, *tensors: torch.Tensor) -> Callable[[], tuple[list[torch.Tensor], float]]:
        """Copy results."""
        results = [tensor.cpu() for tensor in tensors], time.perf_counter() - self._started
        return lambda: results


class CudaTransfer:
    """Uploads in a stream of its own, and downloads into pinned memory, so that the CPU waits once for each batch."""

    ahead = 1

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._uploads = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._started = self._record_time()

    def upload(self, tensor: torch.Tensor) -> torch.Tensor:
        """Start to copy a tensor; what is computed from it waits for the copy."""
        with torch.cuda.stream(self._uploads):
            copy = tensor.to(self._device, non_blocking=True)
        current = torch.cuda.current_stream(self._device)
        current.wait_stream(self._uploads)
        copy.record_stream(current)
        return copy

    def start(self) -> None:
        """Start to measure the time of a batch."""
        self._started = self._record_time()

    def download(self, *tensors: torch.Tensor) -> Callable[[], tuple[list[torch.Tensor], float]]:
        """Start to copy results."""
        copies = [torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True) for tensor in tensors]
        for copy, tensor in zip(copies, tensors, strict=True):
            copy.copy_(tensor.contiguous(), non_blocking=True)
        started, finished = self._started, self._record_time()

        def wait() -> tuple[list[torch.Tensor], float]:
            finished.synchronize()
            return copies, started.elapsed_time(finished) / 1000

        return wait

    def _record_time(self) -> torch.cuda.Event:
        """Record when the work that is queued now is finished."""
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self._device))
        return event


def transfer_for(device: torch.device) -> Transfer:
    """Return the transfer of a device."""
    return CudaTransfer(device) if device.type == "cuda" else Direct(device)


class Result(NamedTuple):
    """The output of a network for one batch.

    Parameters
    ----------
    values : (N, K, h, w) array of float32 or uint8
    has_nan : bool
        Whether a probability is NaN.
    seconds : float
        Time of the network.
    """

    values: NDArray[Any]
    has_nan: bool
    seconds: float


def run_batches(
    transfer: Transfer,
    run: Callable[[Any, Key], tuple[torch.Tensor, torch.Tensor]],
    batches: Iterable[tuple[Key, Sequence[torch.Tensor]]],
) -> Iterator[tuple[Key, Result]]:
    """Run batches one after another; on a GPU, the next one starts before the results of this one are awaited.

    Parameters
    ----------
    transfer : Transfer
    run : callable
        Maps the tensors of a batch on the device, and its key, to the output (N, K, h, w) and whether it has NaN.
    batches : iterable of (key, tensors)

    Yields
    ------
    object
        The key.
    Result
    """
    waiting: deque[tuple[Key, Callable[[], tuple[list[torch.Tensor], float]]]] = deque()

    def finish() -> tuple[Key, Result]:
        key, wait = waiting.popleft()
        (values, has_nan), seconds = wait()
        return key, Result(values.numpy(), bool(has_nan), seconds)

    for key, tensors in batches:
        transfer.start()
        output = run([transfer.upload(tensor) for tensor in tensors], key)
        waiting.append((key, transfer.download(*output)))
        del tensors, output  # the memory of a batch is needed for the next one
        if len(waiting) > transfer.ahead:
            yield finish()
    while waiting:
        yield finish()
