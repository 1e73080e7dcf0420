import math
import os
import shutil
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from rawfiles import blobs, make_tgs, write_gif, write_tif
from shardfiles import edited
from sources import source
from untrained import (
    CLASSES,
    build,
    checkpoint,
    load,
    network_of,
    predict_folder,
    predict_shard,
    predict_shards,
    probabilities,
    read,
)

from pipeline.cli import main as cli
from pipeline.core.counts import to_levels
from pipeline.core.errors import CheckpointError, ConfigError, OutputError, PredictionError, RawDataError, ShardError
from pipeline.core.fine_levels import as_levels, quantize
from pipeline.images.colours import overlay_classes, paint
from pipeline.images.figures import VOID_GREY
from pipeline.images.png import read_levels, read_probability, write_png
from pipeline.prediction import batches, new_images
from pipeline.prediction import network as networks
from pipeline.prediction.bands import class_indices, native_bands
from pipeline.prediction.listing import IMAGE_EXTENSIONS, list_images
from pipeline.prediction.recipes import SourcedThreshold, Tiles
from pipeline.raw.decode.palette import COLOURS
from pipeline.training.checkpoint import load_checkpoint
from pipeline.training.device import choose_device, choose_precision

U2NET = {"name": "u2net-lite", "width": 8}


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def shard(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shard")
    return build(folder / "u.h5", "unlabelled", source("tgs", make_tgs(folder / "TGS", unlabelled=5)))


# -- the network -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["sigmoid", "clip"])
def test_u2net_logits_use_activation_of_checkpoint(tmp_path, activation):
    path = checkpoint(tmp_path / "c.pt", activation=activation, **U2NET)
    saved = load_checkpoint(path)
    model = network_of(saved.info)
    model.load_state_dict(saved.state)
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        logits = model.eval().logits(x)[0]
    expected = torch.sigmoid(logits) if activation == "sigmoid" else logits.clamp(0, 1)
    torch.testing.assert_close(probabilities(load(path), x), expected)


def test_weights_of_another_network_are_refused(tmp_path):
    other = load_checkpoint(checkpoint(tmp_path / "c.pt", width=8))
    path = checkpoint(tmp_path / "c.pt", weights=other.state)
    with pytest.raises(CheckpointError, match="weights that do not fit"):
        load(path)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"model": {"name": "unet", "width": 4, "depth": 3, "wings": 2}},
            "model.unet.wings Extra inputs are not permitted",
        ),
        ({"model": {"name": "resnet"}}, "'unet', 'unet-original', 'unet-small', 'unet-crop'"),
        ({"model": 3}, "invalid metadata"),
        ({"in_channels": -3}, "invalid metadata"),
        ({"out_channels": "one"}, "invalid metadata"),
        ({"settings": {}}, "invalid metadata"),
        ({"state": [1.0]}, "weights that do not fit"),
        ({"activation": "tanh"}, "'clip', 'sigmoid' or 'softmax'"),
        ({"class_names": ["background", ".."]}, "names that are valid folder names"),
        ({"class_names": ["background", "one", "two"]}, "2 names that are valid folder names"),
    ],
)
def test_checkpoints_that_describe_no_network_are_refused(tmp_path, wrong, message):
    path = checkpoint(tmp_path / "c.pt")
    torch.save({**torch.load(path, weights_only=True), **wrong}, path)
    with pytest.raises(CheckpointError, match=message):
        load(path)


def test_nan_probabilities_are_refused(tmp_path, shard):
    path = checkpoint(tmp_path / "c.pt")
    weights = load_checkpoint(path).state
    weights["down.0.1.running_var"].fill_(-1.0)
    with pytest.raises(PredictionError, match="not numbers"):
        predict_shard(checkpoint(path, weights=weights), shard, tmp_path / "p")
    assert not (tmp_path / "p").exists()


