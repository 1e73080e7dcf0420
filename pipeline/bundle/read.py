"""Read a bundle, also one that somebody else wrote: everything is checked before anything is extracted or run."""

import hashlib
import io
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline.bundle.schema import CARD, GRAPH, INFO, RUNNER, WEIGHTS, BundleInfo
from pipeline.core.errors import BundleError, Problem

_MAX_INFO, _MAX_TEXT, _MAX_GRAPH, _MAX_WEIGHTS = 2**20, 2**22, 2**26, 2**32  # bytes
_REMEDY = "use a bundle that `python -m pipeline export` wrote, or get the file again"
_INSTALL = "pip install 'segmentation-pipeline[export]'"


def require_extra() -> None:
    """Require the packages of the extra `export`.

    Raises
    ------
    BundleError
        Lists all missing packages.
    """
    import importlib.util

    missing = [
        name for name in ("onnx", "onnxruntime", "onnxscript", "safetensors") if not importlib.util.find_spec(name)
    ]
    if missing:
        raise BundleError("export", f"no package {', '.join(missing)}", "the packages of the extra `export`", _INSTALL)


@contextmanager
def unpacked(path: Path) -> Iterator[tuple[Path, BundleInfo]]:
    """Check a bundle and extract it to a temporary folder.

    Parameters
    ----------
    path : Path
        Zip file.

    Yields
    ------
    Path
        The folder, which the caller uses only inside the context.
    BundleInfo

    Raises
    ------
    BundleError
        Lists all problems of the file.
    """
    require_extra()
    info, contents = read_bundle(path)
    with tempfile.TemporaryDirectory(prefix="bundle-") as name:
        folder = Path(name)
        for member, data in contents.items():
            (folder / member).parent.mkdir(exist_ok=True)
            (folder / member).write_bytes(data)
        yield folder, info


