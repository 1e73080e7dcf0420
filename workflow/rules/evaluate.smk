rule threshold:
    input:
        validation_evidence,
    output:
        str(paths.threshold("{experiment}")),
    log:
        "results/logs/threshold/{experiment}.log",
    benchmark:
        "results/benchmarks/threshold/{experiment}.tsv"
    wildcard_constraints:
        experiment=any_of([*TWO_CLASSES, *BASELINES]),
    params:
        settings=lambda wc: canonical(CONFIG.threshold_settings(wc.experiment)),
        code=lambda wc: code_of("threshold", CONFIG.threshold_settings(wc.experiment)),
        expect=lambda wc: canonical(plans.threshold_parts(CONFIG, wc.experiment)),
        predictions=lambda wc: PROBABILITY.format(experiment=wc.experiment, split=CONFIG.validated_on(wc.experiment)),
    shell:
        "pipeline threshold --experiment {wildcards.experiment:q} --settings {params.settings:q} --expect {params.expect:q}"
        " --predictions {params.predictions:q} --output {output:q} > {log:q} 2>&1"


rule render:
    input:
        probability=PROBABILITY,
        threshold=rules.threshold.output,
        raw=pictured_files,
    output:
        mask=directory(str(paths.prediction("{experiment}", "{split}") / "mask")),
        overlay=directory(str(paths.prediction("{experiment}", "{split}") / "overlay")),
        panel=directory(str(paths.prediction("{experiment}", "{split}") / "panel")),
        sheet=report(
            str(paths.prediction("{experiment}", "{split}") / "sheet.png"),
            caption="../report/sheet.rst",
            category="Predictions",
            labels=labelled("some samples"),
        ),
    log:
        "results/logs/render/{experiment}/{split}.log",
    benchmark:
        "results/benchmarks/render/{experiment}/{split}.tsv"
    wildcard_constraints:
        experiment=any_of([*TWO_CLASSES, *BASELINES]),
    params:
        settings=lambda wc: canonical(CONFIG.render_settings(wc.experiment, wc.split)),
        code=lambda wc: code_of("render", CONFIG.render_settings(wc.experiment, wc.split)),
        expect=split_parts,
        folder=folder_of,
    shell:
        "pipeline render --experiment {wildcards.experiment:q} --split {wildcards.split}"
        " --settings {params.settings:q} --expect {params.expect:q} --predictions {input.probability:q} --threshold {input.threshold:q}"
        " --output {params.folder:q} > {log:q} 2>&1"


rule render_classes:
    input:
        classes=MASK,
        raw=pictured_files,
    output:
        colour=directory(str(paths.prediction("{experiment}", "{split}") / "colour")),
        overlay=directory(str(paths.prediction("{experiment}", "{split}") / "overlay")),
        panel=directory(str(paths.prediction("{experiment}", "{split}") / "panel")),
        legend=str(paths.prediction("{experiment}", "{split}") / "legend.png"),
        sheet=report(
            str(paths.prediction("{experiment}", "{split}") / "sheet.png"),
            caption="../report/sheet_classes.rst",
            category="Predictions",
            labels=labelled("some samples"),
        ),
    log:
        "results/logs/render_classes/{experiment}/{split}.log",
    benchmark:
        "results/benchmarks/render_classes/{experiment}/{split}.tsv"
    wildcard_constraints:
        experiment=any_of(SEVERAL_CLASSES),
    params:
        settings=lambda wc: canonical(CONFIG.render_settings(wc.experiment, wc.split)),
        code=lambda wc: code_of("render_classes", CONFIG.render_settings(wc.experiment, wc.split)),
        expect=split_parts,
        folder=folder_of,
    shell:
        "pipeline render --experiment {wildcards.experiment:q} --split {wildcards.split}"
        " --settings {params.settings:q} --expect {params.expect:q} --predictions {input.classes:q}"
        " --output {params.folder:q} > {log:q} 2>&1"


