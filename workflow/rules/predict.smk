# With several classes, one folder for each: many times as large as the class indices, so only with `keep_probability`.
rule predict:
    input:
        checkpoint=needs(Predictions, "checkpoint", kind="probability"),
        shards=needs(Predictions, "shards", kind="probability"),
        train_shards=needs(Predictions, "train_shards", kind="probability"),
        folds=needs(Predictions, "folds", kind="probability"),
    output:
        directory(path_of(Predictions, kind="probability")),
    log:
        "results/logs/predict/{experiment}/{split}.log",
    benchmark:
        "results/benchmarks/predict/{experiment}/{split}.tsv"
    wildcard_constraints:
        experiment=any_of(Predictions.names(STUDY)),
    threads: setting_of(lambda experiment: experiment.threads)
    resources:
        gpu=1,
    params:
        plan=plan(Predictions, kind="probability"),
    shell:
        "pipeline predict --experiment {wildcards.experiment:q} --split {wildcards.split} --kind probability"
        " --plan {params.plan:q} --checkpoint {input.checkpoint:q} --shards {input.shards:q}"
        " --train-shards {input.train_shards:q} --folds {input.folds:q} --output {output:q} > {log:q} 2>&1"


rule predict_classes:
    input:
        checkpoint=needs(Predictions, "checkpoint", kind="mask"),
        shards=needs(Predictions, "shards", kind="mask"),
        train_shards=needs(Predictions, "train_shards", kind="mask"),
        folds=needs(Predictions, "folds", kind="mask"),
    output:
        directory(path_of(Predictions, kind="mask")),
    log:
        "results/logs/predict_classes/{experiment}/{split}.log",
    benchmark:
        "results/benchmarks/predict_classes/{experiment}/{split}.tsv"
    wildcard_constraints:
        experiment=any_of(name for name in STUDY.multiclass_methods if name in STUDY.experiments),
    threads: setting_of(lambda experiment: experiment.threads)
    resources:
        gpu=1,
    params:
        plan=plan(Predictions, kind="mask"),
    shell:
        "pipeline predict --experiment {wildcards.experiment:q} --split {wildcards.split} --kind mask"
        " --plan {params.plan:q} --checkpoint {input.checkpoint:q} --shards {input.shards:q}"
        " --train-shards {input.train_shards:q} --folds {input.folds:q} --output {output:q} > {log:q} 2>&1"


# The mean of the predictions of all runs of an experiment; out-of-fold, of the runs that were not trained on a sample.
rule ensemble:
    input:
        predictions=needs(Ensemble, "predictions", kind="probability"),
        folds=needs(Ensemble, "folds", kind="probability"),
    output:
        directory(path_of(Ensemble, kind="probability")),
    log:
        "results/logs/ensemble/{experiment}.ensemble/{split}.log",
    benchmark:
        "results/benchmarks/ensemble/{experiment}.ensemble/{split}.tsv"
    wildcard_constraints:
        experiment=any_of(Ensemble.names(STUDY)),
    threads: 2
    params:
        plan=plan(Ensemble, kind="probability"),
    shell:
        "pipeline ensemble --experiment {wildcards.experiment:q} --split {wildcards.split} --kind probability"
        " --plan {params.plan:q} --predictions {input.predictions:q} --folds {input.folds:q} --threads {threads}"
        " --output {output:q} > {log:q} 2>&1"


rule ensemble_classes:
    input:
        predictions=needs(Ensemble, "predictions", kind="mask"),
        folds=needs(Ensemble, "folds", kind="mask"),
    output:
        directory(path_of(Ensemble, kind="mask")),
    log:
        "results/logs/ensemble_classes/{experiment}.ensemble/{split}.log",
    benchmark:
        "results/benchmarks/ensemble_classes/{experiment}.ensemble/{split}.tsv"
    wildcard_constraints:
        experiment=any_of(name for name in Ensemble.names(STUDY) if STUDY.multiclass(name)),
    threads: 2
    params:
        plan=plan(Ensemble, kind="mask"),
    shell:
        "pipeline ensemble --experiment {wildcards.experiment:q} --split {wildcards.split} --kind mask"
        " --plan {params.plan:q} --predictions {input.predictions:q} --folds {input.folds:q} --threads {threads}"
        " --output {output:q} > {log:q} 2>&1"


# Masks of a second observer, empty masks, and masks resized to the shard size: scored like predictions of a network.
rule baseline:
    input:
        raw_folder(Baseline),
    output:
        directory(path_of(Baseline)),
    log:
        "results/logs/baseline/{dataset}.{kind}/{split}.log",
    benchmark:
        "results/benchmarks/baseline/{dataset}.{kind}/{split}.tsv"
    params:
        plan=plan(Baseline),
    shell:
        "pipeline baseline --dataset {wildcards.dataset:q} --kind {wildcards.kind} --split {wildcards.split}"
        " --plan {params.plan:q} --output {output:q} > {log:q} 2>&1"


# Networks with a program that runs them without this project; compared with PyTorch on the test images.
rule export:
    input:
        checkpoints=needs(Bundle, "checkpoints"),
        provenance=needs(Bundle, "provenance"),
        threshold=needs(Bundle, "threshold"),
        intervals=needs(Bundle, "intervals"),
        raw=raw_folder(Bundle),
    output:
        path_of(Bundle),
    log:
        "results/logs/export/{experiment}.log",
    benchmark:
        "results/benchmarks/export/{experiment}.tsv"
    wildcard_constraints:
        experiment=any_of(Bundle.names(STUDY)),
    threads: 2
    params:
        plan=plan(Bundle),
    shell:
        "pipeline export {wildcards.experiment:q} {output:q} --plan {params.plan:q}"
        " --checkpoints {input.checkpoints:q} --provenance {input.provenance:q} --threshold {input.threshold:q}"
        " --intervals {input.intervals:q} --threads {threads} > {log:q} 2>&1"
