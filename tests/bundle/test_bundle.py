"""Bundles: their proof, their program in an environment without this project, and hostile files."""

import hashlib
import importlib.util
import io
import json
import os
import subprocess
import venv
import zipfile
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from untrained import checkpoint, read

from pipeline.bundle import runner
from pipeline.bundle.read import read_bundle, unpacked
from pipeline.bundle.write import write_bundle
from pipeline.core.errors import BundleError, ConfigError
from pipeline.prediction.listing import list_images
from pipeline.prediction.recipes import SourcedThreshold
from pipeline.training.checkpoint import load_checkpoint, save_checkpoint

SMALL = {"name": "unet-crop", "widths": [3, 4], "preparation": {"size": [48, 64], "normalize": "unit"}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with images, a checkpoint and its bundle."""
    path = tmp_path_factory.mktemp("bundle")
    (path / "in").mkdir()
    rng = np.random.default_rng(0)
    for index, shape in enumerate([(48, 64, 3), (70, 90, 3), (33, 120)]):
        cv2.imwrite(str(path / f"in/{index}.png"), rng.integers(0, 256, shape, np.uint8))
    export(path, [checkpoint(path / "best.pt", **SMALL)])
    return path


def export(path, checkpoints, name="model.zip", **more):
    arguments = {"threshold": SourcedThreshold(0.45, "test"), "threads": 1, "licence": "CC0-1.0", **more}
    return write_bundle(checkpoints=checkpoints, images=list_images(path / "in"), output=path / name, **arguments)


def masks_of(bundle, path):
    with unpacked(bundle) as (unpacked_folder, _):
        loaded = runner.Bundle(unpacked_folder, 1)
        return {file.name: loaded.predict(file)[1] for file in sorted((path / "in").glob("[!.]*"))}


def test_bundle_has_description_card_and_program(folder):
    info, contents = read_bundle(folder / "model.zip")
    assert info.proof.images == 3
    assert info.proof.largest <= 1
    assert info.output.threshold == 0.45
    with zipfile.ZipFile(folder / "model.zip") as archive:
        card = archive.read("README.md").decode()
        assert archive.read("predict.py") == Path(runner.__file__).read_bytes()
    assert "CC0-1.0" in card
    assert f"at most {info.proof.largest} levels" in card
    assert set(contents) == {"bundle.json", "model.onnx", "weights.safetensors"}
    before = (folder / "model.zip").read_bytes()
    export(folder, [folder / "best.pt"], "again.zip")
    assert (folder / "again.zip").read_bytes() == before


def test_missing_packages_are_named_with_the_command(folder, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with (
        pytest.raises(
            BundleError, match=r"no package onnx, onnxruntime(?s:.)*pip install 'segmentation-pipeline\[export\]'"
        ),
        unpacked(folder / "model.zip"),
    ):
        pass


def test_program_has_at_most_300_lines():
    assert len(Path(runner.__file__).read_text().splitlines()) < 300


def test_bundle_that_differs_from_pytorch_is_not_written(folder, monkeypatch):
    monkeypatch.setattr(runner, "to_levels", lambda probability: np.full(probability.shape, 255, np.uint8))
    with pytest.raises(BundleError, match="differ from PyTorch by up to"):
        export(folder, [folder / "best.pt"], "wrong.zip")
    assert not (folder / "wrong.zip").exists()


def test_ensemble_is_the_mean_of_its_networks(folder, tmp_path):
    torch.manual_seed(1)
    other = {name: tensor + 0.05 for name, tensor in torch.load(folder / "best.pt")["state"].items()}
    second = checkpoint(tmp_path / "best.pt", weights=other, **SMALL)
    loaded = load_checkpoint(second)
    save_checkpoint(second, loaded.info, loaded.state, epoch=8)
    proof = export(folder, [folder / "best.pt", second], "ensemble.zip")
    assert (proof.largest, proof.masks) <= (1, 1e-4)
    assert [member.epoch for member in read_bundle(folder / "ensemble.zip")[0].networks] == [0, 8]
    third = checkpoint(tmp_path / "third.pt", **{**SMALL, "widths": [4, 4]})
    with pytest.raises(ConfigError, match="another network"):
        export(folder, [folder / "best.pt", third], "mixed.zip")


def rewritten(bundle, path, change):
    """Copy a bundle with changed contents; digests in its description are those of the new contents."""
    with zipfile.ZipFile(bundle) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    entries = change(files) or list(files.items())
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries:
            archive.writestr(name if isinstance(name, zipfile.ZipInfo) else zipfile.ZipInfo(name), data)
    return path


def resealed(files, **digests):
    info = json.loads(files["bundle.json"])
    info["networks"][0] |= {f"{key}_sha256": hashlib.sha256(data).hexdigest() for key, data in digests.items()}
    files["bundle.json"] = json.dumps(info).encode()


def without_graph(files):
    files["model.onnx"] = b"x"
    resealed(files, graph=b"x")


def graph(edit):
    def change(files):
        model = onnx.load_model(io.BytesIO(files["model.onnx"]), load_external_data=False)
        edit(model)
        files["model.onnx"] = model.SerializeToString()
        resealed(files, graph=files["model.onnx"])

    return change


def place(key, value):
    def edit(model):
        tensor = next(tensor for tensor in model.graph.initializer if tensor.external_data)
        next(entry for entry in tensor.external_data if entry.key == key).value = value

    return graph(edit)


def description(**values):
    def change(files):
        files["bundle.json"] = json.dumps(json.loads(files["bundle.json"]) | values).encode()

    return change


def link():
    entry = zipfile.ZipInfo("weights.safetensors")
    entry.external_attr = 0o120777 << 16
    return entry


def compressed():
    entry = zipfile.ZipInfo("README.md")
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


HOSTILE = {
    "traversal": (lambda files: [*files.items(), ("../evil.py", b"")], "'../evil.py': no name inside"),
    "absolute": (lambda files: [*files.items(), ("/etc/passwd", b"")], "'/etc/passwd': no name inside"),
    "backslash": (lambda files: [*files.items(), ("..\\predict.py", b"")], "no name inside"),
    "other file": (lambda files: [*files.items(), ("evil.py", b"")], "'evil.py': no file of a bundle"),
    "unnamed": (lambda files: [*files.items(), ("x/model.onnx", b"")], "'x/model.onnx': named nowhere"),
    "twice": (lambda files: [*files.items(), ("model.onnx", b"")], "'model.onnx': twice"),
    "link": (lambda files: [*files.items(), (link(), b"/etc/passwd")], "'weights.safetensors': a link"),
    "bomb": (lambda files: [*files.items(), (compressed(), b"0" * 10**6)], "'README.md': compressed"),
    "missing": (lambda files: [item for item in files.items() if item[0] != "weights.safetensors"], "no weights.safe"),
    "no description": (lambda files: [("model.onnx", b"")], "no bundle.json"),
    "digest": (lambda files: files.update({"weights.safetensors": files["weights.safetensors"] + b"0"}), "another SHA"),
    "schema": (description(version=2, spy=1), "version: .*; bundle.json: spy: "),
    "elsewhere": (place("location", "../../etc/passwd"), "external data in '../../etc/passwd'"),
    "outside": (place("offset", "99999999"), "external data outside of the"),
    "negative": (place("offset", "-1"), "external data outside of the"),
    "domain": (graph(lambda model: model.opset_import.add(domain="evil", version=1)), "operators of evil"),
    "function": (graph(lambda model: model.functions.add(name="f", domain="")), "functions of its own"),
    "no graph": (without_graph, "no ONNX graph"),
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_hostile_bundles_are_refused(kind, folder, tmp_path):
    change, message = HOSTILE[kind]
    path = rewritten(folder / "model.zip", tmp_path / "hostile.zip", change)
    with pytest.raises(BundleError, match=message):
        read_bundle(path)


@pytest.mark.parametrize("contents", [b"", b"PK\3\4 no archive", None], ids=["empty", "damaged", "cut"])
def test_damaged_bundles_are_refused(contents, folder, tmp_path):
    path = tmp_path / "model.zip"
    path.write_bytes((folder / "model.zip").read_bytes()[:-100] if contents is None else contents)
    with pytest.raises(BundleError, match="damaged"):
        read_bundle(path)


@pytest.mark.slow
def test_program_runs_without_torch_and_this_project(folder, tmp_path):
    python = Path(os.environ.get("BUNDLE_PYTHON") or tmp_path / "venv/bin/python")
    if not python.exists():
        venv.create(python.parents[1], with_pip=True)
        packages = ["numpy", "onnxruntime", "opencv-python-headless"]
        constraints = Path(__file__).parents[2] / "constraints.txt"
        subprocess.run([python, "-m", "pip", "install", "-q", "-c", constraints, *packages], check=True)
    with zipfile.ZipFile(folder / "model.zip") as archive:
        archive.extractall(tmp_path / "model")
    (folder / "in/._a.png").write_bytes(b"attributes of macOS")
    line = [python, "-I", tmp_path / "model/predict.py", folder / "in", tmp_path / "out", "--probability"]
    subprocess.run(line, check=True, cwd=tmp_path, env={})
    expected = masks_of(folder / "model.zip", folder)
    assert {path.name: read(path).tolist() for path in (tmp_path / "out/mask").iterdir()} == {
        name: mask.tolist() for name, mask in expected.items()
    }
    probe = "import importlib.util as u; print([n for n in ('torch', 'pipeline') if u.find_spec(n)])"
    assert subprocess.check_output([python, "-I", "-c", probe], cwd=tmp_path, text=True) == "[]\n"