# Unlabelled samples, as the challenge of the data set takes them.
rule submission:
    input:
        probability=str(paths.prediction("{experiment}", "unlabelled") / "probability"),
        threshold=rules.threshold.output,
        raw=lambda wc: raw_files(wc.experiment, "unlabelled"),
    output:
        directory(str(paths.submission("{experiment}"))),
    log:
        "results/logs/submission/{experiment}.log",
    benchmark:
        "results/benchmarks/submission/{experiment}.tsv"
    wildcard_constraints:
        experiment=any_of(TWO_CLASSES),
    params:
        settings=lambda wc: canonical(CONFIG.submission_settings(wc.experiment)),
        code=lambda wc: code_of("submission", CONFIG.submission_settings(wc.experiment)),
        expect=lambda wc: canonical(plans.scoring_parts(CONFIG, wc.experiment, ["unlabelled"])),
    shell:
        "pipeline submission --experiment {wildcards.experiment:q} --settings {params.settings:q} --expect {params.expect:q}"
        " --predictions {input.probability:q} --threshold {input.threshold:q}"
        " --output {output:q} > {log:q} 2>&1"


rule evaluate:
    input:
        probability=scored(PROBABILITY),
        threshold=rules.threshold.output,
        raw=scored_masks,
    output:
        per_image=str(paths.metrics("{experiment}") / "per_image.csv"),
        summary=report(
            str(paths.metrics("{experiment}") / "summary.csv"),
            caption="../report/summary.rst",
            category="Scores",
            subcategory="Single experiments and baselines",
            labels=labelled("scores"),
        ),
        intervals=str(paths.metrics("{experiment}") / "intervals.csv"),
        curve=str(paths.metrics("{experiment}") / "curve.csv"),
        fingerprint=str(paths.metrics("{experiment}") / "fingerprint.json"),
    log:
        "results/logs/evaluate/{experiment}.log",
    benchmark:
        "results/benchmarks/evaluate/{experiment}.tsv"
    wildcard_constraints:
        experiment=any_of([*TWO_CLASSES, *BASELINES]),
    params:
        settings=lambda wc: canonical(CONFIG.evaluate_settings(wc.experiment)),
        code=lambda wc: code_of("evaluate", CONFIG.evaluate_settings(wc.experiment)),
        expect=scoring_parts,
        predictions=scored_words(PROBABILITY),
        folder=folder_of,
    shell:
        "pipeline evaluate --experiment {wildcards.experiment:q} --settings {params.settings:q} --expect {params.expect:q}"
        " --predictions {params.predictions:q} --threshold {input.threshold:q}"
        " --output {params.folder:q} > {log:q} 2>&1"


rule evaluate_classes:
    input:
        classes=scored(MASK),
        raw=scored_masks,
    output:
        per_image=str(paths.metrics("{experiment}") / "per_image.csv"),
        summary=report(
            str(paths.metrics("{experiment}") / "summary.csv"),
            caption="../report/summary_classes.rst",
            category="Scores",
            subcategory="Single experiments and baselines",
            labels=labelled("scores"),
        ),
        intervals=str(paths.metrics("{experiment}") / "intervals.csv"),
        confusion=str(paths.metrics("{experiment}") / "confusion.csv"),
        picture=report(
            str(paths.metrics("{experiment}") / "confusion.png"),
            caption="../report/confusion.rst",
            category="Scores",
            subcategory="Single experiments and baselines",
            labels=labelled("confusion matrix"),
        ),
        fingerprint=str(paths.metrics("{experiment}") / "fingerprint.json"),
    log:
        "results/logs/evaluate_classes/{experiment}.log",
    benchmark:
        "results/benchmarks/evaluate_classes/{experiment}.tsv"
    wildcard_constraints:
        experiment=any_of(SEVERAL_CLASSES),
    params:
        settings=lambda wc: canonical(CONFIG.evaluate_settings(wc.experiment)),
        code=lambda wc: code_of("evaluate_classes", CONFIG.evaluate_settings(wc.experiment)),
        expect=scoring_parts,
        predictions=scored_words(MASK),
        folder=folder_of,
    shell:
        "pipeline evaluate --experiment {wildcards.experiment:q} --settings {params.settings:q} --expect {params.expect:q}"
        " --predictions {params.predictions:q} --output {params.folder:q} > {log:q} 2>&1"
