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
        experiment=any_of(CONFIG.experiments),
    threads: lambda wc: CONFIG.experiments[wc.experiment].threads
    resources:
        gpu=1,
    params:
        settings=lambda wc: canonical(CONFIG.predict_settings(wc.experiment)),
    shell:
        "pipeline predict --experiment {wildcards.experiment:q} --split {wildcards.split}"
        " --settings {params.settings:q} --checkpoint {input.checkpoint:q} --shards {input.shards:q}"
        " --output {output:q} > {log:q} 2>&1"


# What a second person drew, scored like a network.
rule observer:
    input:
        lambda wc: raw_files(wc.dataset, wc.split, files="observer_files"),
    output:
        directory(OBSERVED),
    log:
        "results/logs/observer/{dataset}/{split}.log",
    benchmark:
        "results/benchmarks/observer/{dataset}/{split}.tsv"
    params:
        settings=lambda wc: canonical(CONFIG.observer_settings(wc.dataset, wc.split)),
    shell:
        "pipeline observer --dataset {wildcards.dataset:q} --split {wildcards.split}"
        " --settings {params.settings:q} --output {output:q} > {log:q} 2>&1"
