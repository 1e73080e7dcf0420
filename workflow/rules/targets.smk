# `snakemake models_drive-unet`: every target, for one experiment.
for _target, _experiment in itertools.product(TARGETS, CONFIG.experiments):

    rule:
        name:
            f"{_target}_{_experiment}"
        input:
            only(_experiment, TARGETS[_target]),
