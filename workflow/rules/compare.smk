# All experiments and baselines against each other, picture by picture.
rule comparisons:
    input:
        lambda wc: [path for path in all_metrics(wc) if path.endswith("per_image.csv")],
    output:
        report(
            str(paths.comparisons()),
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
        code=code_of("comparisons", {}),
    shell:
        "pipeline comparisons --per-image {input:q} --output {output:q} > {log:q} 2>&1"
