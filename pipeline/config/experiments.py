"""What config.yaml may say of an experiment: network, loss, optimizer, schedule, augmentation, prediction."""

from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from pipeline.core.options import NUMBER, ByName, Fraction, NotNegative, Positive, Rate, Seed, Share, Side, Strict

SOFTMAX_LOSSES = frozenset({"cross-entropy", "cross-entropy-dice", "softmax-bce", "softmax-dice"})
"""Losses whose network gives a channel for each class; several classes need one of them."""

Width = Annotated[int, Field(ge=1, le=512, description="Channels of the first block; deeper ones follow it"), NUMBER]
Widths = Annotated[tuple[Positive, ...], Field(min_length=2, max_length=7, description="Channels of each level")]


class UNetModel(Strict):
    """Batch-normalised U-Net with padded convolutions."""

    name: Literal["unet"]
    width: Width = 64
    depth: Annotated[int, Field(ge=2, le=7, description="Levels, the deepest included"), NUMBER] = 5
    bias: bool = True
    head_kernel: Literal[1, 3] = 3


class UNetOriginalModel(Strict):
    """The U-Net of the paper: valid convolutions, cropped skips; the picture is mirrored at its borders."""

    name: Literal["unet-original"]
    width: Width = 64
    depth: Annotated[int, Field(ge=2, le=6, description="Levels, the deepest included"), NUMBER] = 5


class UNetSmallModel(Strict):
    """Small U-Net with padded convolutions and without normalization."""

    name: Literal["unet-small"]
    widths: Widths = (32, 32, 64, 128, 256)


class UNetCropModel(Strict):
    """U-Net with unpadded convolutions, centre-cropped skips and an interpolated output."""

    name: Literal["unet-crop"]
    widths: Widths = (16, 32, 64)


class U2NetModel(Strict):
    """U2-Net, full or lite: nested Us with side outputs, all of which the loss supervises."""

    name: Literal["u2net", "u2net-lite"]
    width: Width = 64


_MODEL_NAMES = ("unet", "unet-original", "unet-small", "unet-crop", "u2net", "u2net-lite")

Model = Annotated[
    Annotated[UNetModel | UNetOriginalModel | UNetSmallModel | UNetCropModel | U2NetModel, Field(discriminator="name")],
    ByName("name", *_MODEL_NAMES),
]


class Border(Strict):
    """Extra weight for background between two close objects (U-Net paper, eq. 2)."""

    w0: Rate = 10.0
    sigma: Annotated[float, Field(gt=0, le=100, description="Pixels"), NUMBER] = 5.0


LossName = Literal[
    "mse",
    "bce",
    "bce-with-logits",
    "dice",
    "bce-dice",
    "cross-entropy",
    "softmax-dice",
    "cross-entropy-dice",
    "softmax-bce",
]


def _one_bce(value: Any) -> Any:  # noqa: ANN401 - runs before the type is known
    # always computed from logits, which is the stable form of the same number: two names, one loss
    return "bce" if value == "bce-with-logits" else value


class Loss(Strict):
    """What training makes small; with side outputs, the sum over all of them."""

    name: Annotated[LossName, BeforeValidator(_one_bce)]
    region: Literal["fov", "full"] = Field(
        "fov", description="fov: only pixels in the field of view, where there is one"
    )
    border: Border | None = Field(None, description="Weight narrow gaps between objects")
    class_balance: bool = Field(False, description="Weight each class by the inverse of its share")

    @model_validator(mode="after")
    def _weights_need_pixels(self) -> "Loss":
        if self.name in ("dice", "softmax-dice") and (self.border or self.class_balance):
            raise ValueError("a Dice loss does not weigh pixels: no `border` and no `class_balance`")
        return self


class Sgd(Strict):
    """Stochastic gradient descent."""

    name: Literal["sgd"]
    lr: Rate
    momentum: Share = 0.0
    weight_decay: NotNegative = 0.0


class Adam(Strict):
    """Adam, or AdamW with decoupled weight decay."""

    name: Literal["adam", "adamw"]
    lr: Rate
    weight_decay: NotNegative = 0.0


class Steady(Strict):
    """The learning rate stays."""

    name: Literal["constant"] = "constant"


