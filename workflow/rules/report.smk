rule report:
    input:
        summaries=lambda wc: [path for path in all_metrics(wc) if path.endswith("summary.csv")],
        checks=scored_checks,
    output:
        report(str(paths.leaderboard()), caption="../report/leaderboard.rst", category="Scores"),
    log:
        "results/logs/report.log",
    benchmark:
        "results/benchmarks/report.tsv"
    params:
        code=code_of("report", {}),
    shell:
        "pipeline report --summaries {input.summaries:q} --checks {input.checks:q} --output {output:q} > {log:q} 2>&1"
