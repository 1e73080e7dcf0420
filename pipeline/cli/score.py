"""Commands from predictions to the page: what scores and shows them."""

from pathlib import Path

from pipeline.cli.commands import Arguments, Commands, number_or_file
from pipeline.cli.job import Job, job_of
from pipeline.core import paths
from pipeline.core.errors import ConfigError
from pipeline.evaluation.entrants import is_baseline
from pipeline.evaluation.recipes import (
    BaselineRecipe,
    EvaluateRecipe,
    RenderRecipe,
    SubmissionRecipe,
    ThresholdRecipe,
)
from pipeline.graph.artifacts.data import Baseline
from pipeline.graph.artifacts.scores import (
    SCORED,
    ClassPictures,
    ClassScores,
    Pictures,
    Scores,
    Submission,
    Threshold,
)
from pipeline.graph.artifacts.tables import Average, Comparisons, Leaderboard, Report
from pipeline.report.recipes import AverageRecipe, ReportRecipe


def baseline(commands: Commands) -> None:
    """Declare `baseline`."""
    commands.add_making(
        "baseline",
        _baseline,
        "Write a baseline that needs no training as if it were predictions: the second human observer's masks,\n"
        "zeros, or the masks resized to the working size of the data set and back.",
        Baseline,
    )


def _baseline(arguments: Arguments) -> None:
    from pipeline.evaluation.baselines import write_baseline

    job = job_of(arguments, Baseline)
    write_baseline(job.recipe(BaselineRecipe), output=job.output, fingerprint=job.fingerprint)


def threshold(commands: Commands) -> None:
    """Declare `threshold`."""
    text = "Choose the threshold of an experiment on its validation samples."
    commands.add_making("threshold", _threshold, text, Threshold)


def _threshold(arguments: Arguments) -> None:
    from pipeline.evaluation.choice import choose_threshold

    job = job_of(arguments, Threshold)
    job.require_origin()
    choose_threshold(
        job.recipe(ThresholdRecipe),
        experiment=arguments.experiment,
        predictions=job.optional("predictions"),
        output=job.output,
        fingerprint=job.fingerprint,
    )


def render(commands: Commands) -> None:
    """Declare `render`."""
    commands.add_making(
        "render",
        _render,
        "Draw the pictures of a split: mask, overlay, panel and sheet; of several classes colour and legend too.\n\n"
        "Predictions are probabilities of the split; of several classes they are class indices, and there is no\n"
        "threshold.",
        Pictures,
    )


def _render(arguments: Arguments) -> None:
    name, split = arguments.experiment, arguments.split
    job = job_of(arguments, Pictures, ClassPictures, choose=lambda study: study.pictures(name, split))
    job.require_origin()
    recipe, predictions = job.recipe(RenderRecipe), job.one("predictions")
    if isinstance(job.artifact, ClassPictures):
        from pipeline.evaluation.pictures_of_classes import render_classes

        _refuse_threshold(arguments)
        render_classes(recipe, experiment=name, predictions=predictions, output=job.output, fingerprint=job.fingerprint)
        return
    from pipeline.evaluation.pictures import render

    render(
        recipe,
        experiment=name,
        predictions=predictions,
        threshold=job.one("threshold"),
        output=job.output,
        fingerprint=job.fingerprint,
    )


def _refuse_threshold(arguments: Arguments) -> None:
    """Say that several classes have no threshold, where one was named."""
    if arguments.threshold is not None:
        raise ConfigError(
            "--threshold",
            f"one, while the data set of {arguments.experiment!r} has several classes",
            "no threshold: a pixel gets its most probable class",
            "leave out --threshold, and name folders of class indices (mask/)",
        )


def evaluate(commands: Commands) -> None:
    """Declare `evaluate`."""
    parser = commands.add_making(
        "evaluate",
        _evaluate,
        "Score predictions against the native masks: per_image.csv, summary.csv and intervals.csv; of two classes\n"
        "curve.csv, of several classes confusion.csv and confusion.png as well.\n\n"
        "Anybody's predictions can be scored: a folder of 8-bit grey <id>.png as large as the raw pictures,\n"
        "the name of an experiment that says the data set, and a threshold:\n\n"
        "  python -m pipeline evaluate --experiment drive-unet --test-predictions mine --threshold 0.5 --output scores"
        "\n\nOf several classes the pictures hold class indices, and there is no threshold.",
        Scores,
        optional=["threshold"],
    )
    parser.add_argument(
        "--threshold", type=number_or_file, metavar="FILE|NUMBER", help=f"{Scores.parts['threshold']} in [0, 1)"
    )


def _evaluate(arguments: Arguments) -> None:
    name = arguments.experiment
    job = job_of(arguments, Scores, ClassScores, choose=lambda study: study.scores(name))
    predictions = _predictions(arguments, job)
    job.require_origin()
    recipe = job.recipe(EvaluateRecipe)
    if isinstance(job.artifact, ClassScores):
        from pipeline.evaluation.evaluate_classes import evaluate_classes

        _refuse_threshold(arguments)
        evaluate_classes(
            recipe, experiment=name, predictions=predictions, output=job.output, fingerprint=job.fingerprint
        )
        return
    from pipeline.evaluation.evaluate import evaluate

    given = arguments.threshold
    threshold = given if isinstance(given, float) else job.optional("threshold") or paths.threshold(name)
    evaluate(
        recipe,
        experiment=name,
        predictions=predictions,
        threshold=threshold,
        output=job.output,
        fingerprint=job.fingerprint,
    )


