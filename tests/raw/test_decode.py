import io
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from pipeline.core.errors import RawDataError
from pipeline.raw.decode.image import as_channels, decode, read_bytes, read_image, to_8_bit
from pipeline.raw.decode.labels import LabelMap

PATH = Path("image")
RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (40, 30, 3), dtype=np.uint8)
GREY = RGB[:, :, 0]


def encode(pixels, kind, **options):
    buffer = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def tiff(pixels, **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("pixels", [RGB, GREY], ids=["rgb", "grey"])
def test_tiff_compressions_in_rgb_and_grey(pixels, compression):
    np.testing.assert_array_equal(decode(encode(pixels, "tiff", compression=compression), PATH), pixels)


@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bit_and_float_tiff_keep_their_values(order):
    deep = RNG.integers(0, 4096, (9, 7), dtype=np.uint16)
    for values in (deep, deep.astype(np.float32) / 7):
        decoded = decode(tiff(values, byteorder=order), PATH)
        assert decoded.dtype == values.dtype
        assert decoded.dtype.isnative
        np.testing.assert_array_equal(decoded, values)


def test_tiff_bilevel_miniswhite_planar_and_palette():
    two = (GREY > 127).astype(np.uint8)
    np.testing.assert_array_equal(decode(encode(Image.fromarray(two * 255).convert("1"), "tiff"), PATH), two * 255)
    white_is_zero = tiff(GREY, photometric="miniswhite")
    np.testing.assert_array_equal(decode(white_is_zero, PATH), 255 - GREY)
    planar = tiff(np.moveaxis(RGB, -1, 0), photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(decode(planar, PATH), RGB)
    palette = Image.fromarray(RGB).convert("P", palette=Image.Palette.ADAPTIVE)
    np.testing.assert_array_equal(decode(encode(palette, "tiff"), PATH), np.asarray(palette.convert("RGB")))


def test_gif_in_grey_and_palette_mode():
    mask = (GREY > 127).astype(np.uint8)
    decoded = as_channels(decode(encode(mask * 255, "gif"), PATH), "grey", PATH)[:, :, 0]
    np.testing.assert_array_equal(decoded, mask * 255)
    palette = Image.fromarray(mask).convert("P")
    palette.putpalette((252, 254, 252, 4, 2, 4))  # inverted: index 0 is white
    np.testing.assert_array_equal(decode(encode(palette, "gif"), PATH)[:, :, 1], np.where(mask, 2, 254))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "I;16"])
def test_png_modes(mode):
    if mode == "I;16":
        deep = RNG.integers(0, 65536, (9, 7), dtype=np.uint16)
        np.testing.assert_array_equal(decode(encode(Image.fromarray(deep), "png"), PATH), deep)
        return
    image = Image.fromarray(RGB).convert(mode)
    expected = np.asarray(image.convert({"1": "L", "P": "RGB"}.get(mode, mode)))
    np.testing.assert_array_equal(decode(encode(image, "png"), PATH), expected)


def test_jpeg_is_rotated_by_its_exif_orientation():
    upright = np.zeros((16, 32, 3), dtype=np.uint8)
    upright[:, :16] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise
    turned = decode(encode(upright, "jpeg", quality=100, exif=exif), PATH)
    assert turned.shape == (32, 16, 3)
    assert turned[2, 8].min() > 250
    assert turned[-2, 8].max() < 5


