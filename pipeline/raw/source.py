"""Which raw files are the samples of a data set, what their masks mean, and in which split each of them stands."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from pipeline.core.options import NUMBER, Options
from pipeline.raw.layouts.registry import AnyLayout
from pipeline.raw.samples import as_identifier
from pipeline.raw.splits.rules import Test, Validation


def _quoted(name: object) -> object:
    if not isinstance(name, str):  # YAML reads 007 as the number 7
        raise ValueError('an identifier in quotes, such as "007", and its reason')
    return name


SampleId = Annotated[str, BeforeValidator(_quoted), AfterValidator(as_identifier), Field(min_length=1)]
Reason = Annotated[str, Field(pattern=r"\S")]
Exclude = dict[SampleId, Reason]
MaskKind = Literal["index", "soft"]
Shards = Annotated[
    int, Field(ge=1, le=4096, description="Files a split is spread over; about 512 samples each"), NUMBER
]


class Source(Options):
    """What decides the samples of some splits, and their masks.

    Parameters
    ----------
    root : str
        The raw folder.
    mask_kind : {'index', 'soft'}
        Whether mask pixels are class indices, or probabilities (uint8, 255 = 1).
    shards : int
        How many shards a split is spread over at most.
    test, validation : optional
        How the samples of these splits are taken; see `pipeline.raw.splits.assign.assign_splits`.
    exclude : dict of str to str
        Identifiers of samples to leave out of all splits, each with the reason. What does not pair about them is no
        problem, and the other samples are assigned as if they were there.
    cache : str, optional
        The file in which foreground shares are kept, where a split asks for strata; see
        `pipeline.raw.splits.shares.foreground_shares`.
    """

    layout: AnyLayout
    root: str
    mask_kind: MaskKind = "index"
    shards: Shards = 1
    test: Test | None = None
    validation: Validation | None = None
    exclude: Exclude = Field({})
    cache: str | None = None

    def without_members(self) -> "Source":
        """Return the same without what concerns single samples, how soon they are known, or where they lie.

        Like the raw files these are seen to for each sample: one sample more or less must not make others outdated.
        """
        return self.changed(exclude={}, cache=None, root="")


class FromSource(Options):
    """Settings of a stage that reads samples: where these lie decides nothing, their contents count by themselves."""

    source: Source | None

    def deciding(self) -> "FromSource":
        """Return it without the raw folder."""
        return self.changed(source=self.source and self.source.changed(root=""))
