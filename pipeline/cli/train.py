"""Commands from shards to predictions: what trains networks and runs them."""

import json
import os
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cli.commands import PATH, THREADS, Arguments, Commands, number_or_file
from pipeline.cli.job import job_of, only_one
from pipeline.core import paths
from pipeline.core.errors import ConfigError
from pipeline.evaluation.entrants import ensemble_name
from pipeline.graph.artifacts.base import Artifact
from pipeline.graph.artifacts.networks import Augmented, Checkpoint, Curves, Ensemble, Events, Predictions
from pipeline.prediction.recipes import EnsembleRecipe, PredictRecipe, Tiles
from pipeline.raw.splits.names import SPLITS
from pipeline.report.recipes import CurvesRecipe
from pipeline.training.recipes import AugmentedRecipe, TrainRecipe

if TYPE_CHECKING:
    from pipeline.graph.study import Study


def train(commands: Commands) -> None:
    """Declare `train`."""
    parser = commands.add_making("train", _train, "Train the network of an experiment on its shards.", Checkpoint)
    parser.add_argument(
        "--memory-mb",
        type=int,
        metavar="MB",
        help="main memory that samples may fill (half of what is free, or a third of what a cluster leaves to the job)",
    )
    parser.add_argument(
        "--state", **PATH, help="folder for the state to go on from after a kill (results/state/EXPERIMENT)"
    )
    parser.add_argument(
        "--save-every",
        type=int,
        default=60,
        choices=range(86401),
        metavar="SECONDS",
        help="how often the state is saved (60)",
    )


def _train(arguments: Arguments) -> None:
    job = job_of(arguments, Checkpoint)
    job.require_origin()
    from pipeline.core.gpus import hold_gpus
    from pipeline.shards.read import ShardReader
    from pipeline.tools import provenance
    from pipeline.training.device import describe_accelerators
    from pipeline.training.run import train
    from pipeline.training.seeds import derived_seeds
    from pipeline.training.state import remove_state, state_key

    name, recipe = arguments.experiment, job.recipe(TrainRecipe)
    run = provenance.describe_run(arguments.command)
    shards = {part: job.inputs[part] for part in ("train_shards", "validation_shards")}
    table = job.optional("folds")
    inputs: dict[str, str] = {}
    for files in filter(None, shards.values()):
        with closing(ShardReader(files)) as reader:
            inputs |= reader.source_digests()
    with hold_gpus(recipe.gpus):  # before PyTorch looks which GPUs there are
        read = [*shards["train_shards"], *shards["validation_shards"], *([table] if table else [])]
        state = (arguments.state or paths.state(name)) / state_key(recipe, read, job.fingerprint)
        if recipe.gpus > 1:
            from pipeline.training.launch import on_ranks

            train = on_ranks(train, recipe.gpus)
        train(
            recipe=recipe,
            experiment=name,
            **shards,
            fold_table=table,
            output=job.output,
            state=state,
            save_every=arguments.save_every,
            memory=_sample_memory(arguments.memory_mb, recipe.gpus),
            fingerprint=job.fingerprint,
        )
        accelerators = describe_accelerators()
    provenance.write_provenance(
        job.output / paths.provenance(name).name,
        run,
        experiment=name,
        fingerprints={"train": json.loads(job.fingerprint)},
        inputs=inputs,
        seeds={"seed": recipe.seed, **derived_seeds(recipe.seed)},
        threads=recipe.threads,
        accelerators=accelerators,
    )
    remove_state(state)  # not before: a job that ends here would lose all that it has done


def _sample_memory(megabytes: int | None, together: int) -> int | None:
    """Return how many bytes training samples may fill, and validation samples as well; None for half of what is free.

    What is free on the machine is not free to a job with a limit of its own: of that, each may fill a third. Of the
    processes of a training each holds all samples.
    """
    from pipeline.core.memory import limited_memory

    if megabytes is not None:
        return megabytes * 2**20 // together
    limited = limited_memory()
    if limited is not None:
        return limited // 3 // together
    if together == 1:
        return None
    import psutil

    return psutil.virtual_memory().available // 2 // together


