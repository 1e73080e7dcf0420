# What jobs are given: files of the raw data and of other jobs, settings, and what all of it has to be made by.


def shard_members(wildcards):
    members = listed(wildcards.dataset).shard_members(wildcards.split).get(int(wildcards.shard), [])
    if not members:
        raise WorkflowError(f"{wildcards.dataset} has no sample in shard {wildcards.shard} of split {wildcards.split}")
    return unique(path for sample in members for path in sample.files)


def shard_names(wildcards):
    # the cache between workflows asks for params and raw files, and sees no wildcards
    dataset, members = listed(wildcards.dataset), (wildcards.split, int(wildcards.shard))
    return canonical([wildcards.dataset, *members, dataset.origin, dataset.digest(*members)])


def shard_settings(wildcards):
    settings = CONFIG.shard_settings(wildcards.dataset, wildcards.split)
    exclude = listed(wildcards.dataset).exclusions(wildcards.split, int(wildcards.shard))
    source = {key: value for key, value in settings["source"].items() if key != "exclude"}
    return {**settings, "source": {**source, "exclude": exclude} if exclude else source}


def checked_files(wildcards):
    # what can be listed, so that files that do not pair are reported and stop nothing else
    found = opened(wildcards.dataset)
    samples = [*itertools.chain.from_iterable(found.dataset.splits.values()), *found.unplaced]
    files = [path for sample in samples for path in (*sample.files, *sample.truth_files, *sample.observer_files)]
    return [path for path in unique(files) if os.path.exists(path)]


def listing_state(wildcards):
    # which samples stand where, what does not pair, and what nothing uses
    found = opened(wildcards.dataset)
    members = {split: found.dataset.digest(split) for split in SPLITS}
    problems = sorted(map(str, found.problems))
    return canonical({"members": members, "problems": problems, "unused": unused_digest(found)})


def validation_evidence(wildcards):
    # what a threshold is chosen on: predictions and masks of the validation samples, or nothing where it is fixed
    if CONFIG.threshold_settings(wildcards.experiment)["fixed"] is not None:
        return []
    split = CONFIG.validated_on(wildcards.experiment)
    if not splits_of(wildcards.experiment)[split]:
        dataset = CONFIG.dataset_of(wildcards.experiment)
        raise WorkflowError(
            f"The threshold of {wildcards.experiment} is to be chosen on validation samples, and {dataset} has none: "
            "add labelled pictures, raise its `validation` fraction, or give the experiment a number as `threshold`."
        )
    predictions = PROBABILITY.format(experiment=wildcards.experiment, split=split)
    return [predictions, *unique(raw_files(wildcards.experiment, split, files="truth_files"))]


def fold_table(experiment):
    # nothing where there are no folds
    fold = CONFIG.fold_of(experiment)
    return [] if fold is None else [str(paths.folds(CONFIG.dataset_of(experiment), fold["folds"]))]


def predicted_fold(wildcards):
    return fold_table(wildcards.experiment) if wildcards.split == "validation" else []


def rest_of_fold(wildcards):
    # samples of a fold lie in shards of both splits
    return shard_files(CONFIG.dataset_of(wildcards.experiment), "train") if predicted_fold(wildcards) else []


def ensemble_of(wildcards):
    return entrants.ensemble_name(wildcards.seeded)


def averaged_predictions(wildcards):
    split = "validation" if wildcards.split == OUT_OF_FOLD else wildcards.split
    runs = sorted(ENSEMBLES[ensemble_of(wildcards)])
    return [PROBABILITY.format(experiment=run, split=split) for run in runs]


def averaged_fold(wildcards):
    return fold_table(SEEDED[wildcards.seeded][0]) if wildcards.split == OUT_OF_FOLD else []


def ensemble_settings(wildcards):
    return CONFIG.ensemble_settings(ensemble_of(wildcards), wildcards.split)


def ensemble_parts(wildcards):
    # ... and what an ensemble is made from
    return canonical(plans.ensemble_parts(CONFIG, ensemble_of(wildcards), wildcards.split))
