"""Commands from shards to predictions: training, and prediction by trained networks."""

from contextlib import closing
from typing import Any

from pipeline.cli.commands import (
    FIELD_OPTIONS,
    RESOURCES,
    SELECTION,
    Arguments,
    Group,
    integer,
    option,
    path_option,
    result_command,
    threads_of,
    threads_option,
    threshold_or_file,
)
from pipeline.cli.job import Job, job_of, single_path
from pipeline.core import paths
from pipeline.core.errors import ConfigError
from pipeline.core.files import require_short
from pipeline.graph.artifacts import INITIAL_WEIGHTS, Augmented, Checkpoint, Curves, Ensemble, Events, Predictions
from pipeline.prediction.recipes import Tiles
from pipeline.raw.splits.names import SPLITS
from pipeline.training.recipes import TrainRecipe

_KIND = option(
    "--kind",
    "probabilities, or class indices",
    SELECTION,
    shown="probability for two classes, mask for more",
    choices=Predictions.choices["kind"],
)


@result_command(
    Checkpoint,
    option(
        "--memory-mb",
        "main memory for samples, in 2^20 bytes",
        RESOURCES,
        shown="half of the free memory; in a job with a memory limit, a third of what remains",
        type=int,
        metavar="MB",
    ),
    option(
        "--save-every",
        "seconds between two saved states, 0 to 86400",
        RESOURCES,
        type=integer(0, 86400),
        default=60,
        metavar="SECONDS",
    ),
    path_option(
        "--state",
        "folder for the state of an unfinished training run, from which the next run resumes",
        RESOURCES,
        shown="results/state/<experiment>",
    ),
    examples=["train --experiment drive-unet"],
)
def train(arguments: Arguments) -> None:
    """Train the network of an experiment.

    Writes checkpoints, history, times and provenance to results/models/<experiment>. An interrupted training run
    resumes from its last saved state.
    """
    job = job_of(arguments, Checkpoint)
    job.require_origin()
    name, recipe = arguments.experiment, job.plan.recipe
    assert isinstance(recipe, TrainRecipe)
    if recipe.precision != "auto" and job.restore_from_store():  # before PyTorch is imported
        return
    from pipeline.core.gpus import hold_gpus
    from pipeline.shards.read import ShardReader
    from pipeline.tools import provenance
    from pipeline.training.device import choose_device, choose_precision, describe_accelerators
    from pipeline.training.generations import remove_state
    from pipeline.training.launch import on_ranks, warn_of_busy_cpus
    from pipeline.training.nodes import run_on_nodes
    from pipeline.training.seeds import derived_seeds
    from pipeline.training.state import state_key

    run_on_nodes(recipe.node_count)
    run = provenance.describe_run(arguments.command)
    inputs: dict[str, str] = {}
    origin = _describe_origin(job) if recipe.init is not None else None
    for files in filter(None, (job.inputs["train_shards"], job.inputs["validation_shards"])):
        with closing(ShardReader(files)) as reader:
            inputs |= reader.source_digests()
    with hold_gpus(recipe.node_gpus):  # before PyTorch lists the GPUs
        precision = choose_precision(recipe.precision, choose_device())
        resolved = job.resolve(recipe.changed(precision=precision))
        if recipe.precision == "auto" and job.restore_from_store():
            return
        input_files = [file for name in ("train_shards", "validation_shards", "folds") for file in job.inputs[name]]
        state = (arguments.state or paths.state(name)) / state_key(recipe, input_files, job.fingerprint.identity)
        memory = _sample_memory(arguments.memory_mb, recipe.node_gpus)
        train = job.function
        if recipe.gpus > 1:
            warn_of_busy_cpus(recipe.node_gpus, recipe.threads)
            train = on_ranks(job.function, recipe.gpus, recipe.node_count, state.name)
        on_first_node = train(**job.function_arguments(state=state, memory=memory))
        if on_first_node is False:  # the first process wrote the results on another machine
            return
        accelerators = describe_accelerators()
    provenance.write_provenance(
        job.output / paths.provenance(name).name,
        run,
        experiment=name,
        identity=resolved.identity,
        inputs=inputs,
        seeds={"seed": recipe.seed, **derived_seeds(recipe.seed)},
        threads=recipe.threads,
        precision=precision,
        accelerators=accelerators,
        origin=origin,
    )
    job.finish()
    remove_state(state)  # last: a job that is killed before this line can still resume


