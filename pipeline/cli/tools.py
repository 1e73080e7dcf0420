"""Commands that look after the folder of results, and tell what there is."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.cli.commands import CONFIG, Arguments, command, option, path
from pipeline.cli.job import open_study
from pipeline.core import paths
from pipeline.core.errors import OutputError

_LOCKS = Path(".snakemake/locks")
_SCHEMA = Path("workflow/schemas/config.schema.json")


@command(
    CONFIG,
    option("--outdated", "of what is configured, what is not what would be made today", action="store_true"),
    option("--yes", "remove without asking", action="store_true"),
)
def clean(arguments: Arguments) -> None:
    """List what under results/ no configured data set or experiment needs, with its size, and remove it.

    Old experiments, data sets that are gone, shards that no sample stands in, remains of killed jobs, shards and
    networks that are kept of earlier settings. With --outdated instead the results of what is configured that were
    edited, or made by other settings, code or raw files; snakemake makes them again.

    On a terminal it asks first; elsewhere it removes nothing without --yes. Links are never followed. Name with
    --config every file whose results are to stay.
    """
    from rich.filesize import decimal

    from pipeline.graph.clean import outdated, remove, survey

    found = (outdated if arguments.outdated else survey)(open_study(arguments))
    for one in found.unneeded:
        print(f"{decimal(one.bytes):>10}  {_printable(one.path)}  ({one.reason})")
    for left, reason in found.left_alone:
        print(f"left alone  {_printable(left)}  ({reason})")
    if not found.unneeded:
        print(f"{paths.RESULTS}/ holds nothing that is {'outdated' if arguments.outdated else 'not needed'}")
        return
    count, total = len(found.unneeded), decimal(sum(one.bytes for one in found.unneeded))
    why = "to be made again" if arguments.outdated else "that nothing configured needs"
    print(f"{total:>10}  in {count} {'places' if count > 1 else 'place'} {why}")
    if not arguments.yes and not _agreed():
        print("Nothing was removed. The same command with --yes removes all of this.")
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


@command(
    path("path", "file or folder under results/"),
    CONFIG,
    option("--thorough", "read the bytes of results and raw files", action="store_true"),
)
def explain(arguments: Arguments) -> None:
    """Tell where a result comes from, and whether it is what today's configuration and code would make.

    Shards, networks, predictions and single images of them, thresholds, scores, the leaderboard: what it is,
    which stage made it by which settings, code and libraries, from what, and what differs by now. Manifests and
    kept digests are compared, and the bytes of tables; with --thorough all bytes.

      python -m pipeline explain results/predictions/drive-unet/test/mask/01.png
    """
    from pipeline.graph.explain import explain

    explain(open_study(arguments), arguments.path)


@command(
    path("first", "folder of results", metavar="A"),
    path("second", "another one", metavar="B"),
    option("--values-only", "compare tensors, pixels and tables alone", action="store_true"),
)
def verify_run(arguments: Arguments) -> int:
    """Compare the results of two runs byte for byte: shards, checkpoints, predictions, scores.

    Says what was left out (times, logs, the report), the first difference and how many files differ. The exit
    status is 0 where nothing differs.

      python -m pipeline verify-run results ../other-clone/results
    """
    from pipeline.tools.verify import as_text, compare_runs

    result = compare_runs(arguments.first, arguments.second, values_only=arguments.values_only)
    print(as_text(result, arguments.first, arguments.second), flush=True)
    return int(bool(result.differences))


@command(
    option("--against", "commit, tag or branch that gave the same", required=True, metavar="REV"),
    path("--config", "configuration to run (config.yaml)", nargs="+", metavar="FILE"),
)
def declare_equal(arguments: Arguments) -> int:
    """Declare a refactoring equal: what an earlier version made stays, and does not run again.

    Runs the configuration on the synthetic data with the code of REV and with the code that is here, and compares
    tensors, pixels and tables. Where nothing differs, pipeline/core/equal.json gets an entry, to be committed with
    the refactoring: changed modules then count as what they were, until they are edited again. Modules that nothing
    of this ran are named, and count as changed.

      python -m pipeline declare-equal --against origin/main
    """
    from pipeline.tools.equal import ROOT, declare
    from pipeline.tools.verify import as_text

    made = declare(arguments.against, arguments.config or [ROOT / "config.yaml"], _compared_stages)
    print(as_text(made.comparison, Path("earlier"), Path("here")))
    if made.comparison.differences:
        print("Not declared equal: results differ.")
        return 1
    for module in made.modules:
        print(f"declared equal: {module}")
    for module in made.not_run:
        print(f"counts as changed: {module}, which nothing ran whose results were compared")
    for stage in made.run_again:
        print(f"runs again all the same: {stage}, whose modules import others than before")
    return 0 if made.modules else 1


def _compared_stages(configs: Sequence[Path]) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield the stages of all results of a configuration but the report, which `verify-run` leaves out."""
    from pipeline.config.config import load
    from pipeline.graph.artifacts import Comparisons, Leaderboard
    from pipeline.graph.base import with_inputs
    from pipeline.graph.study import Study
    from pipeline.graph.targets import of_all

    study = Study(load(list(configs)))
    results = [one for target in ("shards", "models", "predictions", "metrics") for one in of_all(study, target)]
    for artifact in with_inputs([*results, Comparisons(), Leaderboard()], study):
        yield artifact.stage.name, frozenset({artifact.stage.module, *artifact.recipe(study).modules()})


@command()
def models(arguments: Arguments) -> None:
    """Print the published networks: parameters, size, operations for one image, shapes."""
    from pipeline.models.published import print_models

    print_models()


@command(path("--output", f"JSON file ({_SCHEMA})", default=_SCHEMA))
def schema(arguments: Arguments) -> None:
    """Write the JSON schema of config.yaml."""
    from pipeline.config.config import schema
    from pipeline.core.tables import write_json

    write_json(arguments.output, schema())
