"""Checkpoints and training states that are damaged, or that somebody prepared to do harm."""

import io
import random
import resource
import time
import zipfile
from collections import OrderedDict

import pytest
import torch

from pipeline.core.errors import CheckpointError
from pipeline.models.networks import NETWORKS
from pipeline.models.registry import build_model
from pipeline.tools.contents import first_difference
from pipeline.training.checkpoint import CheckpointInfo, load_checkpoint, save_checkpoint
from pipeline.training.live_history import read_live_history
from pipeline.training.state import load_state, save_state

FLIPS = 300
MODEL = {"name": "unet", "width": 1, "depth": 2}
TRAINING = {"dataset": "d", "model": MODEL, "optimizer": {"name": "sgd", "lr": 0.1}, "batch_size": 1, "epochs": 1}
METADATA = {
    "model": MODEL,
    "in_channels": 3,
    "out_channels": 1,
    "activation": "sigmoid",
    "size": [48, 64],
    "preparation": {"size": [48, 64], "normalize": "minmax"},
    "dataset": "d",
    "origin": "raw files",
    "class_names": ["background", "thing"],
    "experiment": "e",
    "seeds": {},
    "settings": {**TRAINING, "loss": "bce"},
    "made_with": {},
}


def write_checkpoint(path):
    info = CheckpointInfo.model_validate(METADATA)
    torch.manual_seed(0)
    save_checkpoint(path, info, build_model(info.model, in_channels=3, out_channels=1).state_dict(), epoch=1)
    return path


def rewrite(path, **changes):
    """Change entries of a checkpoint, with valid checksums."""
    torch.save({**torch.load(path, weights_only=True), **changes}, path)
    return path


def change_weights(path, change):
    state = torch.load(path, weights_only=True)["state"]
    return rewrite(path, state=change(state))


def equal(first, second):
    if isinstance(first, torch.Tensor):
        return first.dtype == second.dtype and torch.equal(first, second)
    if isinstance(first, dict):
        return list(first) == list(second) and all(equal(first[key], second[key]) for key in first)
    return first == second


def flips(contents, count=FLIPS):
    """Yield copies of bytes with one flipped bit each."""
    for bit in random.Random(0).sample(range(8 * len(contents)), count):
        flipped = bytearray(contents)
        flipped[bit // 8] ^= 1 << bit % 8
        yield bytes(flipped)


def test_flipped_bit_of_a_checkpoint_is_refused_or_harmless(tmp_path):
    path = write_checkpoint(tmp_path / "best.pt")
    intact, refused = load_checkpoint(path), 0
    for flipped in flips(path.read_bytes()):
        path.write_bytes(flipped)
        try:
            loaded = load_checkpoint(path)
        except CheckpointError:
            refused += 1
        else:
            assert equal(vars(intact), vars(loaded))
    assert FLIPS / 3 < refused < FLIPS


def test_flipped_bit_of_a_state_gives_the_previous_state(tmp_path):
    states = [{"epoch": epoch, "weights": {"a": torch.full((2, 3), float(epoch))}} for epoch in (1, 2)]
    for state in states:
        save_state(tmp_path, state)
    contents = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for flipped in flips(contents[tmp_path / "current.pt"]):
        for path, intact in contents.items():
            path.write_bytes(flipped if path.name == "current.pt" else intact)
        assert equal(load_state(tmp_path), states[0])


def test_live_history_of_a_damaged_state_is_not_shown(tmp_path):
    save_state(tmp_path / "run", {"progress": {"history": [{"epoch": 1.0, "val_loss": 0.4375}]}})
    path = tmp_path / "run/current.pt"
    assert read_live_history(tmp_path) == [{"epoch": 1.0, "val_loss": 0.4375}]
    contents = path.read_bytes()
    loss = contents.index(bytes.fromhex("3fdc000000000000"))  # 0.4375
    path.write_bytes(contents[: loss + 3] + b"\x10" + contents[loss + 4 :])
    assert read_live_history(tmp_path) is None


def test_damaged_weights_are_named_as_damage_by_verify(tmp_path):
    first, second = (write_checkpoint(tmp_path / name) for name in ("a.pt", "b.pt"))
    bias = load_checkpoint(first).state["head.bias"].numpy().tobytes()
    assert second.read_bytes().count(bias) == 1
    second.write_bytes(second.read_bytes().replace(bias, b"\0\0\0\x3f"))
    assert "cannot be opened: Bad CRC-32" in first_difference(first, second)


MISFITS = {
    "wide": {"model": {**MODEL, "width": 512, "depth": 7}},
    "too wide": {"model": {**MODEL, "width": 2048}},
    "deep": {"model": {**MODEL, "depth": 60}},
    "huge widths": {"model": {"name": "unet-small", "widths": [10**9, 10**9]}},
    "many outputs": {"out_channels": 10**9},
    "other channels": {"in_channels": 10**6},
    "size of no image": {"size": [10**9, 10**9]},
    "another size": {"size": [64, 64]},
    "size as text": {"size": "large"},
    "means of one channel": {
        "preparation": {"size": [48, 64], "normalize": {"method": "standard", "mean": [0.5], "std": [0.2]}}
    },
    "unknown normalization": {"preparation": {"size": [48, 64], "normalize": "magic"}},
    "no standard deviation": {
        "preparation": {"size": [48, 64], "normalize": {"method": "standard", "mean": [0.5] * 3, "std": [0.0] * 3}}
    },
    "no preparation": {"preparation": None},
    "softmax of one channel": {"activation": "softmax"},
    "names that no folder has": {"class_names": ["background", "a\0b"]},
    "long name": {"class_names": ["background", "a" * 1000]},
    "equal names": {"class_names": ["thing", "thing"]},
    "epoch as text": {"epoch": "last"},
    "scores as list": {"scores": [1.0]},
    "tensor in the metadata": {"made_with": {"python": torch.zeros(2)}},
    "unknown entry": {"wings": 2},
    "weights as list": {"state": [1.0]},
    "weights as text": {"state": {"head.bias": "none"}},
    "no weights": {"state": {}},
    "format as tensor": {"format": torch.tensor([2, 2])},
}


@pytest.mark.parametrize("name", MISFITS)
def test_wrong_metadata_of_a_checkpoint_is_one_message(tmp_path, name):
    path = rewrite(write_checkpoint(tmp_path / "x.pt"), **MISFITS[name])
    started, memory = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError, match=r"x\.pt\n"):
        load_checkpoint(path)
    assert time.monotonic() - started < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 200_000  # kB


