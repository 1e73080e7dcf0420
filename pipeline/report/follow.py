"""Write the events of a training for TensorBoard while it runs."""

import time
from collections.abc import Callable
from pathlib import Path

from pipeline.core.files import atomic_file, output_problem
from pipeline.core.progress import log
from pipeline.report.tensorboard import as_events, write_events
from pipeline.training.live_history import modified_ns, read_live_history


def follow(
    *,
    experiment: str,
    states: Path,
    history: Path,
    output: Path,
    every: float,
    wait: Callable[[float], None] = time.sleep,
) -> None:
    """Add epochs to a file of events as the state of a training gets to hold them, until the training has ended.

    The training knows nothing of it. What is written at the end is what `write_events` writes.

    Parameters
    ----------
    experiment : str
        For messages.
    states : Path
        See `pipeline.training.live_history.read_live_history`.
    history : Path
        The ``history.csv`` that a training writes when it ends: where it is there, and no state is younger, it has
        ended. States that are older belong to trainings that were given up.
    output : Path
        File of events; replaced at the first look and at the end, and where a training began anew.
    every : float
        Seconds between two looks.
    wait : callable
        Waits for so many seconds.

    Raises
    ------
    TrainingError, OutputError
    PipelineError
        If TensorBoard is not installed.
    """
    done, epochs = b"", 0
    log(f"{experiment}: epochs appear when the training saves its state; Ctrl-C ends this and not the training")
    if not states.exists() and not modified_ns(history):
        others = sorted(path.name for path in states.parent.glob("*/"))
        log(f"{experiment}: nothing in {states} yet; states are there of {', '.join(others) or 'no training'}")
    while True:
        ended = modified_ns(history)
        rows = read_live_history(states, newer_than=ended)
        if rows is None and ended:
            write_events(history=history, output=output)
            log(f"{experiment}: the training has ended; {output} holds all of it")
            return
        if rows:
            events = as_events(rows, first=True)
            if done and events.startswith(done):
                _append(output, events[len(done) :])
            else:
                with atomic_file(output) as temporary:
                    temporary.write_bytes(events)
            if len(rows) != epochs:
                log(f"{experiment}: up to epoch {len(rows)}")
            done, epochs = events, len(rows)
        wait(every)


def _append(path: Path, data: bytes) -> None:
    try:
        with path.open("ab") as file:
            file.write(data)
    except OSError as error:
        raise output_problem(path, error) from error
