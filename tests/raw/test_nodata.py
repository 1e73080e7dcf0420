"""Pixels without data: refused by default; with `nodata: ignore` they count nowhere."""

import io

import numpy as np
import pytest
import tifffile
from sources import checked, opened, preparation

from pipeline.config import config
from pipeline.core.counts import VOID
from pipeline.core.errors import ConfigError, RawDataError
from pipeline.evaluation.regions import count_split
from pipeline.images.png import write_png
from pipeline.raw.decode.image import decode, decode_file, read_bytes
from pipeline.raw.decode.labels import LabelMap
from pipeline.raw.decode.options import DecodeOptions
from pipeline.shards.prepare import prepare

IGNORE = DecodeOptions(nodata="ignore")
RNG = np.random.default_rng(7)
GREY = RNG.integers(10, 200, (12, 16), dtype=np.uint8)
TOP = np.zeros(GREY.shape, bool)
TOP[:3] = True


def tiff(pixels, nodata, **options):
    buffer = io.BytesIO()
    tags = [] if nodata is None else [(42113, "s", 0, nodata, True)]
    tifffile.imwrite(buffer, pixels, extratags=tags, **{"photometric": "minisblack", **options})
    return buffer.getvalue()


def filled(value, dtype=np.float32):
    return np.where(TOP, value, GREY.astype(dtype)).astype(dtype)


CASES = {
    "-9999": (filled(-9999), {}),
    "-9999.0 ": (filled(-9999), {"compression": "lzw"}),
    "-3.4028234663852886e+38": (filled(np.finfo(np.float32).min), {}),
    "-3.40282306073709653e+38": (filled(np.finfo(np.float32).min), {"compression": "deflate", "predictor": 3}),
    "-3.4028e+38": (filled(-3.4028e38), {"byteorder": ">"}),
    "-1.7976931348623157e+308": (filled(np.finfo(np.float64).min, np.float64), {}),
    "nan": (filled(np.nan), {}),
    "inf": (filled(np.inf), {"tile": (16, 16)}),
    "-inf": (filled(-np.inf, np.float64), {}),
    "65504": (filled(65504, np.float16), {}),
    "0": (filled(0, np.uint8), {}),
    "255": (filled(255, np.uint8), {"photometric": "miniswhite"}),
    "65535": (filled(65535, np.uint16), {"bigtiff": True}),
    "3": (filled(3, np.uint8), {"photometric": "palette", "colormap": RNG.integers(0, 2**16, (3, 256), np.uint16)}),
}


@pytest.mark.parametrize("nodata", CASES)
def test_pixels_with_the_nodata_value_are_refused_or_left_out(nodata):
    pixels, options = CASES[nodata]
    data = tiff(pixels, nodata, **options)
    with pytest.raises(RawDataError, match=r"48 pixels .25\.00%. without data") as caught:
        decode(data, "x")
    for text in (f"tag 42113) is {nodata.strip()}\n", "`nodata: ignore`"):
        assert text in str(caught.value)
    decoded = decode_file(data, "x", options=IGNORE)
    np.testing.assert_array_equal(decoded.valid, ~TOP)
    inside = decoded.pixels[~TOP].reshape(decoded.valid.sum(), -1)
    plain = tiff(np.where(TOP, 50, pixels).astype(pixels.dtype), None, **options)
    np.testing.assert_array_equal(inside, decode(plain, "x")[~TOP].reshape(inside.shape))
    outside = decoded.pixels[TOP].reshape(TOP.sum(), -1)
    assert (outside == outside[0]).all()
    assert (inside == outside[0]).all(axis=1).any()
    assert np.abs(outside[0] - inside.mean(axis=0)).max() < 30 or options.get("photometric") == "palette"


@pytest.mark.parametrize("nodata", [None, "-9999", "300", "0.5", "nan", "", "1e400"])
def test_a_nodata_value_that_no_pixel_has_changes_nothing(nodata):
    decoded = decode_file(tiff(GREY, nodata), "x")
    np.testing.assert_array_equal(decoded.pixels, GREY)
    assert decoded.valid is None


def test_a_nodata_value_that_is_no_number_is_refused():
    with pytest.raises(RawDataError, match=r"42113\) is 'none'"):
        decode(tiff(GREY, "none"), "x")


