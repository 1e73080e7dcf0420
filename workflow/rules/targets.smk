# `snakemake models_drive-unet`: each target for one experiment, for all its runs or for one of them.
for _target, _experiment in itertools.product(targets.TARGETS, [*STUDY.experiments, *STUDY.runs]):

    rule:
        name:
            f"{_target}_{_experiment}"
        input:
            experiment_target_files(_target, _experiment),


forget_functions_of_rules()
