"""Tell in words where a result comes from, and whether it is what today's configuration and code would make."""

import os
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.core import paths
from pipeline.core.code import LIBRARIES
from pipeline.core.errors import PipelineError
from pipeline.core.fingerprint import EarlierVersionError, Fingerprint, differences
from pipeline.graph.artifacts import Checkpoint, FoldTable, Shard
from pipeline.graph.base import Artifact, plan_of
from pipeline.graph.recognize import recognize
from pipeline.graph.stored import stored_fingerprint
from pipeline.graph.study import Study
from pipeline.raw.inspect import read_file
from pipeline.raw.samples import Sample
from pipeline.raw.splits.fold_table import read_fold_table
from pipeline.shards.prepare import source_digest
from pipeline.shards.read import ShardReader
from pipeline.tools.provenance import read_provenance

_WIDTH = 116


def explain(study: Study, given: Path) -> None:
    """Print what stands at a path, what made it, from what, and whether it is current.

    Parameters
    ----------
    study : Study
        Of today's configuration.
    given : Path
        A file or folder under ``results/``.

    Raises
    ------
    PipelineError
        If the path is not there, or nothing that the pipeline makes.
    """
    path = _below_results(given)
    judge = _Judge(study)
    artifact = recognize(study, path)
    for needed in (path, artifact.signature):
        if not needed.exists():
            remedy = f"run `snakemake {artifact.path}`"
            raise PipelineError(str(needed), "no such file or folder", "a result that was made", remedy)
    if isinstance(artifact, Shard):
        ShardReader([artifact.path]).close()  # raises where it cannot be read
    reasons = judge.judge(artifact, thorough=True)
    print(path)
    _say("what", artifact.what + (f": {path}" if path not in (artifact.path, artifact.place) else ""))
    _say("made by", f"stage {artifact.stage.name} ({artifact.stage.module}); `snakemake {artifact.path}`")
    text = stored_fingerprint(artifact.signature) if artifact.signed else None
    if text is not None:
        _say_fingerprint(text)
    if isinstance(artifact, Checkpoint):
        _say_provenance(artifact.outputs()["provenance"])
    inputs = judge.inputs(artifact)
    states = [f"{one} ({judge.state(made, one)})" for one, made in inputs.items()]
    _say("made from", *states, *judge.raw_inputs(artifact))
    if reasons:
        _say("current", "no:", *(f"- {reason}" for reason in reasons))
    elif text is None and not inputs:
        _say("current", "not known: this stage keeps no fingerprint, and it is made from raw files alone")
    elif text is None:
        _say("current", "yes, as far as what it is made from tells: this stage keeps no fingerprint of its own")
    else:
        _say("current", "yes: today's configuration, code and inputs would make the same")


def _below_results(given: Path) -> Path:
    """Spell a path as the pipeline does, without following links."""
    path = Path(os.path.normpath(Path.cwd() / given))
    top = Path.cwd() / paths.RESULTS
    if not path.is_relative_to(top) or path == top:
        found, expected = "not a path below it", f"a file or folder below {paths.RESULTS}/"
        remedy = "go to the folder that holds results/, and name something in it"
        raise PipelineError(str(given), found, expected, remedy)
    return paths.RESULTS / path.relative_to(top)