def _describe_origin(job: Job) -> dict[str, Any]:
    """Describe the weights that a training run starts from; they are checked before the training."""
    from pipeline.shards.read import ShardReader
    from pipeline.training.init import describe
    from pipeline.training.losses import LOSSES

    recipe = job.plan.recipe
    assert isinstance(recipe, TrainRecipe)
    with closing(ShardReader(job.inputs["train_shards"] or job.inputs["validation_shards"])) as reader:
        info = reader.info
    channels = LOSSES[recipe.loss.name].channels(len(info.class_names))
    return describe(recipe, info.channels, channels, job.plan.raw.get(INITIAL_WEIGHTS))


def _sample_memory(megabytes: int | None, processes: int) -> int | None:
    """Return the limit in bytes for the training samples of one process; the validation samples have the same limit.

    None means half of the free memory. In a job with a memory limit, it is a third of the remaining memory. Every
    process of a training run holds all samples.
    """
    import psutil

    from pipeline.core.memory import cgroup_memory_left

    if megabytes is not None:
        return megabytes * 2**20 // processes
    memory_left = cgroup_memory_left()
    if memory_left is not None:
        return memory_left // 3 // processes
    return None if processes == 1 else psutil.virtual_memory().available // 2 // processes


@result_command(Augmented, examples=["augmented --experiment drive-unet"])
def augmented(arguments: Arguments) -> None:
    """Render augmented training samples to inspect before training."""
    job_of(arguments, Augmented).make()


@result_command(Curves, examples=["curves --experiment drive-unet"])
def curves(arguments: Arguments) -> None:
    """Plot loss and validation score over the epochs."""
    job_of(arguments, Curves).make()


@result_command(
    Events,
    option("--follow", "update the events until the training run ends", action="store_true"),
    option(
        "--interval",
        "seconds between two reads of the history with --follow, 1 to 3600",
        type=integer(1, 3600),
        default=10,
        metavar="SECONDS",
    ),
    examples=["tensorboard --experiment drive-unet", "tensorboard --experiment drive-unet --follow"],
)
def tensorboard(arguments: Arguments) -> None:
    """Write the history of a training run for TensorBoard.

    Needs the extra `tensorboard`: `pip install 'segmentation-pipeline[tensorboard]'`. To look at the history, run
    `tensorboard --logdir results/tensorboard`.
    """
    job = job_of(arguments, Events)
    if not arguments.follow:
        job.make()
        return
    from pipeline.report.follow import follow

    name, history = arguments.experiment, job.required_input("history")
    follow(experiment=name, states=paths.state(name), history=history, output=job.output, interval=arguments.interval)


_DATASET_OPTIONS = ("experiment", "split", "kind", "shards", "train_shards", "folds", "config", "plan")
_IMAGE_OPTIONS = ("threshold", "tiles", "test_time", "precision", "threads", "skip_unreadable")
_BUNDLE_SETTINGS = ("checkpoint", "threshold", "tiles", "test_time", "precision")
_SPLIT = Group("mode 1: a split of a data set", "Required: --experiment and --split.")
_IMAGES = Group("mode 2: other images", "Required: --input, --output, and --checkpoint or --bundle.")


