"""Start a training run from the weights of another network: a checkpoint, a bundle, or a pretrained encoder.

Weights are taken over by name and shape, so that classes, channels, image size and depth may differ. Only data is
loaded, never code.
"""

import hashlib
import io
import json
import zipfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from pipeline.core.errors import TrainingError, join_first
from pipeline.core.progress import log
from pipeline.models.encoders.efficientnet_lite import published_names
from pipeline.models.networks import Network, UNetEncoder
from pipeline.models.registry import build_model
from pipeline.training.checkpoint import load_checkpoint
from pipeline.training.pretrained import PUBLISHED
from pipeline.training.recipes import Init, TrainRecipe

_MAX_JSON = 2**24  # bytes of bundle.json, far more than it has
_LISTED = 4
Weights = Mapping[str, torch.Tensor]


class Origin(NamedTuple):
    """Weights to start from.

    Parameters
    ----------
    weights : dict of str to Tensor
    digest : str
        SHA-256 of the file, hexadecimal.
    about : dict of str to str
        File name, experiment and licence, as far as known.
    """

    weights: Weights
    digest: str
    about: dict[str, str]


class Row(NamedTuple):
    """What happens with a weight.

    Parameters
    ----------
    name : str
    here, there : tuple of int, optional
        Its shape in this network and in the origin; None where it does not exist.
    outcome : {'loaded', 'adapted', 'skipped'}
    reason : str
        Why it is adapted or skipped.
    """

    name: str
    here: tuple[int, ...] | None
    there: tuple[int, ...] | None
    outcome: str
    reason: str = ""


def read_origin(recipe: TrainRecipe) -> Origin:
    """Read the weights to start from.

    Raises
    ------
    CheckpointError, TrainingError
        If the file is missing, damaged, of another kind, or has values that are not finite.
    ConfigError
        See `pipeline.training.pretrained.published_file`.
    """
    path, init = recipe.initial_file(), recipe.init
    assert path is not None
    assert init is not None
    try:
        data = path.read_bytes()
    except OSError as error:
        expected = "a checkpoint (best.pt, last.pt) or a bundle of this pipeline"
        raise TrainingError(
            str(path), error.strerror or str(error), expected, "correct the path in `init`, or make the file readable"
        ) from error
    digest = hashlib.sha256(data).hexdigest()
    if init.checkpoint is not None:
        checkpoint = load_checkpoint(path)
        about = {"experiment": checkpoint.info.experiment, "dataset": checkpoint.info.dataset}
        return Origin(checkpoint.state, digest, {"file": path.name, **about})
    if init.pretrained is not None:
        return _read_pretrained(path, data, digest, recipe.model)
    weights, about = _read_bundle(path, data)
    return Origin(weights, digest, {"file": path.name, **about})


def _read_pretrained(path: Path, data: bytes, digest: str, network: Network) -> Origin:
    """Return the weights of an encoder under the names that they have in `unet-encoder`."""
    assert isinstance(network, UNetEncoder)
    with torch.device("meta"):
        names = build_model(network, in_channels=3, out_channels=1).state_dict()
    encoder = [name.removeprefix("encoder.") for name in names if network.in_encoder(name)]
    published = PUBLISHED.get(network.encoder)
    if published is not None and path.name == Path(published.file).name:
        if digest != published.digest:
            found, expected = f"a file with the SHA-256 {digest}", f"the published one, {published.digest}"
            raise TrainingError(str(path), found, expected, f"install {published.package} again")
        weights: Weights = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        sources = published_names(encoder)
        about = {"experiment": f"{network.encoder} trained on ImageNet", "licence": published.licence}
    else:
        try:
            weights = parse_safetensors(path, data)
        except ValueError as error:
            found, expected = (
                f"a damaged file ({str(error)[:160]})",
                "a safetensors file with the weights of the encoder",
            )
            raise TrainingError(str(path), found, expected, "download it again") from error
        own = {_flat(name): name for name in encoder}
        sources = {own[_flat(name)]: name for name in weights if _flat(name) in own}
        about = {}
    renamed = {name: f"encoder.{mine}" for mine, name in sources.items()}
    return Origin(
        {renamed.get(name, name): tensor for name, tensor in weights.items()}, digest, {"file": path.name, **about}
    )


def _flat(name: str) -> str:
    """Return a name without the differences between a model of timm and its features, whose modules are flattened."""
    return name.removeprefix("encoder.").removeprefix("model.").replace(".", "_")


