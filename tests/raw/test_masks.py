import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.core.errors import RawDataError
from pipeline.raw.decode.masks import decode_runs, encode_runs


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
        ("0 2", "leave the image"),
        ("8 3", "leave the image"),
        ("1 0", "leave the image"),
        ("1 4 3 2", "overlap"),
        ("5 1 1 1", "out of order"),
        ("one 2", "not whole numbers"),
    ],
)
def test_codes_that_cannot_be(codes, found):
    with pytest.raises(RawDataError, match=found) as caught:
        decode_runs(codes, height=3, width=3, where="train.csv, id x")
    assert "train.csv, id x" in str(caught.value)
