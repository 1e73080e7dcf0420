"""A page extracted from a TIFF stack equals that page of the whole file."""

import io
import os
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image
from sources import opened

from pipeline.core.errors import RawDataError
from pipeline.raw.decode import pages
from pipeline.raw.decode.headers import read_header
from pipeline.raw.decode.image import decode, read_bytes
from pipeline.raw.inspect import read_sample

RNG = np.random.default_rng(5)
GREY = RNG.integers(0, 256, (4, 48, 32), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (4, 48, 32, 3), dtype=np.uint8)
INDEX = RNG.integers(0, 2**16, (3, 256), dtype=np.uint16)

BUILDS = {
    "plain": (GREY, {}),
    "big-endian": (GREY.astype(np.uint16) * 200, {"byteorder": ">"}),
    "BigTIFF": (GREY, {"bigtiff": True}),
    "big-endian BigTIFF": (GREY.astype(np.uint16), {"bigtiff": True, "byteorder": ">", "rowsperstrip": 5}),
    "float": (GREY.astype(np.float32) / 7, {"rowsperstrip": 7}),
    "strips, LZW, predictor": (COLOUR, {"rowsperstrip": 9, "compression": "lzw", "predictor": True}),
    "deflate": (GREY, {"compression": "zlib"}),
    "LERC": (GREY, {"compression": "lerc"}),
    "tiles": (COLOUR, {"tile": (16, 16), "compression": "zstd"}),
    "JPEG": (COLOUR, {"compression": "jpeg", "tile": (16, 16)}),
    "planes": (np.moveaxis(COLOUR, -1, 1), {"planarconfig": "separate", "photometric": "rgb"}),
    "white is zero": (GREY, {"photometric": "miniswhite"}),
    "palette": (GREY, {"photometric": "palette", "colormap": INDEX}),
    "1 bit": (GREY > 127, {"rowsperstrip": 11}),
    "rotated": (GREY, {"extratags": [(274, 3, 1, 6, False)]}),
    "described": (GREY, {"description": "x" * 500, "extratags": [(65000, 7, 300, b"y" * 300, False)]}),
}


def stack(folder, pixels, photometric=None, **options):
    path = folder / "s.tif"
    photometric = photometric or ("rgb" if pixels.ndim == 4 else "minisblack")
    with tifffile.TiffWriter(
        path, **{key: options.pop(key) for key in ("bigtiff", "byteorder") if key in options}
    ) as writer:
        for page in pixels:
            writer.write(page, photometric=photometric, metadata=None, contiguous=False, **options)
    return path


@pytest.mark.parametrize("build", BUILDS)
def test_extracted_page_equals_page_of_the_whole_file(tmp_path, build):
    pixels, options = BUILDS[build]
    path = stack(tmp_path, pixels, **options)
    whole = path.read_bytes()
    for number in range(1, 5):
        alone = read_bytes(path, number)
        assert isinstance(alone, pages.PageBytes)
        assert len(alone) < len(whole) / 2
        expected = decode(whole, path, number)
        read = decode(alone, path, number)
        np.testing.assert_array_equal(read, expected)
        assert read.dtype == expected.dtype
        with tifffile.TiffFile(io.BytesIO(alone)) as opened:
            assert len(opened.pages) == 1


@pytest.fixture
def bytes_read(monkeypatch):
    """Number of bytes read by `os.pread`, in a list of one."""
    total = [0]
    pread = os.pread

    def counting_pread(*args):
        data = pread(*args)
        total[0] += len(data)
        return data

    monkeypatch.setattr(os, "pread", counting_pread)
    pages._cached_pages.cache_clear()
    return total


@pytest.mark.parametrize("count", [3, 30, 300])
def test_bytes_read_for_a_page_are_independent_of_page_count(tmp_path, bytes_read, count):
    path = stack(tmp_path, np.resize(GREY, (count, 48, 32)))
    pages.count_pages(path)
    list_bytes = bytes_read[0]
    assert list_bytes < count * 400
    for number in range(1, count + 1):
        before = bytes_read[0]
        read_bytes(path, number)
        assert 48 * 32 < bytes_read[0] - before < 48 * 32 + 1000
    assert path.stat().st_size > count * 48 * 32


