# Reads every raw file once. Shards do not depend on it: one new file would build all of them again.
rule inspect:
    input:
        checked_files,
    output:
        json=str(paths.check("{dataset}")),
        page=report(
            str(paths.checks() / "{dataset}.html"),
            caption="../report/check.rst",
            category="Raw data",
            labels=labelled("report of the check"),
        ),
        sheet=report(
            str(paths.checks() / "{dataset}.png"),
            caption="../report/contact_sheet.rst",
            category="Raw data",
            labels=labelled("contact sheet"),
        ),
    log:
        "results/logs/inspect/{dataset}.log",
    benchmark:
        "results/benchmarks/inspect/{dataset}.tsv"
    threads: 4
    params:
        settings=lambda wc: canonical(CONFIG.check_settings(wc.dataset)),
        code=lambda wc: code_of("check", CONFIG.check_settings(wc.dataset)),
        listing=listing_state,
        folder=lambda wc, output: os.path.dirname(output.json),
    # errors are for the target `check` to fail on: a job that fails loses its outputs, and they are what one has to see
    shell:
        "pipeline check --dataset {wildcards.dataset:q} --settings {params.settings:q} --threads {threads}"
        " --output {params.folder:q} --report-only > {log:q} 2>&1"


# Says on the terminal what was found: so it runs where Snakemake runs, also where other jobs go to a cluster.
rule check:
    input:
        [str(paths.check(name)) for name in CONFIG.datasets],
    log:
        "results/logs/check.log",
    localrule: True
    shell:
        "pipeline check --reports {input:q} > {log:q} 2>&1 && cat {log:q}"


# `snakemake check_drive`
for _dataset in CONFIG.datasets:

    rule:
        name:
            f"check_{_dataset}"
        input:
            str(paths.check(_dataset)),
        log:
            f"results/logs/check-{_dataset}.log",
        localrule: True
        shell:
            "pipeline check --reports {input:q} > {log:q} 2>&1 && cat {log:q}"
