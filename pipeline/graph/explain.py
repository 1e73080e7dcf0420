"""Tell in words where a result comes from, and whether it is what today's configuration and code would make."""

import os
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pipeline.core import paths
from pipeline.core.code import LIBRARIES
from pipeline.core.errors import PipelineError
from pipeline.core.fingerprint import Fingerprint
from pipeline.core.manifest import Manifest, beside
from pipeline.graph.artifacts import Checkpoint, Shard
from pipeline.graph.base import Artifact
from pipeline.graph.current import Judge
from pipeline.graph.recognize import recognize
from pipeline.graph.study import Study
from pipeline.shards.read import ShardReader
from pipeline.tools.provenance import read_provenance

_WIDTH = 116


def explain(study: Study, given: Path) -> None:
    """Print what stands at a path, what made it, from what, and whether it is current.

    Parameters
    ----------
    study : Study
        Of today's configuration. A thorough one: the bytes of this result are read and of all that it was made from,
        raw files too. Else manifests are compared, the digests of raw files that are kept for those which have not
        changed, and the bytes of tables.
    given : Path
        A file or folder under ``results/``.

    Raises
    ------
    PipelineError
        If the path is not there, or nothing that the pipeline makes.
    """
    path = _below_results(given)
    artifact = recognize(study, path)
    for needed in (path, artifact.path):
        if not needed.exists():
            remedy = f"run `snakemake {artifact.path}`"
            raise PipelineError(str(needed), "no such file or folder", "a result that was made", remedy)
    if isinstance(artifact, Shard):
        ShardReader([artifact.path]).close()  # raises where it cannot be read
    judge = Judge(study)
    reasons = judge.reasons(artifact)
    print(path)
    _say("what", artifact.what + (f": {path}" if path not in (artifact.path, artifact.place) else ""))
    _say("made by", f"stage {artifact.stage.name} ({artifact.stage.module}); `snakemake {artifact.path}`")
    _say_fingerprint(artifact.path)
    if isinstance(artifact, Checkpoint):
        _say_provenance(artifact.outputs()["provenance"])
    states = [f"{one} ({judge.state(made, one)})" for one, made in judge.inputs(artifact).items()]
    _say("made from", *states, *_raw_inputs(study, artifact))
    told = f"settings, code and digests that {beside(artifact.path).name} and the manifests of its inputs tell"
    kept = f"{told}; raw files that changed, and bytes of tables. `--thorough` reads the bytes of all files"
    _say("compared", f"{told}; bytes of results and raw files" if study.thorough else kept)
    if reasons:
        _say("current", "no:", *(f"- {reason}" for reason in reasons))
    else:
        _say("current", "yes: today's configuration, code and raw files would make the same")


def _raw_inputs(study: Study, artifact: Artifact) -> list[str]:
    """Say which raw files a result is made from."""
    if not artifact.is_known(study) or not artifact.name:
        return []
    dataset = artifact.dataset_name(study)
    try:
        raw, root = artifact.raw(study), study.raw(dataset).root
    except PipelineError:
        return [f"raw files of {dataset}, which cannot be listed now: see `python -m pipeline check`"]
    return [f"{len(raw.files)} raw files of {len(raw.samples)} samples under {root}"] if raw.files else []


def _below_results(given: Path) -> Path:
    """Spell a path as the pipeline does, without following links."""
    path = Path(os.path.normpath(Path.cwd() / given))
    top = Path.cwd() / paths.RESULTS
    if not path.is_relative_to(top) or path == top:
        found, expected = "not a path below it", f"a file or folder below {paths.RESULTS}/"
        remedy = "go to the folder that holds results/, and name something in it"
        raise PipelineError(str(given), found, expected, remedy)
    return paths.RESULTS / path.relative_to(top)


# -- printing --------------------------------------------------------------------------------------------------------


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


def _say_fingerprint(path: Path) -> None:
    try:
        made_by: Fingerprint = Manifest.read(path).fingerprint
    except (OSError, ValueError):
        return
    _say("settings", *flat(made_by.settings))
    _say("code", f"{len(made_by.code)} modules: {', '.join(made_by.code)}")
    _say("libraries", _versions(made_by.libraries.items()))
    _say("fingerprint", made_by.identity)


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