def test_samples_of_a_stack_never_read_the_whole_file(tmp_path, bytes_read, monkeypatch):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        stack(tmp_path / folder, np.resize(GREY > 127, (40, 48, 32)).astype(np.uint8) * 255)
    raw = opened("d", "folder", tmp_path, {"pages": "samples"})
    monkeypatch.setattr("pathlib.Path.read_bytes", None)
    samples = [sample for split in raw.splits.values() for sample in split]
    for sample in samples:
        read_sample(raw, sample, "grey")
        np.testing.assert_array_equal(raw.read_truth(sample), GREY[(sample.page - 1) % 4] > 127)
    assert bytes_read[0] < 4 * sum(path.stat().st_size for path in tmp_path.rglob("*.tif"))


def test_page_list_is_read_again_when_the_file_changes(tmp_path):
    path = stack(tmp_path, GREY)
    assert pages.count_pages(path) == 4
    path = stack(tmp_path, GREY[:2])
    assert pages.count_pages(path) == 2
    np.testing.assert_array_equal(decode(read_bytes(path, 2), path, 2), GREY[1])
    with pytest.raises(RawDataError, match="page 3"):
        decode(read_bytes(path, 3), path, 3)


def outcome(data, path, number):
    """Return the decoded page, or the error message."""
    try:
        return decode(data, path, number)
    except RawDataError as error:
        return str(error)


@pytest.mark.parametrize("fraction", [0.05, 0.3, 0.6, 0.95])
def test_pages_of_a_truncated_stack_are_complete_or_refused(tmp_path, fraction):
    path = stack(tmp_path, COLOUR, compression="lzw", rowsperstrip=9)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * fraction)])
    read = [outcome(read_bytes(path, number), path, number) for number in range(1, 5)]
    refused = [number for number, page in enumerate(read, 1) if isinstance(page, str)]
    assert 4 in refused
    for number, page in enumerate(read, 1):
        if number in refused:
            assert f"{path}, page {number}" in page
            assert "truncated" in page
        else:
            np.testing.assert_array_equal(page, COLOUR[number - 1])


def test_only_the_truncated_page_of_a_stack_is_refused(tmp_path):
    path = stack(tmp_path, GREY)
    with tifffile.TiffFile(path) as opened:
        page = opened.pages[3]
        position = page.tags["StripOffsets"].valueoffset
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, position, len(data) - 100)
    path.write_bytes(data)
    with pytest.raises(RawDataError, match="truncated at"):
        decode(read_bytes(path, 4), path, 4)
    np.testing.assert_array_equal(decode(read_bytes(path, 3), path, 3), GREY[2])


@pytest.mark.parametrize("compression", [None, "lzw"])
def test_damaged_stacks_give_the_same_page_or_an_error(tmp_path, compression):
    path = stack(tmp_path, GREY[:, :12, :8], compression=compression, rowsperstrip=3)
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(400):
        damaged = bytearray(data)
        for position in rng.integers(0, len(data), 1 + rng.integers(3)):
            damaged[position] = rng.integers(256)
        path.write_bytes(damaged)
        number = int(rng.integers(1, 5))
        alone, whole = outcome(read_bytes(path, number), path, number), outcome(bytes(damaged), path, number)
        if isinstance(alone, str):
            assert f"{path}, page {number}" in alone
            refused += 1
        elif not isinstance(whole, str):
            np.testing.assert_array_equal(alone, whole)
    assert 20 < refused < 380


def test_pages_that_cannot_be_extracted_are_read_whole(tmp_path):
    lsm = stack(tmp_path, GREY, extratags=[(34412, 1, 4, b"abcd", False)])
    assert pages.read_page(lsm, 2) is None
    np.testing.assert_array_equal(decode(read_bytes(lsm, 2), lsm, 2), GREY[1])
    image = tmp_path / "t.png"
    Image.fromarray(GREY[0]).save(image)
    assert pages.read_page(image, 1) is None
    np.testing.assert_array_equal(decode(read_bytes(image, 1), image, 1), GREY[0])


def test_header_of_a_page_is_its_own(tmp_path):
    path = tmp_path / "s.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(GREY[0], contiguous=False)
        writer.write(GREY[1].astype(np.uint16), contiguous=False, extratags=[(34675, 7, 4, b"icc!", False)])
    assert (read_header(read_bytes(path, 1)).bits, read_header(read_bytes(path, 1)).icc) == (8, False)
    assert (read_header(read_bytes(path, 2)).bits, read_header(read_bytes(path, 2)).icc) == (16, True)
