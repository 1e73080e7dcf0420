import fcntl
import json
import pickle
import shutil
import subprocess
import sys
import time
import tracemalloc
from collections import Counter
from contextlib import closing
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
import tifffile
import yaml
from rawfiles import add_drive, make_drive, make_tgs
from shardfiles import edited
from sources import opened, preparation, source

from pipeline.core.digests import file_digest
from pipeline.core.errors import RawDataError, ShardError
from pipeline.raw import inspect
from pipeline.raw.decode import image
from pipeline.raw.digests import joint_digest, sample_digest
from pipeline.shards import prepare as prepare_module
from pipeline.shards.read import ShardReader
from pipeline.shards.recipes import ShardRecipe
from pipeline.shards.write import build_shard

ROOT = Path(__file__).parents[2]
RNG = np.random.default_rng(0)


def build(path, root, layout="drive", split="train", number=0, source_options=(), **changes):
    """Build a shard; `source_options` are further settings of its source."""
    options = {key: changes.pop(key) for key in ("threads", "raw_digest") if key in changes}
    settings = preparation(**{"size": [48, 40], "storage": "float16", **changes})
    recipe = settings.to(
        ShardRecipe, dataset="d", split=split, source=source(layout, root, test="official", **dict(source_options))
    )
    build_shard(recipe, number=number, output=path, **options)
    return path


def test_shard_is_self_describing(tmp_path, drive):
    with h5py.File(build(tmp_path / "a.h5", drive)) as file:
        assert file["images"].shape == (6, 3, 48, 40)
        assert file["images"].dtype == np.float16
        assert file["masks"].shape == file["fov"].shape == (6, 1, 48, 40)
        assert set(np.unique(file["masks"])) == {0, 1}
        assert file["ids"].asstr()[:].tolist() == ["21", "22", "23", "24", "25", "26"]
        np.testing.assert_array_equal(file["original_size"], [[70, 60]] * 6)
        assert len(set(file["source_sha256"][:])) == 6
        attributes = dict(file.attrs)
        for name in ("images", "masks", "fov", "ids", "scale", "offset", "original_size", "source_sha256"):
            assert file[name].fletcher32, name
        image = file["images"][:] * file["scale"][:][:, :, None, None]
        assert image.min() >= 0
        assert image.max() <= 1
    assert attributes["schema_version"] == 3
    assert not attributes["native"]
    assert (attributes["dataset"], attributes["split"], attributes["layout"]) == ("d", "train", "drive")
    assert attributes["size"].tolist() == [48, 40]
    assert json.loads(attributes["normalization"]) == {"method": "minmax"}
    assert json.loads(attributes["class_names"]) == ["background", "vessel"]
    assert attributes["mask_kind"] == "index"
    assert attributes["ignore_value"] == 255
    assert attributes["interpolation_mask"] == "area"
    assert attributes["origin"] == "raw files"
    assert len(attributes["sources_sha256"]) == 64
    assert "fingerprint" not in attributes, "the fingerprint belongs to the manifest: equal shards have equal bytes"


def test_shard_bytes_do_not_depend_on_time_path_and_threads(tmp_path, drive):
    first = build(tmp_path / "a.h5", drive).read_bytes()
    time.sleep(1.1)
    elsewhere = tmp_path / "elsewhere" / "b.h5"
    assert build(elsewhere, drive).read_bytes() == first
    assert build(tmp_path / "threads.h5", drive, threads=3).read_bytes() == first


def test_one_formula_decodes_all_storage_types(tmp_path, drive):
    images = {}
    for storage in ("float32", "float16", "uint8"):
        reader = ShardReader([build(tmp_path / f"{storage}.h5", drive, storage=storage)])
        scale, offset = (reader.column(name)[:, :, None, None] for name in ("scale", "offset"))
        assert reader.read_all("images").dtype == storage
        images[storage] = reader.read_all("images").astype(np.float32) * scale + offset
    np.testing.assert_array_equal(images["uint8"], images["float32"])
    np.testing.assert_allclose(images["float16"], images["float32"], atol=3e-4)


def test_auto_stores_exact_images_in_bytes_if_all_have_8_bits(tmp_path, drive):
    assert ShardRecipe.model_fields["storage"].default == "auto"
    automatic = build(tmp_path / "a.h5", drive, storage="auto")
    assert automatic.read_bytes() == build(tmp_path / "b.h5", drive, storage="uint8").read_bytes()
    tifffile.imwrite(drive / "training/images/24_training.tif", RNG.integers(0, 65536, (70, 60, 3), dtype=np.uint16))
    mixed = build(tmp_path / "c.h5", drive, storage="auto")
    assert mixed.read_bytes() == build(tmp_path / "d.h5", drive, storage="float32").read_bytes()


