# `snakemake models_drive-unet`: every target, for one experiment.
def only(experiment, files):
    return lambda wildcards: files(experiment)


for _target, _files in {
    "shards": shards_of,
    "models": models_of,
    "predictions": predictions_of,
    "metrics": metrics_of,
    "report": report_of,
}.items():
    for _experiment in CONFIG.experiments:

        rule:
            name:
                f"{_target}_{_experiment}"
            input:
                only(_experiment, _files),
