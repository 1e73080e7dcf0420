"""Declaration of commands: their options, examples, and the function that each of them runs."""

import argparse
import inspect
import os
import re
import shutil
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.core.files import exists
from pipeline.core.options import expand_path
from pipeline.graph.base import Artifact

PROGRAM = "python -m pipeline"
Arguments = argparse.Namespace
Run = Callable[[Arguments], int | None]


class Group(NamedTuple):
    """A group of options in the help, with a note on all of them."""

    title: str
    note: str = ""


ARGUMENTS = Group("arguments")
SELECTION = Group("selection")
INPUTS = Group("inputs", "Default: the results of the configuration under results/.")
OUTPUT = Group("output")
RESOURCES = Group("resources")
CONFIGURATION = Group("configuration")
OPTIONS = Group("options")
_FIRST, _LAST = (ARGUMENTS, SELECTION), (INPUTS, OUTPUT, RESOURCES, CONFIGURATION, OPTIONS)


class Option(NamedTuple):
    """An option or a positional argument of a command.

    Parameters
    ----------
    flag : str
        Without dashes it is a positional argument.
    text : str
        Description, with the unit; `help` adds the default.
    group : Group
    default : str
        The default, as a value or as a description; empty for none.
    computed : bool
        Whether `default` is a description, because the default is computed.
    keywords : dict
        Further arguments of `argparse.ArgumentParser.add_argument`.
    """

    flag: str
    text: str
    group: Group
    default: str
    computed: bool
    keywords: dict[str, Any]

    @property
    def name(self) -> str:
        """Its name among the parsed arguments."""
        return self.flag.removeprefix("--").replace("-", "_")

    @property
    def required(self) -> bool:
        """Whether the command line must contain it."""
        return bool(self.keywords.get("required"))

    @property
    def help(self) -> str:
        """The description with the default."""
        suffix = " (required)" if self.required else f" (default: {self.default})" if self.default else ""
        return self.text + suffix

    @property
    def values(self) -> str:
        """The placeholder of its values, such as ``NAME``, ``[PATH ...]`` or ``{fov,full}``; empty for a switch."""
        if self.keywords.get("action") == "store_true":
            return ""
        metavar = self.keywords.get("metavar")
        if metavar is None:
            choices = self.keywords.get("choices")
            metavar = "{" + ",".join(choices) + "}" if choices else self.name.upper()
        if isinstance(metavar, tuple):
            return " ".join(metavar)
        repeated = {"*": "[{0} ...]", "+": "{0} [{0} ...]"}
        return repeated.get(self.keywords.get("nargs", ""), "{0}").format(metavar)


def option(flag: str, text: str, group: Group = OPTIONS, *, shown: str = "", **keywords: Any) -> Option:  # noqa: ANN401
    """Declare an option, or without dashes a positional argument.

    `shown` describes the default where it is computed; other keywords are those of argparse.
    """
    group = group if flag.startswith("--") else ARGUMENTS
    default = shown or str(keywords.get("default", ""))
    return Option(flag, text, group, default, " " in default, keywords)


def path_option(flag: str, text: str, group: Group = INPUTS, **keywords: Any) -> Option:  # noqa: ANN401
    """Declare an option that is a path."""
    return option(flag, text, group, **{"type": read_path, "metavar": "PATH", **keywords})


def read_path(text: str) -> Path:
    """Read a path; a shell replaces ``~`` at the start of a word only, not in ``--output=~/masks``."""
    return Path(expand_path(text))


def integer(low: int, high: int) -> Callable[[str], int]:
    """Return a function that reads a whole number within limits."""

    def read(text: str) -> int:
        if not text.isdecimal() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"expected a whole number from {low} to {high}, not {text!r}")
        return int(text)

    return read


def threshold_or_file(text: str) -> float | Path:
    """Read a threshold in [0, 1), or the path of a file that contains one."""
    try:
        value = float(text)
    except ValueError:
        path = read_path(text)
        if not exists(path):
            message = f"expected a number in [0, 1), or an existing file with one, not {text!r}"
            raise argparse.ArgumentTypeError(message) from None
        return path
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"expected a threshold in [0, 1), not {text}")
    return value


CONFIG = path_option(
    "--config",
    "configuration files; later ones override earlier ones",
    CONFIGURATION,
    shown="config.yaml",
    nargs="+",
    metavar="FILE",
)
_PLAN = option(
    "--plan",
    "plan of the job as JSON, in place of --config; passed by the Snakemake rules",
    CONFIGURATION,
    metavar="JSON",
)
FIELD_OPTIONS = {
    "dataset": option("--dataset", "name of the data set", SELECTION, metavar="NAME"),
    "experiment": option("--experiment", "name of the experiment", SELECTION, metavar="NAME"),
    "split": option("--split", "split of the samples", SELECTION),
    "kind": option("--kind", "kind of the result", SELECTION),
    "number": option("--number", "number of the shard, from 0", SELECTION, type=int, metavar="N"),
    "folds": option("--folds", "number of folds, 2 to 1000", SELECTION, type=integer(2, 1000), metavar="K"),
}
_STORE = option(
    "--store-gb",
    "limit in gigabytes for shards and checkpoints of earlier settings in results/store; 0 keeps none",
    RESOURCES,
    shown="`store_gb` of the configuration",
    type=float,
    metavar="GB",
)


