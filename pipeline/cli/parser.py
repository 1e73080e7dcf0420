"""What the verbs of the command line share: kinds of arguments, and options that many of them have."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.cli.arguments import Arguments
from pipeline.raw.splits.names import OUT_OF_FOLD, SPLITS, UNLABELLED

_FROM_RESULTS = frozenset(
    {"train", "augmented", "predict", "ensemble", "threshold", "render", "evaluate", "submission"}
)
"""Verbs whose inputs are results themselves, and say what they were made by."""

_OF_ENSEMBLES = frozenset({"ensemble", "render"})
"""Verbs that work on out-of-fold predictions as on those of a split."""

PREDICTED = (*SPLITS, OUT_OF_FOLD)
SCORED = tuple(split for split in PREDICTED if split != UNLABELLED)

OUT: dict[str, Any] = {"type": Path, "metavar": "PATH"}
MANY: dict[str, Any] = {"type": Path, "nargs": "*", "metavar": "FILE"}

TABLE: dict[str, Any] = {
    "type": Path,
    "nargs": "?",
    "metavar": "FILE",
    "help": "table of folds (results/folds/DATASET/K.json)",
}
"""Rules name none where the experiment has no folds."""


def split_folder(text: str) -> tuple[str, Path]:
    """Read ``SPLIT=FOLDER``."""
    split, equals, folder = text.partition("=")
    if not equals or split not in SCORED or not folder:
        raise argparse.ArgumentTypeError(f"{text!r} is not SPLIT=FOLDER, such as test=my-predictions")
    return split, Path(folder)


def number_or_file(text: str) -> float | Path:
    """Read a threshold in [0, 1), or the path of a file that holds one."""
    try:
        value = float(text)
    except ValueError:
        return Path(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"a threshold of {text} is outside [0, 1)")
    return value


class Verbs:
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
