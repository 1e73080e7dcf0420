"""Kill the whole workflow again and again at random moments, and see that nothing is lost.

    python tests/chaos.py --kills 50 --seed 0

Snakemake and its jobs get SIGKILL, all at once; then what the README says is typed again, until the workflow is done.
At the end every file is compared with an undisturbed run. A workflow that ends before the last kill is followed by
another one in a fresh folder.
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

MORE = """
  c: {dataset: d, model: {name: unet, width: 4, depth: 2}, loss: dice, optimizer: {name: sgd, lr: 0.1, momentum: 0.9},
    batch_size: 2, epochs: 6, threads: 1, augment: {flip: both, rotate: 20}}
  e: {dataset: t, model: {name: unet-small, widths: [4, 8]}, loss: bce, optimizer: {name: adamw, lr: 0.01},
    batch_size: 4, epochs: 4, threads: 1, schedule: {name: cosine}}
"""
PATIENCE = 1800  # seconds for one undisturbed run on a machine that may be busy


def _session(leader):
    """Return the living processes of a session."""
    found = []
    for pid in psutil.pids():
        with suppress(ProcessLookupError, PermissionError, psutil.NoSuchProcess):
            if os.getsid(pid) == leader and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(psutil.Process(pid))
    return found


class Chaos:
    """One workflow in a folder of its own, and what was done to it."""

    def __init__(self, folder, cores=2, epochs=60):
        self.folder = folder
        self.log = folder / "said.txt"
        make_drive(folder / "raw" / "DRIVE", training=9)
        make_tgs(folder / "raw" / "TGS")
        (folder / "config.yaml").write_text(CONFIG.replace("epochs: 2", f"epochs: {epochs}") + MORE)
        self.cores = str(cores)
        self.starts = self.unlocks = self.kills = self.survivors = self.rewritten = self.went_on = 0
        self.moments = []
        self.done = {}

    def start(self, *words):
        """Type `snakemake --cores N`, in a session of its own."""
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
        command += ["--directory", str(self.folder), "--cores", self.cores, *words]
        command += ["--set-resources", "train:save_every=0"]  # after every step: these trainings take seconds
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
        with self.log.open("w") as log:
            return subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, env=environment, start_new_session=True
            )

    def run(self, *words):
        """Type it and wait for the end."""
        started = time.monotonic()
        process = self.start(*words)
        try:
            if process.wait(PATIENCE) != 0:
                raise RuntimeError(f"`snakemake {' '.join(words)}` failed:\n{self.log.read_text()[-5000:]}")
        finally:
            self.kill(process)
        return time.monotonic() - started

    def kill(self, process):
        """Kill -9 the process group, and whatever else of the session lives on."""
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        _, alive = psutil.wait_procs(_session(process.pid), timeout=10)
        self.survivors += len(alive)
        for other in alive:
            with suppress(psutil.NoSuchProcess):
                other.kill()

    def run_until(self, moment):
        """Start, and kill after `moment` seconds; return whether the workflow was done before."""
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
            said = self.log.read_text()
            if "--unlock" not in said:
                raise RuntimeError(f"after {self.kills} kills the workflow failed:\n{said[-5000:]}")
            self.unlocks += 1
            self.run("--unlock")

    def finished(self):
        """Return the outputs that Snakemake has recorded as complete, with the time of their last change."""
        outputs = {}
        for record in (self.folder / ".snakemake/metadata").rglob("*"):
            with suppress(OSError, ValueError):
                parts = record.relative_to(self.folder / ".snakemake/metadata").parts
                name = base64.b64decode("".join(part.removeprefix("@") for part in parts)).decode()
                if not json.loads(record.read_text())["incomplete"]:
                    outputs[name] = (self.folder / name).lstat().st_mtime_ns
        return outputs

    def count_rewritten(self, started):
        """Count what had been finished and was written once more, and the trainings that went on since `started`."""
        logs = (self.folder / "results/logs/train").glob("*.log")
        self.went_on += sum(log.stat().st_mtime > started and "resumes from" in log.read_text() for log in logs)
        now = self.finished()
        self.rewritten += sum(now.get(name) != then for name, then in self.done.items())
        self.done = now

    def progress(self, reference):
        """Return the share of the undisturbed run's outputs that are complete."""
        return len(self.finished()) / len(reference.finished())


def torment(kills, seed, folder, cores=2, epochs=60, log=print):
    """Kill one workflow after another until there were enough kills.

    Returns
    -------
    int
        Losses: files that are missing or differ from the undisturbed run, finished outputs that were written again,
        leftovers of killed writers, processes that outlived their kill.
    """
    chance = random.Random(seed)
    reference = Chaos(folder / "undisturbed", cores, epochs)
    duration = reference.run()
    shortest = reference.run("--dry-run")
    log(f"undisturbed: {duration:.0f} s, {len(reference.finished())} outputs; to look what to do: {shortest:.1f} s")
    window, total, losses = 1.5 * shortest, 0, 0
    while total < kills:
        chaos = Chaos(folder / f"after-{total}", cores, epochs)
        already = total
        while True:
            before = len(chaos.finished())
            moment = chance.uniform(0, window) if total < kills else PATIENCE
            if chaos.run_until(moment):
                break
            if total >= kills:
                raise RuntimeError(f"not done within {PATIENCE} s:\n{chaos.log.read_text()[-5000:]}")
            total = already + chaos.kills
            share = chaos.progress(reference)
            log(f"kill {total} after {moment:.1f} s: {share:.0%} done", flush=True)
            # one workflow is to last for all kills: longer where nothing was finished, shorter where too much was
            if len(chaos.finished()) <= before:
                window = min(window * 1.25, shortest + duration)
            elif share > chaos.kills / (kills - already):
                window = max(window * 0.8, shortest)
        losses += judge(chaos, reference, log)
    log(f"{total} kills, {losses} losses")
    return losses


def judge(chaos, reference, log=print):
    """Say what was done to one workflow that is finished, and return its losses."""
    results = [reference.folder / "results", chaos.folder / "results"]
    comparison = compare_runs(*results)
    leftovers = [path for path in results[1].rglob("*") if PARTIAL.match(path.name)]
    log(as_text(comparison, *results))
    first, last = min(chaos.moments, default=0), max(chaos.moments, default=0)
    log(
        f"{chaos.kills} kills, {first:.1f} to {last:.1f} s after a start; {chaos.starts} starts, "
        f"{chaos.unlocks} times `snakemake --unlock`, {chaos.went_on} times a training went on where it was"
    )
    log(
        f"{len(comparison.differences)} files differ or are missing, {chaos.rewritten} finished outputs written again, "
        f"{len(leftovers)} leftovers, {chaos.survivors} processes outlived a kill"
    )
    return len(comparison.differences) + chaos.rewritten + len(leftovers) + chaos.survivors


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--folder", type=Path, help="new folder to work in, and to keep (a temporary one, removed)")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        return min(torment(arguments.kills, arguments.seed, folder, arguments.cores, arguments.epochs), 1)


if __name__ == "__main__":
    sys.exit(main())
