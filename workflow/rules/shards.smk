def shard_members(wildcards):
    members = listed(wildcards.dataset).shard_members(wildcards.split).get(int(wildcards.shard), [])
    if not members:
        raise WorkflowError(f"{wildcards.dataset} has no sample in shard {wildcards.shard} of split {wildcards.split}")
    return unique(str(path) for sample in members for path in sample.files)


# A by-product for people: nothing depends on it, so a new file does not go through it to every shard.
rule splits:
    output:
        str(paths.splits("{dataset}")),
    params:
        settings=lambda wc: canonical(CONFIG.splits_settings(wc.dataset)),
        members=lambda wc: canonical({split: listed(wc.dataset).digest(split) for split in SPLITS}),
    log:
        "results/logs/splits/{dataset}.log",
    benchmark:
        "results/benchmarks/splits/{dataset}.tsv"
    shell:
        "{PIPELINE} splits --dataset {wildcards.dataset:q} --settings {params.settings:q}"
        " --output {output:q} > {log:q} 2>&1"


rule shard:
    input:
        shard_members,
    output:
        str(paths.shard("{dataset}", "{split}", "{shard}")),
    params:
        settings=lambda wc: canonical(CONFIG.shard_settings(wc.dataset, wc.split)),
    log:
        "results/logs/shard/{dataset}/{split}-{shard}.log",
    shell:
        "{PIPELINE} shard --dataset {wildcards.dataset:q} --split {wildcards.split} --shard {wildcards.shard}"
        " --settings {params.settings:q} --output {output:q} > {log:q} 2>&1"
