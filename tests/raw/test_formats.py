"""Unusual image files are decoded correctly, or refused with their name."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps
from sources import listed

from pipeline.core.counts import VOID
from pipeline.core.errors import RawDataError
from pipeline.prediction.listing import list_images
from pipeline.raw.decode.image import as_channels, decode, read_bytes, read_image
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
        {"extratags": [(33550, "d", 3, (0.5, 0.5, 0.0), True), (42113, "s", 0, "-9999", True)]},
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


def stack_described_as(description, pages=1, **options):
    """Return a TIFF with equal pages, the first of which has a description."""
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        for number in range(pages):
            first = {"description": description} if number == 0 else {}
            writer.write(RGB[:, :, 0], metadata=None, photometric="minisblack", contiguous=False, **first, **options)
    return buffer.getvalue()


OME = '<OME><Image><Pixels DimensionOrder="XYCZT" SizeX="30" SizeY="41" SizeZ="{}" SizeC="1" SizeT="{}" Type="uint8"/>'


@pytest.mark.parametrize(
    ("description", "pages", "planes"),
    [
        ("ImageJ=1.54f\nimages=3\nslices=3\n", 1, 3),
        ("ImageJ=1.54f\nchannels=2\nframes=5\nhyperstack=true\n", 1, 10),
        ("ImageJ=1.54f\nimages=30\n", 2, 30),
        (OME.format(4, 1), 1, 4),
        (OME.format(1, 2) + OME.format(3, 1), 2, 5),
        ('{"shape": [7, 41, 30]}', 1, 7),
    ],
)
@pytest.mark.parametrize("page", [None, 1])
def test_a_stack_with_fewer_pages_than_planes_is_refused(tmp_path, description, pages, planes, page):
    data = stack_described_as(description, pages)
    if page is None and pages > 1:
        refused(data, "a TIFF with 2 pages")
        return
    path = tmp_path / "odd.file"
    path.write_bytes(data)
    found = f"a stack of {planes} planes according to .*, in a TIFF with {pages} page"
    refused(read_bytes(path, page), found, lambda data, name: decode(data, name, page))


@pytest.mark.parametrize(
    "description",
    [
        "ImageJ=1.54f\nmin=0\nmax=255\n",
        "ImageJ=1.54f\nimages=1\n",
        OME.format(1, 1),
        OME.format(1, 9) + '<UUID FileName="a.ome.tif"/><UUID FileName="b.ome.tif"/>',
        '{"shape": [41, 30]}',
        '{"shape": "x"}',
        f"ImageJ=1.54f\nimages={'9' * 5000}\n",
        OME.format("9" * 5000, 1),
        '{"shape": [Infinity]}',
        f'{{"shape": [{"9" * 5000}]}}',
        f'{{"shape": [{"9" * 4000}, {"9" * 4000}]}}',
        "{",
        "[1, 2]",
        "images=3",
    ],
)
def test_descriptions_of_one_plane_are_read(description):
    assert_decodes_to(stack_described_as(description), RGB[:, :, 0])


def test_metamorph_and_volumetric_stacks_are_refused():
    tags = [(33629, "2I", 3, [1] * 6, True)]
    refused(tiff(RGB[:, :, 0], extratags=tags), "a stack of 3 planes according to MetaMorph")
    volume = np.zeros((4, 16, 16), np.uint8)
    refused(
        tiff(volume, photometric="minisblack", volumetric=True, tile=(4, 16, 16)),
        "a stack of 4 planes according to the tag ImageDepth",
    )


SHORT = [0, 0, 0, 128, 0, 0, 0, 128, 0]


def palette_file(kind, highest):
    indices = (MASK * 2).astype(np.uint8)
    indices[0, 0] = highest
    if kind == "bmp":
        image = Image.fromarray(indices).convert("P")
        image.putpalette([*SHORT, *[7] * 759])
        data = bytearray(save(image, "bmp"))
        struct.pack_into("<I", data, 46, 3)
        return bytes(data)
    if kind == "gif":  # a palette of 4 colours, with 8-bit codes
        image = Image.fromarray(indices).convert("P")
        image.putpalette([*SHORT, *(number % 251 for number in range(759))])
        data = bytearray(save(image, "gif", optimize=False))
        size = 3 * 2 ** ((data[10] & 7) + 1)
        data[13 : 13 + size] = data[13 : 13 + 12]
        data[10] = (data[10] & ~7) | 1
        return bytes(data)
    if kind == "tiff":
        data = tiff(indices, photometric="palette", colormap=np.full((3, 256), 257, np.uint16))
        with tifffile.TiffFile(io.BytesIO(data)) as opened:
            position = opened.pages.first.tags["ColorMap"].offset + 4
        changed = bytearray(data)
        struct.pack_into("<I", changed, position, 3 * 4)
        return bytes(changed)
    rows = b"".join(b"\0" + row.tobytes() for row in indices)
    return png(30, 41, 8, 3, rows, chunk(b"PLTE", bytes(SHORT)))


@pytest.mark.parametrize("kind", ["png", "gif", "bmp", "tiff"])
def test_a_palette_index_without_colour_is_refused(kind):
    refused(palette_file(kind, 255), r"palette indices up to 255, while the palette has [34] colours")
    pixels = decode(palette_file(kind, 2), "x")
    assert pixels.shape == (41, 30, 3)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_small_palettes_with_all_colours_are_read(bits):
    indices = np.arange(16, dtype=np.uint8).reshape(2, 8) % min(2**bits, 3)
    per_byte = 8 // bits
    packed = sum(indices[:, n::per_byte].astype(int) << bits * (per_byte - 1 - n) for n in range(per_byte))
    rows = b"".join(b"\0" + row.astype(np.uint8).tobytes() for row in packed)
    colours = np.array(SHORT, np.uint8).reshape(3, 3)
    data = png(8, 2, bits, 3, rows, chunk(b"PLTE", bytes(SHORT[: 3 * min(2**bits, 3)])))
    assert_decodes_to(data, colours[indices])


def test_a_photograph_of_several_frames_is_its_first():
    frames = [Image.fromarray(np.roll(RGB, step, axis=0)) for step in range(2)]
    whole = save(frames[0], "mpo", save_all=True, append_images=frames[1:])
    assert Image.open(io.BytesIO(whole)).n_frames == 2
    assert_decodes_to(whole, np.asarray(Image.open(io.BytesIO(save(frames[0], "jpeg")))))


@pytest.mark.parametrize("bands", [2, 4])
def test_a_band_that_is_no_transparency_is_named(bands):
    pixels = np.dstack([RGB, RGB[:, :, 0]])[:, :, :bands]
    options = {"photometric": "rgb" if bands == 4 else "minisblack", "planarconfig": "contig"}
    refused(tiff(pixels, extrasamples=["unspecified"], **options), f"{bands} channels, .* near infrared")
    alpha = tiff(pixels, extrasamples=["unassalpha"], **options)
    refused(alpha, "alpha channel that varies", lambda data, path: read_image(path, "rgb", data))
    pixels[:, :, -1] = 255
    np.testing.assert_array_equal(
        read_image("x", "rgb", tiff(pixels, extrasamples=["unspecified"], **options))[:, :, 0], RGB[:, :, 0]
    )


@pytest.mark.parametrize(
    ("start", "name", "remedy"),
    [
        (b"P6\n30 41\n255\n", "a PBM, PGM, PPM, PAM or PFM image", "magick"),
        (b"\0\0\0\x18ftypheic", "a HEIC or AVIF image", "magick"),
        (b"\xff\x0a\xfa", "a JPEG XL image", "magick"),
        (bytes(128) + b"DICM", "a DICOM file", "each slice"),
        (b"\x93NUMPY\1\0", "a NumPy array", "tifffile"),
        (b"<html>", "a web page", "log-in"),
        (b"\x1f\x8b\x08", "a gzip file", "unpack"),
        (bytes(64), "64 bytes that are all zero", "copy the file again"),
    ],
)
def test_remedy_for_another_format_fits_it(start, name, remedy):
    refused(start, f"(?s){name}.*remedy: .*{remedy}")


@pytest.mark.parametrize(
    ("pixels", "remedy"),
    [
        (MASK.astype(np.int32), "same numbers as uint8"),
        (MASK.astype(np.int32) * 300, "255 where they are above 0"),
        (MASK.astype(np.int64) - 2, "32-bit floats"),
        (np.where(MASK, np.nan, 1).astype(np.float32), "NoData value"),
        (np.where(MASK, np.inf, 1).astype(np.float32), "replace the infinite values"),
        (MASK * 1e300, "divide the values"),
        (MASK.astype(np.complex64), "magnitudes"),
    ],
)
def test_remedy_for_pixels_of_another_type_fits_them(pixels, remedy):
    refused(tiff(pixels), f"(?s)remedy: .*{remedy}")


@pytest.mark.parametrize(
    ("pixels", "remedy"),
    [
        (MASK.astype(np.float32), "same numbers as uint8"),
        (MASK.astype(np.float32) / 2, "mask_kind: soft"),
        (MASK.astype(np.uint16) * 300, "255 where they are above 0"),
    ],
)
def test_remedy_for_a_mask_of_other_numbers_fits_them(pixels, remedy):
    refused(tiff(pixels), f"(?s)remedy: .*{remedy}", lambda data, path: BLACK_AND_WHITE.read(path, data))


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("a.PPM", "magick"),
        ("a.nii.gz", "each slice"),
        ("a.npy", "array"),
        ("a.dng", "raw photographs"),
        ("a.x", "correct"),
    ],
)
@pytest.mark.parametrize("layout", ["folder", "duts", "predict"])
def test_a_folder_of_another_format_says_how_to_convert(tmp_path, name, remedy, layout):
    for folder in ("images", "masks", "DUTS-TR/DUTS-TR-Image", "DUTS-TE/DUTS-TE-Image"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / name).write_bytes(b"P6 1 1 255 abc")
    with pytest.raises(RawDataError) as caught:
        list_images(tmp_path, None) if layout == "predict" else listed(layout, tmp_path)
    assert (remedy in str(caught.value)) or (layout == "duts" and remedy == "correct")
