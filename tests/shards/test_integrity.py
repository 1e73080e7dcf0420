import json
import math
import shutil
from collections import Counter

import h5py
import numpy as np
import pytest
from rawfiles import make_drive
from shardfiles import edited, reseal
from sources import preparation, source

from pipeline.core.errors import ShardError
from pipeline.core.fingerprint import Fingerprint
from pipeline.core.manifest import Manifest
from pipeline.raw.decode.containers import MAX_PIXELS
from pipeline.shards.integrity import HEADER_BYTES
from pipeline.shards.read import ShardReader
from pipeline.shards.recipes import ShardRecipe
from pipeline.shards.select import Selection
from pipeline.shards.write import build_shard


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    """Return a shard of six samples with masks and fields of view."""
    folder = tmp_path_factory.mktemp("intact")
    settings = preparation(size=[32, 40], storage="uint8")
    recipe = settings.to(
        ShardRecipe, dataset="d", split="train", source=source("drive", make_drive(folder / "DRIVE"), test="official")
    )
    build_shard(recipe, number=0, output=folder / "a.h5")
    return folder / "a.h5"


@pytest.fixture
def shard(intact, tmp_path):
    """Return a copy of the shard that may be changed."""
    return shutil.copy(intact, tmp_path / "a.h5")


def refusal(path):
    """Return the message with which a shard is refused, before any data are read."""
    with pytest.raises(ShardError) as caught:
        ShardReader([path])
    assert str(path) in str(caught.value)
    assert "delete" not in str(caught.value), "the pipeline may not have written this file"
    return str(caught.value)


def replaced(file, name, **options):
    """Store a data set anew with other options."""
    values = file[name][:]
    del file[name]
    file.create_dataset(name, **{"shape": values.shape, "dtype": values.dtype, **options})
    if "external" not in options:
        file[name][...] = np.resize(values, file[name].shape)


def external_storage(file, folder):
    (folder / "secret.txt").write_text("secret" * 10_000)
    replaced(file, "images", external=[(str(folder / "secret.txt"), 0, h5py.h5f.UNLIMITED)])


def external_link(file, folder):
    with h5py.File(folder / "other.h5", "w") as other:
        other["masks"] = file["masks"][:]
    del file["masks"]
    file["masks"] = h5py.ExternalLink(str(folder / "other.h5"), "masks")


def dangling_link(file, folder):
    del file["masks"]
    file["masks"] = h5py.ExternalLink(str(folder / "gone.h5"), "masks")


def soft_link(file, _):
    del file["fov"]
    file["fov"] = h5py.SoftLink("/masks")


def link_of_metadata(file, _):
    file["metadata"] = h5py.SoftLink("/")


def virtual_dataset(file, folder):
    with h5py.File(folder / "other.h5", "w") as other:
        other["images"] = file["images"][:]
    layout = h5py.VirtualLayout(shape=file["images"].shape, dtype="uint8")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "images", shape=file["images"].shape)
    del file["images"]
    file.create_virtual_dataset("images", layout)


def huge_shape(file, _):
    del file["images"]
    file.create_dataset("images", (10**9, 3, 32, 40), "uint8", chunks=(1, 3, 32, 40), fletcher32=True)


def huge_images(file, _):
    for name, channels in (("images", 3), ("masks", 1), ("fov", 1)):
        del file[name]
        shape = (channels, 10**6, 10**6)
        file.create_dataset(name, (6, *shape), "uint8", chunks=(1, channels, 32, 40), fletcher32=True)


def missing_chunks(file, _):
    del file["masks"]
    file.create_dataset("masks", (6, 1, 32, 40), "uint8", chunks=(1, 1, 32, 40), fletcher32=True)


def chunk_without_checksum(file, _):
    file["images"].id.write_direct_chunk((0, 0, 0, 0), bytes(3 * 32 * 40), filter_mask=0xFFFFFFFF)


def attribute(name, value):
    def change(file, _):
        file.attrs[name] = value

    return change


def dataset(name, **options):
    return lambda file, _: replaced(file, name, **options)


def column(name, *values):
    """Store the first values of a column anew."""

    def change(file, _):
        stored = [*values, *file[name][len(values) :]]
        del file[name]
        data = np.array(stored, None if name == "ids" else np.float32 if name == "scale" else np.int32)
        file.create_dataset(name, data=data, chunks=data.shape, fletcher32=True)

    return change


