"""Commands from raw files to shards."""

from pathlib import Path

from pipeline.cli.commands import (
    OPTIONS,
    OUTPUT,
    RESOURCES,
    SELECTION,
    Arguments,
    command,
    option,
    path_option,
    result_command,
    threads_of,
    threads_option,
)
from pipeline.cli.job import job_of, open_study
from pipeline.core import paths
from pipeline.core.errors import ConfigError
from pipeline.graph.artifacts import Check, FoldTable, Shard, SplitTable


@command(
    path_option("--output", "folder to write to", OUTPUT, default=Path("data/synthetic")),
    examples=["synthetic"],
)
def synthetic(arguments: Arguments) -> None:
    """Write the synthetic data sets.

    They have the file formats of DRIVE, TGS, Shapes and DUTS, and are byte-identical on every machine.
    """
    from pipeline.raw.synthetic.datasets import write_datasets

    write_datasets(arguments.output)


@command(
    path_option("archive", "file to unpack", metavar="ARCHIVE"),
    path_option("folder", "new or empty folder to unpack into", metavar="FOLDER"),
    option(
        "--max-bytes",
        "limit on the bytes that are written",
        RESOURCES,
        shown="1 GB plus 20 times the size of the archive",
        type=int,
        metavar="N",
    ),
    examples=["unpack DRIVE.zip data/raw/DRIVE"],
)
def unpack(arguments: Arguments) -> None:
    """Unpack an archive of raw data and the archives in it.

    Reads zip, tar, tar.gz, tar.bz2 and tar.xz. Links, absolute paths and paths that lead out of the folder are refused.
    """
    from pipeline.tools.unpack import unpack

    unpack(arguments.archive, arguments.folder, max_bytes=arguments.max_bytes)


@command(
    path_option("--images", "folders of tiles", OUTPUT, required=True, nargs="+", metavar="FOLDER"),
    path_option("--output", "table to write, with the columns id and group", OUTPUT, required=True, metavar="FILE"),
    path_option("--masks", "masks to test the links by", OUTPUT, shown="no test", metavar="FOLDER"),
    path_option("--sheet", "PNG file of linked tiles", OUTPUT, shown="not written", metavar="FILE"),
    examples=["mosaics --images data/raw/TGS/train/images --output data/raw/TGS/mosaics.csv"],
)
def mosaics(arguments: Arguments) -> None:
    """Find tiles of one larger image, for splits by group.

    Tiles whose borders continue each other get the same group. The table is for the option `group` of a split, which
    keeps tiles of one mosaic in one split. Prints the numbers of links and groups, and with --masks the share of
    border pixels whose masks agree, for linked tiles and for others: masks are not used to find the links.
    """
    from pipeline.raw.mosaics import write_groups

    write_groups(images=arguments.images, output=arguments.output, masks=arguments.masks, sheet=arguments.sheet)


@result_command(
    Check,
    option("--dataset", "name of the data set", SELECTION, shown="all data sets of the configuration", metavar="NAME"),
    threads_option("images decoded at the same time", shown="the number of cores"),
    path_option(
        "--print-reports",
        "print these reports (DATASET.json) again; read no raw files",
        OPTIONS,
        nargs="*",
        metavar="FILE",
    ),
    option("--exit-zero", "exit with status 0 even if there are errors", action="store_true"),
    examples=["check", "check --dataset drive --config config/drive.yaml"],
)
def check(arguments: Arguments) -> int:
    """Check the raw files of one or all data sets and report problems.

    Writes DATASET.json, DATASET.html and DATASET.png (a contact sheet) for each data set. The exit status is 1 if there
    are errors; warnings do not change it.
    """
    from pipeline.raw.check.text import format_reports
    from pipeline.raw.reports import read_reports

    if arguments.print_reports is not None:
        files = arguments.print_reports
        reports = read_reports(files)
    else:
        if arguments.plan is not None and arguments.dataset is None:
            raise ConfigError("--plan", "no --dataset", "--plan together with --dataset", "add --dataset NAME")
        names = [arguments.dataset] if arguments.dataset is not None else list(open_study(arguments).datasets)
        arguments.output = arguments.output or paths.checks()
        arguments.threads = threads_of(arguments)
        reports = []
        for name in names:
            arguments_of_dataset = Arguments(**{**vars(arguments), "dataset": name})
            reports.append(job_of(arguments_of_dataset, Check).make())
        files = [arguments.output / paths.check(name).name for name in names]
    print(format_reports(reports, [file.with_suffix(".html") for file in files]), flush=True)
    return 0 if arguments.exit_zero else int(any(report["errors"] for report in reports))


@result_command(SplitTable, examples=["splits --dataset drive"])
def splits(arguments: Arguments) -> None:
    """List the split and the shard of each sample."""
    job_of(arguments, SplitTable).make()


@result_command(FoldTable, examples=["folds --dataset drive --folds 5"])
def folds(arguments: Arguments) -> None:
    """List the fold of each sample for cross-validation.

    Test samples are in no fold. Experiments with `folds` use this table.
    """
    job_of(arguments, FoldTable).make()


@result_command(
    Shard,
    threads_option("images decoded at the same time", default=1),
    examples=["shard --dataset drive --split train --number 0"],
)
def shard(arguments: Arguments) -> None:
    """Convert raw files to one HDF5 shard: decode, resize, normalize."""
    job_of(arguments, Shard).make()
