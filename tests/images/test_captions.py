import numpy as np
import pytest

from pipeline.evaluation.renderings import label_panels
from pipeline.images.captions import add_caption, elide, font

GREY = np.full((40, 200, 3), 120, np.uint8)


def test_a_name_stands_under_its_image_and_leaves_it_alone():
    named = add_caption(GREY, "21_training")
    assert named.shape == (62, 200, 3)
    np.testing.assert_array_equal(named[:40], GREY)
    assert (named[40:] < 128).any()
    assert not np.array_equal(named, add_caption(GREY, "22_training"))


@pytest.mark.parametrize("width", [60, 100, 200])
def test_long_names_are_cut_in_the_middle_and_fit(width):
    name = "first-" + "x" * 300 + "-last"
    text = elide(name, " · test", width, 13)
    assert font(13).getlength(text) <= width or len(text) < 12
    assert text.endswith("t · test")
    assert text.startswith("f")
    assert "…" in text
    assert elide("01", " · test", 200, 13) == "01 · test"
    # the margins stay white: nothing runs out of the image
    assert (add_caption(np.repeat(GREY, 2, axis=1)[:, :width], name)[40:, -3:] == 255).all()


def test_rows_of_a_sheet_are_in_order_each_with_its_name_and_a_gap_between():
    one, other, control = (label_panels({name: GREY})[0] for name in ("01", "02", "a\nb\x1b[31m"))
    rows = label_panels({"02": GREY, "01": GREY})
    np.testing.assert_array_equal(rows[0][:62], one)
    assert (rows[0][62:] == 255).all()
    np.testing.assert_array_equal(rows[1], other)
    assert control.shape == one.shape
