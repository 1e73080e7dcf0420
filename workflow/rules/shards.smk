# For reading only: no rule depends on it, so that a new file does not rebuild all shards through it.
rule splits:
    output:
        path_of(SplitTable),
    log:
        "results/logs/splits/{dataset}.log",
    benchmark:
        "results/benchmarks/splits/{dataset}.tsv"
    params:
        plan=plan(SplitTable),
    shell:
        "pipeline splits --dataset {wildcards.dataset:q} --plan {params.plan:q} --output {output:q} > {log:q} 2>&1"


# Runs of folds read this table beside the shards, which they share with other experiments. They all depend on it: a new
# sample is in the training or validation samples of each run anyway.
rule folds:
    output:
        path_of(FoldTable),
    log:
        "results/logs/folds/{dataset}/{folds}.log",
    benchmark:
        "results/benchmarks/folds/{dataset}/{folds}.tsv"
    params:
        plan=plan(FoldTable),
    shell:
        "pipeline folds --dataset {wildcards.dataset:q} --folds {wildcards.folds} --plan {params.plan:q}"
        " --output {output:q} > {log:q} 2>&1"


rule shard:
    input:
        raw_folder(Shard),
    output:
        path_of(Shard),
    log:
        "results/logs/shard/{dataset}/{split}-{number}.log",
    benchmark:
        "results/benchmarks/shard/{dataset}/{split}-{number}.tsv"
    # several shards keep the cores busy; a single one decodes images in parallel
    threads: lambda wc: 4 if STUDY.datasets[wc.dataset].shards == 1 else 1
    resources:
        store_gb=STUDY.config.store_gb,
    params:
        plan=plan(Shard),
    shell:
        "pipeline shard --dataset {wildcards.dataset:q} --split {wildcards.split} --number {wildcards.number}"
        " --threads {threads} --plan {params.plan:q} --store-gb {resources.store_gb} --output {output:q} > {log:q} 2>&1"
