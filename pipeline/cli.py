"""The command line: the same verbs that the rules call.

Every verb takes ``--config FILE`` (one or several, later ones over earlier ones) and names, and finds its files where
the workflow keeps them; or ``--settings JSON`` (the slice of the configuration that the stage uses, as the rules pass
it) and the files. Both end in the same call. Rooms are imported by the verb that needs them, so that only training
and prediction load torch.
"""

import argparse
import inspect
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pipeline import paths
from pipeline.errors import ConfigError, PipelineError, Problem
from pipeline.raw.splits import SPLITS, UNLABELLED

Arguments = argparse.Namespace

SCORED = tuple(split for split in SPLITS if split != UNLABELLED)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; return the exit status.

    0: done. 1: something a person can mend, said on standard error. 2: a mistake in the command or configuration.
    """
    arguments = _parser().parse_args(argv)
    try:
        arguments.run(arguments)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    except PipelineError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; nothing half-written was left under a final name", file=sys.stderr)
        return 130
    return 0


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


def _config(arguments: Arguments) -> Any:  # noqa: ANN401 - pipeline.config is imported by those who need it
    from pipeline import config

    parsed = config.load(arguments.config or [Path("config.yaml")])
    for section in ("dataset", "experiment"):
        name = getattr(arguments, section, None)
        known = {*getattr(parsed, f"{section}s")}
        if section == "experiment" and arguments.run in (_threshold, _render, _evaluate):
            known |= {name + config.OBSERVER_SUFFIX for name in parsed.datasets}
        if name is not None and name not in known:
            raise ConfigError(
                Problem(f"--{section}", repr(name), f"one of {', '.join(sorted(known)) or 'none'}", "correct the name")
            )
    return parsed


def _call(function: Callable[..., None], **arguments: Any) -> None:  # noqa: ANN401 - any keyword arguments
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
    function(**arguments)


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


def _splits(arguments: Arguments) -> None:
    from pipeline.raw.listing import write_splits

    settings = _settings(arguments, lambda config: config.splits_settings(arguments.dataset))
    output = arguments.output or paths.splits(arguments.dataset)
    _call(write_splits, dataset=arguments.dataset, output=output, **settings)


def _shard(arguments: Arguments) -> None:
    from pipeline.shards.write import build_shard

    name, split, number = arguments.dataset, arguments.split, arguments.shard
    settings = _settings(arguments, lambda config: config.shard_settings(name, split))
    output = arguments.output or paths.shard(name, split, number)
    threads = arguments.threads
    _call(build_shard, dataset=name, split=split, shard=number, output=output, threads=threads, **settings)


def _train(arguments: Arguments) -> None:
    settings = _settings(arguments, lambda config: config.train_settings(arguments.experiment))
    dataset = _dataset_of(settings)
    shards = {
        "train_shards": _shards(arguments, arguments.train_shards, dataset, "train"),
        "validation_shards": _shards(arguments, arguments.validation_shards, dataset, "validation"),
    }
    from pipeline.training.run import train

    memory = None if arguments.memory_mb is None else arguments.memory_mb * 2**20
    output = arguments.output or paths.model(arguments.experiment)
    _call(train, experiment=arguments.experiment, output=output, memory=memory, **shards, **settings)


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
    name, split = arguments.experiment, arguments.split
    settings = _settings(arguments, lambda config: config.predict_settings(name))
    shards = _shards(arguments, arguments.shards, _dataset_of(settings), split)
    from pipeline.prediction.predict import predict

    _call(
        predict,
        experiment=name,
        checkpoint=arguments.checkpoint or paths.model(name) / "best.pt",
        shards=shards,
        output=arguments.output or paths.prediction(name, split) / "probability",
        **settings,
    )


def _observer(arguments: Arguments) -> None:
    from pipeline.evaluation.observer import write_observer

    name, split = arguments.dataset, arguments.split
    settings = _settings(arguments, lambda config: config.observer_settings(name, split))
    output = arguments.output
    if output is None:
        from pipeline.config import OBSERVER_SUFFIX

        output = paths.prediction(name + OBSERVER_SUFFIX, split) / "probability"
    _call(write_observer, dataset=name, split=split, output=output, **settings)


def _threshold(arguments: Arguments) -> None:
    from pipeline.evaluation.thresholds import choose_threshold

    name = arguments.experiment
    settings = _settings(arguments, lambda config: config.threshold_settings(name))
    predictions = arguments.predictions or paths.prediction(name, "validation") / "probability"
    output = arguments.output or paths.threshold(name)
    _call(choose_threshold, experiment=name, predictions=predictions, output=output, **settings)


def _render(arguments: Arguments) -> None:
    from pipeline.evaluation.pictures import render

    name, split = arguments.experiment, arguments.split
    settings = _settings(arguments, lambda config: config.render_settings(name, split))
    folder = paths.prediction(name, split)
    _call(
        render,
        experiment=name,
        split=split,
        predictions=arguments.predictions or folder / "probability",
        threshold=arguments.threshold or paths.threshold(name),
        output=arguments.output or folder,
        **settings,
    )


def _evaluate(arguments: Arguments) -> None:
    from pipeline.evaluation.evaluate import evaluate

    name = arguments.experiment
    settings = _settings(arguments, lambda config: config.evaluate_settings(name))
    predictions = dict(arguments.predictions or ())
    if not predictions:
        folders = {split: paths.prediction(name, split) / "probability" for split in ("validation", "test")}
        predictions = {split: folder for split, folder in folders.items() if folder.is_dir()}
    if not predictions:
        raise ConfigError(
            Problem(
                str(paths.RESULTS / "predictions" / name),
                "no predictions",
                "a folder of probability pictures for at least one split",
                f"run `python -m pipeline predict --experiment {name} --split test`, or name --predictions test=FOLDER",
            )
        )
    _call(
        evaluate,
        experiment=name,
        predictions=predictions,
        threshold=arguments.threshold if arguments.threshold is not None else paths.threshold(name),
        output=arguments.output or paths.metrics(name),
        **settings,
    )


def _report(arguments: Arguments) -> None:
    from pipeline.report.leaderboard import build_leaderboard

    summaries = arguments.summaries
    if summaries is None:
        from pipeline.config import OBSERVER_SUFFIX

        config = _config(arguments)
        observers = [paths.metrics(name + OBSERVER_SUFFIX) / "summary.csv" for name in config.datasets]
        summaries = [paths.metrics(name) / "summary.csv" for name in config.experiments]
        summaries += [path for path in observers if path.exists()]
    build_leaderboard(summaries=summaries, output=arguments.output or paths.leaderboard())


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
        self, name: str, run: Callable[[Arguments], None], text: str, *names: str, configured: bool = True
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
        "sample", _sample, "Draw the embedded sample data sets in the formats of DRIVE and TGS.", configured=False
    )
    verb.add_argument("--output", **out, default=Path("data/sample"), help="folder to draw into (data/sample)")

    verb = verbs.add("splits", _splits, "List which sample stands in which split and shard.", "dataset")
    verb.add_argument("--output", **out, help="CSV file (results/splits/DATASET.csv)")

    verb = verbs.add(
        "shard",
        _shard,
        "Build one HDF5 shard from raw files: decode, check, resize, normalize.",
        "dataset",
        "split",
        "shard",
    )
    verb.add_argument("--output", **out, help="HDF5 file (results/shards/DATASET/SPLIT-SHARD.h5)")
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

    verb = verbs.add("curves", _curves, "Draw loss and score over the epochs.", "experiment", configured=False)
    verb.add_argument("--history", **out, help="history.csv of the training")
    verb.add_argument("--output", **out, help="PNG file (results/models/EXPERIMENT/curves.png)")
    verb.add_argument("--note", default="", help="what else the title says")

    verb = verbs.add(
        "predict",
        _predict,
        "Write a probability picture, at native size, for every sample of a split.",
        "experiment",
        "split",
    )
    verb.add_argument("--checkpoint", **out, help="checkpoint (results/models/EXPERIMENT/best.pt)")
    verb.add_argument("--shards", **many, help="shards of the split")
    verb.add_argument("--output", **out, help="folder (results/predictions/EXPERIMENT/SPLIT/probability)")

    verb = verbs.add(
        "observer",
        _observer,
        "Write the second human observer's masks as if they were predictions.",
        "dataset",
        "split",
    )
    verb.add_argument("--output", **out, help="folder (results/predictions/DATASET.second-observer/SPLIT/probability)")

    verb = verbs.add(
        "threshold", _threshold, "Choose the threshold of an experiment on its validation samples.", "experiment"
    )
    verb.add_argument("--predictions", **out, help="probabilities of the validation samples")
    verb.add_argument("--output", **out, help="JSON file (results/predictions/EXPERIMENT/threshold.json)")

    verb = verbs.add(
        "render", _render, "Draw the pictures of a split: mask, overlay, panel, sheet.", "experiment", "split"
    )
    verb.add_argument("--predictions", **out, help="probabilities of the split")
    verb.add_argument("--threshold", **out, help="file that the verb `threshold` wrote")
    verb.add_argument("--output", **out, help="folder (results/predictions/EXPERIMENT/SPLIT)")

    verb = verbs.add(
        "evaluate",
        _evaluate,
        "Score predictions against the native masks: per_image.csv and summary.csv.\n\n"
        "Anybody's predictions can be scored: a folder of 8-bit grey <id>.png as large as the raw pictures,\n"
        "the name of an experiment that says the data set, and a threshold:\n\n"
        "  python -m pipeline evaluate --experiment drive-unet --predictions test=mine --threshold 0.5 --output scores",
        "experiment",
    )
    verb.add_argument(
        "--predictions", type=_split_folder, nargs="*", metavar="SPLIT=FOLDER", help="probabilities of each split"
    )
    verb.add_argument("--threshold", type=_number_or_file, metavar="FILE|NUMBER", help="threshold file, or a number")
    verb.add_argument("--output", **out, help="folder (results/metrics/EXPERIMENT)")

    verb = verbs.add("report", _report, "Join the summaries of all experiments into leaderboard.csv.")
    verb.add_argument("--summaries", **many, help="summary.csv files")
    verb.add_argument("--output", **out, help="CSV file (results/leaderboard.csv)")

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
