# The key of Snakemake's cache between workflows (9.27) holds the contents of raw files, sorted, and not their names: two
# pictures that have changed places would get the shard from before. So names are added to it, each with its contents.
import functools
import hashlib

from snakemake.caching.hash import ProvenanceHashMap


def with_names(find):
    named = {}

    @functools.wraps(find)
    async def find_with_names(hashes, job):
        key = (hashes, job)
        if key not in named:
            contents = await find(hashes, job)
            made = {file for files in job.dag.dependencies[job].values() for file in files}
            raw = {str(file): await file.checksum(force=True) for file in job.input if file not in made}
            named[key] = hashlib.sha256(canonical([contents, raw]).encode("utf-8", "surrogateescape")).hexdigest()
        return named[key]

    return find_with_names


# wrapped: this file, read twice in one process
_find = getattr(ProvenanceHashMap, "_get_provenance_hash", None)
if _find is None and workflow.enable_cache:
    raise WorkflowError("This version of Snakemake computes keys of its cache in another way: leave out --cache.")
if _find is not None and not hasattr(_find, "__wrapped__"):
    ProvenanceHashMap._get_provenance_hash = with_names(_find)
