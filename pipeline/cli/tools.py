"""Commands that look after the folder of results, and tell what there is."""

import sys
from pathlib import Path

from pipeline.cli.commands import PATH, Arguments, Commands, add_config
from pipeline.cli.job import open_study
from pipeline.core import paths
from pipeline.core.errors import OutputError

_LOCKS = Path(".snakemake/locks")


def clean(commands: Commands) -> None:
    """Declare `clean`."""
    parser = commands.add(
        "clean",
        _clean,
        "List what under results/ no configured data set or experiment needs, with its size, and remove it.\n\n"
        "Old experiments, data sets that are gone, shards that no sample stands in, remains of killed jobs. On a\n"
        "terminal it asks first; elsewhere it removes nothing without --yes. Links are never followed. Name with\n"
        "--config every file whose results are to stay.",
    )
    add_config(parser)
    parser.add_argument("--yes", action="store_true", help="remove without asking")


def _clean(arguments: Arguments) -> None:
    """List what is not needed, and remove it if that is wanted.

    Raises
    ------
    OutputError
        If a workflow runs in this folder, or something cannot be removed.
    """
    from rich.filesize import decimal

    from pipeline.graph.clean import remove, survey

    found = survey(open_study(arguments))
    for one in found.unneeded:
        print(f"{decimal(one.bytes):>10}  {_printable(one.path)}  ({one.reason})")
    for path, reason in found.left_alone:
        print(f"left alone  {_printable(path)}  ({reason})")
    if not found.unneeded:
        print(f"{paths.RESULTS}/ holds nothing that is not needed")
        return
    count, total = len(found.unneeded), decimal(sum(one.bytes for one in found.unneeded))
    print(f"{total:>10}  in {count} {'places' if count > 1 else 'place'} that nothing configured needs")
    if not arguments.yes and not _agreed():
        print("Nothing was removed. `python -m pipeline clean --yes` with the same --config removes all of this.")
        return
    if _LOCKS.is_dir() and any(_LOCKS.iterdir()):
        raise OutputError(
            str(_LOCKS),
            "a lock: a workflow runs in this folder, or one was killed",
            "no workflow at work",
            "wait for it; if none runs, `snakemake --unlock`, then clean again",
        )
    remove(paths.RESULTS, found.unneeded)
    print(f"Removed {total}.")


def _printable(path: Path) -> str:
    return str(path) if str(path).isprintable() else ascii(str(path))


def _agreed() -> bool:
    if not sys.stdin.isatty():
        return False
    try:
        return input("Remove all of this? Type yes: ").strip() == "yes"
    except EOFError:
        return False


def explain(commands: Commands) -> None:
    """Declare `explain`."""
    parser = commands.add(
        "explain",
        _explain,
        "Tell where a result comes from, and whether it is what today's configuration and code would make.\n\n"
        "Shards, networks, predictions and single pictures of them, thresholds, scores, the leaderboard: what it is,\n"
        "which stage made it by which settings, code and libraries, from what, and what differs by now.\n\n"
        "  python -m pipeline explain results/predictions/drive-unet/test/mask/01.png",
    )
    parser.add_argument("path", type=Path, metavar="PATH", help="file or folder under results/")
    add_config(parser)


def _explain(arguments: Arguments) -> None:
    from pipeline.graph.explain import explain

    explain(open_study(arguments), arguments.path)


def verify_run(commands: Commands) -> None:
    """Declare `verify-run`."""
    parser = commands.add(
        "verify-run",
        _verify_run,
        "Compare the results of two runs byte for byte: shards, checkpoints, predictions, scores.\n\n"
        "Says what was left out (times, logs, the report), the first difference and how many files differ. The exit\n"
        "status is 0 where nothing differs.\n\n"
        "  python -m pipeline verify-run results ../other-clone/results",
    )
    parser.add_argument("first", type=Path, metavar="A", help="folder of results")
    parser.add_argument("second", type=Path, metavar="B", help="another one")
    parser.add_argument(
        "--values-only",
        action="store_true",
        help="compare tensors, pixels and tables alone",
    )


def _verify_run(arguments: Arguments) -> int:
    from pipeline.tools.verify import as_text, compare_runs

    result = compare_runs(arguments.first, arguments.second, values_only=arguments.values_only)
    print(as_text(result, arguments.first, arguments.second), flush=True)
    return int(bool(result.differences))


def models(commands: Commands) -> None:
    """Declare `models`."""
    text = "Print the published networks: parameters, size, operations for one picture, shapes."
    commands.add("models", _models, text)


def _models(arguments: Arguments) -> None:
    from pipeline.models.published import print_models

    print_models()


def schema(commands: Commands) -> None:
    """Declare `schema`."""
    parser = commands.add("schema", _schema, "Write the JSON schema of config.yaml.")
    default = Path("workflow/schemas/config.schema.json")
    parser.add_argument("--output", **PATH, default=default, help=f"JSON file ({default})")


def _schema(arguments: Arguments) -> None:
    from pipeline.config.config import schema
    from pipeline.core.files import write_json

    write_json(arguments.output, schema())


COMMANDS = (clean, explain, verify_run, models, schema)
