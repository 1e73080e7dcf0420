"""Write a training history as an event file for TensorBoard."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

from pipeline.core.errors import PipelineError
from pipeline.core.files import atomic_file
from pipeline.report.tables import read_history

TAGS = {
    "train_loss": "loss/train",
    "accuracy": "accuracy/train",
    "val_loss": "loss/validation",
    "val_dice": "validation/dice",
    "val_mae": "validation/mae",
    "val_max_f": "validation/max_f",
    "val_accuracy": "accuracy/validation",
    "lr": "learning_rate",
}
"""TensorBoard tag of each column of a history; TensorBoard groups tags by the part before the slash."""


def write_events(*, history: Path, output: Path) -> None:
    """Write the ``history.csv`` of an experiment as one event file, which replaces an existing one.

    The same history gives the same bytes: the wall time of an epoch is its number in seconds.

    Parameters
    ----------
    history : Path
        A row for each epoch; cells without a measurement are empty.
    output : Path
        Event file; its name must contain ``tfevents``.

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
            encode_events([{str(name): value for name, value in row.items()} for row in rows], first=True)
        )


def encode_events(rows: Sequence[Mapping[str, float]], *, first: bool) -> bytes:
    """Encode epochs as records of an event file.

    Parameters
    ----------
    rows : sequence of mapping
        For each epoch ``epoch``, which becomes the step, and numbers. Columns of `TAGS` are renamed, others keep their
        name; NaN is left out. Values are stored as float32.
    first : bool
        Whether the file begins with these records.

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
        expected = "the optional package tensorboard"
        remedy = "install it: `python -m pip install -c constraints.txt -e '.[tensorboard]'`"
        raise PipelineError("tensorboard", f"no package {error.name}", expected, remedy) from error
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
