"""The one place that knows what config.yaml may say: typed, frozen, unknown keys refused.

`parse` turns plain data into a `Config`; its methods cut out, for each stage, the slice that the stage uses, as
plain keyword arguments. Classes and functions elsewhere never see the configuration.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema

from pipeline.config_problems import explain
from pipeline.errors import ConfigError, Problem
from pipeline.raw.splits import SPLITS

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""What data sets and experiments may be called: the names become paths, file names and rule names."""

OBSERVER_SUFFIX = ".second-observer"
"""`<data set>.second-observer` is scored like an experiment; the dot keeps it apart from all of them."""


def _no_bool(value: Any) -> Any:  # noqa: ANN401 - runs before the type is known
    if isinstance(value, bool):
        raise ValueError("a number is expected, not yes/no")
    return value


_NUMBER = BeforeValidator(_no_bool)  # stands last: limits that come after it would not reach the schema

Positive = Annotated[int, Field(ge=1), _NUMBER]
Seed = Annotated[int, Field(ge=0, lt=2**32), _NUMBER]
Real = Annotated[float, Field(allow_inf_nan=False), _NUMBER]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False), _NUMBER]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False), _NUMBER]
Fraction = Annotated[float, Field(gt=0, lt=1), _NUMBER]
Share = Annotated[float, Field(ge=0, lt=1), _NUMBER]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class OfficialTest(_Strict):
    """Test samples are those that the data set itself names so."""

    method: Literal["official"] = "official"


class DrawnTest(_Strict):
    """Test samples are a share of all labelled ones, by seeded hash or by seeded permutation."""

    method: Literal["fraction", "permutation"]
    fraction: Fraction
    seed: Seed = 0


class Validation(_Strict):
    """Validation samples are a share of the training samples, by seeded hash; 0 means none."""

    fraction: Share = 0.2
    seed: Seed = 0


class Normalize(_Strict):
    """How stored values become network input."""

    method: Literal["minmax", "unit", "symmetric", "standard"]
    mean: tuple[Real, ...] | None = None
    std: tuple[Rate, ...] | None = None

    @model_validator(mode="after")
    def _needs_numbers(self) -> "Normalize":
        given = [self.mean is not None, self.std is not None]
        if given != [self.method == "standard"] * 2:
            raise ValueError("`standard` needs `mean` and `std`, one number for each channel; no other method has them")
        return self


