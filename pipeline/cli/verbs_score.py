"""The verbs from predictions to the report, with their options."""

from pipeline.cli.parser import MANY, OUT, SCORED, Verbs, number_or_file, split_folder
from pipeline.cli.score import (
    do_average,
    do_baseline,
    do_compare,
    do_comparisons,
    do_evaluate,
    do_leaderboard,
    do_render,
    do_report,
    do_submission,
    do_threshold,
)
from pipeline.evaluation.entrants import BASELINES


def add_scoring_verbs(verbs: Verbs) -> None:
    """Add the verbs from `baseline` to `report`."""
    verb = verbs.add(
        "baseline",
        do_baseline,
        "Write a baseline that needs no training as if it were predictions: the second human observer's masks,\n"
        "zeros, or the masks resized to the working size of the data set and back.",
        "dataset",
        "split",
    )
    verb.add_argument("--kind", choices=BASELINES, required=True, help="which of them")
    verb.add_argument("--output", **OUT, help="folder (results/predictions/DATASET.KIND/SPLIT/probability)")

    verb = verbs.add(
        "threshold", do_threshold, "Choose the threshold of an experiment on its validation samples.", "experiment"
    )
    verb.add_argument("--predictions", **OUT, help="probabilities of the validation samples")
    verb.add_argument("--output", **OUT, help="JSON file (results/predictions/EXPERIMENT/threshold.json)")

    verb = verbs.add(
        "render",
        do_render,
        "Draw the pictures of a split: mask, overlay, panel, sheet; of several classes colour, overlay, panel, sheet "
        "and legend.",
        "experiment",
        "split",
    )
    verb.add_argument("--predictions", **OUT, help="probabilities of the split; of several classes class indices")
    verb.add_argument("--threshold", **OUT, help="file that the verb `threshold` wrote; not for several classes")
    verb.add_argument("--output", **OUT, help="folder (results/predictions/EXPERIMENT/SPLIT)")

    verb = verbs.add(
        "evaluate",
        do_evaluate,
        "Score predictions against the native masks: per_image.csv, summary.csv and intervals.csv; of two classes\n"
        "curve.csv, of several classes confusion.csv and confusion.png as well.\n\n"
        "Anybody's predictions can be scored: a folder of 8-bit grey <id>.png as large as the raw pictures,\n"
        "the name of an experiment that says the data set, and a threshold:\n\n"
        "  python -m pipeline evaluate --experiment drive-unet --predictions test=mine --threshold 0.5 --output scores"
        "\n\nOf several classes the pictures hold class indices, and there is no threshold.",
        "experiment",
    )
    verb.add_argument(
        "--predictions", type=split_folder, nargs="*", metavar="SPLIT=FOLDER", help="predictions of each split"
    )
    verb.add_argument(
        "--threshold",
        type=number_or_file,
        metavar="FILE|NUMBER",
        help="threshold file, or a number; not for several classes",
    )
    verb.add_argument("--output", **OUT, help="folder (results/metrics/EXPERIMENT)")

    verb = verbs.add(
        "submission",
        do_submission,
        "Write the predictions of the unlabelled samples as the challenge of DRIVE or TGS takes them.",
        "experiment",
    )
    verb.add_argument("--predictions", **OUT, help="probabilities of the unlabelled samples")
    verb.add_argument("--threshold", **OUT, help="file that the verb `threshold` wrote")
    verb.add_argument("--output", **OUT, help="folder (results/predictions/EXPERIMENT/unlabelled/submission)")

    verb = verbs.add(
        "average",
        do_average,
        "Average the scores of an experiment over its seeds and folds: mean and sample standard deviation.",
        "experiment",
    )
    verb.add_argument("--summaries", **MANY, help="summary.csv of each run, in the order of the runs")
    verb.add_argument("--output", **OUT, help="CSV file (results/metrics/EXPERIMENT/summary.csv)")

    verb = verbs.add(
        "comparisons",
        do_comparisons,
        "Compare all experiments and baselines, pair by pair, on the test pictures that they share: mean difference,\n"
        "its bootstrap interval, and the p-value of a sign-flip test, corrected for the number of comparisons.",
    )
    verb.add_argument("--per-image", **MANY, help="per_image.csv of each (all that are there)")
    verb.add_argument("--output", **OUT, help="CSV file (results/comparisons.csv)")

    verb = verbs.add(
        "compare",
        do_compare,
        "Print the scores of experiments side by side, best first, with intervals, and the difference of each to the\n"
        "best one with its p-value, corrected for the number of comparisons.\n\n"
        "Reads results/leaderboard.csv, comparisons.csv and metrics/*/intervals.csv.\n\n"
        "  python -m pipeline compare drive-unet drive-crops --metric iou",
        configured=False,
    )
    verb.add_argument("names", nargs="*", metavar="EXPERIMENT", help="which of them (all)")
    verb.add_argument("--metric", default="f1", help="column of summary.csv to rank by (f1)")
    verb.add_argument("--dataset", metavar="NAME", help="data set (all of them)")
    verb.add_argument("--split", choices=SCORED, default="test", help="which samples (test)")
    verb.add_argument("--region", choices=("fov", "full"), help="region (the field of view where there is one)")
    verb.add_argument(
        "--averaging", choices=("macro", "micro"), default="macro", help="over pictures or pixels (macro)"
    )
    verb.add_argument("--class", dest="class_name", metavar="NAME", help="class (the mean over foreground classes)")
    verb.add_argument("--format", choices=("text", "csv", "json"), default="text", help="form of the table (text)")

    verb = verbs.add("leaderboard", do_leaderboard, "Join the summaries of all experiments into leaderboard.csv.")
    verb.add_argument("--summaries", **MANY, help="summary.csv files")
    verb.add_argument("--checks", **MANY, help="results/check/DATASET.json files, for the column `leak`")
    verb.add_argument("--output", **OUT, help="CSV file (results/leaderboard.csv)")

    verb = verbs.add(
        "report",
        do_report,
        "Write the page about all data sets, experiments and scores: one HTML file that needs nothing else.\n\n"
        "It shows what it finds under results/: pictures, learning curves and times that are not there are left out.",
    )
    verb.add_argument("--leaderboard", **OUT, help="table of all scores (results/leaderboard.csv)")
    verb.add_argument("--intervals", **MANY, help="intervals.csv files (those under results/metrics/)")
    verb.add_argument("--comparisons", **OUT, help="paired comparisons (results/comparisons.csv, where it is there)")
    verb.add_argument("--output", **OUT, help="HTML file (results/report.html)")