def _read_bundle(path: Path, data: bytes) -> tuple[Weights, dict[str, str]]:
    """Return the weights of a bundle of one network, and what its description says of them."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [member for member in archive.infolist() if Path(member.filename).suffix == ".safetensors"]
            if len(members) == 1:
                contents = _stored(archive, members[0])
                about = _describe_bundle(_stored(archive, archive.getinfo("bundle.json"), _MAX_JSON), contents)
                return parse_safetensors(path, contents), about
            actual = f"a bundle with the weights of {len(members)} networks"
    except (zipfile.BadZipFile, KeyError, ValueError, NotImplementedError, RuntimeError) as error:
        actual = f"a file that is damaged or no bundle ({' '.join(str(error).split())[:160]})"
    expected = "a bundle of one network, with bundle.json and weights.safetensors"
    raise TrainingError(str(path), actual, expected, "export one run with `python -m pipeline export`")


def _stored(archive: zipfile.ZipFile, member: zipfile.ZipInfo, limit: int | None = None) -> bytes:
    """Return a member that is not compressed, and so not larger than the file."""
    if member.compress_type != zipfile.ZIP_STORED or (limit is not None and member.file_size > limit):
        raise ValueError(f"{member.filename} is compressed or too large")
    return archive.read(member)


def _describe_bundle(text: bytes, weights: bytes) -> dict[str, str]:
    """Return experiment and licence of a bundle, as far as its description has them as texts; compare the digest."""
    info = json.loads(text)
    info = info if isinstance(info, dict) else {}
    provenance, networks = info.get("provenance"), info.get("networks")
    network = networks[0] if isinstance(networks, list) and networks else None
    stated = network.get("weights_sha256") if isinstance(network, dict) else None
    if stated != hashlib.sha256(weights).hexdigest():
        raise ValueError("the SHA-256 of its weights is not that in bundle.json")
    parts = [part for part in (info, provenance, network) if isinstance(part, dict)]
    values = {key: part[key] for part in parts for key in ("experiment", "dataset", "licence") if key in part}
    return {key: value for key, value in values.items() if isinstance(value, str) and value}


def parse_safetensors(path: Path, data: bytes) -> Weights:
    """Return the tensors of a safetensors file, which holds nothing but data.

    Raises
    ------
    TrainingError
        If the library is missing, or values are not finite.
    ValueError
        If it is damaged.
    """
    try:
        import safetensors
        from safetensors.torch import load
    except ImportError as error:
        remedy = "pip install 'segmentation-pipeline[export]'"
        raise TrainingError(str(path), "no package safetensors", "the package, which reads it", remedy) from error
    try:
        weights: Weights = load(data)
    except safetensors.SafetensorError as error:
        raise ValueError(str(error)) from error
    if unusable := [name for name, tensor in weights.items() if not bool(tensor.isfinite().all())]:
        actual = f"weights that are not finite numbers (NaN or infinite): {join_first(unusable, _LISTED)}"
        raise TrainingError(str(path), actual, "finite weights", "start from another network")
    return weights


def match_weights(
    network: Network, own: Weights, origin: Weights, layers: str
) -> tuple[dict[str, torch.Tensor], list[Row]]:
    """Match weights by name and shape.

    Parameters
    ----------
    network : Network
        Says which weights are the encoder.
    own : dict of str to Tensor
        The weights of the new network, in order; only their shapes are used.
    origin : dict of str to Tensor
    layers : {'encoder', 'all'}

    Returns
    -------
    dict of str to Tensor
        The weights to take over, in the shape of the new network.
    list of Row
        One for each weight of either network.
    """
    loaded, rows = {}, []
    first = next(name for name, tensor in own.items() if tensor.ndim == 4)  # the first convolution
    for name, tensor in own.items():
        here, source = tuple(tensor.shape), origin.get(name)
        there = None if source is None else tuple(source.shape)
        if layers == "encoder" and not network.in_encoder(name):
            rows.append(Row(name, here, there, "skipped", "not in the encoder"))
        elif source is None:
            rows.append(Row(name, here, None, "skipped", "not in the origin"))
        elif source.dtype.is_floating_point != tensor.dtype.is_floating_point:
            rows.append(Row(name, here, there, "skipped", "another type of numbers"))
        elif here == there:
            loaded[name] = source
            rows.append(Row(name, here, there, "loaded"))
        elif name == first and source.ndim == 4 and (here[0], here[2:]) == (source.shape[0], source.shape[2:]):
            loaded[name] = adapt_channels(source, here[1])
            rows.append(Row(name, here, there, "adapted", f"{source.shape[1]} to {here[1]} input channels"))
        else:
            rows.append(Row(name, here, there, "skipped", "another shape"))
    rows += [
        Row(name, None, tuple(tensor.shape), "skipped", "not in this network")
        for name, tensor in origin.items()
        if name not in own
    ]
    return loaded, rows


def adapt_channels(weight: torch.Tensor, channels: int) -> torch.Tensor:
    """Change the number of input channels of a convolution, so that grey images give the same output as before.

    One channel gets the sum over all channels. Several channels get equal parts of this sum.

    Parameters
    ----------
    weight : (out, in, H, W) tensor
    channels : int
        At least 1.

    Returns
    -------
    (out, channels, H, W) tensor
    """
    return (weight.sum(dim=1, keepdim=True) / channels).repeat(1, channels, 1, 1)


class Start:
    """The encoder of a network that starts with the weights of another, and rests during the first epochs.

    Parameters
    ----------
    network : nn.Module
    encoder : set of str
        Names of the weights and running statistics of its encoder that were loaded.
    epochs : int
        Number of epochs in which they stay as they are.
    """

    def __init__(self, network: nn.Module, encoder: set[str], epochs: int) -> None:
        self._epochs = epochs
        self._parameters = [parameter for name, parameter in network.named_parameters() if name in encoder]
        self._normalizations = [module for name, module in network.named_modules() if f"{name}.running_mean" in encoder]

    def begin_epoch(self, epoch: int) -> bool:
        """Freeze the encoder, or release it; return whether it is frozen. Call it after ``network.train()``.

        Frozen parameters have no gradient, so that the optimizer leaves them out, also from weight decay.
        """
        frozen = epoch <= self._epochs
        for parameter in self._parameters:
            parameter.requires_grad_(not frozen)
        for module in self._normalizations:
            module.train(not frozen)
        return frozen


def initialize(network: nn.Module, recipe: TrainRecipe, experiment: str) -> Start:
    """Load the weights of `recipe.init` into a network, and log what was loaded and skipped.

    Raises
    ------
    CheckpointError, TrainingError
        See `read_origin`; also if nothing can be loaded.
    """
    assert recipe.init is not None
    origin = read_origin(recipe)
    loaded, rows = _match_or_refuse(recipe, network.state_dict(), origin)
    network.load_state_dict(loaded, strict=False)
    log(f"{experiment}: {summary(origin, rows, recipe.init)}")
    return Start(network, {name for name in loaded if recipe.model.in_encoder(name)}, recipe.init.freeze)


def describe(recipe: TrainRecipe, in_channels: int, out_channels: int, planned_digest: str | None) -> dict[str, Any]:
    """Describe for provenance what a training run starts from.

    Parameters
    ----------
    recipe : TrainRecipe
    in_channels, out_channels : int
        Of its network.
    planned_digest : str, optional
        SHA-256 of the origin when the job was planned.

    Returns
    -------
    dict
        ``sha256`` of the origin, what is known of it, and `Row` by `Row` what was loaded and skipped.

    Raises
    ------
    CheckpointError, TrainingError
        See `initialize`; also if the origin has another digest than planned.
    """
    assert recipe.init is not None
    origin = read_origin(recipe)
    if planned_digest not in (None, origin.digest):
        found, expected = "a file that changed after the job was planned", "the file as it was then"
        raise TrainingError(recipe.init.path, found, expected, "run snakemake again, or this command")
    with torch.device("meta"):
        own = build_model(recipe.model, in_channels=in_channels, out_channels=out_channels).state_dict()
    rows = [row._asdict() for row in _match_or_refuse(recipe, own, origin)[1]]
    options = {"layers": recipe.init.layers, "freeze": recipe.init.freeze}
    return {"sha256": origin.digest, **origin.about, **options, "weights": rows}


def _match_or_refuse(recipe: TrainRecipe, own: Weights, origin: Origin) -> tuple[dict[str, torch.Tensor], list[Row]]:
    assert recipe.init is not None
    loaded, rows = match_weights(recipe.model, own, origin.weights, recipe.init.layers)
    if not loaded:
        names = join_first(origin.weights, _LISTED)
        found = f"no weight that fits the network {recipe.model.name}, but {names or 'none at all'}"
        expected = f"weights with the names and shapes of {join_first(own, _LISTED)}"
        raise TrainingError(recipe.init.path, found, expected, "set `model` to the network of the origin")
    return loaded, rows


def summary(origin: Origin, rows: list[Row], init: Init) -> str:
    """Return a few lines on what was loaded and skipped, and why."""
    about = ", ".join(
        [f"{key} {value}" for key, value in origin.about.items() if key != "file"] or ["origin not known"]
    )
    own = [row for row in rows if row.here is not None]
    used = [row for row in own if row.outcome != "skipped"]
    lines = [f"starts from {origin.about['file']} ({about}): {len(used)} of {len(own)} weights loaded"]
    lines += [f"{row.name}: {row.reason}" for row in used if row.outcome == "adapted"]
    skipped = [row for row in rows if row.outcome == "skipped"]
    for reason, count in Counter(row.reason for row in skipped).items():
        names = [_shapes(row) for row in skipped if row.reason == reason]
        more = f" and {count - _LISTED} more" if count > _LISTED else ""
        lines.append(f"{count} skipped, {reason}: {', '.join(names[:_LISTED])}{more}")
    if init.freeze:
        lines.append(f"its encoder is frozen in the first {init.freeze} epochs")
    return "\n  ".join(lines)


def _shapes(row: Row) -> str:
    if row.here is None or row.there is None or row.here == row.there:
        return row.name
    return f"{row.name} ({list(row.there)} there, {list(row.here)} here)"
