# One seed is not a result: mean and spread of an experiment that was trained from several.
rule average:
    input:
        summaries=needs(Average, "summaries"),
    output:
        report(
            made(Average),
            caption="../report/average.rst",
            category="Scores",
            subcategory="Single experiments and baselines",
            labels=labelled("mean and spread over seeds"),
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


# All experiments and baselines against each other, image by image.
rule comparisons:
    input:
        per_image=needs(Comparisons, "per_image"),
    output:
        report(
            made(Comparisons),
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
            made(Leaderboard),
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


# One page about all of it. Raw files are not listed: whatever changes them makes images and scores anew. Snakemake's
# own report does not hold it: it shows the same figures, and this page would be most of its size.
rule report:
    input:
        leaderboard=needs(Report, "leaderboard"),
        comparisons=needs(Report, "comparisons"),
        intervals=needs(Report, "intervals"),
        checks=needs(Report, "checks"),
        trainings=needs(Report, "trainings"),
        images=needs(Report, "images"),
    output:
        made(Report),
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
