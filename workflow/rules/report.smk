# Mean and spread of the scores of an experiment over its seeds or folds.
rule average:
    input:
        summaries=needs(Average, "summaries"),
    output:
        report(
            path_of(Average),
            caption="../report/average.rst",
            category="Scores",
            subcategory="Single experiments and baselines",
            labels=figure_labels("mean and spread over seeds"),
        ),
    log:
        "results/logs/average/{experiment}.log",
    benchmark:
        "results/benchmarks/average/{experiment}.tsv"
    wildcard_constraints:
        experiment=any_of(Average.names(STUDY)),
    params:
        plan=plan(Average),
    shell:
        "pipeline average --experiment {wildcards.experiment:q} --plan {params.plan:q}"
        " --summaries {input.summaries:q} --output {output:q} > {log:q} 2>&1"


# Paired comparisons of all experiments and baselines, image by image.
rule comparisons:
    input:
        per_image=needs(Comparisons, "per_image"),
    output:
        report(
            path_of(Comparisons),
            caption="../report/comparisons.rst",
            category="Scores",
            subcategory="All together",
            labels={"data set": "all", "experiment": "all", "figure": "paired comparisons"},
        ),
    log:
        "results/logs/comparisons.log",
    benchmark:
        "results/benchmarks/comparisons.tsv"
    params:
        plan=plan(Comparisons),
    shell:
        "pipeline comparisons --plan {params.plan:q} --per-image {input.per_image:q} --output {output:q} > {log:q} 2>&1"


rule leaderboard:
    input:
        summaries=needs(Leaderboard, "summaries"),
        checks=needs(Leaderboard, "checks"),
    output:
        report(
            path_of(Leaderboard),
            caption="../report/leaderboard.rst",
            category="Scores",
            subcategory="All together",
            labels={"data set": "all", "experiment": "all", "figure": "leaderboard"},
        ),
    log:
        "results/logs/leaderboard.log",
    benchmark:
        "results/benchmarks/leaderboard.tsv"
    params:
        plan=plan(Leaderboard),
    shell:
        "pipeline leaderboard --plan {params.plan:q} --summaries {input.summaries:q} --checks {input.checks:q}"
        " --output {output:q} > {log:q} 2>&1"


# The page on all results. Raw files are no inputs: a change of them changes renderings and scores. Snakemake's own report
# does not include the page, because it contains the same figures and would double in size.
rule report:
    input:
        leaderboard=needs(Report, "leaderboard"),
        comparisons=needs(Report, "comparisons"),
        intervals=needs(Report, "intervals"),
        checks=needs(Report, "checks"),
        trainings=needs(Report, "trainings"),
        images=needs(Report, "images"),
    output:
        path_of(Report),
    log:
        "results/logs/report.log",
    benchmark:
        "results/benchmarks/report.tsv"
    params:
        plan=plan(Report),
    shell:
        "pipeline report --plan {params.plan:q} --leaderboard {input.leaderboard:q} --intervals {input.intervals:q}"
        " --comparisons {input.comparisons:q} --checks {input.checks:q} --trainings {input.trainings:q}"
        " --images {input.images:q} --output {output:q} > {log:q} 2>&1"
