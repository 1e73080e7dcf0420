"""One training step: forward and backward pass, update of the weights, sums of the epoch."""

from functools import partial
from typing import NamedTuple

from torch import nn
from torch.optim import Optimizer

from pipeline.training.accuracy import count_correct
from pipeline.training.data import Batch
from pipeline.training.device import run_logits
from pipeline.training.history import Progress
from pipeline.training.losses import Loss, supervise
from pipeline.training.ranks import GradientSum
from pipeline.training.step_graph import Recorder, StepGraph


class Part(NamedTuple):
    """The part of a batch in an update of the weights.

    Parameters
    ----------
    share : float
        Share of the batch in the rows of the update.
    first, last : bool
        Whether it is the first or the last batch of the update.
    """

    share: float
    first: bool
    last: bool


WHOLE = Part(1.0, first=True, last=True)


class TrainingStep:
    """Trains a network on one batch and adds loss and accuracy to the progress, all without waiting for the device.

    Parameters
    ----------
    network : nn.Module
    optimizer : Optimizer
    loss : Loss
    precision : {'fp32', 'bf16'}
    progress : Progress
    """

    def __init__(
        self, network: nn.Module, optimizer: Optimizer, loss: Loss, precision: str, progress: Progress
    ) -> None:
        self._network, self._optimizer, self.loss = network, optimizer, loss
        self._precision, self._progress = precision, progress
        self._gradient_sum = GradientSum(network)
        self._graph: StepGraph | None = None
        self._graph_rows = 0

    def record(self, recorder: Recorder | None, rows: int, experiment: str) -> None:
        """Record steps on batches of this number of rows and replay them, if there is a recorder."""
        if recorder is not None:
            self._graph, self._graph_rows = (
                StepGraph(partial(self._compute, batch_rows=rows), recorder, experiment),
                rows,
            )

    def set_frozen(self, frozen: bool) -> None:
        """Note whether a part of the network is frozen: a step is recorded for each case."""
        if self._graph is not None:
            self._graph.frozen = frozen

    def __call__(self, batch: Batch, batch_rows: int, part: Part = WHOLE) -> None:
        """Do one step; update the weights if the batch is the last of an update.

        Parameters
        ----------
        batch : Batch
            The rows of this process.
        batch_rows : int
            Number of rows of the whole batch.
        part : Part
            Gradients are the mean over the rows of all batches of an update, weighted with their shares. Steps that
            are recorded have one batch for each update.
        """
        if self._graph is not None and batch_rows == self._graph_rows:
            self._graph(batch)
        else:
            self._compute(batch, batch_rows, part)

    def _compute(self, batch: Batch, batch_rows: int, part: Part = WHOLE) -> None:
        if part.first:
            self._optimizer.zero_grad(set_to_none=True)
        self._gradient_sum.paused = not part.last
        outputs = run_logits(self._network, batch.image, self._precision)
        loss = supervise(self.loss.function, outputs, batch.target, batch.weight)
        (loss if part.share == 1.0 else loss * part.share).backward()  # type: ignore[no-untyped-call]
        if part.last:
            self._gradient_sum.finish()
            self._optimizer.step()
        pixels = count_correct(outputs[0].detach(), self.loss.activation, batch)
        self._progress.add(loss.detach(), batch_rows, pixels)
