"""Start a training run on all machines of a Slurm job, and find the first of them."""

import os
import subprocess
import sys

from pipeline.core.errors import TrainingError

PORT = 29500
"""Port of the first machine, as of `torchrun`."""


def run_on_nodes(nodes: int) -> None:
    """In a Slurm job, run this command on `nodes` machines by `srun`, which replaces this process.

    Does nothing for a single machine, outside of Slurm, and in processes that `srun` has started on that many machines.
    `srun` forwards signals to all of them, and ends all when the command fails on one.
    """
    if nodes == 1 or "SLURM_JOB_ID" not in os.environ or int(os.environ.get("SLURM_STEP_NUM_NODES", 1)) == nodes:
        return
    # overlap: Snakemake runs jobs in a step of their own; disable-status: a single Ctrl-C is forwarded
    options = [f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1", "--overlap", "--disable-status"]
    command = ["srun", *options, "--kill-on-bad-exit=1", sys.executable, "-m", "pipeline", *sys.argv[1:]]
    os.execvp("srun", command)  # noqa: S606, S607 - found in PATH, as in scripts of Slurm


def first_node(nodes: int) -> tuple[str, int]:
    """Return address and port of the first of several machines.

    Both are in ``MASTER_ADDR`` and ``MASTER_PORT``, as PyTorch names them. In a Slurm job they follow from its nodes
    and its number.

    Raises
    ------
    TrainingError
        If the address is not known.
    """
    host, port = os.environ.get("MASTER_ADDR"), os.environ.get("MASTER_PORT")
    if job := os.environ.get("SLURM_JOB_ID"):
        port = port or str(20000 + int(job) % 10000)
        if not host and (names := os.environ.get("SLURM_STEP_NODELIST")):
            command = ["scontrol", "show", "hostnames", names]
            output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout  # noqa: S603
            host = output.split()[0]
    if host:
        return host, int(port or PORT)
    remedy = "set it to the address of the same machine on all of them (docs/gpus.md), or train in a Slurm job"
    raise TrainingError("MASTER_ADDR", "not set", f"the address of the first of {nodes} machines", remedy)
