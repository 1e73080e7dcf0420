"""Whether results are what today's settings, code and raw files make, by their manifests."""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path

from pipeline.core.errors import OriginError, PipelineError, Problem
from pipeline.core.fingerprint import differences, some
from pipeline.core.manifest import TABLES, Manifest, beside
from pipeline.graph.artifacts import FoldTable, Shard
from pipeline.graph.base import Artifact, identity_of, plan_of, with_inputs
from pipeline.graph.study import Study
from pipeline.raw.digests import sample_digest
from pipeline.raw.splits.fold_table import read_fold_table
from pipeline.shards.read import ShardReader


class Judge:
    """Compares results with what today's configuration, code and raw files would make.

    Parameters
    ----------
    study : Study
        A thorough one: the bytes of all results are compared, not those of tables alone, which people edit and which
        are few.
    """

    def __init__(self, study: Study) -> None:
        self._study = study
        self.reasons: Callable[[Artifact], list[str]] = cache(self._judge)
        self.of_itself: Callable[[Artifact], list[str]] = cache(self._compare)

    def state(self, artifact: Artifact, path: Path) -> str:
        """Return ``current``, ``not current`` or ``missing``."""
        if not path.exists():
            return "missing"
        return "not current" if self.reasons(artifact) else "current"

    def inputs(self, artifact: Artifact) -> dict[Path, Artifact]:
        """Return the results that a result is made from; raw files are not among them."""
        if not artifact.is_known(self._study):
            return {}
        return {one.path: one.artifact for part in artifact.needs(self._study).values() for one in part}

    def _judge(self, artifact: Artifact) -> list[str]:
        """Say why a result, or anything that it is made from, is not what would be made today; nothing where it is."""
        if not artifact.is_known(self._study):
            kind = "experiment" if hasattr(artifact, "experiment") else "data set"
            return [f"no {kind} {artifact.name!r} is configured"]
        try:
            said = self.of_itself(artifact)
            inputs = self.inputs(artifact)
        except PipelineError as error:
            return [f"what it would be made from is not known: {' '.join(str(error).split())[:200]}"]
        missing = [str(path) for path in inputs if not path.exists()]
        outdated = [str(path) for path, one in inputs.items() if path.exists() and self.reasons(one)]
        named = {"missing: ": missing, "not current itself: ": outdated}
        return [*said, *(words + some(paths) for words, paths in named.items() if paths)]

    def _compare(self, artifact: Artifact) -> list[str]:
        """Say why a result that is there is not what would be made today, whatever became of its inputs since."""
        try:
            manifest = Manifest.read(artifact.path)
        except FileNotFoundError:
            return [f"it does not say what made it: there is no {beside(artifact.path)}"]
        except (OSError, ValueError) as error:
            return [f"its manifest {beside(artifact.path)} is damaged ({' '.join(str(error).split())[:80]})"]
        paths = [path for path in artifact.outputs().values() if path.exists()]
        edited = [path for path in paths if self._study.thorough or path.suffix in TABLES]
        edited = [path for path in edited if manifest.changed(path)]
        said = [f"edited since it was made: {some(map(str, edited))}"] if edited else []
        if manifest.identity == identity_of(artifact, self._study):
            return said
        said += differences(manifest.fingerprint, plan_of(artifact, self._study).fingerprint())
        return [*said, *self._samples(artifact)]

    def _samples(self, artifact: Artifact) -> list[str]:
        """Name the samples in which a shard or a table of folds differs from today's."""
        try:
            if isinstance(artifact, Shard):
                return _changed_samples(self._study, artifact)
            if isinstance(artifact, FoldTable):
                now = self._study.members(artifact.dataset, artifact.folds)
                parts = enumerate(read_fold_table(artifact.path, artifact.folds))
                then = {name: fold for fold, names in parts for name in names}
                moved = {name for name in now.keys() | then.keys() if now.get(name) != then.get(name)}
                return [f"samples that came, went or changed their fold: {some(moved)}"] if moved else []
        except PipelineError:
            pass  # the file itself cannot be read: whoever reads it says so
        return []


def _changed_samples(study: Study, shard: Shard) -> list[str]:
    """Compare what a shard was made from with the raw files that are there; pages of stacks are not told apart."""
    with ShardReader([shard.path]) as reader:
        sources = [text.decode() for text in reader.column("source_sha256")]
        then = dict(zip(reader.column("ids"), sources, strict=True))
    digests, members = study.digests(shard.dataset), {sample.id: sample for sample in shard.members(study)}
    alone = {name: one for name, one in members.items() if one.page is None}
    now = {name: sample_digest(one, one.files, digests) for name, one in alone.items()}
    return [
        f"{text}: {some(names)}"
        for text, names in (
            ("raw files changed since", [name for name in now.keys() & then.keys() if now[name] != then[name]]),
            ("samples that do not stand in it any more", then.keys() - members.keys()),
            ("samples that stand in it by now", members.keys() - then.keys()),
        )
        if names
    ]


class Guard:
    """Stops a workflow where results are there that it would take for current, and that are not.

    Snakemake compares what it wrote down when it made a result with what it would do today. It cannot know of results
    that were edited, or copied from elsewhere, or made before its notes were lost.

    Parameters
    ----------
    study : Study
    is_known : callable
        Tells of the files of a result and its plan whether Snakemake makes it again by itself: because it has written
        down another plan, or that the job was cut short.
    """

    def __init__(self, study: Study, is_known: Callable[[Iterable[Path], str], bool]) -> None:
        self._study, self._judge, self._is_known = study, Judge(study), is_known
        self._seen: set[Artifact] = set()

    def check(self, artifacts: Iterable[Artifact]) -> None:
        """Stop where a result, or anything that it is made from, is not current and would not be made again.

        All of it at once: what is said of a single input Snakemake may pass over.

        Raises
        ------
        OriginError
            Listing all such results.
        """
        looked_at = ((one, self._look(one)) for one in with_inputs(artifacts, self._study, self._seen))
        if problems := [_not_current(one, reasons) for one, reasons in looked_at if reasons]:
            self._seen.clear()  # whoever asks again gets the same answer
            raise OriginError(sorted(problems))

    def _look(self, artifact: Artifact) -> list[str]:
        if not artifact.path.exists():  # it is made anyway
            return []
        reasons = self._judge.of_itself(artifact)
        if reasons and self._is_known(artifact.outputs().values(), plan_of(artifact, self._study).to_json()):
            return []
        return reasons


def _not_current(artifact: Artifact, reasons: Sequence[str]) -> Problem:
    return Problem(
        str(artifact.path),
        "; ".join(reasons),
        "a result of today's settings, code and raw files, as it was made",
        "run `python -m pipeline clean --outdated`, which lists such results and asks, then snakemake again; or put "
        "back the settings or files that they were made by",
    )
