"""Verbs that make: raw data to shards, networks and predictions."""

import json
import os
from contextlib import closing
from pathlib import Path
from typing import Any

from pipeline.cli.arguments import (
    Arguments,
    call,
    configuration,
    expected_plans,
    fold_arguments,
    is_fold,
    named_shards,
    stage_settings,
    take_dataset,
)
from pipeline.cli.origin import asked, asked_of, asked_of_runs, made_by
from pipeline.core import paths
from pipeline.core.errors import ConfigError, Problem
from pipeline.evaluation.entrants import ensemble_name
from pipeline.raw.splits.names import OUT_OF_FOLD, VALIDATION


def do_sample(arguments: Arguments) -> None:
    """Draw the embedded sample data sets."""
    from pipeline.raw.synthetic.sample import draw_sample

    draw_sample(arguments.output)


def do_unpack(arguments: Arguments) -> None:
    """Unpack an archive of raw data."""
    from pipeline.tools.unpack import unpack

    unpack(arguments.archive, arguments.folder, max_bytes=arguments.max_bytes)


def do_splits(arguments: Arguments) -> None:
    """Write the table of assignments of a data set."""
    from pipeline.raw.splits.table import write_splits

    settings = stage_settings(arguments, lambda config: config.splits_settings(arguments.dataset))
    output = arguments.output or paths.splits(arguments.dataset)
    call(write_splits, dataset=arguments.dataset, output=output, **settings)


def do_folds(arguments: Arguments) -> None:
    """Write the table of folds of a data set."""
    from pipeline.raw.splits.folds import write_folds

    name, folds = arguments.dataset, arguments.folds
    settings = stage_settings(arguments, lambda config: config.fold_settings(name, folds))
    output = arguments.output or paths.folds(name, folds)
    fingerprint = made_by("folds", settings, {}, dataset=name)
    call(write_folds, dataset=name, output=output, fingerprint=fingerprint, **settings)


def _check_settings(arguments: Arguments, name: str) -> dict[str, Any]:
    return stage_settings(arguments, lambda config: config.check_settings(name))


def do_check(arguments: Arguments) -> int:
    """Read every raw file and report; 1 where there are errors."""
    from pipeline.raw.check.run import check_dataset, read_reports
    from pipeline.raw.check.text import as_text

    if arguments.reports is not None:
        reports = read_reports(arguments.reports)
    else:
        output = arguments.output or paths.checks()
        threads = arguments.threads or os.cpu_count() or 1
        if arguments.settings is not None and arguments.dataset is None:
            raise ConfigError(
                Problem("--settings", "no --dataset", "the name of the data set beside it", "add --dataset NAME")
            )
        names = [arguments.dataset] if arguments.dataset is not None else list(configuration(arguments).datasets)
        reports = []
        for name in names:
            settings = _check_settings(arguments, name)
            reports.append(call(check_dataset, dataset=name, output=output, threads=threads, **settings))
    print(as_text(reports), flush=True)
    return 0 if arguments.report_only else int(any(report["errors"] for report in reports))


def do_shard(arguments: Arguments) -> None:
    """Build one shard."""
    from pipeline.shards.write import build_shard

    name, split, number = arguments.dataset, arguments.split, arguments.shard
    settings = stage_settings(arguments, lambda config: config.shard_settings(name, split))
    output = arguments.output or paths.shard(name, split, number)
    given = {"output": output, "timing": arguments.timing, "threads": arguments.threads}
    fingerprint = made_by("shard", settings, {}, dataset=name, split=split)
    call(build_shard, dataset=name, split=split, shard=number, fingerprint=fingerprint, **given, **settings)


