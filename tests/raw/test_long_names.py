"""Identifiers that do not fit the names of the files of results are refused before work."""

import os

import pytest

from pipeline.core.errors import RawDataError
from pipeline.prediction.listing import list_images
from pipeline.raw.samples import Sample, sorted_samples


@pytest.fixture(autouse=True)
def ascii_locale(monkeypatch):
    monkeypatch.setattr("os.fsencode", lambda text: os.fspath(text).encode("ascii"))


def test_long_identifiers_of_samples_are_refused():
    samples = [Sample(id=name, image="a.png") for name in ("a" * 251, "b" * 252, "ä" * 126)]
    with pytest.raises(RawDataError) as caught:
        sorted_samples(samples, [])
    assert [problem.sample for problem in caught.value.problems] == ["b" * 252, "ä" * 126]


def test_identifiers_of_hidden_results_are_refused(tmp_path):
    with pytest.raises(RawDataError, match="would be hidden") as caught:
        sorted_samples([Sample(id=name, image="a.png") for name in (".", "a.b", ".5")], [])
    assert [problem.sample for problem in caught.value.problems] == [".", ".5"]
    (tmp_path / ".5.png").touch()
    with pytest.raises(RawDataError, match="would be hidden"):
        list_images(tmp_path / ".5.png")


def test_images_in_a_folder_without_permission_are_refused(closed_folder):
    for source in (closed_folder / "x", closed_folder / ("x" * 300)):
        with pytest.raises(RawDataError, match="no such file or folder"):
            list_images(source)


def test_long_identifiers_of_images_to_predict_are_refused(tmp_path):
    folder = tmp_path / ("a" * 150) / ("b" * 150)
    folder.mkdir(parents=True)
    for name in ("1.png", "2.png"):
        (folder / name).touch()
    with pytest.raises(RawDataError, match="shorten the names"):
        list_images(tmp_path)
    assert len(list_images(folder)) == 2
    single = tmp_path / ("ä" * 126 + ".x")
    single.touch()
    with pytest.raises(RawDataError, match="shorten the names"):
        list_images(single)
