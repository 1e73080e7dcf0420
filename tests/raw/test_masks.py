import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.core.errors import RawDataError
from pipeline.raw.decode.masks import decode_rle, encode_rle


def test_rle_is_column_major_and_one_based():
    mask = decode_rle("2 3 9 1", height=3, width=3, location="row")
    np.testing.assert_array_equal(mask, [[0, 1, 0], [1, 0, 0], [1, 0, 1]])


@given(arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 1)))
def test_decode_rle_inverts_encode_rle(mask):
    np.testing.assert_array_equal(decode_rle(encode_rle(mask), *mask.shape, location="row"), mask)


@pytest.mark.parametrize(
    ("codes", "found"),
    [
        ("3", "odd count"),
        ("0 2", "extend past the image"),
        ("8 3", "extend past the image"),
        ("1 0", "extend past the image"),
        ("1 4 3 2", "overlap"),
        ("5 1 1 1", "out of order"),
        ("one 2", "not whole numbers"),
    ],
)
def test_invalid_rle_codes_are_refused(codes, found):
    with pytest.raises(RawDataError, match=found) as caught:
        decode_rle(codes, height=3, width=3, location="train.csv, id x")
    assert "train.csv, id x" in str(caught.value)
