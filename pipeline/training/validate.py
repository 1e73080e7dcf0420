"""Validate a network on the validation samples, at the shard size."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from pipeline.core.counts import LEVELS, Confusion, absolute_error, confusion, dice, max_f, threshold_level
from pipeline.training import ranks
from pipeline.training.data import Batch, SampleStore
from pipeline.training.device import run_logits
from pipeline.training.losses import Loss, activate, supervise

FOREGROUND = slice(1, None)
"""Indices of the foreground classes where the first class is background."""


class Validation(NamedTuple):
    """Scores of one validation; NaN if not computed.

    Parameters
    ----------
    val_loss : float
        Mean over samples.
    val_dice : float
        Dice at threshold 0.5 over all valid pixels; with more than two classes `mean_dice`.
    val_mae, val_max_f : float
        Mean absolute error, averaged over samples, and `max_f`; NaN with more than two classes.
    val_accuracy : float
        Share of the valid pixels whose class is right: at threshold 0.5, or of the most probable class.
    """

    val_loss: float = math.nan
    val_dice: float = math.nan
    val_mae: float = math.nan
    val_max_f: float = math.nan
    val_accuracy: float = math.nan


def validate(
    network: nn.Module,
    loss: Loss,
    data: SampleStore,
    batch_size: int,
    precision: str,
    after_batch: Callable[[], None] = lambda: None,
    foreground: slice = FOREGROUND,
) -> Validation:
    """Compute the scores of a network on all samples of a store, in evaluation mode and without gradients.

    `foreground` are the indices of the classes that several classes are averaged over.

    In distributed training each process runs a part of the samples, and all get the scores of all samples.
    """
    ranks.broadcast_buffers(network)
    network.eval()
    classes = len(data.info.class_names)
    losses: list[torch.Tensor] = []  # these and the counts stay on the device until the last batch
    counts: list[torch.Tensor] = []
    positions: list[slice] = []
    sizes: list[int] = []
    with torch.no_grad():
        for batch in data.batches(torch.arange(len(data)), batch_size):
            first = len(counts) * batch_size
            batch_rows = min(batch_size, len(data) - first)
            local = ranks.local_rows(batch_rows)
            outputs = run_logits(network, batch.image, precision)
            losses.append(supervise(loss.function, outputs, batch.target, batch.weight))
            probability = activate(outputs[0], loss.activation)
            counts.append(_confusions(probability, batch) if classes > 2 else _histograms(probability, batch))
            positions.append(slice(first + local.start, first + local.stop))
            sizes.append(batch_rows)
            after_batch()
    parts = np.split(torch.cat(counts).cpu().numpy(), np.cumsum([len(part) for part in counts[:-1]]))
    joined = ranks.gather_rows(parts, positions, len(data))
    mean_loss = sum(value * rows for value, rows in zip(torch.stack(losses).tolist(), sizes, strict=True)) / len(data)
    if classes > 2:
        matrix = joined.sum(axis=0)
        accuracy = _share(int(matrix.trace()), int(matrix.sum()))
        return Validation(mean_loss, mean_dice(matrix, foreground), val_accuracy=accuracy)
    pooled = confusion(joined.sum(axis=0), threshold_level(0.5))
    return Validation(
        mean_loss,
        float(dice(pooled)),
        float(np.nanmean(absolute_error(joined))) if joined.any() else math.nan,
        max_f(joined),
        _share(int(pooled.tp + pooled.tn), int(joined.sum())),
    )


def mean_dice(matrix: np.ndarray, foreground: slice = FOREGROUND) -> float:
    """Return the mean Dice of the foreground classes of a (K, K) confusion matrix that masks or predictions contain.

    It is 1 if they contain none, like Dice of two classes, and NaN without pixels.
    """
    tp = matrix.diagonal()
    fn, fp = matrix.sum(axis=1) - tp, matrix.sum(axis=0) - tp
    counts = Confusion(*(count[foreground] for count in (tp, fp, fn, matrix.sum() - tp - fn - fp)))
    occurs = counts.tp + counts.fp + counts.fn > 0
    scores = dice(counts)
    return float((scores[occurs] if occurs.any() else scores).mean())


def _share(part: int, total: int) -> float:
    return part / total if total else math.nan


def _histograms(probability: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Return the joint histograms (N, 2, 256) of a batch; see `pipeline.core.counts.joint_histogram`."""
    # halves are rounded down, so that 0.5 is not above the threshold 0.5; the loss reports NaN
    level = (probability.nan_to_num() * (LEVELS - 1) - 0.5).ceil().long()
    return _count(level + LEVELS * (batch.target > 0.5), 2 * LEVELS, batch.weight).reshape(-1, 2, LEVELS)


def _confusions(probability: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Return the confusion matrices (N, K, K) of a batch: rows are true classes, columns predicted classes."""
    classes = probability.shape[1]
    joint = batch.target * classes + probability.argmax(dim=1, keepdim=True)
    return _count(joint, classes**2, batch.weight).reshape(-1, classes, classes)


def _count(values: torch.Tensor, limit: int, weight: torch.Tensor | None) -> torch.Tensor:
    """Count the values 0 to limit - 1 of each sample over its valid pixels: (N, limit) int64, in one histogram.

    On a GPU the CPU waits for it: `bincount` reads the smallest and the largest value. In deterministic mode PyTorch
    would sort all pixels for `scatter_add_`, and warn of `histc`.
    """
    rows = len(values)
    bins = values + limit * torch.arange(rows, device=values.device)[:, None, None, None]
    if weight is not None:
        bins = torch.where(weight > 0, bins, rows * limit)  # one more bin for all pixels that do not count
    return torch.bincount(bins.flatten(), minlength=rows * limit + 1)[:-1].view(rows, limit)