def test_shards_of_8_and_16_bit_images_are_read_together(tmp_path, drive):
    more = {"source_options": {"shards": 2}, "normalize": "unit"}
    numbers = [*opened("d", "drive", drive, shards=2, test="official").shard_members("train")]
    tifffile.imwrite(drive / "training/images/24_training.tif", RNG.integers(0, 65536, (70, 60, 3), dtype=np.uint16))
    images = {}
    for storage in ("auto", "float32"):
        paths = [build(tmp_path / f"{storage}{n}.h5", drive, number=n, storage=storage, **more) for n in numbers]
        with ShardReader(paths) as reader, ShardReader(paths[::-1]) as reversed_reader:
            assert {reader.info.preparation.storage, reversed_reader.info.preparation.storage} == {"float32"}
            assert {reader.read_array("images", row).dtype for row in range(6)} == {np.dtype("float32")}
            scale, offset = (reader.column(part)[:, :, None, None] for part in ("scale", "offset"))
            images[storage] = reader.read_all("images") * scale + offset
            assert reader.nbytes() == 6 * 48 * 40 * (3 * 4 + 2)
            if storage == "auto":
                assert {reader._open(path)["images"].dtype.name for path in paths} == {"uint8", "float32"}
    np.testing.assert_array_equal(images["auto"], images["float32"])


@pytest.mark.parametrize("config", ["config/tutorials.yaml", "config/tutorials-quick.yaml"])
def test_uint8_gives_the_networks_of_the_tutorials_exact_images(tmp_path, drive, config):
    """The images equal those of float32, bit for bit; float16 would round them."""
    from torch import from_numpy

    datasets = yaml.safe_load((ROOT / config).read_text())["datasets"]
    assert {settings["storage"] for settings in datasets.values()} == {"uint8"}
    for name, settings in datasets.items():
        changes = {key: settings[key] for key in ("channels", "interpolation", "normalize") if key in settings}
        images = {}
        for storage in ("float32", "uint8"):
            with ShardReader([build(tmp_path / f"{name}-{storage}.h5", drive, storage=storage, **changes)]) as reader:
                scale, offset = (from_numpy(reader.column(part))[:, :, None, None] for part in ("scale", "offset"))
                images[storage] = from_numpy(reader.read_all("images")).float() * scale + offset  # as in training
        assert images["uint8"].equal(images["float32"])


def test_soft_masks_are_stored_unchanged(tmp_path, tgs):
    from pipeline.images.png import write_png

    write_png(tgs / "train/masks/tile001.png", np.full((101, 101), 77, np.uint8))
    path = build(tmp_path / "a.h5", tgs, layout="tgs", source_options={"mask_kind": "soft"})
    with h5py.File(path) as file:
        assert file.attrs["mask_kind"] == "soft"
        assert file.attrs["interpolation_mask"] == "area"
        assert "ignore_value" not in file.attrs
        assert file["masks"][1].min() == file["masks"][1].max() == 77
        assert file["masks"][2].max() == 255
    with pytest.raises(RawDataError, match="77"):
        build(tmp_path / "b.h5", tgs, layout="tgs")


def test_unlabelled_shard_has_no_masks_and_keeps_depths(tmp_path, tgs):
    with h5py.File(build(tmp_path / "u.h5", tgs, layout="tgs", split="unlabelled", channels="grey")) as file:
        assert "masks" not in file
        assert file["images"].shape == (2, 1, 48, 40)
        assert file["metadata/depth"][:].tolist() == [112.0, 113.0]


def test_blank_image_is_stored_as_zeros(tmp_path, tgs):
    with h5py.File(build(tmp_path / "a.h5", tgs, layout="tgs")) as file:
        assert file["ids"].asstr()[0] == "tile000"
        assert not file["images"][0].any()
        assert np.isfinite(file["images"][:]).all()


def test_all_bad_files_are_listed_and_no_shard_is_written(tmp_path, drive):
    from rawfiles import write_gif

    image = drive / "training/images/21_training.tif"
    image.write_bytes(image.read_bytes()[:-2000])
    write_gif(drive / "training/1st_manual/23_manual1.gif", np.zeros((70, 99), np.uint8))
    write_gif(drive / "training/1st_manual/26_manual1.gif", np.full((70, 60), 9, np.uint8))
    with pytest.raises(RawDataError) as caught:
        build(tmp_path / "out" / "a.h5", drive)
    assert len(caught.value.problems) == 3
    for name in ("21_training.tif", "23_manual1.gif", "26_manual1.gif"):
        assert name in str(caught.value)
    assert list((tmp_path / "out").iterdir()) == []


