"""What config.yaml may say about data sets: layouts, their keys and defaults, and what does not fit together."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from pipeline.core.errors import Problem
from pipeline.core.options import NUMBER, ByName, Fraction, Rate, Real, Seed, Share, Side, Strict
from pipeline.raw.layouts import drive, duts, shapes, tgs
from pipeline.raw.samples import as_identifier


class Group(Strict):
    """Samples that have to stay on one side of a split: told by a column of a table, or by the identifier."""

    column: Annotated[str, Field(min_length=1, description="Column of `file` that names the group")] | None = None
    file: Annotated[str, Field(min_length=1, description="CSV table, absolute or relative to `root`")] | None = None
    id: Annotated[str, Field(min_length=1, description="Column of `file` with the identifiers; id by default")] = "id"
    pattern: Annotated[str, Field(description="Regular expression with one group, found in the id")] | None = None

    @model_validator(mode="after")
    def _has_one_source(self) -> "Group":
        table = [self.column is not None, self.file is not None]
        if table != [self.pattern is None] * 2 or (self.pattern is not None and "id" in self.model_fields_set):
            raise ValueError("either `column` and `file` (and `id`), or `pattern` alone")
        if self.pattern is not None:
            try:
                groups = re.compile(self.pattern).groups
            except re.error as error:
                raise ValueError(f"`pattern` is no regular expression: {error}") from error
            if groups != 1:
                raise ValueError(f"`pattern` has to have one group in parentheses, not {groups}; (?:...) is none")
        return self

    @model_serializer(mode="wrap")
    def _without_unused(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {"pattern": self.pattern} if self.pattern is not None else {**dump(self)}


class Drawn(Strict):
    """Samples are drawn by seeded hash, as they come, evenly from strata, or in whole groups."""

    seed: Seed = 0
    stratify: Literal["foreground"] | None = Field(
        None, description="Draw evenly from strata of masks with about the same share of foreground"
    )
    group: Group | None = Field(None, description="Keep samples that belong together on one side")

    @model_validator(mode="after")
    def _strata_or_groups(self) -> "Drawn":
        if self.stratify is not None and self.group is not None:
            raise ValueError("`stratify` or `group`, not both: a group is taken whole, whatever its masks show")
        return self


class OfficialSplit(Strict):
    """Samples are those that the data set itself names so."""

    method: Literal["official"]


class DrawnTest(Drawn):
    """Test samples are a share of all labelled ones, by seeded hash or by seeded permutation."""

    method: Literal["fraction", "permutation"]
    fraction: Fraction

    @model_validator(mode="after")
    def _permutes_all(self) -> "DrawnTest":
        if self.method == "permutation" and (self.stratify is not None or self.group is not None):
            raise ValueError("`stratify` and `group` only with the methods fraction and k-fold")
        return self


class DrawnValidation(Drawn):
    """Validation samples are a share of the training samples, by seeded hash; 0 means none."""

    method: Literal["fraction"] = "fraction"
    fraction: Share = 0.2


class ListedSplit(Strict):
    """Samples are those that a text file names, one in each line: an identifier, a file name or a path."""

    method: Literal["list"]
    file: Annotated[str, Field(min_length=1, description="Text file, absolute or relative to `root`")]


class FoldSplit(Drawn):
    """Samples are one of several equal parts, by seeded hash."""

    method: Literal["k-fold"]
    folds: Annotated[int, Field(ge=2, le=1000, description="How many parts there are"), NUMBER]
    fold: Annotated[int, Field(ge=0, description="Which part is taken, from 0"), NUMBER]

    @model_validator(mode="after")
    def _is_one_of_them(self) -> "FoldSplit":
        if self.fold >= self.folds:
            raise ValueError(f"`fold` counts from 0 to {self.folds - 1}, because of `folds: {self.folds}`")
        return self


class Normalize(Strict):
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


def _quoted(name: object) -> object:
    if not isinstance(name, str):  # YAML reads 007 as the number 7
        raise ValueError('an identifier in quotes, such as "007", and its reason')
    return name


Test = Annotated[
    Annotated[OfficialSplit | DrawnTest | ListedSplit | FoldSplit, Field(discriminator="method")],
    ByName("method", "official"),
]
Validation = Annotated[
    Annotated[OfficialSplit | DrawnValidation | ListedSplit | FoldSplit, Field(discriminator="method")],
    ByName("method", "official", default="fraction"),
]
SampleId = Annotated[str, BeforeValidator(_quoted), AfterValidator(as_identifier), Field(min_length=1)]
Reason = Annotated[str, Field(pattern=r"\S")]
Normalization = Annotated[Normalize, ByName("method", "minmax", "unit", "symmetric")]

IMAGENET = Normalize(method="standard", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
"""Mean and standard deviation of the channels of ImageNet, on [0, 1]."""


class BaseDataset(Strict, ABC):
    """What every data set has."""

    root: Annotated[str, Field(min_length=1, description="Folder with the raw files, relative to where snakemake runs")]
    size: Literal["native"] | tuple[Side, Side] = Field(description="[height, width] in pixels, or native")
    channels: Literal["rgb", "grey"] = "rgb"
    interpolation: Literal["area", "linear"] = "area"
    storage: Literal["float16", "float32", "uint8"] = "float16"
    mask_kind: Literal["index", "soft"] = Field(
        "index", description="index: mask pixels are classes; soft: they are probabilities, 255 is 1"
    )
    shards: Annotated[
        int, Field(ge=1, le=4096, description="Files a split is spread over; about 512 samples each"), NUMBER
    ] = 1
    normalize: Normalization
    test: Test
    validation: Validation = DrawnValidation()
    exclude: dict[SampleId, Reason] = Field(
        {}, description="Identifier of a sample to leave out of all splits, in quotes, to the reason"
    )

    @abstractmethod
    def class_names(self) -> tuple[str, ...]:
        """Name the classes, background first."""

    def options(self) -> dict[str, Any]:
        """Keyword arguments of the layout's `list_samples`."""
        return {}

    def labels_options(self, colours: bool = False) -> dict[str, Any]:
        """Keyword arguments of the layout's `describe`; `colours` asks for those that only pictures need."""
        return {}

    @property
    def labelled(self) -> bool:
        """Whether there are masks to train on and to score with."""
        return True

    @property
    def submitted(self) -> bool:
        """Whether predictions of unlabelled samples are also written as a challenge takes them."""
        return False

    @property
    def validated(self) -> bool:
        """Whether there are to be validation samples."""
        return not (isinstance(self.validation, DrawnValidation) and self.validation.fraction == 0)

    def official_splits(self) -> tuple[str, ...]:
        """Name the splits, of validation and test, for which the data set itself can name samples."""
        return ("test",)

    def problems(self, where: str) -> Iterator[Problem]:
        """List what is right in itself and wrong together; `where` is the path of the data set in the file."""
        channels = 3 if self.channels == "rgb" else 1
        said = self.normalize
        if said.mean is not None and said.std is not None and {len(said.mean), len(said.std)} != {channels}:
            yield Problem(
                f"{where}.normalize",
                f"{len(said.mean)} means and {len(said.std)} standard deviations",
                f"{channels} of each, because of `channels: {self.channels}`",
                "give one number for each channel",
            )
        if self.mask_kind == "soft" and len(self.class_names()) > 2:
            yield Problem(
                f"{where}.mask_kind",
                f"'soft', while there are {len(self.class_names())} classes",
                "soft masks only with two classes: background and one other",
                "set `mask_kind: index`",
            )
        for split in ("test", "validation"):
            if isinstance(getattr(self, split), OfficialSplit) and split not in self.official_splits():
                yield Problem(
                    f"{where}.{split}",
                    "'official', while the data set itself names no such samples",
                    "another method",
                    "set a fraction, such as {method: fraction, fraction: 0.2}",
                )


