"""Trainings under a real Snakemake that is killed or interrupted."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from projects import LASTING, ROOT, Project
from rawfiles import make_tgs

CONFIG = LASTING.replace("EPOCHS", "80")
SAVE_OFTEN = ["--set-resources", "train:save_every=0"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A project after an undisturbed training."""
    project = Project(tmp_path_factory.mktemp("whole"))
    make_tgs(project.folder / "raw" / "TGS")
    project.config.write_text(CONFIG)
    project.snakemake("results/models/a/best.pt")
    return project


@pytest.fixture
def begun(tmp_path):
    """A project, and how to begin a training in it and wait until its state is there."""
    project = Project(tmp_path)
    make_tgs(project.folder / "raw" / "TGS")
    project.config.write_text(CONFIG)
    processes = []

    def begin(*words):
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
        command += ["--directory", str(project.folder), "--cores", "2", "results/models/a/best.pt", *SAVE_OFTEN, *words]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with (tmp_path / "output").open("a") as output:
            process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, env=environment, start_new_session=True
            )
        processes.append(process)
        while not list(project.folder.glob("results/state/a/*/previous.pt")):
            assert process.poll() is None, (tmp_path / "output").read_text()
            time.sleep(0.02)
        return process

    yield project, begin
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def assert_goes_on(project, whole):
    assert not (project.folder / "results/models/a/best.pt").exists()
    project.snakemake("results/models/a/best.pt")
    assert_went_on(project, whole)


def assert_went_on(project, whole):
    log = (project.folder / "results/logs/train/a.log").read_text()
    assert "a: resumes from epoch " in log
    assert "a: resumes from epoch 1, step 0" not in log
    for name in ("best.pt", "last.pt", "history.csv"):
        there, here = (one.folder / "results/models/a" / name for one in (whole, project))
        assert there.read_bytes() == here.read_bytes(), name
    assert not list(project.folder.glob("results/state/a"))
    assert project.planned("results/models/a/best.pt") == {}


def test_training_resumes_after_kill_9(begun, whole):
    project, begin = begun
    process = begin()
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    project.snakemake("--unlock")
    assert_goes_on(project, whole)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_training_resumes_after_a_signal(begun, whole, number):
    project, begin = begun
    process = begin()
    os.killpg(process.pid, number)
    assert process.wait(timeout=120) != 0
    log = (project.folder / "results/logs/train/a.log").read_text()
    assert f"found:    {number.name}" in log
    assert "it resumes from this step" in log
    assert "Traceback" not in log
    assert_goes_on(project, whole)


@pytest.mark.slow
def test_killed_training_resumes_with_a_retry(begun, whole):
    project, begin = begun
    process = begin("--retries", "1")
    (training,) = [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if child.cmdline()[1:4] == ["-m", "pipeline", "train"]
    ]
    training.kill()
    assert process.wait(timeout=300) == 0
    assert_went_on(project, whole)
