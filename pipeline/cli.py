"""The command line: the same verbs that the rules call.

Every verb takes ``--config FILE`` (one or several, later ones over earlier ones) and names, and finds its files where
the workflow keeps them; or ``--settings JSON`` (the slice of the configuration that the stage uses, as the rules pass
it) and the files. Both end in the same call. Rooms are imported by the verb that needs them, so that only training
and prediction load torch.
"""

import argparse
import inspect
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from pipeline import paths
from pipeline.cli_origin import Plan, asked, asked_of, made_by, parse_plans
from pipeline.errors import ConfigError, InterruptionError, PipelineError, Problem
from pipeline.evaluation.entrants import BASELINES, baseline_name
from pipeline.raw.splits import SPLITS, UNLABELLED

Arguments = argparse.Namespace
_Result = TypeVar("_Result")

_FROM_RESULTS = frozenset({"train", "augmented", "predict", "threshold", "render", "evaluate", "submission"})
"""Verbs whose inputs are results themselves, and say what they were made by."""

SCORED = tuple(split for split in SPLITS if split != UNLABELLED)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; return the exit status.

    0: done. 1: something a person can mend, said on standard error. 2: a mistake in the command or configuration.
    128 and more: a signal.
    """
    words = sys.argv[1:] if argv is None else argv
    arguments = _parser().parse_args(words)
    arguments.command = ["python", "-m", "pipeline", *words]
    try:
        return int(arguments.run(arguments) or 0)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    except InterruptionError as error:
        print(error, file=sys.stderr)
        return error.status
    except PipelineError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; nothing half-written was left under a final name", file=sys.stderr)
        return 130


# -- where arguments come from -------------------------------------------------------------------------------------


def _settings(arguments: Arguments, cut: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    """Return the stage's slice: from --settings, or cut out of the configuration."""
    if arguments.settings is None:
        return cut(_config(arguments))
    try:
        settings = json.loads(arguments.settings)
    except json.JSONDecodeError as error:
        raise ConfigError(
            Problem("--settings", f"text that is no JSON ({error})", "a JSON object", "quote it in the shell")
        ) from error
    if not isinstance(settings, dict):
        raise ConfigError(Problem("--settings", type(settings).__name__, "a JSON object", "pass {...}"))
    return settings


def _dataset_of(settings: dict[str, Any]) -> str:
    """Take the name of the data set out of settings that must have it."""
    if "dataset" not in settings:
        raise ConfigError(Problem("--settings", "no key 'dataset'", "the name of the data set", "use --config FILE"))
    return str(settings.pop("dataset"))


def _several_classes(settings: dict[str, Any]) -> bool:
    """Tell by its data set whether a stage works on class indices; `_call` says what is missing in the settings."""
    source = settings.get("source")
    if "dataset" not in settings or not isinstance(source, dict) or "layout" not in source:
        return False
    from pipeline.raw.dataset import describe

    return len(describe(str(settings["dataset"]), source["layout"], source.get("labels")).classes) > 2


def _refuse_threshold(arguments: Arguments) -> None:
    """Say that several classes have no threshold, where one was named."""
    if arguments.threshold is not None:
        raise ConfigError(
            Problem(
                "--threshold",
                f"{arguments.threshold}, while the data set of {arguments.experiment!r} has several classes",
                "no threshold: a pixel gets its most probable class",
                "leave out --threshold, and name folders of class indices (mask/) with --predictions",
            )
        )


def _config(arguments: Arguments) -> Any:  # noqa: ANN401 - pipeline.config is imported by those who need it
    from pipeline import config

    parsed = config.load(arguments.config or [Path("config.yaml")])
    for section in ("dataset", "experiment"):
        name = getattr(arguments, section, None)
        known = {*getattr(parsed, f"{section}s")}
        if section == "experiment" and arguments.run is _average:
            known = {*parsed.seeded()}
        if section == "experiment" and arguments.run in (_threshold, _render, _evaluate):
            known |= {*parsed.baselines()}
        if name is not None and name not in known:
            runs = parsed.seeded().get(name, []) if section == "experiment" else []
            several = f", an experiment of several seeds: {', '.join(runs)}" if runs else ""
            remedy = "name one of its runs" if runs else "correct the name"
            expected = f"one of {', '.join(sorted(known)) or 'none'}"
            raise ConfigError(Problem(f"--{section}", f"{name!r}{several}", expected, remedy))
    return parsed


