"""The confusion matrix of several classes, as a table and as an image."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.core.files import atomic_file
from pipeline.evaluation.classes import ConfusionMatrix

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.layout_engine import ConstrainedLayoutEngine

_MAP = "cividis"  # Nunez, Anderton, Renslow: PLoS ONE 13 (2018): one order of lightness for every kind of colour vision
_MAX_LABELLED_CLASSES = 12  # with more classes, the numbers do not fit their cells


def row_fractions(matrix: ConfusionMatrix) -> NDArray[np.float64]:
    """Divide each row of a (K, K) confusion matrix by its sum: the fraction of a true class predicted as each class.

    The row of a class that no mask contains is NaN.
    """
    with np.errstate(invalid="ignore"):
        return np.asarray(matrix / matrix.sum(axis=1, keepdims=True))


def confusion_table(conditions: Mapping[str, Any], matrix: ConfusionMatrix, classes: Sequence[str]) -> pd.DataFrame:
    """Convert a confusion matrix to a table.

    Parameters
    ----------
    conditions : mapping
        Columns with the conditions of the numbers, the same in every row.
    matrix : (K, K) array of int64
        Rows are true classes, columns predicted classes.
    classes : sequence of str

    Returns
    -------
    DataFrame
        `conditions`, then ``truth``, ``predicted``, ``pixels``, ``share`` (the fraction of the true class's pixels).
    """
    size = len(classes)
    return pd.DataFrame(
        {
            **{name: value for name, value in conditions.items() if name not in ("class", "empty_masks", "background")},
            "truth": np.repeat(np.array(classes, dtype=object), size),
            "predicted": [*classes] * size,
            "pixels": matrix.ravel(),
            "share": row_fractions(matrix).ravel(),
        }
    )


def plot_confusions(
    matrices: Mapping[tuple[str, str], ConfusionMatrix], *, classes: Sequence[str], title: str, output: Path
) -> None:
    """Plot row-normalized confusion matrices, a column for each split and a row for each region.

    Parameters
    ----------
    matrices : mapping of (str, str) to (K, K) array of int64
        By split and region.
    classes : sequence of str
    title : str
    output : Path
        PNG file.

    Raises
    ------
    OutputError
    """
    splits, regions = (list(dict.fromkeys(names)) for names in zip(*matrices, strict=True))
    side = max(3.4, 0.62 * min(len(classes), _MAX_LABELLED_CLASSES) + 0.12 * len(classes) + 1.2)
    size = (side * len(splits) + 0.8, side * len(regions))
    padded = ConstrainedLayoutEngine(h_pad=0.1, w_pad=0.1)
    figure, grid = plt.subplots(len(regions), len(splits), figsize=size, layout=padded, squeeze=False)
    # escaped, because matplotlib reads text between dollar signs as a formula
    names = [name.replace("$", r"\$") for name in classes]
    for (split, region), matrix in matrices.items():
        axes = grid[regions.index(region), splits.index(split)]
        fractions = row_fractions(matrix)
        axes.set_facecolor("#d0d0d0")  # a class that no mask contains
        image = axes.imshow(np.ma.masked_invalid(fractions), cmap=_MAP, vmin=0, vmax=1)
        axes.set_xticks(range(len(classes)), names, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(classes)), names)
        axes.set_xlabel("predicted")
        axes.set_ylabel("mask")
        axes.set_title(f"{split}, {region}: {int(matrix.sum()):,} pixels", fontsize=10)
        if len(classes) <= _MAX_LABELLED_CLASSES:
            _write_fractions(axes, matrix, fractions)
    figure.colorbar(image, ax=grid, label="fraction of the class's pixels", shrink=0.8)
    figure.suptitle(title.replace("$", r"\$"))
    with atomic_file(output) as temporary:
        figure.savefig(temporary, dpi=110, metadata={"Software": None})
    plt.close(figure)


def _write_fractions(axes: Any, matrix: ConfusionMatrix, fractions: NDArray[np.float64]) -> None:  # noqa: ANN401 - matplotlib's Axes
    """Write the fraction of each cell into it, black on light and white on dark colours."""
    for (row, column), fraction in np.ndenumerate(fractions):
        if np.isnan(fraction):
            text, colour = "-", "black"
        else:
            text = "0" if matrix[row, column] == 0 else f"{fraction:.1%}" if fraction >= 0.0005 else "<0.1%"
            colour = "black" if fraction > 0.5 else "white"
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
