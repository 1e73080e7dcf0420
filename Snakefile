# raw files -> shards -> training -> prediction -> evaluation -> report


include: "workflow/rules/config_files.smk"


configfile: "config.yaml"


# introduction of `snakemake --report`
report: "workflow/report/workflow.rst"


# Used only with `--software-deployment-method apptainer`; build the image from the Dockerfile and push it first
# (docs/cluster.md). Without that option, jobs run in the environment of Snakemake.
container: "docker://segmentation-pipeline:0.1.0"


include: "workflow/rules/snakemake_compat.smk"
include: "workflow/rules/common.smk"
include: "workflow/rules/check.smk"
include: "workflow/rules/shards.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/predict.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        target_files("shards", "models", "predictions", "metrics", tables=[Comparisons(), Leaderboard(), Report()]),


rule shards:
    input:
        target_files("shards"),


rule models:
    input:
        target_files("models"),


rule predictions:
    input:
        target_files("predictions"),


rule metrics:
    input:
        target_files("metrics", tables=[Comparisons()]),


rule tensorboard:
    input:
        target_files("tensorboard"),


rule bundles:
    input:
        target_files("bundles"),


include: "workflow/rules/targets.smk"
