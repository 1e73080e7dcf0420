# `snakemake models_drive-unet`: every target, for one experiment, all of its seeds or one of them.
for _target, _experiment in itertools.product(targets.TARGETS, [*STUDY.experiments, *STUDY.seeded]):

    rule:
        name:
            f"{_target}_{_experiment}"
        input:
            all_of_one(_target, _experiment),
