"""The command line: the same verbs that the rules call.

Every verb takes ``--config FILE`` (one or several, later ones over earlier ones) and names, and finds its files where
the workflow keeps them; or ``--settings JSON`` (the slice of the configuration that the stage uses, as the rules pass
it) and the files. Both end in the same call. Rooms are imported by the verb that needs them, so that only training
and prediction load torch.
"""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pipeline.cli_arguments import Arguments, configuration
from pipeline.cli_make import (
    do_augmented,
    do_check,
    do_curves,
    do_ensemble,
    do_folds,
    do_predict,
    do_sample,
    do_shard,
    do_splits,
    do_tensorboard,
    do_train,
    do_unpack,
)
from pipeline.cli_score import (
    do_average,
    do_baseline,
    do_compare,
    do_comparisons,
    do_evaluate,
    do_leaderboard,
    do_render,
    do_report,
    do_submission,
    do_threshold,
)
from pipeline.errors import ConfigError, InterruptionError, PipelineError
from pipeline.evaluation.entrants import BASELINES
from pipeline.raw.splits import OUT_OF_FOLD, SPLITS, UNLABELLED

_FROM_RESULTS = frozenset(
    {"train", "augmented", "predict", "ensemble", "threshold", "render", "evaluate", "submission"}
)
"""Verbs whose inputs are results themselves, and say what they were made by."""

_OF_ENSEMBLES = frozenset({"ensemble", "render"})
"""Verbs that work on out-of-fold predictions as on those of a split."""

PREDICTED = (*SPLITS, OUT_OF_FOLD)
SCORED = tuple(split for split in PREDICTED if split != UNLABELLED)


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
    except BrokenPipeError:  # `... | head`: whoever read has gone, and the interpreter must not try to say more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        print("interrupted; nothing half-written was left under a final name", file=sys.stderr)
        return 130


# -- verbs that make nothing -----------------------------------------------------------------------------------------


def _clean(arguments: Arguments) -> None:
    from pipeline.cli_upkeep import clean

    clean(configuration(arguments), yes=arguments.yes)


