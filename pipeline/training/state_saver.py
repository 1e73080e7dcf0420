"""Save the state of a training run periodically and on a signal, and resume from it."""

import signal
import time
from collections.abc import Callable, Iterator, Mapping
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

MOST_STEPS = 8
"""Several processes ask each other for signals after at most this number of steps; if steps are slow, once a second."""


class Stateful(Protocol):
    """A network, an optimizer, a schedule."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain data and tensors."""

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any:  # noqa: ANN401 - torch classes return different types
        """Restore the state."""


@dataclass
class StateSaver:
    """Saves and restores everything that changes during a training run.

    In distributed training rank 0 reads and saves the state, and all processes stop after the same step, about a second
    after any of them received a signal.

    Parameters
    ----------
    experiment : str
        Name, for messages.
    folder : Path, optional
        Folder of the state. Without it nothing is saved, and signals have their default effect.
    interval : float
        Seconds between two saves.
    progress : Progress
    parts : mapping of str to Stateful
        Network, optimizer, schedule.
    generators : mapping of str to torch.Generator
        Random number generators other than PyTorch's default one.
    check : callable
        Called before each save; raises an error if the state must not be saved.
    report : callable
        Called between steps, however often; tells people how far the training run is.
    """

    experiment: str
    folder: Path | None
    interval: float
    progress: Progress
    parts: Mapping[str, Stateful]
    generators: Mapping[str, torch.Generator]
    check: Callable[[], None] = lambda: None
    report: Callable[[], None] = lambda: None
    _next_save: float = field(default=0.0, init=False)
    _save_failed: bool = field(default=False, init=False)
    _signal: int = field(default=0, init=False)
    _asked: float = field(default_factory=lambda: time.monotonic(), init=False)
    _steps: int = field(default=0, init=False)
    _steps_to_ask: int = field(default=1, init=False)

    def __post_init__(self) -> None:
        self._next_save = time.monotonic() + self.interval

    def resume(self) -> None:
        """Restore the saved state, if there is one.

        Raises
        ------
        TrainingError
            If the state cannot be read, or belongs to another network or optimizer.
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
                f"a state that does not fit this training run ({' '.join(str(error).split())[:160]})",
                "the state of the same network, optimizer and schedule",
                "delete this folder and run the same command again",
            ) from error
        log(f"{self.experiment}: resumes from epoch {self.progress.epoch}, step {self.progress.step}")

    @contextmanager
    def stop_on_signals(self) -> Iterator[None]:
        """Record `SIGNALS` in the block, so that `save_if_due` stops the run; further signals have no effect."""
        if self.folder is None:
            yield
            return
        with handle_signals(self._record_signal):
            yield

    def _record_signal(self, signal_number: signal.Signals) -> None:
        self._signal = signal_number

    def save_if_due(self) -> None:
        """Save the state if a save is due; after a signal, save it and stop. Call this only between complete steps.

        Raises
        ------
        InterruptionError
            After a signal to any of the processes.
        """
        if self.folder is None:
            return
        self.report()
        signal_number = self._any_signal()
        if not signal_number and time.monotonic() < self._next_save:
            return
        saved = ranks.rank() > 0 or self._save(self.folder)  # only rank 0 saves; its result is broadcast below
        self._next_save = time.monotonic() + self.interval
        if signal_number:
            saved = ranks.broadcast(saved)  # the other processes wait here until rank 0 has saved the state
            location = f"experiment {self.experiment!r}, epoch {self.progress.epoch}, step {self.progress.step}"
            resumption = "resumes from this step" if saved else "resumes from the last saved state, or restarts"
            remedy = f"run the same command again: it {resumption}"
            problem = Problem(location, signal.Signals(signal_number).name, "a training run that finishes", remedy)
            raise InterruptionError(problem, status=128 + signal_number)

    def _any_signal(self) -> int:
        """Return the signal that any process has received, or 0; with several processes known only in some calls."""
        if ranks.world_size() == 1:
            return self._signal
        self._steps += 1
        if self._steps < self._steps_to_ask:
            return 0
        # the time of the slowest process, so that all of them ask after the same number of steps
        milliseconds = max(1, ranks.all_reduce_max(round(1000 * (time.monotonic() - self._asked))))
        self._steps_to_ask = max(1, min(MOST_STEPS, 1000 * self._steps // milliseconds))
        self._asked, self._steps = time.monotonic(), 0
        return ranks.all_reduce_max(self._signal)

    def _save(self, folder: Path) -> bool:
        """Save the state. Log the first failure only: training can continue without a saved state."""
        self.check()
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
            if not self._save_failed:
                log(f"{self.experiment}: the state cannot be saved; training continues, but cannot be resumed\n{error}")
            self._save_failed = True
            return False
        return True
