"""Commands from shards to predictions: what trains networks and runs them."""

import os
from contextlib import closing
from pathlib import Path

from pipeline.cli.commands import FIELDS, THREADS, Arguments, making, number_or_file, option, path
from pipeline.cli.job import job_of, only_one
from pipeline.core import paths
from pipeline.core.errors import ConfigError
from pipeline.graph.artifacts import Augmented, Checkpoint, Curves, Ensemble, Events, Predictions
from pipeline.prediction.recipes import Tiles
from pipeline.raw.splits.names import SPLITS

_KIND = option(
    "--kind",
    "probabilities, or class indices (probability for two classes, mask for more)",
    choices=Predictions.choices["kind"],
)


@making(
    Checkpoint,
    option(
        "--memory-mb",
        "main memory that samples may fill (half of what is free, or a third of what a cluster leaves to the job)",
        type=int,
        metavar="MB",
    ),
    path("--state", "folder for the state to go on from after a kill (results/state/EXPERIMENT)"),
    option(
        "--save-every",
        "how often the state is saved (60)",
        type=int,
        default=60,
        choices=range(86401),
        metavar="SECONDS",
    ),
)
def train(arguments: Arguments) -> None:
    """Train the network of an experiment on its shards."""
    job = job_of(arguments, Checkpoint)
    job.require_origin()
    if job.taken():
        return
    from pipeline.core.gpus import hold_gpus
    from pipeline.shards.read import ShardReader
    from pipeline.tools import provenance
    from pipeline.training.device import describe_accelerators
    from pipeline.training.generations import remove_state
    from pipeline.training.launch import on_ranks
    from pipeline.training.recipes import TrainRecipe
    from pipeline.training.seeds import derived_seeds
    from pipeline.training.state import state_key

    name, recipe = arguments.experiment, job.plan.recipe
    assert isinstance(recipe, TrainRecipe)
    run = provenance.describe_run(arguments.command)
    inputs: dict[str, str] = {}
    for files in filter(None, (job.inputs["train_shards"], job.inputs["validation_shards"])):
        with closing(ShardReader(files)) as reader:
            inputs |= reader.source_digests()
    with hold_gpus(recipe.gpus):  # before PyTorch looks which GPUs there are
        read = [file for part in ("train_shards", "validation_shards", "folds") for file in job.inputs[part]]
        state = (arguments.state or paths.state(name)) / state_key(recipe, read, job.fingerprint.identity)
        train = job.function if recipe.gpus == 1 else on_ranks(job.function, recipe.gpus)
        train(**job.asked(state=state, memory=_sample_memory(arguments.memory_mb, recipe.gpus)))
        accelerators = describe_accelerators()
    provenance.write_provenance(
        job.output / paths.provenance(name).name,
        run,
        experiment=name,
        fingerprint=job.fingerprint.identity,
        inputs=inputs,
        seeds={"seed": recipe.seed, **derived_seeds(recipe.seed)},
        threads=recipe.threads,
        accelerators=accelerators,
    )
    job.finish()
    remove_state(state)  # not before: a job that ends here would lose all that it has done


def _sample_memory(megabytes: int | None, together: int) -> int | None:
    """Return how many bytes training samples may fill, and validation samples as well; None for half of what is free.

    What is free on the machine is not free to a job with a limit of its own: of that, each may fill a third. Of the
    processes of a training each holds all samples.
    """
    import psutil

    from pipeline.core.memory import limited_memory

    if megabytes is not None:
        return megabytes * 2**20 // together
    limited = limited_memory()
    if limited is not None:
        return limited // 3 // together
    return None if together == 1 else psutil.virtual_memory().available // 2 // together


@making(Augmented)
def augmented(arguments: Arguments) -> None:
    """Draw training samples as the network gets to see them, to look at first."""
    job_of(arguments, Augmented).make()


@making(Curves)
def curves(arguments: Arguments) -> None:
    """Draw loss and score over the epochs."""
    job_of(arguments, Curves).make()


@making(
    Events,
    option("--follow", "write on while the training runs", action="store_true"),
    option(
        "--every",
        "with --follow, seconds between two looks (10)",
        type=int,
        default=10,
        choices=range(1, 3601),
        metavar="SECONDS",
    ),
)
def tensorboard(arguments: Arguments) -> None:
    """Write the history of a training for TensorBoard, which the extra [tensorboard] installs.

    With --follow also of one that is running, epoch by epoch, until it has ended:

      python -m pipeline tensorboard --experiment drive-unet --follow &
      tensorboard --logdir results/tensorboard
    """
    job = job_of(arguments, Events)
    if not arguments.follow:
        job.make()
        return
    from pipeline.report.follow import follow

    name, history = arguments.experiment, job.one("history")
    follow(experiment=name, states=paths.state(name), history=history, output=job.output, every=arguments.every)