def test_identifiers_that_are_not_file_names_are_refused(tmp_path, shard):
    path, named = checkpoint(tmp_path / "c.pt"), Path(shutil.copy(shard, tmp_path / "u.h5"))
    with edited(named) as file:
        del file["ids"]
        names = [b"../outside", *(b"tile%d" % number for number in range(len(file["images"]) - 1))]
        values = np.array(names, dtype=h5py.string_dtype("utf-8", 16))
        file.create_dataset("ids", data=values, chunks=values.shape, fletcher32=True)
    with pytest.raises(ShardError, match=r"u\.h5[\s\S]*'\.\./outside'"):
        predict_shard(path, named, tmp_path / "p")
    with pytest.raises(ShardError, match="a unique identifier without"):
        predict_shards(path, [shard, shard], tmp_path / "p")
    assert not (tmp_path / "p").exists()


def test_log_names_the_precision_in_use(tmp_path, shard, capfd):
    predict_shard(checkpoint(tmp_path / "c.pt"), shard, tmp_path / "p", precision="auto")
    log = capfd.readouterr().err
    assert choose_precision("auto", choose_device()) in log
    assert "auto" not in log


def test_shards_of_another_normalization_are_refused(tmp_path, shard):
    path = checkpoint(tmp_path / "c.pt", preparation={"normalize": "unit"})
    with pytest.raises(CheckpointError, match=r"normalization .*unit.* while .*minmax"):
        predict_shard(path, shard, tmp_path / "p")


def test_tiles_that_do_not_fit_network_are_refused_on_loading(tmp_path):
    with pytest.raises(ConfigError, match="larger tiles"):
        load(checkpoint(tmp_path / "c.pt"), tiles=Tiles(size=(64, 64), margin=31))


UNET_CROP = {"name": "unet-crop", "widths": (4, 6, 8)}


@pytest.mark.parametrize(
    "model", [{"name": "unet-original", "width": 3, "depth": 3}, {**UNET_CROP, "padding": "mirror"}]
)
def test_tiles_of_valid_convolutions_equal_whole_image(tmp_path, model):
    path = checkpoint(tmp_path / "c.pt", classes=3, **model)
    x = torch.rand(2, 3, 77, 131)
    tiled = probabilities(load(path, tiles=Tiles(size=(84, 100))), x)
    torch.testing.assert_close(tiled, probabilities(load(path), x), atol=1e-5, rtol=0)


def test_a_network_that_stretches_its_output_predicts_one_size_only(tmp_path):
    path = checkpoint(tmp_path / "c.pt", **UNET_CROP)
    assert probabilities(load(path), torch.rand(1, 3, 48, 64)).shape == (1, 1, 48, 64)
    with pytest.raises(PredictionError, match=r"48 x 65 pixels[\s\S]*48 x 64 pixels, as in training"):
        probabilities(load(path), torch.rand(1, 3, 48, 65))
    for more in ({"tiles": Tiles(size=(48, 64))}, {"test_time": "rot90"}):
        with pytest.raises(ConfigError, match="stretches its output"):
            load(path, **more)


# -- shards ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [{}, {"test_time": "flips"}, {"tiles": {"size": [32, 32]}}])
def test_batch_size_does_not_change_predictions(tmp_path, shard, monkeypatch, more):
    path = checkpoint(tmp_path / "c.pt", classes=3)
    for name, pixels in (("one", 1), ("all", 2**20)):
        monkeypatch.setattr(batches, "PIXELS_AT_ONCE", pixels)
        predict_shard(path, shard, tmp_path / name, **more)
    for single in (tmp_path / "one").rglob("*.png"):
        batched = tmp_path / "all" / single.relative_to(tmp_path / "one")
        np.testing.assert_array_equal(read(single), read(batched))
    assert len(list((tmp_path / "all").rglob("*.png"))) == 3 * 5


