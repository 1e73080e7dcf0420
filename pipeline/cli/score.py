"""Commands from predictions to the report."""

from pathlib import Path

from pipeline.cli.commands import (
    CONFIG,
    INPUTS,
    OUTPUT,
    Arguments,
    Group,
    command,
    option,
    path_option,
    result_command,
    threads_of,
    threads_option,
    threshold_or_file,
)
from pipeline.cli.export import predictions_by_bundles
from pipeline.cli.job import job_of
from pipeline.core import paths
from pipeline.core.errors import ConfigError, OriginError
from pipeline.core.manifest import find_edited
from pipeline.evaluation.methods import is_baseline
from pipeline.graph.artifacts import (
    SCORED,
    Average,
    Baseline,
    Comparisons,
    Leaderboard,
    Renderings,
    Report,
    Scores,
    Submission,
    Threshold,
)

_SCORES = Group("scores")
_THREADS = threads_option("images read at the same time", shown="the number of cores")


@result_command(Baseline, examples=["baseline --dataset drive --kind second-observer --split test"])
def baseline(arguments: Arguments) -> None:
    """Write a baseline, which needs no training, as predictions.

    `second-observer`: the masks of the second human observer. `all-background`: no foreground at all.
    `resolution-ceiling`: the masks, resized to the shard size of the data set and back.
    """
    job_of(arguments, Baseline).make()


@result_command(Threshold, _THREADS, examples=["threshold --experiment drive-unet"])
def threshold(arguments: Arguments) -> None:
    """Choose the threshold of an experiment on validation data."""
    job_of(arguments, Threshold).make(threads=threads_of(arguments))


@result_command(Renderings, _THREADS, examples=["render --experiment drive-unet --split test"])
def render(arguments: Arguments) -> None:
    """Render the predictions of a split as masks and overlays.

    Writes mask/, overlay/, panel/ and sheet.png; with several classes colour/ and legend.png in place of mask/. Inputs
    are probabilities and a threshold, or with several classes class indices alone.
    """
    job_of(arguments, Renderings).make(threads=threads_of(arguments))


@result_command(
    Scores,
    _THREADS,
    option(
        "--threshold",
        Scores.input_descriptions["threshold"],
        INPUTS,
        type=threshold_or_file,
        metavar="FILE|NUMBER",
    ),
    examples=[
        "evaluate --experiment drive-unet",
        "evaluate --experiment drive-unet --test-predictions my-masks --threshold 0.5 --output scores",
    ],
)
def evaluate(arguments: Arguments) -> None:
    """Score predictions against the masks at their native size.

    Writes per_image.csv, summary.csv and intervals.csv; with two classes curve.csv, with several classes confusion.csv
    and confusion.png.

    To score predictions of another program, give a folder of grey images `ID.png` of the size of the raw images,
    the name of an experiment on the same data set, and a threshold. With several classes, the images contain class
    indices, and there is no threshold.

    In place of a folder, a bundle can be named: its predictions of the raw images are scored, by default with its own
    threshold. Scores of two splits need the same bundle for both.
    """
    job, name = job_of(arguments, Scores), arguments.experiment
    inputs = {split: f"{split.replace('-', '_')}_predictions" for split in SCORED}
    if any(getattr(arguments, input_name) for input_name in inputs.values()):
        inputs = {split: input_name for split, input_name in inputs.items() if getattr(arguments, input_name)}
    predictions = {split: folder for split, input_name in inputs.items() if (folder := job.optional_input(input_name))}
    if not predictions:
        raise ConfigError(
            str(paths.RESULTS / "predictions" / name),
            "no predictions",
            "a folder of predictions for at least one split",
            f"run `python -m pipeline predict --experiment {name} --split test`, or name --test-predictions FOLDER",
        )
    number = {"threshold": arguments.threshold} if isinstance(arguments.threshold, float) else {}
    with predictions_by_bundles(job, predictions) as (folders, thresholds):
        if thresholds and arguments.threshold is None:
            number = {"threshold": thresholds[0]}
        job.make(predictions=folders, threads=threads_of(arguments), **number)


@result_command(Submission, examples=["submission --experiment tgs-unet"])
def submission(arguments: Arguments) -> None:
    """Write predictions in the format of a challenge.

    The inputs are the predictions of the unlabelled samples.
    """
    job_of(arguments, Submission).make()


@result_command(Average, examples=["average --experiment drive-unet"])
def average(arguments: Arguments) -> None:
    """Average the scores of an experiment over its runs.

    The runs differ in seed, fold or both. Writes the mean and the sample standard deviation of each score.
    """
    job_of(arguments, Average).make()


@result_command(Comparisons, examples=["comparisons"])
def comparisons(arguments: Arguments) -> None:
    """Compare all methods in pairs on their common test images.

    Writes the mean difference, its bootstrap interval, and the p-value of a sign-flip test, corrected for the number of
    comparisons.
    """
    job_of(arguments, Comparisons).make()


