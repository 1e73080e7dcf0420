# raw files -> shards -> training -> prediction -> evaluation -> report


configfile: "config.yaml"


# what stands above the figures of `snakemake --report`
report: "workflow/report/workflow.rst"


# Used only with `--software-deployment-method apptainer`, and then an image of this name has to be built from the Dockerfile
# and pushed first (docs/cluster.md); without, jobs run in the environment that runs Snakemake.
container: "docker://segmentation-pipeline:0.1.0"


include: "workflow/rules/scheduler.smk"
include: "workflow/rules/common.smk"
include: "workflow/rules/inputs.smk"
include: "workflow/rules/results.smk"
include: "workflow/rules/cache.smk"
include: "workflow/rules/check.smk"
include: "workflow/rules/shards.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/predict.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/compare.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        all_shards,
        all_models,
        all_predictions,
        all_metrics,
        str(paths.comparisons()),
        str(paths.leaderboard()),
        str(paths.report()),


rule shards:
    input:
        all_shards,


rule models:
    input:
        all_models,


rule predictions:
    input:
        all_predictions,


rule metrics:
    input:
        all_metrics,
        str(paths.comparisons()),


rule tensorboard:
    input:
        all_events,


include: "workflow/rules/targets.smk"
