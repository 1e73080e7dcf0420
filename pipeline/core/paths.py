"""Paths of results, relative to the working folder of Snakemake; used by the rules and the command line."""

from pathlib import Path

RESULTS = Path("results")


def shard(dataset: str, split: str, number: int | str) -> Path:
    """Return the HDF5 file of one shard."""
    return shard_folder(dataset) / f"{split}-{number}.h5"


def shard_folder(dataset: str) -> Path:
    """Return the folder of a data set's shards."""
    return RESULTS / "shards" / dataset


def splits(dataset: str) -> Path:
    """Return the table that assigns the samples of a data set to splits."""
    return RESULTS / "splits" / f"{dataset}.csv"


def foreground_fractions(dataset: str) -> Path:
    """Return the cache of the foreground fractions of a data set's masks; it may be deleted."""
    return RESULTS / "cache" / f"foreground-{dataset}.json"


def digests(dataset: str) -> Path:
    """Return the cache of the digests of a data set's raw files; it may be deleted."""
    return RESULTS / "cache" / f"digests-{dataset}.json"


def store() -> Path:
    """Return the store of finished shards and checkpoints."""
    return RESULTS / "store"


def folds(dataset: str, folds: int | str) -> Path:
    """Return the table that assigns the samples of a data set to `folds` folds."""
    return RESULTS / "folds" / dataset / f"{folds}.json"


def checks() -> Path:
    """Return the folder of the reports on raw data."""
    return RESULTS / "check"


def check(dataset: str) -> Path:
    """Return the JSON report on a data set's raw files; HTML report and contact sheet are in the same folder."""
    return checks() / f"{dataset}.json"


def model(experiment: str) -> Path:
    """Return the folder of an experiment's checkpoints and history."""
    return RESULTS / "models" / experiment


def state(experiment: str) -> Path:
    """Return the folder with the states of an experiment's unfinished training runs, one subfolder for each."""
    return RESULTS / "state" / experiment


def provenance(experiment: str) -> Path:
    """Return the provenance of an experiment's weights; it is in their folder, so that both are stored together."""
    return model(experiment) / "provenance.json"


def prediction(experiment: str, split: str) -> Path:
    """Return the folder of a split's probabilities, masks, overlays and panels."""
    return RESULTS / "predictions" / experiment / split


def threshold(experiment: str) -> Path:
    """Return the file with the threshold of an experiment."""
    return RESULTS / "predictions" / experiment / "threshold.json"


def submission(experiment: str) -> Path:
    """Return the folder with predictions of the unlabelled samples in the format of a challenge."""
    return prediction(experiment, "unlabelled") / "submission"


def bundle(experiment: str) -> Path:
    """Return the bundle of an experiment or ensemble, which runs without this program."""
    return RESULTS / "bundles" / f"{experiment}.zip"


def metrics(experiment: str) -> Path:
    """Return the folder of an experiment's scores."""
    return RESULTS / "metrics" / experiment


def comparisons() -> Path:
    """Return the table of pairwise comparisons of all methods."""
    return RESULTS / "comparisons.csv"


def events(experiment: str) -> Path:
    """Return the TensorBoard event file of a training run; TensorBoard reads files with ``tfevents`` in their name."""
    return RESULTS / "tensorboard" / experiment / "events.out.tfevents.0.history"


def leaderboard() -> Path:
    """Return the table of all experiments."""
    return RESULTS / "leaderboard.csv"


def benchmarks() -> Path:
    """Return the folder to which Snakemake writes the time and memory of each job."""
    return RESULTS / "benchmarks"


def report() -> Path:
    """Return the HTML report."""
    return RESULTS / "report.html"
