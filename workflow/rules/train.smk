rule train:
    input:
        train=lambda wc: shard_files(CONFIG.dataset_of(wc.experiment), "train"),
        validation=lambda wc: shard_files(CONFIG.dataset_of(wc.experiment), "validation"),
        folds=lambda wc: fold_table(wc.experiment),
    output:
        best=str(paths.model("{experiment}") / "best.pt"),
        last=str(paths.model("{experiment}") / "last.pt"),
        history=str(paths.model("{experiment}") / "history.csv"),
        timing=str(paths.model("{experiment}") / "timing.csv"),
        provenance=str(paths.provenance("{experiment}")),
    log:
        "results/logs/train/{experiment}.log",
    cache: True
    threads: lambda wc: CONFIG.experiments[wc.experiment].threads * CONFIG.experiments[wc.experiment].gpus
    resources:
        gpu=lambda wc: CONFIG.experiments[wc.experiment].gpus,
        save_every=60,
    params:
        settings=lambda wc: canonical(CONFIG.train_settings(wc.experiment)),
        code=lambda wc: code_digest(plans.checkpoint(CONFIG, wc.experiment)),
        expect=lambda wc: canonical(plans.training_parts(CONFIG, wc.experiment)),
        # stands in the checkpoint, and the cache between workflows does not ask for wildcards
        name="{experiment}",
        folder=folder_of,
        # no output: those Snakemake deletes when a job fails, and this is what the next one goes on from
        state=lambda wc: str(paths.state(wc.experiment)),
    shell:
        "pipeline train --experiment {wildcards.experiment:q} --settings {params.settings:q}"
        " --expect {params.expect:q} --train-shards {input.train:q} --validation-shards {input.validation:q}"
        " --folds {input.folds:q} --output {params.folder:q} --state {params.state:q} --save-every {resources.save_every}"
        " > {log:q} 2>&1"


# To look at before training: it needs nothing but the shards.
rule augmented:
    input:
        train=lambda wc: shard_files(CONFIG.dataset_of(wc.experiment), "train"),
        validation=lambda wc: (
            shard_files(CONFIG.dataset_of(wc.experiment), "validation") if fold_table(wc.experiment) else []
        ),
        folds=lambda wc: fold_table(wc.experiment),
    output:
        report(
            str(paths.model("{experiment}") / "augmented.png"),
            caption="../report/augmented.rst",
            category="Training",
            labels=labelled("augmented samples"),
        ),
    log:
        "results/logs/augmented/{experiment}.log",
    benchmark:
        "results/benchmarks/augmented/{experiment}.tsv"
    params:
        settings=lambda wc: canonical(CONFIG.augmented_settings(wc.experiment)),
        code=lambda wc: code_of("augmented", CONFIG.augmented_settings(wc.experiment)),
        expect=lambda wc: canonical(plans.augmented_parts(CONFIG, wc.experiment)),
        note=lambda wc: origin_note(CONFIG.dataset_of(wc.experiment)),
    shell:
        "pipeline augmented --experiment {wildcards.experiment:q} --settings {params.settings:q}"
        " --expect {params.expect:q} --train-shards {input.train:q} --validation-shards {input.validation:q}"
        " --folds {input.folds:q} --note={params.note:q} --output {output:q} > {log:q} 2>&1"


rule curves:
    input:
        rules.train.output.history,
    output:
        report(
            str(paths.model("{experiment}") / "curves.png"),
            caption="../report/curves.rst",
            category="Training",
            labels=labelled("learning curves"),
        ),
    log:
        "results/logs/curves/{experiment}.log",
    benchmark:
        "results/benchmarks/curves/{experiment}.tsv"
    params:
        code=code_of("curves", {}),
        note=lambda wc: origin_note(CONFIG.dataset_of(wc.experiment)),
    shell:
        "pipeline curves --experiment {wildcards.experiment:q} --history {input:q} --note={params.note:q}"
        " --output {output:q} > {log:q} 2>&1"


# For those who compare their runs in TensorBoard: only made when asked for.
rule events:
    input:
        rules.train.output.history,
    output:
        str(paths.events("{experiment}")),
    log:
        "results/logs/events/{experiment}.log",
    benchmark:
        "results/benchmarks/events/{experiment}.tsv"
    params:
        code=code_of("tensorboard", {}),
    shell:
        "pipeline tensorboard --experiment {wildcards.experiment:q} --history {input:q} --output {output:q} > {log:q} 2>&1"
