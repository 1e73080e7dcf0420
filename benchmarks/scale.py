"""Measure the time to list many samples and to plan a run on them, and the memory of a shard job.

    python benchmarks/scale.py [--pairs 100000] [--layouts tgs folder duts] [--folder FOLDER]
    python benchmarks/scale.py --experiments 10 100 1000 [--pairs 2000] [--folder FOLDER]

Creates a few tiny images and hard links to them in a temporary folder. Then measures, for each layout:

listing: seconds to list a data set in a new process, including splits and shards.
dry run: seconds of `snakemake -n` without results, with one shard for every 512 pairs and one experiment; in brackets
the CPU seconds, which do not depend on the load of the machine. The first dry run reads all raw files; "again" is the
second one, which reads only their metadata.
memory: peak resident memory of `python -m pipeline shard` on a shard of about 512 samples of the data set, and of a
tenth of it. The two should be nearly equal, because only the list of samples grows.

With `--experiments`, for each of these numbers of experiments on one data set: jobs, seconds, CPU seconds and peak
resident memory of `snakemake -n`, without results.
"""

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).parents[1]
LAYOUTS = ("tgs", "folder", "duts")
LISTING = """
import pathlib, time
from pipeline.config.config import load
from pipeline.graph.study import Study
study = Study(load([pathlib.Path("config.yaml")]))
started = time.perf_counter()
raw = study.raw("x")
shards = {split: len(raw.shard_members(split)) for split in raw.splits}
print(time.perf_counter() - started, sum(map(len, raw.splits.values())))
"""
PLAN = """
import pathlib
from pipeline.config.config import load
from pipeline.graph.artifacts import Shard
from pipeline.graph.base import plan_of
from pipeline.graph.study import Study
print(plan_of(Shard("x", "train", 0), Study(load([pathlib.Path("config.yaml")]))).to_json())
"""
# peak resident memory of a child process
PEAK = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stderr=1); "
PEAK += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"


def generate(root, layout, pairs):
    """Create `pairs` links to tiny images and masks in the folders of a layout."""
    rng = np.random.default_rng(0)
    images, masks = {
        "tgs": ("train/images", "train/masks"),
        "folder": ("images", "masks"),
        "duts": ("DUTS-TR/DUTS-TR-Image", "DUTS-TR/DUTS-TR-Mask"),
    }[layout]
    for folder, pixels in ((images, rng.integers(0, 255, (24, 24))), (masks, rng.integers(0, 2, (24, 24)) * 255)):
        (root / folder).mkdir(parents=True)
        data = cv2.imencode(".png", pixels.astype(np.uint8))[1].tobytes()
        first = root / folder / "p0000000.png"
        for number in range(pairs):
            path = os.path.join(root, folder, f"p{number:07d}.png")
            if number % 20_000 == 0:  # file systems limit the number of links to a file
                first = Path(path)
                first.write_bytes(data)
            else:
                os.link(first, path)


def run(*command, folder):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    completed = subprocess.run([sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True)
    if completed.returncode:
        sys.exit(completed.stdout[-2000:] + completed.stderr[-4000:])
    return completed.stdout


def cpu_seconds():
    """Return the CPU seconds of ended child processes."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def configure(folder, layout, pairs):
    """Write config.yaml with a data set and an experiment."""
    data = {"layout": layout, "root": "raw", "size": [32, 32], "shards": max(1, pairs // 512), "normalize": "unit"}
    data |= {"test": {"rule": "fraction", "fraction": 0.1}, "validation": {"fraction": 0.1}}
    experiment = {"dataset": "x", "model": "unet-crop" if layout == "tgs" else "unet", "loss": "bce",
                  "optimizer": {"name": "adam", "lr": 1e-3}, "batch_size": 1, "epochs": 1}  # fmt: skip
    (folder / "config.yaml").write_text(json.dumps({"datasets": {"x": data}, "experiments": {"e": experiment}}))


def shard_memory(folder):
    """Return the peak resident memory in MB of a shard job, started as in the workflow."""
    command = ["-m", "pipeline", "shard", "--dataset", "x", "--split", "train", "--number", "0", "--output", "0.h5"]
    command += ["--plan", run("-c", PLAN, folder=folder).strip()]
    text = run("-c", PEAK, sys.executable, *command, folder=folder)
    return int(text.split()[-1]) / 1024


def dry_run(folder):
    """Return jobs, seconds, CPU seconds and MB of a dry run."""
    start, cpu_start = time.perf_counter(), cpu_seconds()
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "-s",
        str(ROOT / "Snakefile"),
        "-n",
        "--quiet",
        "rules",
        "--cores",
        "2",
    ]
    output = run("-c", PEAK, *command, folder=folder)
    seconds, cpu = time.perf_counter() - start, cpu_seconds() - cpu_start
    (jobs,) = re.findall(r"^ *total +(\d+)", output, re.MULTILINE)
    return int(jobs), seconds, cpu, int(output.split()[-1]) / 1024


def experiments(pairs, numbers, folder):
    """Print one line for each number of experiments."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        folder = Path(name)
        generate(folder / "raw", "tgs", pairs)
        data = {"layout": "tgs", "root": "raw", "size": [32, 32], "shards": max(1, pairs // 512)}
        recipe = {"dataset": "x", "model": "unet", "loss": "bce", "optimizer": {"name": "adam", "lr": 1e-3}}
        for number in numbers:
            runs = {f"e{seed}": {**recipe, "batch_size": 1, "epochs": 1, "seed": seed} for seed in range(number)}
            (folder / "config.yaml").write_text(json.dumps({"datasets": {"x": data}, "experiments": runs}))
            jobs, seconds, cpu, memory = dry_run(folder)
            usage = f"dry run {seconds:.0f} s ({cpu:.0f}), {memory:.0f} MB"
            print(f"{number} experiments on {pairs} pairs: {jobs} jobs, {usage}", flush=True)


def main():
    """Print one line for each layout, or for each number of experiments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, help="100000, or 2000 with --experiments")
    parser.add_argument("--layouts", nargs="+", choices=LAYOUTS, default=LAYOUTS)
    parser.add_argument("--experiments", type=int, nargs="+", metavar="N")
    parser.add_argument("--folder", type=Path, help="parent of the temporary folder")
    arguments = parser.parse_args()
    arguments.pairs = arguments.pairs or (2000 if arguments.experiments else 100_000)
    if arguments.experiments:
        experiments(arguments.pairs, arguments.experiments, arguments.folder)
        return
    print(f"{arguments.pairs} pairs, {os.cpu_count()} cores")
    for layout in arguments.layouts:
        peaks = []
        for pairs in (arguments.pairs // 10, arguments.pairs):
            with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
                folder = Path(name)
                generate(folder / "raw", layout, pairs)
                configure(folder, layout, pairs)
                peaks.append(shard_memory(folder))
                if pairs < arguments.pairs:
                    continue
                listing = run("-c", LISTING, folder=folder).split()
                _, first, first_cpu, _ = dry_run(folder)
                _, second, second_cpu, _ = dry_run(folder)
        print(
            f"{layout}: listing {float(listing[0]):.1f} s of {listing[1]} samples, "
            f"dry run {first:.1f} s ({first_cpu:.1f}), again {second:.1f} s ({second_cpu:.1f}), "
            f"memory of a shard job {peaks[0]:.0f} MB of {arguments.pairs // 10} pairs, "
            f"{peaks[1]:.0f} MB of {arguments.pairs}",
            flush=True,
        )


if __name__ == "__main__":
    main()
