"""Settings that define the samples of a data set, the meaning of their masks, and their splits."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from pipeline.core.options import NUMBER, Options
from pipeline.raw.decode.options import DecodeOptions
from pipeline.raw.layouts.registry import AnyLayout
from pipeline.raw.samples import as_identifier
from pipeline.raw.splits.rules import Test, Validation


def _require_string(name: object) -> object:
    if not isinstance(name, str):  # YAML reads 007 as the number 7
        raise ValueError("text", f'write the identifier in quotes, such as "{name}"')
    return name


SampleId = Annotated[str, BeforeValidator(_require_string), AfterValidator(as_identifier), Field(min_length=1)]
Reason = Annotated[str, Field(pattern=r"\S")]
Exclude = dict[SampleId, Reason]
MaskKind = Literal["index", "soft"]
Shards = Annotated[
    int,
    Field(
        ge=1,
        le=4096,
        description="Maximum number of shard files of a split; about 512 samples per file is a good choice.",
    ),
    NUMBER,
]


class Source(DecodeOptions):
    """Settings that determine the samples of the splits, and their masks.

    Parameters
    ----------
    root : str
        The raw folder.
    nodata, exif : str
        See `DecodeOptions`.
    mask_kind : {'index', 'soft'}
        Whether mask pixels are class indices, or probabilities (uint8, 255 = 1).
    shards : int
        Maximum number of shards of a split.
    test, validation : optional
        Rules that select the samples of these splits; see `pipeline.raw.splits.assign.assign_splits`.
    exclude : dict of str to str
        Identifiers of samples to exclude from all splits, each with the reason. Their missing or unpaired files are no
        problem, and they do not change the splits of other samples.
    cache : str, optional
        The file in which foreground fractions are cached, if a split is stratified; see
        `pipeline.raw.splits.foreground.foreground_fractions`.
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
        """Return the source without exclusions, cache and raw folder, which do not affect every sample.

        They are part of the plans of single samples, so that adding or removing a sample does not make the results of
        others outdated.
        """
        return self.changed(exclude={}, cache=None, root="")


class FromSource(Options):
    """Settings of a stage that reads samples; the contents of the files matter, but not their folder."""

    source: Source | None

    def fingerprint_settings(self) -> "FromSource":
        """Return the settings without the raw folder."""
        return self.changed(source=self.source and self.source.changed(root=""))
