"""Scores and renderings read each file once, whatever the number of threads, which does not change them."""

import sys
from collections import Counter

import numpy as np
import pytest
from sources import opened

from pipeline.evaluation.evaluate import evaluate
from pipeline.evaluation.recipes import EvaluateRecipe, RenderRecipe
from pipeline.evaluation.renderings import render
from pipeline.images import foreign
from pipeline.images.png import write_png

_opened: Counter[str] | None = None


def _count(event, arguments):
    if event == "open" and _opened is not None and arguments[1] in ("r", "rb"):
        _opened[str(arguments[0])] += 1


sys.addaudithook(_count)


@pytest.fixture
def reads():
    """Count how often files are opened for reading."""
    global _opened
    _opened = Counter()
    yield _opened
    _opened = None


@pytest.fixture
def drive_with_gaps(drive, tmp_path, monkeypatch):
    """Return a data set whose images are also read for pixels without data, and predictions of its test samples."""
    # folders without a manifest are of other programs, whose values are checked first
    monkeypatch.setattr(foreign, "find", lambda _: True)
    raw = opened("d", "drive", drive, test="official", nodata="ignore")
    (tmp_path / "p").mkdir()
    for sample in raw.splits["test"]:
        noise = np.random.default_rng(int(sample.id)).integers(0, 256, raw.read_truth(sample).shape)
        write_png(tmp_path / f"p/{sample.id}.png", noise.astype(np.uint8))
    return raw


def files_of(raw, tmp_path, kinds):
    samples = raw.splits["test"]
    return sorted(
        [path for sample in samples for path in (getattr(sample, kind) for kind in kinds)]
        + [str(tmp_path / f"p/{sample.id}.png") for sample in samples]
    )


def written(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_scoring_reads_each_file_once_with_any_threads(drive_with_gaps, tmp_path, reads):
    raw, outputs = drive_with_gaps, []
    recipe = EvaluateRecipe(dataset="d", source=raw.source, empty_masks="one")
    expected = files_of(raw, tmp_path, ("image", "mask", "fov"))
    for threads in (1, 3):
        reads.clear()
        output = tmp_path / f"scores{threads}"
        evaluate(
            recipe,
            experiment="e",
            predictions={"test": tmp_path / "p"},
            threshold=0.5,
            output=output,
            threads=threads,
        )
        assert sorted(path for path in reads.elements() if path in expected) == expected
        outputs.append(written(output))
    assert outputs[0] == outputs[1]


def test_rendering_reads_each_file_once_with_any_threads(drive_with_gaps, tmp_path, reads):
    raw, outputs = drive_with_gaps, []
    (tmp_path / "t.json").write_text('{"value": 0.5, "source": "fixed", "criterion": ""}')
    expected = files_of(raw, tmp_path, ("image", "mask"))
    for threads in (1, 3):
        reads.clear()
        output = tmp_path / f"renderings{threads}"
        render(
            RenderRecipe(dataset="d", split="test", source=raw.source),
            experiment="e",
            predictions=tmp_path / "p",
            threshold=tmp_path / "t.json",
            output=output,
            threads=threads,
        )
        assert sorted(path for path in reads.elements() if path in expected) == expected
        outputs.append(written(output))
    assert outputs[0] == outputs[1]
    assert len(outputs[0]) == 3 * 3 + 1
