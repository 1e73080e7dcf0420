"""The profile for other schedulers, with mocks of the commands of Grid Engine."""

import os
import sys
from pathlib import Path

import grid_engine
import pytest
from projects import ROOT, Project
from rawfiles import make_tgs

CONFIG = """
datasets:
  t: {layout: tgs, root: raw/TGS, size: [48, 48], validation: {fraction: 0.3}, test: {rule: fraction, fraction: 0.2}}
experiments:
  a: {dataset: t, model: {name: unet, width: 4, depth: 2}, loss: bce, optimizer: {name: adamw, lr: 0.01}, batch_size: 2,
    epochs: 2, threads: 2}
"""


@pytest.mark.slow
def test_jobs_are_submitted_monitored_and_retried(tmp_path):
    project = Project(tmp_path / "project")
    make_tgs(project.folder / "raw" / "TGS")
    project.config.write_text(CONFIG)
    queue = tmp_path / "queue"
    queue.mkdir()
    for name in ("qsub", "qstat", "qacct", "qdel"):
        command = queue / name
        command.write_text(f"#!{sys.executable}\n{Path(grid_engine.__file__).read_text()}")
        command.chmod(0o755)
    (queue / "lose").touch()
    profile = ROOT / "profiles" / "cluster-generic"
    words = ["--workflow-profile", str(profile), "--seconds-between-status-checks", "1", "--latency-wait", "20"]
    project.snakemake(*words, "results/models/a/best.pt", PATH=f"{queue}{os.pathsep}{os.environ['PATH']}")
    submitted = [path.read_text() for path in sorted(queue.glob("*.words"), key=lambda path: int(path.stem))]
    assert len(submitted) == 4, "two shards, of which one was lost and sent again, and a training"
    assert "h_rt=1200" in submitted[0]
    assert sum("h_rt=2400" in one for one in submitted) == 1, "a second attempt has twice the time"
    assert all("gpu=0" in one for one in submitted[:3])
    for word in ("gpu=1", "smp\n2", "h_rt=28800", "h_vmem=4000M"):
        assert word in submitted[3]