class Cosine(Strict):
    """The learning rate falls to 0 by half a cosine, step by step, after `warmup` epochs of linear rise."""

    name: Literal["cosine"]
    warmup: NotNegative = 0.0


class Plateau(Strict):
    """The learning rate is multiplied by `factor` after `patience` validations that did not improve `monitor`."""

    name: Literal["plateau"]
    factor: Fraction = 0.5
    patience: Positive = 3
    smallest_gain: NotNegative = 1e-4


Schedule = Annotated[
    Annotated[Steady | Cosine | Plateau, Field(discriminator="name")],
    ByName("name", "constant", "cosine", "plateau"),
]

Degrees = Annotated[float, Field(ge=0, le=180, description="Degrees, uniform in plus or minus"), NUMBER]


def _rising(limits: tuple[float, float]) -> tuple[float, float]:
    if limits[0] > limits[1]:
        raise ValueError("[lowest, highest], the lowest first")
    return limits


Range = Annotated[tuple[Rate, Rate], AfterValidator(_rising)]


class Elastic(Strict):
    """Smooth random deformation (U-Net paper): a coarse grid of displacements, interpolated bicubically."""

    grid: Annotated[int, Field(ge=2, le=16), NUMBER] = 3
    sigma: Annotated[float, Field(gt=0, le=200, description="Pixels"), NUMBER] = 10.0


class Augment(Strict):
    """Random changes of training samples, picture and mask together."""

    flip: Literal["none", "horizontal", "vertical", "both"] = "none"
    turns: bool = Field(False, description="Right-angle turns; half turns only where the samples are not square")
    rotate: Degrees = 0.0
    shear: Annotated[float, Field(ge=0, le=60, description="Degrees, uniform in plus or minus"), NUMBER] = 0.0
    scale: Range = Field((1.0, 1.0), description="[lowest, highest] magnification")
    shift: Annotated[float, Field(ge=0, le=1, description="Share of height and width"), NUMBER] = 0.0
    elastic: Elastic | None = None
    brightness: Annotated[float, Field(ge=0, le=1, description="Share of the picture's range"), NUMBER] = 0.0
    contrast: Annotated[float, Field(ge=0, lt=1), NUMBER] = 0.0
    gamma: Range = Field((1.0, 1.0), description="[lowest, highest] exponent")


class Tiles(Strict):
    """How large pictures are predicted in parts that overlap."""

    size: tuple[Side, Side] = Field(
        description="[height, width] of a tile in pixels of the data set's `size`, filled up to what the network pools"
    )
    overlap: Annotated[
        float, Field(ge=0, lt=1, description="Share of a tile that the next one covers again"), NUMBER
    ] = 0.5
    margin: Annotated[
        int,
        Field(
            ge=0,
            description="Pixels on each side of a tile that are seen and not used; unet-original drops its own instead",
        ),
        NUMBER,
    ] = 0

    @model_validator(mode="after")
    def _leaves_something(self) -> "Tiles":
        if 2 * self.margin >= min(self.size):
            raise ValueError("twice the `margin` must be less than each side of `size`")
        return self


EMPTY_DEPENDENT = frozenset({"f1", "iou", "f03", "mcc"})
"""Scores of single pictures that `empty_masks` decides where mask and prediction both are empty."""

MACRO_ONLY = frozenset({"tgs_score"})
"""Scores that only single pictures have."""


class ChosenThreshold(Strict):
    """The threshold that makes a score of the validation samples highest."""

    metric: Literal["f1", "iou", "f03", "mcc", "accuracy", "youden", "tgs_score"] = Field(
        "f1", description="What is made highest; f03: F with beta² 0.3, youden: true - false positive rate"
    )
    averaging: Literal["micro", "macro"] = Field(
        "micro", description="micro: of all pixels together, macro: mean over the pictures"
    )

    @model_validator(mode="after")
    def _has_that_average(self) -> "ChosenThreshold":
        if self.metric in MACRO_ONLY and self.averaging == "micro":
            raise ValueError(f"`averaging: macro`: `{self.metric}` belongs to single pictures")
        return self