def threads_option(text: str, group: Group = RESOURCES, **keywords: Any) -> Option:  # noqa: ANN401
    """Declare the option for the number of threads, 1 to 256."""
    return option("--threads", text, group, **{"type": integer(1, 256), "metavar": "N", **keywords})


def threads_of(arguments: Arguments) -> int:
    """Return the number of threads on the command line, by default the number of cores."""
    return arguments.threads or os.cpu_count() or 1


class Command(NamedTuple):
    """A command.

    Parameters
    ----------
    name, text : str
        The first line of the text is the summary in the list of commands.
    options : tuple of Option
    run : callable
        Runs it with the parsed arguments; returns the exit status, or None for 0.
    examples : tuple of str
        Command lines, without the program.
    """

    name: str
    text: str
    options: tuple[Option, ...]
    run: Run
    examples: tuple[str, ...]

    @property
    def summary(self) -> str:
        """The first line of the text, without the full stop."""
        return self.text.split("\n")[0].rstrip(".")

    @property
    def details(self) -> str:
        """The text without the summary."""
        return self.text.partition("\n")[2].strip()

    @property
    def usage(self) -> str:
        """The command with its required arguments, such as ``splits --dataset NAME [options]``."""
        required = [f"{option.flag} {option.values}" for option in self.options if option.required]
        positional = [option.values for option in self.options if option.group is ARGUMENTS]
        return " ".join([self.name, *positional, *required, "[options]"])

    def wrapped_usage(self, width: int) -> str:
        """Return the usage with the program, wrapped between options."""
        parts = [PROGRAM, *re.split(r" (?=--|\[)", self.usage)]
        lines = textwrap.wrap(" ".join(part.replace(" ", "\xa0") for part in parts), width, break_on_hyphens=False)
        return ("\n" + " " * 9).join(lines).replace("\xa0", " ")

    def groups(self) -> dict[Group, list[Option]]:
        """Return its options by group, in the order of the help."""
        groups = dict.fromkeys(option.group for option in self.options)
        own = [group for group in groups if group not in (*_FIRST, *_LAST)]
        ordered = [group for group in (*_FIRST, *own, *_LAST) if group in groups]
        return {group: [option for option in self.options if option.group == group] for group in ordered}

    def add_to(self, commands: Any) -> None:  # noqa: ANN401 - argparse does not name the type
        """Add it to the subparsers of a parser."""
        width = shutil.get_terminal_size().columns - 2
        parser = commands.add_parser(
            self.name,
            help=self.summary,
            usage=self.wrapped_usage(width - 9),
            description=wrap(self.text, width),
            epilog=format_examples(self.examples, width),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            add_help=False,
        )
        parser.set_defaults(run=self.run)
        groups = self.groups()
        for group in (*groups, *([] if OPTIONS in groups else [OPTIONS])):
            section = parser.add_argument_group(group.title, group.note or None)
            for declared in groups.get(group, []):
                section.add_argument(declared.flag, help=declared.help.replace("%", "%%"), **declared.keywords)
        section.add_argument("-h", "--help", action="help", help="show this help and exit")


def wrap(text: str, width: int) -> str:
    """Wrap the paragraphs of a text; an indented block keeps its lines."""
    paragraphs = text.split("\n\n")
    return "\n\n".join(
        block if block.startswith(" ") else textwrap.fill(block, width, break_on_hyphens=False) for block in paragraphs
    )


def format_examples(examples: Sequence[str], width: int) -> str:
    """Return the section with examples; a long command line continues after a backslash."""
    lines = ["examples:"]
    for example in examples:
        line = f"  {PROGRAM}"
        *parts, last = re.split(r" (?=--)", example)
        for part in (*parts, last):
            if len(f"{line} {part}") > (width if part is last else width - 2):
                lines.append(f"{line} \\")
                line = "     "
            line += f" {part}"
        lines.append(line)
    return "\n".join(lines)


COMMANDS: list[Command] = []
"""All commands, in the order in which they were declared."""


def command(*options: Option, examples: Sequence[str]) -> Callable[[Run], Run]:
    """Declare a command: its name is that of the function that runs it, its text the docstring."""

    def declare(run: Run) -> Run:
        name = run.__name__.replace("_", "-")
        COMMANDS.append(Command(name, inspect.getdoc(run) or "", options, run, tuple(examples)))
        return run

    return declare


def result_command(kind: type[Artifact], *options: Option, examples: Sequence[str]) -> Callable[[Run], Run]:
    """Declare a command that makes a kind of result, with options for its fields, its inputs and its plan.

    An option in `options` replaces the default option of a field, an input or the output of the same name.
    """
    declared = {option.name for option in options}
    fields = [_field_option(kind, field) for field in kind.fields() if field not in declared]
    inputs = [
        path_option(f"--{name.replace('_', '-')}", text, nargs="*")
        for name, text in kind.input_descriptions.items()
        if name not in declared
    ]
    destination = kind.example("<{}>").destination
    written = "file to write" if destination.suffix else "folder to write to"
    outputs = [path_option("--output", written, OUTPUT, shown=str(destination))] * ("output" not in declared)
    store = [_STORE] if kind.stored else []
    return command(*fields, *inputs, *options, *outputs, *store, CONFIG, _PLAN, examples=examples)


def _field_option(kind: type[Artifact], field: str) -> Option:
    declared = FIELD_OPTIONS[field]
    choices = {"choices": kind.choices[field]} if field in kind.choices else {}
    return declared._replace(keywords={**declared.keywords, "required": True, **choices})
