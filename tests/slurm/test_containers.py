"""Jobs in a container, with a mock of Apptainer that runs them on this machine with another `python`."""

import os
import sys

from projects import Project
from rawfiles import make_tgs

CONFIG = """
datasets:
  t: {layout: tgs, root: raw/TGS, size: [48, 48], test: {rule: fraction, fraction: 0.2}}
experiments: {}
"""
APPTAINER = """#!/bin/sh
case "$1" in
  --version) echo "apptainer version 1.3.0";;
  pull) touch "$3";;
  exec) until [ "$1" = bash ]; do shift; done; PATH="$IMAGE:$PATH" exec "$@";;
esac
"""
PYTHON = """#!/bin/sh
echo "$@" >> "$IMAGE/calls"
exec {interpreter} "$@"
"""


def test_jobs_use_the_interpreter_of_the_container(tmp_path):
    project = Project(tmp_path / "project")
    make_tgs(project.folder / "raw" / "TGS")
    project.config.write_text(CONFIG)
    host, image = tmp_path / "host", tmp_path / "image"
    for folder, name, text in (
        (host, "singularity", APPTAINER),
        (host, "apptainer", APPTAINER),
        (image, "python", PYTHON.format(interpreter=sys.executable)),
    ):
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    words = ["--workflow-profile", "none", "results/splits/t.csv"]
    path = f"{host}{os.pathsep}{os.environ['PATH']}"
    project.snakemake("--software-deployment-method", "apptainer", *words, PATH=path, IMAGE=str(image))
    assert (project.folder / "results/splits/t.csv").exists()
    assert (image / "calls").read_text().startswith("-m pipeline splits --dataset t ")