class Experiment(Strict):
    """One training with everything that decides its result."""

    dataset: str
    model: Model
    loss: Annotated[Loss, ByName("name", *get_args(LossName))]
    optimizer: Annotated[Sgd | Adam, Field(discriminator="name")]
    schedule: Schedule = Steady()
    batch_size: Positive
    epochs: Positive
    repeats: Positive = Field(1, description="How often an epoch takes each training sample")
    crop: tuple[Side, Side] | None = Field(None, description="[height, width] cut out of training samples at random")
    augment: Augment | None = None
    seed: Seed = 0
    seeds: tuple[Seed, ...] | None = Field(
        None, min_length=1, description="Train one network for each of these, and give mean and spread of their scores"
    )
    folds: Annotated[int, Field(ge=2, le=1000), NUMBER] | None = Field(
        None,
        description="Cross-validation: so many networks, each validated on another part of all but the test samples",
    )
    ensemble: bool = Field(
        True, description="Score the mean of the probabilities of all networks of `seeds` and `folds` as well"
    )
    monitor: Literal["val_loss", "val_dice", "val_mae", "val_max_f"] = Field(
        "val_loss", description="What the best epoch, a plateau and early stopping are told by"
    )
    validate_every: Positive = Field(1, description="Epochs from one validation to the next")
    checkpoint_every: Positive = Field(1, description="Only each so manieth epoch may become the best")
    early_stopping: Positive | None = Field(
        None, description="Stop after so many validations that did not improve `monitor`"
    )
    precision: Literal["fp32", "bf16", "auto"] = Field(
        "fp32", description="auto: bf16 where the hardware computes in it, else fp32"
    )
    deterministic: bool = Field(
        True,
        description="Repeatable operations and exact fp32; false: on a GPU faster operations, and TF32",
    )
    threads: Annotated[int, Field(ge=1, le=256), NUMBER] = 2
    gpus: Annotated[
        int, Field(ge=1, le=64, description="GPUs of one machine that train together; they share each batch"), NUMBER
    ] = 1
    sync_batch_norm: bool = Field(
        False, description="With several GPUs: batch normalization over the whole batch, not over each GPU's share"
    )
    threshold: Literal["validation"] | Share | ChosenThreshold = Field(
        "validation",
        description="validation: highest micro F1 on the validation samples; another {metric, averaging}; or a number",
    )
    tiles: Tiles | None = Field(None, description="Predict in tiles of this size; without it every picture as a whole")
    test_time: Literal["none", "flips", "turns"] = Field(
        "none",
        description="Average the prediction over mirror images (flips, 4 passes) or also quarter turns (turns, 8)",
    )
    empty_masks: Literal["one", "skip"] = Field(
        "one", description="Score of a picture whose mask and prediction both are empty: 1, or left out of the mean"
    )
    keep_probability: bool = Field(
        False, description="Keep a probability picture for each of several classes; of two classes it is always kept"
    )

    @model_validator(mode="after")
    def _divides_among_gpus(self) -> "Experiment":
        if self.batch_size % self.gpus:
            raise ValueError(f"a `batch_size` that `gpus` divides: {self.batch_size} samples for {self.gpus} GPUs")
        if self.sync_batch_norm and self.gpus == 1:
            raise ValueError("`sync_batch_norm` with `gpus` above 1: there is nothing to synchronize")
        return self

    @model_validator(mode="after")
    def _one_way_to_say_seeds(self) -> "Experiment":
        if self.seeds is not None:
            if "seed" in self.model_fields_set:
                raise ValueError("either `seed` or `seeds`, not both")
            if len(set(self.seeds)) < len(self.seeds):
                raise ValueError("`seeds` that all differ: the same seed twice is the same network twice")
        return self

    @model_validator(mode="after")
    def _ensemble_of_several(self) -> "Experiment":
        several = self.folds is not None or len(self.seeds or ()) > 1
        if self.ensemble and "ensemble" in self.model_fields_set and not several:
            raise ValueError("`ensemble: true` only with `folds` or at least two `seeds`: one network is no ensemble")
        return self


class Run(Experiment):
    """One network of an experiment with `seeds` or `folds`: config.yaml never says this.

    Parameters
    ----------
    of : str
        The experiment.
    fold : int, optional
        The part, from 0, that it is validated on; it is trained on the other parts. None where there are no folds.
    """

    of: str
    fold: int | None = None
