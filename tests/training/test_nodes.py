"""Training on several machines: two launchers on this one stand for two."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
import yaml
from rawfiles import make_tgs

from pipeline.config.config import parse
from pipeline.core.errors import ConfigError, TrainingError
from pipeline.training import launch, nodes
from pipeline.training.recipes import TrainRecipe

CONFIG = """
store_gb: 0
datasets:
  t: {layout: tgs, root: TGS, size: [48, 48], validation: {fraction: 0.3}, test: {rule: fraction, fraction: 0.2}}
experiments:
  one: &recipe {dataset: t, model: {name: unet-small, widths: [4, 8]}, loss: bce, optimizer: {name: sgd, lr: 0.01},
    batch_size: 4, epochs: 3, threads: 1, gpus: 2}
  two: {<<: *recipe, nodes: 2}
  long: {<<: *recipe, nodes: 2, epochs: 2000}
"""


def settings(**changes):
    return yaml.safe_load(CONFIG)["experiments"]["one"] | changes


# -- settings ----------------------------------------------------------------------------------------------------------


def test_one_node_is_the_same_as_none():
    assert TrainRecipe(**settings(nodes=1)).plain() == TrainRecipe(**settings()).plain()
    assert "nodes" not in TrainRecipe(**settings()).plain()
    two = TrainRecipe(**settings(gpus=4, nodes=2))
    assert (two.plain()["nodes"], two.node_gpus) == (2, 2)


def test_gpus_must_be_a_multiple_of_nodes():
    with pytest.raises(ConfigError, match=r"`gpus` that are a multiple of `nodes` \(3\)"):
        parse(yaml.safe_load(CONFIG) | {"experiments": {"e": settings(nodes=3)}})


@pytest.mark.parametrize(("processes", "warned"), [(1, False), (100_000, True)])
def test_more_threads_than_cores_cause_a_warning(capsys, monkeypatch, processes, warned):
    monkeypatch.setattr(launch.torch.cuda, "is_available", lambda: False)
    launch.warn_of_busy_cpus(processes, 1)
    assert ("100000 processes with 1 threads each share" in capsys.readouterr().err) == warned


# -- Slurm, without Slurm ----------------------------------------------------------------------------------------------


@pytest.fixture
def slurm(monkeypatch):
    """Set variables as in a job of Slurm; commands that replace this process are returned."""
    for name in ("MASTER_ADDR", "MASTER_PORT", *(name for name in os.environ if name.startswith("SLURM_"))):
        monkeypatch.delenv(name, raising=False)
    commands = []
    monkeypatch.setattr(nodes.os, "execvp", lambda program, command: commands.append([program, *command]))
    monkeypatch.setattr(nodes.sys, "argv", ["pipeline", "train", "--experiment", "e"])

    def set_variables(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return commands

    return set_variables


@pytest.mark.parametrize(
    ("count", "variables", "starts"),
    [
        (2, {}, False),  # by hand, on each machine
        (1, {"SLURM_JOB_ID": "7"}, False),
        (2, {"SLURM_JOB_ID": "7"}, True),
        (2, {"SLURM_JOB_ID": "7", "SLURM_STEP_NUM_NODES": "1"}, True),  # a job of Snakemake
        (2, {"SLURM_JOB_ID": "7", "SLURM_STEP_NUM_NODES": "2"}, False),  # started by `srun`
    ],
)
def test_command_starts_itself_once_on_all_nodes_of_a_job(slurm, count, variables, starts):
    commands = slurm(**variables)
    nodes.run_on_nodes(count)
    if not starts:
        assert commands == []
        return
    (command,) = commands
    assert command[:2] == ["srun", "srun"]
    assert {"--nodes=2", "--ntasks-per-node=1", "--kill-on-bad-exit=1"} < set(command)
    assert command[-6:] == [sys.executable, "-m", "pipeline", "train", "--experiment", "e"]


def test_first_node_is_named_by_variables_or_by_slurm(slurm, tmp_path, monkeypatch):
    with pytest.raises(TrainingError, match="MASTER_ADDR\n    found:    not set"):
        nodes.first_node(2)
    program = tmp_path / "scontrol"
    program.write_text('#!/bin/sh\necho "$1-$2-$3-first"\necho second\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    slurm(SLURM_JOB_ID="30017", SLURM_STEP_NODELIST="n[1-2]")
    assert nodes.first_node(2) == ("show-hostnames-n[1-2]-first", 20017)
    slurm(MASTER_ADDR="host", MASTER_PORT="123")
    assert nodes.first_node(2) == ("host", 123)


# -- two launchers -----------------------------------------------------------------------------------------------------


class Machines:
    """A folder that two machines see, and the commands that run on them."""

    def __init__(self, folder):
        self.folder, self.running = folder, []

    def start(self, experiment, count, *words):
        command = [sys.executable, "-m", "pipeline", "train", "--experiment", experiment, *words]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
        environment = {**clean, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(self.port())}
        for _ in range(count):
            with (self.folder / f"{len(self.running)}.log").open("w") as log:
                pipes = {"stdout": log, "stderr": subprocess.STDOUT}
                self.running.append(subprocess.Popen(command, cwd=self.folder, env=environment, **pipes))
        return self.running[-count:]

    def port(self):
        with nodes_socket() as server:
            return server.getsockname()[1]

    def wait(self, *statuses):
        """Wait for the last commands, compare their exit statuses, and return their output."""
        commands = self.running[-len(statuses) :]
        found = [command.wait(timeout=120) for command in commands]
        first = len(self.running) - len(statuses)
        logs = [(self.folder / f"{first + n}.log").read_text() for n in range(len(statuses))]
        assert found == list(statuses), "\n----\n".join(logs)
        return logs

    def wait_for_state(self, experiment):
        """Wait until the training that runs has saved a state; return its processes other than the launchers."""
        started = time.time()
        while not any(
            path.stat().st_mtime > started
            for path in (self.folder / f"results/state/{experiment}").glob("*/current.pt")
        ):
            assert all(command.poll() is None for command in self.running[-2:]), self.wait(0, 0)
            time.sleep(0.05)
        children = [psutil.Process(command.pid).children() for command in self.running[-2:]]
        return [[child for child in group if "fork" in " ".join(child.cmdline())] for group in children]


def nodes_socket():
    return launch.socket.create_server(("127.0.0.1", 0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("machines")
    make_tgs(folder / "TGS")
    (folder / "config.yaml").write_text(CONFIG)
    for split in ("train", "validation"):
        arguments = ["shard", "--dataset", "t", "--split", split, "--number", "0"]
        subprocess.run([sys.executable, "-m", "pipeline", *arguments], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture
def machines(folder):
    machines = Machines(folder)
    yield machines
    for command in machines.running:
        command.kill()
        command.wait()


@pytest.mark.slow
def test_two_machines_give_the_network_of_one(machines, folder):
    machines.start("one", 1)
    machines.wait(0)
    machines.start("two", 2)
    logs = machines.wait(0, 0)
    assert sorted("two: best epoch" in log for log in logs) == [False, True], "one process writes"
    assert not (folder / "results/state/two").exists() or not list((folder / "results/state/two").iterdir())
    one, two = (folder / "results/models" / name for name in ("one", "two"))
    assert (one / "history.csv").read_bytes() == (two / "history.csv").read_bytes()
    assert (two / "provenance.json").exists()


@pytest.mark.slow
def test_a_failure_ends_the_training_on_both_machines(machines):
    machines.start("long", 2, "--save-every", "0")
    (first,), (second,) = machines.wait_for_state("long")
    second.kill()
    logs = machines.wait(1, 1)
    (killed,) = {line for log in logs for line in log.splitlines() if "found:" in line}
    assert killed.split() == ["found:", "killed", "by", "SIGKILL"]
    assert not any("Traceback" in log for log in logs)
    assert not first.is_running()

    # a signal to one machine saves the state, from which both resume
    commands = machines.start("long", 2, "--save-every", "0")
    machines.wait_for_state("long")
    commands[1].terminate()
    logs = machines.wait(143, 143)
    assert all("found:    SIGTERM" in log and "it resumes from this step" in log for log in logs)
    assert sum("long: resumes from epoch" in log for log in logs) == 1

    # the launcher of either machine is killed
    for number in (0, 1):
        commands = machines.start("long", 2, "--save-every", "0")
        running = [process for group in machines.wait_for_state("long") for process in group]
        commands[number].kill()
        assert commands[number].wait() == -signal.SIGKILL
        assert commands[1 - number].wait(90) != 0
        assert psutil.wait_procs(running, timeout=20)[1] == []
