"""Copy tensors from main memory to the device of a training run without waiting for it."""

from typing import NamedTuple

import torch

Planes = dict[str, torch.Tensor]


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

    def send(self, planes: Planes) -> Sent:
        """Start to copy planes; may be called from another thread."""
        if self._stream is None:
            return Sent({name: plane.to(self._device) for name, plane in planes.items()}, None)
        with torch.cuda.stream(self._stream):  # which also selects the GPU in this thread
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
