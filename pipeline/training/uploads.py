"""Copy tensors from main memory to the device of a training run, and prepare batches, without waiting for it."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import torch

Planes = dict[str, torch.Tensor]
Item = TypeVar("Item")


def upload(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy a tensor in main memory to a device.

    CUDA can only copy in the background from pinned memory: otherwise the CPU waits until all steps before the copy are
    computed. PyTorch keeps the pinned memory until the copy is done.
    """
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


class Sent(NamedTuple):
    """Planes that are on their way to the device, and the event that they have arrived, on CUDA."""

    planes: Planes
    arrived: torch.cuda.Event | None


class Uploader:
    """Copies batches to a device while it computes the batch before: on CUDA, in a stream of its own.

    Parameters
    ----------
    device : torch.device
        The current device of the thread that calls this and `receive`.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream() if device.type == "cuda" else None  # type: ignore[no-untyped-call]

    def worker(self) -> ThreadPoolExecutor:
        """Return a thread that can call `send`; its current GPU is that of this thread and not the first one."""
        if self._stream is None:
            return ThreadPoolExecutor(max_workers=1)
        return ThreadPoolExecutor(1, initializer=torch.cuda.set_device, initargs=(torch.cuda.current_device(),))

    def send(self, planes: Planes) -> Sent:
        """Start to copy planes; may be called in the thread of `worker`."""
        if self._stream is None:
            return Sent({name: plane.to(self._device) for name, plane in planes.items()}, None)
        with torch.cuda.stream(self._stream):
            sent = {name: upload(plane, self._device) for name, plane in planes.items()}
            return Sent(sent, self._stream.record_event())

    def receive(self, sent: Sent) -> Planes:
        """Return the planes for use in the current stream, which waits for them; the CPU does not."""
        if sent.arrived is not None:
            stream = torch.cuda.current_stream()
            stream.wait_event(sent.arrived)
            for plane in sent.planes.values():
                plane.record_stream(stream)  # their memory is not used again before this stream is done with them
        return sent.planes


class Preparation:
    """Computes the input of a step while the device computes the step before: on CUDA, in a stream of its own.

    Parameters
    ----------
    device : torch.device
    """

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream() if device.type == "cuda" else None  # type: ignore[no-untyped-call]

    def run(self, items: Iterator[Item]) -> Iterator[Item]:
        """Yield the items of an iterator, which computes each of them, in the stream, when it is asked for it.

        They are for use in the stream that is current here, until the next item is asked for.
        """
        if self._stream is None:
            yield from items
            return
        steps = torch.cuda.current_stream()
        self._stream.wait_stream(steps)  # what the items are computed from was made there
        used: deque[tuple[Item, torch.cuda.Event]] = deque()
        while True:
            if len(used) == 2:
                # the memory of an item becomes free for the item after the next one, when its step is computed;
                # with `record_stream` it would depend on how far the CPU is ahead how many items are in memory
                self._stream.wait_event(used.popleft()[1])
            with torch.cuda.stream(self._stream):
                item = next(items, None)
                prepared = self._stream.record_event()
            if item is None:
                return
            steps.wait_event(prepared)
            yield item
            used.append((item, steps.record_event()))