def read_bundle(path: Path) -> tuple[BundleInfo, dict[str, bytes]]:
    """Read and check a bundle.

    Returns
    -------
    BundleInfo
    dict of str to bytes
        The contents of the files that it needs: ``bundle.json``, graphs and weights. Its program is never run.

    Raises
    ------
    BundleError
        Lists all problems of the file.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise BundleError(str(path), "no regular file", "a bundle", _REMEDY)
        with zipfile.ZipFile(path) as archive:
            return _read(path, archive)
    except FileNotFoundError as error:
        raise BundleError(str(path), "no such file", "a bundle", "correct the path") from error
    except (OSError, EOFError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        found = f"a file that is damaged or no zip archive ({str(error)[:160]})"
        raise BundleError(str(path), found, "a bundle", _REMEDY) from error


def _read(path: Path, archive: zipfile.ZipFile) -> tuple[BundleInfo, dict[str, bytes]]:
    names = [entry.filename for entry in archive.infolist()]
    found = [f"{name!r}: {problem}" for entry in archive.infolist() for name, problem in _entry_problems(entry)]
    found += [f"{name!r}: twice" for name in sorted({name for name in names if names.count(name) > 1})]
    size = path.stat().st_size
    if sum(entry.file_size for entry in archive.infolist()) > size:
        found.append(f"files of together more than the {size} bytes of the archive")
    found += [f"no {INFO}"] if INFO not in names else []
    _refuse(path, found, "files stored without compression, encryption or links, with the names of a bundle")
    try:
        info = BundleInfo.model_validate_json(archive.read(INFO))
    except ValidationError as error:
        texts = [f"{INFO}: {'.'.join(map(str, item['loc'])) or 'content'}: {item['msg']}" for item in error.errors()]
        _refuse(path, texts, "the schema of bundles, version 1 (docs/export.md)")
        raise
    declared = {name: digest for member in info.networks for name, digest in _digests(member)}
    found = [f"no {name}" for name in declared if name not in names]
    found += [f"{name!r}: named nowhere in {INFO}" for name in names if name not in {*declared, INFO, CARD, RUNNER}]
    _refuse(path, found, f"the files that {INFO} names")
    contents = {name: archive.read(name) for name in (INFO, *declared)}
    found = [
        f"{name}: another SHA-256 than in {INFO}"
        for name, digest in declared.items()
        if hashlib.sha256(contents[name]).hexdigest() != digest
    ]
    _refuse(path, found, "files with the digests of bundle.json")
    found = [
        f"{member.graph}: {problem}"
        for member in info.networks
        for problem in graph_problems(contents[member.graph], len(contents[member.weights]), info)
    ]
    _refuse(path, found, "graphs of the standard ONNX operators, whose weights lie in their safetensors file")
    return info, contents


def _refuse(path: Path, found: list[str], expected: str) -> None:
    if found:
        raise BundleError(Problem(str(path), "; ".join(found[:10]), expected, _REMEDY))


def _digests(member: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401
    yield member.graph, member.graph_sha256
    yield member.weights, member.weights_sha256


def _entry_problems(entry: zipfile.ZipInfo) -> Iterator[tuple[str, str]]:
    """Yield the problems of an entry of the archive, each with its name."""
    name, base = entry.filename, entry.filename.rpartition("/")[2]
    limits = {INFO: _MAX_INFO, CARD: _MAX_TEXT, RUNNER: _MAX_TEXT, GRAPH: _MAX_GRAPH, WEIGHTS: _MAX_WEIGHTS}
    parts = name.split("/")
    if len(parts) > 2 or any(part in ("", ".", "..") or "\\" in part or ":" in part for part in parts):
        yield name, "no name inside the bundle"
    elif base not in limits or (len(parts) == 2 and base not in (GRAPH, WEIGHTS)):
        yield name, "no file of a bundle"
    elif entry.file_size > limits[base]:
        yield name, f"{entry.file_size} bytes, more than {limits[base]}"
    if entry.compress_type != zipfile.ZIP_STORED:
        yield name, "compressed"
    if entry.flag_bits & 1:
        yield name, "encrypted"
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        yield name, "a link, or no regular file"


def graph_problems(graph: bytes, weights_size: int, info: BundleInfo) -> Iterator[str]:
    """Yield what a graph must not have: other operators, functions, and external data elsewhere.

    Parameters
    ----------
    graph : bytes
        ONNX file.
    weights_size : int
        Bytes of the safetensors file.
    info : BundleInfo
    """
    import onnx

    try:
        model = onnx.load_model(io.BytesIO(graph), load_external_data=False)
    except Exception as error:  # protobuf has its own types of errors
        yield f"no ONNX graph ({str(error)[:80]})"
        return
    domains = {opset.domain for opset in model.opset_import} | {node.domain for node in _nodes(model.graph)}
    if unknown := sorted(domains - {"", "ai.onnx"}):
        yield f"operators of {', '.join(unknown)}"
    if any(opset.version > info.network.opset for opset in model.opset_import):
        yield f"a newer operator set than {info.network.opset}"
    if model.functions:
        yield "functions of its own"
    for tensor in _tensors(model):
        place = {entry.key: entry.value for entry in tensor.external_data}
        if tensor.data_location != onnx.TensorProto.EXTERNAL and not place:
            continue
        if place.get("location") != WEIGHTS:
            yield f"tensor {tensor.name!r}: external data in {place.get('location')!r}"
            continue
        offset, length = place.get("offset", ""), place.get("length", "")
        inside = offset.isdecimal() and length.isdecimal() and int(offset) + int(length) <= weights_size
        if not inside:
            yield f"tensor {tensor.name!r}: external data outside of the {weights_size} bytes of {WEIGHTS}"
    if [value.name for value in model.graph.input] != ["image"]:
        yield "inputs other than `image`"
    if [value.name for value in model.graph.output] != ["probability"]:
        yield "outputs other than `probability`"


def _nodes(graph: Any) -> Iterator[Any]:  # noqa: ANN401 - onnx has no types
    """Yield all nodes, those of nested graphs too."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for nested in (attribute.g, *attribute.graphs):
                yield from _nodes(nested)


def _tensors(model: Any) -> Iterator[Any]:  # noqa: ANN401
    """Yield all tensors: initializers and constants."""
    graphs = [model.graph]
    for node in _nodes(model.graph):
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            graphs += [attribute.g, *attribute.graphs]
    for graph in graphs:
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
