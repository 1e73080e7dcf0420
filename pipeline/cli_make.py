"""Verbs that make: raw data to shards, networks and predictions."""

import json
import os
from contextlib import closing
from pathlib import Path
from typing import Any

from pipeline import paths
from pipeline.cli_arguments import (
    Arguments,
    call,
    configuration,
    expected_plans,
    named_shards,
    stage_settings,
    take_dataset,
)
from pipeline.cli_origin import asked, asked_of, made_by
from pipeline.errors import ConfigError, Problem


def do_sample(arguments: Arguments) -> None:
    """Draw the embedded sample data sets."""
    from pipeline.raw.sample import draw_sample

    draw_sample(arguments.output)


def do_unpack(arguments: Arguments) -> None:
    """Unpack an archive of raw data."""
    from pipeline.raw.unpack import unpack

    unpack(arguments.archive, arguments.folder, max_bytes=arguments.max_bytes)


def do_splits(arguments: Arguments) -> None:
    """Write the table of assignments of a data set."""
    from pipeline.raw.listing import write_splits

    settings = stage_settings(arguments, lambda config: config.splits_settings(arguments.dataset))
    output = arguments.output or paths.splits(arguments.dataset)
    call(write_splits, dataset=arguments.dataset, output=output, **settings)


def _check_settings(arguments: Arguments, name: str) -> dict[str, Any]:
    return stage_settings(arguments, lambda config: config.check_settings(name))


def do_check(arguments: Arguments) -> int:
    """Read every raw file and report; 1 where there are errors."""
    from pipeline.raw.check import check_dataset, read_reports
    from pipeline.raw.check_text import as_text

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
    named = arguments.train_shards, arguments.validation_shards
    parts = expected_plans(arguments, lambda plans, config: plans.training_parts(config, name), *named)
    fingerprint = made_by("train", settings, parts)
    dataset = take_dataset(settings)
    shards = {
        "train_shards": named_shards(arguments, arguments.train_shards, dataset, "train"),
        "validation_shards": named_shards(arguments, arguments.validation_shards, dataset, "validation"),
    }
    from pipeline import provenance
    from pipeline.shards.read import ShardReader, require_shards
    from pipeline.training.device import describe_accelerators
    from pipeline.training.run import train
    from pipeline.training.seeds import derived_seeds
    from pipeline.training.state import state_key

    run = provenance.describe_run(arguments.command)
    files = {"train shards": shards["train_shards"], "validation shards": shards["validation_shards"]}
    require_shards(asked_of(parts, files))
    inputs: dict[str, str] = {}
    for one_split in filter(None, shards.values()):
        with closing(ShardReader(one_split)) as reader:
            inputs |= reader.source_digests()
    output = arguments.output or paths.model(name)
    key = state_key(settings, [path for part in shards.values() for path in part], fingerprint)
    given = {
        "output": output,
        "memory": _sample_memory(arguments.memory_mb),
        "state": (arguments.state or paths.state(name)) / key,
        "save_every": arguments.save_every,
        "fingerprint": fingerprint,
    }
    call(train, experiment=name, **given, **shards, **settings)
    provenance.write_provenance(
        output / paths.provenance(name).name,
        run,
        experiment=name,
        fingerprints={"train": json.loads(fingerprint)},
        inputs=inputs,
        seeds={"seed": settings["seed"], **derived_seeds(settings["seed"])},
        threads=settings["threads"],
        accelerators=describe_accelerators(),
    )


def _sample_memory(megabytes: int | None) -> int | None:
    """Return how many bytes training samples may fill, and validation samples as well; None for half of what is free.

    What is free on the machine is not free to a job with a limit of its own: of that, each may fill a third.
    """
    from pipeline.memory import limited_memory

    if megabytes is not None:
        return megabytes * 2**20
    limited = limited_memory()
    return None if limited is None else limited // 3


def do_augmented(arguments: Arguments) -> None:
    """Draw training samples as the network sees them."""
    name = arguments.experiment
    settings = stage_settings(arguments, lambda config: config.augmented_settings(name))
    parts = expected_plans(arguments, lambda plans, config: plans.augmented_parts(config, name), arguments.train_shards)
    shards = named_shards(arguments, arguments.train_shards, take_dataset(settings), "train")
    from pipeline.shards.read import require_shards
    from pipeline.training.preview import preview

    require_shards(asked_of(parts, {"train shards": shards}))
    output = arguments.output or paths.model(name) / "augmented.png"
    call(preview, experiment=name, train_shards=shards, output=output, note=arguments.note, **settings)


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


def do_predict(arguments: Arguments) -> None:
    """Predict a split of a data set, or pictures of none."""
    _require_either(arguments)
    if arguments.input is not None:
        _predict_pictures(arguments)
        return
    name, split = arguments.experiment, arguments.split
    settings = stage_settings(arguments, lambda config: config.predict_settings(name))
    kind = arguments.kind
    if kind is None and (arguments.output is None or arguments.settings is None):
        kind = "mask" if configuration(arguments).multiclass(name) else "probability"
    named = arguments.checkpoint, arguments.shards
    parts = expected_plans(arguments, lambda plans, config: plans.prediction_parts(config, name, split), *named)
    fingerprint = made_by("predict", settings, parts, split=split, kind=kind)
    shards = named_shards(arguments, arguments.shards, take_dataset(settings), split)
    from pipeline.prediction.predict import predict

    call(
        predict,
        experiment=name,
        checkpoint=arguments.checkpoint or paths.model(name) / "best.pt",
        shards=shards,
        output=arguments.output or paths.prediction(name, split) / kind,
        kind=kind,
        fingerprint=fingerprint,
        asked=asked(parts),
        **settings,
    )


def _predict_pictures(arguments: Arguments) -> None:
    threshold = arguments.threshold
    if isinstance(threshold, Path):
        from pipeline.evaluation.thresholds import read_threshold

        threshold = read_threshold(threshold).value
    from pipeline.prediction.new_pictures import predict_pictures

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
    samples = ("experiment", "split", "shards", "kind", "config", "settings", "expect")
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
