"""When the state of a training is saved, what belongs to it, and how a signal ends it."""

import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from pipeline.core.errors import InterruptionError, OutputError, Problem, TrainingError
from pipeline.core.progress import log
from pipeline.core.signals import handle_signals
from pipeline.training import ranks
from pipeline.training.history import Progress
from pipeline.training.state import load_state, save_state


class Stateful(Protocol):
    """A network, an optimizer, a schedule."""

    def state_dict(self) -> dict[str, Any]:
        """Return plain data and tensors."""

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any:  # noqa: ANN401 - torch returns this and that
        """Take them over."""


@dataclass
class StateSaver:
    """Saves all that moves in a training, and brings it back.

    Where several processes train together, rank 0 reads and saves the state, and all of them stop after the same step,
    whichever got the signal.

    Parameters
    ----------
    experiment : str
        Its name, for messages.
    folder : Path, optional
        Where the state lies; without it nothing is saved, and signals do what they do elsewhere.
    every : float
        Seconds between two saves.
    progress : Progress
    parts : mapping of str to Stateful
        Network, optimizer, schedule.
    generators : mapping of str to torch.Generator
        Sources of random numbers besides PyTorch's own.
    """

    experiment: str
    folder: Path | None
    every: float
    progress: Progress
    parts: Mapping[str, Stateful]
    generators: Mapping[str, torch.Generator]
    _due: float = field(default=0.0, init=False)
    _failed: bool = field(default=False, init=False)
    _signal: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._due = time.monotonic() + self.every

    def resume(self) -> None:
        """Go on from the saved state, if there is one.

        Raises
        ------
        TrainingError
            If the state cannot be read now, or belongs to another network or optimizer.
        """
        state = load_state(self.folder) if self.folder is not None and ranks.rank() == 0 else None
        state = ranks.broadcast(state)
        if state is None:
            return
        try:
            for name, part in self.parts.items():
                part.load_state_dict(state["parts"][name])
            for name, generator in self.generators.items():
                generator.set_state(state["generators"][name])
            torch.set_rng_state(state["random"])
            if "cuda" in state and torch.cuda.is_available():
                torch.cuda.set_rng_state(state["cuda"])
            self.progress.restore(state["progress"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise TrainingError(
                str(self.folder),
                f"a state that does not fit this training ({' '.join(str(error).split())[:160]})",
                "the state of the same network, optimizer and schedule",
                "delete this folder, then run the same command again",
            ) from error
        log(f"{self.experiment}: goes on from epoch {self.progress.epoch}, step {self.progress.step}")

    @contextmanager
    def heeding_signals(self) -> Iterator[None]:
        """Let `check` turn `SIGNALS` inside the block into `InterruptionError`; a second one disturbs nothing."""
        if self.folder is None:
            yield
            return
        with handle_signals(self._note):
            yield

    def _note(self, number: signal.Signals) -> None:
        self._signal = number

    def check(self) -> None:
        """Save if it is time to; after a signal, save and stop. To be called where nothing is half done.

        Raises
        ------
        InterruptionError
        """
        if self.folder is None:
            return
        number = ranks.all_reduce_max(self._signal)
        if not number and time.monotonic() < self._due:
            return
        saved = ranks.rank() > 0 or self._save(self.folder)
        self._due = time.monotonic() + self.every
        if number:
            saved = ranks.broadcast(saved)  # nobody ends before it is saved
            where = f"experiment {self.experiment!r}, epoch {self.progress.epoch}, step {self.progress.step}"
            onward = "from here" if saved else "from what was saved before, or starts anew"
            remedy = f"run the same command again: it goes on {onward}"
            problem = Problem(where, signal.Signals(number).name, "time to train on", remedy)
            raise InterruptionError(problem, status=128 + number)

    def _save(self, folder: Path) -> bool:
        """Save; say once where that fails, because a training need not end for want of a safety net."""
        state = {
            "parts": {name: part.state_dict() for name, part in self.parts.items()},
            "generators": {name: generator.get_state() for name, generator in self.generators.items()},
            "random": torch.get_rng_state(),
            "progress": self.progress.state(),
        }
        if torch.cuda.is_available():
            state["cuda"] = torch.cuda.get_rng_state()
        try:
            save_state(folder, state)
        except (OutputError, RuntimeError) as error:
            if not self._failed:
                log(f"{self.experiment} trains on, but its state cannot be saved, and a kill would lose it\n{error}")
            self._failed = True
            return False
        return True
