"""Write a bundle: networks with all that stands between an image and a mask, compared with PyTorch before."""

import hashlib
import importlib.metadata
import json
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.bundle import runner
from pipeline.bundle.card import model_card
from pipeline.bundle.onnx_graph import export_network, is_valid
from pipeline.bundle.read import require_extra
from pipeline.bundle.schema import (
    CARD,
    GRAPH,
    INFO,
    OPSET,
    RUNNER,
    WEIGHTS,
    BundleInfo,
    ImageInput,
    Member,
    Network,
    Output,
    Proof,
    Provenance,
)
from pipeline.core.counts import threshold_level, to_levels
from pipeline.core.errors import BundleError, ConfigError
from pipeline.core.files import atomic_file
from pipeline.core.progress import log, progress_bar
from pipeline.models.registry import build_model
from pipeline.models.shapes import SMALLEST
from pipeline.prediction.bands import class_indices, native_bands
from pipeline.prediction.ensemble import mean_levels
from pipeline.prediction.listing import ImageFile
from pipeline.prediction.network import Predictor, load_predictor
from pipeline.prediction.new_images import load_image
from pipeline.prediction.recipes import SourcedThreshold, TestTime, Tiles
from pipeline.raw.decode.options import DecodeOptions
from pipeline.raw.decode.palette import class_colours
from pipeline.training.checkpoint import Checkpoint, CheckpointInfo, load_checkpoint

WITHOUT = (
    "pixels without data (NoData values, transparency masks): images that have some are predicted as they are",
    "fields of view: mask the result yourself where the output says `fov: inside`",
    "bands: an image and its probabilities are in memory as a whole",
    "orientation tags of other files than JPEG; TIFF stacks, of which the first page is read",
    "GPUs and bf16: networks run in float32 on the CPU",
    "overlays, cut-outs and comparisons with the training images",
)
"""What the pipeline does and the runner does not."""

_TOLERATED = 1e-4  # share of pixels that may differ by more than one level
_TIME = (1980, 1, 1, 0, 0, 0)  # of all files, so that equal bundles have equal bytes


def write_bundle(
    *,
    checkpoints: Sequence[Path],
    images: Sequence[ImageFile],
    output: Path,
    threshold: SourcedThreshold,
    threads: int,
    tiles: Tiles | None = None,
    test_time: TestTime = "none",
    licence: str = "",
    commit: str = "",
    scores: Mapping[str, str] = {},
) -> Proof:
    """Export networks into one file, if its program predicts the same as PyTorch in fp32.

    Parameters
    ----------
    checkpoints : sequence of Path
        One, or those of an ensemble.
    images : sequence of ImageFile
        On which both predictions are compared.
    output : Path
        Zip file to write.
    threshold : SourcedThreshold
        With two classes.
    threads : int
    tiles, test_time
        See `pipeline.prediction.network.load_predictor`.
    licence, commit, scores
        See `pipeline.bundle.schema.Provenance`.

    Returns
    -------
    Proof

    Raises
    ------
    BundleError
        If the predictions differ by more than one level of 256 on more than 1e-4 of the pixels: nothing is written.
    CheckpointError, ConfigError, PredictionError, RawDataError, OutputError
    """
    require_extra()
    loaded = [load_checkpoint(path) for path in checkpoints]
    _require_alike(checkpoints, loaded)
    names = [""] if len(loaded) == 1 else [f"{index:02d}-{item.info.experiment}/" for index, item in enumerate(loaded)]
    with tempfile.TemporaryDirectory(prefix="bundle-") as temporary:
        folder, members = Path(temporary), []
        for path, checkpoint, name in zip(checkpoints, loaded, names, strict=True):
            exported = export_network(checkpoint.info, checkpoint.state)
            (folder / name).mkdir(exist_ok=True)
            (folder / name / GRAPH).write_bytes(exported.graph)
            (folder / name / WEIGHTS).write_bytes(exported.weights)
            members.append(_member(path, checkpoint, name, exported.graph, exported.weights))
        info = describe(loaded[0].info, members, threshold, tiles, test_time)
        stated = {"licence": licence, "commit": commit, "scores": dict(scores)}
        info = info.changed(provenance=info.provenance.changed(**stated))
        _write_info(folder, info)
        predictors = [
            load_predictor(path, precision="fp32", threads=threads, tiles=tiles, test_time=test_time)
            for path in checkpoints
        ]
        info = info.changed(proof=_compare(runner.Bundle(folder, threads), predictors, images, threshold))
        _write_info(folder, info)
        (folder / CARD).write_text(model_card(info), "utf-8")
        (folder / RUNNER).write_bytes(Path(runner.__file__).read_bytes())
        files = [INFO, CARD, RUNNER, *(file for item in members for file in (item.graph, item.weights))]
        _zip(folder, files, output)
    assert info.proof is not None
    log(
        f"{output}: {output.stat().st_size / 1e6:.1f} MB; on {info.proof.images} images at most "
        f"{info.proof.largest} levels from PyTorch, {info.proof.differing:.2g} of the pixels more than one"
    )
    return info.proof


def _require_alike(paths: Sequence[Path], loaded: Sequence[Checkpoint]) -> None:
    """Refuse an ensemble of networks with other input or output."""
    first = loaded[0].info
    for path, checkpoint in zip(paths, loaded, strict=True):
        info = checkpoint.info
        if (info.preparation, info.class_names, info.model, info.activation) != (
            first.preparation,
            first.class_names,
            first.model,
            first.activation,
        ):
            expected = f"the architecture, preparation and classes of {paths[0]}"
            raise ConfigError(str(path), "another network", expected, "export the runs of one experiment")


