"""Names of methods in tables of scores: baselines, ensembles, and the mean over classes."""

OBSERVER = "second-observer"
"""The masks of the second observer."""

BACKGROUND = "all-background"
"""No pixel is foreground: a lower bound for networks."""

CEILING = "resolution-ceiling"
"""The mask resized to the size at which networks work, and back: an approximate upper bound for networks."""

BASELINES = (OBSERVER, BACKGROUND, CEILING)

ENSEMBLE = "ensemble"
"""The mean of the probabilities of all networks of an experiment."""

MEAN = "mean"
"""Value of the column ``class`` for the mean over the foreground classes, with several classes."""

LEFT_OUT = "left_out"
"""Column with the foreground classes that are not in this mean, because neither masks nor predictions have them."""


def baseline_name(dataset: str, kind: str) -> str:
    """Return the name of a baseline of a data set; names of experiments have no dot."""
    return f"{dataset}.{kind}"


def ensemble_name(experiment: str) -> str:
    """Return the name of the ensemble of an experiment."""
    return f"{experiment}.{ENSEMBLE}"


def parse_method_name(name: str) -> tuple[str, str]:
    """Return data set and kind of a baseline, experiment and `ENSEMBLE` of an ensemble, or experiment and ''."""
    owner, _, kind = name.partition(".")
    return owner, kind


def is_baseline(name: str) -> bool:
    """Return whether a name is that of a baseline."""
    return parse_method_name(name)[1] in BASELINES
