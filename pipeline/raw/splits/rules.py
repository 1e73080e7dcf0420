"""Rules of splits: the options of `test` and `validation` in the configuration."""

import re
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from pipeline.core.options import NUMBER, Fraction, FractionOrZero, Options, PathText, Seed, Shorthand

_RULE = Field(description="Rule that selects the samples of the split.")


class Group(Options):
    """Samples that stay together in one split: grouped by a column of a table, or by a pattern in the identifier."""

    column: Annotated[str, Field(min_length=1, description="Column of `file` with the groups.")] | None = None
    file: PathText | None = Field(None, description="CSV file, absolute or relative to `root`.")
    id: Annotated[str, Field(min_length=1, description="Column of `file` with the identifiers of the samples.")] = "id"
    pattern: (
        Annotated[
            str, Field(description="Regular expression for identifiers; the text of its only group names the group.")
        ]
        | None
    ) = None

    @model_validator(mode="after")
    def _has_one_source(self) -> "Group":
        table = [self.column is not None, self.file is not None]
        if table != [self.pattern is None] * 2 or (self.pattern is not None and "id" in self.model_fields_set):
            raise ValueError("either `column` and `file` (and `id`), or `pattern` alone")
        if self.pattern is not None:
            try:
                groups = re.compile(self.pattern).groups
            except (re.error, OverflowError, RecursionError) as error:  # of huge counts, and of many brackets
                raise ValueError(f"`pattern` is not a regular expression: {error}") from error
            if groups != 1:
                raise ValueError(f"`pattern` must have one group in parentheses, not {groups}; (?:...) does not count")
        return self

    @model_serializer(mode="wrap")
    def _without_unused(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        unused = ("pattern",) if self.pattern is None else ("column", "file", "id")
        return {key: value for key, value in dump(self).items() if key not in unused}


class Sampling(Options):
    """Samples are selected by seeded hash: individually, evenly from strata, or in whole groups."""

    seed: Seed = Field(0, description="Seed of the random selection.")
    stratify: Literal["foreground"] | None = Field(
        None, description="Select evenly from strata of samples with a similar fraction of foreground in their masks."
    )
    group: Group | None = Field(None, description="Keep samples of the same group in the same split.")

    @model_validator(mode="after")
    def _strata_or_groups(self) -> "Sampling":
        if self.stratify is not None and self.group is not None:
            raise ValueError(
                "`stratify` or `group`, not both: groups are selected as a whole, so they cannot be stratified"
            )
        return self


class OfficialSplit(Options):
    """The split is the one that the data set defines."""

    rule: Literal["official"] = _RULE


class RandomTest(Sampling):
    """Test samples are a fraction of all labelled ones, selected by seeded hash or by seeded permutation."""

    rule: Literal["fraction", "permutation"] = _RULE
    fraction: Fraction = Field(description="Fraction of the labelled samples.")

    @model_validator(mode="after")
    def _permutation_has_no_strata_or_groups(self) -> "RandomTest":
        if self.rule == "permutation" and (self.stratify is not None or self.group is not None):
            raise ValueError("no `stratify` or `group` with `rule: permutation`, only with fraction and k-fold")
        return self


class RandomValidation(Sampling):
    """Validation samples are a fraction of the samples that are not test samples, by seeded hash; 0 means none."""

    rule: Literal["fraction"] = Field("fraction", description="Rule that selects the samples of the split.")
    fraction: FractionOrZero = Field(
        0.2, description="Fraction of the samples that are not test samples; 0 for no validation."
    )


class ListedSplit(Options):
    """The samples are listed in a text file, one in each line: an identifier, a file name or a path."""

    rule: Literal["list"] = _RULE
    file: PathText = Field(description="Text file with one sample per line, absolute or relative to `root`.")


class Fold(Options):
    """One fold of several."""

    folds: Annotated[int, Field(ge=2, le=1000, description="Number of folds."), NUMBER]
    fold: Annotated[int, Field(ge=0, description="Index of the fold, from 0 to `folds` - 1."), NUMBER]

    @model_validator(mode="after")
    def _fold_in_range(self) -> "Fold":
        if self.fold >= self.folds:
            raise ValueError(f"`fold` counts from 0 to {self.folds - 1}, because of `folds: {self.folds}`")
        return self


class FoldSplit(Sampling, Fold):
    """The split is one of k folds of (nearly) equal size, by seeded hash."""

    rule: Literal["k-fold"] = _RULE


Test = Annotated[
    Annotated[OfficialSplit | RandomTest | ListedSplit | FoldSplit, Field(discriminator="rule")],
    Shorthand("rule", "official"),
]
Validation = Annotated[
    Annotated[OfficialSplit | RandomValidation | ListedSplit | FoldSplit, Field(discriminator="rule")],
    Shorthand("rule", "official", default="fraction"),
]
Rule = OfficialSplit | RandomTest | RandomValidation | ListedSplit | FoldSplit
"""Selects the samples of a split from the remaining samples."""
