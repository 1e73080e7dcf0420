"""Masks that may mean the opposite of what their author meant are warnings of `check`."""

import numpy as np
import pytest
import tifffile
from sources import checked

RNG = np.random.default_rng(2)


def findings(root, masks):
    """Check a data set with these masks; return the findings by kind."""
    for number, mask in enumerate(masks):
        image = RNG.integers(0, 256, mask.shape, dtype=np.uint8)
        for folder, pixels in (("images", image), ("masks", mask)):
            (root / folder).mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(root / folder / f"s{number}.tif", pixels)
    return {row["kind"]: row for row in checked("folder", root)["findings"]}


def test_masks_that_store_white_as_zero_are_a_warning(tmp_path):
    boolean = np.zeros((40, 40), bool)
    boolean[5:9, 5:9] = True
    odd = findings(tmp_path / "d", [boolean, boolean, boolean.astype(np.uint8) * 255])
    assert odd["white-is-zero"]["count"] == 2
    assert "2 of 3 masks store white as zero" in odd["white-is-zero"]["found"]
    assert "99.0%" in odd["white-is-zero"]["found"]
    plain = findings(tmp_path / "e", [boolean.astype(np.uint8) * 255] * 3)
    assert {"white-is-zero", "mostly-foreground"}.isdisjoint(plain)


@pytest.mark.parametrize(("rows", "warned"), [(36, False), (37, True)])
def test_more_than_90_percent_foreground_is_a_warning(tmp_path, rows, warned):
    mask = np.zeros((40, 40), np.uint8)
    mask[:rows] = 255
    odd = findings(tmp_path / "d", [mask] * 2)
    assert ("mostly-foreground" in odd) == warned
    assert not warned or "inverted: true" in odd["mostly-foreground"]["remedy"]
