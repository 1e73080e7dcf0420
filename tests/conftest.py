import errno
import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))

from pages import make_project
from rawfiles import make_drive, make_tgs

from pipeline.cli import main as cli

# Tests compare bytes, which GPUs do not guarantee, and the GPUs may be busy; set CUDA_VISIBLE_DEVICES to use one.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

# Processes started in the background of a shell ignore SIGINT, and so would their children.
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("any machine", deadline=None)  # slow on a busy machine is not a failure
settings.load_profile("any machine")


@pytest.fixture
def drive(tmp_path):
    """A fresh DRIVE folder of 6 training and 3 test images."""
    return make_drive(tmp_path / "DRIVE")


@pytest.fixture
def tgs(tmp_path):
    """A fresh TGS folder of 12 labelled and 2 unlabelled tiles."""
    return make_tgs(tmp_path / "TGS")


@pytest.fixture(scope="session")
def project_with_page(tmp_path_factory):
    """A finished project with its report page; not to be changed."""
    folder = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_project(folder)
        assert cli.main(["report"]) == 0
    return folder


@pytest.fixture(scope="session")
def real_data():
    """The folder with the real DRIVE, TGS and DUTS; without it the test is skipped."""
    folder = os.environ.get("PIPELINE_REAL_DATA")
    if not folder:
        pytest.skip("PIPELINE_REAL_DATA names no folder with the real data sets")
    return Path(folder)


@pytest.fixture
def closed_folder(tmp_path, monkeypatch):
    """A folder without permission to search it, which holds for root as well."""
    folder, stat = tmp_path / "closed", os.stat
    folder.mkdir()

    def refuse(path, *args, **keywords):
        if not isinstance(path, int) and folder in Path(path).absolute().parents:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return stat(path, *args, **keywords)

    monkeypatch.setattr("os.stat", refuse)
    return folder
