rule threshold:
    input:
        validation_evidence,
    output:
        str(paths.threshold("{experiment}")),
    log:
        "results/logs/threshold/{experiment}.log",
    benchmark:
        "results/benchmarks/threshold/{experiment}.tsv"
    params:
        settings=lambda wc: canonical(CONFIG.threshold_settings(wc.experiment)),
        predictions=lambda wc: PROBABILITY.format(experiment=wc.experiment, split="validation"),
    shell:
        "pipeline threshold --experiment {wildcards.experiment:q} --settings {params.settings:q}"
        " --predictions {params.predictions:q} --output {output:q} > {log:q} 2>&1"


rule render:
    input:
        probability=PROBABILITY,
        threshold=rules.threshold.output,
        raw=lambda wc: unique(
            raw_files(CONFIG.dataset_of(wc.experiment), wc.split)
            + raw_files(CONFIG.dataset_of(wc.experiment), wc.split, files="truth_files")
        ),
    output:
        mask=directory(str(paths.prediction("{experiment}", "{split}") / "mask")),
        overlay=directory(str(paths.prediction("{experiment}", "{split}") / "overlay")),
        panel=directory(str(paths.prediction("{experiment}", "{split}") / "panel")),
        sheet=report(
            str(paths.prediction("{experiment}", "{split}") / "sheet.png"),
            caption="../report/sheet.rst",
            category="Predictions",
            labels={"experiment": "{experiment}", "split": "{split}"},
        ),
    log:
        "results/logs/render/{experiment}/{split}.log",
    benchmark:
        "results/benchmarks/render/{experiment}/{split}.tsv"
    params:
        settings=lambda wc: canonical(CONFIG.render_settings(wc.experiment, wc.split)),
        folder=folder_of,
    shell:
        "pipeline render --experiment {wildcards.experiment:q} --split {wildcards.split}"
        " --settings {params.settings:q} --predictions {input.probability:q} --threshold {input.threshold:q}"
        " --output {params.folder:q} > {log:q} 2>&1"


rule evaluate:
    input:
        probability=lambda wc: expand(PROBABILITY, experiment=wc.experiment, split=scored_splits(wc.experiment)),
        threshold=rules.threshold.output,
        raw=lambda wc: unique(
            raw_files(CONFIG.dataset_of(wc.experiment), *scored_splits(wc.experiment), files="truth_files")
        ),
    output:
        per_image=str(paths.metrics("{experiment}") / "per_image.csv"),
        summary=report(
            str(paths.metrics("{experiment}") / "summary.csv"),
            caption="../report/summary.rst",
            category="Scores",
            labels={"experiment": "{experiment}"},
        ),
    log:
        "results/logs/evaluate/{experiment}.log",
    benchmark:
        "results/benchmarks/evaluate/{experiment}.tsv"
    params:
        settings=lambda wc: canonical(CONFIG.evaluate_settings(wc.experiment)),
        predictions=lambda wc: [
            f"{split}={PROBABILITY.format(experiment=wc.experiment, split=split)}"
            for split in scored_splits(wc.experiment)
        ],
        folder=folder_of,
    shell:
        "pipeline evaluate --experiment {wildcards.experiment:q} --settings {params.settings:q}"
        " --predictions {params.predictions:q} --threshold {input.threshold:q}"
        " --output {params.folder:q} > {log:q} 2>&1"
