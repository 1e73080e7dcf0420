"""Pixel accuracy of the batches of an epoch."""

import torch

from pipeline.training import ranks
from pipeline.training.data import Batch
from pipeline.training.losses import activate


def count_correct(output: torch.Tensor, activation: str, batch: Batch) -> tuple[int, int]:
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
    """
    if batch.target.dtype == torch.int64:
        correct = output.argmax(dim=1, keepdim=True) == batch.target
    else:
        correct = (activate(output, activation) > 0.5) == (batch.target > 0.5)
    valid = torch.ones_like(correct) if batch.weight is None else batch.weight > 0
    counts = ranks.all_reduce_sum(torch.stack([(correct & valid).sum(), valid.sum()])).tolist()
    return counts[0], counts[1]
