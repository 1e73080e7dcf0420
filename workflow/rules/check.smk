# Reads every raw file once. Shards do not depend on it: otherwise one new file would rebuild all of them.
rule inspect:
    input:
        raw_folder(Check),
    output:
        json=path_of(Check, "json"),
        page=report(
            path_of(Check, "page"),
            caption="../report/check.rst",
            category="Raw data",
            labels=figure_labels("report of the check"),
        ),
        sheet=report(
            path_of(Check, "sheet"),
            caption="../report/contact_sheet.rst",
            category="Raw data",
            labels=figure_labels("contact sheet"),
        ),
    log:
        "results/logs/inspect/{dataset}.log",
    benchmark:
        "results/benchmarks/inspect/{dataset}.tsv"
    threads: 4
    params:
        plan=plan(Check),
        folder=output_folder,
    # only the target `check` fails on errors in the data: Snakemake deletes the outputs of failed jobs, here the reports
    shell:
        "pipeline check --dataset {wildcards.dataset:q} --plan {params.plan:q} --threads {threads}"
        " --output {params.folder:q} --exit-zero > {log:q} 2>&1"


# Prints the findings on the terminal, so it runs beside Snakemake even if other jobs run on a cluster.
rule check:
    input:
        [str(Check(name).path) for name in STUDY.datasets],
    log:
        "results/logs/check.log",
    localrule: True
    shell:
        "pipeline check --print-reports {input:q} > {log:q} 2>&1 && cat {log:q}"


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
            "pipeline check --print-reports {input:q} > {log:q} 2>&1 && cat {log:q}"
