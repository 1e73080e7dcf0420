"""What every layout says of the files of a data set."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pipeline.core.errors import Problem
from pipeline.core.options import Options
from pipeline.raw.decode.labels import Labels
from pipeline.raw.samples import Sample, require_root, sorted_samples


class Layout(Options, ABC):
    """Where the files of a data set lie, which of them belong together, and what its masks mean.

    A layout is told by its word `layout`; its other fields are options that a configuration can give.
    """

    defaults: ClassVar[dict[str, Any]] = {}
    """What a data set of this layout has for `normalize`, `test`, `validation`, `mask_kind` where nothing is said."""

    tables: ClassVar[tuple[str, ...]] = ()
    """Files that belong to no single sample and are read where they are there."""

    challenge: ClassVar[Literal["images", "codes"] | None] = None
    """How a challenge takes predictions of the unlabelled samples: as images, or as a table of run-length codes."""

    presentation: ClassVar[tuple[str, ...]] = ()
    """Options that decide how results are shown or handed in, and neither samples nor masks."""

    official: ClassVar[tuple[str, ...]] = ()
    """Splits, of validation and test, for which every such data set names samples; see `official_splits`."""

    has_synthetic: ClassVar[bool] = False
    """Whether there is a synthetic data set of this layout."""

    marks: ClassVar[tuple[str, ...]] = ()
    """Folders that stand in every raw root of it, by which unpacked data is recognised."""

    layout: str

    def list_samples(self, root: Path, dataset: str) -> list[Sample]:
        """List the samples below `root` without decoding any, sorted by identifier.

        Parameters
        ----------
        root : Path
            The raw folder.
        dataset : str
            Name of the data set, for messages.

        Raises
        ------
        RawDataError
            Listing every missing folder, misnamed file, repeated identifier and file without its partner;
            `ListingError` with what could be listed all the same.
        """
        require_root(root, dataset, self.layout, self.has_synthetic)
        problems: list[Problem] = []
        return sorted_samples(self.find_samples(root, problems), problems)

    @abstractmethod
    def find_samples(self, root: Path, problems: list[Problem]) -> list[Sample]:
        """List what can be listed below `root`; what is missing, misnamed or unpaired joins `problems`."""

    @abstractmethod
    def describe(self) -> Labels:
        """Say what the masks mean, without looking at any file."""

    @classmethod
    def prefill(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Add to what a configuration says of a data set what follows from it."""
        return data

    def class_names(self) -> tuple[str, ...]:
        """Name the classes, background first."""
        return self.describe().classes

    def official_splits(self) -> tuple[str, ...]:
        """Name the splits, of validation and test, for which the data set itself can name samples."""
        return self.official

    def submitted_as(self) -> str:
        """Return the template of the names of images that are handed in; see `challenge`."""
        return "{id}.png"

    @property
    def labelled(self) -> bool:
        """Whether there are masks to train on and to score with."""
        return True

    def as_source(self, presentation: bool) -> Self:
        """Return what decides samples and masks, and with `presentation` also how they are shown; else the defaults."""
        left = () if presentation else self.presentation
        return self.changed(**{name: type(self).model_fields[name].default for name in left})

    def problems(self, where: str, mask_kind: str) -> Iterator[Problem]:
        """List what is right in itself and wrong together; `where` is the path of the data set in the file."""
        yield from ()

    def modules(self) -> set[str]:
        """Name the module of the layout: its code decides results."""
        return {type(self).__module__}
