"""Fixtures of the tests of training; a test file may replace them."""

import pytest
import torch
from shardfiles import write_tgs_shards


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """A folder with train.h5 and validation.h5."""
    return write_tgs_shards(tmp_path_factory.mktemp("shards"))


@pytest.fixture(autouse=True)
def restored_settings():
    """Restore what a training run sets for its whole process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic = False
