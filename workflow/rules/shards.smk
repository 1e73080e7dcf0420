# A by-product for people: nothing depends on it, so a new file does not go through it to every shard.
rule splits:
    output:
        made(SplitTable),
    log:
        "results/logs/splits/{dataset}.log",
    benchmark:
        "results/benchmarks/splits/{dataset}.tsv"
    params:
        plan=plan(SplitTable),
    shell:
        "pipeline splits --dataset {wildcards.dataset:q} --plan {params.plan:q} --output {output:q} > {log:q} 2>&1"


# What runs of folds read beside the shards, which they share with all others. Each of them trains on a new sample or is
# validated on it, so that all have to run again anyway.
rule folds:
    output:
        made(FoldTable),
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
        made(Shard),
    log:
        "results/logs/shard/{dataset}/{split}-{number}.log",
    benchmark:
        "results/benchmarks/shard/{dataset}/{split}-{number}.tsv"
    # many shards fill the cores by themselves; a single one decodes several images at a time
    threads: lambda wc: 4 if STUDY.datasets[wc.dataset].shards == 1 else 1
    resources:
        store_gb=STUDY.config.store_gb,
    params:
        plan=plan(Shard),
    shell:
        "pipeline shard --dataset {wildcards.dataset:q} --split {wildcards.split} --number {wildcards.number}"
        " --threads {threads} --plan {params.plan:q} --store-gb {resources.store_gb} --output {output:q} > {log:q} 2>&1"
