"""The rules are the graph: every job that Snakemake plans reads, writes and is told what `pipeline/graph` says.

``WRITE_GRAPH=1 pytest tests/workflow/test_graph.py`` writes graph.txt anew: its diff shows what a change does.
"""

import os
import re
import shlex
from pathlib import Path

import pytest
from projects import Project
from rawfiles import make_shapes, make_tgs

from pipeline.config.config import load
from pipeline.graph import targets
from pipeline.graph.base import plan_of
from pipeline.graph.recognize import recognize
from pipeline.graph.study import Study

CONFIG = """
datasets:
  t: {layout: tgs, root: raw/TGS, size: [48, 48], shards: 2, test: {rule: fraction, fraction: 0.25}}
  s: {layout: shapes, root: raw/shapes, size: [32, 32]}
experiments:
  one: &common {dataset: t, model: unet, loss: bce, optimizer: {name: adam, lr: 0.02}, batch_size: 4, epochs: 1}
  several: {<<: *common, folds: 2, threshold: {metric: iou, averaging: macro}}
  fixed: {<<: *common, threshold: 0.5}
  classes: {<<: *common, dataset: s, loss: cross-entropy, keep_probability: true, seeds: [1, 2]}
"""
ON_REQUEST = ("tensorboard", "bundles")
GOLDEN = Path(__file__).with_name("graph.txt")


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """The study, and each job that is planned: rule, inputs, outputs, command."""
    project = Project(tmp_path_factory.mktemp("graph"))
    make_tgs(project.folder / "raw/TGS")
    make_shapes(project.folder / "raw/shapes")
    project.config.write_text(CONFIG)
    project.snakemake("--dry-run", "--printshellcmds", "--workflow-profile", "none", "all", *ON_REQUEST)
    jobs = []
    for block in re.split(r"\n\n+", re.sub(r"^\[.*\]$", "", project.output, flags=re.MULTILINE)):
        if rule := re.match(r"\s*(?:local)?rule (\w+):\n", block):
            lines = {key: re.search(rf"^ +{key}: (.*)$", block, re.MULTILINE) for key in ("input", "output")}
            files = {key: match[1].split(", ") if match else [] for key, match in lines.items()}
            command = re.search(r"^Shell command: (.*)$", block, re.MULTILINE)
            jobs.append((rule[1], files["input"], files["output"], command[1] if command else ""))
    before = Path.cwd()
    os.chdir(project.folder)
    yield Study(load([Path("config.yaml")])), [job for job in jobs if job[0] not in ("all", *ON_REQUEST)]
    os.chdir(before)


def test_jobs_read_and_write_the_paths_of_the_graph(planned):
    study, jobs = planned
    checked = set()
    for rule, inputs, outputs, command in jobs:
        artifact = recognize(study, Path(outputs[0]))
        checked.add(artifact)
        outputs_of_graph = list(map(str, artifact.outputs().values()))
        assert sorted(outputs_of_graph) == sorted(name for name in outputs if "/benchmarks/" not in name), rule
        needed = {str(output.path) for outputs in artifact.inputs(study).values() for output in outputs}
        assert set(inputs) == needed | set(artifact.raw_folders(study)), (rule, artifact)
        words = shlex.split(command)
        assert words[words.index("--plan") + 1] == plan_of(artifact, study).to_json(), rule
        for part in artifact.input_descriptions:
            option = words.index(f"--{part.replace('_', '-')}")
            given = [word for word in words[option + 1 :] if word.startswith("results/")]
            expected = [str(output.path) for output in artifact.inputs(study).get(part, [])]
            assert given[: len(expected)] == expected, (rule, part)
    assert checked == set(targets.all_results(study))


def test_graph_of_all_jobs_matches_the_reviewed_text(planned):
    def joined(files):
        return " ".join(name.removeprefix("results/") for name in files) or "nothing"

    jobs = planned[1]
    text = "".join(
        f"{rule}: {joined(outputs)}\n    from {joined(inputs)}\n" for rule, inputs, outputs, _ in sorted(jobs)
    )
    if os.environ.get("WRITE_GRAPH"):
        GOLDEN.write_text(text)
    assert GOLDEN.read_text() == text
