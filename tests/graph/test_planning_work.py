"""The work of planning does not grow with the number of experiments on a data set; counts, not seconds."""

import os
from collections import Counter

import pytest
from rawfiles import make_tgs

from pipeline.config.config import parse
from pipeline.core import digests
from pipeline.graph import artifacts, base, plan, study, targets
from pipeline.graph.base import identity_of, plan_of
from pipeline.raw.dataset import RawDataset

DATA = {"layout": "tgs", "root": "raw", "size": [48, 48], "shards": 2, "test": {"rule": "fraction", "fraction": 0.25}}
ONE = {
    "dataset": "t",
    "model": "unet",
    "loss": "bce",
    "optimizer": {"name": "sgd", "lr": 0.1},
    "batch_size": 1,
    "epochs": 1,
}
COUNTED = [
    (study, "open_partially"),
    (study, "joint_digest"),
    (study, "sample_digest"),
    (RawDataset, "digest"),
    (plan, "code_digests"),
    (os, "stat"),
]


@pytest.fixture
def work_of(tmp_path, monkeypatch):
    """Return a function that plans all results of a number of experiments, and counts calls and shards."""
    make_tgs(tmp_path / "raw")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(digests, "_MIN_AGE", -(10**12))  # digests of new files are cached at once
    calls = Counter()

    def count(owner, name):
        original = getattr(owner, name)

        def counting(*arguments, **keywords):
            calls[name] += 1
            return original(*arguments, **keywords)

        monkeypatch.setattr(owner, name, counting)

    def work(number):
        for function in (plan.stage_code, base._outputs, artifacts._shards):
            function.cache_clear()
        planned = study.Study(parse({"datasets": {"t": DATA}, "experiments": {f"e{i}": ONE for i in range(number)}}))
        calls.clear()
        results = targets.all_results(planned)
        for result in results:
            plan_of(result, planned).to_json(), identity_of(result, planned), result.raw_folders(planned)
        shards = [
            output
            for name in planned.experiments
            for output in artifacts.Checkpoint(name).inputs(planned)["train_shards"]
        ]
        return len(results), {**calls}, len({id(output) for output in shards})

    work(1)  # caches the digests of the raw files
    for owner, name in COUNTED:
        count(owner, name)
    return work


def test_work_of_planning_is_the_same_for_more_experiments(work_of):
    results, calls, shards = work_of(1)
    more_results, more_calls, more_shards = work_of(9)
    assert more_results > results + 8 * 6
    assert more_calls == calls
    assert calls.keys() >= {"open_partially", "joint_digest", "sample_digest", "digest"}
    assert calls["open_partially"] == 1
    assert calls["digest"] == 4  # each split once
    assert (shards, more_shards) == (2, 2)
