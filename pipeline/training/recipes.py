"""Settings of a training run: network, loss, optimizer, schedule, augmentation and loop. Does not import torch."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from pipeline.core.options import (
    NUMBER,
    Fraction,
    FractionOrZero,
    HeightWidth,
    NotNegative,
    Options,
    PathText,
    Positive,
    Rate,
    Seed,
    Shorthand,
)
from pipeline.models.networks import AnyNetwork, UNetEncoder
from pipeline.raw.splits.rules import Fold
from pipeline.training.augment.options import Augment
from pipeline.training.pretrained import weights_file

SOFTMAX_LOSSES = frozenset({"cross-entropy", "cross-entropy-dice", "lovasz-softmax", "softmax-bce", "softmax-dice"})
"""Losses of networks with one output channel for each class; required for more than two classes."""

REGION_LOSSES = frozenset({"dice", "lovasz", "lovasz-softmax", "softmax-dice"})
"""Losses of whole regions, in which a pixel has no weight of its own."""

LOSS_MODULES = {"lovasz": "pipeline.training.lovasz", "lovasz-softmax": "pipeline.training.lovasz"}
"""Modules of losses that only training runs with these losses import."""

Precision = Literal["fp32", "bf16", "auto"]
_AUTO = ("fp32", "bf16")  # what `auto` selects from
Threads = Annotated[int, Field(ge=1, le=256), NUMBER]
Crop = HeightWidth


class Border(Options):
    """Extra weight for background between two close objects (U-Net paper, eq. 2)."""

    w0: Rate = Field(10.0, description="Weight added in the narrowest gap.")
    sigma: Annotated[
        float,
        Field(gt=0, le=100, description="Width of the Gaussian in pixels by which the weight decreases with the gap."),
        NUMBER,
    ] = 5.0


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
    "lovasz",
    "lovasz-softmax",
]


def _resolve_bce_alias(value: Any) -> Any:  # noqa: ANN401 - runs before the type is known
    # an alias: the loss is always computed from logits, which is numerically stable
    return "bce" if value == "bce-with-logits" else value


class LossFunction(Options):
    """The loss function; with side outputs, the sum over all outputs."""

    name: Annotated[LossName, BeforeValidator(_resolve_bce_alias)] = Field(
        description="Loss function; `bce-with-logits` is another name of `bce`. `lovasz`, of two classes, and "
        "`lovasz-softmax` are best after another loss (arXiv 1705.08790)."
    )

    @property
    def activation(self) -> str:
        """What converts the output of the network to probabilities: see `pipeline.training.losses.activate`."""
        return "softmax" if self.name in SOFTMAX_LOSSES else "clip" if self.name == "mse" else "sigmoid"

    def modules(self) -> set[str]:
        """Return the module of the loss, if it has one of its own."""
        return {LOSS_MODULES[self.name]} if self.name in LOSS_MODULES else set()


class Loss(LossFunction):
    """The loss function, with side outputs the sum over all outputs, and the pixels that count in it."""

    region: Literal["fov", "full"] = Field(
        "fov", description="Pixels that count: those in the field of view, if there is one (`fov`), or all (`full`)."
    )
    border: Border | None = Field(
        None, description="Extra weight of background pixels in narrow gaps between objects; `{}` uses its defaults."
    )
    class_balance: bool = Field(False, description="Weight each class by the inverse of its fraction of pixels.")

    @model_validator(mode="after")
    def _check_pixel_weights(self) -> "Loss":
        if self.name in REGION_LOSSES and self.weighs_pixels:
            raise ValueError(
                f"`border` and `class_balance` only with losses of single pixels; {self.name} has no pixel weights",
                "remove `border` and `class_balance`, or choose another loss, for example bce-dice",
            )
        return self

    @property
    def weighs_pixels(self) -> bool:
        """Whether the loss has pixel weights."""
        return self.border is not None or self.class_balance


_LOSS_NAME = Shorthand("name", *get_args(LossName))


class Sgd(Options):
    """Stochastic gradient descent."""

    name: Literal["sgd"] = Field(description="Optimizer.")
    lr: Rate = Field(description="Learning rate, before the schedule changes it.")
    momentum: FractionOrZero = Field(0.0, description="Momentum.")
    weight_decay: NotNegative = Field(
        0.0, description="Weight decay (L2 penalty); biases and the weights of normalizations have none."
    )


class Adam(Options):
    """Adam, or AdamW with decoupled weight decay."""

    name: Literal["adam", "adamw"] = Field(description="Optimizer.")
    lr: Rate = Field(description="Learning rate, before the schedule changes it.")
    weight_decay: NotNegative = Field(
        0.0,
        description="Weight decay: an L2 penalty with `adam`, decoupled with `adamw`; biases and the weights of "
        "normalizations have none.",
    )
    eps: Rate = Field(1e-8, description="Added to the root of the second moment, so that no step divides by 0.")


Optimizer = Annotated[Sgd | Adam, Field(discriminator="name")]


class Constant(Options):
    """Constant learning rate."""

    name: Literal["constant"] = Field("constant", description="Schedule of the learning rate.")


OneByDefault = Annotated[
    Annotated[int, Field(ge=1, le=64), NUMBER] | None,
    AfterValidator(lambda number: None if number == 1 else number),  # so that 1 is the same as leaving it out
]


class Cosine(Options):
    """The learning rate falls to 0 along half a cosine, step by step, after `warmup` epochs of linear rise."""

    name: Literal["cosine"] = Field(description="Schedule of the learning rate.")
    warmup: NotNegative = Field(0.0, description="Length of the linear warm-up in epochs, less than `epochs`.")
    warmup_start: FractionOrZero | None = Field(
        None,
        description="Factor of the learning rate in the first step of the warm-up; by default 1 / (steps of the "
        "warm-up + 1).",
    )


class Plateau(Options):
    """The learning rate is multiplied by `factor` after `patience` validations that did not improve `monitor`."""

    name: Literal["plateau"] = Field(description="Schedule of the learning rate.")
    factor: Fraction = Field(0.5, description="Factor of each reduction of the learning rate.")
    patience: Positive = Field(3, description="Number of validations without improvement before a reduction.")
    min_delta: NotNegative = Field(1e-4, description="Smallest change of `monitor` that counts as an improvement.")


Schedule = Annotated[
    Annotated[Constant | Cosine | Plateau, Field(discriminator="name")],
    Shorthand("name", "constant", "cosine", "plateau"),
]


class Init(Options):
    """The network whose weights a training run starts with."""

    checkpoint: PathText | None = Field(None, description="Checkpoint of this pipeline, such as a best.pt.")
    bundle: PathText | None = Field(None, description="Bundle of one network, as `export` writes it.")
    pretrained: PathText | None = Field(
        None,
        description="Weights of the encoder of `unet-encoder`: `imagenet`, or a safetensors file with names of timm.",
    )
    layers: Literal["encoder", "all"] = Field(
        "all", description="Which weights to take over, where name and shape agree: `all`, or those of the `encoder`."
    )
    freeze: Annotated[
        int,
        Field(ge=0, le=1_000_000, description="Number of first epochs in which the loaded encoder stays as it is."),
        NUMBER,
    ] = 0

    @model_validator(mode="after")
    def _one_origin(self) -> "Init":
        if len(self._paths()) != 1:
            raise ValueError("exactly one of `checkpoint`, `bundle` and `pretrained`", "name one of them")
        return self

    def _paths(self) -> dict[str, str]:
        origins = {"checkpoint": self.checkpoint, "bundle": self.bundle, "pretrained": self.pretrained}
        return {kind: path for kind, path in origins.items() if path is not None}

    @property
    def path(self) -> str:
        """The file of the origin, or ``imagenet``."""
        return next(iter(self._paths().values()))

    def at(self, path: str) -> "Init":
        """Return these settings with another path of the origin."""
        return self.changed(**dict.fromkeys(self._paths(), path))

    def modules(self) -> set[str]:
        """Return the module that loads the weights, which no other training run imports."""
        return {"pipeline.training.init"}


class Stage(Options):
    """A later part of the training, with its own loss or learning rate; what it leaves out is as in the experiment.

    The optimizer and the schedule start anew.
    """

    epochs: Positive = Field(description="Number of epochs of this stage, after those before.")
    loss: Annotated[LossFunction, _LOSS_NAME] | None = Field(
        None,
        description="Loss function: its name. `region`, `border` and `class_balance` of "
        "the experiment hold for all stages, whose losses have the same outputs of the network.",
    )
    lr: Rate | None = Field(None, description="Learning rate, before the schedule changes it.")
    schedule: Schedule | None = Field(
        None, description="Schedule of the learning rate in this stage: its name, or a mapping with its options."
    )
    start: Literal["best", "last"] = Field(
        "best", description="Weights to start with: those of the best epoch so far, or of the last."
    )


class Training(Options):
    """All settings that determine the result of a training run."""

    dataset: str = Field(description="Name of the data set, a key of `datasets`.")
    model: AnyNetwork = Field(description="Network: its name, or a mapping with its options.")
    init: Init | None = Field(
        None, description="Start with the weights of another network; by default with random ones."
    )
    loss: Annotated[Loss, _LOSS_NAME] = Field(description="Loss function: its name, or a mapping with its options.")
    optimizer: Optimizer = Field(description="Optimizer with its learning rate.")
    schedule: Schedule = Field(
        Constant(), description="Schedule of the learning rate: its name, or a mapping with its options."
    )
    batch_size: Positive = Field(description="Number of samples in a batch, a multiple of `gpus`.")
    accumulate: OneByDefault = Field(
        None,
        description="Number of batches for each update of the weights. Their gradients are averaged, as in one large "
        "batch if the loss is a mean over pixels. One by default.",
    )
    epochs: Positive = Field(description="Number of epochs.")
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)] | None = Field(
        None, description="Stages of the training after the first `epochs`, each with a loss or rate of its own."
    )
    repeats: Annotated[
        int, Field(ge=1, le=10_000, description="Number of times that an epoch uses each training sample."), NUMBER
    ] = 1
    crop: Crop | None = Field(None, description="[height, width] in pixels of a random crop of training samples.")
    augment: Augment | None = Field(None, description="Random changes of training samples; none by default.")
    seed: Seed = Field(0, description="Seed of the initial weights, the order of samples and the augmentation.")
    monitor: Literal["val_loss", "val_dice", "val_mae", "val_max_f"] = Field(
        "val_loss",
        description="Validation score that selects the best epoch and drives the plateau schedule and early stopping.",
    )
    validate_every: Positive = Field(1, description="Number of epochs from one validation to the next.")
    validate_from: Positive | None = Field(
        None,
        description="First validated epoch, from which `validate_every` counts: 1 with `validate_every: 10` means "
        "epochs 1, 11, 21 and so on. By default epoch 1 and all multiples. The last epoch is always validated.",
    )
    checkpoint_every: Positive = Field(
        1, description="Only epochs divisible by this number, and the last, can become the best one."
    )
    early_stopping: Positive | None = Field(
        None, description="Number of validations without improvement of `monitor` after which training stops."
    )
    precision: Precision = Field(
        "auto",
        description="Number format of the computations, also of predictions: `fp32`, `bf16`, or `auto`, which is bf16 "
        "if the hardware supports it, else fp32.",
    )
    deterministic: bool = Field(
        True,
        description="Use only deterministic operations and exact fp32; false allows faster ones and TF32 on a GPU.",
    )
    cuda_graph: bool = Field(
        True,
        description="Run each full batch on a GPU as one CUDA graph, which is faster; no effect on results, none on "
        "other devices or several GPUs.",
    )
    threads: Threads = Field(2, description="Number of CPU threads, for each GPU if there are several.")
    gpus: Annotated[
        int, Field(ge=1, le=64, description="Number of GPUs, on all `nodes` together, that share each batch."), NUMBER
    ] = 1
    nodes: OneByDefault = Field(
        None, description="Number of machines, each with an equal part of the `gpus`; one by default."
    )
    sync_batch_norm: bool = Field(
        False, description="With several GPUs, compute batch normalization over the whole batch instead of per GPU."
    )

    @model_validator(mode="after")
    def _check_gpus(self) -> "Training":
        if self.batch_size % self.gpus:
            raise ValueError(
                f"a `batch_size` that is a multiple of `gpus` ({self.gpus})",
                f"set `batch_size` to {-(-self.batch_size // self.gpus) * self.gpus}, or change `gpus`",
            )
        if self.gpus % self.node_count:
            raise ValueError(
                f"`gpus` that are a multiple of `nodes` ({self.nodes})",
                "`gpus` is the number of GPUs on all nodes: change `gpus` or `nodes`",
            )
        if self.sync_batch_norm and self.gpus == 1:
            raise ValueError("`gpus` above 1 with `sync_batch_norm`", "remove `sync_batch_norm`, or raise `gpus`")
        return self

    @model_validator(mode="after")
    def _check_freeze(self) -> "Training":
        if self.init is not None and self.init.freeze > self.epochs:
            raise ValueError(f"`init.freeze` of at most `epochs` ({self.epochs})", "lower `freeze`, or raise `epochs`")
        return self

    @model_validator(mode="after")
    def _check_stages(self) -> "Training":
        own = self.loss.activation
        losses = (settings.loss for settings in self.in_stages())
        if other := [loss.name for loss in losses if loss.activation != own]:
            names = [name for name in get_args(LossName) if LossFunction(name=name).activation == own]
            raise ValueError(
                f"losses of `stages` for the same outputs of the network as `loss`, {self.loss.name}; not {other[0]}",
                f"choose among {', '.join(names)}",
            )
        return self

    @model_validator(mode="after")
    def _check_pretrained(self) -> "Training":
        if self.init is not None and self.init.pretrained is not None and self.model.name != "unet-encoder":
            raise ValueError("`init.pretrained` with `model: unet-encoder`", "set this model, or name a checkpoint")
        return self

    def initial_file(self) -> Path | None:
        """Return the file of the weights that the training run starts with; None without `init`.

        Raises
        ------
        ConfigError
            See `pipeline.training.pretrained.published_file`.
        """
        if self.init is None:
            return None
        if isinstance(self.model, UNetEncoder) and self.init.pretrained is not None:
            return weights_file(self.model.encoder, self.init.pretrained)
        return Path(self.init.path)

    def modules(self) -> set[str]:
        """Return the modules that these settings select."""
        return super().modules().union(*(stage.modules() for stage in self.stages or ()))

    @property
    def batches_per_update(self) -> int:
        """Number of batches for each update of the weights: see `accumulate`."""
        return self.accumulate or 1

    @property
    def total_epochs(self) -> int:
        """Number of epochs of all stages."""
        return self.epochs + sum(stage.epochs for stage in self.stages or ())

    def in_stages(self) -> tuple[Self, ...]:
        """Return the settings of each stage, the first of which is that before `stages`."""
        return (self.changed(stages=None), *map(self._in_stage, self.stages or ()))

    def _in_stage(self, stage: Stage) -> Self:
        own: dict[str, Any] = {"epochs": stage.epochs, "stages": None}
        if stage.loss is not None:
            own["loss"] = self.loss.changed(**dict(stage.loss))
        if stage.lr is not None:
            own["optimizer"] = self.optimizer.changed(lr=stage.lr)
        if stage.schedule is not None:
            own["schedule"] = stage.schedule
        return self.changed(**own)

    @property
    def node_count(self) -> int:
        """Number of machines."""
        return self.nodes or 1

    @property
    def node_gpus(self) -> int:
        """Number of GPUs, and of processes, on each machine."""
        return self.gpus // self.node_count

    def validates(self, epoch: int) -> bool:
        """Return whether to validate after an epoch, from 1; see `validate_from`."""
        if epoch == self.epochs:
            return True
        if self.validate_from is None:
            return epoch == 1 or epoch % self.validate_every == 0
        return epoch >= self.validate_from and (epoch - self.validate_from) % self.validate_every == 0


class TrainRecipe(Training):
    """Settings of a checkpoint, except the shards.

    Parameters
    ----------
    fold : Fold, optional
        Validate on the samples of this fold, and train on all others that are not test samples.
    background : {'none'}, optional
        The first of several classes counts like any other; by default it is background.
    """

    fold: Fold | None = None
    background: Literal["none"] | None = None

    def resolutions(self) -> tuple["TrainRecipe", ...]:
        """Return the recipe with each precision that ``'auto'`` can select; a fixed precision stays."""
        return tuple(self.changed(precision=name) for name in _AUTO) if self.precision == "auto" else (self,)

    def fingerprint_settings(self) -> "TrainRecipe":
        """Return the recipe without settings that have no effect on results, such as where a file is."""
        return self.changed(cuda_graph=True, init=self.init and self.init.at(""))

    @property
    def has_background(self) -> bool:
        """Whether the first class is background, and no part of Dice losses and `val_dice` of several classes."""
        return self.background is None


class AugmentedRecipe(Options):
    """Settings of the preview of augmented training samples: see `Training`.

    Parameters
    ----------
    background : {'none'}, optional
        See `TrainRecipe`.
    note : str
        Addition to the caption, such as ``"synthetic data"``.
    """

    dataset: str
    crop: Crop | None
    augment: Augment | None
    seed: Seed
    fold: Fold | None = None
    background: Literal["none"] | None = None
    note: str = ""
