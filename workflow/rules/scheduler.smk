# Snakemake (9.27; pull request 3744 of its project is about this) wakes its scheduler one second after it last looked,
# in case its rate limit had held jobs back, and once more for each job that has ended: after sixty jobs, sixty times a
# second, each time asking for the size of every input of every job that waits. With thousands of raw files that takes a
# core from the training it waits for. Where nothing was held back, the end of a job is all that has to wake it.
import functools

from snakemake.scheduling.job_scheduler import JobScheduler


def quiet_reevaluation(wake_later):
    @functools.wraps(wake_later)
    def wake_if_held_back(scheduler, delay):
        limiter = scheduler.job_rate_limiter
        if limiter is None or delay != limiter.timespan or limiter.get_free_jobs() == 0:
            wake_later(scheduler, delay)

    return wake_if_held_back


# None: a later Snakemake without it; wrapped: this file, read twice in one process
_wake_later = getattr(JobScheduler, "_schedule_reevalutation", None)
if _wake_later is not None and not hasattr(_wake_later, "__wrapped__"):
    JobScheduler._schedule_reevalutation = quiet_reevaluation(_wake_later)