def test_class_indices_are_argmax_at_native_size(tmp_path, shard):
    path = checkpoint(tmp_path / "c.pt", classes=3)
    for kind in ("mask", "probability"):
        predict_shard(path, shard, tmp_path / kind, kind=kind)
    assert sorted(part.name for part in (tmp_path / "probability").iterdir()) == sorted(CLASSES)
    predicted_classes = set()
    for file in (tmp_path / "mask").iterdir():
        mask = read_levels(file, 101, 101)
        levels = np.stack([read_levels(tmp_path / "probability" / name / file.name, 101, 101) for name in CLASSES])
        clear = np.sort(levels, axis=0)[-1] > np.sort(levels, axis=0)[-2]
        np.testing.assert_array_equal(mask[clear], levels.argmax(axis=0)[clear])
        assert np.abs(levels.sum(axis=0, dtype=int) - 255).max() <= 2
        predicted_classes |= set(np.unique(mask))
    assert predicted_classes <= {0, 1, 2}
    assert len(predicted_classes) > 1


def test_argmax_follows_resizing():
    planes = np.zeros((3, 2, 2), np.float32)
    planes[0, :, 0], planes[1, :, 1], planes[2] = 1.0, 1.0, 0.7
    indices = class_indices(np.concatenate(list(native_bands([planes], (2, 2), (8, 8))), axis=1))
    assert set(np.unique(indices)) == {0, 1, 2}  # before resizing, class 2 is the most probable nowhere
    assert set(np.unique(class_indices(planes))) == {0, 1}


def constant_checkpoint(path, logit, **more):
    """Save a network that returns the same logit for every pixel."""
    weights = load_checkpoint(checkpoint(path)).state
    for tensor in weights.values():
        tensor.zero_()
    weights["head.bias"].fill_(logit)
    return checkpoint(path, weights=weights, **more)


@pytest.mark.parametrize(("activation", "probability"), [("sigmoid", 1 / (1 + math.exp(-0.7))), ("clip", 0.7)])
def test_predictions_have_native_size_and_are_named_by_id(tmp_path, shard, activation, probability):
    predict_shard(constant_checkpoint(tmp_path / "c.pt", 0.7, activation=activation), shard, tmp_path / "p")
    assert sorted(path.name for path in (tmp_path / "p").iterdir()) == [f"tile{n:03}.png" for n in range(12, 17)]
    levels = read_levels(tmp_path / "p/tile012.png", 101, 101)
    assert (levels == to_levels(np.array(probability))).all()


@pytest.mark.parametrize("more", [{}, {"tiles": {"size": [32, 32]}}, {"size": [101, 101]}], ids=str)
def test_sixteen_bits_are_the_same_prediction_with_more_levels(tmp_path, more):
    """After resizing, in tiles, and without resizing, where a device computes levels of 8 bits."""
    size = more.pop("size", [48, 64])
    shard = build(tmp_path / "u.h5", "unlabelled", source("tgs", make_tgs(tmp_path / "TGS", unlabelled=5)), size=size)
    path = checkpoint(tmp_path / "c.pt", **U2NET)
    for bits in (8, 16):
        predict_shard(path, shard, tmp_path / f"p{bits}", probability_bits=bits, **more)
    stored = []
    for file in sorted((tmp_path / "p8").iterdir()):
        fine = read_probability(tmp_path / "p16" / file.name, 101, 101)
        assert fine.dtype == np.uint16
        np.testing.assert_array_equal(as_levels(fine), read_levels(file, 101, 101))
        stored.append(fine)
    assert len(stored) == 5
    assert len(np.unique(np.array(stored))) > 100
    predict_shard(
        constant_checkpoint(tmp_path / "c.pt", 0.7), shard, tmp_path / "constant", probability_bits=16, **more
    )
    expected = quantize(np.array(1 / (1 + math.exp(-0.7))), 16)
    assert (np.abs(read(tmp_path / "constant/tile012.png").astype(int) - expected) <= 1).all()


def test_fov_loss_predicts_zero_outside_field_of_view(tmp_path, drive):
    with_fov = build(tmp_path / "test.h5", "test", source("drive", drive, test="official"))
    for region, corner in (("fov", 0), ("full", 255)):
        predict_shard(constant_checkpoint(tmp_path / "c.pt", 9.0, region=region), with_fov, tmp_path / region)
        assert len(list((tmp_path / region).iterdir())) == 3
        for path in (tmp_path / region).iterdir():
            levels = read_levels(path, 70, 60)
            assert levels[0, 0] == corner
            assert levels[35, 30] == 255


