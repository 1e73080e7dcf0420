"""Kill the whole workflow repeatedly at random moments, and check that no results are lost.

    python tests/chaos.py --kills 50 --seed 0

Snakemake and all its jobs get SIGKILL at the same time. Then the command of the README is run again, until the workflow
is finished. At the end, every file is compared with an undisturbed run. If a workflow ends before the last kill,
another one starts in a new folder.
"""

import argparse
import base64
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil
from projects import CONFIG, ROOT
from rawfiles import make_drive, make_tgs

from pipeline.core.files import PARTIAL
from pipeline.tools.verify import as_text, compare_runs

EXTRA_EXPERIMENTS = """
  c: {dataset: d, model: {name: unet, width: 4, depth: 2}, loss: dice, optimizer: {name: sgd, lr: 0.1, momentum: 0.9},
    batch_size: 2, epochs: 6, threads: 1, augment: {flip: both, rotate: 20}}
  e: {dataset: t, model: {name: unet-small, widths: [4, 8]}, loss: bce, optimizer: {name: adamw, lr: 0.01},
    batch_size: 4, epochs: 4, threads: 1, schedule: {name: cosine}}
"""
TIMEOUT = 1800  # seconds for one undisturbed run on a busy machine


def _session(leader):
    """Return the running processes of a session."""
    processes = []
    for pid in psutil.pids():
        with suppress(ProcessLookupError, PermissionError, psutil.NoSuchProcess):
            if os.getsid(pid) == leader and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                processes.append(psutil.Process(pid))
    return processes


class Chaos:
    """A workflow in its own folder, with counts of starts, kills and their effects."""

    def __init__(self, folder, cores=2, epochs=60):
        self.folder = folder
        self.log = folder / "snakemake.log"
        make_drive(folder / "raw" / "DRIVE", training=9)
        make_tgs(folder / "raw" / "TGS")
        (folder / "config.yaml").write_text(CONFIG.replace("epochs: 2", f"epochs: {epochs}") + EXTRA_EXPERIMENTS)
        self.cores = str(cores)
        self.starts = self.unlocks = self.kills = self.survivors = self.rewritten = self.resumed = 0
        self.moments = []
        self.outputs = {}

    def start(self, *arguments):
        """Start `snakemake --cores N` in a new session."""
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
        command += ["--directory", str(self.folder), "--cores", self.cores, *arguments]
        command += [
            "--set-resources",
            "train:save_every=0",
        ]  # save the state after every step, because these trainings take seconds
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
        with self.log.open("w") as log:
            return subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, env=environment, start_new_session=True
            )

    def run(self, *arguments):
        """Run `snakemake --cores N`; return its duration in seconds."""
        started = time.monotonic()
        process = self.start(*arguments)
        try:
            if process.wait(TIMEOUT) != 0:
                raise RuntimeError(f"`snakemake {' '.join(arguments)}` failed:\n{self.log.read_text()[-5000:]}")
        finally:
            self.kill(process)
        return time.monotonic() - started

    def kill(self, process):
        """Kill the process group with SIGKILL, and then the remaining processes of the session."""
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        _, alive = psutil.wait_procs(_session(process.pid), timeout=10)
        self.survivors += len(alive)
        for survivor in alive:
            with suppress(psutil.NoSuchProcess):
                survivor.kill()

    def run_until(self, moment):
        """Start Snakemake and kill it after `moment` seconds; return whether it finished before."""
        while True:
            self.starts += 1
            started = time.time()
            process = self.start()
            try:
                status = process.wait(moment)
            except subprocess.TimeoutExpired:
                self.kill(process)
                self.kills += 1
                self.moments.append(moment)
                self.count_rewritten(started)
                return False
            if status == 0:
                self.count_rewritten(started)
                return True
            output = self.log.read_text()
            if "--unlock" not in output:
                raise RuntimeError(f"after {self.kills} kills the workflow failed:\n{output[-5000:]}")
            self.unlocks += 1
            self.run("--unlock")

    def finished(self):
        """Return the outputs that Snakemake has recorded as complete, with their modification times."""
        outputs = {}
        for record in (self.folder / ".snakemake/metadata").rglob("*"):
            with suppress(OSError, ValueError):
                parts = record.relative_to(self.folder / ".snakemake/metadata").parts
                name = base64.b64decode("".join(part.removeprefix("@") for part in parts)).decode()
                if not json.loads(record.read_text())["incomplete"]:
                    outputs[name] = (self.folder / name).lstat().st_mtime_ns
        return outputs

    def count_rewritten(self, started):
        """Count finished outputs that were written again, and trainings resumed since `started`."""
        logs = (self.folder / "results/logs/train").glob("*.log")
        self.resumed += sum(log.stat().st_mtime > started and "resumes from" in log.read_text() for log in logs)
        outputs = self.finished()
        self.rewritten += sum(outputs.get(name) != modified for name, modified in self.outputs.items())
        self.outputs = outputs

    def progress(self, reference):
        """Return the fraction of the outputs of the undisturbed run that are complete."""
        return len(self.finished()) / len(reference.finished())


