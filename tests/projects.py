"""Projects: folders in which Snakemake runs this workflow."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

CONFIG = """
# two data sets, two small experiments
datasets:
  d: {layout: drive, root: raw/DRIVE, size: [48, 40], shards: 3, validation: {fraction: 0.34}}
  t: {layout: tgs, root: raw/TGS, size: [48, 48], test: {rule: permutation, fraction: 0.25, seed: 42}}
experiments:
  a:
    dataset: d
    model: {name: unet, width: 4, depth: 2}
    loss: bce
    optimizer: {name: adam, lr: 0.02}
    batch_size: 2
    epochs: 2
    threads: 1
  b-2: {dataset: t, model: {name: unet-crop, widths: [4, 8]}, loss: mse, optimizer: {name: sgd, lr: 0.01},
    batch_size: 4, epochs: 1, threads: 1, threshold: 0.5}
"""

LASTING = """
# one training that can be interrupted, with random numbers of all kinds
datasets:
  t: {layout: tgs, root: raw/TGS, size: [48, 48], validation: {fraction: 0.3}, test: {rule: fraction, fraction: 0.2}}
experiments:
  a:
    dataset: t
    model: {name: unet, width: 4, depth: 2}
    loss: bce
    optimizer: {name: adamw, lr: 0.01}
    schedule: {name: cosine, warmup: 1}
    crop: [32, 40]
    augment: {flip: both, rotate: 10}
    batch_size: 2
    epochs: EPOCHS
    threads: 1
"""


def copy_code(folder):
    """Copy the workflow and the package into a folder, to edit them; return the folder."""
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("workflow", "profiles", "pipeline"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    shutil.copy2(ROOT / "Snakefile", folder)
    shutil.copy2(ROOT / "config.yaml", folder)
    return folder


class Project:
    """A folder in which Snakemake runs this workflow, or a copy of the workflow that can be edited."""

    def __init__(self, folder, code=ROOT):
        self.folder = folder
        self.code = code
        self.config = folder / "config.yaml"

    def snakemake(self, *words, check=True, timeout=500, **more):
        command = [sys.executable, "-m", "snakemake", "--snakefile", self.code / "Snakefile"]
        environment = {**os.environ, "COLUMNS": "400", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(self.code), **more}
        command = [*map(str, command), "--directory", str(self.folder), "--cores", "2", *words]
        try:
            done = subprocess.run(
                command,
                cwd=self.folder,  # comes before PYTHONPATH, so it must not contain another `pipeline`
                capture_output=True,
                text=True,
                env=environment,
                check=False,
                timeout=timeout,
            )
        except subprocess.TimeoutExpired:
            pytest.fail(f"not done after {timeout} s; its logs end with\n{self.ends_of_logs()}")
        self.output = done.stdout + done.stderr
        assert not check or done.returncode == 0, self.output
        return done.returncode

    def reported(self):
        """Make Snakemake's own report and return its figures; check that each has a caption and its own labels."""
        self.snakemake("--report", "report.html")
        assert "ERROR" not in self.output  # a mistake in the markup of a caption
        page = (self.folder / "report.html").read_text()
        figures, categories = (
            json.JSONDecoder().raw_decode(page, re.search(rf"\bvar {name} = (?={{)", page).end())[0]
            for name in ("results", "categories")
        )
        category_of = {
            path: (category, subcategory)
            for category, inner in categories.items()
            for subcategory, paths in inner.items()
            for path in paths
        }
        assert set(category_of) == set(figures)
        all_labels = set()
        for path, figure in figures.items():
            figure["category"], subcategory = category_of[path]
            assert len(figure["caption"]) > 150, path
            assert "system-message" not in figure["caption"], path
            assert {"data set", "figure"} <= figure["labels"].keys(), path
            all_labels.add((figure["category"], subcategory, *figure["labels"].items()))
        assert len(all_labels) == len(figures)
        columns = {(category_of[path], *figure["labels"]) for path, figure in figures.items()}
        assert len(columns) == len(set(category_of.values()))  # the same label names for all figures in one list
        (self.folder / "report.html").unlink()
        return figures

    def ends_of_logs(self):
        logs = sorted((self.folder / "results/logs").rglob("*.log"), key=lambda path: path.stat().st_mtime)
        return "\n".join(f"{path.relative_to(self.folder)}: {path.read_text().splitlines()[-1:]}" for path in logs[-8:])

    def planned(self, *words):
        """Return the number of jobs of each rule in a dry run."""
        self.snakemake("--dry-run", *words)
        if "Nothing to be done" in self.output:
            return {}
        table = self.output.split("count", 1)[1].split("total")[0]
        rows = re.findall(r"^ *([a-z][\w -]*?) {2,}(\d+) *$", table, re.MULTILINE)
        assert rows, self.output
        return {rule: int(count) for rule, count in rows if rule != "all"}

    def edit(self, old, new):
        text = self.config.read_text()
        assert old in text
        self.config.write_text(text.replace(old, new))

    def edit_code(self, name, old, new):
        """Edit a file of the copy that this project runs."""
        assert self.code != ROOT
        path = self.code / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    def files(self):
        return {str(path.relative_to(self.folder)) for path in (self.folder / "results").rglob("*") if path.is_file()}