def _member(path: Path, checkpoint: Checkpoint, name: str, graph: bytes, weights: bytes) -> Member:
    info = checkpoint.info
    fold = info.settings.fold
    return Member(
        graph=f"{name}{GRAPH}",
        weights=f"{name}{WEIGHTS}",
        graph_sha256=hashlib.sha256(graph).hexdigest(),
        weights_sha256=hashlib.sha256(weights).hexdigest(),
        experiment=info.experiment,
        epoch=checkpoint.epoch,
        seed=info.settings.seed,
        fold=None if fold is None else str(fold.plain()),
        checkpoint_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
    )


def describe(
    info: CheckpointInfo,
    members: Sequence[Member],
    threshold: SourcedThreshold,
    tiles: Tiles | None,
    test_time: TestTime,
) -> BundleInfo:
    """Return the description of a bundle without its proof."""
    preparation, background = info.preparation, info.settings.has_background
    network = build_model(info.model, in_channels=info.in_channels, out_channels=info.out_channels)
    versions = ("segmentation-pipeline", "torch", "onnx", "onnxruntime", "numpy", "opencv-python-headless")
    several = len(info.class_names) > 2
    return BundleInfo(
        networks=tuple(members),
        input=ImageInput(
            channels=preparation.channels,
            size=preparation.size,
            interpolation=preparation.interpolation,
            normalize=preparation.normalize,
            decode=preparation.to(DecodeOptions),
            types=() if info.image_values is None else info.image_values.dtypes,
            smallest=SMALLEST,
        ),
        network=Network(
            model=info.model,
            in_channels=info.in_channels,
            out_channels=info.out_channels,
            activation=info.activation,
            multiple=network.multiple,
            fixed_size=info.size if info.model.fixed_size else None,
            valid=is_valid(network),
            opset=OPSET,
        ),
        tiles=tiles,
        test_time=test_time,
        output=Output(
            classes=info.class_names,
            colours=class_colours(info.class_names, background=background),
            background=background,
            threshold=None if several else threshold.value,
            threshold_source="" if several else threshold.source,
            fov="inside" if info.has_fov and info.settings.loss.region == "fov" else "none",
        ),
        without=WITHOUT,
        provenance=Provenance(
            dataset=info.dataset,
            origin=info.origin,
            versions={name: importlib.metadata.version(name) for name in versions},
            trained_on=info.made_with,
        ),
    )


def _write_info(folder: Path, info: BundleInfo) -> None:
    (folder / INFO).write_text(json.dumps(info.plain(), indent=1, ensure_ascii=False) + "\n", "utf-8")


def _compare(
    bundle: runner.Bundle,
    predictors: Sequence[Predictor],
    files: Sequence[ImageFile],
    threshold: SourcedThreshold,
) -> Proof:
    """Predict images in both ways, and compare levels and masks."""
    largest = pixels = differing = masks = total = 0
    for file in progress_bar(files, "comparing images", len(files)):
        try:
            levels, mask = bundle.predict(file.path)
        except runner.UnusableError as error:
            remedy = "name images that OpenCV reads with --images"
            raise BundleError(str(file.path), str(error), "an image that the runner can predict", remedy) from error
        expected_levels, expected_mask = predict_by_pytorch(predictors, file, threshold)
        difference = np.abs(levels.astype(np.int16) - expected_levels)
        largest, total = max(largest, int(difference.max())), total + difference.size
        differing += int((difference > 1).sum())
        masks, pixels = masks + int((mask != expected_mask).sum()), pixels + mask.size
    proof = Proof(images=len(files), largest=largest, differing=differing / total, masks=masks / pixels)
    if proof.differing > _TOLERATED:
        raise BundleError(
            "export",
            f"probabilities of the bundle that differ from PyTorch by up to {largest} levels of 256, by more than one "
            f"on {proof.differing:.2g} of the pixels",
            f"at most one level, but for {_TOLERATED:g} of the pixels",
            "compare on images that OpenCV and the pipeline decode alike, such as PNG (--images); else report it",
        )
    return proof


def predict_by_pytorch(
    predictors: Sequence[Predictor], file: ImageFile, threshold: SourcedThreshold
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return levels (K, H, W) and mask (H, W) of PyTorch's prediction, as `predict` and `ensemble` write 8 bits."""
    levels = []
    for predictor in predictors:
        loaded = load_image(file, predictor)
        bands = native_bands([predictor(loaded.image)], loaded.image.size, loaded.native_size)
        planes = np.concatenate(list(bands), axis=1)
        levels.append(to_levels(planes))
    classes = class_indices(planes)
    if len(levels) > 1:
        sums = np.asarray(np.sum(levels, axis=0, dtype=np.uint32))
        classes = sums.argmax(axis=0).astype(np.uint8)
        levels = [np.stack([mean_levels(plane, len(levels)) for plane in sums])]
    if predictors[0].multiclass:
        return levels[0], classes
    foreground = levels[0][0] > threshold_level(threshold.value)
    return levels[0], foreground.astype(np.uint8) * np.uint8(255)


def _zip(folder: Path, files: Sequence[str], output: Path) -> None:
    """Write files, in order and without compression; equal files give equal bytes."""
    with atomic_file(output) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name in files:
            entry = zipfile.ZipInfo(name, _TIME)
            entry.external_attr, entry.create_system = 0o100644 << 16, 3
            archive.writestr(entry, (folder / name).read_bytes())
