"""Distributed data-parallel training: the batch rows of each process, and collective sums over all processes.

All processes hold the same weights and take each step together. Each process computes its own rows of every batch. Sums
over a batch are summed over the processes. Losses, gradients and scores are therefore those of the whole batch and
equal those of a single process, up to the order of floating-point additions. A single process communicates nothing.
"""

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

    In the backward pass each process computes the gradients of its own part, which `sum_gradients` adds up.
    """
    return part if world_size() == 1 else _AllReduceSum.apply(part)  # type: ignore[no-untyped-call]


def sum_gradients(network: nn.Module) -> None:
    """Sum the gradients over all processes in one call, so that they are the gradients of the whole batch.

    They are summed and not averaged, because a loss computed with `all_reduce_sum` is already the loss of the whole
    batch. One vector in the order of the parameters is always summed in the same way, so that a resumed training ends
    with the same bits. Gradients that are sent as soon as they are ready do not guarantee this.
    """
    if world_size() == 1:
        return
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    joined = torch.cat([gradient.reshape(-1) for gradient in gradients])
    distributed.all_reduce(joined)
    summed = torch.split(joined, [gradient.numel() for gradient in gradients])
    for gradient, total_gradient in zip(gradients, summed, strict=True):
        gradient.copy_(total_gradient.view_as(gradient))


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
