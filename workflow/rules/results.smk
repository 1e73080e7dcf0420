# What each target consists of: for one experiment or baseline, and for all of them.


def shards_of(experiment):
    dataset = CONFIG.dataset_of(experiment)
    return [path for split in SPLITS for path in shard_files(dataset, split)]


def models_of(experiment):
    if experiment in ENSEMBLES:
        return []
    folder = paths.model(experiment)
    return [
        str(folder / name)
        for name in ("best.pt", "last.pt", "history.csv", "curves.png", "augmented.png", "provenance.json")
    ]


def predictions_of(experiment):
    if experiment in BASELINES and not observed(experiment):
        return []  # nobody has to look at nothing, or at masks that were resized
    if experiment in SEVERAL_CLASSES:
        kept = ["probability"] if CONFIG.recipe(experiment).keep_probability else []
        pictures = [*kept, "mask", "colour", "overlay", "panel", "legend.png", "sheet.png"]
    else:
        pictures = ["probability", "mask", "overlay", "panel", "sheet.png"]
    splits = predicted_splits(experiment)
    submitted = "unlabelled" in splits and CONFIG.datasets[CONFIG.dataset_of(experiment)].submitted
    return [
        *(str(paths.prediction(experiment, split) / name) for split in splits for name in pictures),
        *([str(paths.submission(experiment))] if submitted else []),
    ]


def metrics_of(experiment):
    if not scored_splits(experiment):
        return []
    more = ["confusion.csv", "confusion.png"] if experiment in SEVERAL_CLASSES else ["curve.csv"]
    return [str(paths.metrics(experiment) / name) for name in ("per_image.csv", "summary.csv", "intervals.csv", *more)]


def averages_of(experiment):
    # the runs share a data set, so either all are scored or none is
    runs = SEEDED.get(experiment, [])
    return [str(paths.metrics(experiment) / "summary.csv")] if any(map(metrics_of, runs)) else []


def report_of(experiment):
    return [*models_of(experiment), *predictions_of(experiment), *metrics_of(experiment)]


def events_of(experiment):
    # an ensemble has no training
    return [] if experiment in ENSEMBLES else [str(paths.events(experiment))]


def only(target, name):
    return lambda wildcards: targeted(target, name)


TARGETS = {
    "shards": shards_of,
    "models": models_of,
    "predictions": predictions_of,
    "metrics": metrics_of,
    "report": report_of,
    "tensorboard": events_of,
}


def targeted(target, name):
    # what a target consists of, for an experiment, or for all runs of an experiment and their ensemble
    ensemble = entrants.ensemble_name(name)
    entries = [*SEEDED.get(name, [name]), *([ensemble] if ensemble in ENSEMBLES else [])]
    averaged = averages_of(name) if target in ("metrics", "report") else []
    return unique([path for entry in entries for path in TARGETS[target](entry)] + averaged)


def all_shards(wildcards):
    names = raw_datasets()
    shards = [path for name in names for split in SPLITS for path in shard_files(name, split)]
    return [*shards, *(str(paths.splits(name)) for name in names)]


def scored_checks(wildcards):
    # reports on the raw files of what is scored: the leaderboard marks the rows that they throw a doubt on
    return unique(str(paths.check(CONFIG.dataset_of(name))) for name in scored_names() if metrics_of(name))


def reported_checks(wildcards):
    # what `check` says of each data set, with its contact sheet
    return [str(paths.check(name).with_suffix(ending)) for name in CONFIG.datasets for ending in (".json", ".png")]


def reported_trainings(wildcards):
    names = ("history.csv", "timing.csv", "provenance.json")
    return [str(paths.model(experiment) / name) for experiment in CONFIG.experiments for name in names]


def reported_pictures(wildcards):
    # masks of the test pictures, and the panels that links lead to, of everything that somebody may want to look at
    names = [name for name in scored_names() if name not in BASELINES or observed(name)]
    folders = [paths.prediction(name, "test") for name in names if "test" in scored_splits(name)]
    return [str(folder / kind) for folder in folders for kind in ("mask", "panel")]


def all_models(wildcards):
    return [path for name in CONFIG.experiments for path in models_of(name)]


def all_predictions(wildcards):
    return [path for name in scored_names() for path in predictions_of(name)]


def all_metrics(wildcards):
    scores = [path for name in scored_names() for path in metrics_of(name)]
    return [*scores, *(path for name in SEEDED for path in averages_of(name))]


def all_events(wildcards):
    return [path for name in CONFIG.experiments for path in events_of(name)]