WHOLE = {"chunks": (1, 3, 32, 40), "fletcher32": True}
HOSTILE = {
    "external storage": (external_storage, "another file"),
    "external link": (external_link, "link"),
    "dangling link": (dangling_link, "link"),
    "soft link": (soft_link, "link"),
    "link of metadata": (link_of_metadata, "link"),
    "virtual data set": (virtual_dataset, "chunks of this file"),
    "contiguous": (dataset("images"), "chunks of this file"),
    "no checksum": (dataset("images", chunks=(1, 3, 32, 40)), "filters none"),
    "mask without checksum": (dataset("masks", chunks=(1, 1, 32, 40), compression="gzip"), "Fletcher-32"),
    "column without checksum": (dataset("scale"), "chunks of this file"),
    "another filter": (dataset("images", **WHOLE, compression="lzf"), "filters"),
    "shuffled": (dataset("images", **WHOLE, shuffle=True), "filters"),
    "other chunks": (dataset("images", chunks=(6, 3, 32, 40), fletcher32=True), "chunks of shape"),
    "another type": (dataset("images", dtype="float64", **WHOLE), "type float64"),
    "big endian": (dataset("images", dtype=">f4", **WHOLE), "type >f4"),
    "mask of another type": (dataset("masks", dtype="int8", chunks=(1, 1, 32, 40), fletcher32=True), "type int8"),
    "mask of another size": (
        dataset("masks", shape=(6, 1, 32, 41), chunks=(1, 1, 32, 41), fletcher32=True),
        "(6, 1, 32, 41)",
    ),
    "fewer identifiers": (dataset("ids", shape=(5,), chunks=(5,), fletcher32=True), "(5,)"),
    "huge shape": (huge_shape, "shape (6,"),
    "huge images": (huge_images, "images of shape"),
    "missing chunks": (missing_chunks, "0 chunks"),
    "chunk without checksum": (chunk_without_checksum, "without a checksum"),
    "additional data": (lambda file, _: file.create_dataset("more", data=[1]), "unknown data sets more"),
    "additional group": (lambda file, _: file.create_group("more"), "no data set"),
    "no scale": (lambda file, _: file.__delitem__("scale"), "no scale"),
    "no images": (lambda file, _: file.__delitem__("images"), "images"),
    "no size": (lambda file, _: file.attrs.__delitem__("size"), "attribute"),
    "another version": (attribute("schema_version", 2), "schema version 2"),
    "no classes": (attribute("class_names", "[]"), "at least 2 items"),
    "classes that are no text": (attribute("class_names", json.dumps([1, 2])), "valid string"),
    "unknown kind of mask": (attribute("mask_kind", "other"), "'index' or 'soft'"),
    "unknown normalization": (attribute("normalization", '{"method": "other"}'), "minmax"),
    "unknown channels": (attribute("channels", "cmyk"), "cmyk"),
    "no pixels": (column("original_size", [5, 5], [0, 7]), "original sizes [0, 7])"),
    "negative size": (column("original_size", [-5, -5]), "original sizes [-5, -5])"),
    "huge size": (column("original_size", [16384, 16385], [2**31 - 1, 2**31 - 1]), "sizes [16384, 16385], [2147483647"),
    "empty identifier": (column("ids", b""), "no file names: ''"),
    "dot as identifier": (column("ids", b"x", b"."), "no file names: '.'"),
    "path as identifier": (column("ids", b"../x"), "no file names: '../x'"),
    "identifier with a zero": (column("ids", b"x\0y"), "no file names"),
    "identifier in another encoding": (column("ids", b"\xff\xfe"), "codec"),
    "long identifier": (column("ids", b"x" * 252), "'ids' of shape"),
    "repeated identifiers": (column("ids", b"x", b"x"), "repeated identifiers: 'x'"),
    "scale that is not finite": (column("scale", [np.nan, 1, 1]), "'scale' that are not finite"),
}


@pytest.mark.parametrize(("change", "message"), HOSTILE.values(), ids=HOSTILE)
def test_shards_of_another_structure_are_refused(shard, change, message):
    with edited(shard) as file:
        change(file, shard.parent)
    assert message in refusal(shard)


@pytest.mark.parametrize("size", [(1, 2**28), (16384, 16384)])
def test_sizes_of_raw_images_are_no_damage(shard, size):
    assert math.prod(size) == MAX_PIXELS
    with edited(shard) as file:
        column("original_size", size)(file, None)
    ShardReader([shard]).close()