class _ByName:
    """Let a bare word stand for a mapping that says nothing but that word, in the file and in its schema."""

    def __init__(self, key: str, *words: str) -> None:
        self.key, self.words = key, words

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:  # noqa: ANN401
        """Wrap a bare word before the mapping is looked at."""

        def wrap(value: Any) -> Any:  # noqa: ANN401 - runs before the type is known
            return {self.key: value} if isinstance(value, str) else value

        return core_schema.no_info_before_validator_function(wrap, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Offer the words beside the mapping."""
        return {"anyOf": [{"type": "string", "enum": list(self.words)}, handler(core)]}


Test = Annotated[
    Annotated[OfficialTest | DrawnTest, Field(discriminator="method")],
    _ByName("method", "official"),
]
Side = Annotated[int, Field(ge=32, le=16384), _NUMBER]


class _Dataset(_Strict):
    root: Annotated[str, Field(min_length=1, description="Folder with the raw files, relative to where snakemake runs")]
    size: Literal["native"] | tuple[Side, Side] = Field(description="[height, width] in pixels, or native")
    channels: Literal["rgb", "grey"] = "rgb"
    interpolation: Literal["area", "linear"] = "area"
    storage: Literal["float16", "float32", "uint8"] = "float16"
    mask_kind: Literal["index", "soft"] = "index"
    shards: Annotated[
        int, Field(ge=1, le=4096, description="Files a split is spread over; about 512 samples each"), _NUMBER
    ] = 1
    validation: Validation = Validation()


class DriveDataset(_Dataset):
    """DRIVE retina vessels, or a folder of the same layout."""

    layout: Literal["drive"]
    normalize: Annotated[Normalize, _ByName("method", "minmax", "unit", "symmetric")] = Normalize(method="minmax")
    test: Test = OfficialTest()

    def options(self) -> dict[str, Any]:
        """Keyword arguments of the layout."""
        return {}


class TgsDataset(_Dataset):
    """TGS salt, or a folder of the same layout."""

    layout: Literal["tgs"]
    masks: Literal["png", "csv"] = "png"
    normalize: Annotated[Normalize, _ByName("method", "minmax", "unit", "symmetric")] = Normalize(method="unit")
    test: Test = DrawnTest(method="permutation", fraction=0.15, seed=42)

    def options(self) -> dict[str, Any]:
        """Keyword arguments of the layout."""
        return {"masks": self.masks}


Dataset = Annotated[DriveDataset | TgsDataset, Field(discriminator="layout")]


class UNetModel(_Strict):
    """Batch-normalised U-Net with padded convolutions."""

    name: Literal["unet"]
    width: Annotated[
        int, Field(ge=1, le=512, description="Channels of the first block; doubled at each level"), _NUMBER
    ] = 64
    depth: Annotated[int, Field(ge=2, le=7, description="Levels, the deepest included"), _NUMBER] = 5
    bias: bool = True
    head_kernel: Literal[1, 3] = 3


class UNetCropModel(_Strict):
    """U-Net with unpadded convolutions, centre-cropped skips and an interpolated output."""

    name: Literal["unet-crop"]
    widths: Annotated[tuple[Positive, ...], Field(min_length=2, max_length=6)] = (16, 32, 64)


Model = Annotated[
    Annotated[UNetModel | UNetCropModel, Field(discriminator="name")], _ByName("name", "unet", "unet-crop")
]


class Loss(_Strict):
    """What training makes small."""

    name: Literal["mse", "bce", "dice", "bce-dice", "cross-entropy"]
    region: Literal["fov", "full"] = Field(
        "fov", description="fov: only pixels in the field of view, where there is one"
    )


class Sgd(_Strict):
    """Stochastic gradient descent."""

    name: Literal["sgd"]
    lr: Rate
    momentum: Share = 0.0
    weight_decay: NotNegative = 0.0


class Adam(_Strict):
    """Adam, or AdamW with decoupled weight decay."""

    name: Literal["adam", "adamw"]
    lr: Rate
    weight_decay: NotNegative = 0.0


class Schedule(_Strict):
    """How the learning rate runs over the epochs; cosine goes down to 0, after `warmup` epochs of linear rise."""

    name: Literal["constant", "cosine"] = "constant"
    warmup: NotNegative = 0.0


class Experiment(_Strict):
    """One training with everything that decides its result."""

    dataset: str
    model: Model
    loss: Annotated[Loss, _ByName("name", "mse", "bce", "dice", "bce-dice", "cross-entropy")]
    optimizer: Annotated[Sgd | Adam, Field(discriminator="name")]
    schedule: Annotated[Schedule, _ByName("name", "constant", "cosine")] = Schedule()
    batch_size: Positive
    epochs: Positive
    seed: Seed = 0
    monitor: Literal["val_loss", "val_dice"] = "val_loss"
    precision: Literal["fp32", "bf16"] = "fp32"
    threads: Annotated[int, Field(ge=1, le=256), _NUMBER] = 2
    threshold: Literal["validation"] | Share = "validation"
    empty_masks: Literal["one", "skip"] = Field(
        "one", description="Score of a picture whose mask and prediction both are empty: 1, or left out of the mean"
    )


class Config(_Strict):
    """All that config.yaml may say."""

    datasets: dict[str, Dataset]
    experiments: dict[str, Experiment] = {}

    # -- slices: what each stage uses, and nothing else ------------------------------------------------------------

    def source(self, dataset: str, *splits: str) -> dict[str, Any]:
        """Return the keyword arguments of `open_dataset` that decide the members of `splits`."""
        data = self.datasets[dataset]
        plain: dict[str, Any] = {"layout": data.layout, "root": data.root, "options": data.options()}
        if data.mask_kind != "index":
            plain["mask_kind"] = data.mask_kind
        if set(splits) != {"unlabelled"}:
            plain["test"] = data.test.model_dump(mode="json")
        if {"train", "validation"} & set(splits) and data.validation.fraction > 0:
            plain["validation"] = data.validation.model_dump(mode="json")
        return plain

    def shard_settings(self, dataset: str, split: str) -> dict[str, Any]:
        """Return what a shard is made by."""
        data = self.datasets[dataset]
        picture = ("size", "channels", "interpolation", "storage")
        return {
            **data.model_dump(mode="json", include=set(picture)),
            "normalize": data.normalize.model_dump(mode="json", exclude_none=True),
            "source": {**self.source(dataset, split), "shards": data.shards},
        }

    def splits_settings(self, dataset: str) -> dict[str, Any]:
        """Return what the table of assignments is made by."""
        return {"source": {**self.source(dataset, *SPLITS), "shards": self.datasets[dataset].shards}}

    def train_settings(self, experiment: str) -> dict[str, Any]:
        """Return what a training is made by, the shards apart."""
        not_here = {"threshold", "empty_masks"}
        return self.experiments[experiment].model_dump(mode="json", exclude=not_here)

    def predict_settings(self, experiment: str) -> dict[str, Any]:
        """Return what a prediction is made by, checkpoint and shards apart."""
        return self.experiments[experiment].model_dump(mode="json", include={"dataset", "precision", "threads"})

    def threshold_settings(self, experiment: str) -> dict[str, Any]:
        """Return what a threshold is chosen by; a second observer's masks are two-valued and need none."""
        dataset = self.dataset_of(experiment)
        said = self.experiments[experiment].threshold if experiment in self.experiments else 0.5
        if said == "validation":
            return {"dataset": dataset, "fixed": None, "source": self.source(dataset, "validation")}
        return {"dataset": dataset, "fixed": said, "source": None}

    def render_settings(self, experiment: str, split: str) -> dict[str, Any]:
        """Return what the pictures of a split are made by."""
        dataset = self.dataset_of(experiment)
        return {"dataset": dataset, "source": self.source(dataset, split)}

    def evaluate_settings(self, experiment: str) -> dict[str, Any]:
        """Return what scores are made by; `experiment` may be a second observer."""
        dataset = self.dataset_of(experiment)
        empty = self.experiments[experiment].empty_masks if experiment in self.experiments else "one"
        return {"dataset": dataset, "source": self.source(dataset, "validation", "test"), "empty_masks": empty}

    def observer_settings(self, dataset: str, split: str) -> dict[str, Any]:
        """Return what the second observer's pictures are made by."""
        return {"source": self.source(dataset, split)}

    def dataset_of(self, experiment: str) -> str:
        """Return the data set of an experiment or of a second observer."""
        if experiment in self.experiments:
            return self.experiments[experiment].dataset
        return experiment.removesuffix(OBSERVER_SUFFIX)


def parse(data: Mapping[str, Any]) -> Config:
    """Check plain data and freeze it.

    Parameters
    ----------
    data : mapping
        What YAML gave. A data set or experiment that is null is left out, so that a later file can take one away.

    Returns
    -------
    Config

    Raises
    ------
    ConfigError
        Listing every mistake with its path and the allowed values.
    """
    plain = dict(data)
    for section in ("datasets", "experiments"):
        if plain.get(section) is None and section in plain:
            plain[section] = {}
        if isinstance(plain.get(section), Mapping):
            plain[section] = {str(name): value for name, value in plain[section].items() if value is not None}
    problems = [*_bad_names(plain), *_unknown_datasets(plain)]
    try:
        config = Config.model_validate(plain)
    except ValidationError as error:
        problems += explain(error, plain, schema())
        raise ConfigError(problems) from error
    problems += _dangling(config)
    if problems:
        raise ConfigError(problems)
    return config


def load(paths: list[Path]) -> Config:
    """Read one or several YAML files, later ones over earlier ones key by key, and `parse` the result."""
    merged: dict[str, Any] = {}
    for path in paths:
        try:
            text = path.read_text(encoding="utf-8")
            data = yaml.safe_load(text)
        except OSError as error:
            raise ConfigError(
                Problem(str(path), error.strerror or str(error), "a YAML file", "name it with --config FILE")
            ) from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(
                Problem(str(path), " ".join(str(error).split()), "YAML", "correct the line; indent with blanks only")
            ) from error
        if not isinstance(data, dict):
            raise ConfigError(
                Problem(str(path), type(data).__name__, "the keys `datasets` and `experiments`", "see the README")
            )
        _merge(merged, data)
    return parse(merged)


def schema() -> dict[str, Any]:
    """Return the JSON schema that lets editors complete and check config.yaml."""
    described = Config.model_json_schema()
    for section in ("datasets", "experiments"):  # null takes an entry of an earlier file away
        entries = described["properties"][section]
        entries["additionalProperties"] = {"anyOf": [entries["additionalProperties"], {"type": "null"}]}
    described["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    described["title"] = "config.yaml of the segmentation pipeline"
    return described


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> None:
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(base.get(key), dict):
            _merge(base[key], value)
        else:
            base[key] = dict(value) if isinstance(value, Mapping) else value


def _bad_names(data: Mapping[str, Any]) -> list[Problem]:
    """List names that cannot become paths, or that are one path on some file systems."""
    problems = []
    for section in ("datasets", "experiments"):
        seen: dict[str, str] = {}
        for name in data.get(section) or {} if isinstance(data.get(section), Mapping) else ():
            if not NAME.fullmatch(name):
                problems.append(
                    Problem(
                        section,
                        f"the name {name!r}, which cannot become a path",
                        "letters, digits, '-' and '_', at most 64, the first a letter or digit",
                        "choose another name",
                    )
                )
            twin = seen.setdefault(name.lower(), name)
            if twin != name:
                problems.append(
                    Problem(
                        section,
                        f"the names {twin!r} and {name!r}",
                        "names that differ by more than upper and lower case (one file on some file systems)",
                        "rename one of them",
                    )
                )
    return problems


def _unknown_datasets(data: Mapping[str, Any]) -> list[Problem]:
    """List experiments whose data set is not there."""
    experiments, datasets = data.get("experiments"), data.get("datasets")
    if not isinstance(experiments, Mapping) or not isinstance(datasets, Mapping):
        return []
    return [
        Problem(
            f"experiments.{name}.dataset",
            repr(experiment["dataset"]),
            f"one of the data sets: {', '.join(sorted(datasets)) or 'none'}",
            "correct the name, or add the data set under `datasets`",
        )
        for name, experiment in experiments.items()
        if isinstance(experiment, Mapping) and "dataset" in experiment and experiment["dataset"] not in datasets
    ]


def _dangling(config: Config) -> list[Problem]:
    """List what is right in itself and wrong together."""
    problems = []
    for name, experiment in config.experiments.items():
        if experiment.dataset not in config.datasets:
            continue
        if experiment.threshold == "validation" and config.datasets[experiment.dataset].validation.fraction == 0:
            problems.append(
                Problem(
                    f"experiments.{name}.threshold",
                    "'validation', while its data set has no validation samples",
                    "a number such as 0.5, or validation samples",
                    f"set `threshold: 0.5`, or datasets.{experiment.dataset}.validation.fraction above 0",
                )
            )
        if experiment.monitor == "val_dice" and config.datasets[experiment.dataset].validation.fraction == 0:
            problems.append(
                Problem(
                    f"experiments.{name}.monitor",
                    "'val_dice', while its data set has no validation samples",
                    "validation samples",
                    f"remove `monitor`, or set datasets.{experiment.dataset}.validation.fraction above 0",
                )
            )
        if experiment.schedule.warmup and (
            experiment.schedule.name == "constant" or experiment.schedule.warmup >= experiment.epochs
        ):
            problems.append(
                Problem(
                    f"experiments.{name}.schedule.warmup",
                    f"{experiment.schedule.warmup:g} of {experiment.epochs} epochs, '{experiment.schedule.name}'",
                    "a warm-up only with `name: cosine`, and shorter than the training",
                    "remove `warmup`, or shorten it and choose `cosine`",
                )
            )
    for name, dataset in config.datasets.items():
        channels = 3 if dataset.channels == "rgb" else 1
        said = dataset.normalize
        if said.mean is not None and said.std is not None and {len(said.mean), len(said.std)} != {channels}:
            problems.append(
                Problem(
                    f"datasets.{name}.normalize",
                    f"{len(said.mean)} means and {len(said.std)} standard deviations",
                    f"{channels} of each, because of `channels: {dataset.channels}`",
                    "give one number for each channel",
                )
            )
    return problems
