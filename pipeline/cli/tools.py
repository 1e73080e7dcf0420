"""Commands for maintenance: existing results, comparisons of runs, and reference pages."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.cli.commands import CONFIG, OUTPUT, Arguments, command, option, path_option, read_path
from pipeline.cli.job import open_study
from pipeline.core import paths
from pipeline.core.errors import OutputError, printable
from pipeline.core.options import tag_values
from pipeline.models.networks import NETWORKS

_LOCKS = Path(".snakemake/locks")
_SCHEMA = Path("workflow/schemas/config.schema.json")


@command(
    CONFIG,
    option("--outdated", "list outdated results of the configuration instead", action="store_true"),
    option("--yes", "remove without asking", action="store_true"),
    examples=["clean", "clean --outdated --config config/drive.yaml config/tgs.yaml"],
)
def clean(arguments: Arguments) -> None:
    """List results that are not needed and, after asking, remove them.

    Not needed are results of experiments and data sets that are not configured, shards without samples, leftovers of
    killed jobs, and stored shards and checkpoints of earlier settings. With --outdated, list instead the configured
    results that were edited or made with other settings, code or raw files; snakemake makes them again.

    Without a terminal, nothing is removed unless --yes is given. Links are not followed. Pass all configuration files
    whose results you want to keep to --config.
    """
    from rich.filesize import decimal

    from pipeline.graph.clean import find_outdated, find_unneeded, remove

    survey = (find_outdated if arguments.outdated else find_unneeded)(open_study(arguments))
    for item in survey.unneeded:
        print(f"{decimal(item.bytes):>10}  {printable(str(item.path))}  ({item.reason})")
    for path, reason in survey.skipped:
        print(f"skipped  {printable(str(path))}  ({reason})")
    if not survey.unneeded:
        print(f"{paths.RESULTS}/ holds nothing that is {'outdated' if arguments.outdated else 'not needed'}")
        return
    count, total = len(survey.unneeded), decimal(sum(item.bytes for item in survey.unneeded))
    reason = "outdated" if arguments.outdated else "not needed by the configuration"
    print(f"{total:>10}  in {count} {'places' if count > 1 else 'place'}, {reason}")
    if not arguments.yes and not _confirm():
        print("Nothing was removed. To remove all of this, add --yes.")
        return
    if _LOCKS.is_dir() and any(_LOCKS.iterdir()):
        raise OutputError(
            str(_LOCKS),
            "a lock: a workflow is running in this folder, or one was killed",
            "no running workflow",
            "wait until it ends; if none is running, run `snakemake --unlock` and clean again",
        )
    remove(paths.RESULTS, survey.unneeded)
    print(f"Removed {total}.")


def _confirm() -> bool:
    if not sys.stdin.isatty():
        return False
    try:
        return input("Remove all of this? Type yes: ").strip() == "yes"
    except EOFError:
        return False


@command(
    path_option("path", "file or folder under results/", metavar="PATH"),
    CONFIG,
    option("--thorough", "also read all bytes of results and raw files", action="store_true"),
    examples=["explain results/predictions/drive-unet/test/mask/01.png"],
)
def explain(arguments: Arguments) -> None:
    """Explain how a result was made, and whether it is up to date.

    Prints the stage, settings, code, libraries and inputs of a shard, checkpoint, image, threshold or table, and what
    has changed since it was made. Compares manifests and stored digests, and the bytes of tables.

    Name PATH before --config, or after `--`: --config takes all names that follow it.
    """
    from pipeline.graph.explain import explain

    explain(open_study(arguments), arguments.path)


@command(
    path_option("first", "folder of results", metavar="A"),
    path_option("second", "folder of results to compare with", metavar="B"),
    option("--values-only", "compare only tensors, pixels and tables", action="store_true"),
    examples=["verify-run results ../other-clone/results"],
)
def verify_run(arguments: Arguments) -> int:
    """Compare two results folders, file by file.

    Compares shards, checkpoints, predictions and scores. Prints what was left out (times, logs, the report), the first
    difference, and the number of files that differ. The exit status is 0 if nothing differs.
    """
    from pipeline.tools.verify import as_text, compare_runs

    result = compare_runs(arguments.first, arguments.second, values_only=arguments.values_only)
    print(as_text(result, arguments.first, arguments.second), flush=True)
    return int(bool(result.differences))


@command(
    option("--against", "commit, tag or branch before the refactoring", required=True, metavar="REV"),
    CONFIG,
    examples=["declare-equal --against origin/main"],
)
def declare_equal(arguments: Arguments) -> int:
    """Declare that a refactoring changes no results.

    Earlier results then stay valid and are not made again. The command runs the configuration on the synthetic data
    with the code of REV and with the current code, and compares tensors, pixels and tables. If nothing differs, it adds
    an entry to pipeline/core/equal.json; commit it with the refactoring. Changed modules that the comparison did not
    run are listed, and still count as changed.
    """
    from pipeline.tools.equal import ROOT, declare
    from pipeline.tools.verify import as_text

    declaration = declare(arguments.against, arguments.config or [ROOT / "config.yaml"], _compared_stages)
    print(as_text(declaration.comparison, Path("earlier"), Path("here")))
    if declaration.comparison.differences:
        print("Not declared equal: results differ.")
        return 1
    for module in declaration.modules:
        print(f"declared equal: {module}")
    for module in declaration.modules_not_run:
        print(f"counts as changed: {module}, because no stage of the comparison ran it")
    for stage in declaration.stages_to_rerun:
        print(f"will run again: {stage}, because its modules now import different modules")
    return 0 if declaration.modules else 1


def _compared_stages(configs: Sequence[Path]) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield the stages of all results of a configuration, without the report, which `verify-run` leaves out."""
    from pipeline.config.config import load
    from pipeline.graph.artifacts import Comparisons, Leaderboard
    from pipeline.graph.base import with_inputs
    from pipeline.graph.study import Study
    from pipeline.graph.targets import results_of_target

    study = Study(load(list(configs)))
    targets = ("shards", "models", "predictions", "metrics")
    results = [result for target in targets for result in results_of_target(study, target)]
    for artifact in with_inputs([*results, Comparisons(), Leaderboard()], study):
        yield artifact.stage.name, frozenset({artifact.stage.module, *artifact.recipe(study).modules()})