class _Judge:
    """Compares results with what the configuration and the code of today would make."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._reasons: dict[Artifact, list[str]] = {}

    def state(self, artifact: Artifact, path: Path) -> str:
        if not path.exists():
            return "missing"
        return "not current" if self.reasons(artifact) else "current"

    def reasons(self, artifact: Artifact) -> list[str]:
        """Say why a result is not what would be made today; nothing where it is. Raw files are not read again."""
        if artifact not in self._reasons:
            self._reasons[artifact] = self.judge(artifact)
        return self._reasons[artifact]

    def judge(self, artifact: Artifact, thorough: bool = False) -> list[str]:
        """Say why a result is not what would be made today; `thorough`: by the raw files of a shard or table, too."""
        if not artifact.is_known(self._study):
            kind = "experiment" if hasattr(artifact, "experiment") else "data set"
            return [f"no {kind} {artifact.name!r} is configured"]
        said: list[str] = []
        try:
            if artifact.signed:
                said += self._compare(artifact)
            if thorough and isinstance(artifact, Shard):
                said += self._changed_sources(artifact)
            if thorough and isinstance(artifact, FoldTable):
                said += self._moved(artifact)
            inputs = self.inputs(artifact)
        except PipelineError as error:
            return [*said, f"what it would be made from is not known: {' '.join(str(error).split())[:200]}"]
        if isinstance(artifact, Checkpoint):
            said += _other_shards(artifact)
        there = [path for path in inputs if path.exists()]
        made = _written(artifact.signature)
        for words, some_paths in (
            ("missing: ", [path for path in inputs if path not in there]),
            ("not current itself: ", [path for path in there if self.reasons(inputs[path])]),
            ("written later: ", [path for path in there if _written(path) > made]),
        ):
            if some_paths:
                said.append(words + some(map(str, some_paths)))
        return said

    def _compare(self, artifact: Artifact) -> list[str]:
        text = stored_fingerprint(artifact.signature)
        try:
            return differences(Fingerprint.from_json(text or ""), plan_of(artifact, self._study).fingerprint())
        except EarlierVersionError:
            return ["an earlier version of the pipeline made it"]
        except ValueError:
            return ["it does not say what made it" if text is None else "its fingerprint is damaged"]

    def inputs(self, artifact: Artifact) -> dict[Path, Artifact]:
        """Return the results that a result is made from; raw files are not among them."""
        if not artifact.is_known(self._study):
            return {}
        return {one.path: one.artifact for part in artifact.needs(self._study).values() for one in part}

    def raw_inputs(self, artifact: Artifact) -> list[str]:
        """Say which raw files a result is made from."""
        if not artifact.is_known(self._study) or not artifact.name:
            return []
        dataset = self._study.dataset_of(artifact.name) if hasattr(artifact, "experiment") else artifact.name
        try:
            files, root = artifact.raw_files(self._study), self._study.raw(dataset).root
        except PipelineError:
            return [f"raw files of {dataset}, which cannot be listed now: see `python -m pipeline check`"]
        if isinstance(artifact, Shard):
            return [f"{len(files)} raw files of {len(artifact.members(self._study))} samples under {root}"]
        return [f"{len(files)} raw files under {root}"] if files else []

    def _changed_sources(self, shard: Shard) -> list[str]:
        members = shard.members(self._study)
        return changed_sources(shard.path, members) if members else ["no sample stands in it any more"]

    def _moved(self, table: FoldTable) -> list[str]:
        """Compare a table of folds with the raw files of today."""
        now = self._study.members(table.dataset, table.folds)
        parts = enumerate(read_fold_table(table.path, table.folds))
        then = {name: fold for fold, names in parts for name in names}
        moved = {name for name in now.keys() | then.keys() if now.get(name) != then.get(name)}
        return [f"samples that came, went or changed their fold: {some(moved)}"] if moved else []


def changed_sources(path: Path, members: Sequence[Sample]) -> list[str]:
    """Compare what a shard was made from with the raw files that are there.

    Parameters
    ----------
    path : Path
        The shard.
    members : sequence of Sample
        The samples that should be in it.

    Returns
    -------
    list of str
        In words, one for each kind of difference.

    Raises
    ------
    ShardError
    """
    with ShardReader([path]) as reader:
        sources = [text.decode() for text in reader.column("source_sha256")]
        digests = dict(zip(reader.column("ids"), sources, strict=True))
    now = {sample.id: sample for sample in members}
    edited = [name for name in now.keys() & digests.keys() if _digest_now(now[name]) != digests[name]]
    return [
        f"{text}: {some(names)}"
        for text, names in (
            ("raw files changed since", edited),
            ("samples that do not stand in it any more", digests.keys() - now.keys()),
            ("samples that stand in it by now", now.keys() - digests.keys()),
        )
        if names
    ]


def _digest_now(sample: Sample) -> str:
    """Digest the raw files of a sample; empty where one cannot be read."""
    try:
        return source_digest(sample, {path: read_file(sample, path) for path in sample.files})
    except PipelineError:
        return ""


def _other_shards(checkpoint: Checkpoint) -> list[str]:
    """Compare the raw files that an experiment was trained on with those in the shards of today."""
    file = checkpoint.outputs()["provenance"]
    if not file.exists():
        return []
    trained = read_provenance(file)["inputs"]
    other = []
    for path in filter(Path.exists, map(Path, trained)):
        with ShardReader([path]) as reader:
            if reader.source_digests()[str(path)] != trained[str(path)]:
                other.append(str(path))
    return [f"trained on other raw files than are now in: {some(other)}"] if other else []


def _written(path: Path) -> int:
    """Return when a file, or the last of the files in a folder, was written, in nanoseconds."""
    files = [one for one in path.iterdir() if one.is_file()] if path.is_dir() else []
    return max(one.stat().st_mtime_ns for one in (files or [path]))


# -- printing --------------------------------------------------------------------------------------------------------


def some(names: Iterable[str], most: int = 5) -> str:
    """Join the first few of some names, and count the rest."""
    listed = sorted(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return f"{', '.join(listed[:most])}{more}"


def flat(settings: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Spell settings as ``key.key: value``, one each; empty mappings and None are left out."""
    said = []
    for key, value in sorted(settings.items()):
        if isinstance(value, Mapping):
            said += flat(value, f"{prefix}{key}.")
        elif value is not None:
            said.append(f"{prefix}{key}: {value}")
    return said


def _say(title: str, *lines: str) -> None:
    for number, line in enumerate(lines):
        head = f"  {title if number == 0 else '':12}"
        print(textwrap.fill(line, _WIDTH, initial_indent=head, subsequent_indent=" " * 16, break_on_hyphens=False))


def _say_fingerprint(text: str) -> None:
    try:
        made_by = Fingerprint.from_json(text)
    except ValueError:
        return
    _say("settings", *flat(made_by.settings))
    _say("code", f"{len(made_by.code)} modules: {', '.join(made_by.code)}")
    _say("libraries", _versions(made_by.libraries.items()))
    _say("fingerprint", made_by.digest)


def _say_provenance(file: Path) -> None:
    """Say how a training went; of one without such a file, nothing."""
    if not file.exists():
        return
    said = read_provenance(file)
    code, machine = said["code"]["pipeline"], said["hardware"]
    gpus = "".join(f", {one['name']}" for one in machine["gpus"])
    _say("trained", f"from {said['started']} to {said['finished']}, {said['python']}")
    _say("on", f"{machine['cpu']}, {machine['threads']} of {machine['logical_cores']} cores{gpus}")
    _say("seeds", ", ".join(f"{purpose} {seed}" for purpose, seed in said["seeds"].items()))
    changed = f", {len(code['changed'])} files changed" if code and code["dirty"] else ""
    _say("commit", f"{code['commit']}{changed}" if code else "not under git")
    names = {name for distributions in LIBRARIES.values() for name in distributions}
    _say("packages", _versions((name, version) for name, version in said["packages"].items() if name in names))


def _versions(versions: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions)
