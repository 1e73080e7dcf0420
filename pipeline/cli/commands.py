"""What the commands share: how they are declared, and the options of those that make a result."""

import argparse
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from pipeline.graph.artifacts.base import Artifact

Arguments = argparse.Namespace
Run = Callable[[Arguments], int | None]

PATH: dict[str, Any] = {"type": Path, "metavar": "PATH"}
THREADS: dict[str, Any] = {"type": int, "choices": range(1, 257), "metavar": "N"}

_FIELDS: dict[str, dict[str, Any]] = {
    "dataset": {"help": "name of the data set"},
    "experiment": {"help": "name of the experiment"},
    "split": {"help": "which samples"},
    "kind": {"help": "which of them"},
    "number": {"type": int, "help": "number of the shard, from 0"},
    "folds": {"type": int, "choices": range(2, 1001), "metavar": "K", "help": "how many, 2 to 1000"},
}


def number_or_file(text: str) -> float | Path:
    """Read a threshold in [0, 1), or the path of a file that holds one."""
    try:
        value = float(text)
    except ValueError:
        return Path(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"a threshold of {text} is outside [0, 1)")
    return value


class Commands:
    """Collects commands.

    Parameters
    ----------
    parser : ArgumentParser
    """

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._group = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(self, name: str, run: Run, text: str) -> argparse.ArgumentParser:
        """Add a command; the first line of its text is what the list of commands says of it."""
        formatter = argparse.RawDescriptionHelpFormatter
        parser = self._group.add_parser(name, help=text.split("\n")[0], description=text, formatter_class=formatter)
        parser.set_defaults(run=run)
        return parser

    def add_making(
        self, name: str, run: Run, text: str, kind: type[Artifact], *, optional: Collection[str] = ()
    ) -> argparse.ArgumentParser:
        """Add a command that makes a kind of result, with its options: what it is, by which plan, and from what.

        Parameters
        ----------
        name, run, text
            See `add`.
        kind : type of Artifact
        optional : collection of str
            Fields of the kind, and parts that it is made from, that the command declares by itself.
        """
        parser = self.add(name, run, text)
        add_config(parser)
        parser.add_argument("--plan", metavar="JSON", help="by what to make it, in place of --config, as rules pass it")
        for field in kind.fields():
            if field not in optional:
                choices = {"choices": kind.choices[field]} if field in kind.choices else {}
                parser.add_argument(f"--{field}", required=True, **{**_FIELDS[field], **choices})
        for part, words in kind.parts.items():
            if part not in optional:
                parser.add_argument(_option(part), type=Path, nargs="*", metavar="PATH", help=words)
        example: Any = {field: field.upper() for field in kind.fields()}
        parser.add_argument("--output", **PATH, help=f"what to write ({kind(**example).place})")
        return parser


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add the option that names configuration files."""
    parser.add_argument(
        "--config", type=Path, nargs="+", metavar="FILE", help="configuration, later files over earlier ones"
    )


def _option(part: str) -> str:
    return f"--{part.replace('_', '-')}"