@command(
    option(
        "--layers",
        "print the layers of these networks instead; without a name, of all",
        nargs="*",
        metavar="NAME",
        choices=tag_values(NETWORKS, "name"),
        shown="a table of networks",
    ),
    examples=["models", "models --layers unet-small"],
)
def models(arguments: Arguments) -> None:
    """List the networks of the five tutorials.

    Prints the number of parameters, the size in megabytes, the operations for one image, and the shapes. With --layers,
    prints the layers of each network: name, type, output shape and parameters, and their totals.
    """
    from pipeline.models.published import print_layers, print_models

    if arguments.layers is None:
        print_models()
    else:
        print_layers(arguments.layers)


@command(
    path_option("--output", "JSON file to write", OUTPUT, default=_SCHEMA),
    path_option("--docs", "folder to write commands.md and configuration.md into", OUTPUT, shown="not written"),
    examples=["schema", "schema --docs docs"],
)
def schema(arguments: Arguments) -> None:
    """Write the JSON schema of config.yaml, and reference pages."""
    from pipeline.cli.reference import commands_page, configuration_page
    from pipeline.config.config import schema
    from pipeline.core.files import atomic_file
    from pipeline.core.tables import write_json

    write_json(arguments.output, schema())
    if arguments.docs is not None:
        for name, text in (("commands.md", commands_page()), ("configuration.md", configuration_page())):
            with atomic_file(arguments.docs / name) as temporary:
                temporary.write_text(text, encoding="utf-8")


@command(
    option("shell", "bash, zsh or tcsh", choices=("bash", "zsh", "tcsh"), metavar="SHELL"),
    examples=["completion bash"],
)
def completion(arguments: Arguments) -> None:
    """Print the script that completes `pipeline` in a shell.

    `pipeline` is the same program as `python -m pipeline`, installed beside `python`. The script completes commands,
    options and file names. To install it in bash:

        python -m pipeline completion bash > ~/.pipeline-completion
        echo 'source ~/.pipeline-completion' >> ~/.bashrc

    zsh loads it from a file `_pipeline` in a folder of `fpath`; tcsh from a line `source FILE` in ~/.tcshrc.
    """
    import shtab

    from pipeline.cli.parser import build_parser, sections

    parser, commands = build_parser("pipeline", (command for members in sections().values() for command in members))
    commands.help = "command"
    for command_parser in commands.choices.values():
        for action in command_parser._actions:
            if action.type is read_path:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
    print(shtab.complete(parser, arguments.shell))
