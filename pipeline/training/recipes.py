"""What a training is made by: network, loss, optimizer, schedule, augmentation, and how it goes. No import of torch."""

from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, model_validator

from pipeline.core.options import NUMBER, Fraction, NotNegative, Options, Positive, Rate, Seed, Share, Shorthand, Side
from pipeline.models.networks import AnyNetwork
from pipeline.raw.splits.rules import Fold
from pipeline.training.augment.options import Augment

SOFTMAX_LOSSES = frozenset({"cross-entropy", "cross-entropy-dice", "softmax-bce", "softmax-dice"})
"""Losses whose network gives a channel for each class; several classes need one of them."""

Precision = Literal["fp32", "bf16", "auto"]
Threads = Annotated[int, Field(ge=1, le=256), NUMBER]
Crop = tuple[Side, Side]


class Border(Options):
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


class Loss(Options):
    """What training makes small; with side outputs, the sum over all of them."""

    name: Annotated[LossName, BeforeValidator(_one_bce)]
    region: Literal["fov", "full"] = Field(
        "fov", description="fov: only pixels in the field of view, where there is one"
    )
    border: Border | None = Field(None, description="Weight narrow gaps between objects")
    class_balance: bool = Field(False, description="Weight each class by the inverse of its share")

    @model_validator(mode="after")
    def _weights_need_pixels(self) -> "Loss":
        if self.name in ("dice", "softmax-dice") and self.weighs_pixels:
            raise ValueError("a Dice loss does not weigh pixels: no `border` and no `class_balance`")
        return self

    @property
    def weighs_pixels(self) -> bool:
        """Whether pixels have weights of their own."""
        return self.border is not None or self.class_balance


class Sgd(Options):
    """Stochastic gradient descent."""

    name: Literal["sgd"]
    lr: Rate
    momentum: Share = 0.0
    weight_decay: NotNegative = 0.0


class Adam(Options):
    """Adam, or AdamW with decoupled weight decay."""

    name: Literal["adam", "adamw"]
    lr: Rate
    weight_decay: NotNegative = 0.0


Optimizer = Annotated[Sgd | Adam, Field(discriminator="name")]


class Constant(Options):
    """The learning rate stays."""

    name: Literal["constant"] = "constant"


class Cosine(Options):
    """The learning rate falls to 0 by half a cosine, step by step, after `warmup` epochs of linear rise."""

    name: Literal["cosine"]
    warmup: NotNegative = 0.0


class Plateau(Options):
    """The learning rate is multiplied by `factor` after `patience` validations that did not improve `monitor`."""

    name: Literal["plateau"]
    factor: Fraction = 0.5
    patience: Positive = 3
    min_delta: NotNegative = 1e-4


Schedule = Annotated[
    Annotated[Constant | Cosine | Plateau, Field(discriminator="name")],
    Shorthand("name", "constant", "cosine", "plateau"),
]


class Training(Options):
    """One training with everything that decides its result."""

    dataset: str
    model: AnyNetwork
    loss: Annotated[Loss, Shorthand("name", *get_args(LossName))]
    optimizer: Optimizer
    schedule: Schedule = Constant()
    batch_size: Positive
    epochs: Positive
    repeats: Positive = Field(1, description="How often an epoch takes each training sample")
    crop: Crop | None = Field(None, description="[height, width] cut out of training samples at random")
    augment: Augment | None = None
    seed: Seed = 0
    monitor: Literal["val_loss", "val_dice", "val_mae", "val_max_f"] = Field(
        "val_loss", description="What the best epoch, a plateau and early stopping are told by"
    )
    validate_every: Positive = Field(1, description="Epochs from one validation to the next")
    checkpoint_every: Positive = Field(1, description="Only every this many epochs may become the best")
    early_stopping: Positive | None = Field(
        None, description="Stop after so many validations that did not improve `monitor`"
    )
    precision: Precision = Field("fp32", description="auto: bf16 where the hardware computes in it, else fp32")
    deterministic: bool = Field(
        True,
        description="Repeatable operations and exact fp32; false: on a GPU faster operations, and TF32",
    )
    threads: Threads = 2
    gpus: Annotated[
        int, Field(ge=1, le=64, description="GPUs of one machine that train together; they share each batch"), NUMBER
    ] = 1
    sync_batch_norm: bool = Field(
        False, description="With several GPUs: batch normalization over the whole batch, not over each GPU's share"
    )

    @model_validator(mode="after")
    def _divides_among_gpus(self) -> "Training":
        if self.batch_size % self.gpus:
            raise ValueError(f"a `batch_size` that `gpus` divides: {self.batch_size} samples for {self.gpus} GPUs")
        if self.sync_batch_norm and self.gpus == 1:
            raise ValueError("`sync_batch_norm` with `gpus` above 1: there is nothing to synchronize")
        return self

    def validates(self, epoch: int) -> bool:
        """Tell whether the network is validated after an epoch, from 1: the first, every so many, and the last."""
        return epoch in (1, self.epochs) or epoch % self.validate_every == 0


class TrainRecipe(Training):
    """What a checkpoint is made by, the shards apart.

    Parameters
    ----------
    fold : Fold, optional
        Train on all samples that are no test samples but those of one fold, and validate on these.
    """

    fold: Fold | None = None


class AugmentedRecipe(Options):
    """What the image of augmented training samples is made by: see `Training`.

    Parameters
    ----------
    note : str
        What else the caption says, such as ``"synthetic data"``.
    """

    dataset: str
    crop: Crop | None
    augment: Augment | None
    seed: Seed
    fold: Fold | None = None
    note: str = ""
