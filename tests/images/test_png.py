import cv2
import imagecodecs
import numpy as np
import pytest

from pipeline.core.errors import PredictionError
from pipeline.images.png import PngWriter, read_levels, read_probability, require_folder, write_png


@pytest.mark.parametrize("contents", [b"", b"no image", b"\x89PNG\r\n\x1a\n", b"\x89PNG\r\n\x1a\n" + bytes(100)])
def test_invalid_png_files_are_reported_as_damaged(tmp_path, contents):
    path = tmp_path / "x.png"
    path.write_bytes(contents)
    with pytest.raises(PredictionError, match="a damaged file"):
        read_levels(path, 4, 4)


def test_predictions_in_a_folder_without_permission_are_refused(closed_folder):
    with pytest.raises(PredictionError, match="no such file"):
        read_levels(closed_folder / "x.png", 4, 4)
    with pytest.raises(PredictionError, match="File name too long"):
        read_levels(closed_folder / f"{'x' * 300}.png", 4, 4)
    require_folder(closed_folder / "x")


def test_enlarged_colours_take_few_bytes(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    write_png(tmp_path / "x.png", pixels)
    assert (tmp_path / "x.png").stat().st_size < 0.8 * len(cv2.imencode(".png", pixels)[1])
    np.testing.assert_array_equal(imagecodecs.png_decode((tmp_path / "x.png").read_bytes()), pixels)


def test_planes_of_a_colour_image_are_written_as_grey(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    write_png(tmp_path / "x.png", pixels[:, :, 1])
    np.testing.assert_array_equal(read_levels(tmp_path / "x.png", 6, 5), pixels[:, :, 1])


def test_sixteen_bits_are_written_row_by_row_as_at_once(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 65536, (9, 5), dtype=np.uint16)
    with PngWriter(tmp_path / "rows.png", 9, 5, 1, bits=16) as file:
        for start in range(0, 9, 4):
            file.write(pixels[start : start + 4])
    write_png(tmp_path / "once.png", pixels)
    for name in ("rows.png", "once.png"):
        stored = read_probability(tmp_path / name, 9, 5)
        assert stored.dtype == np.uint16
        np.testing.assert_array_equal(stored, pixels)
        np.testing.assert_array_equal(cv2.imread(str(tmp_path / name), cv2.IMREAD_UNCHANGED), pixels)
    with pytest.raises(PredictionError, match="8-bit grey, height x width"):
        read_levels(tmp_path / "once.png", 9, 5)
    with pytest.raises(PredictionError, match=r"pixels of shape \(9, 5\)"):
        read_probability(tmp_path / "once.png", 5, 9)
