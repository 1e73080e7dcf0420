"""Text of the check in the terminal."""

from pathlib import Path

from sources import checked
from toy_layout import TOY, add, toy_image

from pipeline.raw.check.text import format_reports


def test_terminal_lists_stop_after_ten_and_the_page_has_all(tmp_path):
    for number in range(13):
        add(tmp_path / "toy", f"s{number:02}", *toy_image(1, 32, 32))
        (tmp_path / f"toy/images/s{number:02}.png").write_text("version https://git-lfs.github.com/spec/v1\n")
    report = checked(TOY, tmp_path / "toy", test="official")
    text = format_reports([report], [Path("results/check/x.html")])
    assert text.count("images/s") == 10
    assert "... and 3 more of this kind; all are in results/check/x.html" in text
    assert (tmp_path / "out/x.html").read_text().count("images/s") == 13