@result_command(
    Predictions,
    FIELD_OPTIONS["experiment"]._replace(group=_SPLIT),
    option("--split", "split of the samples", _SPLIT, choices=SPLITS),
    _KIND._replace(group=_SPLIT),
    *(
        path_option(
            f"--{name.replace('_', '-')}",
            Predictions.input_descriptions[name],
            _SPLIT,
            nargs="*",
            shown="as configured",
        )
        for name in ("shards", "train_shards", "folds")
    ),
    path_option("--input", "image or folder of images", _IMAGES),
    path_option("--bundle", "bundle that `export` wrote, in place of a checkpoint; it has its own settings", _IMAGES),
    option(
        "--threshold",
        "number in [0, 1), or file with one",
        _IMAGES,
        shown="the threshold.json of the checkpoint's experiment, else 0.5",
        type=threshold_or_file,
        metavar="FILE|NUMBER",
    ),
    option(
        "--tiles",
        "predict in overlapping tiles of this size, in pixels",
        _IMAGES,
        shown="each image as a whole",
        type=int,
        nargs=2,
        metavar=("HEIGHT", "WIDTH"),
    ),
    option(
        "--test-time",
        "test-time augmentation: average over 2 (horizontal) or 4 mirror images (flips), or 8 symmetries (rot90)",
        _IMAGES,
        shown="none",
        choices=("none", "horizontal", "flips", "rot90"),
    ),
    option(
        "--precision",
        "number format of the network: auto is bf16 if the hardware has it, else fp32",
        _IMAGES,
        shown="auto",
        choices=("fp32", "bf16", "auto"),
    ),
    threads_option("CPU threads of the network", group=_IMAGES, shown="the number of cores"),
    option("--skip-unreadable", "leave out files that cannot be used", _IMAGES, action="store_true"),
    examples=[
        "predict --experiment drive-unet --split test",
        "predict --checkpoint best.pt --input my-images --output my-masks",
    ],
)
def predict(arguments: Arguments) -> None:
    """Predict a split of a data set, or any other images.

    There are two modes, each with its own options; the second one takes a checkpoint or a bundle:

        predict --experiment NAME --split SPLIT [options]
        predict --checkpoint PATH --input PATH --output PATH [options]
        predict --bundle PATH --input PATH --output PATH [options]

    The first one writes one PNG for each sample at native size, with probabilities or class indices. The second one
    needs no configuration, and writes probability/, mask/, overlay/, cutout/ (transparent background) and timing.csv. A
    bundle is run by onnxruntime on the CPU with its own settings, and gives probability/, mask/ and timing.csv.
    """
    _check_predict_options(arguments)
    if arguments.bundle is not None:
        from pipeline.bundle.predict import predict_images

        predict_images(
            bundle=arguments.bundle,
            images=arguments.input,
            output=arguments.output,
            threads=threads_of(arguments),
            skip_unreadable=arguments.skip_unreadable,
        )
        return
    if arguments.input is not None:
        _predict_images(arguments)
        return
    job = job_of(arguments, Predictions)
    from pipeline.core.gpus import hold_gpus

    with hold_gpus():
        job.make()


def _predict_images(arguments: Arguments) -> None:
    require_short(arguments.output)
    checkpoint = single_path("checkpoint", arguments.checkpoint)
    from pipeline.cli.chosen_threshold import threshold_for
    from pipeline.core.gpus import hold_gpus
    from pipeline.prediction.new_images import predict_images

    with hold_gpus():
        predict_images(
            checkpoint=checkpoint,
            images=arguments.input,
            output=arguments.output,
            threshold=threshold_for(checkpoint, arguments.threshold),
            tiles=None if arguments.tiles is None else _tiles(arguments.tiles),
            test_time=arguments.test_time or "none",
            precision=arguments.precision or "auto",
            threads=threads_of(arguments),
            skip_unreadable=arguments.skip_unreadable,
        )


def _tiles(size: list[int]) -> Tiles:
    try:
        return Tiles(size=(size[0], size[1]))
    except ValueError as error:
        found, expected = " ".join(map(str, size)), "height and width from 32 to 16384 pixels"
        raise ConfigError("--tiles", found, expected, "choose a height and width in this range") from error


def _check_predict_options(arguments: Arguments) -> None:
    """Require the options of one of the two modes of `predict`, and refuse those of the other."""
    has_images = arguments.input is not None or arguments.bundle is not None
    required: tuple[str, ...] = ("checkpoint", "output") if has_images else ("experiment", "split")
    if arguments.bundle is not None:
        required = ("input", "output")
    missing = [name for name in required if getattr(arguments, name) is None]
    foreign_options: tuple[str, ...] = _DATASET_OPTIONS if has_images else _IMAGE_OPTIONS
    if arguments.bundle is not None:
        foreign_options = (*_DATASET_OPTIONS, *_BUNDLE_SETTINGS)
    foreign = [name for name in foreign_options if getattr(arguments, name) not in (None, False)]
    if missing or foreign:
        found = "; ".join(
            f"{label} {', '.join('--' + name.replace('_', '-') for name in names)}"
            for label, names in (("missing:", missing), ("not allowed here:", foreign))
            if names
        )
        expected = (
            "--experiment and --split for a data set, or for others --input, --output and --checkpoint or --bundle"
        )
        raise ConfigError("predict", found, expected, "see `python -m pipeline predict --help`")


@result_command(
    Ensemble,
    _KIND,
    threads_option("images averaged at the same time", default=1),
    examples=["ensemble --experiment drive-unet --split out-of-fold"],
)
def ensemble(arguments: Arguments) -> None:
    """Average the predictions of all runs of an experiment.

    For experiments with `seeds` or `folds`; no network runs. With `--split out-of-fold`, each sample that is not a test
    sample is averaged over the runs that were not trained on it.
    """
    job_of(arguments, Ensemble).make()
