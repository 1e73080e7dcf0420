# raw files -> shards -> training -> prediction -> evaluation -> report


configfile: "config.yaml"


# what stands above the figures of `snakemake --report`
report: "workflow/report/workflow.rst"


# Used only with `--software-deployment-method apptainer`, and then an image of this name has to be built from the Dockerfile
# and pushed first (docs/cluster.md); without, jobs run in the environment that runs Snakemake.
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
        all_of("shards", "models", "predictions", "metrics", tables=[Comparisons(), Leaderboard(), Report()]),


rule shards:
    input:
        all_of("shards"),


rule models:
    input:
        all_of("models"),


rule predictions:
    input:
        all_of("predictions"),


rule metrics:
    input:
        all_of("metrics", tables=[Comparisons()]),


rule tensorboard:
    input:
        all_of("tensorboard"),


include: "workflow/rules/targets.smk"
