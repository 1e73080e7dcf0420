"""Distributed data-parallel training: the batch rows of each process, and collective sums over all processes.

All processes hold the same weights and take each step together. Each process computes its own rows of every batch. Sums
over a batch are summed over the processes. Losses, gradients and scores are therefore those of the whole batch and
equal those of a single process, up to the order of floating-point additions. A single process communicates nothing.
"""

import functools
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import distributed, nn

Item = TypeVar("Item")


def world_size() -> int:
    """Return the number of processes that train together."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def rank() -> int:
    """Return the number of this process, from 0. Rank 0 writes the files."""
    return distributed.get_rank() if world_size() > 1 else 0


def local_rows(row_count: int) -> slice:
    """Return the rows of this process: equal parts of `row_count` rows; the first parts have one row more if needed.

    A part may be empty. That of rank 0 is empty only if there are no rows.
    """
    part_size, larger_parts = divmod(row_count, world_size())
    first = rank() * part_size + min(rank(), larger_parts)
    return slice(first, first + part_size + (rank() < larger_parts))


class _AllReduceSum(torch.autograd.Function):
    """Sum over all processes. The gradient of each part is the gradient of the sum."""

    @staticmethod
    def forward(ctx: Any, part: torch.Tensor) -> torch.Tensor:  # noqa: ANN401 - the signature of torch
        result = part.clone()
        distributed.all_reduce(result)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        return gradients[0]


def all_reduce_sum(part: torch.Tensor) -> torch.Tensor:
    """Sum a tensor over all processes; each of them gets the sum.

    In the backward pass each process computes the gradients of its own part, which `GradientSum` adds up.
    """
    return part if world_size() == 1 else _AllReduceSum.apply(part)  # type: ignore[no-untyped-call]


class GradientSum:
    """Sums the gradients of a network over all processes while the backward pass computes the remaining ones.

    Gradients are summed and not averaged, because a loss computed with `all_reduce_sum` is already the loss of the
    whole batch. They are sent in buckets: parameters in reverse order of registration, which is roughly the order in
    which a backward pass reaches them. A bucket is sent when all of its gradients and all earlier buckets are ready, so
    every process sends the same messages in the same order. Networks smaller than a bucket send one message a step.

    The buckets depend on the network only. With three and more processes the order of additions depends on the place
    of a number in its message, so a training that was resumed adds in the same order and ends with the same bits.
    `torch.nn.parallel.DistributedDataParallel` cannot promise this: it starts with such buckets, but rearranges them
    after its first step, and a resumed training begins again with the first arrangement. Only
    `find_unused_parameters` prevents that, which searches the graph in each step.

    Parameters
    ----------
    network : nn.Module
        Parameters of one dtype on one device. A gradient is missing in all processes or in none, because they compute
        the same graph; a missing one is sent as zeros and remains missing.
    bucket_bytes : int
        Size of a bucket that is complete; the last parameter of a bucket may exceed it.
    """

    def __init__(self, network: nn.Module, bucket_bytes: int = 25 * 2**20) -> None:
        self._buckets: list[list[nn.Parameter]] = []
        self._missing: list[int] = []
        self._sent: list[tuple[torch.Tensor, distributed.Work]] = []
        self.paused = False
        """Whether gradients of a backward pass are not sent: another one adds to them."""
        if world_size() == 1:
            return
        size = bucket_bytes
        for parameter in reversed([parameter for parameter in network.parameters() if parameter.requires_grad]):
            if size >= bucket_bytes:
                self._buckets.append([])
                size = 0
            self._buckets[-1].append(parameter)
            size += parameter.numel() * parameter.element_size()
            count_down = functools.partial(self._count_down, len(self._buckets) - 1)
            parameter.register_post_accumulate_grad_hook(count_down)  # type: ignore[no-untyped-call]
        self._missing = [len(bucket) for bucket in self._buckets]

    def _count_down(self, index: int, _: torch.Tensor) -> None:
        """Note that a gradient of a bucket is ready, and send the buckets whose turn it is."""
        if self.paused:
            return
        self._missing[index] -= 1
        while len(self._sent) < len(self._buckets) and self._missing[len(self._sent)] == 0:
            self._send_next()

    def _send_next(self) -> None:
        bucket = self._buckets[len(self._sent)]
        gradients = [torch.zeros_like(part) if part.grad is None else part.grad for part in bucket]
        joined = torch.cat([gradient.reshape(-1) for gradient in gradients])
        self._sent.append((joined, distributed.all_reduce(joined, async_op=True)))

    def finish(self) -> None:
        """Send what is left and wait for all sums, which replace the gradients. Call it after each backward pass."""
        while len(self._sent) < len(self._buckets):
            self._send_next()
        for bucket, (joined, work) in zip(self._buckets, self._sent, strict=True):
            work.wait()
            parts = torch.split(joined, [parameter.numel() for parameter in bucket])
            for parameter, total in zip(bucket, parts, strict=True):
                if parameter.grad is not None:
                    parameter.grad.copy_(total.view_as(parameter))
        self._sent.clear()
        self._missing = [len(bucket) for bucket in self._buckets]


def broadcast_buffers(network: nn.Module) -> None:
    """Copy the running statistics of rank 0 to all processes: these are validated and saved."""
    if world_size() > 1:
        for buffer in network.buffers():
            distributed.broadcast(buffer, src=0)


def all_reduce_max(number: int) -> int:
    """Return the maximum of `number` over all processes."""
    if world_size() == 1:
        return number
    numbers = torch.tensor(number)
    distributed.all_reduce(numbers, distributed.ReduceOp.MAX)
    return int(numbers)


def broadcast(value: Item) -> Item:
    """Return the value of rank 0: plain data and tensors in main memory."""
    if world_size() == 1:
        return value
    values = [value]
    distributed.broadcast_object_list(values, src=0)
    return values[0]


def gather_rows(parts: Sequence[NDArray[np.int64]], positions: Sequence[slice], length: int) -> NDArray[np.int64]:
    """Join the counts that the processes have for their rows; each of them gets all rows.

    Parameters
    ----------
    parts : sequence of (n, ...) arrays of int64
        At least one.
    positions : sequence of slice
        Position of each part among all rows.
    length : int
        Number of all rows.

    Returns
    -------
    (length, ...) array of int64
    """
    joined = np.zeros((length, *parts[0].shape[1:]), dtype=np.int64)
    for part, position in zip(parts, positions, strict=True):
        joined[position] = part
    if world_size() > 1:
        distributed.all_reduce(torch.from_numpy(joined))
    return joined
