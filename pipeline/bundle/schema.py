"""The content of ``bundle.json``: all that stands between an image file and its mask, in version 1 of the schema."""

import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.core.options import NAME, FractionOrZero, Options, Positive
from pipeline.models.networks import AnyNetwork
from pipeline.prediction.recipes import TestTime, Tiles
from pipeline.raw.decode.options import DecodeOptions
from pipeline.raw.recipes import Channels
from pipeline.shards.recipes import Interpolation, Normalize, Size

INFO, CARD, RUNNER = "bundle.json", "README.md", "predict.py"
"""Files of every bundle; `Member` names those of its networks."""

GRAPH, WEIGHTS = "model.onnx", "weights.safetensors"
OPSET = 18
"""ONNX operator set of all graphs."""

VERSION = 1
_FOLDER = f"(?:{NAME.pattern}/)?"
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Member(Options):
    """A network of the bundle; several are an ensemble."""

    graph: str = Field(
        pattern=f"^{_FOLDER}{re.escape(GRAPH)}$", description="ONNX graph: its weights are external data."
    )
    weights: str = Field(
        pattern=f"^{_FOLDER}{re.escape(WEIGHTS)}$",
        description="Weights by their names in PyTorch's `state_dict`, in the folder of the graph.",
    )
    graph_sha256: Digest = Field(description="SHA-256 of the graph.")
    weights_sha256: Digest = Field(description="SHA-256 of the weights.")
    experiment: str = Field(description="Experiment that trained it.")
    epoch: int = Field(ge=0, description="Epoch of the weights.")
    seed: int | None = Field(None, description="Seed of the training.")
    fold: str | None = Field(None, description="Fold that it was validated on.")
    checkpoint_sha256: Digest | None = Field(None, description="SHA-256 of the checkpoint that it was exported from.")

    @model_validator(mode="after")
    def _share_a_folder(self) -> "Member":
        if self.graph.rpartition("/")[0] != self.weights.rpartition("/")[0]:
            raise ValueError(f"the graph {self.graph} and the weights {self.weights} in different folders")
        return self


class ImageInput(Options):
    """How a file becomes the input of a network."""

    channels: Channels = Field(
        description="`rgb`: a grey image is repeated. `grey`: of equal colours one, of others their luma (BT.601)."
    )
    size: Size = Field(description="[height, width] to which images are resized, or `native`.")
    interpolation: Interpolation = Field(
        description="`area` averages along an axis that shrinks and is linear along one that grows; `linear` is always."
    )
    normalize: Normalize = Field(
        description="`minmax`: range of the image to [0, 1]; `unit`: range of its type to [0, 1]; `symmetric`: "
        "to [-1, 1]; `standard`: `unit`, then (x - mean) / std."
    )
    decode: DecodeOptions = Field(description="EXIF orientation, and what happens to pixels without data.")
    types: tuple[str, ...] = Field((), description="Pixel types of the training images.")
    smallest: Positive = Field(description="Smallest height and width of an input of the network, in pixels.")


class Network(Options):
    """What the graphs compute: `image` (N, C, H, W) float32 to `probability` (N, K, H, W) float32."""

    model: AnyNetwork = Field(description="Architecture with its options.")
    in_channels: Positive = Field(description="C.")
    out_channels: Positive = Field(description="K: 1 is the probability of the foreground; else one for each class.")
    activation: str = Field(description="The last step inside the graph, from logits to probabilities.")
    multiple: Positive = Field(description="Shifting an image by this many pixels shifts the output.")
    fixed_size: tuple[Positive, Positive] | None = Field(
        None, description="The only height and width that the graph takes; without it all from `smallest` up."
    )
    valid: bool = Field(
        False,
        description="Whether convolutions are unpadded: the output is smaller than the input, whose borders the runner "
        "mirrors. A side of `multiple` * n + 4 * (`multiple` - 1) pixels, n from 5, loses 4 * `multiple` + 8 * "
        "(`multiple` - 1) pixels.",
    )
    opset: Positive = Field(description="ONNX operator set.")


