# One seed is not a result: mean and spread of an experiment that was trained from several.
rule average:
    input:
        lambda wc: [str(paths.metrics(run) / "summary.csv") for run in SEEDED[wc.seeded]],
    output:
        report(
            str(paths.metrics("{seeded}") / "summary.csv"),
            caption="../report/average.rst",
            category="Scores",
            subcategory="Single experiments and baselines",
            labels=labelled("mean and spread over seeds"),
        ),
    log:
        "results/logs/average/{seeded}.log",
    benchmark:
        "results/benchmarks/average/{seeded}.tsv"
    params:
        settings=lambda wc: canonical(CONFIG.average_settings(wc.seeded)),
        code=code_of("average", {}),
    shell:
        "pipeline average --experiment {wildcards.seeded:q} --settings {params.settings:q}"
        " --summaries {input:q} --output {output:q} > {log:q} 2>&1"


rule leaderboard:
    input:
        summaries=lambda wc: [path for path in all_metrics(wc) if path.endswith("summary.csv")],
        checks=scored_checks,
    output:
        report(
            str(paths.leaderboard()),
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
        code=code_of("leaderboard", {}),
    shell:
        "pipeline leaderboard --summaries {input.summaries:q} --checks {input.checks:q} --output {output:q} > {log:q} 2>&1"


# One page about all of it. Raw files are not listed: whatever changes them makes pictures and scores anew. Snakemake's
# own report does not hold it: it shows the same figures, and this page would be most of its size.
rule report:
    input:
        checks=reported_checks,
        scores=all_metrics,
        trainings=reported_trainings,
        pictures=reported_pictures,
        leaderboard=rules.leaderboard.output,
        comparisons=rules.comparisons.output,
    output:
        str(paths.report()),
    log:
        "results/logs/report.log",
    benchmark:
        "results/benchmarks/report.tsv"
    params:
        settings=lambda wc: canonical(CONFIG.report_settings()),
        intervals=lambda wc, input: [path for path in input.scores if path.endswith("intervals.csv")],
        code=code_of("report", {}),
    shell:
        "pipeline report --settings {params.settings:q} --leaderboard {input.leaderboard:q}"
        " --intervals {params.intervals:q} --comparisons {input.comparisons:q} --output {output:q} > {log:q} 2>&1"