def _explain(arguments: Arguments) -> None:
    from pipeline.cli_explain import explain

    explain(configuration(arguments), arguments.path)


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
        verb.set_defaults(run=run, verb=name)
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
                kind = {"choices": PREDICTED if name in _OF_ENSEMBLES else SPLITS, "help": "which samples"}
            elif required == "shard":
                kind = {"type": int, "help": "number of the shard, from 0"}
            verb.add_argument(f"--{required}", required=True, **kind)
        return verb


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipeline", description=__doc__)
    verbs = _Verbs(parser)
    out: dict[str, Any] = {"type": Path, "metavar": "PATH"}
    many: dict[str, Any] = {"type": Path, "nargs": "*", "metavar": "FILE"}
    # rules name none where the experiment has no folds
    table: dict[str, Any] = {
        "type": Path,
        "nargs": "?",
        "metavar": "FILE",
        "help": "table of folds (results/folds/DATASET/K.json)",
    }

    verb = verbs.add(
        "sample",
        do_sample,
        "Draw the embedded sample data sets in the formats of DRIVE, TGS, Shapes and DUTS.",
        configured=False,
    )
    verb.add_argument("--output", **out, default=Path("data/sample"), help="folder to draw into (data/sample)")

    verb = verbs.add(
        "unpack",
        do_unpack,
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

    verb = verbs.add("splits", do_splits, "List which sample stands in which split and shard.", "dataset")
    verb.add_argument("--output", **out, help="CSV file (results/splits/DATASET.csv)")

    verb = verbs.add(
        "folds",
        do_folds,
        "List which training or validation sample belongs to which fold, for experiments with `folds`.",
        "dataset",
    )
    verb.add_argument("--folds", type=int, required=True, metavar="K", help="how many")
    verb.add_argument("--output", **out, help="JSON file (results/folds/DATASET/K.json)")

    verb = verbs.add(
        "check",
        do_check,
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
        do_shard,
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

    verb = verbs.add("train", do_train, "Train the network of an experiment on its shards.", "experiment")
    verb.add_argument("--train-shards", **many, help="shards to train on")
    verb.add_argument("--validation-shards", **many, help="shards to choose the best epoch on")
    verb.add_argument("--folds", **table)
    verb.add_argument("--output", **out, help="folder (results/models/EXPERIMENT)")
    verb.add_argument(
        "--memory-mb",
        type=int,
        metavar="MB",
        help="main memory that samples may fill (half of what is free, or a third of what a cluster leaves to the job)",
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
        do_augmented,
        "Draw training samples as the network gets to see them, to look at first.",
        "experiment",
    )
    verb.add_argument("--train-shards", **many, help="shards of the training samples")
    verb.add_argument("--validation-shards", **many, help="of a fold, the shards that the rest of them lie in")
    verb.add_argument("--folds", **table)
    verb.add_argument("--output", **out, help="PNG file (results/models/EXPERIMENT/augmented.png)")
    verb.add_argument("--note", default="", help="what else the caption says")

    verb = verbs.add("curves", do_curves, "Draw loss and score over the epochs.", "experiment", configured=False)
    verb.add_argument("--history", **out, help="history.csv of the training")
    verb.add_argument("--output", **out, help="PNG file (results/models/EXPERIMENT/curves.png)")
    verb.add_argument("--note", default="", help="what else the title says")

    verb = verbs.add(
        "tensorboard",
        do_tensorboard,
        "Write the history of a training for TensorBoard, which the extra [tensorboard] installs.\n\n"
        "With --follow also of one that is running, epoch by epoch, until it has ended:\n\n"
        "  python -m pipeline tensorboard --experiment drive-unet --follow &\n"
        "  tensorboard --logdir results/tensorboard",
        "experiment",
        configured=False,
    )
    verb.add_argument("--history", **out, help="history.csv of the training")
    verb.add_argument("--output", **out, help="file of events (results/tensorboard/EXPERIMENT/events.out...)")
    verb.add_argument("--follow", action="store_true", help="write on while the training runs")
    verb.add_argument(
        "--every",
        type=int,
        default=10,
        choices=range(1, 3601),
        metavar="SECONDS",
        help="with --follow, seconds between two looks (10)",
    )

    verb = verbs.add(
        "predict",
        do_predict,
        "Predict every sample of a split, or any other pictures, at native size.\n\n"
        "A folder of pictures that belong to no data set, or a single one, needs no configuration; the results are\n"
        "probability/, mask/, overlay/, cutout/ (the background transparent) and timing.csv:\n\n"
        "  python -m pipeline predict --checkpoint best.pt --input my-pictures --output my-results",
    )
    verb.add_argument("--experiment", help="name of the experiment")
    verb.add_argument("--split", choices=SPLITS, help="which samples")
    verb.add_argument("--checkpoint", **out, help="checkpoint (results/models/EXPERIMENT/best.pt)")
    verb.add_argument("--shards", **many, help="shards of the split")
    verb.add_argument("--train-shards", **many, help="of a fold, the shards that the rest of it lies in")
    verb.add_argument("--folds", **table)
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
        "ensemble",
        do_ensemble,
        "Average what all runs of an experiment with `seeds` or `folds` predict; no network is run.\n\n"
        "Out-of-fold: each sample that is no test sample, by the runs whose fold it belongs to: they have not seen it.",
        "experiment",
        "split",
    )
    verb.add_argument("--predictions", **many, help="probabilities of each run, in the order of the names of the runs")
    verb.add_argument("--folds", **table)
    verb.add_argument("--output", **out, help="folder (results/predictions/EXPERIMENT.ensemble/SPLIT/KIND)")
    verb.add_argument(
        "--kind",
        choices=("probability", "mask"),
        help="probabilities, or class indices (probability for two classes, mask for more)",
    )
    verb.add_argument(
        "--threads", type=int, default=1, choices=range(1, 257), metavar="N", help="pictures averaged at a time (1)"
    )

    verb = verbs.add(
        "baseline",
        do_baseline,
        "Write a baseline that needs no training as if it were predictions: the second human observer's masks,\n"
        "zeros, or the masks resized to the working size of the data set and back.",
        "dataset",
        "split",
    )
    verb.add_argument("--kind", choices=BASELINES, required=True, help="which of them")
    verb.add_argument("--output", **out, help="folder (results/predictions/DATASET.KIND/SPLIT/probability)")

    verb = verbs.add(
        "threshold", do_threshold, "Choose the threshold of an experiment on its validation samples.", "experiment"
    )
    verb.add_argument("--predictions", **out, help="probabilities of the validation samples")
    verb.add_argument("--output", **out, help="JSON file (results/predictions/EXPERIMENT/threshold.json)")

    verb = verbs.add(
        "render",
        do_render,
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
        do_evaluate,
        "Score predictions against the native masks: per_image.csv, summary.csv and intervals.csv; of two classes\n"
        "curve.csv, of several classes confusion.csv and confusion.png as well.\n\n"
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
        do_submission,
        "Write the predictions of the unlabelled samples as the challenge of DRIVE or TGS takes them.",
        "experiment",
    )
    verb.add_argument("--predictions", **out, help="probabilities of the unlabelled samples")
    verb.add_argument("--threshold", **out, help="file that the verb `threshold` wrote")
    verb.add_argument("--output", **out, help="folder (results/predictions/EXPERIMENT/unlabelled/submission)")

    verb = verbs.add(
        "average",
        do_average,
        "Average the scores of an experiment over its seeds and folds: mean and sample standard deviation.",
        "experiment",
    )
    verb.add_argument("--summaries", **many, help="summary.csv of each run, in the order of the runs")
    verb.add_argument("--output", **out, help="CSV file (results/metrics/EXPERIMENT/summary.csv)")

    verb = verbs.add(
        "comparisons",
        do_comparisons,
        "Compare all experiments and baselines, pair by pair, on the test pictures that they share: mean difference,\n"
        "its bootstrap interval, and the p-value of a sign-flip test, corrected for the number of comparisons.",
    )
    verb.add_argument("--per-image", **many, help="per_image.csv of each (all that are there)")
    verb.add_argument("--output", **out, help="CSV file (results/comparisons.csv)")

    verb = verbs.add(
        "compare",
        do_compare,
        "Print the scores of experiments side by side, best first, with intervals, and the difference of each to the\n"
        "best one with its p-value, corrected for the number of comparisons.\n\n"
        "Reads results/leaderboard.csv, comparisons.csv and metrics/*/intervals.csv.\n\n"
        "  python -m pipeline compare drive-unet drive-crops --metric iou",
        configured=False,
    )
    verb.add_argument("names", nargs="*", metavar="EXPERIMENT", help="which of them (all)")
    verb.add_argument("--metric", default="f1", help="column of summary.csv to rank by (f1)")
    verb.add_argument("--dataset", metavar="NAME", help="data set (all of them)")
    verb.add_argument("--split", choices=SCORED, default="test", help="which samples (test)")
    verb.add_argument("--region", choices=("fov", "full"), help="region (the field of view where there is one)")
    verb.add_argument(
        "--averaging", choices=("macro", "micro"), default="macro", help="over pictures or pixels (macro)"
    )
    verb.add_argument("--class", dest="class_name", metavar="NAME", help="class (the mean over foreground classes)")
    verb.add_argument("--format", choices=("text", "csv", "json"), default="text", help="form of the table (text)")

    verb = verbs.add("leaderboard", do_leaderboard, "Join the summaries of all experiments into leaderboard.csv.")
    verb.add_argument("--summaries", **many, help="summary.csv files")
    verb.add_argument("--checks", **many, help="results/check/DATASET.json files, for the column `leak`")
    verb.add_argument("--output", **out, help="CSV file (results/leaderboard.csv)")

    verb = verbs.add(
        "report",
        do_report,
        "Write the page about all data sets, experiments and scores: one HTML file that needs nothing else.\n\n"
        "It shows what it finds under results/: pictures, learning curves and times that are not there are left out.",
    )
    verb.add_argument("--leaderboard", **out, help="table of all scores (results/leaderboard.csv)")
    verb.add_argument("--intervals", **many, help="intervals.csv files (those under results/metrics/)")
    verb.add_argument("--comparisons", **out, help="paired comparisons (results/comparisons.csv, where it is there)")
    verb.add_argument("--output", **out, help="HTML file (results/report.html)")

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