class Output(Options):
    """How probabilities become a mask."""

    classes: tuple[str, ...] = Field(min_length=2, description="Names, in the order of the class indices.")
    colours: tuple[tuple[int, int, int], ...] = Field(description="Colour of each class, red, green, blue.")
    background: bool = Field(True, description="Whether the first class is background.")
    threshold: FractionOrZero | None = Field(
        None,
        description="Two classes: foreground where level > floor(255 * threshold). Several classes have none: each "
        "pixel gets its most probable class, the lowest of equal ones.",
    )
    threshold_source: str = Field("", description="Where the threshold comes from.")
    levels: Literal["round half down"] = Field(
        "round half down",
        description="Probabilities are clipped to [0, 1] and stored as the level nearest to 255 * probability. An "
        "ensemble is the mean of the levels of its networks, rounded in the same way.",
    )
    fov: Literal["none", "inside"] = Field(
        "none",
        description="`inside`: the network was trained only inside fields of view, and its probabilities outside "
        "mean nothing.",
    )


class Proof(Options):
    """Comparison of the runner with PyTorch in fp32, in levels of 256."""

    images: Positive = Field(description="Number of compared images.")
    largest: int = Field(ge=0, le=255, description="Largest difference of a pixel, in levels.")
    differing: float = Field(ge=0, le=1, description="Share of pixels that differ by more than one level.")
    masks: float = Field(ge=0, le=1, description="Share of pixels whose class differs.")


class Provenance(Options):
    """Where the networks come from."""

    dataset: str = Field(description="Data set of the training.")
    origin: str = Field("", description="Whether its images are real or synthetic.")
    licence: str = Field("", description="Licence of the weights; empty if the author stated none.")
    commit: str = Field("", description="Git commit of the program that trained the first network.")
    scores: dict[str, str] = Field({}, description="Scores on the test samples, with intervals and conditions.")
    versions: dict[str, str] = Field({}, description="Versions of the programs that wrote the bundle.")
    trained_on: dict[str, str] = Field({}, description="Hardware and versions of the training.")


class BundleInfo(Options):
    """All that stands between an image and a mask."""

    kind: Literal["segmentation-bundle"] = Field("segmentation-bundle", description="Says what the file is.")
    version: Literal[1] = Field(1, description="Version of this schema.")
    networks: tuple[Member, ...] = Field(min_length=1, max_length=100, description="One, or those of an ensemble.")
    input: ImageInput
    network: Network
    tiles: Tiles | None = Field(
        None, description="Larger images are predicted in tiles; without it as a whole. See docs/export.md."
    )
    test_time: TestTime = Field(
        "none",
        description="Mean over 2 (`horizontal`) or 4 (`flips`) mirror images or 8 symmetries of the square (`rot90`).",
    )
    output: Output
    without: tuple[str, ...] = Field((), description="What the pipeline does and the runner of the bundle does not.")
    proof: Proof | None = Field(None, description="Comparison before the bundle was written.")
    provenance: Provenance

    @model_validator(mode="after")
    def _check_consistency(self) -> "BundleInfo":
        network, output, classes = self.network, self.output, len(self.output.classes)
        names = [name for member in self.networks for name in (member.graph, member.weights)]
        if len(set(names)) < len(names):
            raise ValueError(f"files that belong to several networks: {', '.join(sorted(names))}")
        if network.in_channels != {"rgb": 3, "grey": 1}[self.input.channels]:
            raise ValueError(f"{network.in_channels} input channels for {self.input.channels} images")
        normalize = self.input.normalize
        if normalize.mean is not None and {len(normalize.mean), len(normalize.std or ())} != {network.in_channels}:
            raise ValueError("a number of means and stds other than that of the channels")
        if (
            classes != max(2, network.out_channels)
            or len(output.colours) != classes
            or len(set(output.classes)) < classes
        ):
            raise ValueError(f"{classes} classes, {len(output.colours)} colours and {network.out_channels} outputs")
        if any(not name.strip(".") or "\0" in name or len(name.encode()) > 250 for name in output.classes):
            raise ValueError("names of classes that cannot be names of folders")
        if (output.threshold is None) != (classes > 2):
            raise ValueError(f"{classes} classes and the threshold {output.threshold}; two classes have one, more none")
        if network.fixed_size is not None and (self.tiles is not None or self.input.size != network.fixed_size):
            raise ValueError("a network of a fixed size with tiles, or with images of another size")
        if network.opset > OPSET:
            raise ValueError(f"opset {network.opset}, newer than {OPSET}")
        return self