def raw_digest_of(layout, root, options=None, split="train"):
    samples = opened("d", layout, root, options, test="official").shard_members(split)[0]
    files = {path for sample in samples for path in sample.files}
    digests = {path: file_digest(path) for path in files}
    return joint_digest(samples, [sample_digest(sample, sample.files, digests) for sample in samples])


@pytest.mark.parametrize("change", ["contents", "names", "samples"])
def test_raw_files_changed_after_planning_are_an_error(tmp_path, drive, change):
    planned = raw_digest_of("drive", drive)
    plain = build(tmp_path / "plain.h5", drive).read_bytes()
    assert build(tmp_path / "a.h5", drive, raw_digest=planned).read_bytes() == plain
    images = [drive / f"training/images/{number}_training.tif" for number in (21, 22)]
    if change == "contents":
        images[0].write_bytes(images[1].read_bytes())
    elif change == "names":  # two images swapped: the same file contents, but other samples
        first, second = (path.read_bytes() for path in images)
        images[0].write_bytes(second)
        images[1].write_bytes(first)
    else:
        add_drive(drive, "training", 31)
    with pytest.raises(RawDataError, match="changed after the shard was planned") as caught:
        build(tmp_path / "out/b.h5", drive, raw_digest=planned)
    assert "run snakemake again" in str(caught.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_digests_of_stack_pages_are_not_compared(tmp_path):
    for name in ("images", "masks"):
        (tmp_path / "raw" / name).mkdir(parents=True)
        pages = np.zeros((3, 16, 16), np.uint8)
        pages[:, :8] = 255 if name == "masks" else 70
        tifffile.imwrite(tmp_path / f"raw/{name}/a.tif", pages, photometric="minisblack")
    test_rule = {"test": {"rule": "fraction", "fraction": 0.34, "seed": 0}}
    sample_source = source("folder", tmp_path / "raw", {"pages": "samples"}, **test_rule)
    recipe = preparation(size=[32, 32]).to(ShardRecipe, dataset="d", split="train", source=sample_source)
    build_shard(recipe, number=0, output=tmp_path / "a.h5", raw_digest="digest of the whole files")
    assert len(ShardReader([tmp_path / "a.h5"])) == 2


def test_native_size_requires_images_of_one_size(tmp_path, drive):
    with h5py.File(build(tmp_path / "a.h5", drive, size="native")) as file:
        assert file["images"].shape == (6, 3, 70, 60)
    add_drive(drive, "training", 31, height=80, width=64)
    with pytest.raises(RawDataError, match="64x80 pixels") as caught:
        build(tmp_path / "b.h5", drive, size="native")
    assert "60x70 pixels" in str(caught.value)
    assert not (tmp_path / "b.h5").exists()


def test_memory_use_does_not_grow_with_the_data_set(tmp_path):
    def peak(count):
        root = make_tgs(tmp_path / f"raw{count}", labelled=count, unlabelled=1)
        build(tmp_path / "warm.h5", root, layout="tgs", size=[256, 256])
        tracemalloc.start()
        build(tmp_path / f"{count}.h5", root, layout="tgs", size=[256, 256])
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    few, many = peak(60), peak(180)
    # 60 samples take 24 MB and 180 take 71 MB; only a few samples are in memory at a time
    assert many < 2 * few
    assert many < (tmp_path / "180.h5").stat().st_size / 5


def test_shards_read_as_one_sequence(tmp_path):
    root = make_drive(tmp_path / "DRIVE", training=12)
    single = ShardReader([build(tmp_path / "single.h5", root)])
    paths = []
    for number in range(3):
        try:
            paths.append(build(tmp_path / f"{number}.h5", root, number=number, source_options={"shards": 3}))
        except RawDataError as error:
            assert "no samples in shard" in str(error)  # noqa: PT017
    parts = ShardReader(paths)
    assert len(paths) > 1
    assert len(parts) == len(single) == 12
    row_of = {name: row for row, name in enumerate(parts.column("ids"))}
    for row, name in enumerate(single.column("ids")):
        np.testing.assert_array_equal(parts.read_array("images", row_of[name]), single.read_array("images", row))
        np.testing.assert_array_equal(parts.read_all("masks")[row_of[name]], single.read_array("masks", row))
    unpickled = pickle.loads(pickle.dumps(parts))  # as for another process: open handles are not pickled
    np.testing.assert_array_equal(unpickled.read_array("fov", 5), parts.read_array("fov", 5))


def test_damaged_shard_raises_an_error_with_remedy(tmp_path, drive):
    path = build(tmp_path / "a.h5", drive)
    data = bytearray(path.read_bytes())
    with h5py.File(path) as file:
        position = file["images"].id.get_chunk_info(3).byte_offset + file.userblock_size + 100
    data[position] ^= 0xFF
    reader = ShardReader([path])
    path.write_bytes(data)
    reader.read_array("images", 2)
    for read in (lambda: reader.read_array("images", 3), lambda: reader.read_all("images")):
        with pytest.raises(ShardError, match="damaged contents") as caught:
            read()
        assert "snakemake" in str(caught.value)


def test_all_inconsistent_shards_are_listed(tmp_path, drive):
    good = build(tmp_path / "good.h5", drive)
    other = build(tmp_path / "other.h5", drive, size=[32, 32])
    torn = tmp_path / "torn.h5"
    torn.write_bytes(good.read_bytes()[:5000])
    old = tmp_path / "old.h5"
    shutil.copy(good, old)
    with edited(old) as file:
        file.attrs["schema_version"] = 0
    with pytest.raises(ShardError) as caught:
        ShardReader([good, other, torn, old, tmp_path / "gone.h5"])
    text = str(caught.value)
    for name in ("other.h5", "torn.h5", "old.h5", "gone.h5"):
        assert name in text
    assert len(caught.value.problems) == 4


def test_locked_shard_can_be_read(tmp_path, drive):
    path = build(tmp_path / "a.h5", drive)
    with path.open("rb+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with closing(ShardReader([path])) as reader:
            assert reader.read_all("images").shape[0] == len(reader) > 0
            assert reader.source_digests().keys() == {str(path)}


def test_the_shard_describes_the_values_of_its_images(tmp_path, drive):
    paths = [build(tmp_path / f"{split}.h5", drive, split=split) for split in ("train", "test")]
    with ShardReader(paths) as reader:
        values = reader.image_values()
        images = reader.read_all("images").astype(np.float32)
    assert values.dtypes == ("uint8",)
    assert values.images == len(images)
    assert values.mean == pytest.approx(images.mean(), abs=1e-3)
    low, high = np.percentile(images, (0.5, 99.5), axis=(1, 2, 3))
    assert (values.low, values.high) == pytest.approx((low.min(), high.max()), abs=0.01)


def test_the_shard_job_names_images_with_a_hot_pixel(tmp_path, drive, capsys):
    build(tmp_path / "a.h5", drive)
    assert "almost constant" not in capsys.readouterr().err
    pixels = np.random.default_rng(1).integers(10, 460, (70, 60, 3), dtype=np.uint16)
    pixels[3, 4] = 65535
    tifffile.imwrite(drive / "training/images/22_training.tif", pixels)
    build(tmp_path / "b.h5", drive, storage="float32", size="native")
    log = capsys.readouterr().err
    assert log.count("almost constant") == 1
    assert "1 of 6 images" in log
    assert "22_training.tif: 99 % of the values" in log


def test_a_build_reads_decodes_and_measures_each_file_once(tmp_path, drive, monkeypatch):
    calls = Counter()

    def count(module, name):
        function = getattr(module, name)

        def counted(*arguments, **keywords):
            calls[name] += 1
            return function(*arguments, **keywords)

        monkeypatch.setattr(module, name, counted)

    for module, name in (
        (inspect, "read_bytes"),
        (image, "_decode"),
        (tifffile, "TiffFile"),
        (cv2, "calcHist"),
        (prepare_module, "resize_image"),
    ):
        count(module, name)
    build(tmp_path / "a.h5", drive, threads=2)
    # six samples of a TIFF image of three channels, a mask and a field of view
    assert calls == {"read_bytes": 18, "_decode": 18, "TiffFile": 6, "calcHist": 30, "resize_image": 6}


def test_a_shard_job_imports_no_library_that_it_does_not_use(tmp_path, drive):
    config = {"layout": "drive", "root": str(drive), "size": [48, 40], "validation": {"fraction": 0}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"datasets": {"d": config}}))
    code = (
        "import sys; from pipeline.__main__ import run; status = run(); import gc; "
        "assert gc.isenabled(); print(*sorted({name.partition('.')[0] for name in sys.modules})); sys.exit(status)"
    )
    command = [sys.executable, "-c", code, *["shard", "--dataset", "d", "--split", "train", "--number", "0"]]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    unused = {"matplotlib", "pandas", "psutil", "scipy", "torch", "jinja2", "snakemake"}
    assert not unused & set(done.stdout.split())
