"""Which jobs run again after which edit: each row is applied to a copy of a finished project, with real Snakemake.

``WRITE_RERUNS=1 pytest tests/workflow/test_rerun_matrix.py -k docs`` writes the table into docs/rerun-table.md.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
from projects import ROOT, Project
from rawfiles import add_drive, make_drive, make_shapes, make_tgs
from reruns import (
    ROWS,
    STAGES,
    caption,
    check_out,
    code,
    comments,
    configure,
    configure_all,
    corrupt,
    delete,
    deleted_shard,
    docstrings,
    matching,
    moving,
    remove,
    resources,
    touch_raw,
    with_shard,
    with_table,
)

from pipeline.tools.verify import compare_runs

CONFIG = """
datasets:
  d: {layout: drive, root: raw/DRIVE, size: [32, 32], shards: 3, validation: {fraction: 0.34}}
  c:
    layout: folder
    root: raw/shapes
    images: "{split}_imgs"
    masks: "{split}_mask"
    labels: {0: background, 1: disc, 2: triangle, 3: square}
    colours: {disc: "#ff8000"}
    size: [32, 32]
    validation: {fraction: 0.25}
  r: {layout: tgs, masks: csv, root: raw/salt, size: [32, 32], validation: {rule: list, file: validation.txt}}
experiments:
  a:
    dataset: d
    model: {name: unet, width: 4, depth: 2}
    loss: bce
    optimizer: {name: adam, lr: 0.02}
    batch_size: 2
    epochs: 1
    threads: 1
  u:
    dataset: d
    model: {name: u2net-lite, width: 4}
    loss: bce
    optimizer: {name: adam, lr: 0.02}
    batch_size: 2
    epochs: 1
    threads: 1
    threshold: 0.5
  m:
    dataset: c
    model: {name: unet-crop, widths: [4, 8]}
    loss: cross-entropy
    optimizer: {name: sgd, lr: 0.01}
    batch_size: 2
    epochs: 1
    threads: 1
"""

RULES = {
    "inspect": ("check", "check {dataset}"),
    "splits": ("check", "splits {dataset}"),
    "shard": ("shards", "{dataset} {split} {number}"),
    "folds": ("training", "folds {dataset}"),
    "augmented": ("training", "augmented {experiment}"),
    "train": ("training", "{experiment}"),
    "curves": ("training", "curves {experiment}"),
    "predict": ("prediction", "{experiment} {split}"),
    "predict_classes": ("prediction", "{experiment} {split}"),
    "baseline": ("prediction", "{dataset}.{kind} {split}"),
    "ensemble": ("prediction", "{experiment}.ensemble {split}"),
    "threshold": ("threshold", "{experiment}"),
    "render": ("images", "{experiment} {split}"),
    "render_classes": ("images", "{experiment} {split}"),
    "evaluate": ("scores", "{experiment}"),
    "evaluate_classes": ("scores", "{experiment}"),
    "comparisons": ("comparisons", "comparisons"),
    "average": ("scores", "{experiment}"),
    "leaderboard": ("leaderboard", "leaderboard"),
    "report": ("page", "page"),
}
_JOB = re.compile(r"^(?:local)?rule (\w+):\n((?:    .*\n)+)", re.MULTILINE)
_WILDCARDS = re.compile(r"^    wildcards: (.*)$", re.MULTILINE)


class Clone(Project):
    """A project that is also a checkout: it contains the workflow and package that run."""

    def make(self):
        shutil.copy2(ROOT / "Snakefile", self.folder)
        for name in ("workflow", "pipeline", "profiles"):
            shutil.copytree(ROOT / name, self.folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        make_drive(self.folder / "raw/DRIVE", training=6, test=2)
        # larger than the limit up to which Snakemake compares contents by default
        add_drive(self.folder / "raw/DRIVE", "test", 3, height=800, width=700)
        make_shapes(self.folder / "raw/shapes")
        make_tgs(self.folder / "raw/salt", labelled=8)
        (self.folder / "raw/salt/validation.txt").write_text("tile003\ntile002\n")
        self.config.write_text(CONFIG)
        self.git("init", "--quiet")
        self.git("add", "Snakefile", "workflow", "pipeline", "profiles", "config.yaml")
        self.git("-c", "user.name=n", "-c", "user.email=e@example.org", "commit", "--quiet", "--message", "all")
        self.snakemake()

    def snakemake(self, *words, check=True, timeout=500):
        view = ("--logger-segmentation-view", "snakemake")  # lists the files of each job
        self.run(sys.executable, "-m", "snakemake", "--cores", "2", *view, *words, check=check, timeout=timeout)
        return self.status

    def run(self, *command, check=True, timeout=500):
        environment = {**os.environ, "PYTHONPATH": str(self.folder), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False, timeout=timeout
        )
        self.output, self.status = done.stdout + done.stderr, done.returncode
        assert not check or self.status == 0, self.output

    def git(self, *words):
        self.run("git", *words)

    def jobs(self, *words):
        """Return the jobs that would run, by stage."""
        self.snakemake("--dry-run", *words)
        jobs = {stage: set() for stage in STAGES}
        for rule, lines in _JOB.findall(self.output):
            if rule != "all":
                wildcards = _WILDCARDS.search(lines)
                values = dict(item.split("=", 1) for item in wildcards[1].split(", ")) if wildcards else {}
                stage, name = RULES[rule]
                jobs[stage].add(name.format(**values))
        assert "Nothing to be done" in self.output or any(jobs.values()), self.output
        return jobs

    def members(self):
        """Return the samples of each shard of d, from the current raw files and configuration."""
        self.run(sys.executable, "-m", "pipeline", "splits", "--dataset", "d", "--output", "members.csv")
        table = (self.folder / "members.csv").read_text().splitlines()
        columns = table[0].split(",")
        shards = {}
        for line in table[1:]:
            row = dict(zip(columns, line.split(","), strict=False))
            if row["shard"]:
                shards.setdefault(f"d {row['split']} {row['shard']}", set()).add(row["id"])
        return shards

    def shard_of(self, sample):
        return next(name for name, members in self.members().items() if sample in members)

    def replace(self, name, old, new):
        path = self.folder / name
        text = path.read_text()
        assert text.count(old) >= 1, f"{old!r} is not in {name}"
        path.write_text(text.replace(old, new, 1))

    def append(self, name, text):
        with (self.folder / name).open("a") as file:
            file.write(text)

    def equals(self, other):
        """Assert that the results of both are identical byte for byte."""
        result = compare_runs(self.folder / "results", other.folder / "results")
        assert result.differences == []
        assert result.equal_contents == []


def differing(first, second):
    return [name for name, _ in compare_runs(first.folder / "results", second.folder / "results").differences]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A finished project, and all its jobs."""
    project = Clone(tmp_path_factory.mktemp("matrix"))
    project.make()
    project.all_jobs = project.jobs("--forceall")
    assert all(project.all_jobs.values())
    return project


