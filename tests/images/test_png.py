import pytest

from pipeline.core.errors import PredictionError
from pipeline.images.png import read_levels


@pytest.mark.parametrize("contents", [b"", b"no image", b"\x89PNG\r\n\x1a\n", b"\x89PNG\r\n\x1a\n" + bytes(100)])
def test_invalid_png_files_are_reported_as_damaged(tmp_path, contents):
    path = tmp_path / "x.png"
    path.write_bytes(contents)
    with pytest.raises(PredictionError, match="a damaged file"):
        read_levels(path, 4, 4)