@pytest.mark.parametrize(
    "read", [lambda reader, name: reader.read_all(name), lambda *args: args[0].read_array(args[1], 4)]
)
@pytest.mark.parametrize(
    ("name", "classes", "value", "found"),
    [
        ("masks", 2, 1, None),
        ("masks", 2, 255, None),
        ("masks", 2, 2, "masks with the values 2"),
        ("masks", 2, 254, "masks with the values 254"),
        ("masks", 5, 4, None),
        ("masks", 5, 5, "masks with the values 5"),
        ("masks", 254, 254, "masks with the values 254"),
        ("masks", 255, 254, None),
        ("masks", None, 200, None),
        ("fov", 2, 1, None),
        ("fov", 2, 7, "fov with the values 7"),
        ("images", 2, 7, None),
    ],
)
def test_values_that_masks_cannot_have_are_refused(shard, read, name, classes, value, found):
    with edited(shard) as file:
        file[name][4, 0, 3, 5] = value
        file.attrs["class_names"] = json.dumps([str(number) for number in range(classes or 2)])
        file.attrs["mask_kind"] = "index" if classes else "soft"
    with ShardReader([shard]) as reader:
        if found is None:
            read(reader, name)
            return
        with pytest.raises(ShardError, match=found) as caught:
            read(reader, name)
        assert str(shard) in str(caught.value)


def test_a_shard_number_that_is_no_number_is_refused(shard):
    with ShardReader([shard]) as reader:
        ids = reader.column("ids").tolist()
    with edited(shard) as file:
        file.attrs["shard"] = "x"
    with pytest.raises(ShardError, match="damaged contents"):
        ShardReader([shard], Selection(ids, ids))


def test_a_link_to_itself_is_no_shard(shard):
    Manifest.describe(Fingerprint("shard", {}, {}, {}, made_from={}), [shard]).write(shard)
    shard.unlink()
    shard.symlink_to(shard.name)
    with pytest.raises(ShardError, match="symbolic links"):
        ShardReader([shard])


def test_the_target_of_a_link_is_never_to_be_deleted(shard, tmp_path):
    Manifest.describe(Fingerprint("shard", {}, {}, {}, made_from={}), [shard]).write(shard)
    shard.rename(tmp_path / "archived.h5")
    with (tmp_path / "archived.h5").open("ab") as file:
        file.write(b"X")
    shard.symlink_to("archived.h5")
    with pytest.raises(ShardError, match="delete the link and run") as caught:
        ShardReader([shard])
    assert "archived" not in caught.value.problems[0].remedy


@pytest.mark.parametrize(
    ("position", "message"),
    [(3, "first bytes"), (200, "first bytes"), (HEADER_BYTES + 40, "checksum"), (-1, "checksum"), (5000, "checksum")],
)
def test_every_changed_byte_is_noticed_before_hdf5_reads(shard, position, message, monkeypatch):
    data = bytearray(shard.read_bytes())
    data[position] ^= 4
    shard.write_bytes(data)
    monkeypatch.setattr("h5py.File", None)
    assert message in refusal(shard)


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"", "empty file"),
        (b"# Notes", "starts with b'# Notes'"),
        (b"\x89HDF\r\n\x1a\n" + bytes(600), "another program, or a shard of another version"),
    ],
)
def test_files_that_are_no_shards_are_named_as_what_they_are(tmp_path, contents, message):
    (tmp_path / "a.h5").write_bytes(contents)
    assert message in refusal(tmp_path / "a.h5")


def test_a_cut_shard_names_both_sizes(shard):
    size = shard.stat().st_size
    shard.write_bytes(shard.read_bytes()[:-100])
    assert f"{size - 100} bytes of {size}" in refusal(shard)


def test_a_shard_open_for_writing_is_named_as_such(shard):
    with h5py.File(shard, "r+", libver="latest") as file:
        file.swmr_mode = True
        assert "another program has open for writing" in refusal(shard)
    data = shard.read_bytes()
    reseal(shard)
    assert shard.read_bytes() == data, "closing it restores the bytes"
    ShardReader([shard]).close()


def test_the_checksum_is_verified_once_for_each_state_of_a_file(shard, monkeypatch):
    calls = Counter()
    original = __import__("pipeline.shards.integrity", fromlist=["_checksum"])._checksum
    monkeypatch.setattr("pipeline.shards.integrity._checksum", lambda file: (calls.update(["read"]), original(file))[1])
    for _ in range(3):
        ShardReader([shard]).close()
    assert calls["read"] == 1
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    refusal(shard)
    assert calls["read"] == 2
