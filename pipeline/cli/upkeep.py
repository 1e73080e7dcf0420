"""Verbs that look after the folder of results, and make nothing in it."""

import sys
from collections.abc import Collection, Mapping
from pathlib import Path

from rich.filesize import decimal

from pipeline.config.config import Config
from pipeline.core import paths
from pipeline.core.errors import OutputError, PipelineError, Problem
from pipeline.graph.clean import Survey, remove, survey
from pipeline.raw.dataset import open_dataset
from pipeline.raw.splits.names import SPLITS

_LOCKS = Path(".snakemake/locks")


def clean(config: Config, *, yes: bool) -> None:
    """List what no configured data set or experiment needs, and remove it if that is wanted.

    Parameters
    ----------
    config : Config
    yes : bool
        Remove without asking. Otherwise a person at a terminal is asked, and nobody else.

    Raises
    ------
    OutputError
        If a workflow runs in this folder, or something cannot be removed.
    """
    scored = (*config.experiments, *config.ensembles(), *config.baselines())
    found = survey(
        paths.RESULTS,
        members={name: _members(config, name) for name in config.datasets},
        experiments={name: config.dataset_of(name) for name in scored},
        averaged=config.seeded(),
        folds=_folds(config),
        validated={name: config.validated_on(name) for name in scored if config.folds_of(name) is not None},
    )
    _print(found)
    if not found.unneeded:
        return
    if not yes and not _asked():
        print("Nothing was removed. `python -m pipeline clean --yes` with the same --config removes all of this.")
        return
    if _LOCKS.is_dir() and any(_LOCKS.iterdir()):
        raise OutputError(
            Problem(
                str(_LOCKS),
                "a lock: a workflow runs in this folder, or one was killed",
                "no workflow at work",
                "wait for it; if none runs, `snakemake --unlock`, then clean again",
            )
        )
    remove(paths.RESULTS, found.unneeded)
    print(f"Removed {decimal(sum(one.bytes for one in found.unneeded))}.")


def _folds(config: Config) -> Mapping[str, Collection[int]]:
    """Return the numbers of folds that experiments ask for, by data set."""
    folds: dict[str, set[int]] = {}
    for name, experiment in config.experiments.items():
        if (number := config.folds_of(name)) is not None:
            folds.setdefault(experiment.dataset, set()).add(number)
    return folds


def _members(config: Config, name: str) -> Mapping[str, Collection[int]] | None:
    """Return the numbers of a data set's shards by split; None, and a line that says so, if it cannot be listed."""
    try:
        raw = open_dataset(name, **config.splits_settings(name)["source"])
    except PipelineError as error:
        print(f"{name}: its shards and predictions all stay, because its raw files cannot be listed:", file=sys.stderr)
        print(error, file=sys.stderr)
        return None
    return {split: [*raw.shard_members(split)] for split in SPLITS if raw.splits[split]}


def _print(found: Survey) -> None:
    sizes = [decimal(one.bytes) for one in found.unneeded]
    for one, size in zip(found.unneeded, sizes, strict=True):
        print(f"{size:>10}  {_plain(one.path)}  ({one.reason})")
    for path, reason in found.left_alone:
        print(f"left alone  {_plain(path)}  ({reason})")
    if found.unneeded:
        count, total = len(found.unneeded), decimal(sum(one.bytes for one in found.unneeded))
        print(f"{total:>10}  in {count} {'places' if count > 1 else 'place'} that nothing configured needs")
    else:
        print(f"{paths.RESULTS}/ holds nothing that is not needed")


def _plain(path: Path) -> str:
    return str(path) if str(path).isprintable() else ascii(str(path))


def _asked() -> bool:
    if not sys.stdin.isatty():
        return False
    try:
        return input("Remove all of this? Type yes: ").strip() == "yes"
    except EOFError:
        return False
