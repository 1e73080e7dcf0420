"""Loss and score over the epochs, as a picture."""

from pathlib import Path

import matplotlib as mpl
import pandas as pd

from pipeline.errors import Problem, TrainingError
from pipeline.files import atomic_file

mpl.use("Agg")
from matplotlib import pyplot as plt


def plot_curves(*, experiment: str, history: Path, output: Path, note: str = "") -> None:
    """Draw training and validation loss, and validation Dice, from a ``history.csv``.

    Parameters
    ----------
    experiment : str
        For the title.
    history : Path
        Columns ``epoch, train_loss, val_loss, lr, val_dice``.
    output : Path
        PNG file.
    note : str
        What else the title says, such as ``"drawn sample data"``.

    Raises
    ------
    TrainingError, OutputError
    """
    try:
        table = pd.read_csv(history)
    except (OSError, ValueError) as error:
        raise TrainingError(
            Problem(str(history), str(error), "the history of a training", "run `snakemake models`")
        ) from error
    marker = "o" if len(table) == 1 else None
    figure, (losses, scores) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    losses.plot(table["epoch"], table["train_loss"], color="#0072B2", marker=marker, label="training")
    losses.plot(table["epoch"], table["val_loss"], color="#D55E00", marker=marker, ls="--", label="validation")
    scores.plot(table["epoch"], table["val_dice"], color="#D55E00", marker=marker, ls="--", label="validation")
    scores.set_ylim(0, 1)
    for axes, label in ((losses, "loss"), (scores, "Dice at 0.5, working size")):
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle(f"{experiment} ({note})" if note else experiment)
    with atomic_file(output) as temporary:
        figure.savefig(temporary, dpi=110, metadata={"Software": None})
    plt.close(figure)
