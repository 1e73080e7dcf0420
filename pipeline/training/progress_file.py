"""The progress file of a running training, which the terminal shows. No result depends on it."""

import json
import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

NAME = "progress.json"
INTERVAL = 1.0
"""Seconds between two writes, at least."""


class ProgressFile:
    """Says in a small file how far a training run is, at most once a second, and removes the file at the end.

    The file is replaced atomically. A training run is not affected if the file cannot be written.

    Parameters
    ----------
    folder : Path, optional
        Folder of the state of the training run. Without it nothing is written.
    epochs, steps : int
        Epochs of the training run, and steps of an epoch.
    monitor : str
        The column of the history that chooses the best epoch.
    """

    def __init__(self, folder: Path | None, epochs: int, steps: int, monitor: str) -> None:
        self._path = None if folder is None else folder / NAME
        self._epochs, self._steps, self._monitor = epochs, steps, monitor
        self._start: tuple[float, float] | None = None  # time and share of the run that was done before
        self._next_write = 0.0

    def update(self, epoch: int, step: int, loss: Callable[[], float], row: Mapping[str, float] | None) -> None:
        """Write the file if a second has passed.

        Parameters
        ----------
        epoch, step : int
            The current epoch, from 1, and the number of its steps that are done.
        loss : callable
            Returns the mean loss of the epoch so far; may wait for the device, so it is called only for a write.
        row : mapping of str to float, optional
            The history of the last finished epoch.
        """
        now = time.monotonic()
        if self._path is None or now < self._next_write:
            return
        self._next_write = now + INTERVAL
        done = min(1.0, (epoch - 1 + step / self._steps) / self._epochs)
        self._start = self._start or (now, done)
        started, done_before = self._start
        speed = (done - done_before) / (now - started) if now > started else 0.0
        contents = {
            "epoch": epoch,
            "epochs": self._epochs,
            "step": step,
            "steps": self._steps,
            "done": done,
            "seconds_left": round((1 - done) / speed, 1) if speed > 0 else None,
            "loss": _finite(loss()),
            "monitor": self._monitor,
            "scores": {name: value for name, value in (row or {}).items() if math.isfinite(value)},
        }
        self._write(self._path, json.dumps(contents))

    @staticmethod
    def _write(path: Path, text: str) -> None:
        temporary = path.with_name(f".{path.name}")
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._path is None:
            return
        for path in (self._path, self._path.with_name(f".{self._path.name}")):
            with suppress(OSError):
                path.unlink()
        with suppress(OSError):
            self._path.parent.rmdir()  # only if no state was saved


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
