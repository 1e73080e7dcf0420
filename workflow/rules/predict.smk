rule predict:
    input:
        checkpoint=rules.train.output.best,
        shards=lambda wc: shard_files(CONFIG.dataset_of(wc.experiment), wc.split),
        train_shards=rest_of_fold,
        folds=predicted_fold,
    output:
        directory(PROBABILITY),
    log:
        "results/logs/predict/{experiment}/{split}.log",
    benchmark:
        "results/benchmarks/predict/{experiment}/{split}.tsv"
    wildcard_constraints:
        experiment=networks(TWO_CLASSES),
    threads: lambda wc: CONFIG.experiments[wc.experiment].threads
    resources:
        gpu=1,
    params:
        settings=lambda wc: canonical(CONFIG.predict_settings(wc.experiment, wc.split)),
        code=predicted_code("probability"),
        expect=predicted_parts,
    shell:
        "pipeline predict --experiment {wildcards.experiment:q} --split {wildcards.split} --kind probability"
        " --settings {params.settings:q} --expect {params.expect:q} --checkpoint {input.checkpoint:q} --shards {input.shards:q}"
        " --train-shards {input.train_shards:q} --folds {input.folds:q}"
        " --output {output:q} > {log:q} 2>&1"


rule predict_classes:
    input:
        checkpoint=rules.train.output.best,
        shards=lambda wc: shard_files(CONFIG.dataset_of(wc.experiment), wc.split),
        train_shards=rest_of_fold,
        folds=predicted_fold,
    output:
        directory(MASK),
    log:
        "results/logs/predict_classes/{experiment}/{split}.log",
    benchmark:
        "results/benchmarks/predict_classes/{experiment}/{split}.tsv"
    wildcard_constraints:
        experiment=networks(SEVERAL_CLASSES),
    threads: lambda wc: CONFIG.experiments[wc.experiment].threads
    resources:
        gpu=1,
    params:
        settings=lambda wc: canonical(CONFIG.predict_settings(wc.experiment, wc.split)),
        code=predicted_code("mask"),
        expect=predicted_parts,
    shell:
        "pipeline predict --experiment {wildcards.experiment:q} --split {wildcards.split} --kind mask"
        " --settings {params.settings:q} --expect {params.expect:q} --checkpoint {input.checkpoint:q} --shards {input.shards:q}"
        " --train-shards {input.train_shards:q} --folds {input.folds:q}"
        " --output {output:q} > {log:q} 2>&1"


# A folder for each class: many times as large as the classes themselves, so only for experiments that ask for it.
rule predict_probabilities:
    input:
        checkpoint=rules.train.output.best,
        shards=lambda wc: shard_files(CONFIG.dataset_of(wc.experiment), wc.split),
        train_shards=rest_of_fold,
        folds=predicted_fold,
    output:
        directory(PROBABILITY),
    log:
        "results/logs/predict_probabilities/{experiment}/{split}.log",
    benchmark:
        "results/benchmarks/predict_probabilities/{experiment}/{split}.tsv"
    wildcard_constraints:
        experiment=networks(name for name in SEVERAL_CLASSES if CONFIG.recipe(name).keep_probability),
    threads: lambda wc: CONFIG.experiments[wc.experiment].threads
    resources:
        gpu=1,
    params:
        settings=lambda wc: canonical(CONFIG.predict_settings(wc.experiment, wc.split)),
        code=predicted_code("probability"),
        expect=predicted_parts,
    shell:
        "pipeline predict --experiment {wildcards.experiment:q} --split {wildcards.split} --kind probability"
        " --settings {params.settings:q} --expect {params.expect:q} --checkpoint {input.checkpoint:q} --shards {input.shards:q}"
        " --train-shards {input.train_shards:q} --folds {input.folds:q}"
        " --output {output:q} > {log:q} 2>&1"


# The mean of what all runs of an experiment predict; of samples that are in a fold, by those that have not seen them.
rule ensemble:
    input:
        predictions=averaged_predictions,
        folds=averaged_fold,
    output:
        directory(ENSEMBLE_PROBABILITY),
    log:
        "results/logs/ensemble/{seeded}.ensemble/{split}.log",
    benchmark:
        "results/benchmarks/ensemble/{seeded}.ensemble/{split}.tsv"
    threads: 2
    params:
        settings=lambda wc: canonical(ensemble_settings(wc)),
        code=code_of("ensemble", {}),
        expect=ensemble_parts,
    shell:
        "pipeline ensemble --experiment {wildcards.seeded:q} --split {wildcards.split} --kind probability"
        " --settings {params.settings:q} --expect {params.expect:q} --predictions {input.predictions:q} --folds {input.folds:q}"
        " --threads {threads} --output {output:q} > {log:q} 2>&1"


rule ensemble_classes:
    input:
        predictions=averaged_predictions,
        folds=averaged_fold,
    output:
        directory(ENSEMBLE_MASK),
    log:
        "results/logs/ensemble_classes/{seeded}.ensemble/{split}.log",
    benchmark:
        "results/benchmarks/ensemble_classes/{seeded}.ensemble/{split}.tsv"
    wildcard_constraints:
        seeded=any_of(name for name in SEEDED if entrants.ensemble_name(name) in SEVERAL_CLASSES),
    threads: 2
    params:
        settings=lambda wc: canonical(ensemble_settings(wc)),
        code=code_of("ensemble", {}),
        expect=ensemble_parts,
    shell:
        "pipeline ensemble --experiment {wildcards.seeded:q} --split {wildcards.split} --kind mask"
        " --settings {params.settings:q} --expect {params.expect:q} --predictions {input.predictions:q} --folds {input.folds:q}"
        " --threads {threads} --output {output:q} > {log:q} 2>&1"


# What a second person drew, nothing at all, and the masks at the working size: scored like a network.
rule baseline:
    input:
        baseline_files,
    output:
        directory(BASELINE),
    log:
        "results/logs/baseline/{dataset}.{kind}/{split}.log",
    benchmark:
        "results/benchmarks/baseline/{dataset}.{kind}/{split}.tsv"
    params:
        settings=lambda wc: canonical(CONFIG.baseline_settings(wc.dataset, wc.kind, wc.split)),
        code=lambda wc: code_of("baseline", CONFIG.baseline_settings(wc.dataset, wc.kind, wc.split)),
    shell:
        "pipeline baseline --dataset {wildcards.dataset:q} --kind {wildcards.kind} --split {wildcards.split}"
        " --settings {params.settings:q} --output {output:q} > {log:q} 2>&1"
