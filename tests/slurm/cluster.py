"""A Slurm of two nodes on one machine, without systemd and without touching the system's own configuration.

    python tests/slurm/cluster.py start /tmp/cluster      # prints the variables to export
    python tests/slurm/cluster.py stop /tmp/cluster

All its files are in that folder: configuration, key, sockets, logs. Starting a running cluster does nothing. Two nodes,
`n1` and `n2`, are in both partitions, `cpu` (the default) and `gpu`. Each has 8 cores, whatever the machine has, and a
mock GPU, `/dev/null`. Jobs that use more memory than they requested are killed, as on a real cluster.
"""

import argparse
import os
import pwd
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil

NODES = ("n1", "n2")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol")
SLURM = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
# a job that is sent again starts when its first credential has expired
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
# without accounting, `squeue` has to know jobs for a while after they have ended
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
MinJobAge=600
# a job over its memory is killed within two seconds
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=2
JobAcctGatherParams=OverMemoryKill
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=1
KillWait=20
SlurmctldTimeout=10
SlurmdTimeout=60
{nodes}
PartitionName=cpu Nodes=ALL Default=YES DefMemPerCPU=500 MaxTime=UNLIMITED State=UP
PartitionName=gpu Nodes=ALL DefMemPerCPU=500 MaxTime=UNLIMITED State=UP
"""
NODE = "NodeName={name} NodeAddr=127.0.0.1 NodeHostname={host} Port={port} CPUs=8 RealMemory=32000 Gres=gpu:1"
START = 60  # seconds until both nodes are idle, on a machine that may be busy


def missing_programs() -> list[str]:
    """Return the programs of Slurm and MUNGE that are not installed."""
    return [name for name in PROGRAMS if shutil.which(name, path=search_path()) is None]


def search_path() -> str:
    """Return the search path of programs, with the folders of daemons, which PATH may lack."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


