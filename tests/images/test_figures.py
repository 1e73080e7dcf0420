import numpy as np
import pytest

from pipeline.images.figures import display_limits, for_display


@pytest.mark.parametrize("copies", [1, 3])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_display_limits_are_percentiles(dtype, copies):
    rng = np.random.default_rng(1)
    for shape in ((2, 3), (40, 57), (200, 31, 1)):
        pixels = rng.integers(0, 4096, shape).astype(dtype)
        expected = np.percentile(np.repeat(pixels, copies), (0.1, 99.9))
        assert display_limits(pixels, copies) == pytest.approx(tuple(expected), rel=1e-12)
        np.testing.assert_array_equal(for_display(pixels[:1], display_limits(pixels)), for_display(pixels)[:1])