@pytest.fixture
def clone(base, tmp_path):
    """A copy of the finished project, to change."""
    return Clone(shutil.copytree(base.folder, tmp_path / "clone", symlinks=True))


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.edit)
def test_changes_rerun_the_expected_jobs(base, clone, row):
    shards = row.apply(clone) or {}
    jobs = clone.jobs()
    for stage in STAGES:
        cell = row.cell(stage)
        patterns = [name for pattern in cell.must for name in shards.get(pattern, [pattern])]
        expected = matching(patterns, base.all_jobs[stage])
        allowed = matching(patterns, jobs[stage])
        assert jobs[stage] - allowed == set(), f"{stage}: more than {cell.text or 'nothing'}"
        assert expected - jobs[stage] == set(), f"{stage}: less than {cell.text}"
        assert all(matching([pattern], jobs[stage]) for pattern in patterns), f"{stage}: {patterns} {jobs[stage]}"


def run_to_the_end(clone):
    clone.snakemake()
    clone.snakemake("--dry-run")
    assert "Nothing to be done" in clone.output


@pytest.mark.slow
def test_deleted_results_are_made_again_unchanged(base, clone):
    with_shard(deleted_shard, "test")(clone)
    remove("predictions/a/validation/probability")(clone)
    remove("metrics/m/summary.csv")(clone)
    run_to_the_end(clone)
    clone.equals(base)


@pytest.mark.slow
def test_remedy_command_rebuilds_a_corrupted_shard(base, clone):
    (shard,) = with_shard(corrupt, "train")(clone)["@own"]
    path = "results/shards/{}/{}-{}.h5".format(*shard.split())
    assert clone.snakemake("--keep-going", check=False) != 0
    assert path in clone.output
    assert "edited after the pipeline wrote it" in clone.output
    assert f"rm -r {path} && snakemake" in clone.output.replace("\n", "")
    (clone.folder / path).unlink()
    run_to_the_end(clone)
    clone.equals(base)


@pytest.mark.slow
def test_undone_change_ends_in_the_same_bytes(base, clone):
    configure("lr: 0.02", "lr: 0.01")(clone)
    run_to_the_end(clone)
    assert "models/a/best.pt" in differing(base, clone)
    configure("lr: 0.01", "lr: 0.02")(clone)
    run_to_the_end(clone)
    clone.equals(base)


@pytest.mark.slow
def test_added_and_removed_image_leaves_nothing(base, clone):
    moving(lambda root: add_drive(root, "test", 9), at_most=1)(clone)
    run_to_the_end(clone)
    assert "predictions/a/test/mask/09.png" in differing(base, clone)
    moving(delete("test", 9), at_most=1)(clone)
    run_to_the_end(clone)
    clone.equals(base)


