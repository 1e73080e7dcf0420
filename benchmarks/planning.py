"""Planning: the time to list many samples and to plan a run on them, and the memory of a shard job.

A few tiny images and hard links to them are made in a temporary folder. dry run: `snakemake -n` without results, with
one shard for every 512 pairs; the first one reads all raw files, later ones only their metadata. listing: a data set
in a new process, with splits and shards. shard job: `python -m pipeline shard` on about 512 samples of the data set,
and of one with a tenth of the pairs: the two should be nearly equal, because only the list of samples grows.
"""

import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.context import Context
from benchmarks.measure import Case, NotRun, Variant
from benchmarks.processes import Usage, measured
from benchmarks.worker import ROOT

LAYOUTS = {
    "tgs": ("train/images", "train/masks"),
    "folder": ("images", "masks"),
    "duts": ("DUTS-TR/DUTS-TR-Image", "DUTS-TR/DUTS-TR-Mask"),
}
"""Folders of images and masks."""

LISTING = """
import pathlib, time
from pipeline.config.config import load
from pipeline.graph.study import Study
study = Study(load([pathlib.Path("config.yaml")]))
started = time.perf_counter()
raw = study.raw("x")
shards = {split: len(raw.shard_members(split)) for split in raw.splits}
print(time.perf_counter() - started)
"""
PLAN = """
import pathlib
from pipeline.config.config import load
from pipeline.graph.artifacts import Shard
from pipeline.graph.base import plan_of
from pipeline.graph.study import Study
plan = plan_of(Shard("x", "train", 0), Study(load([pathlib.Path("config.yaml")])))
pathlib.Path("plan.json").write_text(plan.to_json())
"""


def generate(root: Path, layout: str, pairs: int) -> None:
    """Create links to tiny images and masks in the folders of a layout."""
    import cv2
    import numpy as np

    rng = np.random.default_rng(0)
    contents = (rng.integers(0, 255, (24, 24)), rng.integers(0, 2, (24, 24)) * 255)
    for folder, pixels in zip(LAYOUTS[layout], contents, strict=True):
        (root / folder).mkdir(parents=True)
        data = cv2.imencode(".png", pixels.astype(np.uint8))[1].tobytes()
        first = ""
        for number in range(pairs):
            path = os.path.join(root, folder, f"p{number:07d}.png")
            if number % 20_000 == 0:  # file systems limit the number of links to a file
                first = path
                Path(path).write_bytes(data)
            else:
                os.link(first, path)


class Study:
    """A folder with a data set of many pairs and some experiments."""

    def __init__(self, context: Context, layout: str, pairs: int, experiments: int = 1) -> None:
        self.context = context
        self.folder = context.folder / f"{layout}-{pairs}-{experiments}"
        generate(self.folder / "raw", layout, pairs)
        data: dict[str, Any] = {"layout": layout, "root": "raw", "size": [32, 32], "shards": max(1, pairs // 512)}
        data |= {"normalize": "unit", "test": {"rule": "fraction", "fraction": 0.1}, "validation": {"fraction": 0.1}}
        recipe = {"dataset": "x", "model": "unet", "loss": "bce", "optimizer": {"name": "adam", "lr": 1e-3}}
        runs = {f"e{seed}": {**recipe, "batch_size": 1, "epochs": 1, "seed": seed} for seed in range(experiments)}
        (self.folder / "config.yaml").write_text(json.dumps({"datasets": {"x": data}, "experiments": runs}))

    def run(self, *words: str) -> Usage:
        """Run Python in the folder."""
        return measured([[sys.executable, *words]], self.context.environment, folder=self.folder)

    def dry_run(self, first: bool) -> dict[str, float]:
        """Plan everything."""
        if importlib.util.find_spec("snakemake") is None:
            raise NotRun("snakemake is not installed")
        if first:
            for name in ("results", ".snakemake"):
                shutil.rmtree(self.folder / name, ignore_errors=True)
        snakefile = str(ROOT / "Snakefile")
        usage = self.run("-m", "snakemake", "-s", snakefile, "-n", "--quiet", "all", "--cores", "2")
        return {"": usage.seconds, "processor": usage.cpu, "memory": usage.memory}

    def listing(self) -> dict[str, float]:
        """List the samples."""
        return {"": float(self.run("-c", LISTING).outputs[0].split()[-1])}

    def shard(self) -> dict[str, float]:
        """Build a shard as in the workflow."""
        if not (self.folder / "plan.json").exists():
            self.run("-c", PLAN)
        command = ["-m", "pipeline", "shard", "--dataset", "x", "--split", "train", "--number", "0", "--output", "0.h5"]
        return {"": self.run(*command, "--plan", (self.folder / "plan.json").read_text()).memory}


def cases(context: Context) -> Iterator[Case]:
    """Yield all cases, the largest first."""
    many, few = (2_000, 500) if context.quick else (100_000, 2_000)
    large = Study(context, "tgs", many, 10)
    small = Study(context, "tgs", few, 100)
    units = {"": "s", "processor": "s", "memory": "MB"}
    for study, name, others in (
        (large, f"{many:,} pairs, 10 experiments", 0.4),
        (small, f"{few:,} pairs, 100 experiments", 0.3),
    ):
        variants = [Variant(way, partial(study.dry_run, way == "first")) for way in ("first", "again")]
        yield Case(f"dry run, {name}", units, variants, "", deadline=context.deadline.share(1 - others, others))
    tenth = Study(context, "tgs", many // 10)
    variants = [Variant(f"{many // 10:,} pairs", tenth.shard), Variant(f"{many:,} pairs", large.shard)]
    yield Case("peak memory of a shard job", {"": "MB"}, variants, "", max_rounds=2)
    studies = {"tgs": large, **{layout: Study(context, layout, many) for layout in ("folder", "duts")}}
    yield Case(
        f"listing, {many:,} pairs", {"": "s"}, [Variant(name, study.listing) for name, study in studies.items()], ""
    )
