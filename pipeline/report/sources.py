"""Find all methods and read the tables of their results for the report; missing tables are skipped."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.core import paths
from pipeline.core.errors import PredictionError, Problem
from pipeline.core.manifest import remake_remedy
from pipeline.evaluation.methods import is_baseline
from pipeline.evaluation.metrics import CLASS_METRICS, Visibility
from pipeline.report.tables import number_problems

EXPERIMENT, BASELINE, DERIVED = "experiment", "baseline", "derived"
"""Kinds of methods: trained; without training; computed from other methods, such as the mean over several seeds."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Method:
    """A method that is scored, trained, or both.

    Parameters
    ----------
    name, dataset : str
    kind : {'experiment', 'baseline', 'derived'}
    scored : bool
        Whether it has scores of individual images. A mean over several networks has none; other files than the summary
        under its name are leftovers from when it was a single network.
    """

    name: str
    dataset: str
    kind: str
    scored: bool = True

    @property
    def test_predictions(self) -> Path:
        """The folder of its predictions of test images, which may not exist."""
        return paths.prediction(self.name, "test")


@dataclass
class Reader:
    """Reads tables of results and collects all problems for one error."""

    problems: list[Problem] = field(default_factory=list)

    def table(self, path: Path, columns: Collection[str], numbers: Collection[str] = ()) -> pd.DataFrame | None:
        """Read the given columns of a CSV file; None if the file does not exist.

        Parameters
        ----------
        path : Path
        columns : collection of str
            Text columns; identifiers such as 007 or NA are kept as text.
        numbers : collection of str
            Numeric columns; NaN where a cell is empty.
        """
        if not path.exists():
            return None
        try:
            table = pd.read_csv(path, dtype=str, keep_default_na=False, usecols=[*columns, *numbers])
            for name in numbers:
                table[name] = pd.to_numeric(table[name].replace("", None))
        except (OSError, ValueError) as error:
            expected = f"a table with the columns {', '.join([*columns, *numbers])}"
            self._add_problem(path, error, expected)
            return None
        return table

    def required(self, path: Path, columns: Collection[str], numbers: Collection[str]) -> pd.DataFrame | None:
        """Read a table that a rule or the command line names, as text; a missing file is a problem.

        Parameters
        ----------
        numbers : collection of str
            The columns, some of `columns`, that must have numbers.
        """
        if not path.exists():
            self._add_problem(path, FileNotFoundError("no such file"), f"a table with the columns {', '.join(columns)}")
        table = self.table(path, columns)
        if table is not None and (problems := number_problems(path, table, numbers)):
            self.problems += problems
            return None
        return table

    def _add_problem(self, path: Path, error: Exception, expected: str) -> None:
        message = " ".join(str(error).split())[:200]
        remedy = remake_remedy(path, "name a table that the pipeline wrote", "snakemake report")
        self.problems.append(Problem(str(path), message, expected, remedy))

    def check(self) -> None:
        """Raise PredictionError with all problems collected so far."""
        if self.problems:
            raise PredictionError(self.problems)


def find_methods(board: pd.DataFrame, experiments: Mapping[str, str]) -> list[Method]:
    """List all methods with scores and all configured experiments, by data set; experiments first, baselines last.

    Parameters
    ----------
    board : DataFrame
        The leaderboard, as text.
    experiments : mapping of str to str
        Configured experiments with their data sets.

    Raises
    ------
    PredictionError
        If a name contains a character other than letters, digits, dots, dashes and underscores: names become paths.
    """
    datasets = dict(experiments)
    for name, dataset in zip(board["experiment"], board["dataset"], strict=True):
        datasets.setdefault(name, dataset)
    invalid_names = sorted({part for pair in datasets.items() for part in pair if not _NAME.fullmatch(part)})
    if invalid_names:
        expected = "letters, digits, dots, dashes and underscores"
        remedy = remake_remedy(paths.leaderboard(), "rename it", "snakemake report")
        raise PredictionError(str(paths.leaderboard()), f"the name {invalid_names[0]!r}", expected, remedy)
    kind_order = (EXPERIMENT, DERIVED, BASELINE)
    is_statistic = board.get("statistic", pd.Series("run", board.index)).isin(("mean", "std"))
    scored = {*board.loc[~is_statistic, "experiment"]}
    methods = []
    for name, dataset in datasets.items():
        kind = EXPERIMENT if name in experiments else BASELINE if is_baseline(name) else DERIVED
        methods.append(Method(name, dataset, kind, name in scored))
    return sorted(methods, key=lambda method: (method.dataset, kind_order.index(method.kind), method.name))


@dataclass(frozen=True)
class Scores:
    """Scores of the individual images of a split, in one region.

    Parameters
    ----------
    split, region : str
    table : DataFrame
        A row for each image: ``id``, ``share`` (of foreground among the pixels that count) and `SCORE_COLUMNS`; with
        several classes, means over the foreground classes that have a score.
    """

    split: str
    region: str
    table: pd.DataFrame

    @property
    def ids(self) -> list[str]:
        """Identifiers of the images."""
        return [str(name) for name in self.table["id"]]

    def worst_first(self, score: str) -> list[str]:
        """Return the identifiers by ascending score; images without a score come last."""
        return [str(name) for name in self.table.sort_values([score, "id"])["id"]]