FILES = {
    "lzw.tif": encode(RGB, "tiff", compression="tiff_lzw"),
    "plain.tif": tiff(RGB),  # its list of tags is before its pixels
    "grey.gif": encode(GREY, "gif"),
    "rgb.png": encode(RGB, "png"),
    "photo.jpg": encode(RGB, "jpeg"),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("fraction", [0.02, 0.3, 0.7, 0.97])
def test_truncated_files_are_refused(name, fraction):
    data = FILES[name]
    with pytest.raises(RawDataError, match=name):
        decode(data[: int(len(data) * fraction)], Path(name))


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n", "a Git-LFS pointer"),
        (b"PK\x03\x04 something", "a zip archive that starts with"),
        (tiff(np.zeros((3, 8, 8), np.uint8), photometric="minisblack"), "a TIFF with 3 pages"),
        (tiff(np.full((8, 8), np.nan, np.float32)), "not finite"),
        (tiff(np.zeros((8, 8), np.int32)), "pixels of type int32"),
    ],
)
def test_unusable_files_are_refused_with_path_and_reason(tmp_path, data, found):
    path = tmp_path / "x.tif"
    path.write_bytes(data)
    with pytest.raises(RawDataError, match=found) as caught:
        read_image(path, "rgb")
    assert str(path) in str(caught.value)


def test_an_animated_gif_is_refused():
    frames = [Image.fromarray(np.roll(GREY, step)) for step in range(3)]
    with pytest.raises(RawDataError, match="a GIF with 3 frames"):
        decode(encode(frames[0], "gif", save_all=True, append_images=frames[1:]), PATH)


def test_error_for_a_missing_file_names_it(tmp_path):
    with pytest.raises(RawDataError, match=r"gone\.tif"):
        read_bytes(tmp_path / "gone.tif")


def test_conversion_between_grey_and_rgb():
    grey_as_rgb = np.repeat(GREY[:, :, None], 3, axis=2)
    np.testing.assert_array_equal(as_channels(GREY, "rgb", PATH), grey_as_rgb)
    np.testing.assert_array_equal(as_channels(grey_as_rgb, "grey", PATH)[:, :, 0], GREY)
    luma = as_channels(RGB, "grey", PATH)[:, :, 0]
    assert np.abs(luma - RGB @ np.array([0.299, 0.587, 0.114])).max() <= 0.51
    opaque = np.dstack([RGB, np.full_like(GREY, 255)])
    np.testing.assert_array_equal(as_channels(opaque, "rgb", PATH), RGB)
    with pytest.raises(RawDataError, match="alpha channel that varies"):
        as_channels(np.dstack([RGB, GREY]), "rgb", PATH)
    with pytest.raises(RawDataError, match="5 channels"):
        as_channels(np.zeros((4, 4, 5), np.uint8), "rgb", PATH)


@pytest.mark.parametrize(
    ("values", "labels", "classes"),
    [
        ([0, 257], {0: 0, 1: 1}, None),
        ([0, 514, 257], {0: 0, 1: 1, 2: 2}, None),
        ([[[0, 0, 0], [257, 257, 257]]], {0: 0, (1, 1, 1): 1}, None),
        ([0, 65535, 257], {0: 0, 255: 2, 1: 1}, [0, 2, 1]),
        ([0, 128 * 257], {0: 0, 128: 1, 255: 2}, [0, 1]),
        ([[[0, 0, 0], [257 * 70, 0, 0]]], {0: 0, (70, 0, 0): 1}, [0, 1]),
        ([0, 0], {0: 0, 255: 1}, [0, 0]),
    ],
)
def test_multiples_of_257_are_labels_only_in_full_range(values, labels, classes):
    pixels = np.atleast_2d(np.array(values, dtype=np.uint16))
    if classes is None:
        with pytest.raises(RawDataError, match="no equivalent in"):
            LabelMap(labels).classify(pixels, "m.png")
    else:
        np.testing.assert_array_equal(LabelMap(labels).classify(pixels, "m.png"), [classes])


def test_16_bit_masks_become_8_bits_only_if_exact(tmp_path):
    exact, inexact = tmp_path / "exact.png", tmp_path / "inexact.png"
    Image.fromarray(np.array([[0, 65535, 257]], dtype=np.uint16)).save(exact)
    Image.fromarray(np.array([[0, 1]], dtype=np.uint16)).save(inexact)
    np.testing.assert_array_equal(to_8_bit(read_image(exact, "grey")[:, :, 0], exact), [[0, 255, 1]])
    with pytest.raises(RawDataError, match=r"inexact\.png"):
        to_8_bit(read_image(inexact, "grey"), inexact)
