"""One training run on two nodes of a real Slurm, which is interrupted by Slurm and continues."""

from contextlib import suppress

import psutil
import pytest
from projects import Project
from rawfiles import make_tgs
from test_slurm import Remote, cluster, pytestmark  # noqa: F401 - used by pytest

CONFIG = """
datasets:
  t: {layout: tgs, root: raw/TGS, size: [48, 48], validation: {fraction: 0.3}, test: {rule: fraction, fraction: 0.2}}
experiments:
  a: {dataset: t, model: {name: unet-small, widths: [4, 8]}, loss: bce, optimizer: {name: sgd, lr: 0.01},
    augment: {flip: both, rotate: 10}, batch_size: 4, epochs: 150, threads: 1, gpus: 2, nodes: NODES}
"""
HISTORY = "results/models/a/history.csv"


@pytest.fixture
def remote(tmp_path, cluster):  # noqa: F811
    project = Remote(tmp_path, cluster)
    project.project.config.write_text(CONFIG.replace("NODES", "2"))
    project.environment["MASTER_ADDR"] = "127.0.0.1"  # the names of the nodes of this cluster have no address
    yield project
    project.stop()


def test_training_on_two_nodes_gives_the_scores_of_one(remote, tmp_path):
    alone = Project(tmp_path / "alone")
    make_tgs(alone.folder / "raw" / "TGS")
    alone.config.write_text(CONFIG.replace("NODES", "1"))

    remote.start(HISTORY)
    remote.wait_for(lambda: list(remote.folder.glob("results/state/a/*/current.pt")))
    (job,) = remote.trainings()
    assert job["NumNodes"] == "2"
    assert job["TresPerJob"] == "gres:gpu:2"
    remote.cluster.run("scancel", "--signal=TERM", job["JobId"])  # as at the time limit
    remote.training(1, "FAILED")
    log = (remote.folder / "results/logs/train/a.log").read_text()
    assert "found:    SIGTERM" in log  # of one node or both: `srun` ends the other
    assert "it resumes from this step" in log
    alone.snakemake(HISTORY)
    assert remote.process.wait(600) == 0, remote.log.read_text()[-6000:]
    assert len(remote.trainings()) == 2
    assert remote.went_on()
    assert (remote.folder / HISTORY).read_bytes() == (alone.folder / HISTORY).read_bytes()


def is_rank(process, number, folder):
    """Tell whether a process is a training process of this number; launchers are told from them by their variables."""
    with suppress(psutil.Error):
        forked = "--multiprocessing-fork" in process.cmdline() and process.cwd() == str(folder)
        return forked and int(process.parent().environ()["SLURM_PROCID"]) == number
    return False


def test_failure_on_one_node_ends_the_job_with_its_message(remote):
    profile = remote.profile / "config.yaml"
    profile.write_text(profile.read_text().replace("retries: 3", "retries: 0"))
    remote.project.config.write_text(CONFIG.replace("NODES", "2").replace("epochs: 150", "epochs: 5000"))
    remote.start(HISTORY)
    remote.wait_for(lambda: list(remote.folder.glob("results/state/a/*/current.pt")))
    (rank,) = [process for process in psutil.process_iter() if is_rank(process, 1, remote.folder)]
    rank.kill()
    remote.training(1, "FAILED")
    log = (remote.folder / "results/logs/train/a.log").read_text()
    assert "of 2 of this training run\n    found:    killed by SIGKILL" in log
    assert "Traceback" not in log
