"""Where results stand, relative to the folder that snakemake runs in: one place for the rules and the CLI."""

from pathlib import Path

RESULTS = Path("results")


def shard(dataset: str, split: str, number: int | str) -> Path:
    """Return the HDF5 file of one shard."""
    return RESULTS / "shards" / dataset / f"{split}-{number}.h5"


def splits(dataset: str) -> Path:
    """Return the table of a data set's assignments."""
    return RESULTS / "splits" / f"{dataset}.csv"


def shares(dataset: str) -> Path:
    """Return the file in which the foreground shares of a data set's masks are kept; it may be deleted."""
    return RESULTS / "cache" / f"foreground-{dataset}.json"


def digests(dataset: str) -> Path:
    """Return the file in which the digests of a data set's raw files are kept; it may be deleted."""
    return RESULTS / "cache" / f"digests-{dataset}.json"


def store() -> Path:
    """Return the folder in which finished shards and checkpoints are kept."""
    return RESULTS / "store"


def folds(dataset: str, folds: int | str) -> Path:
    """Return the table of a data set's folds, of which there are `folds`."""
    return RESULTS / "folds" / dataset / f"{folds}.json"


def checks() -> Path:
    """Return the folder of the reports on raw data."""
    return RESULTS / "check"


def check(dataset: str) -> Path:
    """Return the report on a data set's raw files, for programs; page and contact sheet stand beside it."""
    return checks() / f"{dataset}.json"


def model(experiment: str) -> Path:
    """Return the folder of an experiment's checkpoints and history."""
    return RESULTS / "models" / experiment


def state(experiment: str) -> Path:
    """Return the folder of the states of an experiment's unfinished trainings, one folder for each."""
    return RESULTS / "state" / experiment


def provenance(experiment: str) -> Path:
    """Return the file that says how an experiment's weights came to be; beside them, so that they are cached as one."""
    return model(experiment) / "provenance.json"


def prediction(experiment: str, split: str) -> Path:
    """Return the folder of a split's images: probability, mask, overlay, panel."""
    return RESULTS / "predictions" / experiment / split


def threshold(experiment: str) -> Path:
    """Return the file of an experiment's threshold."""
    return RESULTS / "predictions" / experiment / "threshold.json"


def submission(experiment: str) -> Path:
    """Return the folder that a challenge takes: predictions of the unlabelled samples in its format."""
    return prediction(experiment, "unlabelled") / "submission"


def metrics(experiment: str) -> Path:
    """Return the folder of an experiment's scores."""
    return RESULTS / "metrics" / experiment


def comparisons() -> Path:
    """Return the table of all methods against each other."""
    return RESULTS / "comparisons.csv"


def events(experiment: str) -> Path:
    """Return the file of a training's history for TensorBoard, which reads files with ``tfevents`` in their name."""
    return RESULTS / "tensorboard" / experiment / "events.out.tfevents.0.history"


def leaderboard() -> Path:
    """Return the table of all experiments."""
    return RESULTS / "leaderboard.csv"


def benchmarks() -> Path:
    """Return the folder in which Snakemake leaves the time and the memory that each job took."""
    return RESULTS / "benchmarks"


def report() -> Path:
    """Return the page about all of it."""
    return RESULTS / "report.html"
