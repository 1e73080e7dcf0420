from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from pipeline.errors import RawDataError
from pipeline.raw.masks import BLACK_AND_WHITE, classify, decode_runs, encode_runs, read_mask


def test_codes_run_down_the_columns_and_count_from_one():
    mask = decode_runs("2 3 9 1", height=3, width=3, where="row")
    np.testing.assert_array_equal(mask, [[0, 1, 0], [1, 0, 0], [1, 0, 1]])


@given(arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 1)))
def test_codes_and_masks_are_inverse(mask):
    np.testing.assert_array_equal(decode_runs(encode_runs(mask), *mask.shape, where="row"), mask)


@pytest.mark.parametrize(
    ("codes", "found"),
    [
        ("3", "odd count"),
        ("0 2", "leave the picture"),
        ("8 3", "leave the picture"),
        ("1 0", "leave the picture"),
        ("1 4 3 2", "overlap"),
        ("5 1 1 1", "out of order"),
        ("one 2", "not whole numbers"),
    ],
)
def test_codes_that_cannot_be(codes, found):
    with pytest.raises(RawDataError, match=found) as caught:
        decode_runs(codes, height=3, width=3, where="train.csv, id x")
    assert "train.csv, id x" in str(caught.value)


def test_values_nobody_declared_are_listed_with_their_counts():
    plane = np.array([[0, 255, 1], [1, 7, 0]], dtype=np.uint8)
    with pytest.raises(RawDataError, match=r"1 \(2 pixels\), 7 \(1 pixels\)"):
        classify(plane, BLACK_AND_WHITE, Path("mask.png"))


def test_a_mask_of_0_and_1_is_refused_rather_than_read_as_empty(tmp_path):
    path = tmp_path / "mask.png"
    Image.fromarray(np.eye(8, dtype=np.uint8)).save(path)
    with pytest.raises(RawDataError, match=r"1 \(8 pixels\)"):
        read_mask(path, BLACK_AND_WHITE)


@pytest.mark.parametrize("kind", ["1-bit", "8-bit", "16-bit", "palette"])
def test_black_and_white_in_every_depth(tmp_path, kind):
    truth = np.eye(8, dtype=np.uint8)
    path = tmp_path / "mask.png"
    picture = {
        "1-bit": Image.fromarray(truth * 255).convert("1"),
        "8-bit": Image.fromarray(truth * 255),
        "16-bit": Image.fromarray(truth.astype(np.uint16) * np.uint16(65535)),
        "palette": Image.fromarray(truth).convert("P"),
    }[kind]
    if kind == "palette":
        picture.putpalette((0, 0, 0, 255, 255, 255))
    picture.save(path)
    np.testing.assert_array_equal(read_mask(path, BLACK_AND_WHITE), truth)
