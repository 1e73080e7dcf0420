"""The threshold for images outside of a data set: as given, as chosen for the checkpoint, or 0.5."""

import os
from pathlib import Path

from pipeline.core import paths
from pipeline.core.errors import OriginError
from pipeline.core.files import real_path
from pipeline.core.manifest import Manifest, find, find_edited
from pipeline.evaluation.thresholds import Threshold, read_threshold
from pipeline.prediction.recipes import SourcedThreshold

_DEFAULT = 0.5


def threshold_for(checkpoint: Path, given: float | Path | None) -> SourcedThreshold:
    """Return the threshold for a checkpoint with two classes.

    Parameters
    ----------
    checkpoint : Path
        In a folder of results, where its experiment has a threshold, or beside a copy of this ``threshold.json``.
    given : float or Path, optional
        The threshold, or a file with one.

    Raises
    ------
    PredictionError
        If a threshold file cannot be read.
    OriginError
        If the threshold of the experiment was edited.
    """
    if isinstance(given, Path):
        return _from_file(given, "--threshold")._replace(given=True)
    if given is not None:
        return SourcedThreshold(given, "--threshold", given=True)
    reason = "the default: no threshold.json of this checkpoint was found"
    for path, network in _candidates(checkpoint):
        if not os.path.lexists(path):
            continue
        if edited := find_edited([path]):
            raise OriginError(edited)
        if network is None or _is_chosen_for(path, network):
            return _from_file(path, "found for this checkpoint")
        reason = f"the default: {path} was chosen for another checkpoint"
    return SourcedThreshold(_DEFAULT, f"{reason}; --threshold sets another one")


def _from_file(path: Path, origin: str) -> SourcedThreshold:
    threshold = read_threshold(path)
    return SourcedThreshold(threshold.value, f"{origin}, {path}: {_describe(threshold)}")


def _describe(threshold: Threshold) -> str:
    return f"{threshold.source}, {threshold.criterion}" if threshold.criterion else threshold.source


def _candidates(checkpoint: Path) -> list[tuple[Path, Path | None]]:
    """Return where a threshold may be, each with the checkpoint to compare: none for a copy beside the checkpoint."""
    candidates: list[tuple[Path, Path | None]] = [(checkpoint.with_name("threshold.json"), None)]
    for path in dict.fromkeys((checkpoint, real_path(checkpoint))):  # a link to a checkpoint is in another folder
        folder = path.absolute().parent
        results = folder.parent.parent
        if folder == results / paths.model(folder.name).relative_to(paths.RESULTS):
            threshold = results / paths.threshold(folder.name).relative_to(paths.RESULTS)
            shown = threshold if path.is_absolute() else Path(*path.parts[:-3]) / threshold.relative_to(results)
            candidates.append((shown, path))
    return candidates


def _is_chosen_for(threshold: Path, checkpoint: Path) -> bool:
    """Return whether a threshold was chosen on predictions of a checkpoint, by their manifests.

    True for a fixed threshold, and if a manifest is missing, as in an incomplete copy of a folder of results.
    """
    chosen, trained = find(threshold), find(checkpoint)
    if chosen is None or trained is None or not chosen.fingerprint.made_from.get("predictions"):
        return True
    identities = chosen.fingerprint.made_from["predictions"]
    for split in threshold.parent.iterdir():
        predictions = find(split / "probability") if split.is_dir() else None
        if predictions is not None and predictions.identity in identities:
            return _predicted_by(predictions, checkpoint, trained)
    return True


def _predicted_by(predictions: Manifest, checkpoint: Path, trained: Manifest) -> bool:
    """Return whether predictions were made by a checkpoint; best.pt and last.pt of a training have one manifest."""
    name = predictions.fingerprint.settings.get("predict_with", "best")
    return checkpoint.stem == name and trained.identity in predictions.fingerprint.made_from.get("checkpoint", ())