def kill_repeatedly(kills, seed, folder, cores=2, epochs=60, log=print):
    """Kill workflows until the number of kills is reached.

    Returns
    -------
    int
        Losses: files that are missing or differ from the undisturbed run, finished outputs that were written again,
        leftovers of killed writers, processes that survived a kill.
    """
    rng = random.Random(seed)
    reference = Chaos(folder / "undisturbed", cores, epochs)
    duration = reference.run()
    shortest = reference.run("--dry-run")
    log(f"undisturbed: {duration:.0f} s, {len(reference.finished())} outputs; dry run: {shortest:.1f} s")
    window, total, losses = 1.5 * shortest, 0, 0
    while total < kills:
        chaos = Chaos(folder / f"after-{total}", cores, epochs)
        previous_kills = total
        while True:
            finished_before = len(chaos.finished())
            moment = rng.uniform(0, window) if total < kills else TIMEOUT
            if chaos.run_until(moment):
                break
            if total >= kills:
                raise RuntimeError(f"not finished within {TIMEOUT} s:\n{chaos.log.read_text()[-5000:]}")
            total = previous_kills + chaos.kills
            share = chaos.progress(reference)
            log(f"kill {total} after {moment:.1f} s: {share:.0%} done", flush=True)
            # let one workflow last for all kills: wait longer if nothing was finished, shorter if too much was
            if len(chaos.finished()) <= finished_before:
                window = min(window * 1.25, shortest + duration)
            elif share > chaos.kills / (kills - previous_kills):
                window = max(window * 0.8, shortest)
        losses += judge(chaos, reference, log)
    log(f"{total} kills, {losses} losses")
    return losses


def judge(chaos, reference, log=print):
    """Print the statistics of a finished workflow, and return its losses."""
    results = [reference.folder / "results", chaos.folder / "results"]
    comparison = compare_runs(*results)
    leftovers = [path for path in results[1].rglob("*") if PARTIAL.match(path.name)]
    log(as_text(comparison, *results))
    first, last = min(chaos.moments, default=0), max(chaos.moments, default=0)
    log(
        f"{chaos.kills} kills, {first:.1f} to {last:.1f} s after a start; {chaos.starts} starts, "
        f"{chaos.unlocks} times `snakemake --unlock`, {chaos.resumed} resumed trainings"
    )
    log(
        f"{len(comparison.differences)} files differ or are missing, {chaos.rewritten} finished outputs written again, "
        f"{len(leftovers)} leftovers, {chaos.survivors} processes survived a kill"
    )
    return len(comparison.differences) + chaos.rewritten + len(leftovers) + chaos.survivors


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument(
        "--folder", type=Path, help="new folder for the runs, which is kept (default: a temporary folder)"
    )
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        return min(kill_repeatedly(arguments.kills, arguments.seed, folder, arguments.cores, arguments.epochs), 1)


if __name__ == "__main__":
    sys.exit(main())