def test_a_checkpoint_for_other_channels_is_refused(tmp_path, tgs):
    grey = build(tmp_path / "g.h5", "unlabelled", source("tgs", tgs), channels="grey")
    with pytest.raises(CheckpointError, match=r"a network for 3 channels, while .* has 1"):
        predict_shard(checkpoint(tmp_path / "c.pt"), grey, tmp_path / "p")
    assert not (tmp_path / "p").exists()


def test_a_mask_of_two_classes_needs_a_threshold_and_is_refused(tmp_path, shard):
    with pytest.raises(ConfigError, match="use `--kind probability`"):
        predict_shard(checkpoint(tmp_path / "c.pt"), shard, tmp_path / "p", kind="mask")
    assert not (tmp_path / "p").exists()


def test_test_time_views_change_a_prediction(tmp_path, shard):
    path = checkpoint(tmp_path / "c.pt")
    images = {}
    for name in ("none", "horizontal", "flips", "rot90"):
        predict_shard(path, shard, tmp_path / name, test_time=name)
        images[name] = b"".join(file.read_bytes() for file in sorted((tmp_path / name).iterdir()))
    assert len(set(images.values())) == 4


# -- new images ----------------------------------------------------------------------------------------------------


def make_images(root):
    """Write images of many formats and sizes; return (height, width) by identifier."""
    sizes = {
        "a b": (70, 60),
        "sub-deep-grey16": (33, 120),
        "sub-photo (1)": (50, 50),
        "anim": (64, 48),
        "one": (40, 90),
    }
    (root / "sub/deep").mkdir(parents=True)
    rgb = {name: blobs(number, *size)[1] for number, (name, size) in enumerate(sizes.items())}
    write_png(root / "a b.PNG", rgb["a b"])
    write_tif(root / "sub/deep/grey16.tif", rgb["sub-deep-grey16"][:, :, 0].astype(np.uint16) * 200)
    Image.fromarray(rgb["sub-photo (1)"]).save(root / "sub/photo (1).JPEG")
    write_gif(root / "anim.gif", rgb["anim"][:, :, 0])
    write_tif(root / "one.Tiff", rgb["one"], photometric="rgb")
    (root / "Thumbs.db").write_bytes(b"x")
    (root / ".hidden.png").write_bytes(b"x")
    (root / ".cache").mkdir()
    (root / ".cache/x.png").write_bytes(b"x")
    return sizes


def test_new_images_of_any_format_are_predicted_at_native_size(tmp_path, capsys):
    sizes = make_images(tmp_path / "in")
    predict_folder(tmp_path, checkpoint(tmp_path / "c.pt"))
    out = tmp_path / "out"
    assert {part.name for part in out.iterdir()} == {"probability", "mask", "overlay", "cutout", "timing.csv"}
    for name, size in sizes.items():
        levels, mask = (read_levels(out / kind / f"{name}.png", *size) for kind in ("probability", "mask"))
        np.testing.assert_array_equal(mask, np.where(levels > 127, 255, 0))
        assert read(out / "overlay" / f"{name}.png").shape == (*size, 3)
        cutout = read(out / "cutout" / f"{name}.png")
        assert cutout.shape == (*size, 4)
        np.testing.assert_array_equal(cutout[:, :, 3], mask)
    np.testing.assert_array_equal(read(out / "cutout/a b.png")[:, :, :3], read(tmp_path / "in/a b.PNG"))
    timing = pd.read_csv(out / "timing.csv").set_index("id")
    assert {name: (row["height"], row["width"]) for name, row in timing.iterrows()} == sizes
    assert (timing["network_seconds"] > 0).all()
    assert (timing["total_seconds"] > timing["network_seconds"]).all()
    assert "field of view" not in capsys.readouterr().err


