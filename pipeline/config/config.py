"""The one place that knows what config.yaml may say: typed, frozen, unknown keys refused.

`parse` turns plain data into a `Config`; its methods cut out, for each stage, the slice that the stage uses, as
plain keyword arguments. Classes and functions elsewhere never see the configuration.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError

from pipeline.config.checks import Dataset, bad_names, contradictions, unknown_datasets
from pipeline.config.datasets import Drawn, DriveDataset
from pipeline.config.experiments import EMPTY_DEPENDENT, ChosenThreshold, Experiment, Run
from pipeline.config.messages import explain
from pipeline.config.runs import clashing_runs, expand_runs, runs_of
from pipeline.core import paths
from pipeline.core.errors import ConfigError, Problem
from pipeline.core.options import Strict
from pipeline.evaluation.entrants import BASELINES, CEILING, ENSEMBLE, baseline_name, ensemble_name, split_name
from pipeline.raw.splits.names import OUT_OF_FOLD, SPLITS, VALIDATION


class Config(Strict):
    """All that config.yaml may say.

    `parse` puts runs in the place of an experiment with `seeds` or `folds`: one experiment for each network, which
    trains, predicts and is scored like any other. `seeded` tells which they are.
    """

    datasets: dict[str, Dataset]
    experiments: dict[str, Experiment] = Field(default_factory=dict)

    def seeded(self) -> dict[str, list[str]]:
        """Return the experiments of several seeds or folds, each with the names of its runs."""
        return runs_of(self.experiments)

    def ensembles(self) -> dict[str, list[str]]:
        """Return the ensembles that are scored, each with the names of its runs.

        Of several classes only where `keep_probability` is set: class indices have no mean.
        """
        without = self.without_ensemble()
        return {
            ensemble_name(name): runs
            for name, runs in self.seeded().items()
            if len(runs) > 1 and self.experiments[runs[0]].ensemble and name not in without
        }

    def without_ensemble(self) -> list[str]:
        """Return the experiments that would have an ensemble, had they kept the probabilities of their classes."""
        first = {name: runs[0] for name, runs in self.seeded().items() if len(runs) > 1}
        recipes = {name: self.experiments[run] for name, run in first.items()}
        return [
            name
            for name, recipe in recipes.items()
            if recipe.ensemble and not recipe.keep_probability and self.multiclass(first[name])
        ]

    def recipe(self, name: str) -> Experiment | None:
        """Return what an experiment says; of an ensemble what its first run says, of a baseline nothing."""
        owner, kind = split_name(name)
        runs = self.seeded().get(owner, []) if kind == ENSEMBLE else [name]
        return self.experiments.get(runs[0]) if runs else None

    def fold_of(self, experiment: str) -> dict[str, int] | None:
        """Return ``folds`` and ``fold`` of a run that is validated on one of several folds."""
        run = self.experiments.get(experiment)
        if not isinstance(run, Run) or run.folds is None or run.fold is None:
            return None
        return {"folds": run.folds, "fold": run.fold}

    def folds_of(self, experiment: str) -> int | None:
        """Return how many folds a run or an ensemble has to do with; None without folds."""
        recipe = self.recipe(experiment)
        return None if recipe is None else recipe.folds

    def validated_on(self, experiment: str) -> str:
        """Return the split that a threshold is chosen on: of an ensemble of folds `OUT_OF_FOLD`, else validation."""
        folded = self.folds_of(experiment) is not None
        return OUT_OF_FOLD if folded and experiment not in self.experiments else VALIDATION

    # -- slices: what each stage uses, and nothing else ------------------------------------------------------------

    def source(
        self, dataset: str, *splits: str, colours: bool = False, fold: Mapping[str, int] | None = None
    ) -> dict[str, Any]:
        """Return the keyword arguments of `open_dataset` that decide the members of `splits` and their masks.

        `colours` asks for the colours that classes are shown in: only what draws pictures depends on them. With `fold`
        (see `fold_of`) the data set is split as for that run, whatever it says of validation samples.
        """
        data = self.datasets[dataset]
        plain: dict[str, Any] = {"layout": data.layout, "root": data.root, "options": data.options()}
        if labels := data.labels_options(colours):
            plain["labels"] = labels
        if data.mask_kind != "index":
            plain["mask_kind"] = data.mask_kind
        if data.exclude:
            plain["exclude"] = dict(data.exclude)
        if set(splits) != {"unlabelled"}:
            plain["test"] = data.test.model_dump(mode="json", exclude_none=True)
        if {"train", "validation"} & set(splits) and fold is not None:
            plain["validation"] = {"method": "k-fold", **self.drawing(dataset), **fold}
        elif {"train", "validation"} & set(splits) and data.validated:
            plain["validation"] = data.validation.model_dump(mode="json", exclude_none=True)
        if any("stratify" in plain.get(split, {}) for split in ("test", "validation")):
            plain["cache"] = str(paths.shares(dataset))
        return plain

    def drawing(self, dataset: str) -> dict[str, Any]:
        """Return how folds of a data set are drawn: by seed, strata or groups, as its validation samples are."""
        said = self.datasets[dataset].validation
        drawn = said if isinstance(said, Drawn) else Drawn()
        return drawn.model_dump(mode="json", include={"seed", "stratify", "group"}, exclude_none=True)

    def source_of(self, experiment: str, *splits: str, colours: bool = False) -> dict[str, Any]:
        """Return `source` as an experiment, run, ensemble or baseline sees its data set."""
        return self.source(self.dataset_of(experiment), *splits, colours=colours, fold=self.fold_of(experiment))

    def fold_settings(self, dataset: str, folds: int) -> dict[str, Any]:
        """Return what the table of folds of a data set is made by."""
        drawing = self.drawing(dataset)
        cache = {"cache": str(paths.shares(dataset))} if "stratify" in drawing else {}
        return {"folds": folds, **drawing, "source": {**self.source(dataset, "test"), **cache}}

    def shard_settings(self, dataset: str, split: str) -> dict[str, Any]:
        """Return what a shard is made by."""
        data = self.datasets[dataset]
        picture = ("size", "channels", "interpolation", "storage")
        return {
            **data.model_dump(mode="json", include=set(picture)),
            "normalize": data.normalize.model_dump(mode="json", exclude_none=True),
            "source": {**self.source(dataset, split), "shards": data.shards},
        }

    def splits_settings(self, dataset: str) -> dict[str, Any]:
        """Return what the table of assignments is made by."""
        return {"source": {**self.source(dataset, *SPLITS), "shards": self.datasets[dataset].shards}}

    def check_settings(self, dataset: str) -> dict[str, Any]:
        """Return what the check of a data set is made by."""
        data = self.datasets[dataset]
        return {
            **data.model_dump(mode="json", include={"channels", "storage"}),
            "normalize": data.normalize.method,
            "source": self.source(dataset, *SPLITS, colours=True),
        }

    def train_settings(self, experiment: str) -> dict[str, Any]:
        """Return what a training is made by, the shards apart; several GPUs only where chosen."""
        not_here = {"seeds", "folds", "ensemble", "threshold", "empty_masks", "keep_probability", "tiles", "test_time"}
        if self.experiments[experiment].gpus == 1:
            not_here |= {"gpus", "sync_batch_norm"}
        plain = self.experiments[experiment].model_dump(mode="json", exclude={*not_here, "of", "fold"})
        return self._with_fold(plain, experiment)

    def augmented_settings(self, experiment: str) -> dict[str, Any]:
        """Return what the picture of augmented training samples is made by."""
        seen = {"dataset", "crop", "augment", "seed"}
        return self._with_fold(self.experiments[experiment].model_dump(mode="json", include=seen), experiment)

    def _with_fold(self, plain: dict[str, Any], experiment: str) -> dict[str, Any]:
        fold = self.fold_of(experiment)
        return plain if fold is None else {**plain, "fold": fold}

    def predict_settings(self, experiment: str, split: str | None = None) -> dict[str, Any]:
        """Return what a prediction is made by, checkpoint and shards apart; tiles and views only where chosen.

        The fold of a run stands in those of the validation samples only: what else it predicts is of no fold.
        """
        chosen = self.experiments[experiment]
        plain = chosen.model_dump(mode="json", include={"dataset", "precision", "threads"})
        if chosen.tiles is not None:
            plain["tiles"] = chosen.tiles.model_dump(mode="json")
        if chosen.test_time != "none":
            plain["test_time"] = chosen.test_time
        return self._with_fold(plain, experiment) if split == VALIDATION else plain

    def ensemble_settings(self, ensemble: str, split: str) -> dict[str, Any]:
        """Return what an ensemble is made by, predictions apart: seed, and fold where there are folds, of each run.

        The order of seeds in the file does not count.
        """
        runs = {
            name: {"seed": self.experiments[name].seed, **(self.fold_of(name) or {})}
            for name in self.ensembles()[ensemble]
        }
        classes = list(self.datasets[self.dataset_of(ensemble)].class_names())
        said = {"dataset": self.dataset_of(ensemble), "split": split, "runs": runs}
        return {**said, "classes": classes} if len(classes) > 2 else said

    def threshold_settings(self, experiment: str) -> dict[str, Any]:
        """Return what a threshold is chosen by; a baseline needs none."""
        dataset, recipe = self.dataset_of(experiment), self.recipe(experiment)
        said = 0.5 if recipe is None else recipe.threshold
        if recipe is None or isinstance(said, float):
            return {"dataset": dataset, "fixed": said, "source": None}
        chosen = ChosenThreshold() if said == "validation" else said
        split = self.validated_on(experiment)
        plain = {"dataset": dataset, "fixed": None, "source": self.source_of(experiment, split)}
        if split != VALIDATION:
            plain["split"] = split
        if chosen.averaging == "macro" and chosen.metric in EMPTY_DEPENDENT:
            plain["empty_masks"] = recipe.empty_masks
        return {**plain, **chosen.model_dump(mode="json")}

    def render_settings(self, experiment: str, split: str) -> dict[str, Any]:
        """Return what the pictures of a split are made by."""
        dataset = self.dataset_of(experiment)
        return {"dataset": dataset, "source": self.source_of(experiment, split, colours=True)}

    def submission_settings(self, experiment: str) -> dict[str, Any]:
        """Return what a submission to a challenge is made by."""
        dataset = self.dataset_of(experiment)
        plain: dict[str, Any] = {"dataset": dataset, "source": self.source(dataset, "unlabelled")}
        data = self.datasets[dataset]
        if isinstance(data, DriveDataset):
            plain["file_name"] = data.submission_name
        return plain

    def evaluate_settings(self, experiment: str) -> dict[str, Any]:
        """Return what scores are made by; `experiment` may be a baseline or an ensemble."""
        dataset, recipe = self.dataset_of(experiment), self.recipe(experiment)
        source = self.source_of(experiment, self.validated_on(experiment), "test")
        policy = self._policy_of_all(dataset) if recipe is None else recipe.empty_masks
        return {"dataset": dataset, "source": source, "empty_masks": policy}

    def _policy_of_all(self, dataset: str) -> str:
        """Return how all experiments on a data set count empty masks; where they differ, or there are none, ``one``."""
        policies = {one.empty_masks for one in self.experiments.values() if one.dataset == dataset}
        return policies.pop() if len(policies) == 1 else "one"

    def report_settings(self) -> dict[str, Any]:
        """Return what the page asks for: where each data set's test samples are, and whose experiments there are."""
        return {
            "datasets": {name: self.source(name, "test", colours=True) for name in self.datasets},
            "experiments": {name: self.dataset_of(name) for name in self.experiments},
        }

    def average_settings(self, experiment: str) -> dict[str, Any]:
        """Return what the mean and the spread over the runs of an experiment are made by."""
        runs = self.seeded()[experiment]
        return {"runs": runs, **({"folds": True} if self.fold_of(runs[0]) else {})}

    def baselines(self) -> list[str]:
        """Return what is scored beside the experiments, as far as the configuration tells; see `entrants`.

        Data sets of several classes have none, and at the native size nothing is lost by resizing.
        """
        return [
            baseline_name(dataset, kind)
            for dataset, data in self.datasets.items()
            for kind in BASELINES
            if len(data.class_names()) == 2 and not (kind == CEILING and data.size == "native")
        ]

    def baseline_settings(self, dataset: str, kind: str, split: str) -> dict[str, Any]:
        """Return what the pictures of a baseline are made by."""
        plain: dict[str, Any] = {"source": self.source(dataset, split)}
        if kind == CEILING:
            plain |= self.datasets[dataset].model_dump(mode="json", include={"size", "interpolation"})
        return plain

    def multiclass(self, experiment: str) -> bool:
        """Tell whether masks and predictions are class indices: more than one foreground class."""
        return len(self.datasets[self.dataset_of(experiment)].class_names()) > 2

    def dataset_of(self, experiment: str) -> str:
        """Return the data set of an experiment, an ensemble or a baseline."""
        recipe = self.recipe(experiment)
        return split_name(experiment)[0] if recipe is None else recipe.dataset


