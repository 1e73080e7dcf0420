"""The workflow on a real Slurm of two nodes, with failures of jobs, nodes, the controller and Snakemake."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
import yaml
from cluster import NODES, Cluster, missing_programs
from projects import LASTING, ROOT, Project
from rawfiles import make_tgs

from pipeline.tools.verify import as_text, compare_runs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),  # dozens of jobs, each of which starts Python four times
    pytest.mark.skipif(
        bool(missing_programs()),
        reason=f"{', '.join(missing_programs())} not installed: see `make debian-packages`",
    ),
]

CONFIG = LASTING.replace("EPOCHS", "100")
# settings of the shipped profile that are too slow for this cluster
HASTE = {
    "slurm-status-command": "squeue",  # there is no accounting
    "slurm-init-seconds-before-status-checks": 2,
    "seconds-between-status-checks": 2,
    "latency-wait": 20,
}
TRAIN = ("rule_train_wildcards_a", "rule_train_nodes_wildcards_a")


@pytest.fixture(scope="module")
def cluster():
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # pytest's own folders have names too long for a socket
    started = Cluster(folder)
    try:
        started.start()
        yield started
    finally:
        started.stop()
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A project after a complete, undisturbed run on this machine."""
    project = Project(tmp_path_factory.mktemp("whole"))
    make_tgs(project.folder / "raw" / "TGS")
    project.config.write_text(CONFIG)
    project.snakemake()
    return project


class Remote:
    """A project whose jobs run on the cluster with the shipped profile."""

    def __init__(self, folder, cluster, **train):
        self.project = Project(folder / "project")
        self.folder = self.project.folder
        self.cluster = cluster
        self.log = folder / "log"
        self.process = None
        make_tgs(self.folder / "raw" / "TGS")
        self.project.config.write_text(CONFIG)
        profile = yaml.safe_load((ROOT / "profiles" / "slurm" / "config.yaml").read_text()) | HASTE
        for rule in ("train", "train_nodes"):
            profile["set-resources"][rule] |= {"save_every": 0, **train}
        self.profile = folder / "profile"
        self.profile.mkdir()
        (self.profile / "config.yaml").write_text(yaml.safe_dump(profile))
        self.environment = {**os.environ, **cluster.environment, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    def start(self, *words):
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
        command += ["--workflow-profile", str(self.profile), *words]
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                command,
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.environment,
                start_new_session=True,
            )

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def wait_for(self, condition, seconds=300):
        """Wait until a function returns something true, while Snakemake runs; return it."""
        end = time.monotonic() + seconds
        found = None
        while not found and self.process.poll() is None and time.monotonic() < end:
            with suppress(subprocess.SubprocessError, FileNotFoundError):  # a busy controller; a state just replaced
                found = condition()
            time.sleep(0.1)
        assert found, self.log.read_text()[-6000:]
        return found

    def trainings(self):
        """Return Slurm's records of the jobs of the training, in the order of submission."""
        jobs = [
            job for job in self.cluster.jobs() if job.get("Comment") in TRAIN and job["WorkDir"] == str(self.folder)
        ]
        return sorted(jobs, key=lambda job: int(job["JobId"]))

    def training(self, attempt, *states):
        """Wait until a job of the training is in one of the states, and return it."""

        def reached():
            jobs = self.trainings()[attempt - 1 :]
            return jobs[0] if jobs and jobs[0]["JobState"] in states else None

        return self.wait_for(reached)

    @contextmanager
    def frozen(self):
        """Pause the training after it has saved a state, so that it does not end before the test interrupts it."""

        def saved():
            states = [path.stat().st_mtime for path in self.folder.glob("results/state/a/*/current.pt")]
            running = [process for process in psutil.process_iter() if self.is_training(process)]
            return [one for one in running if max(states, default=0) > one.create_time()]

        (process,) = self.wait_for(saved)
        process.suspend()
        try:
            yield process
        finally:
            with suppress(psutil.NoSuchProcess):
                process.resume()

    def went_on(self):
        """Tell whether the current or last training resumed from a state."""
        return "a: resumes from epoch " in (self.folder / "results/logs/train/a.log").read_text()

    def is_training(self, process):
        with suppress(psutil.Error):
            return process.cmdline()[1:4] == ["-m", "pipeline", "train"] and process.cwd() == str(self.folder)
        return False


