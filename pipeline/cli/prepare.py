"""Commands from raw files to shards."""

import os
from pathlib import Path

from pipeline.cli.commands import PATH, THREADS, Arguments, Commands
from pipeline.cli.job import job_of, open_study
from pipeline.core import paths
from pipeline.core.errors import ConfigError
from pipeline.graph.artifacts.data import Check, FoldTable, Shard, SplitTable
from pipeline.raw.recipes import CheckRecipe, FoldsRecipe, SplitsRecipe
from pipeline.shards.recipes import ShardRecipe


def sample(commands: Commands) -> None:
    """Declare `sample`."""
    text = "Draw the embedded sample data sets in the formats of DRIVE, TGS, Shapes and DUTS."
    parser = commands.add("sample", _sample, text)
    parser.add_argument("--output", **PATH, default=Path("data/sample"), help="folder to draw into (data/sample)")


def _sample(arguments: Arguments) -> None:
    from pipeline.raw.synthetic.sample import draw_sample

    draw_sample(arguments.output)


def unpack(commands: Commands) -> None:
    """Declare `unpack`."""
    parser = commands.add(
        "unpack",
        _unpack,
        "Unpack an archive of raw data (zip, tar, tar.gz, tar.bz2, tar.xz), also the archives inside it, safely.\n\n"
        "  python -m pipeline unpack DRIVE.zip data/raw/DRIVE",
    )
    parser.add_argument("archive", type=Path, metavar="ARCHIVE", help="file to unpack")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="new or empty folder to unpack into")
    parser.add_argument(
        "--max-bytes",
        type=int,
        metavar="N",
        help="most bytes to write (20 times the size of the archive, and 1 GB)",
    )


def _unpack(arguments: Arguments) -> None:
    from pipeline.tools.unpack import unpack

    unpack(arguments.archive, arguments.folder, max_bytes=arguments.max_bytes)


def check(commands: Commands) -> None:
    """Declare `check`."""
    parser = commands.add_making(
        "check",
        _check,
        "Read every raw file once and report what is there, what is wrong and what is worth knowing.\n\n"
        "Writes DATASET.json, DATASET.html and DATASET.png (a contact sheet) for each data set. The exit status is 1\n"
        "where there are errors; warnings do not count.",
        Check,
        optional=["dataset"],
    )
    parser.add_argument("--dataset", help="name of the data set (all that are configured)")
    parser.add_argument("--threads", **THREADS, help="pictures decoded at a time (all cores)")
    parser.add_argument("--report-only", action="store_true", help="exit with status 0 whatever is found")
    parser.add_argument(
        "--reports", type=Path, nargs="*", metavar="FILE", help="print these DATASET.json again, and read no raw files"
    )


def _check(arguments: Arguments) -> int:
    from pipeline.raw.check.run import check_dataset, read_reports
    from pipeline.raw.check.text import as_text

    if arguments.reports is not None:
        reports = read_reports(arguments.reports)
    else:
        if arguments.plan is not None and arguments.dataset is None:
            remedy = "add --dataset NAME"
            raise ConfigError("--plan", "no --dataset", "the name of the data set beside it", remedy)
        names = [arguments.dataset] if arguments.dataset is not None else list(open_study(arguments).config.datasets)
        output, threads = arguments.output or paths.checks(), arguments.threads or os.cpu_count() or 1
        reports = []
        for arguments.dataset in names:
            recipe = job_of(arguments, Check).recipe(CheckRecipe)
            reports.append(check_dataset(recipe, output=output, threads=threads))
    print(as_text(reports), flush=True)
    return 0 if arguments.report_only else int(any(report["errors"] for report in reports))


def splits(commands: Commands) -> None:
    """Declare `splits`."""
    commands.add_making("splits", _splits, "List which sample stands in which split and shard.", SplitTable)


def _splits(arguments: Arguments) -> None:
    from pipeline.raw.splits.table import write_splits

    job = job_of(arguments, SplitTable)
    write_splits(job.recipe(SplitsRecipe), output=job.output)


def folds(commands: Commands) -> None:
    """Declare `folds`."""
    text = "List which training or validation sample belongs to which fold, for experiments with `folds`."
    commands.add_making("folds", _folds, text, FoldTable)


def _folds(arguments: Arguments) -> None:
    from pipeline.raw.splits.folds import write_folds

    job = job_of(arguments, FoldTable)
    write_folds(job.recipe(FoldsRecipe), output=job.output, fingerprint=job.fingerprint)


def shard(commands: Commands) -> None:
    """Declare `shard`."""
    text = "Build one HDF5 shard from raw files: decode, check, resize, normalize."
    parser = commands.add_making("shard", _shard, text, Shard)
    parser.add_argument("--timing", **PATH, help="table to write seconds and peak memory to (none)")
    parser.add_argument("--threads", **THREADS, default=1, help="pictures decoded at a time (1)")


def _shard(arguments: Arguments) -> None:
    from pipeline.shards.write import build_shard

    job = job_of(arguments, Shard)
    build_shard(
        job.recipe(ShardRecipe),
        shard=arguments.number,
        output=job.output,
        threads=arguments.threads,
        fingerprint=job.fingerprint,
        timing=arguments.timing,
    )


COMMANDS = (sample, unpack, check, splits, folds, shard)
