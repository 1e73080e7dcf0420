# `snakemake models_drive-unet`: every target, for one experiment, all of its seeds or one of them.
for _target, _experiment in itertools.product(TARGETS, [*CONFIG.experiments, *SEEDED]):

    rule:
        name:
            f"{_target}_{_experiment}"
        input:
            only(_target, _experiment),
