"""Runs in other folders, with other numbers of parallel jobs, give identical bytes."""

import pandas as pd
import pytest
from projects import CONFIG, Project
from rawfiles import make_drive, make_tgs

from pipeline.cli import main as cli

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def again(tmp_path_factory):
    """The same project as `finished`, run in another folder with one job at a time."""
    folder = tmp_path_factory.mktemp("elsewhere") / "another place"
    make_drive(folder / "raw" / "DRIVE", training=9)
    make_tgs(folder / "raw" / "TGS")
    project = Project(folder)
    project.config.write_text(CONFIG)
    project.snakemake("--cores", "1")
    return project


def verify(first, second, capsys):
    status = cli.main(["verify-run", str(first.folder / "results"), str(second.folder / "results")])
    return status, capsys.readouterr().out


def test_fresh_runs_are_equal_with_one_or_two_jobs(finished, again, capsys):
    status, output = verify(finished, again, capsys)
    assert status == 0, output
    assert "no difference" in output
    assert "equal contents" not in output  # checkpoints, too, byte for byte
    for words in ("logs/ (", "benchmarks/ (", "timing.csv (2)"):
        assert words in output


def test_verify_finds_one_changed_number(project, again, capsys):
    path = project.folder / "results/metrics/a/summary.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table.loc[1, "dice"] = "0.123456"
    table.to_csv(path, index=False, lineterminator="\n")
    status, output = verify(project, again, capsys)
    assert status == 1
    assert "the first difference is in metrics/a/summary.csv: row 2 (" in output
    assert "column dice: 0.123456 in the first" in output
