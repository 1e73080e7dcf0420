"""The history of a training as a log for TensorBoard, for those who compare their runs there."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

from pipeline.core.errors import PipelineError
from pipeline.core.files import atomic_file
from pipeline.report.tables import read_history

TAGS = {
    "train_loss": "loss/train",
    "val_loss": "loss/validation",
    "val_dice": "validation/dice",
    "val_mae": "validation/mae",
    "val_max_f": "validation/max_f",
    "lr": "learning_rate",
}
"""Column of a history to what TensorBoard calls it: it groups by what stands before the slash."""


def write_events(*, history: Path, output: Path) -> None:
    """Write a training's ``history.csv`` as one file of events, in the place of what was there.

    The same history gives the same bytes: the wall time of an epoch is its number in seconds.

    Parameters
    ----------
    history : Path
        A row for each epoch; a cell is empty where nothing was measured.
    output : Path
        File of events; its name has to contain ``tfevents``.

    Raises
    ------
    TrainingError
        If the history cannot be read.
    PipelineError
        If TensorBoard is not installed.
    OutputError
    """
    with atomic_file(output) as temporary:
        rows = read_history(history, ("epoch",)).to_dict("records")
        temporary.write_bytes(
            as_events([{str(name): value for name, value in row.items()} for row in rows], first=True)
        )


def as_events(rows: Sequence[Mapping[str, float]], *, first: bool) -> bytes:
    """Spell epochs as records of an event file.

    Parameters
    ----------
    rows : sequence of mapping
        Of each epoch ``epoch``, which becomes the step, and numbers. Those of `TAGS` get the name there, others keep
        theirs; what is NaN is left out. Values are stored as float32.
    first : bool
        Whether the file begins with them.

    Raises
    ------
    PipelineError
        If TensorBoard is not installed.
    """
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter
    except ModuleNotFoundError as error:
        found, expected = f"no package {error.name}", "the package tensorboard, which only this needs"
        remedy = "install it: `python -m pip install -c constraints.txt -e '.[tensorboard]'`"
        raise PipelineError("tensorboard", found, expected, remedy) from error
    stream = BytesIO()
    records = RecordWriter(stream)
    if first:
        records.write(Event(wall_time=0.0, file_version="brain.Event:2").SerializeToString(deterministic=True))
    for row in rows:
        epoch = int(row["epoch"])
        values = [
            Summary.Value(tag=TAGS.get(name, name), simple_value=value)
            for name, value in row.items()
            if name != "epoch" and value == value  # NaN does not equal itself
        ]
        event = Event(wall_time=float(epoch), step=epoch, summary=Summary(value=values))
        records.write(event.SerializeToString(deterministic=True))
    return stream.getvalue()
