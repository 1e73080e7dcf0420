# A by-product for people: nothing depends on it, so a new file does not go through it to every shard.
rule splits:
    output:
        str(paths.splits("{dataset}")),
    log:
        "results/logs/splits/{dataset}.log",
    benchmark:
        "results/benchmarks/splits/{dataset}.tsv"
    params:
        settings=lambda wc: canonical(CONFIG.splits_settings(wc.dataset)),
        code=lambda wc: code_of("splits", CONFIG.splits_settings(wc.dataset)),
        members=lambda wc: canonical({split: listed(wc.dataset).digest(split) for split in SPLITS}),
    shell:
        "pipeline splits --dataset {wildcards.dataset:q} --settings {params.settings:q}"
        " --output {output:q} > {log:q} 2>&1"


# What runs of folds read beside the shards, which they share with all others. Each of them trains on a new sample or is
# validated on it, so that all have to run again anyway.
rule folds:
    output:
        str(paths.folds("{dataset}", "{folds}")),
    log:
        "results/logs/folds/{dataset}/{folds}.log",
    benchmark:
        "results/benchmarks/folds/{dataset}/{folds}.tsv"
    params:
        settings=lambda wc: canonical(CONFIG.fold_settings(wc.dataset, int(wc.folds))),
        code=lambda wc: code_of("folds", CONFIG.fold_settings(wc.dataset, int(wc.folds))),
        members=lambda wc: digest_folds(fold_members(wc.dataset, int(wc.folds))),
    shell:
        "pipeline folds --dataset {wildcards.dataset:q} --folds {wildcards.folds} --settings {params.settings:q}"
        " --output {output:q} > {log:q} 2>&1"


rule shard:
    input:
        shard_members,
    output:
        shard=str(paths.shard("{dataset}", "{split}", "{shard}")),
        # Snakemake measures no job whose output may come from its cache: this one does so itself
        timing="results/benchmarks/shard/{dataset}/{split}-{shard}.tsv",
    log:
        "results/logs/shard/{dataset}/{split}-{shard}.log",
    cache: True
    # many shards fill the cores by themselves; a single one decodes several pictures at a time
    threads: lambda wc: 4 if CONFIG.datasets[wc.dataset].shards == 1 else 1
    params:
        settings=lambda wc: canonical(shard_settings(wc)),
        names=shard_names,
        code=lambda wc: code_digest(plans.shards(CONFIG, wc.dataset, wc.split)),
        # rows of train.csv and depths.csv: the tables themselves as inputs would rebuild every shard for each new row
        shared_data=lambda wc: listed(wc.dataset).shared_data_digest(wc.split, int(wc.shard)),
    shell:
        "pipeline shard --dataset {wildcards.dataset:q} --split {wildcards.split} --shard {wildcards.shard}"
        " --threads {threads} --settings {params.settings:q} --output {output.shard:q} --timing {output.timing:q}"
        " > {log:q} 2>&1"
