"""Several processes that train one network together: the rows that each of them works on, and what they add up.

All of them hold the same weights and take every step at the same time. Each computes its rows of every batch; sums over
a batch are sums over the processes, so losses, gradients and scores are those of the whole batch, as a single process
would have them, up to the order in which floating-point numbers are added. In a single process nothing is communicated.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import distributed, nn

Item = TypeVar("Item")


def count() -> int:
    """Return the number of processes that train together."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def rank() -> int:
    """Return the place of this process among them, from 0; rank 0 writes."""
    return distributed.get_rank() if count() > 1 else 0


def share(total: int) -> slice:
    """Return which rows of `total` are this process's: equal parts, the first ones a row longer where they must be.

    A part may be empty, never that of rank 0 while there is a row.
    """
    each, longer = divmod(total, count())
    first = rank() * each + min(rank(), longer)
    return slice(first, first + each + (rank() < longer))


class _Total(torch.autograd.Function):
    """Sum over all processes; what each of them gave has the gradient of the sum."""

    @staticmethod
    def forward(ctx: Any, part: torch.Tensor) -> torch.Tensor:  # noqa: ANN401 - as torch calls it
        total = part.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        return gradients[0]


def total(part: torch.Tensor) -> torch.Tensor:
    """Sum a tensor over all processes.

    Every process goes on with the sum; `sum_gradients` then adds up what each found out about its own part.
    """
    return part if count() == 1 else _Total.apply(part)  # type: ignore[no-untyped-call]


def sum_gradients(network: nn.Module) -> None:
    """Add up the gradients of all processes, in one go, so that they are those of the whole batch.

    They are sums and no means, because a loss that is made of `total` is a loss of the whole batch already. One vector
    in the order of the parameters is always added up in the same way: a training that goes on after a kill ends with
    the same bits, which gradients sent in the order in which they become ready do not promise.
    """
    if count() == 1:
        return
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    joined = torch.cat([gradient.reshape(-1) for gradient in gradients])
    distributed.all_reduce(joined)
    summed = torch.split(joined, [gradient.numel() for gradient in gradients])
    for gradient, total_gradient in zip(gradients, summed, strict=True):
        gradient.copy_(total_gradient.view_as(gradient))


def take_buffers(network: nn.Module) -> None:
    """Take over the running statistics of rank 0: those are validated and saved."""
    if count() > 1:
        for buffer in network.buffers():
            distributed.broadcast(buffer, src=0)


def largest(number: int) -> int:
    """Return the largest of the numbers that the processes have."""
    if count() == 1:
        return number
    numbers = torch.tensor(number)
    distributed.all_reduce(numbers, distributed.ReduceOp.MAX)
    return int(numbers)


def from_first(value: Item) -> Item:
    """Return what rank 0 has: plain data and tensors in main memory."""
    if count() == 1:
        return value
    held = [value]
    distributed.broadcast_object_list(held, src=0)
    return held[0]


def collect(parts: Sequence[NDArray[np.int64]], places: Sequence[slice], length: int) -> NDArray[np.int64]:
    """Put together what the processes counted for their rows; all of them get the same.

    Parameters
    ----------
    parts : sequence of (n, ...) arrays of int64
        At least one.
    places : sequence of slice
        Where among all rows each of them belongs.
    length : int
        Number of all rows.

    Returns
    -------
    (length, ...) array of int64
    """
    joined = np.zeros((length, *parts[0].shape[1:]), dtype=np.int64)
    for part, place in zip(parts, places, strict=True):
        joined[place] = part
    if count() > 1:
        distributed.all_reduce(torch.from_numpy(joined))
    return joined
