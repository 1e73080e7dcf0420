"""How the samples of a split are told or drawn: what a configuration says of `test` and `validation`."""

import re
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from pipeline.core.options import NUMBER, ByName, Fraction, Options, Seed, Share


class Group(Options):
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
        unused = ("pattern",) if self.pattern is None else ("column", "file", "id")
        return {key: value for key, value in dump(self).items() if key not in unused}


class Sampling(Options):
    """Samples are drawn by seeded hash, as they come, evenly from strata, or in whole groups."""

    seed: Seed = 0
    stratify: Literal["foreground"] | None = Field(
        None, description="Draw evenly from strata of masks with about the same share of foreground"
    )
    group: Group | None = Field(None, description="Keep samples that belong together on one side")

    @model_validator(mode="after")
    def _strata_or_groups(self) -> "Sampling":
        if self.stratify is not None and self.group is not None:
            raise ValueError("`stratify` or `group`, not both: a group is taken whole, whatever its masks show")
        return self


class OfficialSplit(Options):
    """Samples are those that the data set itself names so."""

    rule: Literal["official"]


class RandomTest(Sampling):
    """Test samples are a share of all labelled ones, by seeded hash or by seeded permutation."""

    rule: Literal["fraction", "permutation"]
    fraction: Fraction

    @model_validator(mode="after")
    def _permutes_all(self) -> "RandomTest":
        if self.rule == "permutation" and (self.stratify is not None or self.group is not None):
            raise ValueError("`stratify` and `group` only with the rules fraction and k-fold")
        return self


class RandomValidation(Sampling):
    """Validation samples are a share of the training samples, by seeded hash; 0 means none."""

    rule: Literal["fraction"] = "fraction"
    fraction: Share = 0.2


class ListedSplit(Options):
    """Samples are those that a text file names, one in each line: an identifier, a file name or a path."""

    rule: Literal["list"]
    file: Annotated[str, Field(min_length=1, description="Text file, absolute or relative to `root`")]


class Fold(Options):
    """One of several parts."""

    folds: Annotated[int, Field(ge=2, le=1000, description="How many parts there are"), NUMBER]
    fold: Annotated[int, Field(ge=0, description="Which part is taken, from 0"), NUMBER]

    @model_validator(mode="after")
    def _is_one_of_them(self) -> "Fold":
        if self.fold >= self.folds:
            raise ValueError(f"`fold` counts from 0 to {self.folds - 1}, because of `folds: {self.folds}`")
        return self


class FoldSplit(Sampling, Fold):
    """Samples are one of several equal parts, by seeded hash."""

    rule: Literal["k-fold"]


Test = Annotated[
    Annotated[OfficialSplit | RandomTest | ListedSplit | FoldSplit, Field(discriminator="rule")],
    ByName("rule", "official"),
]
Validation = Annotated[
    Annotated[OfficialSplit | RandomValidation | ListedSplit | FoldSplit, Field(discriminator="rule")],
    ByName("rule", "official", default="fraction"),
]
Rule = OfficialSplit | RandomTest | RandomValidation | ListedSplit | FoldSplit
"""How the samples of a split are taken from those that are left."""
