"""Pixel accuracy of the batches of an epoch."""

import torch

from pipeline.training import ranks
from pipeline.training.data import Batch
from pipeline.training.losses import activate


def count_correct(output: torch.Tensor, activation: str, batch: Batch) -> torch.Tensor:
    """Count the pixels of a batch that are classified correctly, and those that count.

    With two classes a pixel is foreground where its probability is above 0.5, in a soft target too; with more it
    belongs to the most probable class. Pixels of weight 0 do not count; other weights have no effect. In distributed
    training all processes get the numbers of the whole batch.

    Parameters
    ----------
    output : (N, C, H, W) tensor
        Logits.
    activation : {'clip', 'sigmoid', 'softmax'}
    batch : Batch

    Returns
    -------
    (2,) tensor of int64
        On the device: nothing waits for it.
    """
    if batch.target.dtype == torch.int64:
        correct = output.argmax(dim=1, keepdim=True) == batch.target
    else:
        correct = (activate(output, activation) > 0.5) == (batch.target > 0.5)
    if batch.weight is None:
        right = correct.count_nonzero()
        counts = torch.stack([right, torch.full_like(right, correct.numel())])
    else:
        valid = batch.weight > 0
        counts = torch.stack([(correct & valid).count_nonzero(), valid.count_nonzero()])
    return ranks.all_reduce_sum(counts)
