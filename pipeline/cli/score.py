"""Commands from predictions to the page: what scores and shows them."""

from pipeline.cli.commands import Arguments, command, making, number_or_file, option
from pipeline.cli.job import job_of
from pipeline.core import paths
from pipeline.core.errors import ConfigError, OriginError
from pipeline.core.manifest import edited
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


@making(Baseline)
def baseline(arguments: Arguments) -> None:
    """Write a baseline that needs no training as if it were predictions.

    The second human observer's masks, zeros, or the masks resized to the working size of the data set and back.
    """
    job_of(arguments, Baseline).make()


@making(Threshold)
def threshold(arguments: Arguments) -> None:
    """Choose the threshold of an experiment on its validation samples."""
    job_of(arguments, Threshold).make()


@making(Renderings)
def render(arguments: Arguments) -> None:
    """Draw the images of a split: mask, overlay, panel and sheet; of several classes colour and legend too.

    Predictions are probabilities of the split; of several classes they are class indices, and there is no
    threshold.
    """
    job_of(arguments, Renderings).make()


@making(Scores, option("--threshold", Scores.parts["threshold"], type=number_or_file, metavar="FILE|NUMBER"))
def evaluate(arguments: Arguments) -> None:
    """Score predictions against the native masks: per_image.csv, summary.csv and intervals.csv.

    Of two classes curve.csv, of several classes confusion.csv and confusion.png as well. Anybody's predictions can
    be scored: a folder of 8-bit grey <id>.png as large as the raw images, the name of an experiment that says the
    data set, and a threshold:

      python -m pipeline evaluate --experiment drive-unet --test-predictions mine --threshold 0.5 --output scores

    Of several classes the images hold class indices, and there is no threshold.
    """
    job, name = job_of(arguments, Scores), arguments.experiment
    parts = {split: f"{split.replace('-', '_')}_predictions" for split in SCORED}
    if any(getattr(arguments, part) for part in parts.values()):
        parts = {split: part for split, part in parts.items() if getattr(arguments, part)}
    predictions = {split: folder for split, part in parts.items() if (folder := job.optional(part))}
    if not predictions:
        raise ConfigError(
            str(paths.RESULTS / "predictions" / name),
            "no predictions",
            "a folder of predictions for at least one split",
            f"run `python -m pipeline predict --experiment {name} --split test`, or name --test-predictions FOLDER",
        )
    number = {"threshold": arguments.threshold} if isinstance(arguments.threshold, float) else {}
    job.make(predictions=predictions, **number)


@making(Submission)
def submission(arguments: Arguments) -> None:
    """Write predictions of the unlabelled samples as the challenge of the data set takes them."""
    job_of(arguments, Submission).make()


@making(Average)
def average(arguments: Arguments) -> None:
    """Average the scores of an experiment over its seeds and folds: mean and sample standard deviation."""
    job_of(arguments, Average).make()


@making(Comparisons)
def comparisons(arguments: Arguments) -> None:
    """Compare all experiments and baselines, pair by pair, on the test images that they share.

    Mean difference, its bootstrap interval, and the p-value of a sign-flip test, corrected for the number of
    comparisons.
    """
    job_of(arguments, Comparisons).make()


@command(
    option("names", "which of them (all)", nargs="*", metavar="EXPERIMENT"),
    option("--metric", "column of summary.csv to rank by (f1)", default="f1"),
    option("--dataset", "data set (all of them)", metavar="NAME"),
    option("--split", "which samples (test)", choices=SCORED, default="test"),
    option("--region", "region (the field of view where there is one)", choices=("fov", "full")),
    option("--averaging", "over images or pixels (macro)", choices=("macro", "micro"), default="macro"),
    option("--class", "class (the mean over foreground classes)", dest="class_name", metavar="NAME"),
    option("--format", "form of the table (text)", choices=("text", "csv", "json"), default="text"),
)
def compare(arguments: Arguments) -> None:
    """Print the scores of experiments side by side, best first, with intervals.

    And the difference of each to the best one with its p-value, corrected for the number of comparisons. Reads
    results/leaderboard.csv, comparisons.csv and metrics/*/intervals.csv.

      python -m pipeline compare drive-unet drive-crops --metric iou
    """
    from pipeline.report.compare import rank
    from pipeline.report.compare_text import write_rankings

    tables = [paths.leaderboard(), paths.comparisons(), *(paths.RESULTS / "metrics").glob("*/intervals.csv")]
    if problems := edited(tables):
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


@making(Leaderboard)
def leaderboard(arguments: Arguments) -> None:
    """Join the summaries of all experiments into leaderboard.csv."""
    job = job_of(arguments, Leaderboard)
    if arguments.summaries is None:  # without those of baselines, which nobody has to write by hand
        found = job.inputs["summaries"]
        job.inputs["summaries"] = [path for path in found if path.exists() or not is_baseline(path.parent.name)]
    job.make()


@making(Report)
def report(arguments: Arguments) -> None:
    """Write the page about all data sets, experiments and scores: one HTML file that needs nothing else.

    It shows what it finds under results/: images, learning curves and times that are not there are left out.
    """
    job_of(arguments, Report).make()
