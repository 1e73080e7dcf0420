"""The stages of a training run: what changes from one to the next, and which one is running."""

from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer

from pipeline.training.losses import Loss, choose_loss
from pipeline.training.optim import Schedule
from pipeline.training.recipes import TrainRecipe


class Stages:
    """The running stage, with its learning-rate schedule. A training run without `stages` has one.

    Parameters
    ----------
    recipe : TrainRecipe
    optimizer : Optimizer
    steps : int
        Updates of the weights in an epoch.
    use : callable
        Called with the loss of each stage when it begins, also when a training run resumes in it.
    """

    def __init__(self, recipe: TrainRecipe, optimizer: Optimizer, steps: int, use: Callable[[Loss], None]) -> None:
        self._recipes = recipe.in_stages()
        self._starts = ["last", *(stage.start for stage in recipe.stages or ())]
        self._optimizer, self._steps, self._use = optimizer, steps, use
        self._enter(0, 0)

    def _enter(self, index: int, epochs_before: int) -> None:
        self._index, self._epochs_before = index, epochs_before
        for group in self._optimizer.param_groups:
            group["lr"] = self.recipe.optimizer.lr
        self.schedule = Schedule(self.recipe.schedule, self._optimizer, self.recipe.epochs, self._steps)
        self._use(choose_loss(self.recipe.loss.name, self.recipe.has_background))

    @property
    def recipe(self) -> TrainRecipe:
        """The settings of this stage; its epochs count from 1."""
        return self._recipes[self._index]

    @property
    def number(self) -> int:
        """Number of this stage, from 1."""
        return self._index + 1

    @property
    def count(self) -> int:
        """Number of stages."""
        return len(self._recipes)

    @property
    def start(self) -> str:
        """The weights that this stage starts with: those of the ``'best'`` or of the ``'last'`` epoch before it."""
        return self._starts[self._index]

    def own_epoch(self, epoch: int) -> int:
        """Return the number of an epoch of the training run in this stage, from 1."""
        return epoch - self._epochs_before

    def begin_next(self, epoch: int) -> None:
        """Begin the next stage after an epoch of the training run, with a new schedule and an optimizer as at first."""
        self._optimizer.state.clear()
        self._enter(self._index + 1, epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return the position and the state of the schedule as plain data."""
        return {"index": self._index, "epochs_before": self._epochs_before, "schedule": self.schedule.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the result of `state_dict`; after the optimizer, whose state has a copy of the rate."""
        if state["index"]:  # a new run is in the first stage
            self._enter(state["index"], state["epochs_before"])
        self.schedule.load_state_dict(state["schedule"])
