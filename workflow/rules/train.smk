rule train:
    input:
        train_shards=needs(Checkpoint, "train_shards"),
        validation_shards=needs(Checkpoint, "validation_shards"),
        folds=needs(Checkpoint, "folds"),
    output:
        best=path_of(Checkpoint, "best"),
        last=path_of(Checkpoint, "last"),
        history=path_of(Checkpoint, "history"),
        timing=path_of(Checkpoint, "timing"),
        provenance=path_of(Checkpoint, "provenance"),
    log:
        "results/logs/train/{experiment}.log",
    wildcard_constraints:
        experiment=any_of(name for name in Checkpoint.names(STUDY) if STUDY.experiments[name].nodes is None),
    threads: setting_of(lambda experiment: experiment.threads * experiment.gpus)
    resources:
        gpu=setting_of(lambda experiment: experiment.gpus),
        save_every=60,
        store_gb=STUDY.config.store_gb,
    params:
        plan=plan(Checkpoint),
        folder=output_folder,
        # not an output: Snakemake deletes the outputs of failed jobs, but a retry resumes from this state
        state="results/state/{experiment}",
    shell:
        "pipeline train --experiment {wildcards.experiment:q} --plan {params.plan:q}"
        " --train-shards {input.train_shards:q} --validation-shards {input.validation_shards:q} --folds {input.folds:q}"
        " --output {params.folder:q} --state {params.state:q} --save-every {resources.save_every}"
        " --store-gb {resources.store_gb} > {log:q} 2>&1"


# Experiments with `nodes`: a job of several machines, on each of which the command starts itself with `srun`. The executor
# for Slurm makes such jobs only for a rule with the resource `mpi`. Threads, memory and so on are those of each machine.
use rule train as train_nodes with:
    wildcard_constraints:
        experiment=any_of(name for name in Checkpoint.names(STUDY) if STUDY.experiments[name].nodes),
    threads: setting_of(lambda experiment: experiment.threads * experiment.node_gpus)
    resources:
        gpu=setting_of(lambda experiment: experiment.gpus),
        nodes=setting_of(lambda experiment: experiment.node_count),
        tasks=setting_of(lambda experiment: experiment.node_count),
        tasks_per_gpu=-1,
        mpi="srun",
        save_every=60,
        store_gb=STUDY.config.store_gb,


# For inspection before training: needs only the shards.
rule augmented:
    input:
        train_shards=needs(Augmented, "train_shards"),
        validation_shards=needs(Augmented, "validation_shards"),
        folds=needs(Augmented, "folds"),
    output:
        report(
            path_of(Augmented),
            caption="../report/augmented.rst",
            category="Training",
            labels=figure_labels("augmented samples"),
        ),
    log:
        "results/logs/augmented/{experiment}.log",
    benchmark:
        "results/benchmarks/augmented/{experiment}.tsv"
    wildcard_constraints:
        experiment=any_of(Augmented.names(STUDY)),
    params:
        plan=plan(Augmented),
    shell:
        "pipeline augmented --experiment {wildcards.experiment:q} --plan {params.plan:q}"
        " --train-shards {input.train_shards:q} --validation-shards {input.validation_shards:q} --folds {input.folds:q}"
        " --output {output:q} > {log:q} 2>&1"


rule curves:
    input:
        history=needs(Curves, "history"),
    output:
        report(
            path_of(Curves),
            caption="../report/curves.rst",
            category="Training",
            labels=figure_labels("learning curves"),
        ),
    log:
        "results/logs/curves/{experiment}.log",
    benchmark:
        "results/benchmarks/curves/{experiment}.tsv"
    wildcard_constraints:
        experiment=any_of(Curves.names(STUDY)),
    params:
        plan=plan(Curves),
    shell:
        "pipeline curves --experiment {wildcards.experiment:q} --plan {params.plan:q} --history {input.history:q}"
        " --output {output:q} > {log:q} 2>&1"


# For TensorBoard; made only on request.
rule events:
    input:
        history=needs(Events, "history"),
    output:
        path_of(Events),
    log:
        "results/logs/events/{experiment}.log",
    benchmark:
        "results/benchmarks/events/{experiment}.tsv"
    wildcard_constraints:
        experiment=any_of(Events.names(STUDY)),
    params:
        plan=plan(Events),
    shell:
        "pipeline tensorboard --experiment {wildcards.experiment:q} --plan {params.plan:q}"
        " --history {input.history:q} --output {output:q} > {log:q} 2>&1"
