"""No choice depends on test samples: what a checkpoint and a threshold are made from."""

import pytest
from rawfiles import make_drive

from pipeline.config.config import parse
from pipeline.graph.artifacts import Checkpoint, Threshold
from pipeline.graph.base import with_inputs
from pipeline.graph.study import Study

EXPERIMENT = {
    "dataset": "drive",
    "model": "unet",
    "loss": "mse",
    "optimizer": {"name": "sgd", "lr": 0.01},
    "batch_size": 1,
    "epochs": 1,
}


@pytest.mark.parametrize("runs", [{}, {"seeds": [0, 1]}, {"folds": 2}, {"folds": 2, "seeds": [0, 1]}], ids=str)
def test_no_choice_is_made_from_test_samples(tmp_path, monkeypatch, runs):
    make_drive(tmp_path / "raw")
    monkeypatch.chdir(tmp_path)
    datasets = {"drive": {"layout": "drive", "root": "raw", "size": [64, 64]}}
    study = Study(parse({"datasets": datasets, "experiments": {"e": {**EXPERIMENT, **runs}}}))
    choices = [*map(Checkpoint, study.experiments), *map(Threshold, [*study.experiments, *study.ensembles])]
    assert len(study.ensembles) == bool(runs)
    used = list(with_inputs(choices, study))
    assert {getattr(artifact, "split", None) for artifact in used} - {None} <= {"train", "validation", "out-of-fold"}
    raw = [artifact.raw(study) for artifact in used]
    samples = {sample.id for part in raw for sample in part.samples}
    for name in [*study.experiments, *study.ensembles]:
        test = {sample.id for sample in study.splits_of(name)["test"]}
        assert test
        assert not test & samples