@pytest.mark.slow
def test_edited_network_leaves_other_results_unchanged(base, clone):
    code("models/u2net")(clone)
    run_to_the_end(clone)
    changed = differing(base, clone)
    assert "models/u/best.pt.manifest.json" in changed  # it contains the digests of the code
    assert all(name.endswith(".manifest.json") for name in changed)
    assert {name.split("/")[1] for name in changed if "/" in name} == {"u"}


@pytest.mark.slow
def test_edits_without_effect_run_nothing(base, clone):
    for edit in (touch_raw, check_out, docstrings, comments, resources, caption, configure_all):
        edit(clone)
    clone.snakemake()
    assert "Nothing to be done" in clone.output
    clone.equals(base)


def trained(clone):
    log = clone.folder / "results/logs/train/a.log"  # Snakemake removes it briefly when the job starts
    return log.read_text() if log.exists() else ""


@pytest.mark.slow
def test_undone_code_edit_trains_nothing(base, clone):
    configure("epochs: 1", "epochs: 400")(clone)
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "results/models/a/best.pt"]
    with subprocess.Popen(
        command, cwd=clone.folder, env={**os.environ, "PYTHONPATH": str(clone.folder)}, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
    ) as run:  # fmt: skip
        deadline = time.monotonic() + 120
        while "/400: " not in trained(clone):
            assert time.monotonic() < deadline, trained(clone)
            time.sleep(0.2)
        os.killpg(run.pid, signal.SIGINT)  # as Ctrl-C does
    assert run.returncode != 0
    assert not (clone.folder / "results/models/a/best.pt").exists()
    configure("epochs: 400", "epochs: 1")(clone)
    jobs = clone.jobs()
    assert jobs["shards"] == set()
    assert "a" in jobs["training"]
    run_to_the_end(clone)
    assert "restored from results/store/" in trained(clone)
    assert "epoch" not in trained(clone)
    clone.equals(base)


@pytest.mark.slow
def test_outdated_results_that_snakemake_misses_stop_the_run(base, clone, tmp_path):
    table = clone.folder / "results/metrics/a/summary.csv"
    before = table.stat()
    table.write_text(re.sub(r"0\.\d+", "0.99", table.read_text()))
    os.utime(table, ns=(before.st_atime_ns, before.st_mtime_ns))
    for words in (["--dry-run"], [], ["results/leaderboard.csv"]):
        assert clone.snakemake(*words, check=False) != 0
        assert "a file of the same job was edited afterwards: results/metrics/a/summary.csv" in clone.output
        assert "run `python -m pipeline clean --outdated`" in clone.output
    # inputs of the inputs are checked as well
    threshold = clone.folder / "results/predictions/a/threshold.json"
    state, text = threshold.stat(), threshold.read_text()
    threshold.write_text(re.sub(r'"value": [0-9.]+', '"value": 0.111', text))
    os.utime(threshold, ns=(state.st_atime_ns, state.st_mtime_ns))
    for words in ([], ["report_a"], ["results/report.html"]):
        assert clone.snakemake(*words, check=False) != 0
        assert "results/predictions/a/threshold.json" in clone.output
        assert "edited after the pipeline wrote it" in clone.output
    threshold.write_text(text)
    os.utime(threshold, ns=(state.st_atime_ns, state.st_mtime_ns))
    # another configuration without Snakemake's records: Snakemake alone cannot notice the change
    table.write_bytes((base.folder / "results/metrics/a/summary.csv").read_bytes())
    os.utime(table, ns=(before.st_atime_ns, before.st_mtime_ns))
    shutil.rmtree(clone.folder / ".snakemake")
    clone.snakemake("--dry-run")
    assert "Nothing to be done" in clone.output
    configure("lr: 0.02", "lr: 0.01")(clone)
    for words in ([], ["--rerun-triggers", "mtime"]):
        assert clone.snakemake(*words, check=False) != 0
    for path in ("models/a/best.pt", "predictions/a/test/probability", "metrics/a/per_image.csv", "leaderboard.csv"):
        assert f"results/{path}\n" in clone.output
    assert "optimizer.lr is 0.02, expected 0.01" in clone.output
    assert "results/models/u/best.pt" not in clone.output
    clone.run(sys.executable, "-m", "pipeline", "clean", "--outdated", "--yes")
    run_to_the_end(clone)
    assert "models/a/best.pt" in differing(base, clone)


def test_table_in_the_docs_matches_the_matrix():
    page = ROOT / "docs/rerun-table.md"
    if os.environ.get("WRITE_RERUNS"):
        page.write_text(with_table(page.read_text()))
    assert page.read_text() == with_table(page.read_text()), (
        "update it: WRITE_RERUNS=1 pytest tests/workflow/test_rerun_matrix.py -k docs"
    )
    assert len(ROWS) >= 20
    assert len({row.edit for row in ROWS}) == len(ROWS)
