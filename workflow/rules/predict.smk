rule predict:
    input:
        checkpoint=rules.train.output.best,
        shards=lambda wc: shard_files(CONFIG.dataset_of(wc.experiment), wc.split),
    output:
        directory(PROBABILITY),
    log:
        "results/logs/predict/{experiment}/{split}.log",
    benchmark:
        "results/benchmarks/predict/{experiment}/{split}.tsv"
    wildcard_constraints:
        experiment=any_of(TWO_CLASSES),
    threads: lambda wc: CONFIG.experiments[wc.experiment].threads
    resources:
        gpu=1,
    params:
        settings=lambda wc: canonical(CONFIG.predict_settings(wc.experiment)),
        code=predicted_code("probability"),
        expect=predicted_parts,
    shell:
        "pipeline predict --experiment {wildcards.experiment:q} --split {wildcards.split} --kind probability"
        " --settings {params.settings:q} --expect {params.expect:q} --checkpoint {input.checkpoint:q} --shards {input.shards:q}"
        " --output {output:q} > {log:q} 2>&1"


rule predict_classes:
    input:
        checkpoint=rules.train.output.best,
        shards=lambda wc: shard_files(CONFIG.dataset_of(wc.experiment), wc.split),
    output:
        directory(MASK),
    log:
        "results/logs/predict_classes/{experiment}/{split}.log",
    benchmark:
        "results/benchmarks/predict_classes/{experiment}/{split}.tsv"
    wildcard_constraints:
        experiment=any_of(SEVERAL_CLASSES),
    threads: lambda wc: CONFIG.experiments[wc.experiment].threads
    resources:
        gpu=1,
    params:
        settings=lambda wc: canonical(CONFIG.predict_settings(wc.experiment)),
        code=predicted_code("mask"),
        expect=predicted_parts,
    shell:
        "pipeline predict --experiment {wildcards.experiment:q} --split {wildcards.split} --kind mask"
        " --settings {params.settings:q} --expect {params.expect:q} --checkpoint {input.checkpoint:q} --shards {input.shards:q}"
        " --output {output:q} > {log:q} 2>&1"


# A folder for each class: many times as large as the classes themselves, so only for experiments that ask for it.
rule predict_probabilities:
    input:
        checkpoint=rules.train.output.best,
        shards=lambda wc: shard_files(CONFIG.dataset_of(wc.experiment), wc.split),
    output:
        directory(PROBABILITY),
    log:
        "results/logs/predict_probabilities/{experiment}/{split}.log",
    benchmark:
        "results/benchmarks/predict_probabilities/{experiment}/{split}.tsv"
    wildcard_constraints:
        experiment=any_of(name for name in SEVERAL_CLASSES if CONFIG.experiments[name].keep_probability),
    threads: lambda wc: CONFIG.experiments[wc.experiment].threads
    resources:
        gpu=1,
    params:
        settings=lambda wc: canonical(CONFIG.predict_settings(wc.experiment)),
        code=predicted_code("probability"),
        expect=predicted_parts,
    shell:
        "pipeline predict --experiment {wildcards.experiment:q} --split {wildcards.split} --kind probability"
        " --settings {params.settings:q} --expect {params.expect:q} --checkpoint {input.checkpoint:q} --shards {input.shards:q}"
        " --output {output:q} > {log:q} 2>&1"


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