def test_integer_pixels_lack_data_only_in_all_bands():
    rgb = np.dstack([GREY, GREY, GREY])
    rgb[0, 0] = (0, 5, 0)
    assert decode_file(tiff(rgb, "0", photometric="rgb"), "x").valid is None
    rgb[:3] = 0
    np.testing.assert_array_equal(decode_file(tiff(rgb, "0", photometric="rgb"), "x", options=IGNORE).valid, ~TOP)
    planes = np.moveaxis(rgb.astype(np.float32), -1, 0)
    data = tiff(planes, "0", photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(decode_file(data, "x", options=IGNORE).valid, ~TOP)
    bands = rgb.astype(np.float32) + 1
    bands[5, 5, 1] = -9999
    assert np.argwhere(~decode_file(tiff(bands, "-9999", photometric="rgb"), "x", options=IGNORE).valid).tolist() == [
        [5, 5]
    ]


def test_nodata_values_of_each_band_are_read():
    rgb = np.dstack([GREY, GREY, GREY])
    rgb[:3] = (0, 0, 255)
    metadata = '<GDALMetadata><Item name="NODATA_VALUES">0 0 255</Item></GDALMetadata>'
    data = tiff(rgb, None, photometric="rgb")
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, rgb, photometric="rgb", extratags=[(42112, "s", 0, metadata, True)])
    assert decode_file(data, "x").valid is None
    np.testing.assert_array_equal(decode_file(buffer.getvalue(), "x", options=IGNORE).valid, ~TOP)


def test_a_transparency_mask_leaves_pixels_out():
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(GREY, photometric="minisblack", compression="lzw")
        writer.write(GREY[::2, ::2], photometric="minisblack", subfiletype=1)
        writer.write(~TOP, photometric="minisblack", subfiletype=4)
    with pytest.raises(RawDataError, match="transparency mask of the TIFF"):
        decode(buffer.getvalue(), "x")
    decoded = decode_file(buffer.getvalue(), "x", options=IGNORE)
    np.testing.assert_array_equal(decoded.valid, ~TOP)
    np.testing.assert_array_equal(decoded.pixels[~TOP], GREY[~TOP])


def test_an_image_without_any_data_is_refused():
    with pytest.raises(RawDataError, match=r"192 pixels .100\.00%. without data"):
        decode_file(tiff(np.zeros_like(GREY), "0"), "x", options=IGNORE)


def test_nodata_follows_the_orientation():
    pixels = filled(0, np.uint8)
    buffer = io.BytesIO()
    tags = [(42113, "s", 0, "0", True), (274, "H", 1, 6, True)]
    tifffile.imwrite(buffer, pixels, photometric="minisblack", extratags=tags)
    np.testing.assert_array_equal(decode_file(buffer.getvalue(), "x", options=IGNORE).valid, np.rot90(~TOP, -1))
    as_stored = decode_file(buffer.getvalue(), "x", options=IGNORE.changed(exif="ignore"))
    np.testing.assert_array_equal(as_stored.valid, ~TOP)


def test_pages_of_a_stack_keep_their_nodata_value(tmp_path):
    stack = np.stack([GREY, filled(0, np.uint8), GREY])
    (tmp_path / "s.tif").write_bytes(tiff(stack, "0"))
    assert decode_file(read_bytes(tmp_path / "s.tif", 1), "s", 1).valid is None
    with pytest.raises(RawDataError, match="page 2"):
        decode(read_bytes(tmp_path / "s.tif", 2), "s", 2)


def test_nodata_in_a_mask_is_ignored_or_refused():
    mask = np.where(GREY > 100, 255, 0).astype(np.uint8)
    mask[:3] = 9
    labels = LabelMap({0: 0, 255: 1}, editable=True)
    with pytest.raises(RawDataError, match="is 9"):
        labels.read("m", tiff(mask, "9"))
    read = labels.read("m", tiff(mask, "9"), options=IGNORE)
    np.testing.assert_array_equal(read, np.where(TOP, VOID, mask == 255))
    with pytest.raises(RawDataError, match="is 9") as caught:
        labels.read_soft("m", tiff(mask, "9"), options=IGNORE)
    assert "nodata: ignore" not in str(caught.value)


WHITE = np.where(TOP, 0, 255).astype(np.uint8)
IN_RED = LabelMap({(0, 0, 0): 0, (255, 0, 0): 1}, editable=True)
IN_GREY = LabelMap({0: 0, 255: 1}, editable=True)
LABELLED_NODATA = {
    "grey": (WHITE, "0", IN_GREY, {}),
    "foreground": (WHITE, "255", IN_GREY, {}),
    "16 bits": (WHITE.astype(np.uint16) * 257, "65535", IN_GREY, {}),
    "integers of 32 bits": (WHITE.astype(np.int32), "0", IN_GREY, {}),
    "tolerance": (np.where(TOP, 3, 255).astype(np.uint8), "3", LabelMap({0: 0, 255: 1}, tolerance=5), {}),
    "colours": (np.dstack([WHITE, WHITE * 0, WHITE * 0]), "0", IN_RED, {"photometric": "rgb"}),
    "palette": (
        np.where(TOP, 0, 1).astype(np.uint8),
        "0",
        IN_RED,
        {"photometric": "palette", "colormap": np.eye(3, 256, 1).astype(np.uint16) * np.uint16([[65535], [0], [0]])},
    ),
}


