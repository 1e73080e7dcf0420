import numpy as np
import pytest

from pipeline.evaluation.renderings import label_panels
from pipeline.images.captions import add_caption, elide, font

GREY = np.full((40, 200, 3), 120, np.uint8)


def test_a_caption_is_added_below_an_unchanged_image():
    captioned = add_caption(GREY, "21_training")
    assert captioned.shape == (62, 200, 3)
    np.testing.assert_array_equal(captioned[:40], GREY)
    assert (captioned[40:] < 128).any()
    assert not np.array_equal(captioned, add_caption(GREY, "22_training"))


@pytest.mark.parametrize("width", [60, 100, 200])
def test_long_names_are_shortened_in_the_middle_and_fit(width):
    name = "first-" + "x" * 300 + "-last"
    text = elide(name, " · test", width, 13)
    assert font(13).getlength(text) <= width or len(text) < 12
    assert text.endswith("t · test")
    assert text.startswith("f")
    assert "…" in text
    assert elide("01", " · test", 200, 13) == "01 · test"
    # white margins: the text does not exceed the image
    assert (add_caption(np.repeat(GREY, 2, axis=1)[:, :width], name)[40:, -3:] == 255).all()


def test_sheet_rows_are_sorted_captioned_and_separated():
    first, second, escaped = (label_panels({name: GREY})[0] for name in ("01", "02", "a\nb\x1b[31m"))
    rows = label_panels({"02": GREY, "01": GREY})
    np.testing.assert_array_equal(rows[0][:62], first)
    assert (rows[0][62:] == 255).all()
    np.testing.assert_array_equal(rows[1], second)
    assert escaped.shape == first.shape
