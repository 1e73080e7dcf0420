"""Record a training step as one CUDA graph, and replay it.

A small network on a fast GPU spends most of a step waiting for the CPU to start the next of several hundred operations.
A CUDA graph starts all of them at once. It computes the same bits, because it is made of the same operations.

A graph repeats operations on the memory that they used when it was recorded. Therefore the step reads its batch from
buffers, which are filled before each replay; it adds loss and pixels to tensors of `Progress` that stay the same; and
the learning rate is a tensor: see `pipeline.training.optim`. Random numbers of the network continue where the step
before left the generator. Nothing is computed while a step is recorded, so that recording does not change anything.
"""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import NamedTuple, Protocol

import torch

from pipeline.core.progress import log
from pipeline.training import ranks
from pipeline.training.data import Batch

WARM_UP_STEPS = 3
"""Steps of each form before it is recorded. They are steps of the training run like all others: in them PyTorch chooses
algorithms and allocates the state of the optimizer, which it cannot do while a step is recorded."""

Form = tuple[bool | tuple[torch.Size, tuple[int, ...], torch.dtype] | None, ...]


class Recorder(Protocol):
    """Runs and records computations on a device."""

    def run(self, compute: Callable[[], None]) -> None:
        """Compute, in the same way in which `record` will."""

    def record(self, compute: Callable[[], None]) -> Callable[[], object]:
        """Record what `compute` would do, without doing it; return a function that does it."""


class CudaRecorder:
    """Records CUDA graphs, in a stream of its own.

    They share their memory, because one is replayed after the other and nothing of a step remains in it.
    """

    def __init__(self) -> None:
        self._stream = torch.cuda.Stream(priority=-1)  # type: ignore[no-untyped-call] # from a pool of its own
        self._memory = torch.cuda.graph_pool_handle()
        self._step_bytes = 0

    def run(self, compute: Callable[[], None]) -> None:
        """Compute in the stream, after and before all work of the current stream."""
        current = torch.cuda.current_stream()
        self._stream.wait_stream(current)
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        with torch.cuda.stream(self._stream):
            compute()
        self._step_bytes = torch.cuda.max_memory_allocated() - before
        current.wait_stream(self._stream)

    def record(self, compute: Callable[[], None]) -> Callable[[], object]:
        """Record a CUDA graph; its replay runs in the stream that is then the current one.

        A graph keeps its memory: as much as the computation that ran last. The last batch of an epoch, which has fewer
        rows, and validation need as much again.

        Raises
        ------
        RuntimeError
            If CUDA cannot record the computation, or memory is too small. Graphs that were recorded before then have
            other random numbers than PyTorch's generator.
        """
        torch.cuda.empty_cache()
        needed = 2 * self._step_bytes
        free = torch.cuda.mem_get_info()[0]
        if needed > free:
            raise RuntimeError(f"it needs {needed / 1e9:.1f} GB of GPU memory, {free / 1e9:.1f} GB are free")
        graph, device = torch.cuda.CUDAGraph(), torch.cuda.current_device()
        generator = torch.cuda.default_generators[device]
        state = generator.clone_state()
        try:
            with (
                torch.cuda.stream(torch.cuda.current_stream()),  # becomes the current one again, also after an error
                # another thread may upload the next batch meanwhile, which is an error in the default mode
                torch.cuda.graph(graph, self._memory, self._stream, capture_error_mode="thread_local"),
            ):
                compute()
        except Exception:
            # after an error of CUDA, PyTorch does not tell its allocator and its generator that the recording has ended
            with suppress(RuntimeError):  # it did
                torch._C._cuda_endAllocateToPool(device, self._memory)
                torch._C._cuda_releasePool(device, self._memory)
            generator.graphsafe_set_state(state)
            raise
        return graph.replay


def choose_recorder(wanted: bool, device: torch.device) -> Recorder | None:
    """Return the recorder of a device; None if steps are not wanted as graphs or cannot be recorded there.

    Several GPUs exchange gradients during a step, which is not recorded.
    """
    if not wanted or device.type != "cuda":
        return None
    if ranks.world_size() > 1:
        log("several GPUs: steps run operation by operation, not as a CUDA graph")
        return None
    return CudaRecorder()


class _Recording(NamedTuple):
    buffers: Batch
    replay: Callable[[], object]


class StepGraph:
    """A step that is computed a few times and then recorded and replayed, for each form of its batches.

    Parameters
    ----------
    compute : callable
        Computes the step on a batch.
    recorder : Recorder
    experiment : str
        Name, for messages.
    """

    def __init__(self, compute: Callable[[Batch], None], recorder: Recorder, experiment: str) -> None:
        self._compute, self._recorder, self._experiment = compute, recorder, experiment
        self._warm_up_steps: Counter[Form] = Counter()
        self._recordings: dict[Form, _Recording] = {}
        self._failed = False
        self.frozen = False
        """Whether a part of the network is frozen, for which the step does other operations."""

    def __call__(self, batch: Batch) -> None:
        """Do the step on a batch; the device finishes with the batch before it begins any later work."""
        form = (self.frozen, *_form(batch))
        if form not in self._recordings:
            if not self._failed and self._warm_up_steps[form] == WARM_UP_STEPS:
                self._record(form, batch)
            if form not in self._recordings:
                self._warm_up_steps[form] += 1
                return self._compute(batch) if self._failed else self._recorder.run(partial(self._compute, batch))
        buffers, replay = self._recordings[form]
        for buffer, tensor in zip(_tensors(buffers), _tensors(batch), strict=True):
            if buffer is not None and tensor is not None:
                buffer.copy_(tensor)
        replay()
        return None

    def _record(self, form: Form, batch: Batch) -> None:
        """Record the step for batches of this form; if that fails, log it once, and replay nothing any more."""
        try:
            weight = None if batch.weight is None else batch.weight.clone()
            buffers = Batch(batch.image.clone(), batch.target.clone(), weight)
            self._recordings[form] = _Recording(buffers, self._recorder.record(partial(self._compute, buffers)))
        except RuntimeError as error:  # also errors of CUDA, and too little memory
            self._failed = True
            self._recordings.clear()
            reason = " ".join(str(error).split())[:160]
            log(f"{self._experiment}: steps run operation by operation, not as a CUDA graph: {reason}")


def _tensors(batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    return batch.image, batch.target, batch.weight


def _form(batch: Batch) -> Form:
    """Return what a recorded step takes for granted of its batch; strides along a single element mean nothing."""
    return tuple(
        tensor if tensor is None else (tensor.shape, tuple(map(_stride, tensor.shape, tensor.stride())), tensor.dtype)
        for tensor in _tensors(batch)
    )


def _stride(side: int, stride: int) -> int:
    return stride if side > 1 else 0