def _expected(arguments: Arguments, cut: Callable[[Any, Any], dict[str, Plan]], *named: Any) -> dict[str, Plan]:  # noqa: ANN401
    """Return what the inputs have to be made by: from --expect, or from the configuration where it leads to them.

    Whoever names an input means that file, whatever made it: nothing is asked of it.
    """
    if arguments.expect is not None:
        return parse_plans(arguments.expect)
    if arguments.settings is not None or any(path is not None for path in named):
        return {}
    from pipeline import config_plans

    return cut(config_plans, _config(arguments))


def _call(function: Callable[..., _Result], **arguments: Any) -> _Result:  # noqa: ANN401 - any keyword arguments
    """Call a stage; settings it does not know, or lacks, are a mistake in --settings."""
    parameters = inspect.signature(function).parameters
    unknown = sorted(arguments.keys() - parameters.keys())
    missing = sorted(
        name for name, said in parameters.items() if said.default is inspect.Parameter.empty and name not in arguments
    )
    if unknown or missing:
        found = "; ".join(
            f"{word} {', '.join(names)}" for word, names in (("unknown:", unknown), ("missing:", missing)) if names
        )
        raise ConfigError(
            Problem("--settings", found, f"the keys {', '.join(parameters)}", "use --config FILE instead")
        )
    return function(**arguments)


def _shards(arguments: Arguments, given: Sequence[Path] | None, dataset: str, split: str) -> list[Path]:
    """Return the shards named on the command line, or those that the configuration leads to."""
    if given is not None:
        return list(given)
    from pipeline.raw.dataset import open_dataset

    config = _config(arguments)
    source = config.source(dataset, split)
    raw = open_dataset(dataset, **source, shards=config.datasets[dataset].shards)
    return [paths.shard(dataset, split, number) for number in raw.shard_members(split)]


# -- verbs -----------------------------------------------------------------------------------------------------------


def _sample(arguments: Arguments) -> None:
    from pipeline.raw.sample import draw_sample

    draw_sample(arguments.output)


def _unpack(arguments: Arguments) -> None:
    from pipeline.raw.unpack import unpack

    unpack(arguments.archive, arguments.folder, max_bytes=arguments.max_bytes)


def _splits(arguments: Arguments) -> None:
    from pipeline.raw.listing import write_splits

    settings = _settings(arguments, lambda config: config.splits_settings(arguments.dataset))
    output = arguments.output or paths.splits(arguments.dataset)
    _call(write_splits, dataset=arguments.dataset, output=output, **settings)


def _check_settings(arguments: Arguments, name: str) -> dict[str, Any]:
    return _settings(arguments, lambda config: config.check_settings(name))


def _check(arguments: Arguments) -> int:
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
        names = [arguments.dataset] if arguments.dataset is not None else list(_config(arguments).datasets)
        reports = []
        for name in names:
            settings = _check_settings(arguments, name)
            reports.append(_call(check_dataset, dataset=name, output=output, threads=threads, **settings))
    print(as_text(reports), flush=True)
    return 0 if arguments.report_only else int(any(report["errors"] for report in reports))


def _shard(arguments: Arguments) -> None:
    from pipeline.shards.write import build_shard

    name, split, number = arguments.dataset, arguments.split, arguments.shard
    settings = _settings(arguments, lambda config: config.shard_settings(name, split))
    output = arguments.output or paths.shard(name, split, number)
    given = {"output": output, "timing": arguments.timing, "threads": arguments.threads}
    fingerprint = made_by("shard", settings, {}, dataset=name, split=split)
    _call(build_shard, dataset=name, split=split, shard=number, fingerprint=fingerprint, **given, **settings)


