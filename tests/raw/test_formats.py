"""Unusual image files are decoded correctly, or refused with their name."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from pipeline.core.counts import VOID
from pipeline.core.errors import RawDataError
from pipeline.raw.decode.image import as_channels, decode, read_image
from pipeline.raw.decode.labels import BLACK_AND_WHITE, LabelMap

RNG = np.random.default_rng(3)
MASK = (cv2.GaussianBlur(RNG.normal(size=(41, 30)), (0, 0), 3) > 0).astype(np.uint8)
RGB = RNG.integers(0, 256, (41, 30, 3), dtype=np.uint8)


def save(image, kind, **options):
    buffer = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def tiff(pixels, **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **options)
    return buffer.getvalue()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, bits, colour, rows, *extra):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def refused(data, match, call=decode):
    with pytest.raises(RawDataError, match=match) as caught:
        call(data, "odd.file")
    assert "odd.file" in str(caught.value)


def assert_decodes_to(data, expected):
    np.testing.assert_array_equal(decode(data, "x"), expected)


def test_1_bit_png_masks_are_black_and_white():
    np.testing.assert_array_equal(
        BLACK_AND_WHITE.read("x", save(Image.fromarray(MASK * 255).convert("1"), "png")), MASK
    )


@pytest.mark.parametrize("bits", [2, 4])
def test_2_and_4_bit_values_are_scaled_to_0_to_255(bits):
    maximum = 2**bits - 1
    values = np.arange(16, dtype=np.uint8).reshape(2, 8) % (maximum + 1)
    per_byte = 8 // bits
    packed = sum(values[:, n::per_byte].astype(int) << bits * (per_byte - 1 - n) for n in range(per_byte))
    rows = b"".join(b"\0" + row.astype(np.uint8).tobytes() for row in packed)
    assert_decodes_to(png(8, 2, bits, 0, rows), values * (255 // maximum))
    page = tiff(np.frombuffer(packed.astype(np.uint8).tobytes(), np.uint8).reshape(2, -1), photometric="minisblack")
    with tifffile.TiffFile(io.BytesIO(page)) as opened:
        tags = opened.pages.first.tags
        positions = tags["BitsPerSample"].valueoffset, tags["ImageWidth"].valueoffset
    data = bytearray(page)
    struct.pack_into("<H", data, positions[0], bits)
    struct.pack_into("<H", data, positions[1], 8)
    assert_decodes_to(bytes(data), values * (255 // maximum))


@pytest.mark.parametrize("kind", ["png", "gif"])
@pytest.mark.parametrize("inverted", [False, True])
def test_palette_masks_are_read_by_colour_not_by_index(kind, inverted):
    image = Image.fromarray(MASK ^ np.uint8(inverted)).convert("P")
    image.putpalette((255, 255, 255, 0, 0, 0) if inverted else (0, 0, 0, 255, 255, 255))
    np.testing.assert_array_equal(BLACK_AND_WHITE.read("x", save(image, kind, optimize=False)), MASK)


def test_constant_alpha_is_dropped_varying_alpha_is_refused():
    opaque = np.dstack([RGB, np.full_like(MASK, 255)])
    np.testing.assert_array_equal(read_image("x", "rgb", save(opaque, "png")), RGB)
    varied = save(np.dstack([RGB, MASK * 255]), "png")
    refused(varied, "an alpha channel that varies", lambda data, path: read_image(path, "rgb", data))


def test_error_for_near_colours_suggests_the_tolerance():
    painted = np.where(MASK[:, :, None] == 1, (2, 2, 255), (0, 0, 0)).astype(np.uint8)
    painted[0, :4] = [(1, 0, 250), (0, 3, 252), (3, 3, 3), (4, 0, 0)]
    meaning = {(0, 0, 0): 0, (0, 0, 255): 1}
    refused(save(painted, "png"), "tolerance: 5", lambda d, p: LabelMap(meaning, editable=True).read(p, d))
    read = LabelMap(meaning, tolerance=5).read("x", save(painted, "png"))
    np.testing.assert_array_equal(read[1:], MASK[1:])


def test_soft_masks_are_read_only_as_probabilities():
    soft = cv2.GaussianBlur(MASK * 255, (0, 0), 2)
    labels = LabelMap({0: 0, 255: 1}, editable=True)
    refused(save(soft, "png"), "mask_kind: soft", lambda data, path: labels.read(path, data))
    np.testing.assert_array_equal(labels.read_soft("x", save(soft, "png")), soft)


def test_16_bit_and_float_pixels_keep_their_values():
    deep = RNG.integers(0, 4096, (9, 7), dtype=np.uint16)
    assert_decodes_to(save(deep, "png"), deep)
    assert_decodes_to(tiff(deep), deep)
    assert_decodes_to(tiff((deep / 7).astype(np.float32)), (deep / 7).astype(np.float32))
    half = (deep / 7).astype(np.float16)
    assert decode(tiff(half), "x").dtype == np.float32
    assert_decodes_to(tiff(half), half)


def test_void_values_become_void():
    index = MASK.copy()
    index[:3] = 255
    read = LabelMap({0: 0, 1: 1, 255: VOID}).read("x", save(index, "png"))
    assert (read[:3] == VOID).all()
    np.testing.assert_array_equal(read[3:], MASK[3:])


UPRIGHT = RNG.integers(0, 256, (12, 20, 3), dtype=np.uint8)
STORED = {
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.swapaxes(0, 1),
    6: lambda p: np.rot90(p),
    7: lambda p: np.rot90(p, 2).swapaxes(0, 1),
    8: lambda p: np.rot90(p, -1),
}
"""Pixels that a camera stores for an upright image with each orientation tag."""


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("kind", ["tiff", "tiled tiff", "png", "webp", "jpeg"])
def test_orientation_is_applied_in_every_format(orientation, kind):
    stored = np.ascontiguousarray(STORED[orientation](UPRIGHT))
    tags = [(274, "H", 1, orientation, True)]
    exif = Image.Exif()
    exif[0x0112] = orientation
    if kind == "tiff":
        data = tiff(stored, compression="lzw", photometric="rgb", extratags=tags)
    elif kind == "tiled tiff":
        data = tiff(stored, tile=(16, 16), photometric="rgb", extratags=tags)
    else:
        data = save(stored, kind, exif=exif, **({"lossless": True} if kind == "webp" else {}))
    if kind == "jpeg":  # lossy, so Pillow provides the expected pixels
        assert_decodes_to(data, np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data)))))
        assert decode(data, "x").shape == UPRIGHT.shape
    else:
        assert_decodes_to(data, UPRIGHT)


def test_icc_profiles_do_not_change_values():
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for kind in ("png", "tiff"):
        assert_decodes_to(save(RGB, kind, icc_profile=profile), RGB)


@pytest.mark.parametrize(
    "options",
    [
        {"byteorder": ">"},
        {"tile": (16, 16)},
        {"tile": (16, 16), "compression": "zlib", "predictor": True, "byteorder": ">"},
        {"compression": "zstd"},
        {"bigtiff": True, "rowsperstrip": 7},
        {"extratags": [(33550, "d", 3, (0.5, 0.5, 0.0), True), (42113, "s", 0, "0", True)]},
    ],
    ids=["big endian", "tiles", "deflated tiles", "zstd", "big tiff", "geotiff tags"],
)
def test_tiff_structure_does_not_change_pixels(options):
    assert_decodes_to(tiff(RGB, photometric="rgb", **options), RGB)
    assert_decodes_to(tiff(RGB[:, :, 0], photometric="minisblack", **options), RGB[:, :, 0])
    assert_decodes_to(tiff(RGB.astype(np.uint16) * 16, photometric="rgb", **options), RGB.astype(np.uint16) * 16)


def test_planar_miniswhite_and_jpeg_tiff_are_read():
    assert_decodes_to(tiff(np.moveaxis(RGB, -1, 0), photometric="rgb", planarconfig="separate", tile=(16, 16)), RGB)
    assert_decodes_to(tiff(RGB[:, :, 0], photometric="miniswhite", compression="zlib"), 255 - RGB[:, :, 0])
    smooth = cv2.GaussianBlur(RGB, (0, 0), 5)
    for options in ({}, {"photometric": "ycbcr"}):
        data = tiff(smooth, **{"photometric": "rgb", "compression": "jpeg", **options})
        by_pillow = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
        assert np.abs(decode(data, "x") - by_pillow).max() <= 4


def test_geotiff_overviews_and_masks_are_not_pages():
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(RGB, photometric="rgb", compression="lzw")
        writer.write(RGB[::2, ::2], photometric="rgb", subfiletype=1)
    assert_decodes_to(buffer.getvalue(), RGB)


def test_a_page_of_a_stack_is_selected_by_number():
    stack = RNG.integers(0, 256, (3, 20, 16), dtype=np.uint8)
    data = tiff(stack, photometric="minisblack")
    for number in (1, 2, 3):
        np.testing.assert_array_equal(decode(data, "x", number), stack[number - 1])
    refused(data, "a TIFF with 3 pages")
    refused(data, "page 4", lambda data, path: decode(data, path, 4))


def test_bmp_and_webp_are_read():
    assert_decodes_to(save(RGB, "bmp"), RGB)
    assert_decodes_to(save(Image.fromarray(MASK * 255).convert("1"), "bmp"), MASK * 255)
    assert_decodes_to(save(RGB, "webp", lossless=True), RGB)


def test_transparent_colour_of_a_gif_is_an_alpha_channel():
    data = save(Image.fromarray(RGB).quantize(16), "gif", transparency=3)
    refused(data, "an alpha channel that varies", lambda data, path: read_image(path, "rgb", data))


def test_error_for_unsupported_formats_names_the_format():
    refused(save(RGB, "jpeg2000"), "a JPEG 2000 image")
    refused(save(Image.fromarray(RGB).convert("CMYK"), "jpeg"), "a JPEG with 4 channels")
    refused(save(Image.fromarray(RGB).convert("CMYK"), "tiff"), "photometric interpretation SEPARATED")
    refused(save(Image.fromarray(RGB).convert("LAB"), "tiff"), "photometric interpretation CIELAB")
    refused(b"<!DOCTYPE html><html>", "a web page")
    frames = [Image.fromarray(np.roll(RGB, step, axis=0)) for step in range(3)]
    for kind in ("png", "webp"):
        refused(save(frames[0], kind, save_all=True, append_images=frames[1:]), "3 frames")


def test_a_gif_frame_smaller_than_its_screen_is_refused():
    data = bytearray(save(MASK * 255, "gif"))
    struct.pack_into("<H", data, 6, 60)
    refused(bytes(data), "a frame that fills the screen")


def huge_image(kind):
    size = 60_000
    if kind == "png":
        return png(size, size, 8, 2, bytes(100))
    if kind == "gif":
        data = bytearray(save(MASK * 255, "gif"))
        struct.pack_into("<HH", data, 6, size, size)
        return bytes(data)
    if kind == "jpg":
        data = bytearray(save(RGB, "jpeg"))
        struct.pack_into(">HH", data, data.index(b"\xff\xc0") + 5, size, size)
        return bytes(data)
    if kind == "bmp":
        data = bytearray(save(RGB, "bmp"))
        struct.pack_into("<ii", data, 18, size, size)
        return bytes(data)
    data = bytearray(tiff(RGB, photometric="rgb"))
    with tifffile.TiffFile(io.BytesIO(data)) as opened:
        for name in ("ImageWidth", "ImageLength"):
            struct.pack_into("<H", data, opened.pages.first.tags[name].valueoffset, size)
    return bytes(data)


@pytest.mark.parametrize("kind", ["png", "gif", "jpg", "bmp", "tif"])
def test_huge_images_are_refused_before_allocation(kind):
    refused(huge_image(kind), "an image of 60000x60000 pixels")


def test_every_changed_byte_of_a_png_is_refused():
    whole = save(Image.fromarray(RGB[:12, :9]).quantize(8), "png", pnginfo=None)
    pixels = decode(whole, "x")
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 0x10
        refused(bytes(changed), "odd.file")
    assert_decodes_to(whole + b"something after the end", pixels)


@pytest.mark.parametrize("progressive", [False, True])
def test_truncated_jpeg_is_refused(progressive):
    whole = save(RGB, "jpeg", progressive=progressive)
    for length in range(3, len(whole), 7):
        refused(whole[:length], "truncated")
    refused(whole[:-1], "has no end marker")
    refused(whole[:-2], "has no end marker")


@pytest.mark.parametrize("kind", ["gif", "bmp", "webp", "tiff"])
def test_other_truncated_formats_are_refused(kind):
    whole = save(RGB[:, :, 0], kind)
    for length in range(12, len(whole), 29):
        refused(whole[:length], "truncated")
    refused(whole[:-1], "truncated")


def test_circular_list_of_pages_is_refused():
    data = bytearray(tiff(RGB, photometric="rgb"))
    (first,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, first)
    struct.pack_into("<I", data, first + 2 + 12 * entries, first)
    refused(bytes(data), "list of pages of the TIFF has no end")


def test_16_bit_grey_is_never_clipped_to_8_bits():
    deep = np.array([[0, 300, 65535]], dtype=np.uint16)
    np.testing.assert_array_equal(as_channels(decode(save(deep, "png"), "x"), "grey", "x")[:, :, 0], deep)
