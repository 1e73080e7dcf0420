"""When the state of a training is saved, what belongs to it, and how a signal ends it."""

import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any, Protocol, Self

import torch

from pipeline.core.errors import InterruptionError, OutputError, Problem, TrainingError
from pipeline.core.progress import say
from pipeline.training import ranks
from pipeline.training.history import Progress
from pipeline.training.state import load_state, save_state

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""Ctrl-C, what cluster managers send before they kill, and what they can be asked to send earlier."""


class Stateful(Protocol):
    """A network, an optimizer, a schedule."""

    def state_dict(self) -> dict[str, Any]:
        """Return plain data and tensors."""

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any:  # noqa: ANN401 - torch returns this and that
        """Take them over."""


class Keeper:
    """Saves all that moves in a training, and brings it back.

    As a context it turns `SIGNALS` into `InterruptionError`, after the step that is under way; a second signal does not
    disturb the saving. Where several processes train together, rank 0 reads and saves the state, and all of them stop
    after the same step, whichever got the signal.

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

    def __init__(
        self,
        experiment: str,
        folder: Path | None,
        every: float,
        progress: Progress,
        parts: Mapping[str, Stateful],
        generators: Mapping[str, torch.Generator],
    ) -> None:
        self._experiment = experiment
        self._folder = folder
        self._every = every
        self._progress = progress
        self._parts = parts
        self._generators = generators
        self._due = time.monotonic() + every
        self._failed = False
        self._signal: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def resume(self) -> None:
        """Go on from the saved state, if there is one.

        Raises
        ------
        TrainingError
            If the state cannot be read now, or belongs to another network or optimizer.
        """
        state = load_state(self._folder) if self._folder is not None and ranks.rank() == 0 else None
        state = ranks.from_first(state)
        if state is None:
            return
        try:
            for name, part in self._parts.items():
                part.load_state_dict(state["parts"][name])
            for name, generator in self._generators.items():
                generator.set_state(state["generators"][name])
            torch.set_rng_state(state["random"])
            if "cuda" in state and torch.cuda.is_available():
                torch.cuda.set_rng_state(state["cuda"])
            self._progress.restore(state["progress"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise TrainingError(
                str(self._folder),
                f"a state that does not fit this training ({' '.join(str(error).split())[:160]})",
                "the state of the same network, optimizer and schedule",
                "delete this folder, then run the same command again",
            ) from error
        say(f"{self._experiment}: goes on from epoch {self._progress.epoch}, step {self._progress.step}")

    def __enter__(self) -> Self:
        if self._folder is not None and threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        self._signal = signal.Signals(number)

    def check(self) -> None:
        """Save if it is time to; after a signal, save and stop. To be called where nothing is half done.

        Raises
        ------
        InterruptionError
        """
        if self._folder is None:
            return
        number = ranks.largest(self._signal or 0)
        if not number and time.monotonic() < self._due:
            return
        saved = ranks.rank() > 0 or self._save(self._folder)
        self._due = time.monotonic() + self._every
        if number:
            saved = ranks.from_first(saved)  # nobody ends before it is saved
            raise InterruptionError(
                Problem(
                    f"experiment {self._experiment!r}, epoch {self._progress.epoch}, step {self._progress.step}",
                    signal.Signals(number).name,
                    "time to train on",
                    "run the same command again: it goes on "
                    + ("from here" if saved else "from what was saved before, or starts anew"),
                ),
                status=128 + number,
            )

    def _save(self, folder: Path) -> bool:
        """Save; say once where that fails, because a training need not end for want of a safety net."""
        try:
            save_state(folder, self._state())
        except (OutputError, RuntimeError) as error:
            if not self._failed:
                say(f"{self._experiment} trains on, but its state cannot be saved, and a kill would lose it\n{error}")
            self._failed = True
            return False
        return True

    def _state(self) -> dict[str, Any]:
        cuda = {"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else {}
        return {
            "parts": {name: part.state_dict() for name, part in self._parts.items()},
            "generators": {name: generator.get_state() for name, generator in self._generators.items()},
            "random": torch.get_rng_state(),
            **cuda,
            "progress": self._progress.state(),
        }
