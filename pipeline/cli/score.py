"""Verbs that score and show what was predicted."""

from pathlib import Path
from typing import Any

from pipeline.cli.arguments import (
    Arguments,
    call,
    configuration,
    expected_plans,
    refuse_threshold,
    several_classes,
    stage_settings,
)
from pipeline.cli.origin import Plan, asked_of, made_by
from pipeline.core import paths
from pipeline.core.errors import ConfigError, Problem
from pipeline.evaluation.entrants import baseline_name
from pipeline.raw.splits.names import OUT_OF_FOLD, TEST, UNLABELLED, VALIDATION


def do_baseline(arguments: Arguments) -> None:
    """Write a prediction that needs no training."""
    from pipeline.evaluation.baselines import write_baseline

    name, split, kind = arguments.dataset, arguments.split, arguments.kind
    settings = stage_settings(arguments, lambda config: config.baseline_settings(name, kind, split))
    output = arguments.output or paths.prediction(baseline_name(name, kind), split) / "probability"
    given = {"dataset": name, "split": split, "kind": kind}
    fingerprint = made_by("baseline", settings, {}, **given)
    call(write_baseline, output=output, fingerprint=fingerprint, **given, **settings)


def do_threshold(arguments: Arguments) -> None:
    """Choose the threshold of an experiment."""
    from pipeline.evaluation.choice import choose_threshold
    from pipeline.evaluation.thresholds import require_origin

    name = arguments.experiment
    settings = stage_settings(arguments, lambda config: config.threshold_settings(name))
    if several_classes(settings):
        raise ConfigError(
            Problem(
                f"experiment {name!r}",
                "a data set of several classes",
                "two classes: of several, a pixel gets the most probable one",
                "leave this step out; `render` and `evaluate` need no threshold",
            )
        )
    parts = expected_plans(arguments, lambda plans, config: plans.threshold_parts(config, name), arguments.predictions)
    fingerprint = made_by("threshold", settings, parts)
    split = settings.get("split", VALIDATION)
    predictions = arguments.predictions or paths.prediction(name, split) / "probability"
    require_origin(dict(asked_of(parts, {f"{split} predictions": [predictions]})))
    given = {"predictions": predictions, "output": arguments.output or paths.threshold(name)}
    call(choose_threshold, experiment=name, fingerprint=fingerprint, **given, **settings)


def do_render(arguments: Arguments) -> None:
    """Draw masks, overlays and panels of a split."""
    name, split = arguments.experiment, arguments.split
    settings = stage_settings(arguments, lambda config: config.render_settings(name, split))
    folder = paths.prediction(name, split)
    given: dict[str, Any] = {"experiment": name, "split": split, "output": arguments.output or folder}
    several = several_classes(settings)
    if several:
        refuse_threshold(arguments)
    predictions = arguments.predictions or folder / ("mask" if several else "probability")
    threshold = arguments.threshold or paths.threshold(name)
    parts = _scoring_parts(arguments, {split: predictions}, threshold)
    given["fingerprint"] = made_by("render_classes" if several else "render", settings, parts, split=split)
    if several:
        from pipeline.evaluation.pictures_of_classes import render_classes

        call(render_classes, predictions=predictions, **given, **settings)
        return
    from pipeline.evaluation.pictures import render

    call(render, predictions=predictions, threshold=threshold, **given, **settings)


def _scoring_parts(arguments: Arguments, predictions: dict[str, Path], threshold: Path | float) -> dict[str, Plan]:
    """Return what predictions and threshold have to be made by, and refuse what was made by something else."""
    from pipeline.evaluation.thresholds import require_origin

    def cut(plans: Any, config: Any) -> dict[str, Plan]:  # noqa: ANN401 - modules that only some verbs import
        known: dict[str, Plan] = plans.scoring_parts(config, arguments.experiment, predictions)
        return known

    parts = expected_plans(arguments, cut, arguments.predictions or None, arguments.threshold)
    files = {f"{split} predictions": [folder] for split, folder in predictions.items()}
    files["threshold"] = [threshold] if isinstance(threshold, Path) else []
    require_origin(dict(asked_of(parts, files)))
    return parts


def do_submission(arguments: Arguments) -> None:
    """Write what a challenge takes."""
    from pipeline.evaluation.submission import write_submission

    name = arguments.experiment
    settings = stage_settings(arguments, lambda config: config.submission_settings(name))
    predictions = arguments.predictions or paths.prediction(name, UNLABELLED) / "probability"
    threshold = arguments.threshold or paths.threshold(name)
    _scoring_parts(arguments, {UNLABELLED: predictions}, threshold)
    call(
        write_submission,
        experiment=name,
        predictions=predictions,
        threshold=threshold,
        output=arguments.output or paths.submission(name),
        **settings,
    )


def _predictions(arguments: Arguments, kind: str) -> dict[str, Path]:
    """Return the folders named on the command line, or those of the workflow that are there."""
    if arguments.predictions:
        return dict(arguments.predictions)
    folders = {split: paths.prediction(arguments.experiment, split) / kind for split in (VALIDATION, OUT_OF_FOLD, TEST)}
    found = {split: folder for split, folder in folders.items() if folder.is_dir()}
    if not found:
        name = arguments.experiment
        raise ConfigError(
            Problem(
                str(paths.RESULTS / "predictions" / name),
                "no predictions",
                f"a folder `{kind}` of pictures for at least one split",
                f"run `python -m pipeline predict --experiment {name} --split test --kind {kind}`, "
                "or name --predictions test=FOLDER",
            )
        )
    return found


