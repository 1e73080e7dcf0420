"""Write the TensorBoard event file of an experiment while it trains."""

import time
from collections.abc import Callable
from pathlib import Path

from pipeline.core.files import atomic_file, output_problem
from pipeline.core.progress import log
from pipeline.report.tensorboard import encode_events, write_events
from pipeline.training.live_history import modified_ns, read_live_history


def follow(
    *,
    experiment: str,
    states: Path,
    history: Path,
    output: Path,
    interval: float,
    wait: Callable[[float], None] = time.sleep,
) -> None:
    """Append epochs to an event file as a training run saves them in its state, until the run has ended.

    The training run is not affected. The final file is the same as that of `write_events`.

    Parameters
    ----------
    experiment : str
        For messages.
    states : Path
        See `pipeline.training.live_history.read_live_history`.
    history : Path
        The ``history.csv`` that a training run writes at its end: the run has ended if the file exists and no state is
        newer. Older states belong to abandoned training runs.
    output : Path
        Event file; replaced at the first poll, at the end, and if training was restarted.
    interval : float
        Seconds between two polls.
    wait : callable
        Waits for the given number of seconds.

    Raises
    ------
    TrainingError, OutputError
    PipelineError
        If TensorBoard is not installed.
    """
    written_events, written_epochs = b"", 0
    log(f"{experiment}: epochs appear when the training run saves its state; Ctrl-C stops following, not training")
    if not states.exists() and not modified_ns(history):
        experiments = sorted(path.name for path in states.parent.glob("*/"))
        log(f"{experiment}: no state in {states} yet; experiments with a state: {', '.join(experiments) or 'none'}")
    while True:
        ended = modified_ns(history)
        rows = read_live_history(states, newer_than=ended)
        if rows is None and ended:
            write_events(history=history, output=output)
            log(f"{experiment}: training has ended; {output} is complete")
            return
        if rows:
            events = encode_events(rows, first=True)
            if written_events and events.startswith(written_events):
                _append(output, events[len(written_events) :])
            else:
                with atomic_file(output) as temporary:
                    temporary.write_bytes(events)
            if len(rows) != written_epochs:
                log(f"{experiment}: up to epoch {len(rows)}")
            written_events, written_epochs = events, len(rows)
        wait(interval)


def _append(path: Path, data: bytes) -> None:
    try:
        with path.open("ab") as file:
            file.write(data)
    except OSError as error:
        raise output_problem(path, error) from error
