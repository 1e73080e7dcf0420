# What is changed inside Snakemake: only in the versions in which it was tried.
import functools

import snakemake
from snakemake.scheduling.job_scheduler import JobScheduler

TRIED = ("9.27",)
_is_tried = ".".join(snakemake.__version__.split(".")[:2]) in TRIED


# Snakemake (pull request 3744 of its project is about this) wakes its scheduler one second after it last looked, in case
# its rate limit had held jobs back, and once more for each job that has ended: after sixty jobs, sixty times a second,
# each time asking for the size of every input of every job that waits. With many of them that takes a core from the training
# it waits for. While jobs run and nothing was held back, the end of a job is all that has to wake it.
def quiet_reevaluation(wake_later):
    @functools.wraps(wake_later)
    def wake_if_needed(scheduler, delay):
        limiter = scheduler.job_rate_limiter
        if limiter is None or delay != limiter.timespan or not scheduler.running or limiter.get_free_jobs() == 0:
            wake_later(scheduler, delay)

    return wake_if_needed


# Whether Snakemake makes a result again by itself: because it has written down another plan for one of its files and heeds
# params, or that the job was cut short. Under a version that was not tried it is taken to do so.
def is_known_to_snakemake(paths, plan):
    if not _is_tried:
        return True
    from snakemake.settings.types import RerunTrigger

    notes, keys = workflow.persistence, [str(path) for path in paths]
    if notes._filter_incomplete_keys(keys):
        return True
    written = [record for record in map(notes._read_record, keys) if record is not None]
    heeded = RerunTrigger.PARAMS in workflow.rerun_triggers
    return heeded and any(repr(plan) not in (record.params or []) for record in written)


# wrapped: this file, read twice in one process
if _is_tried and not hasattr(JobScheduler._schedule_reevalutation, "__wrapped__"):
    JobScheduler._schedule_reevalutation = quiet_reevaluation(JobScheduler._schedule_reevalutation)
