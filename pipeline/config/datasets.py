"""What config.yaml may say about data sets: keys that all have, and those of their layouts."""

from collections.abc import Iterator
from copy import copy
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, create_model, model_validator

from pipeline.core.errors import Problem
from pipeline.core.options import one_of
from pipeline.raw.layouts.base import Layout
from pipeline.raw.layouts.registry import LAYOUTS
from pipeline.raw.source import Exclude, MaskKind, Shards, Source
from pipeline.raw.splits.rules import Fold, FoldSplit, OfficialSplit, RandomValidation, Sampling, Test, Validation
from pipeline.shards.recipes import Normalization, Preparation


class Dataset(Preparation):
    """What every data set has. The options of its layout stand beside these."""

    root: Annotated[str, Field(min_length=1, description="Folder with the raw files, relative to where snakemake runs")]
    mask_kind: MaskKind = Field(
        "index", description="index: mask pixels are classes; soft: they are probabilities, 255 is 1"
    )
    shards: Shards = 1
    normalize: Normalization
    test: Test
    validation: Validation = RandomValidation()
    exclude: Exclude = Field(
        {}, description="Identifier of a sample to leave out of all splits, in quotes, to the reason"
    )

    @model_validator(mode="before")
    @classmethod
    def _prefill(cls, data: Any) -> Any:  # noqa: ANN401 - runs before the type is known
        return cls.prefill(data) if isinstance(data, dict) and issubclass(cls, Layout) else data

    @cached_property
    def files(self) -> Layout:
        """The layout with its options."""
        return self.to(next(kind for kind in LAYOUTS if isinstance(self, kind)))

    @cached_property
    def multiclass(self) -> bool:
        """Whether there is more than one foreground class: masks and predictions are then class indices."""
        return len(self.files.class_names()) > 2

    @property
    def validated(self) -> bool:
        """Whether there are to be validation samples."""
        return not (isinstance(self.validation, RandomValidation) and self.validation.fraction == 0)

    @property
    def sampling(self) -> Sampling:
        """How folds are drawn: by seed, strata or groups, as validation samples are."""
        said = self.validation
        return said.to(Sampling) if isinstance(said, Sampling) else Sampling()

    def source(
        self, *splits: str, cache: str, presentation: bool = False, fold: Fold | None = None, shards: bool = False
    ) -> Source:
        """Return what decides the members of some splits and their masks, and nothing else.

        Parameters
        ----------
        splits : str
        cache : str
            Where foreground shares are kept, if they are asked for.
        presentation : bool
            Whether it also matters how they are shown or handed in.
        fold : Fold, optional
            Split the data set as for a run that is validated on one fold, whatever it says of validation samples.
        shards : bool
            Whether it also matters over how many shards they are spread.
        """
        test = None if set(splits) == {"unlabelled"} else self.test
        validation: Validation | None = None
        if {"train", "validation"} & set(splits) and (fold is not None or self.validated):
            validation = self.validation
            if fold is not None:
                validation = self.sampling.to(FoldSplit, rule="k-fold", folds=fold.folds, fold=fold.fold)
        stratified = any(isinstance(rule, Sampling) and rule.stratify for rule in (test, validation))
        return Source(
            layout=self.files.as_source(presentation),
            root=self.root,
            mask_kind=self.mask_kind,
            shards=self.shards if shards else 1,
            test=test,
            validation=validation,
            exclude=self.exclude,
            cache=cache if stratified else None,
        )

    def contradictions(self, where: str) -> Iterator[Problem]:
        """List what is right in itself and wrong together; `where` is the path of the data set in the file."""
        channels = 3 if self.channels == "rgb" else 1
        said, classes = self.normalize, self.files.class_names()
        if said.mean is not None and said.std is not None and {len(said.mean), len(said.std)} != {channels}:
            yield Problem(
                f"{where}.normalize",
                f"{len(said.mean)} means and {len(said.std)} standard deviations",
                f"{channels} of each, because of `channels: {self.channels}`",
                "give one number for each channel",
            )
        if self.mask_kind == "soft" and len(classes) > 2:
            yield Problem(
                f"{where}.mask_kind",
                f"'soft', while there are {len(classes)} classes",
                "soft masks only with two classes: background and one other",
                "set `mask_kind: index`",
            )
        for split in ("test", "validation"):
            if isinstance(getattr(self, split), OfficialSplit) and split not in self.files.official_splits():
                yield Problem(
                    f"{where}.{split}",
                    "'official', while the data set itself names no such samples",
                    "another rule",
                    "set a fraction, such as {rule: fraction, fraction: 0.2}",
                )
        yield from self.files.problems(where, self.mask_kind)


def _of_layout(layout: type[Layout]) -> type[Dataset]:
    """Return the type of the data sets of a layout: with its options, and with its defaults."""
    fields: dict[str, Any] = {}
    for name, value in layout.defaults.items():
        field = copy(Dataset.model_fields[name])
        field.default, field.validate_default = value, True
        fields[name] = (field.annotation, field)
    bases: Any = (layout, Dataset)
    create: Any = create_model
    kind: type[Dataset] = create(f"{layout.__name__}Dataset", __base__=bases, __doc__=layout.__doc__, **fields)
    return kind


DATASETS = tuple(map(_of_layout, LAYOUTS))

if TYPE_CHECKING:
    AnyDataset = Dataset
else:
    AnyDataset = one_of(DATASETS, "layout")