def augmented(commands: Commands) -> None:
    """Declare `augmented`."""
    text = "Draw training samples as the network gets to see them, to look at first."
    commands.add_making("augmented", _augmented, text, Augmented)


def _augmented(arguments: Arguments) -> None:
    from pipeline.training.preview import preview

    job = job_of(arguments, Augmented)
    job.require_origin()
    preview(
        job.recipe(AugmentedRecipe),
        experiment=arguments.experiment,
        train_shards=job.inputs["train_shards"],
        validation_shards=job.inputs["validation_shards"],
        fold_table=job.optional("folds"),
        output=job.output,
    )


def curves(commands: Commands) -> None:
    """Declare `curves`."""
    commands.add_making("curves", _curves, "Draw loss and score over the epochs.", Curves)


def _curves(arguments: Arguments) -> None:
    from pipeline.report.curves import plot_curves

    job = job_of(arguments, Curves)
    plot_curves(
        experiment=arguments.experiment,
        history=job.one("history"),
        output=job.output,
        note=job.recipe(CurvesRecipe).note,
    )


def tensorboard(commands: Commands) -> None:
    """Declare `tensorboard`."""
    parser = commands.add_making(
        "tensorboard",
        _tensorboard,
        "Write the history of a training for TensorBoard, which the extra [tensorboard] installs.\n\n"
        "With --follow also of one that is running, epoch by epoch, until it has ended:\n\n"
        "  python -m pipeline tensorboard --experiment drive-unet --follow &\n"
        "  tensorboard --logdir results/tensorboard",
        Events,
    )
    parser.add_argument("--follow", action="store_true", help="write on while the training runs")
    parser.add_argument(
        "--every",
        type=int,
        default=10,
        choices=range(1, 3601),
        metavar="SECONDS",
        help="with --follow, seconds between two looks (10)",
    )


def _tensorboard(arguments: Arguments) -> None:
    job = job_of(arguments, Events)
    name, history = arguments.experiment, job.one("history")
    if arguments.follow:
        from pipeline.report.follow import follow

        follow(experiment=name, states=paths.state(name), history=history, output=job.output, every=arguments.every)
        return
    from pipeline.report.tensorboard import write_events

    write_events(history=history, output=job.output)


_SAMPLES = ("experiment", "split", "kind", "shards", "train_shards", "folds", "config", "plan")
_PICTURES = ("threshold", "tiles", "test_time", "precision", "threads", "skip_unreadable")


def predict(commands: Commands) -> None:
    """Declare `predict`."""
    parser = commands.add_making(
        "predict",
        _predict,
        "Predict every sample of a split, or any other pictures, at native size.\n\n"
        "A folder of pictures that belong to no data set, or a single one, needs no configuration; the results are\n"
        "probability/, mask/, overlay/, cutout/ (the background transparent) and timing.csv:\n\n"
        "  python -m pipeline predict --checkpoint best.pt --input my-pictures --output my-results",
        Predictions,
        optional=["experiment", "split", "kind"],
    )
    parser.add_argument("--experiment", help="name of the experiment")
    parser.add_argument("--split", choices=SPLITS, help="which samples")
    parser.add_argument(
        "--kind",
        choices=Predictions.choices["kind"],
        help="probabilities, or class indices (probability for two classes, mask for more)",
    )
    parser.add_argument("--input", **PATH, help="a picture or a folder of them, in place of --experiment and --split")
    of_input = parser.add_argument_group("with --input")
    of_input.add_argument(
        "--threshold", type=number_or_file, metavar="FILE|NUMBER", help="threshold file, or a number (0.5)"
    )
    of_input.add_argument(
        "--tiles", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"), help="predict large pictures in overlapping tiles"
    )
    of_input.add_argument(
        "--test-time", choices=("none", "flips", "turns"), help="average over 4 mirror images or 8 turns (none)"
    )
    of_input.add_argument("--precision", choices=("fp32", "bf16", "auto"), help="number format of the network (fp32)")
    of_input.add_argument("--threads", **THREADS, help="threads of the network (all cores)")
    of_input.add_argument("--skip-unreadable", action="store_true", help="leave out files that cannot be used")


