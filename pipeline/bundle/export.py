"""Export an experiment or an ensemble of the study as a bundle."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pipeline.bundle.recipes import ExportRecipe
from pipeline.bundle.write import write_bundle
from pipeline.core.errors import ConfigError
from pipeline.core.files import read_json
from pipeline.evaluation.thresholds import read_threshold
from pipeline.prediction.listing import ImageFile, list_images
from pipeline.prediction.recipes import SourcedThreshold
from pipeline.raw.dataset import open_dataset
from pipeline.raw.splits.names import TEST


def export_experiment(
    recipe: ExportRecipe,
    *,
    experiment: str,
    checkpoints: Sequence[Path],
    provenance: Sequence[Path],
    output: Path,
    threshold: Path | None = None,
    intervals: Path | None = None,
    images: Path | None = None,
    licence: str | None = None,
    threads: int = 1,
) -> None:
    """Write a bundle, with what the study knows about its networks.

    Parameters
    ----------
    recipe : ExportRecipe
    experiment : str
        Experiment or ensemble.
    checkpoints, provenance : sequence of Path
        Of each run.
    output : Path
        Zip file.
    threshold : Path, optional
        File of the threshold; only with two classes.
    intervals : Path, optional
        Scores with confidence intervals.
    images : Path, optional
        Images on which bundle and PyTorch are compared; by default, those of the split.
    licence : str, optional
        For the model card.
    threads : int

    Raises
    ------
    BundleError, CheckpointError, ConfigError, PredictionError, RawDataError, OutputError
    """
    chosen = SourcedThreshold(0.5, "no threshold")
    if threshold is not None:
        stored = read_threshold(threshold)
        chosen = SourcedThreshold(stored.value, ", ".join(filter(None, (stored.source, stored.criterion))))
    write_bundle(
        checkpoints=checkpoints,
        images=list_images(images) if images is not None else _sample_images(recipe, experiment),
        output=output,
        threshold=chosen,
        threads=threads,
        tiles=recipe.tiles,
        test_time=recipe.test_time,
        licence=licence or "",
        commit=_commit(provenance),
        scores={} if intervals is None else _scores(intervals),
    )


def _sample_images(recipe: ExportRecipe, experiment: str) -> list[ImageFile]:
    """Return the images of the split; refuse none, and pages of stacks."""
    samples = open_dataset(recipe.dataset, recipe.source).splits[recipe.split]
    if not samples or any(sample.page is not None for sample in samples):
        found = "no samples" if not samples else "samples that are pages of a stack"
        remedy = "name other images with --images FOLDER"
        raise ConfigError(f"export of {experiment}", found, "image files to compare bundle and PyTorch on", remedy)
    return [ImageFile(sample.id, Path(sample.image)) for sample in samples]


def _commit(provenance: Sequence[Path]) -> str:
    """Return the git commit that trained the first network; empty if it is not known."""
    code = read_json(provenance[0]).get("code", {}).get("pipeline") if provenance else None
    return str((code or {}).get("commit") or "")


def _scores(intervals: Path) -> dict[str, str]:
    """Return the scores on test samples as texts, by their conditions."""
    table = pd.read_csv(intervals)
    scores = {}
    for row in table[table["split"] == TEST].to_dict("records"):
        conditions = [str(row[key]) for key in ("metric", "averaging", "class", "region") if not pd.isna(row[key])]
        interval = f"{row['low']:.4f} to {row['high']:.4f} at {row['level']:g}"
        scores[" ".join(conditions)] = f"{row['estimate']:.4f} ({interval}, {row['images']} images)"
    return scores
