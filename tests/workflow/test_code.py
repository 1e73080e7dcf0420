"""An edit of the package reruns exactly the jobs that use the edited code, and their dependents."""

import shutil

import pytest
from projects import Project, copy_code

ADDED = ("\nimport ", "\nADDED = 1\nimport ")


@pytest.fixture
def editable(finished, tmp_path):
    """A copy of the finished project, run by a copy of the workflow and the package."""
    folder = shutil.copytree(finished.folder, tmp_path / "project", copy_function=shutil.copy2)
    return Project(folder, copy_code(tmp_path / "code"))


def test_other_checkout_of_the_same_code_runs_nothing(editable):
    assert editable.planned() == {}


def test_edited_comments_and_docstrings_run_nothing(editable):
    editable.edit_code("pipeline/models/unet.py", '"""', '"""A sentence more. ')
    editable.edit_code("pipeline/shards/write.py", "import h5py\n", "import h5py  # the format\n\n\n")
    editable.edit_code("pipeline/core/errors.py", "The shards cannot be used", "These shards cannot be used")
    editable.edit_code("pipeline/cli/main.py", *ADDED)
    editable.edit_code("workflow/rules/train.smk", "save_every=60,", "save_every=60,\n        mem_mb=1000,")
    assert editable.planned() == {}


@pytest.mark.parametrize(
    ("file", "runs"),
    [
        ("evaluation/bootstrap.py", {"evaluate": 7, "comparisons": 1, "leaderboard": 1, "report": 1}),
        ("evaluation/paired.py", {"comparisons": 1, "report": 1}),
        ("report/leaderboard.py", {"leaderboard": 1, "report": 1}),
        ("report/gallery.py", {"report": 1}),
        ("report/curves.py", {"curves": 2}),
        ("training/preview.py", {"augmented": 2}),
        ("evaluation/submission.py", {"submission": 1}),
        ("raw/check/sheet.py", {"inspect": 2, "leaderboard": 1, "report": 1}),
    ],
)
def test_edited_module_reruns_its_users_and_their_dependents(editable, file, runs):
    editable.edit_code(f"pipeline/{file}", *ADDED)
    assert editable.planned() == runs


def test_edited_network_retrains_only_its_experiments(editable):
    editable.edit_code("pipeline/models/unet_crop.py", *ADDED)
    planned = editable.planned()
    assert planned == {
        **{"train": 1, "curves": 1, "predict": 3, "render": 3, "submission": 1, "evaluate": 1, "comparisons": 1},
        **{"leaderboard": 1, "report": 1},
    }


def test_edited_layout_rebuilds_only_its_shards(editable):
    editable.edit_code("pipeline/raw/layouts/tgs.py", "\nfrom ", "\nADDED = 1\nfrom ")
    planned = editable.planned()
    assert planned["train"] == 1
    assert planned["inspect"] == 1
    assert planned["shard"] == len(list((editable.folder / "results/shards/t").glob("*.h5")))


def test_results_of_old_and_edited_code_are_not_mixed(editable):
    editable.edit_code("pipeline/models/unet.py", *ADDED)
    forced = ("--forcerun", "predict", "--rerun-triggers", "mtime", "--", "predictions_a")
    assert editable.snakemake(*forced, check=False) == 1
    assert "results/models/a/best.pt" in editable.output
    assert "code of pipeline.models.unet differs" in editable.output
    assert "`python -m pipeline clean --outdated`" in editable.output
    editable.snakemake()
    assert editable.planned() == {}
