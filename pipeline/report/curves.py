"""Plot losses, scores and the learning rate over the epochs."""

from pathlib import Path

import matplotlib as mpl
import pandas as pd

from pipeline.core.files import atomic_file
from pipeline.report.recipes import CurvesRecipe
from pipeline.report.tables import read_history

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

_COLUMNS = ("epoch", "train_loss", "lr", "val_loss", "val_dice", "val_mae", "val_max_f")


def plot_curves(recipe: CurvesRecipe, *, experiment: str, history: Path, output: Path) -> None:
    """Plot losses, validation scores and the learning rate over the epochs of a ``history.csv``.

    Parameters
    ----------
    recipe : CurvesRecipe
    experiment : str
        Title of the figure.
    history : Path
        Columns ``epoch, train_loss, lr, val_loss, val_dice, val_mae, val_max_f``; empty if not measured.
    output : Path
        PNG file.

    Raises
    ------
    TrainingError, OutputError
    """
    table = read_history(history, _COLUMNS)
    figure, (losses, scores, rate) = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    _plot_column(losses, table, "train_loss", "training", "#0072B2", "-")
    _plot_column(losses, table, "val_loss", "validation", "#D55E00", "--")
    _plot_column(scores, table, "val_dice", "Dice at 0.5", "#D55E00", "-")
    _plot_column(scores, table, "val_max_f", "maxF (beta² 0.3)", "#009E73", "--")
    _plot_column(scores, table, "val_mae", "MAE", "#555555", ":")
    _plot_column(rate, table, "lr", "", "#0072B2", "-")
    scores.set_ylim(0, 1)
    labels = ("loss", "validation scores, shard size", "learning rate at the end of the epoch")
    for axes, label in zip((losses, scores, rate), labels, strict=True):
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[1]:
            axes.legend()
    figure.suptitle(f"{experiment} ({recipe.note})" if recipe.note else experiment)
    with atomic_file(output) as temporary:
        figure.savefig(temporary, dpi=110, metadata={"Software": None})
    plt.close(figure)


def _plot_column(axes: Axes, table: pd.DataFrame, column: str, label: str, colour: str, style: str) -> None:
    """Plot one column over the epochs in which it was measured."""
    measured = table[["epoch", column]].dropna()
    if len(measured):
        marker = "o" if len(measured) == 1 else None
        axes.plot(measured["epoch"], measured[column], color=colour, ls=style, marker=marker, label=label or None)
