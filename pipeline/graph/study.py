"""The configuration with the raw files of its data sets, listed once: its methods, runs, splits and samples."""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property
from typing import Any, Literal

from pipeline.config.config import Config
from pipeline.config.datasets import Dataset
from pipeline.config.experiments import Experiment, Run
from pipeline.core import paths
from pipeline.core.digests import cached_digests, file_digest
from pipeline.core.errors import ConfigError, PipelineError, Problem, RawDataError
from pipeline.core.progress import log
from pipeline.evaluation import methods
from pipeline.evaluation.methods import BASELINES, CEILING, ENSEMBLE, OBSERVER
from pipeline.evaluation.recipes import DEFAULT_EMPTY_MASKS
from pipeline.raw.dataset import PartialDataset, RawDataset, open_partially
from pipeline.raw.digests import joint_digest, sample_digest
from pipeline.raw.samples import Sample
from pipeline.raw.source import Source
from pipeline.raw.splits.folds import assign_folds, split_by_fold
from pipeline.raw.splits.names import OUT_OF_FOLD, SPLITS, TEST, UNLABELLED, VALIDATION
from pipeline.raw.splits.rules import Fold


class Study:
    """The configuration with the raw files of its data sets.

    Raw files are listed once, on first use. Names of methods are those of single networks, of ensembles,
    ``<experiment>.ensemble``, and of baselines, ``<data set>.<kind>``.

    Parameters
    ----------
    config : Config
    thorough : bool
        Read raw files again even if their digests are cached.
    """

    def __init__(self, config: Config, thorough: bool = False) -> None:
        self.config, self.thorough = config, thorough
        self.datasets: Mapping[str, Dataset] = config.datasets
        self.experiments: Mapping[str, Experiment] = config.experiments
        self.opened: Callable[[str], PartialDataset] = cache(self._open)
        self.digests: Callable[[str], Mapping[str, str]] = cache(self._digest)
        self.raw_folders: Callable[[str], list[str]] = cache(self._find_raw_folders)
        self.split_digests: Callable[[str], Mapping[str, str]] = cache(self._digest_splits)
        self.initial_digest: Callable[[str], str] = cache(_digest_initial)
        self._raw_files_digests: dict[tuple[str, tuple[str, ...], tuple[int, ...]], str] = {}
        self.fold_assignment: Callable[[str, int], dict[str, int]] = cache(self._assign)
        self.splits_of: Callable[[str], Mapping[str, list[Sample]]] = cache(self._split)

    # -- names ---------------------------------------------------------------------------------------------------------

    @cached_property
    def runs(self) -> dict[str, list[str]]:
        """Experiments with `seeds` or `folds`, each with the names of its runs, which are experiments themselves."""
        runs: dict[str, list[str]] = {}
        for name, run in self.experiments.items():
            if isinstance(run, Run):
                runs.setdefault(run.experiment, []).append(name)
        return runs

    @cached_property
    def ensembles(self) -> dict[str, list[str]]:
        """Ensembles that are scored, each with the names of its runs."""
        runs = self._requested_ensembles()
        return {methods.ensemble_name(name): runs[name] for name in runs if name not in self.without_ensemble}

    @property
    def ensemble_experiments(self) -> list[str]:
        """Experiments that have an ensemble."""
        return [methods.parse_method_name(name)[0] for name in self.ensembles]

    @cached_property
    def without_ensemble(self) -> list[str]:
        """Multi-class experiments that have no ensemble because they do not keep probabilities."""
        first_runs = {name: runs[0] for name, runs in self._requested_ensembles().items()}
        return [
            name
            for name, run in first_runs.items()
            if self.multiclass(run) and not self.experiments[run].keep_probability
        ]

    def _requested_ensembles(self) -> dict[str, list[str]]:
        multiple_runs = {name: runs for name, runs in self.runs.items() if len(runs) > 1}
        return {name: runs for name, runs in multiple_runs.items() if self.experiments[runs[0]].ensemble}

    @cached_property
    def baselines(self) -> list[str]:
        """Names of the baselines of all data sets.

        Multi-class data sets have none, and at the native size there is no resolution ceiling.
        """
        return [
            methods.baseline_name(dataset, kind)
            for dataset, data in self.datasets.items()
            for kind in BASELINES
            if not data.multiclass and not (kind == CEILING and data.size == "native")
        ]

    @property
    def methods(self) -> list[str]:
        """Names of everything that can be scored: networks, ensembles and baselines."""
        return [*self.experiments, *self.ensembles, *self.baselines]

    @cached_property
    def binary_methods(self) -> list[str]:
        """Methods with probabilities and a threshold."""
        names = (*self.experiments, *self.ensembles)
        return [*(name for name in names if not self.multiclass(name)), *self.baselines]

    @cached_property
    def multiclass_methods(self) -> list[str]:
        """Methods with class indices."""
        return [name for name in (*self.experiments, *self.ensembles) if self.multiclass(name)]

    def experiment_of(self, name: str) -> Experiment | None:
        """Return the settings of an experiment; of an ensemble those of its first run, of a baseline None."""
        owner, kind = methods.parse_method_name(name)
        runs = self.runs.get(owner, []) if kind == ENSEMBLE or name in self.runs else [name]
        return self.experiments.get(runs[0]) if runs else None

    def dataset_of(self, name: str) -> str:
        """Return the data set of an experiment, an ensemble or a baseline."""
        experiment = self.experiment_of(name)
        return methods.parse_method_name(name)[0] if experiment is None else experiment.dataset

    def multiclass(self, name: str) -> bool:
        """Return whether masks and predictions are class indices, with more than one foreground class."""
        return self.datasets[self.dataset_of(name)].multiclass

    def fold_of(self, name: str) -> Fold | None:
        """Return the fold that a run is validated on; None without folds."""
        run = self.experiments.get(name)
        if not isinstance(run, Run) or run.folds is None or run.fold is None:
            return None
        return Fold(folds=run.folds, fold=run.fold)

    def uses_folds(self, name: str) -> bool:
        """Return whether an experiment, run or ensemble has `folds`."""
        experiment = self.experiment_of(name)
        return experiment is not None and experiment.folds is not None

    def validation_split(self, name: str) -> str:
        """Return the split that the threshold is chosen on: `OUT_OF_FOLD` for ensembles of folds, else validation."""
        return OUT_OF_FOLD if self.uses_folds(name) and name not in self.experiments else VALIDATION

    def background(self, name: str) -> Literal["none"] | None:
        """Return the recipe's `background` of a method: ``none`` if its data set has no background class."""
        return None if self.datasets[self.dataset_of(name)].layout_options.has_background else "none"

    def empty_masks(self, name: str) -> str:
        """Return `empty_masks` or its default; of a baseline that of the experiments on its data set, if they agree."""
        experiment, default = self.experiment_of(name), DEFAULT_EMPTY_MASKS[self.multiclass(name)]
        if experiment is not None:
            return experiment.empty_masks or default
        dataset = self.dataset_of(name)
        policies = {self.empty_masks(other) for other, run in self.experiments.items() if run.dataset == dataset}
        return policies.pop() if len(policies) == 1 else default

    # -- raw data ------------------------------------------------------------------------------------------------------

    def source(self, dataset: str, *splits: str, **options: Any) -> Source:  # noqa: ANN401 - see Dataset.source
        """Return the settings that determine the samples of some splits of a data set; see `Dataset.source`."""
        return self.datasets[dataset].source(*splits, cache=str(paths.foreground_fractions(dataset)), **options)

    def source_of(self, name: str, *splits: str, presentation: bool = False) -> Source:
        """Return `source` of the data set of a method; for a run of a fold, with the splits of the fold."""
        return self.source(self.dataset_of(name), *splits, presentation=presentation, fold=self.fold_of(name))

    def _find_raw_folders(self, dataset: str) -> list[str]:
        """Return the raw folder of a data set as a list; empty if it does not exist."""
        root = self.datasets[dataset].root
        return [root] if os.path.exists(root) else []  # noqa: PTH110 - the folder may be unreadable

    def _digest_splits(self, dataset: str) -> Mapping[str, str]:
        """Return a short digest of the identifiers and file names of each split, also if others cannot be listed."""
        opened = self.opened(dataset)
        return {split: opened.dataset.digest(split) for split in SPLITS}

    def _open(self, dataset: str) -> PartialDataset:
        return open_partially(dataset, self.source(dataset, *SPLITS, shards=True))

    def raw(self, dataset: str) -> RawDataset:
        """Return the listed samples and splits of a data set.

        Raises
        ------
        RawDataError
        """
        if problems := self.opened(dataset).problems:
            raise RawDataError(problems)
        return self.opened(dataset).dataset

    def _digest(self, dataset: str) -> Mapping[str, str]:
        """Return the SHA-256 of each raw file that belongs to a sample of a data set, by path."""
        opened = self.opened(dataset)
        samples = [*(sample for split in SPLITS for sample in opened.dataset.splits[split]), *opened.unplaced]
        files = (path for sample in samples for path in (*sample.files, *sample.observer_files))
        return cached_digests(files, paths.digests(dataset), dataset, again=self.thorough)

    def raw_files_digest(self, dataset: str, samples: Sequence[Sample], roles: tuple[str, ...]) -> str:
        """Return one digest of samples with their files in some roles; of tables, only their rows. See `joint_digest`.

        It is computed once for all experiments that use the same samples.
        """
        key = (dataset, roles, tuple(map(id, samples)))  # samples live as long as the study
        if key not in self._raw_files_digests:
            digests = (self._sample_digest(dataset, sample, roles) for sample in samples)
            self._raw_files_digests[key] = joint_digest(samples, digests)
        return self._raw_files_digests[key]

    def _sample_digest(self, dataset: str, sample: Sample, roles: tuple[str, ...]) -> str:
        sample_files = dict.fromkeys(path for role in roles for path in getattr(sample, role))
        files = [path for path in sample_files if path != sample.codes_file]
        return sample_digest(sample, files, self.digests(dataset))

    def require_raw(self) -> None:
        """Check that the raw files of all data sets can be listed.

        Raises
        ------
        RawDataError
            Listing the problems of all data sets.
        """
        problems: list[Problem] = []
        for name in self.datasets:
            try:
                self.raw(name)
            except PipelineError as error:
                problems += error.problems
        if problems:
            raise RawDataError(problems)

    def origin_caption(self, name: str) -> str:
        """Return a caption on the origin of the data of an experiment: ``synthetic data``, or empty for real data."""
        return "synthetic data" if self.raw(self.dataset_of(name)).synthetic else ""

    def _assign(self, dataset: str, folds: int) -> dict[str, int]:
        """Return the fold of each sample, by identifier, without the test samples."""
        sampling = self.datasets[dataset].sampling
        return assign_folds(
            self.raw(dataset), folds, sampling, str(paths.foreground_fractions(dataset)) if sampling.stratify else None
        )

    def _split(self, name: str) -> Mapping[str, list[Sample]]:
        """Return the samples of a method by split; runs of a fold have other splits than their data set."""
        raw, fold = self.raw(self.dataset_of(name)), self.fold_of(name)
        if fold is not None:
            return split_by_fold(raw, self.fold_assignment(raw.name, fold.folds), fold.fold)
        return {**raw.splits, OUT_OF_FOLD: raw.pool}

    def scored_splits(self, name: str) -> list[str]:
        """Return the splits with samples that an experiment, ensemble or baseline is scored on."""
        splits = self.splits_of(name)
        if methods.is_baseline(name):
            possible = methods.parse_method_name(name)[1] != OBSERVER or all(sample.observer for sample in splits[TEST])
            return [TEST] if splits[TEST] and possible else []
        return [split for split in (self.validation_split(name), TEST) if splits[split]]

    def predicted_splits(self, name: str) -> list[str]:
        """Return the scored splits, and the unlabelled samples where a network predicts them."""
        unlabelled = not methods.is_baseline(name) and self.splits_of(name)[UNLABELLED]
        return [*self.scored_splits(name), *([UNLABELLED] if unlabelled else [])]

    def scored_methods(self) -> list[str]:
        """Return the names of all experiments, ensembles and baselines that are scored."""
        return [name for name in self.methods if self.scored_splits(name)]

    def predicted_methods(self) -> list[str]:
        """Return the names of all methods that have predictions."""
        return [name for name in self.methods if self.predicted_splits(name)]

    def warn(self) -> None:
        """Log which experiments are not scored, and which have no ensemble."""
        for name in self.experiments:
            if not self.scored_splits(name):
                log(f"{name} has neither validation nor test samples: it is trained but not scored.")
        for name in self.without_ensemble:
            log(f"{name} has no ensemble: class indices have no mean. Set `keep_probability` or `ensemble: false`.")

    def chooses_threshold(self, name: str) -> bool:
        """Return whether the threshold is chosen on samples instead of fixed.

        Raises
        ------
        RawDataError
            If there are no samples to choose it on.
        """
        experiment = self.experiment_of(name)
        if experiment is None or isinstance(experiment.threshold, float):
            return False
        if not self.splits_of(name)[self.validation_split(name)]:
            raise RawDataError(
                f"the threshold of {name}",
                f"a choice on validation samples, but {self.dataset_of(name)} has none",
                "validation samples",
                "add labelled images, raise its `validation` fraction, or give the experiment a number as `threshold`",
            )
        return True

    @staticmethod
    def is_rendered(name: str) -> bool:
        """Return whether a method has renderings: all but the baselines of empty and of resized masks."""
        return not methods.is_baseline(name) or methods.parse_method_name(name)[1] == OBSERVER


def _digest_initial(path: str) -> str:
    """Return the SHA-256 of a file that a training run starts from.

    Raises
    ------
    ConfigError
    """
    try:
        return file_digest(path)
    except OSError as error:
        found, expected = error.strerror or str(error), "a checkpoint or bundle to start from"
        raise ConfigError(path, found, expected, "correct the path in `init`, or make the file first") from error
