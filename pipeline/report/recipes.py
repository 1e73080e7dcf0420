"""What the tables and pages about several experiments are made by."""

from pipeline.core.options import Options
from pipeline.raw.source import Source


class CurvesRecipe(Options):
    """What an image of learning curves is made by: what else its title says."""

    note: str = ""


class AverageRecipe(Options):
    """What the mean of the scores of several runs is made by.

    Parameters
    ----------
    runs : tuple of str
        Their names.
    folds : bool
        Whether they are validated on different images, however many of them.
    """

    runs: tuple[str, ...]
    folds: bool


class ReportRecipe(Options):
    """What the page about all data sets, experiments and scores is made by.

    Parameters
    ----------
    datasets : dict of str to Source
        Where the test samples of each data set are.
    experiments : dict of str to str
        Each experiment with its data set.
    """

    datasets: dict[str, Source]
    experiments: dict[str, str]