@pytest.fixture
def remote(tmp_path, cluster):
    projects = []

    def make(**train):
        projects.append(Remote(tmp_path, cluster, **train))
        return projects[-1]

    yield make
    for project in projects:
        project.stop()


def asked_to_end(process):
    """Tell whether SIGTERM is pending for a paused process, or has reached it because Slurm continued it."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    except OSError:
        return True
    (pending,) = re.findall(r"^ShdPnd:\s+(\w+)$", status, re.MULTILINE)
    return "T (stopped)" not in status or bool(int(pending, 16) >> (signal.SIGTERM - 1) & 1)


def megabytes(job):
    number, unit = re.search(r"mem=([\d.]+)([MG])", job["TRES"]).groups()
    return float(number) * {"M": 1, "G": 1000}[unit]


def test_cluster_failures_do_not_change_the_results(cluster, remote, whole):
    # too little memory for PyTorch in the first attempt
    run = remote(mem_mb="[250, 3000][min(attempt, 2) - 1] * attempt")
    run.start()
    first = run.training(1, "OUT_OF_MEMORY", "FAILED", "CANCELLED")
    assert first["JobName"].startswith("segmentation_")
    assert first["Partition"] == "gpu"
    assert first["TresPerJob"] == "gres:gpu:1"
    assert first["TimeLimit"] == "08:00:00"
    assert "xceeded memory limit" in Path(first["StdOut"]).read_text()

    # the time limit
    second = run.training(2, "RUNNING")
    assert megabytes(second) > megabytes(first)
    assert second["TimeLimit"] == "16:00:00"
    with run.frozen() as training:
        cluster.run("scontrol", "update", f"JobId={second['JobId']}", "EndTime=now+1")
        run.wait_for(lambda: asked_to_end(training))
    run.training(2, "FAILED", "TIMEOUT")

    # `scancel`
    third = run.training(3, "RUNNING")
    with run.frozen():
        assert run.went_on()
        cluster.run("scancel", third["JobId"])
    run.training(3, "CANCELLED")

    # the controller restarts; a node is drained, then fails
    lost = run.training(4, "RUNNING")["NodeList"]
    with run.frozen():
        assert run.went_on()
        cluster.stop_controller()
        cluster.start_controller()
        cluster.wait_for(lambda: cluster.set_node(lost, "drain"))
        assert run.training(4, "RUNNING")["NodeList"] == lost, "a node that drains lets its jobs run"
        cluster.set_node(lost, "down")
    run.wait_for(lambda: run.trainings()[3]["Restarts"] == "1")
    (other,) = set(NODES) - {lost}
    assert run.training(4, "RUNNING", "COMPLETED")["NodeList"] == other
    assert run.process.wait(600) == 0, run.log.read_text()[-6000:]
    assert len(run.trainings()) == 4
    assert run.went_on()

    results = [whole.folder / "results", run.folder / "results"]
    comparison = compare_runs(*results)
    assert not comparison.differences, as_text(comparison, *results)
    cluster.set_node(lost, "resume")


def test_orphan_jobs_of_a_killed_snakemake_are_cancelled(cluster, remote, whole, tmp_path):
    run = remote()
    run.start("results/models/a/best.pt")
    with run.frozen():
        run.stop()
        assert run.trainings()[0]["JobState"] == "RUNNING"
        # a job of another run, which must not be touched
        words = ["--job-name=segmentation_other", f"--chdir={tmp_path}", "--output=/dev/null", "--mem=100"]
        other = cluster.run("sbatch", "--parsable", *words, "--wrap=sleep 600").strip()
        (command,) = re.findall(r"^ +(squeue .*scancel)$", (ROOT / "docs/cluster.md").read_text(), re.MULTILINE)
        subprocess.run(command, shell=True, cwd=run.folder, env=run.environment, check=True)
    cluster.wait_for(lambda: run.trainings()[0]["JobState"] == "CANCELLED")
    (spared,) = [job for job in cluster.jobs() if job["JobId"] == other]
    assert spared["JobState"] in ("PENDING", "RUNNING")
    cluster.run("scancel", other)

    # finish on this machine what the cluster began
    run.project.snakemake("--unlock")
    run.project.snakemake("results/models/a/best.pt")
    assert run.went_on()
    for name in ("best.pt", "last.pt", "history.csv"):
        there, here = (one.folder / "results/models/a" / name for one in (whole, run))
        assert here.read_bytes() == there.read_bytes()