class DriveDataset(BaseDataset):
    """DRIVE retina vessels, or a folder of the same layout."""

    layout: Literal["drive"]
    normalize: Normalization = Normalize(method="minmax")
    test: Test = OfficialSplit(method="official")
    submission_name: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z0-9_-]*\{(number|id)\}[A-Za-z0-9_-]*\.png$",
            description="What the files of a submission are called; {number}: without leading zeros, {id}: with",
        ),
    ] = "{number}.png"

    @property
    def submitted(self) -> bool:
        """Whether predictions of unlabelled samples are also written as a challenge takes them."""
        return True

    def class_names(self) -> tuple[str, ...]:
        """Name the classes, background first."""
        return drive.CLASSES


class TgsDataset(BaseDataset):
    """TGS salt, or a folder of the same layout."""

    layout: Literal["tgs"]
    masks: Literal["png", "csv"] = "png"
    normalize: Normalization = Normalize(method="unit")
    test: Test = DrawnTest(method="permutation", fraction=0.15, seed=42)

    @property
    def submitted(self) -> bool:
        """Whether predictions of unlabelled samples are also written as a challenge takes them."""
        return True

    def class_names(self) -> tuple[str, ...]:
        """Name the classes, background first."""
        return tgs.CLASSES

    def options(self) -> dict[str, Any]:
        """Keyword arguments of the layout's `list_samples`."""
        return {"masks": self.masks}


class ShapesDataset(BaseDataset):
    """Shapes (circles, triangles, squares), or a folder of the same layout."""

    layout: Literal["shapes"]
    normalize: Normalization = Normalize(method="symmetric")
    test: Test = OfficialSplit(method="official")
    validation: Validation = OfficialSplit(method="official")

    def class_names(self) -> tuple[str, ...]:
        """Name the classes, background first."""
        return shapes.CLASSES

    def official_splits(self) -> tuple[str, ...]:
        """Name the splits for which the data set itself can name samples."""
        return ("test", "validation")


class DutsDataset(BaseDataset):
    """DUTS salient objects, or a folder of the same layout."""

    layout: Literal["duts"]
    mask_kind: Literal["index", "soft"] = Field(
        "soft", description="index: mask pixels are classes; soft: they are probabilities, 255 is 1"
    )
    normalize: Normalization = IMAGENET
    test: Test = OfficialSplit(method="official")
    validation: Validation = DrawnValidation(fraction=0.1)

    def class_names(self) -> tuple[str, ...]:
        """Name the classes, background first."""
        return duts.CLASSES