def test_new_images_are_prepared_like_shards(tmp_path, shard):
    path = checkpoint(tmp_path / "c.pt")
    predict_shard(path, shard, tmp_path / "p")
    predict_folder(tmp_path, path, images=shard.parent / "TGS/test/images")
    names = {file.name for file in (tmp_path / "p").iterdir()}
    assert len(names) == 5
    for name in names:
        assert (tmp_path / "out/probability" / name).read_bytes() == (tmp_path / "p" / name).read_bytes()


@pytest.mark.parametrize("classes", [2, 3])
def test_new_images_are_decoded_by_the_options_of_training(tmp_path, classes):
    pixels = np.tile(np.arange(64, dtype=np.float32), (48, 1))
    pixels[:10] = -9999
    (tmp_path / "in").mkdir()
    tags = [(42113, "s", 0, "-9999", True), (274, "H", 1, 3, True)]
    write_tif(tmp_path / "in/a.tif", pixels, extratags=tags)
    with pytest.raises(RawDataError, match="is -9999"):
        predict_folder(tmp_path, checkpoint(tmp_path / "c.pt", classes))
    options = {"nodata": "ignore", "exif": "ignore"}
    predict_folder(tmp_path, checkpoint(tmp_path / "c.pt", classes, preparation=options))
    mask, alpha = read(tmp_path / "out/mask/a.png"), read(tmp_path / "out/cutout/a.png")[:, :, 3]
    assert (mask[:10] == (0 if classes == 2 else 255)).all()
    assert not alpha[:10].any()
    if classes == 3:
        assert (read(tmp_path / "out/colour/a.png")[:10] == VOID_GREY).all()
        assert mask[10:].max() < 3
    for path in (tmp_path / "out/probability").rglob("a.png"):
        levels = read(path)
        assert not levels[:10].any()
        assert levels[10:].any()


def test_new_images_of_several_classes_get_colours_and_legend(tmp_path):
    make_images(tmp_path / "in")
    predict_folder(tmp_path, checkpoint(tmp_path / "c.pt", classes=3), test_time="flips")
    mask, painted = (read(tmp_path / f"out/{kind}/one.png") for kind in ("mask", "colour"))
    assert set(np.unique(mask)) <= {0, 1, 2}
    np.testing.assert_array_equal(painted, np.array(COLOURS[:3], np.uint8)[mask])
    assert read(tmp_path / "out/legend.png").shape[2] == 3
    np.testing.assert_array_equal(read(tmp_path / "out/cutout/one.png")[:, :, 3] > 0, mask > 0)
    assert (tmp_path / "out/probability/circle/one.png").is_file()
    with pytest.raises(ConfigError, match="most probable class"):
        predict_folder(tmp_path, tmp_path / "c.pt", threshold=SourcedThreshold(0.4, "--threshold", given=True))


def test_native_size_is_not_resized_and_tiles_limit_input_size(tmp_path, monkeypatch):
    make_images(tmp_path / "in")
    sizes = []
    run = networks.run_network

    def record_size(network, image, precision):
        sizes.append(tuple(image.shape[-2:]))
        return run(network, image, precision)

    monkeypatch.setattr(networks, "run_network", record_size)
    path = checkpoint(tmp_path / "c.pt", preparation={"size": "native"})
    predict_folder(tmp_path, path)
    assert set(sizes) == {(70, 60), (33, 120), (50, 50), (64, 48), (40, 90)}
    sizes.clear()
    predict_folder(tmp_path, path, tiles=Tiles(size=(32, 40)))
    assert set(sizes) == {(32, 40)}
    sizes.clear()
    predict_folder(tmp_path, checkpoint(tmp_path / "c.pt"))
    assert set(sizes) == {(48, 64)}


