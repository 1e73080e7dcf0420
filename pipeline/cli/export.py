"""The command that exports trained networks, and predictions by bundles for scores."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pipeline.cli.commands import ARGUMENTS, Arguments, option, path_option, result_command, threads_of, threads_option
from pipeline.cli.job import Job, job_of
from pipeline.core.errors import ConfigError
from pipeline.evaluation.recipes import EvaluateRecipe
from pipeline.graph.artifacts import Bundle


@result_command(
    Bundle,
    option("experiment", "experiment, one of its runs, or its ensemble: NAME.ensemble"),
    path_option("output", "zip file to write", ARGUMENTS, metavar="BUNDLE"),
    path_option(
        "--images",
        "image or folder of images to compare bundle and PyTorch on",
        shown="the test images of the data set",
    ),
    option("--licence", "licence of the weights, for the model card", shown="not stated", metavar="TEXT"),
    threads_option("CPU threads of the networks", default=1),
    examples=["export drive-unet model.zip", "export drive-unet model.zip --licence CC-BY-4.0"],
)
def export(arguments: Arguments) -> None:
    """Export a network or an ensemble that runs without this project.

    Writes a zip file with ONNX graphs, weights, all settings between an image and its mask, and a model card. It is
    written only if its probabilities equal those of PyTorch. Needs the extra `export`:
    `pip install 'segmentation-pipeline[export]'`.
    """
    from pipeline.bundle.read import require_extra

    require_extra()
    job_of(arguments, Bundle).make()


@contextmanager
def predictions_by_bundles(job: Job, predictions: Mapping[str, Path]) -> Iterator[tuple[dict[str, Path], list[float]]]:
    """Replace bundles (zip files) among folders of predictions by folders of their predictions.

    Parameters
    ----------
    job : Job
        Of scores.
    predictions : mapping of str to Path
        By split.

    Yields
    ------
    dict of str to Path
        Folders by split; those of bundles exist only inside the context.
    list of float
        The thresholds of the bundles, without duplicates; empty with several classes.

    Raises
    ------
    ConfigError
        If bundles have different thresholds, or predict samples of several folds.
    """
    bundles = {split: path for split, path in predictions.items() if path.suffix == ".zip" and path.is_file()}
    if not bundles:
        yield dict(predictions), []
        return
    from pipeline.bundle.predict import predict_samples
    from pipeline.raw.dataset import open_dataset

    recipe, threads = job.plan.recipe, threads_of(job.arguments)
    assert isinstance(recipe, EvaluateRecipe)
    assert recipe.source is not None
    raw = open_dataset(recipe.dataset, recipe.source)
    with tempfile.TemporaryDirectory(prefix="bundle-") as temporary:
        folders, thresholds = dict(predictions), dict[float, str]()
        for split, bundle in bundles.items():
            if split not in raw.splits:
                found, expected = f"a bundle for {split} samples", "a folder of predictions"
                raise ConfigError(str(bundle), found, expected, "name a bundle for validation or test samples only")
            folders[split] = Path(temporary) / split
            value = predict_samples(bundle=bundle, raw=raw, split=split, output=folders[split], threads=threads)
            if value is not None:
                thresholds[value] = str(bundle)
        if len(thresholds) > 1 and job.arguments.threshold is None:
            found = f"bundles with the thresholds {', '.join(map(str, thresholds))}"
            raise ConfigError("evaluate", found, "one threshold for all splits", "name one with --threshold")
        yield folders, list(thresholds)
