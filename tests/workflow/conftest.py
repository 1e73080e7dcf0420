import shutil

import pytest
from projects import CONFIG, Project
from rawfiles import make_drive, make_tgs


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A project after one complete run."""
    folder = tmp_path_factory.mktemp("project")
    make_drive(folder / "raw" / "DRIVE", training=9)
    make_tgs(folder / "raw" / "TGS")
    project = Project(folder)
    project.config.write_text(CONFIG)
    project.snakemake()
    return project


@pytest.fixture
def project(finished, tmp_path):
    """A copy of the finished project, to change."""
    return Project(shutil.copytree(finished.folder, tmp_path / "project", copy_function=shutil.copy2))


@pytest.fixture
def fresh(tmp_path):
    """A project that has not run."""
    make_drive(tmp_path / "raw" / "DRIVE")
    make_tgs(tmp_path / "raw" / "TGS")
    project = Project(tmp_path)
    project.config.write_text(CONFIG)
    return project
