"""Explain how a result was made and whether it is up to date with the current configuration and code."""

import os
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pipeline.core import paths
from pipeline.core.code import LIBRARIES
from pipeline.core.errors import PipelineError, plural
from pipeline.core.fingerprint import Fingerprint
from pipeline.core.manifest import Manifest, manifest_path
from pipeline.graph.artifacts import Checkpoint, Shard
from pipeline.graph.base import Artifact
from pipeline.graph.current import OutdatedCheck
from pipeline.graph.recognize import recognize
from pipeline.graph.study import Study
from pipeline.shards.read import ShardReader
from pipeline.tools.provenance import read_provenance

_WIDTH = 116


def explain(study: Study, given_path: Path) -> None:
    """Print which result a path belongs to, how it was made, its inputs, and whether it is current.

    Parameters
    ----------
    study : Study
        Of the current configuration. With ``thorough``, the bytes of the result and of all its inputs are read, raw
        files included. Without, only manifests, cached digests of unchanged raw files and the bytes of tables are
        compared.
    given_path : Path
        A file or folder under ``results/``.

    Raises
    ------
    PipelineError
        If the path does not exist or is not a result of the pipeline.
    """
    path = _below_results(given_path)
    artifact = recognize(study, path)
    for required_path in (path, artifact.path):
        if not required_path.exists():
            remedy = f"run `snakemake {artifact.path}`"
            raise PipelineError(str(required_path), "no such file or folder", "an existing result", remedy)
    if isinstance(artifact, Shard):
        ShardReader([artifact.path]).close()  # raises an error if it cannot be read
    check = OutdatedCheck(study)
    reasons = check.reasons(artifact)
    print(path)
    within = f": {path}" if path not in (artifact.path, artifact.destination) else ""
    _print_field("what", artifact.description + within)
    _print_field("made by", f"stage {artifact.stage.name} ({artifact.stage.module}); `snakemake {artifact.path}`")
    _print_fingerprint(artifact.path)
    if isinstance(artifact, Checkpoint):
        _print_provenance(artifact.outputs()["provenance"])
    states = [
        f"{input_path} ({check.state(result, input_path)})" for input_path, result in check.inputs(artifact).items()
    ]
    _print_field("made from", *states, *_raw_inputs(study, artifact))
    manifests = f"settings, code and digests in {manifest_path(artifact.path).name} and in the manifests of its inputs"
    quick = f"{manifests}; changed raw files, and the bytes of tables. `--thorough` reads the bytes of all files"
    _print_field("compared", f"{manifests}; the bytes of results and raw files" if study.thorough else quick)
    if reasons:
        _print_field("current", "no:", *(f"- {reason}" for reason in reasons))
    else:
        _print_field("current", "yes: the current configuration, code and raw files would make the same result")


def _raw_inputs(study: Study, artifact: Artifact) -> list[str]:
    """Describe the raw files that a result is made from."""
    if not artifact.is_configured(study) or not artifact.name:
        return []
    dataset = artifact.dataset_name(study)
    try:
        raw, root = artifact.raw(study), study.raw(dataset).root
    except PipelineError:
        return [f"raw files of {dataset}, which cannot be listed: see `python -m pipeline check`"]
    return (
        [f"{plural(len(raw.files), 'raw file')} of {plural(len(raw.samples), 'sample')} under {root}"]
        if raw.files
        else []
    )


def _below_results(given_path: Path) -> Path:
    """Return a path relative to the working folder, starting with ``results``, without following links."""
    path = Path(os.path.normpath(Path.cwd() / given_path))
    results = Path.cwd() / paths.RESULTS
    if not path.is_relative_to(results) or path == results:
        remedy = "change to the folder that contains results/ and name a path in it"
        expected = f"a file or folder below {paths.RESULTS}/"
        raise PipelineError(str(given_path), "a path outside results/, or results/ itself", expected, remedy)
    return paths.RESULTS / path.relative_to(results)


# -- printing --------------------------------------------------------------------------------------------------------


def flat(settings: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Flatten settings to lines ``key.key: value``; empty mappings and None are omitted."""
    lines = []
    for key, value in sorted(settings.items()):
        if isinstance(value, Mapping):
            lines += flat(value, f"{prefix}{key}.")
        elif value is not None:
            lines.append(f"{prefix}{key}: {value}")
    return lines


def _print_field(title: str, *lines: str) -> None:
    for number, line in enumerate(lines):
        head = f"  {title if number == 0 else '':12}"
        print(textwrap.fill(line, _WIDTH, initial_indent=head, subsequent_indent=" " * 16, break_on_hyphens=False))


def _print_fingerprint(path: Path) -> None:
    try:
        fingerprint: Fingerprint = Manifest.read(path).fingerprint
    except (OSError, ValueError):
        return
    _print_field("settings", *flat(fingerprint.settings))
    _print_field("code", f"{plural(len(fingerprint.code), 'module')}: {', '.join(fingerprint.code)}")
    _print_field("libraries", _versions(fingerprint.libraries.items()))
    _print_field("identity", fingerprint.identity)


def _print_provenance(file: Path) -> None:
    """Print the provenance of a training run; nothing if the file does not exist."""
    if not file.exists():
        return
    provenance = read_provenance(file)
    code, machine = provenance["code"]["pipeline"], provenance["hardware"]
    gpus = "".join(f", {gpu['name']}" for gpu in machine["gpus"])
    _print_field("trained", f"from {provenance['started']} to {provenance['finished']}, {provenance['python']}")
    _print_field("on", f"{machine['cpu']}, {machine['threads']} of {machine['logical_cores']} cores{gpus}")
    _print_field("seeds", ", ".join(f"{purpose} {seed}" for purpose, seed in provenance["seeds"].items()))
    changed = f", {plural(len(code['changed']), 'file')} changed" if code and code["dirty"] else ""
    _print_field("commit", f"{code['commit']}{changed}" if code else "not under git")
    names = {name for distributions in LIBRARIES.values() for name in distributions}
    packages = provenance["packages"].items()
    _print_field("packages", _versions((name, version) for name, version in packages if name in names))


def _versions(versions: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions)