def _predictions(arguments: Arguments, job: Job) -> dict[str, Path]:
    """Return the folders that are named, by split; or those of the workflow that are there, at least one."""
    parts = {split: f"{split.replace('-', '_')}_predictions" for split in SCORED}
    named = {split: job.one(part) for split, part in parts.items() if getattr(arguments, part)}
    if named:
        return named
    folders = {split: folder for split, part in parts.items() if (folder := job.optional(part))}
    there = {split: folder for split, folder in folders.items() if folder.is_dir()}
    if not there:
        name = arguments.experiment
        raise ConfigError(
            str(paths.RESULTS / "predictions" / name),
            "no predictions",
            "a folder of predictions for at least one split",
            f"run `python -m pipeline predict --experiment {name} --split test`, or name --test-predictions FOLDER",
        )
    job.only("threshold", *(parts[split] for split in there))
    return there


def submission(commands: Commands) -> None:
    """Declare `submission`."""
    text = "Write predictions of the unlabelled samples as the challenge of the data set takes them."
    commands.add_making("submission", _submission, text, Submission)


def _submission(arguments: Arguments) -> None:
    from pipeline.evaluation.submission import write_submission

    job = job_of(arguments, Submission)
    job.require_origin()
    write_submission(
        job.recipe(SubmissionRecipe),
        experiment=arguments.experiment,
        predictions=job.one("predictions"),
        threshold=job.one("threshold"),
        output=job.output,
    )


def average(commands: Commands) -> None:
    """Declare `average`."""
    text = "Average the scores of an experiment over its seeds and folds: mean and sample standard deviation."
    commands.add_making("average", _average, text, Average)


def _average(arguments: Arguments) -> None:
    from pipeline.report.average import average_runs

    job = job_of(arguments, Average)
    summaries = job.inputs["summaries"]
    average_runs(job.recipe(AverageRecipe), experiment=arguments.experiment, summaries=summaries, output=job.output)


def comparisons(commands: Commands) -> None:
    """Declare `comparisons`."""
    commands.add_making(
        "comparisons",
        _comparisons,
        "Compare all experiments and baselines, pair by pair, on the test pictures that they share: mean difference,\n"
        "its bootstrap interval, and the p-value of a sign-flip test, corrected for the number of comparisons.",
        Comparisons,
    )


def _comparisons(arguments: Arguments) -> None:
    from pipeline.report.comparisons import compare_entrants

    job = job_of(arguments, Comparisons)
    tables = job.inputs["per_image"]
    if arguments.per_image is None:  # what was not evaluated by hand has no scores
        tables = [path for path in tables if path.exists()]
    compare_entrants(per_image=tables, output=job.output)


def compare(commands: Commands) -> None:
    """Declare `compare`."""
    parser = commands.add(
        "compare",
        _compare,
        "Print the scores of experiments side by side, best first, with intervals, and the difference of each to the\n"
        "best one with its p-value, corrected for the number of comparisons.\n\n"
        "Reads results/leaderboard.csv, comparisons.csv and metrics/*/intervals.csv.\n\n"
        "  python -m pipeline compare drive-unet drive-crops --metric iou",
    )
    parser.add_argument("names", nargs="*", metavar="EXPERIMENT", help="which of them (all)")
    parser.add_argument("--metric", default="f1", help="column of summary.csv to rank by (f1)")
    parser.add_argument("--dataset", metavar="NAME", help="data set (all of them)")
    parser.add_argument("--split", choices=SCORED, default="test", help="which samples (test)")
    parser.add_argument("--region", choices=("fov", "full"), help="region (the field of view where there is one)")
    parser.add_argument(
        "--averaging", choices=("macro", "micro"), default="macro", help="over pictures or pixels (macro)"
    )
    parser.add_argument("--class", dest="class_name", metavar="NAME", help="class (the mean over foreground classes)")
    parser.add_argument("--format", choices=("text", "csv", "json"), default="text", help="form of the table (text)")


def _compare(arguments: Arguments) -> None:
    from pipeline.report.compare import rank
    from pipeline.report.compare_text import write_rankings

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


def leaderboard(commands: Commands) -> None:
    """Declare `leaderboard`."""
    text = "Join the summaries of all experiments into leaderboard.csv."
    commands.add_making("leaderboard", _leaderboard, text, Leaderboard)


def _leaderboard(arguments: Arguments) -> None:
    from pipeline.report.leaderboard import build_leaderboard

    job = job_of(arguments, Leaderboard)
    summaries, checks = job.inputs["summaries"], job.inputs["checks"]
    if arguments.summaries is None:  # without those of baselines, which nobody has to write by hand
        summaries = [path for path in summaries if path.exists() or not is_baseline(path.parent.name)]
    if arguments.checks is None:
        checks = [path for path in checks if path.exists() and arguments.summaries is None]
    build_leaderboard(summaries=summaries, checks=checks, output=job.output)


def report(commands: Commands) -> None:
    """Declare `report`."""
    commands.add_making(
        "report",
        _report,
        "Write the page about all data sets, experiments and scores: one HTML file that needs nothing else.\n\n"
        "It shows what it finds under results/: pictures, learning curves and times that are not there are left out.",
        Report,
        optional=["checks", "trainings", "scores", "pictures"],
    )


def _report(arguments: Arguments) -> None:
    from pipeline.report.build import build_report

    job = job_of(arguments, Report)
    intervals, compared = job.inputs["intervals"], job.optional("comparisons")
    if arguments.plan is None:
        intervals = [path for path in intervals if path.exists() or arguments.intervals is not None]
        compared = compared if compared and (compared.exists() or arguments.comparisons is not None) else None
    build_report(
        job.recipe(ReportRecipe),
        leaderboard=job.optional("leaderboard") or paths.leaderboard(),
        intervals=intervals,
        comparisons=compared,
        output=job.output,
    )


COMMANDS = (*(baseline, threshold, render, evaluate, submission, average, comparisons, compare, leaderboard, report),)
