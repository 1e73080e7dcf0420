# Of several classes a folder for each: many times as large as the classes themselves, so only for experiments that ask
# for it.
rule predict:
    input:
        checkpoint=needs(Predictions, "checkpoint", kind="probability"),
        shards=needs(Predictions, "shards", kind="probability"),
        train_shards=needs(Predictions, "train_shards", kind="probability"),
        folds=needs(Predictions, "folds", kind="probability"),
    output:
        directory(made(Predictions, kind="probability")),
    log:
        "results/logs/predict/{experiment}/{split}.log",
    benchmark:
        "results/benchmarks/predict/{experiment}/{split}.tsv"
    wildcard_constraints:
        experiment=any_of(Predictions.names(STUDY)),
    threads: of_experiment(lambda experiment: experiment.threads)
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
        directory(made(Predictions, kind="mask")),
    log:
        "results/logs/predict_classes/{experiment}/{split}.log",
    benchmark:
        "results/benchmarks/predict_classes/{experiment}/{split}.tsv"
    wildcard_constraints:
        experiment=any_of(name for name in STUDY.several_classes if name in STUDY.experiments),
    threads: of_experiment(lambda experiment: experiment.threads)
    resources:
        gpu=1,
    params:
        plan=plan(Predictions, kind="mask"),
    shell:
        "pipeline predict --experiment {wildcards.experiment:q} --split {wildcards.split} --kind mask"
        " --plan {params.plan:q} --checkpoint {input.checkpoint:q} --shards {input.shards:q}"
        " --train-shards {input.train_shards:q} --folds {input.folds:q} --output {output:q} > {log:q} 2>&1"


# The mean of what all runs of an experiment predict; of samples that are in a fold, by those that have not seen them.
rule ensemble:
    input:
        predictions=needs(Ensemble, "predictions", kind="probability"),
        folds=needs(Ensemble, "folds", kind="probability"),
    output:
        directory(made(Ensemble, kind="probability")),
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
        directory(made(Ensemble, kind="mask")),
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


# What a second person drew, nothing at all, and the masks at the working size: scored like a network.
rule baseline:
    input:
        raw_folder(Baseline),
    output:
        directory(made(Baseline)),
    log:
        "results/logs/baseline/{dataset}.{kind}/{split}.log",
    benchmark:
        "results/benchmarks/baseline/{dataset}.{kind}/{split}.tsv"
    params:
        plan=plan(Baseline),
    shell:
        "pipeline baseline --dataset {wildcards.dataset:q} --kind {wildcards.kind} --split {wildcards.split}"
        " --plan {params.plan:q} --output {output:q} > {log:q} 2>&1"
