"""One configuration on machines with and without GPUs; a mock of `nvidia-smi` lists them, the CPU computes."""

import os

import pytest
from projects import Project
from rawfiles import make_tgs

from pipeline.training.checkpoint import load_checkpoint

CONFIG = """
datasets:
  t: {layout: tgs, root: raw/TGS, size: [48, 48], validation: {fraction: 0.3}, test: {rule: fraction, fraction: 0.2}}
experiments:
  a: &recipe {dataset: t, model: {name: unet-small, widths: [4, 8]}, loss: bce, optimizer: {name: sgd, lr: 0.01},
    batch_size: 2, epochs: 1, threads: 1, threshold: 0.5}
  both: {<<: *recipe, gpus: 2}
"""


@pytest.mark.slow
def test_same_configuration_with_and_without_gpus(tmp_path):
    project = Project(tmp_path)
    make_tgs(tmp_path / "raw" / "TGS")
    project.config.write_text(CONFIG)
    models, logs = tmp_path / "results/models", tmp_path / "results/logs"

    project.snakemake("results/models/both/best.pt", CUDA_VISIBLE_DEVICES="")
    output = (logs / "train/both.log").read_text()
    assert ", 2 processes, " in output
    assert "on GPU" not in output

    program = tmp_path / "bin/nvidia-smi"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho GPU-aa11\necho GPU-bb22\n")
    program.chmod(0o755)
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    (tmp_path / "tmp").mkdir()
    seen = {"CUDA_VISIBLE_DEVICES": "0,1", "SLURM_JOB_ID": ""}
    machine = {"PATH": path, "TMPDIR": str(tmp_path / "tmp"), **seen}
    project.snakemake("results/models/both/best.pt", "results/predictions/a/test/probability", **machine)
    assert (logs / "train/both.log").read_text() == output, "trained again on another machine"
    for name in ("train/a", "predict/a/test"):
        assert "using GPU GPU-" in (logs / f"{name}.log").read_text()
    locks = {file.name for file in (tmp_path / "tmp").rglob("*.lock")}
    assert locks <= {"turn.lock", "GPU-aa11.lock", "GPU-bb22.lock"}

    one, two = (load_checkpoint(models / name / "last.pt") for name in ("a", "both"))
    assert two.info.settings.gpus == 2
    assert abs(one.scores["train_loss"] - two.scores["train_loss"]) < 1e-5


def test_experiments_with_nodes_have_a_rule_of_their_own(tmp_path):
    project = Project(tmp_path)
    make_tgs(tmp_path / "raw" / "TGS")
    project.config.write_text(f"{CONFIG}  nodes: {{<<: *recipe, gpus: 2, nodes: 2}}\n")
    planned = project.planned(*(f"results/models/{name}/best.pt" for name in ("a", "both", "nodes")))
    assert (planned["train"], planned["train_nodes"]) == (2, 1)
