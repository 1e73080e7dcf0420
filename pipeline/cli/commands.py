"""How a command is declared: its options, and the function that carries it out."""

import argparse
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.graph.base import Artifact

Arguments = argparse.Namespace
Run = Callable[[Arguments], int | None]


class Option(NamedTuple):
    """An option or a positional argument of a command: what `argparse.ArgumentParser.add_argument` takes."""

    flag: str
    keywords: dict[str, Any]

    @property
    def name(self) -> str:
        """Its name among the arguments."""
        return self.flag.removeprefix("--").replace("-", "_")


def option(flag: str, text: str, **keywords: Any) -> Option:  # noqa: ANN401 - as argparse takes them
    """Declare an option, or without dashes a positional argument."""
    return Option(flag, {"help": text, **keywords})


def path(flag: str, text: str, **keywords: Any) -> Option:  # noqa: ANN401 - as argparse takes them
    """Declare an option that is a path."""
    return option(flag, text, **{"type": Path, "metavar": "PATH", **keywords})


def number_or_file(text: str) -> float | Path:
    """Read a threshold in [0, 1), or the path of a file that holds one."""
    try:
        value = float(text)
    except ValueError:
        return Path(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"a threshold of {text} is outside [0, 1)")
    return value


CONFIG = path("--config", "configuration, later files over earlier ones", nargs="+", metavar="FILE")
FIELDS = {
    "dataset": option("--dataset", "name of the data set"),
    "experiment": option("--experiment", "name of the experiment"),
    "split": option("--split", "which samples"),
    "kind": option("--kind", "which of them"),
    "number": option("--number", "number of the shard, from 0", type=int),
    "folds": option("--folds", "how many, 2 to 1000", type=int, choices=range(2, 1001), metavar="K"),
}
_STORE = option("--store-gb", "gigabytes kept of earlier results, 0 for none (`store_gb`)", type=float, metavar="GB")
THREADS: dict[str, Any] = {"type": int, "choices": range(1, 257), "metavar": "N"}


class Command(NamedTuple):
    """A command.

    Parameters
    ----------
    name, text : str
        The first line of the text is what the list of commands says of it.
    options : tuple of Option
    run : callable
        Carries it out with the arguments; returns the exit status, or None for 0.
    """

    name: str
    text: str
    options: tuple[Option, ...]
    run: Run

    def add_to(self, group: Any) -> None:  # noqa: ANN401 - argparse does not name the type
        """Add it to the subparsers of a parser."""
        formatter = argparse.RawDescriptionHelpFormatter
        head = self.text.split("\n")[0]
        parser = group.add_parser(self.name, help=head, description=self.text, formatter_class=formatter)
        parser.set_defaults(run=self.run)
        for flag, keywords in self.options:
            parser.add_argument(flag, **keywords)


COMMANDS: list[Command] = []
"""All commands, in the order in which they were declared."""


def command(*options: Option) -> Callable[[Run], Run]:
    """Declare a command that a function carries out: its name is that of the function, its text the docstring."""

    def declare(run: Run) -> Run:
        COMMANDS.append(Command(run.__name__.replace("_", "-"), inspect.getdoc(run) or "", options, run))
        return run

    return declare


def making(kind: type[Artifact], *options: Option) -> Callable[[Run], Run]:
    """Declare a command that makes a kind of result: with options for its fields, its plan and what it is made from.

    Of the fields and parts, `options` may declare some in another way.
    """
    declared = {one.name for one in options}
    fields = [_field(kind, field) for field in kind.fields() if field not in declared]
    parts = [path(f"--{part.replace('_', '-')}", text, nargs="*") for part, text in kind.parts.items()]
    return command(
        CONFIG,
        option("--plan", "by what to make it, in place of --config, as rules pass it", metavar="JSON"),
        *(one for one in (*fields, *parts) if one.name not in declared),
        *([_STORE] if kind.kept else []),
        *options,
        path("--output", f"what to write ({kind.example('<{}>').place})"),
    )


def _field(kind: type[Artifact], field: str) -> Option:
    flag, keywords = FIELDS[field]
    choices = {"choices": kind.choices[field]} if field in kind.choices else {}
    return Option(flag, {"required": True, **choices, **keywords})
