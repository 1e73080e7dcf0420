"""Check by their manifests whether results are up to date with the current settings, code and raw files."""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path

from pipeline.core.errors import OriginError, PipelineError, Problem, join_first
from pipeline.core.fingerprint import differences
from pipeline.core.manifest import TABLES, Manifest, manifest_path
from pipeline.graph.artifacts import FoldTable, Shard
from pipeline.graph.base import Artifact, identity_of, plan_of, with_inputs
from pipeline.graph.study import Study
from pipeline.raw.digests import sample_digest
from pipeline.raw.splits.fold_table import read_fold_table
from pipeline.shards.read import ShardReader


class OutdatedCheck:
    """Compares results with the results that the current configuration, code and raw files would make.

    Parameters
    ----------
    study : Study
        With ``thorough``, the bytes of all results are compared with their manifests; without, only those of tables,
        which people edit and which are few.
    """

    def __init__(self, study: Study) -> None:
        self._study = study
        self.reasons: Callable[[Artifact], list[str]] = cache(self._reasons)
        self.own_reasons: Callable[[Artifact], list[str]] = cache(self._own_reasons)

    def state(self, artifact: Artifact, path: Path) -> str:
        """Return ``current``, ``out of date`` or ``missing``."""
        if not path.exists():
            return "missing"
        return "out of date" if self.reasons(artifact) else "current"

    def inputs(self, artifact: Artifact) -> dict[Path, Artifact]:
        """Return the results that a result is made from; raw files are not included."""
        if not artifact.is_configured(self._study):
            return {}
        inputs = artifact.inputs(self._study).values()
        return {output.path: output.artifact for outputs in inputs for output in outputs}

    def _reasons(self, artifact: Artifact) -> list[str]:
        """Return why a result, or any of its inputs, is outdated; empty if it is current."""
        if not artifact.is_configured(self._study):
            kind = "experiment" if hasattr(artifact, "experiment") else "data set"
            return [f"no {kind} {artifact.name!r} is configured"]
        try:
            own_reasons = self.own_reasons(artifact)
            inputs = self.inputs(artifact)
        except PipelineError as error:
            return [f"its inputs cannot be determined: {' '.join(str(error).split())[:200]}"]
        missing = [str(path) for path in inputs if not path.exists()]
        outdated = [str(path) for path, result in inputs.items() if path.exists() and self.reasons(result)]
        lists = {"missing: ": missing, "out of date: ": outdated}
        return [*own_reasons, *(title + join_first(paths) for title, paths in lists.items() if paths)]

    def _own_reasons(self, artifact: Artifact) -> list[str]:
        """Return why an existing result is outdated, without checking the current state of its inputs."""
        try:
            manifest = Manifest.read(artifact.path)
        except FileNotFoundError:
            return [f"its manifest {manifest_path(artifact.path)} is missing"]
        except (OSError, ValueError) as error:
            return [f"its manifest {manifest_path(artifact.path)} is damaged ({' '.join(str(error).split())[:80]})"]
        paths = [path for path in artifact.outputs().values() if path.exists()]
        edited = [path for path in paths if self._study.thorough or path.suffix in TABLES]
        edited = [path for path in edited if manifest.is_edited(path)]
        reasons = [_describe_edits(edited, len(artifact.files))] if edited else []
        if manifest.identity == identity_of(artifact, self._study):
            return reasons
        reasons += differences(manifest.fingerprint, plan_of(artifact, self._study).fingerprint())
        return [*reasons, *self._changed_members(artifact)]

    def _changed_members(self, artifact: Artifact) -> list[str]:
        """Return which samples of a shard or a table of folds changed."""
        try:
            if isinstance(artifact, Shard):
                return _changed_samples(self._study, artifact)
            if isinstance(artifact, FoldTable):
                current_folds = self._study.fold_assignment(artifact.dataset, artifact.folds)
                folds = enumerate(read_fold_table(artifact.path, artifact.folds))
                table_folds = {name: fold for fold, names in folds for name in names}
                all_names = current_folds.keys() | table_folds.keys()
                moved = {name for name in all_names if current_folds.get(name) != table_folds.get(name)}
                return [f"samples added, removed or moved to another fold: {join_first(moved)}"] if moved else []
        except PipelineError:
            pass  # the file itself is damaged: the command that reads it reports that
        return []


def _changed_samples(study: Study, shard: Shard) -> list[str]:
    """Compare the samples in a shard with the current raw files; pages of one stack are not compared."""
    with ShardReader([shard.path]) as reader:
        sources = [digest.decode() for digest in reader.column("source_sha256")]
        stored_digests = dict(zip(reader.column("ids"), sources, strict=True))
    file_digests, samples = study.digests(shard.dataset), {sample.id: sample for sample in shard.samples(study)}
    single_page = {name: sample for name, sample in samples.items() if sample.page is None}
    digests = {name: sample_digest(sample, sample.files, file_digests) for name, sample in single_page.items()}
    common = digests.keys() & stored_digests.keys()
    return [
        f"{change}: {join_first(names)}"
        for change, names in (
            ("samples with changed raw files", [name for name in common if digests[name] != stored_digests[name]]),
            ("samples removed", stored_digests.keys() - samples.keys()),
            ("samples added", samples.keys() - stored_digests.keys()),
        )
        if names
    ]


def _describe_edits(edited: Sequence[Path], file_count: int) -> str:
    """Describe edits of a result of `file_count` files; a message about it names only the first of its files."""
    if file_count == 1:
        return "edited after the pipeline wrote it"
    subject = "a file of the same job was" if len(edited) == 1 else "files of the same job were"
    return f"{subject} edited afterwards: {join_first(map(str, edited))}"


class Guard:
    """Stops a workflow that would use outdated results as if they were current.

    Snakemake compares the parameters that it recorded for a result with the current ones. It cannot notice results that
    were edited, copied from another folder, or made before its records were lost.

    Parameters
    ----------
    study : Study
    will_rerun : callable
        Returns, for the files of a result and its plan, whether Snakemake makes it again on its own, because it
        recorded another plan or the job was interrupted.
    """

    def __init__(self, study: Study, will_rerun: Callable[[Iterable[Path], str], bool]) -> None:
        self._study, self._check, self._will_rerun = study, OutdatedCheck(study), will_rerun
        self._visited: set[Artifact] = set()

    def check(self, artifacts: Iterable[Artifact]) -> None:
        """Raise an error if a result, or any of its inputs, is outdated and Snakemake would not make it again.

        All results of a target are checked in one call, because Snakemake may ignore an error about a single input.

        Raises
        ------
        OriginError
            Listing all such results.
        """
        results = with_inputs(artifacts, self._study, self._visited)
        checked = ((result, self._reasons(result)) for result in results)
        if problems := [_not_current(result, reasons) for result, reasons in checked if reasons]:
            self._visited.clear()  # a second call reports the same
            raise OriginError(sorted(problems))

    def _reasons(self, artifact: Artifact) -> list[str]:
        if not artifact.path.exists():  # it is made anyway
            return []
        reasons = self._check.own_reasons(artifact)
        if reasons and self._will_rerun(artifact.outputs().values(), plan_of(artifact, self._study).to_json()):
            return []
        return reasons


def _not_current(artifact: Artifact, reasons: Sequence[str]) -> Problem:
    return Problem(
        str(artifact.path),
        "; ".join(reasons),
        "an unedited result of the current settings, code and raw files",
        "run `python -m pipeline clean --outdated`, which lists such results and asks before it removes them, then "
        "snakemake again; or restore the settings or files that they were made with",
    )