def nested_lists():
    """Return 2 ** 60 values in a small file: each list contains the previous one twice."""
    values = ["a"]
    for _ in range(60):
        values = [values, values]
    return values


@pytest.mark.parametrize("values", [nested_lists(), 10**600, bytearray(10)], ids=["bomb", "integer", "bytes"])
def test_metadata_that_is_not_plain_is_refused_at_once(tmp_path, values):
    path = rewrite(write_checkpoint(tmp_path / "x.pt"), class_names=values)
    with pytest.raises(CheckpointError, match=r"invalid metadata|in place of tensors"):
        load_checkpoint(path)


def without_memory(state):
    return {name: tensor.flatten()[:1].clone()[0].expand(tensor.shape) for name, tensor in state.items()}


def shared(state):
    values = state["down.0.1.weight"]
    return {**state, "down.0.1.bias": values}


def with_value(value):
    return lambda state: {**state, "head.bias": torch.tensor([value])}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_memory, "not stored value by value"),
        (shared, "share their values"),
        (lambda state: {**state, "head.weight": state["head.weight"].transpose(2, 3)}, "head.weight is not stored"),
        (lambda state: {**state, "head.weight": state["head.weight"].to("meta")}, "meta_tensor_no_storage in place of"),
        (lambda state: {**state, "head.bias": state["head.bias"].double()}, r"head.bias is \(1,\) float64, not"),
        (lambda state: {**state, "head.bias": state["head.bias"].to_sparse()}, "sparse_tensor in place of"),
        (lambda state: {**state, "head.bias": torch.zeros(3)}, r"head.bias is \(3,\) float32, not \(1,\) float32"),
        (lambda state: {**state, "tail": torch.zeros(3)}, "tail is not in the network"),
        (lambda state: {key: state[key] for key in state if key != "head.bias"}, "head.bias is missing"),
        (with_value(float("nan")), r"NaN or infinite\): head.bias"),
        (with_value(float("inf")), r"NaN or infinite\): head.bias"),
    ],
)
def test_weights_that_the_network_cannot_use_are_named(tmp_path, change, message):
    path = change_weights(write_checkpoint(tmp_path / "x.pt"), change)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(path)


def test_weights_in_another_order_are_used(tmp_path):
    path = write_checkpoint(tmp_path / "x.pt")
    state = load_checkpoint(path).state
    change_weights(path, lambda state: OrderedDict(reversed(state.items())))
    assert all(torch.equal(tensor, state[name]) for name, tensor in load_checkpoint(path).state.items())


@pytest.mark.parametrize("network", NETWORKS)
def test_checkpoint_of_every_network_is_read(tmp_path, network):
    widths = {"widths": [2, 2]} if "widths" in network.model_fields else {"width": 4}
    info = CheckpointInfo.model_validate(
        {**METADATA, "model": {"name": network.model_fields["name"].annotation.__args__[0], **widths}}
    )
    weights = build_model(info.model, in_channels=3, out_channels=1).state_dict()
    save_checkpoint(tmp_path / "x.pt", info, weights)
    assert equal(load_checkpoint(tmp_path / "x.pt").state, dict(weights))


def repack(path, pack):
    """Write a checkpoint again, record by record."""
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        pack(archive, records)
    path.write_bytes(buffer.getvalue())


def compressed(archive, records):
    for name, contents in records.items():
        archive.writestr(name, contents, zipfile.ZIP_DEFLATED)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def doubled(archive, records):
    for name, contents in [*records.items(), *records.items()]:
        archive.writestr(name, contents)


def with_allocation(archive, records):
    for name, contents in records.items():
        pickled = b"\x80\x02cbuiltins\nbytearray\nJ\x00\x00\x00\x7f\x85R."  # bytearray(2 GB)
        archive.writestr(name, pickled if name.endswith("data.pkl") else contents)


def without_values(archive, records):
    for name, contents in records.items():
        archive.writestr(name, contents[:1] if "/data/" in name else contents)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("pack", [compressed, doubled, without_values, with_allocation])
def test_checkpoint_of_other_records_is_refused(tmp_path, pack):
    path = write_checkpoint(tmp_path / "x.pt")
    repack(path, pack)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError, match="damaged or no checkpoint"):
        load_checkpoint(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 200_000  # kB


@pytest.mark.parametrize("path", ["/dev/zero", "/dev", "/dev/null"])
def test_checkpoint_that_is_no_file_is_refused(tmp_path, path):
    (tmp_path / "x.pt").symlink_to(path)
    with pytest.raises(CheckpointError, match=r"x\.pt\n"):
        load_checkpoint(tmp_path / "x.pt")


def test_checkpoint_without_permission_is_not_called_damaged(tmp_path, monkeypatch):
    path = write_checkpoint(tmp_path / "x.pt")

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(zipfile, "ZipFile", refuse)  # root may read any file
    with pytest.raises(CheckpointError, match=r"chmod u\+r"):
        load_checkpoint(path)