def _train(arguments: Arguments) -> None:
    name = arguments.experiment
    settings = _settings(arguments, lambda config: config.train_settings(name))
    named = arguments.train_shards, arguments.validation_shards
    parts = _expected(arguments, lambda plans, config: plans.training_parts(config, name), *named)
    fingerprint = made_by("train", settings, parts)
    dataset = _dataset_of(settings)
    shards = {
        "train_shards": _shards(arguments, arguments.train_shards, dataset, "train"),
        "validation_shards": _shards(arguments, arguments.validation_shards, dataset, "validation"),
    }
    from pipeline import provenance
    from pipeline.shards.read import ShardReader, require_shards
    from pipeline.training.checkpoint import load_checkpoint
    from pipeline.training.device import describe_accelerators
    from pipeline.training.run import train
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
        "memory": None if arguments.memory_mb is None else arguments.memory_mb * 2**20,
        "state": (arguments.state or paths.state(name)) / key,
        "save_every": arguments.save_every,
        "fingerprint": fingerprint,
    }
    _call(train, experiment=name, **given, **shards, **settings)
    provenance.write_provenance(
        output / paths.provenance(name).name,
        run,
        experiment=name,
        fingerprints={"train": json.loads(fingerprint)},
        inputs=inputs,
        seeds={"seed": settings["seed"], **load_checkpoint(output / "last.pt").get("seeds", {})},
        threads=settings["threads"],
        accelerators=describe_accelerators(),
    )


def _augmented(arguments: Arguments) -> None:
    name = arguments.experiment
    settings = _settings(arguments, lambda config: config.augmented_settings(name))
    parts = _expected(arguments, lambda plans, config: plans.augmented_parts(config, name), arguments.train_shards)
    shards = _shards(arguments, arguments.train_shards, _dataset_of(settings), "train")
    from pipeline.shards.read import require_shards
    from pipeline.training.preview import preview

    require_shards(asked_of(parts, {"train shards": shards}))
    output = arguments.output or paths.model(name) / "augmented.png"
    _call(preview, experiment=name, train_shards=shards, output=output, note=arguments.note, **settings)


def _curves(arguments: Arguments) -> None:
    from pipeline.report.curves import plot_curves

    folder = paths.model(arguments.experiment)
    plot_curves(
        experiment=arguments.experiment,
        history=arguments.history or folder / "history.csv",
        output=arguments.output or folder / "curves.png",
        note=arguments.note,
    )