def main_region(scores: Sequence[Scores]) -> Scores | None:
    """Return the scores of the test images: inside the field of view if there is one, else of the full images."""
    by_region = {
        scores_of_region.region: scores_of_region for scores_of_region in scores if scores_of_region.split == "test"
    }
    return by_region.get("fov", by_region.get("full"))


def main_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Select the rows of test images, or of another split without these, in the main region: the field of view or all.

    Parameters
    ----------
    table : DataFrame
        With the columns ``split`` and ``region``.
    """
    for name, preferred in (("split", ("test", "out-of-fold", "validation")), ("region", ("fov", "full"))):
        present = {*table[name]}
        table = table[table[name] == next((value for value in preferred if value in present), "")]
    return table


SCORE_COLUMNS = tuple(name for name, metric in CLASS_METRICS.items() if metric.visibility >= Visibility.TERMINAL)
"""Scores of individual images in the cases and the scatter plot: the same that `compare` prints in a terminal."""

_COUNTS = ("tp", "fp", "fn", "tn")


def image_scores(table: pd.DataFrame, background: str) -> list[Scores]:
    """Return, for each split and region of a ``per_image.csv``, one row for each image.

    A row holds the foreground fraction of the mask and the scores, averaged over the foreground classes.

    Parameters
    ----------
    table : DataFrame
        Its columns ``id``, ``split``, ``region``, ``class``, ``pixels``, counts and scores.
    background : str
        The class that is left out of means and of the foreground if there are several classes; empty for none.
    """
    all_scores = []
    for (split, region), rows in table.groupby(["split", "region"], sort=False):
        multiclass = rows["class"].nunique() > 1
        scored_rows = rows[rows["class"] != background] if multiclass else rows
        by_image = scored_rows.groupby("id", sort=False)
        means = by_image[list(SCORE_COLUMNS)].mean()
        means.insert(0, "share", by_image[["tp", "fn"]].sum().sum(axis=1) / by_image["pixels"].first().clip(lower=1))
        all_scores.append(Scores(str(split), str(region), means.reset_index()))
    return all_scores


def read_images(reader: Reader, name: str) -> pd.DataFrame | None:
    """Read a method's scores of individual images; None if it has none, such as a mean over seeds."""
    return reader.table(
        paths.metrics(name) / "per_image.csv", ("id", "split", "region", "class"), ("pixels", *_COUNTS, *SCORE_COLUMNS)
    )


def confusion(reader: Reader, name: str, images: pd.DataFrame | None) -> dict[str, Any] | None:
    """Return a method's confusion matrix over all pixels of its `main_rows`; None if it has none.

    With two classes it is the sum of the counts of the images.

    Returns
    -------
    dict
        ``split``, ``region``, ``classes`` (K names) and ``pixels``, K rows (mask) of K counts (prediction).
    """
    two_classes = images is not None and images["class"].nunique() == 1
    if not two_classes:
        path = paths.metrics(name) / "confusion.csv"
        images = reader.table(path, ("split", "region", "truth", "predicted"), ("pixels",))
    if images is None or not len(rows := main_rows(images)):
        return None
    if two_classes:
        tp, fp, fn, tn = (int(rows[name_of_count].sum()) for name_of_count in _COUNTS)
        classes, pixels = ["background", str(rows["class"].iloc[0])], [[tn, fp], [fn, tp]]
    else:
        classes = [*dict.fromkeys(rows["truth"])]
        counts = rows.pivot_table(index="truth", columns="predicted", values="pixels", sort=False)
        pixels = counts.loc[classes, classes].astype(int).to_numpy().tolist()
    return {"split": rows["split"].iloc[0], "region": rows["region"].iloc[0], "classes": classes, "pixels": pixels}


def read_intervals(reader: Reader, files: Sequence[Path]) -> dict[tuple[str, ...], tuple[str, str, str]]:
    """Read confidence intervals of scores.

    Parameters
    ----------
    reader : Reader
    files : sequence of Path
        Tables with the columns ``experiment``, ``dataset``, ``split``, ``region``, ``class``, ``averaging``,
        ``metric``, ``low``, ``high`` and ``level``.

    Returns
    -------
    dict
        Maps the first seven columns to low, high and level, as text.
    """
    key = ("experiment", "dataset", "split", "region", "class", "averaging", "metric")
    intervals: dict[tuple[str, ...], tuple[str, str, str]] = {}
    for path in files:
        table = reader.required(path, (*key, "low", "high", "level"), ("low", "high", "level"))
        for row in table.to_dict("records") if table is not None else ():
            intervals[tuple(row[name] for name in key)] = (row["low"], row["high"], row["level"])
    return intervals
