"""Types of the data sets in config.yaml: common keys, and those of the layouts."""

from collections.abc import Iterator
from copy import copy
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field, create_model, model_validator

from pipeline.core.errors import Problem
from pipeline.core.options import PathText, tagged_union
from pipeline.raw.layouts.base import Layout
from pipeline.raw.layouts.registry import LAYOUTS
from pipeline.raw.source import Exclude, MaskKind, Shards, Source
from pipeline.raw.splits.rules import Fold, FoldSplit, OfficialSplit, RandomValidation, Sampling, Test, Validation
from pipeline.shards.recipes import Normalization, Preparation


class Dataset(Preparation):
    """Keys that all data sets have, beside the options of the layout."""

    root: PathText = Field(
        description="Folder of the raw files, absolute or relative to the working folder; `~` and `$HOME` are replaced."
    )
    mask_kind: MaskKind = Field(
        "index",
        description="Meaning of mask pixels: `index`, the label of a class; `soft`, a foreground probability "
        "(0 to 255 for 0 to 1).",
    )
    shards: Shards = 1
    normalize: Normalization = Field(
        description="Normalization of images: the name of a method, or a mapping with its options."
    )
    test: Test = Field(description="Selection of the test samples: a rule with its options, or `official`.")
    validation: Validation = Field(
        RandomValidation(), description="Selection of the validation samples: a rule with its options, or `official`."
    )
    exclude: Exclude = Field(
        {},
        description="Samples to leave out of all splits: their identifiers, in quotes, each with the reason.",
    )

    @model_validator(mode="before")
    @classmethod
    def _prefill(cls, data: Any) -> Any:  # noqa: ANN401 - runs before the type is known
        return cls.prefill(data) if isinstance(data, dict) and issubclass(cls, Layout) else data

    @cached_property
    def layout_options(self) -> Layout:
        """The layout with its options, without the common keys."""
        return self.to(next(kind for kind in LAYOUTS if isinstance(self, kind)))

    @cached_property
    def multiclass(self) -> bool:
        """Whether there is more than one foreground class, so that masks and predictions are class indices."""
        return len(self.layout_options.class_names()) > 2

    @property
    def has_validation(self) -> bool:
        """Whether validation samples are configured."""
        return not (isinstance(self.validation, RandomValidation) and self.validation.fraction == 0)

    @property
    def sampling(self) -> Sampling:
        """Seed, strata and groups for the assignment of folds: those of the validation samples."""
        validation = self.validation
        return validation.to(Sampling) if isinstance(validation, Sampling) else Sampling()

    def source(
        self, *splits: str, cache: str, presentation: bool = False, fold: Fold | None = None, shards: bool = False
    ) -> Source:
        """Return only the settings that determine the samples of some splits and their masks.

        Parameters
        ----------
        splits : str
        cache : str
            Cache file of foreground fractions, used for stratified splits.
        presentation : bool
            Include settings of renderings and submissions.
        fold : Fold, optional
            Split the data set as for a run that is validated on this fold, instead of by `validation`.
        shards : bool
            Include the number of shards.
        """
        test = None if set(splits) == {"unlabelled"} else self.test
        validation: Validation | None = None
        if {"train", "validation"} & set(splits) and (fold is not None or self.has_validation):
            validation = self.validation
            if fold is not None:
                validation = self.sampling.to(FoldSplit, rule="k-fold", folds=fold.folds, fold=fold.fold)
        stratified = any(isinstance(rule, Sampling) and rule.stratify for rule in (test, validation))
        return Source(
            layout=self.layout_options.as_source(presentation),
            root=self.root,
            mask_kind=self.mask_kind,
            nodata=self.nodata,
            exif=self.exif,
            shards=self.shards if shards else 1,
            test=test,
            validation=validation,
            exclude=self.exclude,
            cache=cache if stratified else None,
        )

    def contradictions(self, key_path: str) -> Iterator[Problem]:
        """List values that are valid alone but not in combination; `key_path` is that of the data set."""
        channels = 3 if self.channels == "rgb" else 1
        mean, std, classes = self.normalize.mean, self.normalize.std, self.layout_options.class_names()
        if mean is not None and std is not None and {len(mean), len(std)} != {channels}:
            yield Problem(
                f"{key_path}.normalize",
                f"{len(mean)} means and {len(std)} standard deviations",
                f"{channels} of each, because of `channels: {self.channels}`",
                "give one number for each channel",
            )
        elif mean is not None and std is not None and self.storage in ("float16", "float32"):
            largest = max(max(abs(m), abs(1 - m)) / s for m, s in zip(mean, std, strict=True))
            if largest > float(np.finfo(self.storage).max):
                yield Problem(
                    f"{key_path}.normalize",
                    f"values up to {largest:.3g}, because of `std`",
                    f"values that `storage: {self.storage}` can hold",
                    "correct `std`: standard deviations of images on the scale [0, 1]",
                )
        if self.mask_kind == "soft" and len(classes) > 2:
            yield Problem(
                f"{key_path}.mask_kind",
                f"'soft', while there are {len(classes)} classes",
                "two classes, background and one other, for soft masks",
                "set `mask_kind: index`",
            )
        for split in ("test", "validation"):
            rule = getattr(self, split)
            if isinstance(rule, Sampling) and rule.stratify and not self.layout_options.has_background:
                yield Problem(
                    f"{key_path}.{split}.stratify",
                    f"{rule.stratify!r}, while `background: none` makes all pixels foreground",
                    "masks that differ in their foreground",
                    "remove `stratify`",
                )
            if isinstance(rule, OfficialSplit) and split not in self.layout_options.official_splits():
                yield Problem(
                    f"{key_path}.{split}",
                    f"'official', while this data set has no official {split} samples",
                    "another rule",
                    "set a fraction, such as {rule: fraction, fraction: 0.2}",
                )
        yield from self.layout_options.problems(key_path, self.mask_kind)


def _dataset_type(layout: type[Layout]) -> type[Dataset]:
    """Return the type of the data sets of a layout, with its options and defaults."""
    fields: dict[str, Any] = {}
    for name, value in layout.defaults.items():
        field = copy(Dataset.model_fields[name])
        field.default, field.validate_default = value, True
        fields[name] = (field.annotation, field)
    bases: Any = (layout, Dataset)
    create: Any = create_model
    kind: type[Dataset] = create(f"{layout.__name__}Dataset", __base__=bases, __doc__=layout.__doc__, **fields)
    return kind


DATASETS = tuple(map(_dataset_type, LAYOUTS))

if TYPE_CHECKING:
    AnyDataset = Dataset
else:
    AnyDataset = tagged_union(DATASETS, "layout")
