"""Base class of the layouts of raw data sets."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pipeline.core.errors import Problem
from pipeline.core.options import Options
from pipeline.raw.decode.labels import Labels
from pipeline.raw.samples import Sample, require_root, sorted_samples


class Layout(Options, ABC):
    """How the files of a data set are organised in folders, which files form a sample, and how masks are read.

    The field `layout` holds the name of the layout; the other fields are its options in the configuration.
    """

    defaults: ClassVar[dict[str, Any]] = {}
    """Defaults of a data set of this layout for `normalize`, `test`, `validation` and `mask_kind`."""

    tables: ClassVar[tuple[str, ...]] = ()
    """Optional files that are read and belong to no single sample."""

    challenge: ClassVar[Literal["images", "rle"] | None] = None
    """Format of submissions to a challenge, for unlabelled samples: images, or a table of run-length encoded masks."""

    presentation: ClassVar[tuple[str, ...]] = ()
    """Options that change only how results are displayed or submitted, not the samples or masks."""

    official: ClassVar[tuple[str, ...]] = ()
    """Which of validation and test every data set of this layout defines; see `official_splits`."""

    has_synthetic: ClassVar[bool] = False
    """Whether this layout has a synthetic data set."""

    marker_folders: ClassVar[tuple[str, ...]] = ()
    """Folders in every raw root of this layout, by which `unpack` recognises it."""

    layout: str

    def list_samples(self, root: Path, dataset: str) -> list[Sample]:
        """List the samples in `root`, sorted by identifier, without decoding files.

        Parameters
        ----------
        root : Path
            The raw folder.
        dataset : str
            Name of the data set, for messages.

        Raises
        ------
        RawDataError
            If folders are missing, files are misnamed or unpaired, or identifiers repeat; lists all of them. It is a
            `ListingError` with the samples that could be listed.
        """
        require_root(root, dataset, self.layout, self.has_synthetic)
        problems: list[Problem] = []
        return sorted_samples(self.find_samples(root, problems), problems)

    @abstractmethod
    def find_samples(self, root: Path, problems: list[Problem]) -> list[Sample]:
        """List the samples in `root`; append a problem for each missing, misnamed or unpaired file."""

    @abstractmethod
    def mask_labels(self) -> Labels:
        """Return the classes and label maps of the masks, without reading any file."""

    @classmethod
    def prefill(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Add defaults that depend on the configured options of a data set."""
        return data

    def class_names(self) -> tuple[str, ...]:
        """Return the class names, background first."""
        return self.mask_labels().classes

    def official_splits(self) -> tuple[str, ...]:
        """Return which of validation and test the data set itself defines."""
        return self.official

    def submission_template(self) -> str:
        """Return the template of file names in a submission; see `challenge`."""
        return "{id}.png"

    @property
    def has_background(self) -> bool:
        """Whether the first class is background: no part of means over classes, and not painted."""
        return True

    @property
    def labelled(self) -> bool:
        """Whether the data set has masks."""
        return True

    def as_source(self, presentation: bool) -> Self:
        """Return the options that define samples and masks; reset those of `presentation` unless it is true."""
        reset_options = () if presentation else self.presentation
        return self.changed(**{name: type(self).model_fields[name].default for name in reset_options})

    def problems(self, key_path: str, mask_kind: str) -> Iterator[Problem]:
        """List contradictions between options; `key_path` is the path of the data set in the configuration."""
        yield from ()

    def modules(self) -> set[str]:
        """Return the module of the layout, whose code results depend on."""
        return {type(self).__module__}