def parse(data: Mapping[str, Any]) -> Config:
    """Check plain data and freeze it.

    Parameters
    ----------
    data : mapping
        What YAML gave. A data set or experiment that is null is left out, so that a later file can take one away.

    Returns
    -------
    Config

    Raises
    ------
    ConfigError
        Listing every mistake with its path and the allowed values.
    """
    plain = dict(data)
    for section in ("datasets", "experiments"):
        if plain.get(section) is None and section in plain:
            plain[section] = {}
        if isinstance(plain.get(section), Mapping):
            plain[section] = {str(name): value for name, value in plain[section].items() if value is not None}
    problems = [*bad_names(plain), *unknown_datasets(plain)]
    try:
        config = Config.model_validate(plain)
    except ValidationError as error:
        problems += explain(error, plain, schema())
        raise ConfigError(problems) from error
    problems += [*contradictions(config.datasets, config.experiments), *clashing_runs(config.experiments)]
    if problems:
        raise ConfigError(problems)
    return config.model_copy(update={"experiments": expand_runs(config.experiments)})


def load(paths: list[Path]) -> Config:
    """Read one or several YAML files, later ones over earlier ones key by key, and `parse` the result."""
    merged: dict[str, Any] = {}
    for path in paths:
        try:
            text = path.read_text(encoding="utf-8")
            data = yaml.safe_load(text)
        except OSError as error:
            raise ConfigError(
                Problem(str(path), error.strerror or str(error), "a YAML file", "name it with --config FILE")
            ) from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(
                Problem(str(path), " ".join(str(error).split()), "YAML", "correct the line; indent with blanks only")
            ) from error
        if not isinstance(data, dict):
            raise ConfigError(
                Problem(str(path), type(data).__name__, "the keys `datasets` and `experiments`", "see the README")
            )
        _merge(merged, data)
    return parse(merged)


def schema() -> dict[str, Any]:
    """Return the JSON schema that lets editors complete and check config.yaml."""
    described = Config.model_json_schema()
    for section in ("datasets", "experiments"):  # null takes an entry of an earlier file away
        entries = described["properties"][section]
        entries["additionalProperties"] = {"anyOf": [entries["additionalProperties"], {"type": "null"}]}
    described["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    described["title"] = "config.yaml of the segmentation pipeline"
    return described


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> None:
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(base.get(key), dict):
            _merge(base[key], value)
        else:
            base[key] = dict(value) if isinstance(value, Mapping) else value