@pytest.mark.parametrize("options", [DecodeOptions(), IGNORE], ids=["error", "ignore"])
@pytest.mark.parametrize("case", LABELLED_NODATA)
def test_a_nodata_value_that_is_a_class_of_the_mask_is_refused(case, options):
    mask, nodata, labels, storage = LABELLED_NODATA[case]
    with pytest.raises(RawDataError, match="also the value of a class") as caught:
        labels.read("m.tif", tiff(mask, nodata, **storage), options=options)
    assert "-unsetnodata" in str(caught.value)
    assert "nodata: ignore" not in str(caught.value)


def test_a_nodata_value_may_be_ignored_or_outside_of_a_fov(toys):
    ignoring = LabelMap({0: VOID, 255: 1}, editable=True)
    np.testing.assert_array_equal(ignoring.read("m", tiff(WHITE, "0"), options=IGNORE), np.where(TOP, VOID, 1))
    (toys / "fov").mkdir()
    for number in range(4):
        (toys / f"fov/s{number}.tif").write_bytes(tiff(WHITE, "0"))
    raw = opened("d", "folder", toys, {"fov": "fov"}, nodata="ignore")
    np.testing.assert_array_equal(raw.read_fov(raw.splits["train"][0]), ~TOP)


@pytest.fixture
def toys(tmp_path):
    """Four samples of 12 x 16; the first three rows of the images lack data."""
    for number in range(4):
        for folder, pixels, nodata in (("images", filled(-9999), "-9999"), ("masks", GREY // 128 * 255, None)):
            path = tmp_path / folder / f"s{number}.tif"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(tiff(np.roll(pixels, number, axis=1), nodata))
    return tmp_path


def test_a_data_set_refuses_nodata_by_default(toys):
    report = checked("folder", toys)
    assert report["errors"] == 4
    assert "nodata: ignore" in report["findings"][0]["remedy"]


def test_ignored_pixels_count_nowhere(toys):
    raw = opened("d", "folder", toys, nodata="ignore")
    sample = raw.splits["train"][0]
    prepared = prepare(raw, sample, preparation(channels="grey"))
    np.testing.assert_array_equal(prepared.fov, ~TOP)
    np.testing.assert_array_equal(prepared.mask == VOID, TOP)
    inside = GREY[~TOP].astype(np.float32)
    expected = (GREY - inside.min()) / (inside.max() - inside.min())
    np.testing.assert_allclose(prepared.stored[0][~TOP], expected[~TOP], atol=1e-6)
    for read in (raw.read_truth, raw.read_foreground):
        np.testing.assert_array_equal(read(sample), prepared.mask)
    assert sample.image in sample.truth_files
    assert checked("folder", toys, nodata="ignore")["errors"] == 0


def test_soft_masks_leave_ignored_pixels_to_the_field_of_view(toys):
    raw = opened("d", "folder", toys, nodata="ignore", mask_kind="soft")
    sample = raw.splits["train"][0]
    prepared = prepare(raw, sample, preparation(channels="grey", size=[48, 32]))
    assert prepared.fov.shape == (48, 32)
    assert not prepared.fov[:12].any()
    assert prepared.fov[12:].all()
    assert (raw.read_foreground(sample)[:3] == VOID).all()
    assert (raw.read_truth(sample) == GREY // 128 * 255).all()


@pytest.mark.parametrize("mask_kind", ["index", "soft"])
def test_pixels_without_data_are_not_scored(toys, tmp_path, mask_kind):
    raw = opened("d", "folder", toys, nodata="ignore", mask_kind=mask_kind)
    (tmp_path / "p").mkdir()
    for sample in raw.splits["train"]:
        write_png(tmp_path / "p" / f"{sample.id}.png", np.full(GREY.shape, 200, np.uint8))
    counts = count_split(raw, "train", tmp_path / "p", "e").regions["full"]
    assert [int(image.sum()) for image in counts] == [int((~TOP).sum())] * len(raw.splits["train"])


def test_images_without_nodata_have_a_full_field_of_view(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.tif").write_bytes(tiff(GREY // 128 * 255, None))
    raw = opened("d", "folder", tmp_path, nodata="ignore")
    prepared = prepare(raw, raw.splits["train"][0], preparation())
    assert prepared.fov.all()
    assert opened("d", "folder", tmp_path).splits["train"][0].truth_files == (str(tmp_path / "masks/a.tif"),)


@pytest.mark.parametrize(("region", "allowed"), [("fov", True), ("full", False)])
def test_soft_masks_need_a_loss_inside_the_field_of_view(region, allowed):
    dataset = {"layout": "folder", "root": ".", "size": [64, 64], "mask_kind": "soft", "nodata": "ignore"}
    experiment = {"dataset": "d", "model": {"name": "unet"}, "optimizer": {"name": "sgd", "lr": 0.1}}
    experiment |= {"loss": {"name": "bce", "region": region}, "batch_size": 1, "epochs": 1}
    data = {"datasets": {"d": dataset}, "experiments": {"e": experiment}}
    if allowed:
        assert config.parse(data).datasets["d"].source(cache="").nodata == "ignore"
        return
    with pytest.raises(ConfigError, match="soft masks, which have no value for its ignored NoData pixels"):
        config.parse(data)
