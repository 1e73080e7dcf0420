rule threshold:
    input:
        predictions=needs(Threshold, "predictions"),
        raw=raw_folder(Threshold),
    output:
        path_of(Threshold),
    log:
        "results/logs/threshold/{experiment}.log",
    benchmark:
        "results/benchmarks/threshold/{experiment}.tsv"
    wildcard_constraints:
        experiment=any_of(Threshold.names(STUDY)),
    threads: 2
    params:
        plan=plan(Threshold),
    shell:
        "pipeline threshold --experiment {wildcards.experiment:q} --plan {params.plan:q} --threads {threads}"
        " --predictions {input.predictions:q} --output {output:q} > {log:q} 2>&1"


rule render:
    input:
        predictions=needs(Renderings, "predictions"),
        threshold=needs(Renderings, "threshold"),
        raw=raw_folder(Renderings),
    output:
        mask=directory(path_of(Renderings, "mask")),
        overlay=directory(path_of(Renderings, "overlay")),
        panel=directory(path_of(Renderings, "panel")),
        sheet=report(
            path_of(Renderings, "sheet"),
            caption="../report/sheet.rst",
            category="Predictions",
            labels=figure_labels("some samples"),
        ),
    log:
        "results/logs/render/{experiment}/{split}.log",
    benchmark:
        "results/benchmarks/render/{experiment}/{split}.tsv"
    wildcard_constraints:
        experiment=any_of(Renderings.names(STUDY)),
    threads: 4
    params:
        plan=plan(Renderings),
        folder=output_folder,
    shell:
        "pipeline render --experiment {wildcards.experiment:q} --split {wildcards.split} --threads {threads}"
        " --plan {params.plan:q}"
        " --predictions {input.predictions:q} --threshold {input.threshold:q} --output {params.folder:q} > {log:q} 2>&1"


rule render_classes:
    input:
        predictions=needs(ClassRenderings, "predictions"),
        raw=raw_folder(ClassRenderings),
    output:
        colour=directory(path_of(ClassRenderings, "colour")),
        overlay=directory(path_of(ClassRenderings, "overlay")),
        panel=directory(path_of(ClassRenderings, "panel")),
        legend=path_of(ClassRenderings, "legend"),
        sheet=report(
            path_of(ClassRenderings, "sheet"),
            caption="../report/sheet_classes.rst",
            category="Predictions",
            labels=figure_labels("some samples"),
        ),
    log:
        "results/logs/render_classes/{experiment}/{split}.log",
    benchmark:
        "results/benchmarks/render_classes/{experiment}/{split}.tsv"
    wildcard_constraints:
        experiment=any_of(ClassRenderings.names(STUDY)),
    threads: 4
    params:
        plan=plan(ClassRenderings),
        folder=output_folder,
    shell:
        "pipeline render --experiment {wildcards.experiment:q} --split {wildcards.split} --threads {threads}"
        " --plan {params.plan:q}"
        " --predictions {input.predictions:q} --output {params.folder:q} > {log:q} 2>&1"


# Predictions of the unlabelled samples in the format of the challenge.
rule submission:
    input:
        predictions=needs(Submission, "predictions"),
        threshold=needs(Submission, "threshold"),
        raw=raw_folder(Submission),
    output:
        directory(path_of(Submission)),
    log:
        "results/logs/submission/{experiment}.log",
    benchmark:
        "results/benchmarks/submission/{experiment}.tsv"
    wildcard_constraints:
        experiment=any_of(Submission.names(STUDY)),
    params:
        plan=plan(Submission),
    shell:
        "pipeline submission --experiment {wildcards.experiment:q} --plan {params.plan:q}"
        " --predictions {input.predictions:q} --threshold {input.threshold:q} --output {output:q} > {log:q} 2>&1"


rule evaluate:
    input:
        validation_predictions=needs(Scores, "validation_predictions"),
        out_of_fold_predictions=needs(Scores, "out_of_fold_predictions"),
        test_predictions=needs(Scores, "test_predictions"),
        threshold=needs(Scores, "threshold"),
        raw=raw_folder(Scores),
    output:
        per_image=path_of(Scores, "per_image"),
        summary=report(
            path_of(Scores, "summary"),
            caption="../report/summary.rst",
            category="Scores",
            subcategory="Single experiments and baselines",
            labels=figure_labels("scores"),
        ),
        intervals=path_of(Scores, "intervals"),
        curve=path_of(Scores, "curve"),
    log:
        "results/logs/evaluate/{experiment}.log",
    benchmark:
        "results/benchmarks/evaluate/{experiment}.tsv"
    wildcard_constraints:
        experiment=any_of(Scores.names(STUDY)),
    threads: 2
    params:
        plan=plan(Scores),
        folder=output_folder,
    shell:
        "pipeline evaluate --experiment {wildcards.experiment:q} --plan {params.plan:q} --threads {threads}"
        " --validation-predictions {input.validation_predictions:q} --threshold {input.threshold:q}"
        " --out-of-fold-predictions {input.out_of_fold_predictions:q} --test-predictions {input.test_predictions:q}"
        " --output {params.folder:q} > {log:q} 2>&1"


rule evaluate_classes:
    input:
        validation_predictions=needs(ClassScores, "validation_predictions"),
        out_of_fold_predictions=needs(ClassScores, "out_of_fold_predictions"),
        test_predictions=needs(ClassScores, "test_predictions"),
        raw=raw_folder(ClassScores),
    output:
        per_image=path_of(ClassScores, "per_image"),
        summary=report(
            path_of(ClassScores, "summary"),
            caption="../report/summary_classes.rst",
            category="Scores",
            subcategory="Single experiments and baselines",
            labels=figure_labels("scores"),
        ),
        intervals=path_of(ClassScores, "intervals"),
        confusion=path_of(ClassScores, "confusion"),
        image=report(
            path_of(ClassScores, "image"),
            caption="../report/confusion.rst",
            category="Scores",
            subcategory="Single experiments and baselines",
            labels=figure_labels("confusion matrix"),
        ),
    log:
        "results/logs/evaluate_classes/{experiment}.log",
    benchmark:
        "results/benchmarks/evaluate_classes/{experiment}.tsv"
    wildcard_constraints:
        experiment=any_of(ClassScores.names(STUDY)),
    threads: 2
    params:
        plan=plan(ClassScores),
        folder=output_folder,
    shell:
        "pipeline evaluate --experiment {wildcards.experiment:q} --plan {params.plan:q} --threads {threads}"
        " --validation-predictions {input.validation_predictions:q}"
        " --out-of-fold-predictions {input.out_of_fold_predictions:q} --test-predictions {input.test_predictions:q}"
        " --output {params.folder:q} > {log:q} 2>&1"
