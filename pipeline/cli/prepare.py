"""Commands from raw files to shards."""

import os
from pathlib import Path

from pipeline.cli.commands import THREADS, Arguments, command, making, option, path
from pipeline.cli.job import job_of, open_study
from pipeline.core import paths
from pipeline.core.errors import ConfigError
from pipeline.graph.artifacts import Check, FoldTable, Shard, SplitTable


@command(path("--output", "folder to write into (data/synthetic)", default=Path("data/synthetic")))
def synthetic(arguments: Arguments) -> None:
    """Write the synthetic data sets in the formats of DRIVE, TGS, Shapes and DUTS."""
    from pipeline.raw.synthetic.datasets import write_datasets

    write_datasets(arguments.output)


@command(
    path("archive", "file to unpack", metavar="ARCHIVE"),
    path("folder", "new or empty folder to unpack into", metavar="FOLDER"),
    option("--max-bytes", "most bytes to write (20 times the size of the archive, and 1 GB)", type=int, metavar="N"),
)
def unpack(arguments: Arguments) -> None:
    """Unpack an archive of raw data (zip, tar, tar.gz, tar.bz2, tar.xz), also the archives inside it, safely.

    python -m pipeline unpack DRIVE.zip data/raw/DRIVE
    """
    from pipeline.tools.unpack import unpack

    unpack(arguments.archive, arguments.folder, max_bytes=arguments.max_bytes)


@making(
    Check,
    option("--dataset", "name of the data set (all that are configured)"),
    option("--threads", "images decoded at a time (all cores)", **THREADS),
    option("--report-only", "exit with status 0 whatever is found", action="store_true"),
    path("--reports", "print these DATASET.json again, and read no raw files", nargs="*", metavar="FILE"),
)
def check(arguments: Arguments) -> int:
    """Read every raw file once and report what is there, what is wrong and what is worth knowing.

    Writes DATASET.json, DATASET.html and DATASET.png (a contact sheet) for each data set. The exit status is 1
    where there are errors; warnings do not count.
    """
    from pipeline.raw.check.text import as_text
    from pipeline.raw.reports import read_reports

    if arguments.reports is not None:
        reports = read_reports(arguments.reports)
    else:
        if arguments.plan is not None and arguments.dataset is None:
            expected = "the name of the data set beside it"
            raise ConfigError("--plan", "no --dataset", expected, "add --dataset NAME")
        names = [arguments.dataset] if arguments.dataset is not None else list(open_study(arguments).datasets)
        arguments.output = arguments.output or paths.checks()
        arguments.threads = arguments.threads or os.cpu_count() or 1
        reports = []
        for arguments.dataset in names:
            reports.append(job_of(arguments, Check).make())
    print(as_text(reports), flush=True)
    return 0 if arguments.report_only else int(any(report["errors"] for report in reports))


@making(SplitTable)
def splits(arguments: Arguments) -> None:
    """List which sample stands in which split and shard."""
    job_of(arguments, SplitTable).make()


@making(FoldTable)
def folds(arguments: Arguments) -> None:
    """List which training or validation sample belongs to which fold, for experiments with `folds`."""
    job_of(arguments, FoldTable).make()


@making(
    Shard,
    option("--threads", "images decoded at a time (1)", default=1, **THREADS),
)
def shard(arguments: Arguments) -> None:
    """Build one HDF5 shard from raw files: decode, check, resize, normalize."""
    job_of(arguments, Shard).make()
