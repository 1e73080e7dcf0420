"""Settings of the stages that make tables, figures and the HTML report."""

from pipeline.core.options import Options
from pipeline.raw.source import Source


class CurvesRecipe(Options):
    """Settings of a figure of learning curves: a note in its title."""

    note: str = ""


class AverageRecipe(Options):
    """Settings of the mean over the scores of several runs.

    Parameters
    ----------
    runs : tuple of str
        Names of the runs.
    folds : bool
        Whether the runs are folds, which are validated on different images.
    """

    runs: tuple[str, ...]
    folds: bool


class ReportRecipe(Options):
    """Settings of the HTML report.

    Parameters
    ----------
    datasets : dict of str to Source
        Source of the samples of each data set.
    experiments : dict of str to str
        Each experiment with its data set.
    """

    datasets: dict[str, Source]
    experiments: dict[str, str]