def do_evaluate(arguments: Arguments) -> None:
    """Score predictions."""
    name = arguments.experiment
    settings = stage_settings(arguments, lambda config: config.evaluate_settings(name))
    output = arguments.output or paths.metrics(name)
    if several_classes(settings):
        from pipeline.evaluation.evaluate_classes import evaluate_classes

        refuse_threshold(arguments)
        folders = _predictions(arguments, "mask")
        fingerprint = made_by("evaluate_classes", settings, _scoring_parts(arguments, folders, paths.threshold(name)))
        given: dict[str, Any] = {"experiment": name, "output": output, "fingerprint": fingerprint}
        call(evaluate_classes, predictions=folders, **given, **settings)
        return
    from pipeline.evaluation.evaluate import evaluate

    folders = _predictions(arguments, "probability")
    threshold = arguments.threshold if arguments.threshold is not None else paths.threshold(name)
    fingerprint = made_by("evaluate", settings, _scoring_parts(arguments, folders, threshold))
    given = {"experiment": name, "output": output, "fingerprint": fingerprint}
    call(evaluate, predictions=folders, threshold=threshold, **given, **settings)


def do_average(arguments: Arguments) -> None:
    """Average the scores of the runs of an experiment."""
    from pipeline.report.average import average_runs

    name = arguments.experiment
    settings = stage_settings(arguments, lambda config: config.average_settings(name))
    summaries = arguments.summaries
    if summaries is None:
        summaries = [paths.metrics(run) / "summary.csv" for run in settings.get("runs", ())]
    output = arguments.output or paths.metrics(name) / "summary.csv"
    call(average_runs, experiment=name, summaries=summaries, output=output, **settings)


def do_compare(arguments: Arguments) -> None:
    """Print experiments side by side."""
    from pipeline.report.compare import rank
    from pipeline.report.compare_text import write_rankings

    rankings = rank(
        leaderboard=paths.leaderboard(),
        comparisons=paths.comparisons(),
        metrics=paths.RESULTS / "metrics",
        experiments=arguments.names,
        dataset=arguments.dataset,
        split=arguments.split,
        region=arguments.region,
        averaging=arguments.averaging,
        class_name=arguments.class_name,
        metric=arguments.metric,
    )
    write_rankings(rankings, arguments.format)


def do_comparisons(arguments: Arguments) -> None:
    """Compare all entrants pair by pair."""
    from pipeline.report.comparisons import compare_entrants

    per_image = arguments.per_image
    if per_image is None:
        config = configuration(arguments)
        named = [*config.experiments, *config.ensembles(), *config.baselines()]
        # what has no masks, or was not evaluated by hand, has no scores
        per_image = [path for name in named if (path := paths.metrics(name) / "per_image.csv").exists()]
    compare_entrants(per_image=per_image, output=arguments.output or paths.comparisons())


def _has_samples(config: Any, name: str) -> bool:  # noqa: ANN401 - a class that only some verbs import
    """Tell whether there are samples on which an experiment, a run or an ensemble is scored."""
    from pipeline.raw.dataset import open_dataset

    split = config.validated_on(name)
    raw = open_dataset(config.dataset_of(name), **config.source_of(name, split, TEST))
    return bool(raw.splits[TEST] or (raw.pool if split == OUT_OF_FOLD else raw.splits[VALIDATION]))


def do_leaderboard(arguments: Arguments) -> None:
    """Join all scores into the leaderboard."""
    from pipeline.report.leaderboard import build_leaderboard

    summaries = arguments.summaries
    if summaries is None:
        config = configuration(arguments)
        networks = {name: name for name in (*config.experiments, *config.ensembles())}
        networks |= {name: runs[0] for name, runs in config.seeded().items()}
        named = [*networks, *config.baselines()]
        there = [name for name in named if (paths.metrics(name) / "summary.csv").exists()]
        # what is missing is an error, but where there is nothing to score on
        missing = [name for name in networks if name not in there and _has_samples(config, networks[name])]
        summaries = [paths.metrics(name) / "summary.csv" for name in named if name in (*there, *missing)]
    checks = arguments.checks
    if checks is None:
        checks = [] if arguments.summaries is not None else sorted(paths.checks().glob("*.json"))
    build_leaderboard(summaries=summaries, checks=checks, output=arguments.output or paths.leaderboard())


def do_report(arguments: Arguments) -> None:
    """Write the page about all of it."""
    from pipeline.report.build import build_report

    settings = stage_settings(arguments, lambda config: config.report_settings())
    by_hand = arguments.settings is None
    intervals, comparisons = arguments.intervals, arguments.comparisons
    if intervals is None and by_hand:
        intervals = sorted((paths.RESULTS / "metrics").glob("*/intervals.csv"))
    if comparisons is None and by_hand and paths.comparisons().exists():
        comparisons = paths.comparisons()
    call(
        build_report,
        leaderboard=arguments.leaderboard or paths.leaderboard(),
        intervals=intervals or [],
        comparisons=comparisons,
        output=arguments.output or paths.report(),
        **settings,
    )
