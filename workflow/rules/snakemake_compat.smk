# Changes to Snakemake's internals, only in the versions in which they were tested.
import functools

import snakemake
from snakemake.scheduling.job_scheduler import JobScheduler

TESTED = ("9.27",)
_is_tested = ".".join(snakemake.__version__.split(".")[:2]) in TESTED


# Snakemake (see its pull request 3744) wakes its scheduler one second after each evaluation, in case its rate limit had held
# jobs back, and again for each job that has ended: after sixty jobs, sixty times a second, each time with a look-up of the
# size of every input of every waiting job. With many jobs this takes a core from the training. While jobs run and none was
# held back, only the end of a job has to wake the scheduler.
def quiet_reevaluation(wake_later):
    @functools.wraps(wake_later)
    def wake_if_needed(scheduler, delay):
        limiter = scheduler.job_rate_limiter
        if limiter is None or delay != limiter.timespan or not scheduler.running or limiter.get_free_jobs() == 0:
            wake_later(scheduler, delay)

    return wake_if_needed


# Whether Snakemake makes a result again by itself: because it recorded another plan for one of its files and the rerun
# triggers include params, or that the job was interrupted. Versions that were not tested are assumed to do so.
def snakemake_will_rerun(paths, plan):
    if not _is_tested:
        return True
    from snakemake.settings.types import RerunTrigger

    persistence, keys = workflow.persistence, [str(path) for path in paths]
    if persistence._filter_incomplete_keys(keys):
        return True
    records = [record for record in map(persistence._read_record, keys) if record is not None]
    compares_params = RerunTrigger.PARAMS in workflow.rerun_triggers
    return compares_params and any(repr(plan) not in (record.params or []) for record in records)


# already wrapped if this file is loaded twice in one process
if _is_tested and not hasattr(JobScheduler._schedule_reevalutation, "__wrapped__"):
    JobScheduler._schedule_reevalutation = quiet_reevaluation(JobScheduler._schedule_reevalutation)


# Snakemake also keeps a function for each rule in the global variables, which nothing reads, and copies all of them ten times
# for each job that it prints: most of a dry run with 1,000 experiments, which have 6,000 rules.
def forget_functions_of_rules():
    if _is_tested:
        for name in [named.name for named in workflow.rules]:
            workflow.globals.pop(f"__{name}", None)