_SAMPLES = ("experiment", "split", "kind", "shards", "train_shards", "folds", "config", "plan")
_IMAGES = ("threshold", "tiles", "test_time", "precision", "threads", "skip_unreadable")


@making(
    Predictions,
    FIELDS["experiment"],
    option("--split", "which samples", choices=SPLITS),
    _KIND,
    path("--input", "an image or a folder of them, in place of --experiment and --split"),
    option("--threshold", "of --input: threshold file, or a number (0.5)", type=number_or_file, metavar="FILE|NUMBER"),
    option(
        "--tiles",
        "of --input: predict large images in overlapping tiles",
        type=int,
        nargs=2,
        metavar=("HEIGHT", "WIDTH"),
    ),
    option(
        "--test-time",
        "of --input: average over 4 mirror images or 8 symmetries of the square (none)",
        choices=("none", "flips", "rot90"),
    ),
    option("--precision", "of --input: number format of the network (fp32)", choices=("fp32", "bf16", "auto")),
    option("--threads", "of --input: threads of the network (all cores)", **THREADS),
    option("--skip-unreadable", "of --input: leave out files that cannot be used", action="store_true"),
)
def predict(arguments: Arguments) -> None:
    """Predict every sample of a split, or any other images, at native size.

    A folder of images that belong to no data set, or a single one, needs no configuration; the results are
    probability/, mask/, overlay/, cutout/ (the background transparent) and timing.csv:

      python -m pipeline predict --checkpoint best.pt --input my-images --output my-results
    """
    _require_either(arguments)
    if arguments.input is not None:
        _predict_images(arguments)
        return
    job = job_of(arguments, Predictions)
    from pipeline.core.gpus import hold_gpus

    with hold_gpus():
        job.make()


def _predict_images(arguments: Arguments) -> None:
    threshold = arguments.threshold
    if isinstance(threshold, Path):
        from pipeline.evaluation.thresholds import read_threshold

        threshold = read_threshold(threshold).value
    from pipeline.core.gpus import hold_gpus
    from pipeline.prediction.new_images import predict_images

    with hold_gpus():
        predict_images(
            checkpoint=only_one("checkpoint", arguments.checkpoint),
            images=arguments.input,
            output=arguments.output,
            threshold=threshold,
            tiles=None if arguments.tiles is None else _tiles(arguments.tiles),
            test_time=arguments.test_time or "none",
            precision=arguments.precision or "fp32",
            threads=arguments.threads or os.cpu_count() or 1,
            skip_unreadable=arguments.skip_unreadable,
        )


def _tiles(size: list[int]) -> Tiles:
    try:
        return Tiles(size=(size[0], size[1]))
    except ValueError as error:
        found, expected = " ".join(map(str, size)), "height and width from 32 to 16384 pixels"
        raise ConfigError("--tiles", found, expected, "name other tiles") from error


def _require_either(arguments: Arguments) -> None:
    """Ask for the options of one of the two ways to predict, and refuse those of the other."""
    new = arguments.input is not None
    needed = ("checkpoint", "output") if new else ("experiment", "split")
    missing = [name for name in needed if getattr(arguments, name) is None]
    foreign = [name for name in (_SAMPLES if new else _IMAGES) if getattr(arguments, name) not in (None, False)]
    if missing or foreign:
        found = "; ".join(
            f"{word} {', '.join('--' + name.replace('_', '-') for name in names)}"
            for word, names in (("missing:", missing), ("of the other way to predict:", foreign))
            if names
        )
        expected = "--experiment and --split for a data set, or --input, --checkpoint and --output for other images"
        raise ConfigError("predict", found, expected, "see `python -m pipeline predict --help`")


@making(Ensemble, _KIND, option("--threads", "images averaged at a time (1)", default=1, **THREADS))
def ensemble(arguments: Arguments) -> None:
    """Average what all runs of an experiment with `seeds` or `folds` predict; no network is run.

    Out-of-fold: each sample that is no test sample, by the runs whose fold it belongs to: they have not seen it.
    """
    job_of(arguments, Ensemble).make()