@command(
    option("names", "methods to compare", shown="all", nargs="*", metavar="METHOD"),
    option("--metric", "column of summary.csv to rank by", _SCORES, default="f1", metavar="NAME"),
    option("--dataset", "name of the data set", _SCORES, shown="all", metavar="NAME"),
    option("--split", "split of the samples", _SCORES, choices=SCORED, default="test"),
    option(
        "--region",
        "field of view, or the full image",
        _SCORES,
        shown="fov where the data set has one",
        choices=("fov", "full"),
    ),
    option("--averaging", "mean over images, or all pixels", _SCORES, choices=("macro", "micro"), default="macro"),
    option(
        "--class",
        "name of a class",
        _SCORES,
        shown="mean over the foreground classes",
        dest="class_name",
        metavar="NAME",
    ),
    option("--format", "format of the table", choices=("text", "csv", "json"), default="text"),
    examples=["compare", "compare drive-unet drive-crops --metric iou --region full"],
)
def compare(arguments: Arguments) -> None:
    """Print the scores of methods, best first, with intervals.

    Also prints the difference from the best method with its p-value, corrected for the number of comparisons. Reads
    results/leaderboard.csv, results/comparisons.csv and results/metrics/*/intervals.csv.
    """
    from pipeline.report.compare import rank
    from pipeline.report.compare_text import write_rankings

    tables = [paths.leaderboard(), paths.comparisons(), *(paths.RESULTS / "metrics").glob("*/intervals.csv")]
    if problems := find_edited(tables):
        raise OriginError(problems)
    rankings = rank(
        leaderboard=paths.leaderboard(),
        comparisons=paths.comparisons(),
        metrics=paths.RESULTS / "metrics",
        experiments=arguments.names,
        dataset=arguments.dataset,
        split=arguments.split,
        region=arguments.region,
        averaging=arguments.averaging,
        class_name=arguments.class_name,
        metric=arguments.metric,
    )
    write_rankings(rankings, arguments.format)


@result_command(Leaderboard, examples=["leaderboard"])
def leaderboard(arguments: Arguments) -> None:
    """Join the scores of all methods into leaderboard.csv."""
    job = job_of(arguments, Leaderboard)
    if arguments.summaries is None:  # on the command line, baselines need not be scored first
        summaries = job.inputs["summaries"]
        job.inputs["summaries"] = [path for path in summaries if path.exists() or not is_baseline(path.parent.name)]
    job.make()


@result_command(Report, examples=["report", "report --output report-copy.html"])
def report(arguments: Arguments) -> None:
    """Write the HTML report on data, training and scores.

    The report is one self-contained file. It shows the results that exist; missing images, learning curves and times
    are left out.
    """
    job_of(arguments, Report).make()


_ROWS = Group("rows", "With --config, rows of its methods are written first.")


@command(
    CONFIG._replace(group=_ROWS, default="no rows are written"),
    option("--methods", "experiments, ensembles and baselines", _ROWS, shown="all but baselines", nargs="+"),
    path_option("--results", "results folder of the run", _ROWS, default=paths.RESULTS),
    path_option(
        "--reference", "scores of a method to compare with: results/metrics/NAME", _ROWS, shown="no comparison"
    ),
    option("--metric", "score of the paired comparison", _ROWS, default="f1", metavar="NAME"),
    option("--commit", "commit of the code", _ROWS, shown="from provenance.json", metavar="REV"),
    option(
        "--split", "samples that are scored; others than test are for choices", _ROWS, default="test", choices=SCORED
    ),
    path_option("--folder", "tables and texts of the page", OUTPUT, default=Path("docs/results")),
    option("--check", "only check that the page is current", OUTPUT, action="store_true"),
    examples=["results", "results --config config/drive.yaml --reference results/metrics/drive.second-observer"],
)
def results(arguments: Arguments) -> int:
    """Write docs/results.md, the published results.

    The page is made from the tables docs/results/*.csv and the texts beside them. With --config, the rows of its
    methods are first written to the table that is named after the configuration: scores on samples of --split with
    intervals, or mean and standard deviation over several networks; time, memory, hardware, commit and command; and
    the difference from the reference. The exit status of --check is 1 if the page differs from its tables.
    """
    from pipeline.core.files import write_text
    from pipeline.report.results_page import render_results

    if arguments.config and not arguments.check:
        _write_result_rows(arguments)
    page, text = arguments.folder.with_suffix(".md"), render_results(arguments.folder)
    if not arguments.check:
        write_text(page, text)
        return 0
    is_current = page.exists() and page.read_text(encoding="utf-8") == text
    if not is_current:
        print(f"{page} differs from its tables: run `python -m pipeline results`")
    return int(not is_current)


def _write_result_rows(arguments: Arguments) -> None:
    from pipeline.config.config import load
    from pipeline.report.result_rows import Run, method_commands, write_rows

    experiments = load(arguments.config).experiments
    owners = {run: getattr(experiment, "experiment", run) for run, experiment in experiments.items()}
    run = Run(arguments.results, tuple(arguments.config), arguments.commit or "", arguments.split)
    write_rows(
        arguments.folder / f"{arguments.config[-1].stem}.csv",
        run=run,
        methods=method_commands(run, list(dict.fromkeys(owners.values())), arguments.methods),
        reference=arguments.reference,
        metric=arguments.metric,
    )
