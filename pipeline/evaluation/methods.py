"""Names in tables of scores: baselines, which need no training, ensembles, and the mean over classes."""

OBSERVER = "second-observer"
"""The masks that a second person drew."""

BACKGROUND = "all-background"
"""No pixel is foreground: what a network has to beat."""

CEILING = "resolution-ceiling"
"""The mask itself, at the size that networks of the data set work at: what none of them can beat by much."""

BASELINES = (OBSERVER, BACKGROUND, CEILING)

ENSEMBLE = "ensemble"
"""The mean of the probabilities of all networks of an experiment."""


MEAN = "mean"
"""What the column ``class`` says of the mean over the foreground classes, where there are several."""


def baseline_name(dataset: str, kind: str) -> str:
    """Name a baseline of a data set; the dot keeps it apart from all experiments."""
    return f"{dataset}.{kind}"


def ensemble_name(experiment: str) -> str:
    """Name the ensemble of an experiment."""
    return f"{experiment}.{ENSEMBLE}"


def split_name(name: str) -> tuple[str, str]:
    """Take a name apart: data set and kind of a baseline, experiment and `ENSEMBLE`; a network has no kind."""
    owner, _, kind = name.partition(".")
    return owner, kind


def is_baseline(name: str) -> bool:
    """Tell whether a name is that of a baseline, which has learnt nothing."""
    return split_name(name)[1] in BASELINES