def test_unreadable_images_are_listed_before_anything_is_written(tmp_path, capsys):
    make_images(tmp_path / "in")
    contents = (tmp_path / "in/one.Tiff").read_bytes()
    (tmp_path / "in/one.Tiff").write_bytes(contents[: len(contents) // 2])
    (tmp_path / "in/fake.jpg").write_bytes(b"no image")
    path = checkpoint(tmp_path / "c.pt")
    with pytest.raises(RawDataError, match="2 problems") as caught:
        predict_folder(tmp_path, path)
    assert all(name in str(caught.value) for name in ("one.Tiff", "fake.jpg"))
    assert not (tmp_path / "out").exists()
    predict_folder(tmp_path, path, skip_unreadable=True)
    assert len(pd.read_csv(tmp_path / "out/timing.csv")) == 4
    assert "skipped: " in capsys.readouterr().err
    unreadable = {"images": tmp_path / "in/fake.jpg", "output": tmp_path / "other", "skip_unreadable": True}
    with pytest.raises(RawDataError, match=r"fake\.jpg"):
        predict_folder(tmp_path, path, **unreadable)


def test_images_of_sizes_for_which_output_is_shifted_are_listed(tmp_path):
    make_images(tmp_path / "in")
    write_png(tmp_path / "in/fits.png", np.zeros((48, 64, 3), np.uint8))
    path = checkpoint(tmp_path / "c.pt", preparation={"size": "native"}, **UNET_CROP)
    with pytest.raises(RawDataError, match="5 problems") as caught:
        predict_folder(tmp_path, path)
    assert "64 x 48 pixels" in str(caught.value)
    assert "padding: mirror" in str(caught.value)
    predict_folder(tmp_path, path, skip_unreadable=True)
    assert [file.name for file in (tmp_path / "out/mask").iterdir()] == ["fits.png"]


def test_images_that_network_cannot_process_are_listed(tmp_path):
    (tmp_path / "in").mkdir()
    write_png(tmp_path / "in/small.png", np.zeros((20, 50, 3), np.uint8))
    write_tif(tmp_path / "in/float.tif", np.ones((50, 50), np.float32))
    path = checkpoint(tmp_path / "c.pt", preparation={"size": "native", "normalize": "unit"})
    with pytest.raises(RawDataError, match="2 problems") as caught:
        predict_folder(tmp_path, path)
    assert "50x20 pixels" in str(caught.value)
    assert "no full range" in str(caught.value)


def test_remedies_for_own_images_name_no_data_set(tmp_path):
    (tmp_path / "in").mkdir()
    pages = np.zeros((2, 50, 50), np.uint8)
    write_tif(tmp_path / "in/pages.tif", pages, photometric="minisblack")
    write_tif(tmp_path / "in/gdal.tif", np.eye(50, dtype=np.float32), extratags=[(42113, "s", 0, "1", True)])
    write_tif(tmp_path / "in/nan.tif", np.where(np.eye(50) > 0, np.nan, 1).astype(np.float32))
    (tmp_path / "in/cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(RawDataError, match="4 problems") as caught:
        predict_folder(tmp_path, checkpoint(tmp_path / "c.pt"))
    for problem in caught.value.problems:
        assert not any(word in problem.remedy for word in ("exclude", "pages: ", "data set", "snakemake", "delete"))
    assert "separate file" in str(caught.value)
    assert "a network that was trained with `nodata: ignore`" in str(caught.value)


def test_a_path_that_is_too_long_is_refused_before_predicting(tmp_path, monkeypatch):
    write_png(tmp_path / "in.png", np.zeros((50, 50), np.uint8))
    path = checkpoint(tmp_path / "c.pt")
    monkeypatch.setattr(new_images, "_usable_files", None)
    deep = tmp_path.joinpath(*["d" * 200] * 19)
    output = deep / ("e" * (4070 - len(str(deep)) - 1))
    with pytest.raises(OutputError, match="choose a folder with a shorter path"):
        predict_folder(tmp_path, path, images=tmp_path / "in.png", output=output)


@pytest.mark.parametrize("names", [("a.png", "a.tif"), ("x/a.png", "x-a.png")])
def test_images_with_same_identifier_are_refused(tmp_path, names):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(RawDataError, match="2 images with the identifier"):
        list_images(tmp_path)


def test_empty_or_missing_folder_is_refused(tmp_path):
    with pytest.raises(RawDataError, match="no images"):
        list_images(tmp_path)
    with pytest.raises(RawDataError, match="no such file or folder"):
        list_images(tmp_path / "gone")
    (tmp_path / "x.PnG").write_bytes(b"")
    assert [image.id for image in list_images(tmp_path / "x.PnG")] == ["x"]
    assert all(ending == ending.lower() for ending in IMAGE_EXTENSIONS)


def test_links_to_folders_are_followed_but_not_in_circles(tmp_path):
    for name in ("in/a.png", "in/.hidden/x.png", "store/b.png", "store/deep/c.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    for name, target in (("in/x", "store"), ("in/y", "store/deep"), ("in/self", "in"), ("store/up", "in")):
        (tmp_path / name).symlink_to(tmp_path / target)
    (tmp_path / "store/deep/parent").symlink_to("..")
    expected = ["a", "x-b", "x-deep-c", "y-c", "y-parent-b"]
    assert [image.id for image in list_images(tmp_path / "in", tmp_path / "out")] == expected
    (tmp_path / "out").symlink_to(tmp_path / "store")
    assert [image.id for image in list_images(tmp_path / "in", tmp_path / "out")] == ["a", "y-c"]


def test_folders_that_cannot_be_listed_are_errors(tmp_path, monkeypatch):
    make_images(tmp_path / "in")
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(RawDataError, match=r"in/sub/deep\n *found: *Permission denied"):
        list_images(tmp_path / "in")


def test_results_inside_input_are_not_predicted_and_are_replaced(tmp_path):
    make_images(tmp_path / "in")
    path = checkpoint(tmp_path / "c.pt")
    for _ in range(2):
        predict_folder(tmp_path, path, output=tmp_path / "in/out")
    assert len(pd.read_csv(tmp_path / "in/out/timing.csv")) == 5


def test_output_folder_with_other_files_is_never_replaced(tmp_path):
    make_images(tmp_path / "in")
    path = checkpoint(tmp_path / "c.pt")
    predict_folder(tmp_path, path)
    (tmp_path / "truth/mask").mkdir(parents=True)
    (tmp_path / "truth/mask/one.png").write_bytes(b"precious")
    (tmp_path / "file").write_bytes(b"precious")
    for output in (tmp_path, tmp_path / "in", tmp_path / "truth", tmp_path / "file"):
        with pytest.raises(OutputError, match="choose another folder with --output"):
            predict_folder(tmp_path, path, output=output)
    with pytest.raises(OutputError, match="the folder that contains the input images"):
        predict_folder(tmp_path, path, images=tmp_path / "out/overlay")
    assert (tmp_path / "truth/mask/one.png").read_bytes() == b"precious"
    assert (tmp_path / "in/one.Tiff").is_file()


def test_overlay_colours_classes_but_not_background():
    indices = np.array([[0, 1], [2, 0]], np.uint8)
    colours = [(0, 0, 0), (255, 0, 0), (0, 255, 0)]
    np.testing.assert_array_equal(paint(indices, colours)[0, 1], (255, 0, 0))
    painted = overlay_classes(np.full((2, 2, 3), 100, np.uint8), indices, None, colours)
    assert painted[0, 0].tolist() == painted[1, 1].tolist() == [70, 70, 70]
    assert painted[1, 0].argmax() == 1


# -- the command line ------------------------------------------------------------------------------------------------


def test_command_line_predicts_new_images(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_images(tmp_path / "in")
    checkpoint(tmp_path / "c.pt", region="fov", info={"has_fov": True})
    (tmp_path / "threshold.json").write_text('{"value": 0.3, "source": "fixed", "criterion": ""}')
    command = "predict --checkpoint c.pt --input in --output out --tiles 32 32 --threads 1"
    for threshold, level in (("threshold.json", 76), ("0.6", 153)):
        assert cli.main([*command.split(), "--test-time", "flips", "--threshold", threshold]) == 0
        levels, mask = (read_levels(tmp_path / f"out/{kind}/one.png", 40, 90) for kind in ("probability", "mask"))
        np.testing.assert_array_equal(mask > 0, levels > level)
        assert "outside of any field of view" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("has_fov", "nodata", "noted"), [(True, "error", True), (False, "error", False), (True, "ignore", False)]
)
def test_note_on_field_of_view_only_if_samples_had_one(tmp_path, capsys, has_fov, nodata, noted):
    make_images(tmp_path / "in")
    more = {"region": "fov", "info": {"has_fov": has_fov}, "preparation": {"nodata": nodata}}
    predict_folder(tmp_path, checkpoint(tmp_path / "c.pt", **more))
    assert ("field of view" in capsys.readouterr().err) is noted


@pytest.mark.parametrize(("kept_bytes", "decodings"), [(2**28, 1), (0, 2)])
def test_images_that_fit_into_memory_are_decoded_once(tmp_path, monkeypatch, kept_bytes, decodings):
    sizes, decoded, read_file = make_images(tmp_path / "in"), [], new_images.read_file
    monkeypatch.setattr(new_images, "_KEPT_BYTES", kept_bytes)
    monkeypatch.setattr(
        new_images, "read_file", lambda path, **more: (decoded.append(path), read_file(path, **more))[1]
    )
    predict_folder(tmp_path, checkpoint(tmp_path / "c.pt"), threads=2)
    extra = 0 if kept_bytes else 1  # the warm-up
    assert len(decoded) == decodings * len(sizes) + extra


def test_new_images_of_one_size_are_batches_beyond_a_cpu(tmp_path, monkeypatch):
    for number in range(7):
        (tmp_path / "in").mkdir(exist_ok=True)
        write_png(tmp_path / f"in/{number}.png", blobs(number, 48, 64)[1])
    path, run, sizes = checkpoint(tmp_path / "c.pt"), networks.run_network, []
    predict_folder(tmp_path, path, output=tmp_path / "single")
    monkeypatch.setattr(batches, "PIXELS_AT_ONCE", 3 * 48 * 64)
    monkeypatch.setattr(new_images, "_most_in_batch", lambda network, size: network.limit.batch(*size))
    monkeypatch.setattr(networks, "run_network", lambda *args: (sizes.append(len(args[1])), run(*args))[1])
    predict_folder(tmp_path, path, output=tmp_path / "batched")
    assert sizes == [1, 3, 3, 1]  # after the warm-up
    for image in (tmp_path / "single").rglob("*.png"):
        np.testing.assert_array_equal(read(image), read(tmp_path / "batched" / image.relative_to(tmp_path / "single")))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("predict", "missing: --experiment, --split"),
        ("predict --input in --output out", "missing: --checkpoint"),
        ("predict --input in --checkpoint c.pt --output out --split test", "not allowed here: --split"),
        ("predict --experiment e --split test --test-time flips", "not allowed here: --test-time"),
        ("predict --input in --checkpoint c.pt --output out --tiles 16 16", "choose a height and width in this range"),
        ("predict --input in --checkpoint c.pt --output out --kind mask", "--kind"),
    ],
)
def test_incompatible_options_are_listed(tmp_path, monkeypatch, capsys, line, message):
    monkeypatch.chdir(tmp_path)
    make_images(tmp_path / "in")
    checkpoint(tmp_path / "c.pt")
    assert cli.main(line.split()) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_levels_equal_rounded_network_probabilities(tmp_path):
    write_png(tmp_path / "x.png", blobs(1, 48, 64)[1])
    path = checkpoint(tmp_path / "c.pt")
    predict_folder(tmp_path, path, images=tmp_path / "x.png")
    pixels = read(tmp_path / "x.png").astype(np.float32)
    image = torch.from_numpy((pixels - pixels.min()) / (pixels.max() - pixels.min())).permute(2, 0, 1)[None]
    levels = read(tmp_path / "out/probability/x.png").astype(int)
    assert np.abs(levels - to_levels(probabilities(load(path), image).numpy()[0, 0])).max() <= 1
    assert levels.max() > levels.min()