def _predict(arguments: Arguments) -> None:
    _require_either(arguments)
    if arguments.input is not None:
        _predict_pictures(arguments)
        return

    def choose(study: "Study") -> Artifact:
        if arguments.kind is not None:
            return Predictions(arguments.experiment, arguments.split, arguments.kind)
        return study.predictions(arguments.experiment, arguments.split)

    job = job_of(arguments, Predictions, choose=choose)
    job.require_origin()
    from pipeline.core.gpus import hold_gpus
    from pipeline.prediction.predict import predict

    with hold_gpus():
        predict(
            job.recipe(PredictRecipe),
            experiment=arguments.experiment,
            checkpoint=job.one("checkpoint"),
            shards=job.inputs["shards"],
            train_shards=job.inputs["train_shards"],
            fold_table=job.optional("folds"),
            output=job.output,
            fingerprint=job.fingerprint,
        )


def _predict_pictures(arguments: Arguments) -> None:
    threshold = arguments.threshold
    if isinstance(threshold, Path):
        from pipeline.evaluation.thresholds import read_threshold

        threshold = read_threshold(threshold).value
    from pipeline.core.gpus import hold_gpus
    from pipeline.prediction.new_pictures import predict_pictures

    with hold_gpus():
        predict_pictures(
            checkpoint=only_one("checkpoint", arguments.checkpoint),
            pictures=arguments.input,
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
    foreign = [name for name in (_SAMPLES if new else _PICTURES) if getattr(arguments, name) not in (None, False)]
    if missing or foreign:
        found = "; ".join(
            f"{word} {', '.join('--' + name.replace('_', '-') for name in names)}"
            for word, names in (("missing:", missing), ("of the other way to predict:", foreign))
            if names
        )
        expected = "--experiment and --split for a data set, or --input, --checkpoint and --output for other pictures"
        raise ConfigError("predict", found, expected, "see `python -m pipeline predict --help`")


def ensemble(commands: Commands) -> None:
    """Declare `ensemble`."""
    parser = commands.add_making(
        "ensemble",
        _ensemble,
        "Average what all runs of an experiment with `seeds` or `folds` predict; no network is run.\n\n"
        "Out-of-fold: each sample that is no test sample, by the runs whose fold it belongs to: they have not seen it.",
        Ensemble,
        optional=["kind"],
    )
    parser.add_argument(
        "--kind",
        choices=Ensemble.choices["kind"],
        help="probabilities, or class indices (probability for two classes, mask for more)",
    )
    parser.add_argument("--threads", **THREADS, default=1, help="pictures averaged at a time (1)")


def _ensemble(arguments: Arguments) -> None:
    from pipeline.prediction.ensemble import average_predictions

    def choose(study: "Study") -> Artifact:
        several = study.multiclass(arguments.experiment)
        return Ensemble(arguments.experiment, arguments.split, arguments.kind or ("mask" if several else "probability"))

    job = job_of(arguments, Ensemble, choose=choose)
    recipe, folders = job.recipe(EnsembleRecipe), job.inputs["predictions"]
    if len(folders) != len(recipe.runs):
        found = f"{len(folders)} folders for {len(recipe.runs)} runs"
        expected = "a folder for each run, in the order of names"
        raise ConfigError("--predictions", found, expected, "use --config FILE alone")
    job.require_origin()
    average_predictions(
        recipe,
        ensemble=ensemble_name(arguments.experiment),
        predictions=dict(zip(sorted(recipe.runs), folders, strict=True)),
        fold_table=job.optional("folds"),
        output=job.output,
        threads=arguments.threads,
        fingerprint=job.fingerprint,
    )


COMMANDS = (train, augmented, curves, tensorboard, predict, ensemble)
