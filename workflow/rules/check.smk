# Reads every raw file once. Shards do not depend on it: one new file would build all of them again.
rule inspect:
    input:
        raw_folder(Check),
    output:
        json=made(Check, "json"),
        page=report(
            made(Check, "page"),
            caption="../report/check.rst",
            category="Raw data",
            labels=labelled("report of the check"),
        ),
        sheet=report(
            made(Check, "sheet"),
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
        plan=plan(Check),
        folder=folder_of,
    # errors are for the target `check` to fail on: a job that fails loses its outputs, and they are what one has to see
    shell:
        "pipeline check --dataset {wildcards.dataset:q} --plan {params.plan:q} --threads {threads}"
        " --output {params.folder:q} --report-only > {log:q} 2>&1"


# Says on the terminal what was found: so it runs where Snakemake runs, also where other jobs go to a cluster.
rule check:
    input:
        [str(Check(name).path) for name in STUDY.datasets],
    log:
        "results/logs/check.log",
    localrule: True
    shell:
        "pipeline check --reports {input:q} > {log:q} 2>&1 && cat {log:q}"


# `snakemake check_drive`
for _dataset in STUDY.datasets:

    rule:
        name:
            f"check_{_dataset}"
        input:
            str(Check(_dataset).path),
        log:
            f"results/logs/check-{_dataset}.log",
        localrule: True
        shell:
            "pipeline check --reports {input:q} > {log:q} 2>&1 && cat {log:q}"