def _predict(arguments: Arguments) -> None:
    _require_either(arguments)
    if arguments.input is not None:
        _predict_pictures(arguments)
        return
    name, split = arguments.experiment, arguments.split
    settings = _settings(arguments, lambda config: config.predict_settings(name))
    kind = arguments.kind
    if kind is None and (arguments.output is None or arguments.settings is None):
        kind = "mask" if _config(arguments).multiclass(name) else "probability"
    named = arguments.checkpoint, arguments.shards
    parts = _expected(arguments, lambda plans, config: plans.prediction_parts(config, name, split), *named)
    fingerprint = made_by("predict", settings, parts, split=split, kind=kind)
    shards = _shards(arguments, arguments.shards, _dataset_of(settings), split)
    from pipeline.prediction.predict import predict

    _call(
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


def _baseline(arguments: Arguments) -> None:
    from pipeline.evaluation.baselines import write_baseline

    name, split, kind = arguments.dataset, arguments.split, arguments.kind
    settings = _settings(arguments, lambda config: config.baseline_settings(name, kind, split))
    output = arguments.output or paths.prediction(baseline_name(name, kind), split) / "probability"
    given = {"dataset": name, "split": split, "kind": kind}
    fingerprint = made_by("baseline", settings, {}, **given)
    _call(write_baseline, output=output, fingerprint=fingerprint, **given, **settings)


def _threshold(arguments: Arguments) -> None:
    from pipeline.evaluation.thresholds import choose_threshold, require_origin

    name = arguments.experiment
    settings = _settings(arguments, lambda config: config.threshold_settings(name))
    if _several_classes(settings):
        raise ConfigError(
            Problem(
                f"experiment {name!r}",
                "a data set of several classes",
                "two classes: of several, a pixel gets the most probable one",
                "leave this step out; `render` and `evaluate` need no threshold",
            )
        )
    parts = _expected(arguments, lambda plans, config: plans.threshold_parts(config, name), arguments.predictions)
    fingerprint = made_by("threshold", settings, parts)
    predictions = arguments.predictions or paths.prediction(name, "validation") / "probability"
    require_origin(dict(asked_of(parts, {"validation predictions": [predictions]})))
    given = {"predictions": predictions, "output": arguments.output or paths.threshold(name)}
    _call(choose_threshold, experiment=name, fingerprint=fingerprint, **given, **settings)


def _render(arguments: Arguments) -> None:
    name, split = arguments.experiment, arguments.split
    settings = _settings(arguments, lambda config: config.render_settings(name, split))
    folder = paths.prediction(name, split)
    given: dict[str, Any] = {"experiment": name, "split": split, "output": arguments.output or folder}
    several = _several_classes(settings)
    if several:
        _refuse_threshold(arguments)
    predictions = arguments.predictions or folder / ("mask" if several else "probability")
    threshold = arguments.threshold or paths.threshold(name)
    parts = _scoring_parts(arguments, {split: predictions}, threshold)
    given["fingerprint"] = made_by("render_classes" if several else "render", settings, parts, split=split)
    if several:
        from pipeline.evaluation.pictures_of_classes import render_classes

        _call(render_classes, predictions=predictions, **given, **settings)
        return
    from pipeline.evaluation.pictures import render

    _call(render, predictions=predictions, threshold=threshold, **given, **settings)


def _scoring_parts(arguments: Arguments, predictions: dict[str, Path], threshold: Path | float) -> dict[str, Plan]:
    """Return what predictions and threshold have to be made by, and refuse what was made by something else."""
    from pipeline.evaluation.thresholds import require_origin

    def cut(plans: Any, config: Any) -> dict[str, Plan]:  # noqa: ANN401 - modules that only some verbs import
        known: dict[str, Plan] = plans.scoring_parts(config, arguments.experiment, predictions)
        return known

    parts = _expected(arguments, cut, arguments.predictions or None, arguments.threshold)
    files = {f"{split} predictions": [folder] for split, folder in predictions.items()}
    files["threshold"] = [threshold] if isinstance(threshold, Path) else []
    require_origin(dict(asked_of(parts, files)))
    return parts


def _submission(arguments: Arguments) -> None:
    from pipeline.evaluation.submission import write_submission

    name = arguments.experiment
    settings = _settings(arguments, lambda config: config.submission_settings(name))
    predictions = arguments.predictions or paths.prediction(name, UNLABELLED) / "probability"
    threshold = arguments.threshold or paths.threshold(name)
    _scoring_parts(arguments, {UNLABELLED: predictions}, threshold)
    _call(
        write_submission,
        experiment=name,
        predictions=predictions,
        threshold=threshold,
        output=arguments.output or paths.submission(name),
        **settings,
    )


def _predictions(arguments: Arguments, kind: str) -> dict[str, Path]:
    """Return the folders named on the command line, or those of the workflow that are there."""
    if arguments.predictions:
        return dict(arguments.predictions)
    folders = {split: paths.prediction(arguments.experiment, split) / kind for split in ("validation", "test")}
    found = {split: folder for split, folder in folders.items() if folder.is_dir()}
    if not found:
        name = arguments.experiment
        raise ConfigError(
            Problem(
                str(paths.RESULTS / "predictions" / name),
                "no predictions",
                f"a folder `{kind}` of pictures for at least one split",
                f"run `python -m pipeline predict --experiment {name} --split test --kind {kind}`, "
                "or name --predictions test=FOLDER",
            )
        )
    return found


def _evaluate(arguments: Arguments) -> None:
    name = arguments.experiment
    settings = _settings(arguments, lambda config: config.evaluate_settings(name))
    output = arguments.output or paths.metrics(name)
    if _several_classes(settings):
        from pipeline.evaluation.evaluate_classes import evaluate_classes

        _refuse_threshold(arguments)
        folders = _predictions(arguments, "mask")
        fingerprint = made_by("evaluate_classes", settings, _scoring_parts(arguments, folders, paths.threshold(name)))
        given: dict[str, Any] = {"experiment": name, "output": output, "fingerprint": fingerprint}
        _call(evaluate_classes, predictions=folders, **given, **settings)
        return
    from pipeline.evaluation.evaluate import evaluate

    folders = _predictions(arguments, "probability")
    threshold = arguments.threshold if arguments.threshold is not None else paths.threshold(name)
    fingerprint = made_by("evaluate", settings, _scoring_parts(arguments, folders, threshold))
    given = {"experiment": name, "output": output, "fingerprint": fingerprint}
    _call(evaluate, predictions=folders, threshold=threshold, **given, **settings)


def _average(arguments: Arguments) -> None:
    from pipeline.report.average import average_runs

    name = arguments.experiment
    settings = _settings(arguments, lambda config: config.average_settings(name))
    summaries = arguments.summaries
    if summaries is None:
        summaries = [paths.metrics(run) / "summary.csv" for run in settings.get("runs", ())]
    output = arguments.output or paths.metrics(name) / "summary.csv"
    _call(average_runs, experiment=name, summaries=summaries, output=output, **settings)


def _report(arguments: Arguments) -> None:
    from pipeline.report.leaderboard import build_leaderboard

    summaries = arguments.summaries
    if summaries is None:
        config = _config(arguments)
        baselines = [paths.metrics(name) / "summary.csv" for name in config.baselines()]
        summaries = [paths.metrics(name) / "summary.csv" for name in (*config.experiments, *config.seeded())]
        summaries += [path for path in baselines if path.exists()]
    checks = arguments.checks
    if checks is None:
        checks = [] if arguments.summaries is not None else sorted(paths.checks().glob("*.json"))
    build_leaderboard(summaries=summaries, checks=checks, output=arguments.output or paths.leaderboard())


def _clean(arguments: Arguments) -> None:
    from pipeline.cli_upkeep import clean

    clean(_config(arguments), yes=arguments.yes)


def _explain(arguments: Arguments) -> None:
    from pipeline.cli_explain import explain

    explain(_config(arguments), arguments.path)


def _verify_run(arguments: Arguments) -> int:
    from pipeline.verify import as_text, compare_runs

    result = compare_runs(arguments.first, arguments.second)
    print(as_text(result, arguments.first, arguments.second), flush=True)
    return int(bool(result.differences))


def _models(arguments: Arguments) -> None:
    from pipeline.models.published import print_models

    print_models()


def _schema(arguments: Arguments) -> None:
    from pipeline.config import schema
    from pipeline.files import write_json

    write_json(arguments.output, schema())


# -- the parser ------------------------------------------------------------------------------------------------------


def _split_folder(text: str) -> tuple[str, Path]:
    split, equals, folder = text.partition("=")
    if not equals or split not in SCORED or not folder:
        raise argparse.ArgumentTypeError(f"{text!r} is not SPLIT=FOLDER, such as test=my-predictions")
    return split, Path(folder)


def _number_or_file(text: str) -> float | Path:
    try:
        value = float(text)
    except ValueError:
        return Path(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"a threshold of {text} is outside [0, 1)")
    return value


class _Verbs:
    """Collects verbs with the options that many of them share."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._group = parser.add_subparsers(metavar="VERB", required=True)

    def add(
        self, name: str, run: Callable[[Arguments], int | None], text: str, *names: str, configured: bool = True
    ) -> argparse.ArgumentParser:
        """Add one verb; `names` are what has to be named: dataset, experiment, split, shard."""
        formatter = argparse.RawDescriptionHelpFormatter
        verb = self._group.add_parser(name, help=text.split("\n")[0], description=text, formatter_class=formatter)
        verb.set_defaults(run=run)
        if configured:
            verb.add_argument(
                "--config", type=Path, nargs="+", metavar="FILE", help="configuration, later files over earlier ones"
            )
            verb.add_argument("--settings", metavar="JSON", help="the stage's settings, in place of --config")
        if name in _FROM_RESULTS:
            verb.add_argument("--expect", metavar="JSON", help="what the inputs have to be made by, beside --settings")
        for required in names:
            kind: dict[str, Any] = {"help": f"name of the {required}"}
            if required == "split":
                kind = {"choices": SPLITS, "help": "which samples"}
            elif required == "shard":
                kind = {"type": int, "help": "number of the shard, from 0"}
            verb.add_argument(f"--{required}", required=True, **kind)
        return verb


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipeline", description=__doc__)
    verbs = _Verbs(parser)
    out: dict[str, Any] = {"type": Path, "metavar": "PATH"}
    many: dict[str, Any] = {"type": Path, "nargs": "*", "metavar": "FILE"}

    verb = verbs.add(
        "sample",
        _sample,
        "Draw the embedded sample data sets in the formats of DRIVE, TGS, Shapes and DUTS.",
        configured=False,
    )
    verb.add_argument("--output", **out, default=Path("data/sample"), help="folder to draw into (data/sample)")

    verb = verbs.add(
        "unpack",
        _unpack,
        "Unpack an archive of raw data (zip, tar, tar.gz, tar.bz2, tar.xz), also the archives inside it, safely.\n\n"
        "  python -m pipeline unpack DRIVE.zip data/raw/DRIVE",
        configured=False,
    )
    verb.add_argument("archive", type=Path, metavar="ARCHIVE", help="file to unpack")
    verb.add_argument("folder", type=Path, metavar="FOLDER", help="new or empty folder to unpack into")
    verb.add_argument(
        "--max-bytes",
        type=int,
        metavar="N",
        help="most bytes to write (20 times the size of the archive, and 1 GB)",
    )

    verb = verbs.add("splits", _splits, "List which sample stands in which split and shard.", "dataset")
    verb.add_argument("--output", **out, help="CSV file (results/splits/DATASET.csv)")

    verb = verbs.add(
        "check",
        _check,
        "Read every raw file once and report what is there, what is wrong and what is worth knowing.\n\n"
        "Writes DATASET.json, DATASET.html and DATASET.png (a contact sheet) for each data set. The exit status is 1\n"
        "where there are errors; warnings do not count.",
    )
    verb.add_argument("--dataset", help="name of the data set (all that are configured)")
    verb.add_argument("--output", **out, help="folder (results/check)")
    verb.add_argument(
        "--threads", type=int, choices=range(1, 257), metavar="N", help="pictures decoded at a time (all cores)"
    )
    verb.add_argument("--report-only", action="store_true", help="exit with status 0 whatever is found")
    verb.add_argument("--reports", **many, help="print these DATASET.json again, in place of reading raw files")

    verb = verbs.add(
        "shard",
        _shard,
        "Build one HDF5 shard from raw files: decode, check, resize, normalize.",
        "dataset",
        "split",
        "shard",
    )
    verb.add_argument("--output", **out, help="HDF5 file (results/shards/DATASET/SPLIT-SHARD.h5)")
    verb.add_argument("--timing", **out, help="table to write seconds and peak memory to (none)")
    verb.add_argument(
        "--threads", type=int, default=1, choices=range(1, 257), metavar="N", help="pictures decoded at a time (1)"
    )

    verb = verbs.add("train", _train, "Train the network of an experiment on its shards.", "experiment")
    verb.add_argument("--train-shards", **many, help="shards to train on")
    verb.add_argument("--validation-shards", **many, help="shards to choose the best epoch on")
    verb.add_argument("--output", **out, help="folder (results/models/EXPERIMENT)")
    verb.add_argument(
        "--memory-mb", type=int, metavar="MB", help="main memory that samples may fill (half of what is free)"
    )
    verb.add_argument(
        "--state", **out, help="folder for the state to go on from after a kill (results/state/EXPERIMENT)"
    )
    verb.add_argument(
        "--save-every",
        type=int,
        default=60,
        choices=range(86401),
        metavar="SECONDS",
        help="how often the state is saved (60)",
    )

    verb = verbs.add(
        "augmented",
        _augmented,
        "Draw training samples as the network gets to see them, to look at first.",
        "experiment",
    )
    verb.add_argument("--train-shards", **many, help="shards of the training samples")
    verb.add_argument("--output", **out, help="PNG file (results/models/EXPERIMENT/augmented.png)")
    verb.add_argument("--note", default="", help="what else the caption says")

    verb = verbs.add("curves", _curves, "Draw loss and score over the epochs.", "experiment", configured=False)
    verb.add_argument("--history", **out, help="history.csv of the training")
    verb.add_argument("--output", **out, help="PNG file (results/models/EXPERIMENT/curves.png)")
    verb.add_argument("--note", default="", help="what else the title says")

    verb = verbs.add(
        "predict",
        _predict,
        "Predict every sample of a split, or any other pictures, at native size.\n\n"
        "A folder of pictures that belong to no data set, or a single one, needs no configuration; the results are\n"
        "probability/, mask/, overlay/, cutout/ (the background transparent) and timing.csv:\n\n"
        "  python -m pipeline predict --checkpoint best.pt --input my-pictures --output my-results",
    )
    verb.add_argument("--experiment", help="name of the experiment")
    verb.add_argument("--split", choices=SPLITS, help="which samples")
    verb.add_argument("--checkpoint", **out, help="checkpoint (results/models/EXPERIMENT/best.pt)")
    verb.add_argument("--shards", **many, help="shards of the split")
    verb.add_argument("--output", **out, help="folder (results/predictions/EXPERIMENT/SPLIT/KIND)")
    verb.add_argument(
        "--kind",
        choices=("probability", "mask"),
        help="probabilities, or class indices (probability for two classes, mask for more)",
    )
    verb.add_argument("--input", **out, help="a picture or a folder of them, in place of --experiment and --split")
    of_input = verb.add_argument_group("with --input")
    of_input.add_argument(
        "--threshold", type=_number_or_file, metavar="FILE|NUMBER", help="threshold file, or a number (0.5)"
    )
    of_input.add_argument(
        "--tiles", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"), help="predict large pictures in overlapping tiles"
    )
    of_input.add_argument(
        "--test-time", choices=("none", "flips", "turns"), help="average over 4 mirror images or 8 turns (none)"
    )
    of_input.add_argument("--precision", choices=("fp32", "bf16", "auto"), help="number format of the network (fp32)")
    of_input.add_argument(
        "--threads", type=int, choices=range(1, 257), metavar="N", help="threads of the network (all cores)"
    )
    of_input.add_argument("--skip-unreadable", action="store_true", help="leave out files that cannot be used")

    verb = verbs.add(
        "baseline",
        _baseline,
        "Write a baseline that needs no training as if it were predictions: the second human observer's masks,\n"
        "zeros, or the masks resized to the working size of the data set and back.",
        "dataset",
        "split",
    )
    verb.add_argument("--kind", choices=BASELINES, required=True, help="which of them")
    verb.add_argument("--output", **out, help="folder (results/predictions/DATASET.KIND/SPLIT/probability)")

    verb = verbs.add(
        "threshold", _threshold, "Choose the threshold of an experiment on its validation samples.", "experiment"
    )
    verb.add_argument("--predictions", **out, help="probabilities of the validation samples")
    verb.add_argument("--output", **out, help="JSON file (results/predictions/EXPERIMENT/threshold.json)")

    verb = verbs.add(
        "render",
        _render,
        "Draw the pictures of a split: mask, overlay, panel, sheet; of several classes colour, overlay, panel, sheet "
        "and legend.",
        "experiment",
        "split",
    )
    verb.add_argument("--predictions", **out, help="probabilities of the split; of several classes class indices")
    verb.add_argument("--threshold", **out, help="file that the verb `threshold` wrote; not for several classes")
    verb.add_argument("--output", **out, help="folder (results/predictions/EXPERIMENT/SPLIT)")

    verb = verbs.add(
        "evaluate",
        _evaluate,
        "Score predictions against the native masks: per_image.csv and summary.csv; of several classes confusion.csv\n"
        "and confusion.png as well.\n\n"
        "Anybody's predictions can be scored: a folder of 8-bit grey <id>.png as large as the raw pictures,\n"
        "the name of an experiment that says the data set, and a threshold:\n\n"
        "  python -m pipeline evaluate --experiment drive-unet --predictions test=mine --threshold 0.5 --output scores"
        "\n\nOf several classes the pictures hold class indices, and there is no threshold.",
        "experiment",
    )
    verb.add_argument(
        "--predictions", type=_split_folder, nargs="*", metavar="SPLIT=FOLDER", help="predictions of each split"
    )
    verb.add_argument(
        "--threshold",
        type=_number_or_file,
        metavar="FILE|NUMBER",
        help="threshold file, or a number; not for several classes",
    )
    verb.add_argument("--output", **out, help="folder (results/metrics/EXPERIMENT)")

    verb = verbs.add(
        "submission",
        _submission,
        "Write the predictions of the unlabelled samples as the challenge of DRIVE or TGS takes them.",
        "experiment",
    )
    verb.add_argument("--predictions", **out, help="probabilities of the unlabelled samples")
    verb.add_argument("--threshold", **out, help="file that the verb `threshold` wrote")
    verb.add_argument("--output", **out, help="folder (results/predictions/EXPERIMENT/unlabelled/submission)")

    verb = verbs.add(
        "average",
        _average,
        "Average the scores of an experiment over its seeds: mean and sample standard deviation.",
        "experiment",
    )
    verb.add_argument("--summaries", **many, help="summary.csv of each run, in the order of the runs")
    verb.add_argument("--output", **out, help="CSV file (results/metrics/EXPERIMENT/summary.csv)")

    verb = verbs.add("report", _report, "Join the summaries of all experiments into leaderboard.csv.")
    verb.add_argument("--summaries", **many, help="summary.csv files")
    verb.add_argument("--checks", **many, help="results/check/DATASET.json files, for the column `leak`")
    verb.add_argument("--output", **out, help="CSV file (results/leaderboard.csv)")

    verb = verbs.add(
        "clean",
        _clean,
        "List what under results/ no configured data set or experiment needs, with its size, and remove it.\n\n"
        "Old experiments, data sets that are gone, shards that no sample stands in, remains of killed jobs. On a\n"
        "terminal it asks first; elsewhere it removes nothing without --yes. Links are never followed. Name with\n"
        "--config every file whose results are to stay.",
        configured=False,
    )
    verb.add_argument(
        "--config", type=Path, nargs="+", metavar="FILE", help="configuration, later files over earlier ones"
    )
    verb.add_argument("--yes", action="store_true", help="remove without asking")

    verb = verbs.add(
        "explain",
        _explain,
        "Tell where a result comes from, and whether it is what today's configuration and code would make.\n\n"
        "Shards, networks, predictions and single pictures of them, thresholds, scores, the leaderboard: what it is,\n"
        "which stage made it by which settings, code and libraries, from what, and what differs by now.\n\n"
        "  python -m pipeline explain results/predictions/drive-unet/test/mask/01.png",
        configured=False,
    )
    verb.add_argument("path", type=Path, metavar="PATH", help="file or folder under results/")
    verb.add_argument(
        "--config", type=Path, nargs="+", metavar="FILE", help="configuration, later files over earlier ones"
    )

    verb = verbs.add(
        "verify-run",
        _verify_run,
        "Compare the results of two runs byte for byte: shards, checkpoints, predictions, scores.\n\n"
        "Says what was left out (times, logs, the report), the first difference and how many files differ. The exit\n"
        "status is 0 where nothing differs.\n\n"
        "  python -m pipeline verify-run results ../other-clone/results",
        configured=False,
    )
    verb.add_argument("first", type=Path, metavar="A", help="folder of results")
    verb.add_argument("second", type=Path, metavar="B", help="another one")

    verbs.add(
        "models",
        _models,
        "Print the published networks: parameters, size, operations for one picture, shapes.",
        configured=False,
    )

    verb = verbs.add("schema", _schema, "Write the JSON schema of config.yaml.", configured=False)
    default = Path("workflow/schemas/config.schema.json")
    verb.add_argument("--output", **out, default=default, help=f"JSON file ({default})")
    return parser
