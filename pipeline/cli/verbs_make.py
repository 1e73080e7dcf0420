"""The verbs from raw files to predictions, with their options."""

from pathlib import Path

from pipeline.cli.make import (
    do_augmented,
    do_check,
    do_curves,
    do_ensemble,
    do_folds,
    do_predict,
    do_sample,
    do_shard,
    do_splits,
    do_tensorboard,
    do_train,
    do_unpack,
)
from pipeline.cli.parser import MANY, OUT, TABLE, Verbs, number_or_file
from pipeline.raw.splits.names import SPLITS


def add_making_verbs(verbs: Verbs) -> None:
    """Add the verbs from `sample` to `ensemble`."""
    verb = verbs.add(
        "sample",
        do_sample,
        "Draw the embedded sample data sets in the formats of DRIVE, TGS, Shapes and DUTS.",
        configured=False,
    )
    verb.add_argument("--output", **OUT, default=Path("data/sample"), help="folder to draw into (data/sample)")

    verb = verbs.add(
        "unpack",
        do_unpack,
        "Unpack an archive of raw data (zip, tar, tar.gz, tar.bz2, tar.xz), also the archives inside it, safely.\n\n"
        "  python -m pipeline unpack DRIVE.zip data/raw/DRIVE",
        configured=False,
    )
    verb.add_argument("archive", type=Path, metavar="ARCHIVE", help="file to unpack")
    verb.add_argument("folder", type=Path, metavar="FOLDER", help="new or empty folder to unpack into")
    verb.add_argument(
        "--max-bytes",
        type=int,
        metavar="N",
        help="most bytes to write (20 times the size of the archive, and 1 GB)",
    )

    verb = verbs.add("splits", do_splits, "List which sample stands in which split and shard.", "dataset")
    verb.add_argument("--output", **OUT, help="CSV file (results/splits/DATASET.csv)")

    verb = verbs.add(
        "folds",
        do_folds,
        "List which training or validation sample belongs to which fold, for experiments with `folds`.",
        "dataset",
    )
    verb.add_argument(
        "--folds", type=int, required=True, choices=range(2, 1001), metavar="K", help="how many, 2 to 1000"
    )
    verb.add_argument("--output", **OUT, help="JSON file (results/folds/DATASET/K.json)")

    verb = verbs.add(
        "check",
        do_check,
        "Read every raw file once and report what is there, what is wrong and what is worth knowing.\n\n"
        "Writes DATASET.json, DATASET.html and DATASET.png (a contact sheet) for each data set. The exit status is 1\n"
        "where there are errors; warnings do not count.",
    )
    verb.add_argument("--dataset", help="name of the data set (all that are configured)")
    verb.add_argument("--output", **OUT, help="folder (results/check)")
    verb.add_argument(
        "--threads", type=int, choices=range(1, 257), metavar="N", help="pictures decoded at a time (all cores)"
    )
    verb.add_argument("--report-only", action="store_true", help="exit with status 0 whatever is found")
    verb.add_argument("--reports", **MANY, help="print these DATASET.json again, in place of reading raw files")

    verb = verbs.add(
        "shard",
        do_shard,
        "Build one HDF5 shard from raw files: decode, check, resize, normalize.",
        "dataset",
        "split",
        "shard",
    )
    verb.add_argument("--output", **OUT, help="HDF5 file (results/shards/DATASET/SPLIT-SHARD.h5)")
    verb.add_argument("--timing", **OUT, help="table to write seconds and peak memory to (none)")
    verb.add_argument(
        "--threads", type=int, default=1, choices=range(1, 257), metavar="N", help="pictures decoded at a time (1)"
    )

    verb = verbs.add("train", do_train, "Train the network of an experiment on its shards.", "experiment")
    verb.add_argument("--train-shards", **MANY, help="shards to train on")
    verb.add_argument("--validation-shards", **MANY, help="shards to choose the best epoch on")
    verb.add_argument("--folds", **TABLE)
    verb.add_argument("--output", **OUT, help="folder (results/models/EXPERIMENT)")
    verb.add_argument(
        "--memory-mb",
        type=int,
        metavar="MB",
        help="main memory that samples may fill (half of what is free, or a third of what a cluster leaves to the job)",
    )
    verb.add_argument(
        "--state", **OUT, help="folder for the state to go on from after a kill (results/state/EXPERIMENT)"
    )
    verb.add_argument(
        "--save-every",
        type=int,
        default=60,
        choices=range(86401),
        metavar="SECONDS",
        help="how often the state is saved (60)",
    )

    verb = verbs.add(
        "augmented",
        do_augmented,
        "Draw training samples as the network gets to see them, to look at first.",
        "experiment",
    )
    verb.add_argument("--train-shards", **MANY, help="shards of the training samples")
    verb.add_argument("--validation-shards", **MANY, help="of a fold, the shards that the rest of them lie in")
    verb.add_argument("--folds", **TABLE)
    verb.add_argument("--output", **OUT, help="PNG file (results/models/EXPERIMENT/augmented.png)")
    verb.add_argument("--note", default="", help="what else the caption says")

    verb = verbs.add("curves", do_curves, "Draw loss and score over the epochs.", "experiment", configured=False)
    verb.add_argument("--history", **OUT, help="history.csv of the training")
    verb.add_argument("--output", **OUT, help="PNG file (results/models/EXPERIMENT/curves.png)")
    verb.add_argument("--note", default="", help="what else the title says")

    verb = verbs.add(
        "tensorboard",
        do_tensorboard,
        "Write the history of a training for TensorBoard, which the extra [tensorboard] installs.\n\n"
        "With --follow also of one that is running, epoch by epoch, until it has ended:\n\n"
        "  python -m pipeline tensorboard --experiment drive-unet --follow &\n"
        "  tensorboard --logdir results/tensorboard",
        "experiment",
        configured=False,
    )
    verb.add_argument("--history", **OUT, help="history.csv of the training")
    verb.add_argument("--output", **OUT, help="file of events (results/tensorboard/EXPERIMENT/events.out...)")
    verb.add_argument("--follow", action="store_true", help="write on while the training runs")
    verb.add_argument(
        "--every",
        type=int,
        default=10,
        choices=range(1, 3601),
        metavar="SECONDS",
        help="with --follow, seconds between two looks (10)",
    )

    verb = verbs.add(
        "predict",
        do_predict,
        "Predict every sample of a split, or any other pictures, at native size.\n\n"
        "A folder of pictures that belong to no data set, or a single one, needs no configuration; the results are\n"
        "probability/, mask/, overlay/, cutout/ (the background transparent) and timing.csv:\n\n"
        "  python -m pipeline predict --checkpoint best.pt --input my-pictures --output my-results",
    )
    verb.add_argument("--experiment", help="name of the experiment")
    verb.add_argument("--split", choices=SPLITS, help="which samples")
    verb.add_argument("--checkpoint", **OUT, help="checkpoint (results/models/EXPERIMENT/best.pt)")
    verb.add_argument("--shards", **MANY, help="shards of the split")
    verb.add_argument("--train-shards", **MANY, help="of a fold, the shards that the rest of it lies in")
    verb.add_argument("--folds", **TABLE)
    verb.add_argument("--output", **OUT, help="folder (results/predictions/EXPERIMENT/SPLIT/KIND)")
    verb.add_argument(
        "--kind",
        choices=("probability", "mask"),
        help="probabilities, or class indices (probability for two classes, mask for more)",
    )
    verb.add_argument("--input", **OUT, help="a picture or a folder of them, in place of --experiment and --split")
    of_input = verb.add_argument_group("with --input")
    of_input.add_argument(
        "--threshold", type=number_or_file, metavar="FILE|NUMBER", help="threshold file, or a number (0.5)"
    )
    of_input.add_argument(
        "--tiles", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"), help="predict large pictures in overlapping tiles"
    )
    of_input.add_argument(
        "--test-time", choices=("none", "flips", "turns"), help="average over 4 mirror images or 8 turns (none)"
    )
    of_input.add_argument("--precision", choices=("fp32", "bf16", "auto"), help="number format of the network (fp32)")
    of_input.add_argument(
        "--threads", type=int, choices=range(1, 257), metavar="N", help="threads of the network (all cores)"
    )
    of_input.add_argument("--skip-unreadable", action="store_true", help="leave out files that cannot be used")

    verb = verbs.add(
        "ensemble",
        do_ensemble,
        "Average what all runs of an experiment with `seeds` or `folds` predict; no network is run.\n\n"
        "Out-of-fold: each sample that is no test sample, by the runs whose fold it belongs to: they have not seen it.",
        "experiment",
        "split",
    )
    verb.add_argument("--predictions", **MANY, help="probabilities of each run, in the order of the names of the runs")
    verb.add_argument("--folds", **TABLE)
    verb.add_argument("--output", **OUT, help="folder (results/predictions/EXPERIMENT.ensemble/SPLIT/KIND)")
    verb.add_argument(
        "--kind",
        choices=("probability", "mask"),
        help="probabilities, or class indices (probability for two classes, mask for more)",
    )
    verb.add_argument(
        "--threads", type=int, default=1, choices=range(1, 257), metavar="N", help="pictures averaged at a time (1)"
    )
