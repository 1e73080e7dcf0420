"""A configuration with its data sets, listed once: which results there are to be, and what each is made from."""

from collections.abc import Callable, Mapping
from functools import cache, cached_property
from typing import Any

from pipeline.config.config import Config
from pipeline.config.datasets import Dataset
from pipeline.config.experiments import Experiment, Run
from pipeline.core import paths
from pipeline.core.digests import kept_digests
from pipeline.core.errors import PipelineError, Problem, RawDataError
from pipeline.core.progress import log
from pipeline.evaluation import methods
from pipeline.evaluation.methods import BASELINES, CEILING, ENSEMBLE, OBSERVER
from pipeline.raw.dataset import Opened, RawDataset, open_leniently
from pipeline.raw.digests import sample_digest
from pipeline.raw.samples import Sample
from pipeline.raw.source import Source
from pipeline.raw.splits.folds import assign_folds, split_by_fold
from pipeline.raw.splits.names import OUT_OF_FOLD, SPLITS, TEST, UNLABELLED, VALIDATION
from pipeline.raw.splits.rules import Fold


class Study:
    """What a configuration asks for.

    Raw data are listed when they are first asked for. Names of experiments are those of single networks, those of
    ensembles, ``<experiment>.ensemble``, and those of baselines, ``<data set>.<kind>``.

    Parameters
    ----------
    config : Config
    thorough : bool
        Read raw files again also where their digests are kept.
    """

    def __init__(self, config: Config, thorough: bool = False) -> None:
        self.config, self.thorough = config, thorough
        self.datasets: Mapping[str, Dataset] = config.datasets
        self.experiments: Mapping[str, Experiment] = config.experiments
        self.opened: Callable[[str], Opened] = cache(self._open)
        self.digests: Callable[[str], Mapping[str, str]] = cache(self._digest)
        self._sample_digests: dict[tuple[str, tuple[str, ...], int], str] = {}
        self.members: Callable[[str, int], dict[str, int]] = cache(self._assign)
        self.splits_of: Callable[[str], Mapping[str, list[Sample]]] = cache(self._split)

    # -- names ---------------------------------------------------------------------------------------------------------

    @cached_property
    def seeded(self) -> dict[str, list[str]]:
        """Experiments of several seeds or folds, each with the names of its runs: experiments like any other."""
        runs: dict[str, list[str]] = {}
        for name, run in self.experiments.items():
            if isinstance(run, Run):
                runs.setdefault(run.of, []).append(name)
        return runs

    @cached_property
    def ensembles(self) -> dict[str, list[str]]:
        """Ensembles that are scored, each with the names of its runs."""
        wanted = self._wanted_ensembles()
        return {methods.ensemble_name(name): wanted[name] for name in wanted if name not in self.without_ensemble}

    @property
    def ensembled(self) -> list[str]:
        """Experiments that have an ensemble."""
        return [methods.split_name(name)[0] for name in self.ensembles]

    @cached_property
    def without_ensemble(self) -> list[str]:
        """Experiments that would have an ensemble, had they kept the probabilities of their several classes."""
        wanted = {name: runs[0] for name, runs in self._wanted_ensembles().items()}
        return [
            name for name, run in wanted.items() if self.multiclass(run) and not self.experiments[run].keep_probability
        ]

    def _wanted_ensembles(self) -> dict[str, list[str]]:
        several = {name: runs for name, runs in self.seeded.items() if len(runs) > 1}
        return {name: runs for name, runs in several.items() if self.experiments[runs[0]].ensemble}

    @cached_property
    def baselines(self) -> list[str]:
        """What is scored beside the experiments, as far as the configuration tells.

        Data sets of several classes have none, and at the native size nothing is lost by resizing.
        """
        return [
            methods.baseline_name(dataset, kind)
            for dataset, data in self.datasets.items()
            for kind in BASELINES
            if not data.multiclass and not (kind == CEILING and data.size == "native")
        ]

    @property
    def names(self) -> list[str]:
        """All that can be scored: networks, ensembles and baselines."""
        return [*self.experiments, *self.ensembles, *self.baselines]

    @cached_property
    def two_classes(self) -> list[str]:
        """All that has probabilities and a threshold."""
        names = (*self.experiments, *self.ensembles)
        return [*(name for name in names if not self.multiclass(name)), *self.baselines]

    @cached_property
    def several_classes(self) -> list[str]:
        """All that has class indices."""
        return [name for name in (*self.experiments, *self.ensembles) if self.multiclass(name)]

    def recipe_of(self, name: str) -> Experiment | None:
        """Return what an experiment says; of an ensemble what its first run says, of a baseline nothing."""
        owner, kind = methods.split_name(name)
        runs = self.seeded.get(owner, []) if kind == ENSEMBLE or name in self.seeded else [name]
        return self.experiments.get(runs[0]) if runs else None

    def dataset_of(self, name: str) -> str:
        """Return the data set of an experiment, an ensemble or a baseline."""
        said = self.recipe_of(name)
        return methods.split_name(name)[0] if said is None else said.dataset

    def multiclass(self, name: str) -> bool:
        """Tell whether masks and predictions are class indices: more than one foreground class."""
        return self.datasets[self.dataset_of(name)].multiclass

    def fold_of(self, name: str) -> Fold | None:
        """Return the fold that a run is validated on."""
        run = self.experiments.get(name)
        if not isinstance(run, Run) or run.folds is None or run.fold is None:
            return None
        return Fold(folds=run.folds, fold=run.fold)

    def folded(self, name: str) -> bool:
        """Tell whether a run or an ensemble has to do with folds."""
        said = self.recipe_of(name)
        return said is not None and said.folds is not None

    def validated_on(self, name: str) -> str:
        """Return the split that a threshold is chosen on: of an ensemble of folds `OUT_OF_FOLD`, else validation."""
        return OUT_OF_FOLD if self.folded(name) and name not in self.experiments else VALIDATION

    def empty_masks(self, name: str) -> str:
        """Return how empty masks count; of a baseline as in all experiments on its data set, ``one`` if they differ."""
        said, dataset = self.recipe_of(name), self.dataset_of(name)
        if said is not None:
            return said.empty_masks
        policies = {one.empty_masks for one in self.experiments.values() if one.dataset == dataset}
        return policies.pop() if len(policies) == 1 else "one"

    # -- raw data ------------------------------------------------------------------------------------------------------

    def source(self, dataset: str, *splits: str, **asked: Any) -> Source:  # noqa: ANN401 - see Dataset.source
        """Return what decides the members of some splits of a data set; see `Dataset.source`."""
        return self.datasets[dataset].source(*splits, cache=str(paths.shares(dataset)), **asked)

    def source_of(self, name: str, *splits: str, presentation: bool = False) -> Source:
        """Return `source` as an experiment, run, ensemble or baseline sees its data set."""
        return self.source(self.dataset_of(name), *splits, presentation=presentation, fold=self.fold_of(name))

    def _open(self, dataset: str) -> Opened:
        return open_leniently(dataset, self.source(dataset, *SPLITS, shards=True))

    def raw(self, dataset: str) -> RawDataset:
        """Return a data set, listed.

        Raises
        ------
        RawDataError
        """
        if problems := self.opened(dataset).problems:
            raise RawDataError(problems)
        return self.opened(dataset).dataset

    def _digest(self, dataset: str) -> Mapping[str, str]:
        """Return the SHA-256 of each raw file of a data set that belongs to a sample."""
        opened = self.opened(dataset)
        samples = [*(sample for split in SPLITS for sample in opened.dataset.splits[split]), *opened.unplaced]
        files = (path for sample in samples for path in (*sample.files, *sample.observer_files))
        return kept_digests(files, paths.digests(dataset), dataset, again=self.thorough)

    def sample_digest(self, dataset: str, sample: Sample, roles: tuple[str, ...]) -> str:
        """Return a digest of what a sample has in some roles; of tables, its own rows. See `sample_digest`."""
        key = (dataset, roles, id(sample))  # samples live as long as the study, and every experiment asks
        if key not in self._sample_digests:
            own = dict.fromkeys(path for role in roles for path in getattr(sample, role))
            files = [path for path in own if path != sample.codes_file]
            self._sample_digests[key] = sample_digest(sample, files, self.digests(dataset))
        return self._sample_digests[key]

    def require_raw(self) -> None:
        """List all data sets.

        Raises
        ------
        RawDataError
            Listing what is wrong with any of them.
        """
        problems: list[Problem] = []
        for name in self.datasets:
            try:
                self.raw(name)
            except PipelineError as error:
                problems += error.problems
        if problems:
            raise RawDataError(problems)

    def note(self, name: str) -> str:
        """Return what images of an experiment say of the origin of its data."""
        return "synthetic data" if self.raw(self.dataset_of(name)).synthetic else ""

    def _assign(self, dataset: str, folds: int) -> dict[str, int]:
        """Return the fold of each sample that is no test sample."""
        sampling = self.datasets[dataset].sampling
        return assign_folds(
            self.raw(dataset), folds, sampling, str(paths.shares(dataset)) if sampling.stratify else None
        )

    def _split(self, name: str) -> Mapping[str, list[Sample]]:
        """Return samples by split as an experiment sees them: a fold has other ones than its data set."""
        raw, fold = self.raw(self.dataset_of(name)), self.fold_of(name)
        if fold is not None:
            return split_by_fold(raw, self.members(raw.name, fold.folds), fold.fold)
        return {**raw.splits, OUT_OF_FOLD: raw.pool}

    def scored_splits(self, name: str) -> list[str]:
        """Return the splits that an experiment, ensemble or baseline is scored on."""
        splits = self.splits_of(name)
        if methods.is_baseline(name):
            seen = methods.split_name(name)[1] != OBSERVER or all(sample.observer for sample in splits[TEST])
            return [TEST] if splits[TEST] and seen else []
        return [split for split in (self.validated_on(name), TEST) if splits[split]]

    def predicted_splits(self, name: str) -> list[str]:
        """Return the splits that are predicted."""
        unlabelled = not methods.is_baseline(name) and self.splits_of(name)[UNLABELLED]
        return [*self.scored_splits(name), *([UNLABELLED] if unlabelled else [])]

    def scored(self) -> list[str]:
        """Return all that is scored: experiments, ensembles, and baselines where there is something to compare."""
        return [name for name in self.names if self.scored_splits(name)]

    def predicted(self) -> list[str]:
        """Return all that is predicted."""
        return [name for name in self.names if self.predicted_splits(name)]

    def warn(self) -> None:
        """Say which experiments have less than they seem to ask for."""
        for name in self.experiments:
            if not self.scored_splits(name):
                log(f"{name} has neither validation nor test samples: it is trained and not scored.")
        for name in self.without_ensemble:
            log(f"{name} has no ensemble: class indices have no mean. Set `keep_probability` or `ensemble: false`.")

    def chooses_threshold(self, name: str) -> bool:
        """Tell whether a threshold is chosen on samples, and not fixed.

        Raises
        ------
        RawDataError
            If it is to be chosen and there are no samples for that.
        """
        said = self.recipe_of(name)
        if said is None or isinstance(said.threshold, float):
            return False
        if not self.splits_of(name)[self.validated_on(name)]:
            raise RawDataError(
                f"the threshold of {name}",
                f"to be chosen on validation samples, and {self.dataset_of(name)} has none",
                "samples to choose it on",
                "add labelled images, raise its `validation` fraction, or give the experiment a number as `threshold`",
            )
        return True

    @staticmethod
    def is_shown(name: str) -> bool:
        """Tell whether there are images: nobody has to look at nothing, or at masks that were resized."""
        return not methods.is_baseline(name) or methods.split_name(name)[1] == OBSERVER
