"""What the page is made from, as far as it is there: tables of everything that was scored or trained."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.core import paths
from pipeline.core.errors import PredictionError, Problem
from pipeline.evaluation.methods import is_baseline
from pipeline.evaluation.metrics import OF_CLASSES, Shown

EXPERIMENT, BASELINE, DERIVED = "experiment", "baseline", "derived"
"""Kinds of methods: trained; needing no training; made from others, such as the mean of several seeds."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Method:
    """Something that is scored, trained, or both.

    Parameters
    ----------
    name, dataset : str
    kind : {'experiment', 'baseline', 'derived'}
    scored : bool
        Whether it has scores of single images. A mean over several networks has none, and what stands under its name
        beside its summary is left from a time when it was one network.
    """

    name: str
    dataset: str
    kind: str
    scored: bool = True

    @property
    def images(self) -> Path:
        """The folder of its test images, which need not be there."""
        return paths.prediction(self.name, "test")


@dataclass
class Reader:
    """Reads tables of results, and keeps what is wrong with any of them for one message."""

    problems: list[Problem] = field(default_factory=list)

    def table(self, path: Path, columns: Collection[str], numbers: Collection[str] = ()) -> pd.DataFrame | None:
        """Read those of some columns that a CSV file must have; None where there is no file.

        Parameters
        ----------
        path : Path
        columns : collection of str
            Columns of text: an identifier 007 or NA stays what it is.
        numbers : collection of str
            Columns of numbers; NaN where a cell is empty.
        """
        if not path.exists():
            return None
        try:
            table = pd.read_csv(path, dtype=str, keep_default_na=False, usecols=[*columns, *numbers])
            for name in numbers:
                table[name] = pd.to_numeric(table[name].replace("", None))
        except (OSError, ValueError) as error:
            expected = f"a table with the columns {', '.join([*columns, *numbers])}"
            self._complain(path, error, expected)
            return None
        return table

    def required(self, path: Path, columns: Collection[str]) -> pd.DataFrame | None:
        """Read a table that somebody named: without it something is wrong."""
        if not path.exists():
            self._complain(path, FileNotFoundError("no such file"), f"a table with the columns {', '.join(columns)}")
        return self.table(path, columns)

    def _complain(self, path: Path, error: Exception, expected: str) -> None:
        found = " ".join(str(error).split())[:200]
        self.problems.append(Problem(str(path), found, expected, "delete it and run `snakemake report`"))

    def check(self) -> None:
        """Raise PredictionError for all that was wrong so far."""
        if self.problems:
            raise PredictionError(self.problems)


def find_methods(board: pd.DataFrame, experiments: Mapping[str, str]) -> list[Method]:
    """List what has scores or is configured, in order of data sets; experiments first, baselines last.

    Parameters
    ----------
    board : DataFrame
        The leaderboard, as text.
    experiments : mapping of str to str
        Configured experiments with their data sets.

    Raises
    ------
    PredictionError
        If a name is none that the pipeline gives: names lead to files.
    """
    datasets = dict(experiments)
    for name, dataset in zip(board["experiment"], board["dataset"], strict=True):
        datasets.setdefault(name, dataset)
    wrong = sorted({text for pair in datasets.items() for text in pair if not _NAME.fullmatch(text)})
    if wrong:
        expected, remedy = "letters, digits, dots, dashes and underscores", "delete it and run `snakemake report`"
        raise PredictionError(str(paths.leaderboard()), f"the name {wrong[0]!r}", expected, remedy)
    kinds = (EXPERIMENT, DERIVED, BASELINE)
    of_many = board.get("statistic", pd.Series("run", board.index)).isin(("mean", "std"))
    scored = {*board.loc[~of_many, "experiment"]}
    methods = []
    for name, dataset in datasets.items():
        kind = EXPERIMENT if name in experiments else BASELINE if is_baseline(name) else DERIVED
        methods.append(Method(name, dataset, kind, name in scored))
    return sorted(methods, key=lambda one: (one.dataset, kinds.index(one.kind), one.name))


