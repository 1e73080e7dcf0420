"""Names of what is scored beside the experiments, and needs no training."""

OBSERVER = "second-observer"
"""The masks that a second person drew."""

BACKGROUND = "all-background"
"""No pixel is foreground: what a network has to beat."""

CEILING = "resolution-ceiling"
"""The mask itself, at the size that networks of the data set work at: what none of them can beat by much."""

BASELINES = (OBSERVER, BACKGROUND, CEILING)


def baseline_name(dataset: str, kind: str) -> str:
    """Name a baseline of a data set; the dot keeps it apart from all experiments."""
    return f"{dataset}.{kind}"


def split_name(name: str) -> tuple[str, str]:
    """Take the name of a baseline apart: data set and kind; the kind of an experiment is empty."""
    dataset, _, kind = name.partition(".")
    return dataset, kind
