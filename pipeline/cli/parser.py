"""The parser of the command line: its help, and errors that name the usage of the command and the nearest option."""

import argparse
import shutil
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, NoReturn

from pipeline.cli import export, prepare, score, tools, train  # noqa: F401 - they declare the commands
from pipeline.cli.commands import COMMANDS, PROGRAM, Arguments, Command, format_examples, wrap

if TYPE_CHECKING:
    _CommandAction = argparse._SubParsersAction[argparse.ArgumentParser]

SECTIONS = {
    "raw data": ("synthetic", "unpack", "mosaics", "check", "splits", "folds", "shard"),
    "training": ("augmented", "train", "curves", "tensorboard"),
    "prediction": ("predict", "ensemble", "baseline", "threshold", "render", "submission", "export"),
    "evaluation": ("evaluate", "average", "comparisons", "compare", "leaderboard"),
    "report": ("report", "results"),
    "maintenance": ("explain", "clean", "verify-run", "declare-equal", "models", "schema", "completion"),
}
"""The commands by section, in the order in which data pass through the pipeline."""

SUMMARY = """Image segmentation from raw files to trained networks, masks, scores and one
report: each command does one step, and `snakemake` does all of them in order."""
EXAMPLES = (
    "synthetic",
    "check --dataset drive",
    "predict --checkpoint best.pt --input images --output out",
)
DOCUMENTATION = (
    "Options of a command: `python -m pipeline COMMAND --help`, or docs/commands.md for all. "
    "Keys of config.yaml: docs/configuration.md. First steps: README.md."
)


def sections() -> dict[str, list[Command]]:
    """Return the commands by section."""
    by_name = {command.name: command for command in COMMANDS}
    return {section: [by_name[name] for name in names] for section, names in SECTIONS.items()}


class _Parser(argparse.ArgumentParser):
    """A parser that explains why a required path seems to be missing after an option such as --config."""

    def error(self, message: str) -> NoReturn:
        """Print the usage and the message, and exit with status 2."""
        names = [str(action.metavar) for action in self._actions if action.required and not action.option_strings]
        lists = [flag for action in self._actions if action.nargs == "+" for flag in action.option_strings]
        if "arguments are required" in message and lists and any(name in message for name in names):
            message += f"; name {' '.join(names)} before {', '.join(lists)}, or after `--`"
        super().error(message)


def build_parser(program: str, members: Iterable[Command]) -> tuple[argparse.ArgumentParser, "_CommandAction"]:
    """Return the parser of the command line with some commands, and its action with the parser of each command."""
    width = shutil.get_terminal_size().columns - 2
    parser: argparse.ArgumentParser = _Parser(
        prog=program,
        usage="%(prog)s COMMAND [options]",
        description=f"{wrap(SUMMARY, width)}\n\n{_list_commands()}",
        epilog=f"{wrap(DOCUMENTATION, width)}\n\n{format_examples(EXAMPLES, width)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    action = parser.add_subparsers(metavar="COMMAND", required=True, help=argparse.SUPPRESS, prog=program)
    for command in members:
        command.add_to(action)
    return parser, action


def parse(words: Sequence[str]) -> Arguments:
    """Parse a command line.

    Parameters
    ----------
    words : sequence of str
        Without the program.

    Raises
    ------
    SystemExit
        After `--help`, with status 0. With status 2 after a mistake: the usage of the command is on standard error,
        with the nearest command or option where one was misspelled.
    """
    command = next((command for command in COMMANDS if [command.name] == [*words[:1]]), None)
    parser, action = build_parser(PROGRAM, [command] if command else [])
    if command is None:
        if words and not words[0].startswith("-"):
            parser.error(f"unknown command {words[0]}{_nearest(words[0], [command.name for command in COMMANDS])}")
        return parser.parse_args(words)
    command_parser = action.choices[command.name]
    flags = ["--help", *(option.flag for option in command.options)]
    if unknown := next(_unknown_options(words[1:], flags), None):
        command_parser.error(f"unknown option {unknown}{_nearest(unknown, flags)}")
    arguments, extra = parser.parse_known_args(words)
    if extra:
        command_parser.error(f"unexpected arguments: {' '.join(extra)}")
    return arguments


def _list_commands() -> str:
    """Return the sections with a line for each command."""
    lines = []
    for section, members in sections().items():
        lines += [f"{section}:", *(f"  {command.name:<15}{command.summary}" for command in members), ""]
    return "\n".join(lines).rstrip()


def _unknown_options(words: Sequence[str], flags: Sequence[str]) -> Iterator[str]:
    """Yield options that are none of the flags; argparse accepts the beginning of a flag as well."""
    for word in takewhile(lambda word: word != "--", words):
        name = word.partition("=")[0]
        if name.startswith("--") and not any(flag.startswith(name) for flag in flags):
            yield name


def _nearest(word: str, known: Sequence[str]) -> str:
    import difflib  # only after a mistake

    nearest = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {nearest[0]}?" if nearest else ""
