"""Measure how long it takes to list many samples, to plan a run on them, and how much memory a shard job needs.

    python benchmarks/scale.py [--pairs 100000] [--layouts tgs folder duts] [--folder FOLDER]
    python benchmarks/scale.py --experiments 10 100 1000 [--pairs 2000] [--folder FOLDER]

Draws a few tiny images and links them as often as asked for, in a temporary folder. Then, for each layout:

listing: seconds to list a data set in a new process, splits and shards assigned.
dry run: seconds of `snakemake -n`, on nothing built, with one shard for every 512 pairs and one experiment; and the
processor seconds of it, which a busy machine leaves as they are. The first one reads all raw files; again: the second
one, which asks each of them for its state.
memory: the largest resident set of `python -m pipeline shard` on a shard of about 512 samples of the set, and of a
tenth of the set. The two should be nearly the same: the list of samples is all that grows.

With `--experiments`, for each of these numbers of experiments on one data set: jobs, seconds, processor seconds and
largest resident set of `snakemake -n`, on nothing built.
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
# the peak of a waited-for child, as the system counts it
PEAK = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stderr=1); "
PEAK += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"


def generate(root, layout, pairs):
    """Link `pairs` tiny images and masks in the folders of a layout."""
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
            if number % 20_000 == 0:  # file systems limit the links of one file
                first = Path(path)
                first.write_bytes(data)
            else:
                os.link(first, path)


def run(*command, folder):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stdout[-2000:] + done.stderr[-4000:])
    return done.stdout


def processor():
    """Return the processor seconds that ended child processes took."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def configure(folder, layout, pairs):
    """Write config.yaml: a data set, and one experiment on it."""
    data = {"layout": layout, "root": "raw", "size": [32, 32], "shards": max(1, pairs // 512), "normalize": "unit"}
    data |= {"test": {"rule": "fraction", "fraction": 0.1}, "validation": {"fraction": 0.1}}
    experiment = {"dataset": "x", "model": "unet-crop" if layout == "tgs" else "unet", "loss": "bce",
                  "optimizer": {"name": "adam", "lr": 1e-3}, "batch_size": 1, "epochs": 1}  # fmt: skip
    (folder / "config.yaml").write_text(json.dumps({"datasets": {"x": data}, "experiments": {"e": experiment}}))


def peak(folder):
    """Return MB of the largest resident set of a shard job, as the workflow starts it."""
    words = ["-m", "pipeline", "shard", "--dataset", "x", "--split", "train", "--number", "0", "--output", "0.h5"]
    words += ["--plan", run("-c", PLAN, folder=folder).strip()]
    text = run("-c", PEAK, sys.executable, *words, folder=folder)
    return int(text.split()[-1]) / 1024


def plan(folder):
    """Return jobs, seconds, processor seconds and MB of a dry run."""
    started, spent = time.perf_counter(), processor()
    words = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "-n", "--quiet", "rules", "--cores", "2"]
    said = run("-c", PEAK, *words, folder=folder)
    seconds, busy = time.perf_counter() - started, processor() - spent
    (jobs,) = re.findall(r"^ *total +(\d+)", said, re.MULTILINE)
    return int(jobs), seconds, busy, int(said.split()[-1]) / 1024


def experiments(pairs, numbers, folder):
    """Print one line for each number of experiments."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        folder = Path(name)
        generate(folder / "raw", "tgs", pairs)
        data = {"layout": "tgs", "root": "raw", "size": [32, 32], "shards": max(1, pairs // 512)}
        recipe = {"dataset": "x", "model": "unet", "loss": "bce", "optimizer": {"name": "adam", "lr": 1e-3}}
        for number in numbers:
            each = {f"e{seed}": {**recipe, "batch_size": 1, "epochs": 1, "seed": seed} for seed in range(number)}
            (folder / "config.yaml").write_text(json.dumps({"datasets": {"x": data}, "experiments": each}))
            jobs, seconds, busy, memory = plan(folder)
            took = f"dry run {seconds:.0f} s ({busy:.0f}), {memory:.0f} MB"
            print(f"{number} experiments on {pairs} pairs: {jobs} jobs, {took}", flush=True)


def main():
    """Print one line for each layout, or for each number of experiments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, help="100000, or 2000 with --experiments")
    parser.add_argument("--layouts", nargs="+", choices=LAYOUTS, default=LAYOUTS)
    parser.add_argument("--experiments", type=int, nargs="+", metavar="N")
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    given = parser.parse_args()
    given.pairs = given.pairs or (2000 if given.experiments else 100_000)
    if given.experiments:
        experiments(given.pairs, given.experiments, given.folder)
        return
    print(f"{given.pairs} pairs, {os.cpu_count()} cores")
    for layout in given.layouts:
        peaks = []
        for pairs in (given.pairs // 10, given.pairs):
            with tempfile.TemporaryDirectory(dir=given.folder) as name:
                folder = Path(name)
                generate(folder / "raw", layout, pairs)
                configure(folder, layout, pairs)
                peaks.append(peak(folder))
                if pairs < given.pairs:
                    continue
                listing = run("-c", LISTING, folder=folder).split()
                _, planned, busy, _ = plan(folder)
                _, again, busy_again, _ = plan(folder)
        print(
            f"{layout}: listing {float(listing[0]):.1f} s of {listing[1]} samples, "
            f"dry run {planned:.1f} s ({busy:.1f}), again {again:.1f} s ({busy_again:.1f}), "
            f"memory of a shard job {peaks[0]:.0f} MB of {given.pairs // 10} pairs, {peaks[1]:.0f} MB of {given.pairs}",
            flush=True,
        )


if __name__ == "__main__":
    main()
