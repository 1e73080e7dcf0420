# What is changed inside Snakemake: only in the versions in which it was tried.
import functools
import hashlib
import json

import snakemake
from snakemake.caching.hash import ProvenanceHashMap
from snakemake.exceptions import WorkflowError
from snakemake.scheduling.job_scheduler import JobScheduler

TRIED = ("9.27",)
_is_tried = ".".join(snakemake.__version__.split(".")[:2]) in TRIED


# Snakemake (pull request 3744 of its project is about this) wakes its scheduler one second after it last looked, in case
# its rate limit had held jobs back, and once more for each job that has ended: after sixty jobs, sixty times a second,
# each time asking for the size of every input of every job that waits. With thousands of raw files that takes a core from
# the training it waits for. While jobs run and nothing was held back, the end of a job is all that has to wake it.
def quiet_reevaluation(wake_later):
    @functools.wraps(wake_later)
    def wake_if_needed(scheduler, delay):
        limiter = scheduler.job_rate_limiter
        if limiter is None or delay != limiter.timespan or not scheduler.running or limiter.get_free_jobs() == 0:
            wake_later(scheduler, delay)

    return wake_if_needed


# The key of Snakemake's cache between workflows holds the contents of raw files, sorted, and not their names: two images
# that have changed places would get the shard from before. So names are added to it, each with its contents.
def with_names(find):
    named = {}

    @functools.wraps(find)
    async def find_with_names(hashes, job):
        key = (hashes, job)
        if key not in named:
            contents = await find(hashes, job)
            made = {file for files in job.dag.dependencies[job].values() for file in files}
            raw = {str(file): await file.checksum(force=True) for file in job.input if file not in made}
            text = json.dumps([contents, raw], sort_keys=True)
            named[key] = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
        return named[key]

    return find_with_names


if workflow.enable_cache and not _is_tried:
    raise WorkflowError(
        f"Snakemake {snakemake.__version__}: --cache was tried with {' and '.join(TRIED)} only, and could hand out shards "
        "of other images under another version. Leave out --cache."
    )

# wrapped: this file, read twice in one process
if _is_tried and not hasattr(JobScheduler._schedule_reevalutation, "__wrapped__"):
    JobScheduler._schedule_reevalutation = quiet_reevaluation(JobScheduler._schedule_reevalutation)
    ProvenanceHashMap._get_provenance_hash = with_names(ProvenanceHashMap._get_provenance_hash)