def free_ports(count: int) -> list[int]:
    """Find free ports."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


class Cluster:
    """A cluster in a folder.

    Parameters
    ----------
    folder : Path
        Where all of its files are; its path must be short enough for a socket (some 90 characters).
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.environment = {
            "SLURM_CONF": str(self.folder / "slurm.conf"),
            "PATH": os.pathsep.join([str(self.folder / "bin"), search_path()]),
        }

    def start(self) -> None:
        """Start MUNGE, the controller and two nodes unless they run; return when jobs can be submitted."""
        if not (self.folder / "slurm.conf").exists():
            self.configure()
        self.start_munge()
        self.start_controller()
        for name in NODES:
            self.start_node(name)
        self.wait_until_idle()

    def configure(self) -> None:
        """Write configuration and key."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)
        (self.folder / "state").mkdir()
        controller, *ports = free_ports(1 + len(NODES))
        host = socket.gethostname().split(".")[0]
        nodes = [NODE.format(name=name, host=host, port=port) for name, port in zip(NODES, ports, strict=True)]
        user = pwd.getpwuid(os.getuid()).pw_name
        text = SLURM.format(host=host, controller=controller, user=user, folder=self.folder, nodes="\n".join(nodes))
        (self.folder / "gres.conf").write_text(f"NodeName={','.join(NODES)} Name=gpu File=/dev/null\n")
        (self.folder / "slurm.conf").write_text(text)
        # the executor takes all variables SLURM_... from the steps of a job, and SLURM_CONF with them
        srun = self.folder / "bin" / "srun"
        srun.parent.mkdir()
        real = shlex.quote(str(shutil.which("srun", path=search_path())))
        srun.write_text(f'#!/bin/sh\nSLURM_CONF={shlex.quote(self.environment["SLURM_CONF"])} exec {real} "$@"\n')
        srun.chmod(0o755)
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o600)

    def start_munge(self) -> None:
        """Start the authentication daemon of Slurm's programs."""
        options = {name: f"{self.folder}/munge.{name}" for name in ("socket", "key", "seed", "log", "pid")}
        words = [
            f"--socket={options['socket']}",
            f"--key-file={options['key']}",
            f"--seed-file={options['seed']}",
            f"--log-file={options['log']}",
            f"--pid-file={options['pid']}",
        ]
        # --force: a parent folder may be writable by others
        self._daemon("munge.pid", "munged", "--force", *words)

    def start_controller(self) -> None:
        """Start the controller, with the jobs that it had when it was stopped."""
        self._daemon("slurmctld.pid", "slurmctld")

    def stop_controller(self) -> None:
        """Stop the controller; jobs keep running."""
        self._end("slurmctld.pid")

    def start_node(self, name: str) -> None:
        """Start the daemon of one node."""
        self._daemon(f"slurmd-{name}.pid", "slurmd", "-N", name)

    def stop(self) -> None:
        """Cancel all jobs and stop all daemons."""
        if self._process("slurmctld.pid") is not None:
            with suppress(subprocess.SubprocessError, TimeoutError):
                self.run("scancel", "--user", str(os.getuid()))
                self.wait_for(lambda: not self.run("squeue", "--noheader"))
        for file in ("slurmctld.pid", *(f"slurmd-{name}.pid" for name in NODES), "munge.pid"):
            self._end(file)
        self.end_leftovers()

    def end_leftovers(self) -> None:
        """Kill processes that outlived their job: without control groups, Slurm loses those whose parents ended."""
        killed = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                environment = process.environ()
                if environment.get("SLURM_CONF") == self.environment["SLURM_CONF"] and "SLURM_JOB_ID" in environment:
                    process.kill()
                    killed.append(process)
        self.wait_for(lambda: not any(map(lives, killed)))

    def run(self, *words: str) -> str:
        """Run one of Slurm's programs and return its output."""
        environment = {**os.environ, **self.environment}
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=60)
        if done.returncode != 0:
            raise subprocess.SubprocessError(f"{' '.join(words)}: {done.stdout}{done.stderr}")
        return done.stdout

    def jobs(self) -> list[dict[str, str]]:
        """Return the controller's records of all jobs, also of those that have ended."""
        lines = self.run("scontrol", "--oneliner", "show", "jobs").splitlines()
        return [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in lines if "JobId=" in line]

    def set_node(self, name: str, state: str) -> bool:
        """Set the state of a node: drain, down or resume."""
        self.run("scontrol", "update", f"NodeName={name}", f"State={state}", "Reason=test")
        return True

    def wait_until_idle(self) -> None:
        """Wait until both nodes accept jobs."""
        self.wait_for(lambda: self.run("sinfo", "--noheader", "-N", "-o", "%T").split().count("idle") == 4, START)

    @staticmethod
    def wait_for(condition, seconds: float = 60) -> None:
        """Wait until a condition holds; Slurm's programs may fail in the meantime."""
        end = time.monotonic() + seconds
        message = "the condition does not hold"
        while True:
            try:
                if condition():
                    return
            except subprocess.SubprocessError as error:
                message = str(error)
            if time.monotonic() > end:
                raise TimeoutError(f"not within {seconds} s: {message}")
            time.sleep(0.1)

    def _process(self, file: str) -> psutil.Process | None:
        """Return the running process whose id is in a file, or None."""
        try:
            process = psutil.Process(int((self.folder / file).read_text()))
        except (OSError, ValueError, psutil.NoSuchProcess):
            return None
        return process if lives(process) else None

    def _daemon(self, file: str, *words: str) -> None:
        if self._process(file) is None:
            self.run(*words)
            self.wait_for(lambda: self._process(file) is not None, START)

    def _end(self, file: str) -> None:
        """End a daemon and wait for its process, which saves its state after it removed its file."""
        process = self._process(file)
        if process is None:
            return
        with suppress(psutil.NoSuchProcess):
            process.terminate()
            with suppress(TimeoutError):
                self.wait_for(lambda: not lives(process), 15)
            process.kill()
        self.wait_for(lambda: not lives(process), 15)


def lives(process: psutil.Process) -> bool:
    """Tell whether a process runs; zombies do not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=["start", "stop"])
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args(argv)
    cluster = Cluster(arguments.folder)
    if missing := missing_programs():
        print(f"not installed: {', '.join(missing)}; `make debian-packages` installs them", file=sys.stderr)
        return 1
    if arguments.verb == "stop":
        cluster.stop()
        return 0
    cluster.start()
    for name, value in cluster.environment.items():
        print(f"export {name}={value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