@dataclass(frozen=True)
class Scores:
    """Scores of the single images of a split, and of a region of them.

    Parameters
    ----------
    split, region : str
    table : DataFrame
        A row for each image: ``id``, ``share`` (of foreground among the pixels that count) and the scores of
        `SHOWN`; of several classes, their means over the foreground classes, where an image has one.
    """

    split: str
    region: str
    table: pd.DataFrame

    @property
    def ids(self) -> list[str]:
        """Identifiers of the images."""
        return [str(name) for name in self.table["id"]]


def main_region(scores: Sequence[Scores]) -> Scores | None:
    """Return the scores of the test images: inside the field of view where there is one."""
    test = {one.region: one for one in scores if one.split == "test"}
    return test.get("fov", test.get("full"))


SHOWN = tuple(name for name, metric in OF_CLASSES.items() if metric.shown >= Shown.TERMINAL)
"""Scores of single images that cases and the scatter plot of the page show: those that a terminal shows, too."""

_COUNTS = ("tp", "fp", "fn", "tn")


def image_scores(table: pd.DataFrame, background: str | None) -> list[Scores]:
    """Bring a ``per_image.csv`` to one row for each image.

    Parameters
    ----------
    table : DataFrame
        Its columns ``id``, ``split``, ``region``, ``class``, ``pixels``, counts and scores.
    background : str, optional
        The class that is left out of means, where there are several.
    """
    found = []
    for (split, region), rows in table.groupby(["split", "region"], sort=False):
        several = rows["class"].nunique() > 1
        kept = rows[rows["class"] != background] if several else rows
        each = kept.groupby("id", sort=False)
        means = each[list(SHOWN)].mean()
        means.insert(0, "share", each[["tp", "fn"]].sum().sum(axis=1) / each["pixels"].first().clip(lower=1))
        found.append(Scores(str(split), str(region), means.reset_index()))
    return found


def read_images(reader: Reader, name: str) -> pd.DataFrame | None:
    """Read the scores of a method's single images; None where it has none, as a mean over seeds."""
    return reader.table(
        paths.metrics(name) / "per_image.csv", ("id", "split", "region", "class"), ("pixels", *_COUNTS, *SHOWN)
    )


def confusions(reader: Reader, name: str, images: pd.DataFrame | None) -> list[dict[str, Any]]:
    """Return a method's confusion matrices, of all pixels of a split and region together.

    Of two classes they are added up from the counts of the images.

    Returns
    -------
    list of dict
        ``split``, ``region``, ``classes`` (K names) and ``pixels``, K rows (mask) of K counts (prediction).
    """
    where = ["split", "region"]
    two_classes = images is not None and images["class"].nunique() == 1
    if not two_classes:
        path = paths.metrics(name) / "confusion.csv"
        images = reader.table(path, (*where, "truth", "predicted"), ("pixels",))
    found: list[dict[str, Any]] = []
    for (split, region), rows in images.groupby(where, sort=False) if images is not None else ():
        if two_classes:
            tp, fp, fn, tn = (int(rows[count].sum()) for count in _COUNTS)
            classes, pixels = ["background", str(rows["class"].iloc[0])], [[tn, fp], [fn, tp]]
        else:
            classes = [*dict.fromkeys(rows["truth"])]
            matrix = rows.pivot_table(index="truth", columns="predicted", values="pixels", sort=False)
            pixels = matrix.loc[classes, classes].astype(int).to_numpy().tolist()
        found.append({"split": split, "region": region, "classes": classes, "pixels": pixels})
    return found


def read_intervals(reader: Reader, files: Sequence[Path]) -> dict[tuple[str, ...], tuple[str, str, str]]:
    """Read intervals of scores.

    Parameters
    ----------
    reader : Reader
    files : sequence of Path
        Tables with the columns ``experiment``, ``dataset``, ``split``, ``region``, ``class``, ``averaging``,
        ``metric``, ``low``, ``high`` and ``level``.

    Returns
    -------
    dict
        The first seven of them to low, high and level, as text.
    """
    key = ("experiment", "dataset", "split", "region", "class", "averaging", "metric")
    found: dict[tuple[str, ...], tuple[str, str, str]] = {}
    for path in files:
        table = reader.required(path, (*key, "low", "high", "level"))
        for row in table.to_dict("records") if table is not None else ():
            found[tuple(row[name] for name in key)] = (row["low"], row["high"], row["level"])
    return found