def do_train(arguments: Arguments) -> None:
    """Train a network, and write down how it came to be."""
    name = arguments.experiment
    settings = stage_settings(arguments, lambda config: config.train_settings(name))
    named = arguments.train_shards, arguments.validation_shards, arguments.folds
    parts = expected_plans(arguments, lambda plans, config: plans.training_parts(config, name), *named)
    fingerprint = made_by("train", settings, parts)
    dataset = take_dataset(settings)
    folds = fold_arguments(arguments, settings, dataset, parts)
    shards = {
        "train_shards": named_shards(arguments, arguments.train_shards, dataset, "train"),
        "validation_shards": named_shards(arguments, arguments.validation_shards, dataset, "validation"),
    }
    from pipeline.core.gpus import hold_gpus
    from pipeline.shards.read import ShardReader, require_shards
    from pipeline.tools import provenance
    from pipeline.training.device import describe_accelerators
    from pipeline.training.run import train
    from pipeline.training.seeds import derived_seeds
    from pipeline.training.state import remove_state, state_key

    run = provenance.describe_run(arguments.command)
    files = {"train shards": shards["train_shards"], "validation shards": shards["validation_shards"]}
    require_shards(asked_of(parts, files))
    inputs: dict[str, str] = {}
    for one_split in filter(None, shards.values()):
        with closing(ShardReader(one_split)) as reader:
            inputs |= reader.source_digests()
    output = arguments.output or paths.model(name)
    together = settings.get("gpus", 1)
    with hold_gpus(together):  # before PyTorch looks which GPUs there are
        key = state_key(settings, [*(path for part in shards.values() for path in part), *folds.values()], fingerprint)
        state = (arguments.state or paths.state(name)) / key
        given = {
            "output": output,
            "memory": _sample_memory(arguments.memory_mb, together),
            "state": state,
            "save_every": arguments.save_every,
            "fingerprint": fingerprint,
        }
        if together > 1:
            from pipeline.training.launch import on_ranks

            train = on_ranks(train, together)
        call(train, experiment=name, **given, **shards, **folds, **settings)
        accelerators = describe_accelerators()
    provenance.write_provenance(
        output / paths.provenance(name).name,
        run,
        experiment=name,
        fingerprints={"train": json.loads(fingerprint)},
        inputs=inputs,
        seeds={"seed": settings["seed"], **derived_seeds(settings["seed"])},
        threads=settings["threads"],
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


def do_augmented(arguments: Arguments) -> None:
    """Draw training samples as the network sees them."""
    name = arguments.experiment
    settings = stage_settings(arguments, lambda config: config.augmented_settings(name))
    named = arguments.train_shards, arguments.validation_shards, arguments.folds
    parts = expected_plans(arguments, lambda plans, config: plans.augmented_parts(config, name), *named)
    dataset = take_dataset(settings)
    shards = named_shards(arguments, arguments.train_shards, dataset, "train")
    folds = fold_arguments(arguments, settings, dataset, parts)
    if folds:  # what is validated on elsewhere is trained on in this fold
        folds["validation_shards"] = named_shards(arguments, arguments.validation_shards, dataset, "validation")
    from pipeline.shards.read import require_shards
    from pipeline.training.preview import preview

    files = {"train shards": shards, "validation shards": folds.get("validation_shards", [])}
    require_shards(asked_of(parts, files))
    output = arguments.output or paths.model(name) / "augmented.png"
    call(preview, experiment=name, train_shards=shards, output=output, note=arguments.note, **folds, **settings)


def do_curves(arguments: Arguments) -> None:
    """Draw the learning curves."""
    from pipeline.report.curves import plot_curves

    folder = paths.model(arguments.experiment)
    plot_curves(
        experiment=arguments.experiment,
        history=arguments.history or folder / "history.csv",
        output=arguments.output or folder / "curves.png",
        note=arguments.note,
    )


def do_tensorboard(arguments: Arguments) -> None:
    """Write the history of a training for TensorBoard, once or while it runs."""
    name = arguments.experiment
    history = arguments.history or paths.model(name) / "history.csv"
    output = arguments.output or paths.events(name)
    if arguments.follow:
        from pipeline.report.follow import follow

        follow(experiment=name, states=paths.state(name), history=history, output=output, every=arguments.every)
        return
    from pipeline.report.tensorboard import write_events

    write_events(history=history, output=output)


def do_predict(arguments: Arguments) -> None:
    """Predict a split of a data set, or pictures of none."""
    _require_either(arguments)
    if arguments.input is not None:
        _predict_pictures(arguments)
        return
    name, split = arguments.experiment, arguments.split
    settings = stage_settings(arguments, lambda config: config.predict_settings(name, split))
    kind = arguments.kind
    if kind is None and (arguments.output is None or arguments.settings is None):
        kind = "mask" if configuration(arguments).multiclass(name) else "probability"
    named = arguments.checkpoint, arguments.shards, arguments.train_shards, arguments.folds
    parts = expected_plans(arguments, lambda plans, config: plans.prediction_parts(config, name, split), *named)
    fingerprint = made_by("predict", settings, parts, split=split, kind=kind)
    dataset = take_dataset(settings)
    shards = named_shards(arguments, arguments.shards, dataset, split)
    folds = fold_arguments(arguments, settings, dataset, parts)
    if folds:
        folds["train_shards"] = named_shards(arguments, arguments.train_shards, dataset, "train")
        from pipeline.shards.read import require_shards

        files = {"train shards": folds["train_shards"], "validation shards": shards}
        require_shards(asked_of(parts, files))
    from pipeline.core.gpus import hold_gpus
    from pipeline.prediction.predict import predict

    with hold_gpus():
        call(
            predict,
            experiment=name,
            checkpoint=arguments.checkpoint or paths.model(name) / "best.pt",
            shards=shards,
            output=arguments.output or paths.prediction(name, split) / kind,
            kind=kind,
            fingerprint=fingerprint,
            asked=asked(parts),
            **folds,
            **settings,
        )


def do_ensemble(arguments: Arguments) -> None:
    """Average what the runs of an experiment predict."""
    from pipeline.evaluation.thresholds import require_origin
    from pipeline.prediction.ensemble import average_predictions

    name, split = ensemble_name(arguments.experiment), arguments.split
    settings = stage_settings(arguments, lambda config: config.ensemble_settings(name, split))
    kind = arguments.kind or ("mask" if settings.get("classes") else "probability")
    runs = dict(settings.get("runs", {}))
    folders = arguments.predictions
    named = folders, arguments.folds
    if folders is None:
        predicted = VALIDATION if split == OUT_OF_FOLD else split
        folders = [paths.prediction(run, predicted) / "probability" for run in sorted(runs)]
    if len(folders) != len(runs) or not runs:
        found, expected = f"{len(folders)} folders for {len(runs)} runs", "a folder for each run, in the order of names"
        raise ConfigError(Problem("--predictions", found, expected, "use --config FILE alone"))
    predictions = dict(zip(sorted(runs), folders, strict=True))
    parts = expected_plans(arguments, lambda plans, config: plans.ensemble_parts(config, name, split), *named)
    fingerprint = made_by("ensemble", settings, parts, kind=kind)
    wrong = (run for run in runs.values() if not is_fold(run))
    folded = {"fold": next(wrong, runs[min(runs)])} if split == OUT_OF_FOLD else {}
    folds = fold_arguments(arguments, folded, take_dataset(settings), parts)
    if "predictions" in parts:
        require_origin(dict(asked_of_runs(parts["predictions"], runs, predictions)))
    call(
        average_predictions,
        ensemble=name,
        kind=kind,
        predictions=predictions,
        output=arguments.output or paths.prediction(name, split) / kind,
        threads=arguments.threads,
        fingerprint=fingerprint,
        **folds,
        **settings,
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
            checkpoint=arguments.checkpoint,
            pictures=arguments.input,
            output=arguments.output,
            threshold=threshold,
            tiles=None if arguments.tiles is None else {"size": arguments.tiles},
            test_time=arguments.test_time or "none",
            precision=arguments.precision or "fp32",
            threads=arguments.threads or os.cpu_count() or 1,
            skip_unreadable=arguments.skip_unreadable,
        )


def _require_either(arguments: Arguments) -> None:
    """Ask for the options of one of the two ways to predict, and refuse those of the other."""
    samples = ("experiment", "split", "shards", "train_shards", "folds", "kind", "config", "settings", "expect")
    pictures = ("threshold", "tiles", "test_time", "precision", "threads", "skip_unreadable")
    new = arguments.input is not None
    needed = ("checkpoint", "output") if new else ("experiment", "split")
    missing = [name for name in needed if getattr(arguments, name) is None]
    foreign = [name for name in (samples if new else pictures) if getattr(arguments, name) not in (None, False)]
    if missing or foreign:
        found = "; ".join(
            f"{word} {', '.join('--' + name.replace('_', '-') for name in names)}"
            for word, names in (("missing:", missing), ("of the other way to predict:", foreign))
            if names
        )
        expected = "--experiment and --split for a data set, or --input, --checkpoint and --output for other pictures"
        raise ConfigError(Problem("predict", found, expected, "see `python -m pipeline predict --help`"))
