"""Distributed training gives the network of a single process, and its processes end together."""

import contextlib
import io
import os
import re
import signal
import subprocess
import sys
import time
import types
from typing import ClassVar

import numpy as np
import pandas as pd
import psutil
import pytest
import torch
from rawfiles import make_drive, make_tgs
from sources import source

from pipeline.config.config import parse
from pipeline.core.errors import ConfigError, InterruptionError, PipelineError, ShardError, TrainingError
from pipeline.shards.recipes import ShardRecipe
from pipeline.shards.write import build_shard
from pipeline.training import launch, ranks
from pipeline.training.augment.augmentation import Augmentation
from pipeline.training.augment.options import Augment
from pipeline.training.checkpoint import load_checkpoint
from pipeline.training.checks import require_ranks
from pipeline.training.data import Batch
from pipeline.training.launch import on_ranks
from pipeline.training.recipes import TrainRecipe
from pipeline.training.run import train

SHARD = {"dataset": "d", "size": [48, 48], "normalize": "unit", "storage": "uint8"}
SMALL = {"name": "unet-small", "widths": [4, 8]}
RECIPE = {
    "dataset": "d",
    "model": SMALL,
    "loss": {"name": "bce", "region": "fov"},
    "optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9},
    "batch_size": 4,
    "epochs": 2,
    "precision": "fp32",
    "threads": 1,
    "crop": [32, 40],
    "augment": {
        "flip": "both",
        "rot90": True,
        "rotate": 10.0,
        "scale": [0.8, 1.2],
        "elastic": {"grid": 3, "sigma": 3.0},
        "brightness": 0.1,
        "gamma": [0.8, 1.2],
    },
}


def loss(name, **more):
    return {"loss": {"name": name, "region": "fov", **more}}


RECIPES = {
    "fov": loss("bce"),  # 7 samples in batches of 4: in the last batch one process has 2 rows, the other 1
    "single": {"batch_size": 6},  # the last batch has a single row: the other process has none
    "streamed": {"batch_size": 6, "memory": 0},
    "accumulated": {"batch_size": 2, "accumulate": 3},
    "staged": {"stages": [{"loss": "lovasz", "lr": 0.01, "epochs": 2, "schedule": "cosine"}]},
    "crop": {"augment": None, "model": {"name": "unet-crop", "widths": [4, 8]}},
    "weights": loss("bce", border={"w0": 10, "sigma": 5}, class_balance=True),
    "plateau": {"schedule": {"name": "plateau", "patience": 1, "min_delta": 1.0}, "repeats": 2, "epochs": 3},
    **{name: loss(name) for name in ("mse", "dice", "bce-dice", "cross-entropy", "softmax-dice", "softmax-bce")},
}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic = False


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Shards of 7 training and 3 validation samples with a field of view."""
    folder = tmp_path_factory.mktemp("shards")
    samples = source("drive", make_drive(folder / "raw", training=10), validation={"fraction": 0.3})
    with contextlib.redirect_stderr(io.StringIO()):
        for split in ("train", "validation"):
            recipe = ShardRecipe.model_validate({**SHARD, "split": split, "source": samples})
            build_shard(recipe, number=0, output=folder / f"{split}.h5")
    return folder


def recipe_of(**changes):
    return TrainRecipe.model_validate({**RECIPE, **changes})


def run(shards, output, memory=None, **changes):
    train(
        recipe_of(**changes),
        experiment="e",
        train_shards=[shards / "train.h5"],
        validation_shards=[shards / "validation.h5"],
        output=output,
        memory=memory,
    )


def train_all(shards, folder, gpus):
    """Train with all recipes; the function that each process runs."""
    torch.set_num_threads(1)
    for name, changes in RECIPES.items():
        run(shards, folder / name, gpus=gpus, **changes)
    run(shards, folder / "frozen", gpus=gpus, init={"checkpoint": str(folder / "fov" / "last.pt"), "freeze": 1})


@pytest.fixture(scope="module")
def trained(shards, tmp_path_factory):
    """Folders of the same training runs with one process and with two."""
    folders = [tmp_path_factory.mktemp(name) for name in ("one", "two")]
    with contextlib.redirect_stderr(io.StringIO()):
        train_all(shards, folders[0], 1)
    on_ranks(train_all, 2)(shards=shards, folder=folders[1], gpus=2)
    return folders


@pytest.mark.parametrize("name", [*RECIPES, "frozen"])
def test_two_processes_give_the_network_of_one(trained, name):
    one, two = (load_checkpoint(folder / name / "last.pt") for folder in trained)
    for key, weights in one.state.items():
        torch.testing.assert_close(two.state[key], weights, rtol=1e-4, atol=1e-5, msg=key)
    histories = [pd.read_csv(folder / name / "history.csv") for folder in trained]
    pd.testing.assert_frame_equal(*histories, rtol=1e-4, atol=1e-5)
    assert (one.info.settings.gpus, two.info.settings.gpus) == (1, 2)
    assert not two.info.settings.sync_batch_norm
    assert two.info.made_with["device"] == one.info.made_with["device"] + ", 2 processes"


def test_different_recipes_give_different_networks(trained):
    ends = [load_checkpoint(trained[1] / name / "last.pt").state for name in RECIPES if name != "streamed"]
    flat = [torch.cat([tensor.flatten() for tensor in end.values()]) for end in ends]
    assert not any(torch.equal(a, b) for n, a in enumerate(flat) for b in flat[:n] if len(a) == len(b))


# -- distribution of rows and random numbers ---------------------------------------------------------------------------


@pytest.fixture
def as_rank(monkeypatch):
    def set_rank(rank, count):
        monkeypatch.setattr(ranks, "world_size", lambda: count)
        monkeypatch.setattr(ranks, "rank", lambda: rank)

    return set_rank


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_local_rows_partition_the_batch_evenly(as_rank, count):
    for total in range(12):
        rows, sizes = [], []
        for rank in range(count):
            as_rank(rank, count)
            local = list(range(total))[ranks.local_rows(total)]
            rows += local
            sizes.append(len(local))
        assert rows == list(range(total))
        assert sizes == sorted(sizes, reverse=True)
        assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("crop", [None, (24, 20)])
@pytest.mark.parametrize(
    "warp", [{}, {"rotate": 20.0, "shear": 5.0, "scale": (0.7, 1.4), "elastic": {"grid": 3, "sigma": 4.0}}]
)
def test_augmentation_of_a_sample_does_not_depend_on_the_process(crop, warp):
    intensity = {"brightness": 0.2, "contrast": 0.2, "gamma": (0.5, 2.0)}
    augment = Augmentation(crop, Augment.model_validate({"flip": "both", "rot90": True, **intensity, **warp}))
    random = np.random.default_rng(0)
    planes = [torch.from_numpy(random.random((5, channels, 32, 32), dtype=np.float32)) for channels in (3, 1, 1)]
    expected = augment(Batch(*planes), torch.Generator().manual_seed(3))
    rng_states = []
    for rows in (slice(0, 3), slice(3, 5), slice(5, 5)):
        rng = torch.Generator().manual_seed(3)
        part = augment(Batch(*(plane[rows] for plane in planes)), rng, False, rows, 5)
        for name in ("image", "target", "weight"):
            torch.testing.assert_close(getattr(part, name), getattr(expected, name)[rows], rtol=0, atol=1e-6)
        rng_states.append(rng.get_state())
    assert all(torch.equal(state, rng_states[0]) for state in rng_states)


# -- invalid settings --------------------------------------------------------------------------------------------------


def experiment(**changes):
    settings = {"dataset": "t", "model": "unet", "loss": "bce", "optimizer": {"name": "sgd", "lr": 0.1}, "epochs": 1}
    data = {"layout": "tgs", "root": "raw", "size": [48, 48]}
    return parse({"datasets": {"t": data}, "experiments": {"e": {**settings, "batch_size": 6, **changes}}})


def test_incompatible_gpu_settings_are_refused():
    assert experiment(gpus=3, sync_batch_norm=True).experiments["e"].gpus == 3
    with pytest.raises(ConfigError, match=r"a multiple of `gpus` \(4\)"):
        experiment(gpus=4)
    with pytest.raises(ConfigError, match="`gpus` above 1 with `sync_batch_norm`"):
        experiment(sync_batch_norm=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gpus": 2}, "found:    2 GPUs, but 1 training processes"),
        ({"gpus": 2, "sync_batch_norm": True}, "found:    true on cpu"),
    ],
)
def test_gpu_settings_must_match_the_processes(shards, tmp_path, changes, message):
    with pytest.raises(TrainingError, match=message):
        run(shards, tmp_path / "m", **changes)
    assert not (tmp_path / "m").exists()


def test_several_gpus_require_cuda(as_rank):
    as_rank(0, 2)
    with pytest.raises(TrainingError, match="found:    2 on mps, which is a single device"):
        require_ranks("e", recipe_of(gpus=2), torch.device("mps"))
    require_ranks("e", recipe_of(gpus=2, sync_batch_norm=True), torch.device("cuda"))


# -- end of processes --------------------------------------------------------------------------------------------------


def fail_on_rank_1(failure):
    """Fail in one process while the other waits for it."""
    if ranks.rank() == 0:
        ranks.all_reduce_max(0)
        ranks.all_reduce_max(0)
    ranks.all_reduce_max(0)
    if failure == "pipeline error":
        raise ShardError("a shard", "two\nlines", "one", "fix it")
    raise ZeroDivisionError("unexpected")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("failure", "kind", "message"),
    [
        ("pipeline error", ShardError, "a shard\n    found:    two\nlines"),
        ("exception", TrainingError, "rank 1 of 2 of this training run\n    found:    ZeroDivisionError: unexpected"),
    ],
)
def test_failure_of_one_process_ends_all_and_is_reported(capfd, failure, kind, message):
    with pytest.raises(PipelineError, match=re.escape(message)) as caught:
        on_ranks(fail_on_rank_1, 2)(failure=failure)
    assert type(caught.value) is kind
    assert not [child for child in psutil.Process().children() if "multiprocessing-fork" in " ".join(child.cmdline())]
    assert ("Traceback" in capfd.readouterr().err) == (failure == "exception")


class KilledProcess:
    """What elastic says of a process that ended without an error file."""

    error_file_data: ClassVar = {}
    exitcode = -signal.SIGKILL


@pytest.mark.parametrize(("doubtful", "process"), [(True, "rank 1 of 2"), (False, "rank 0 of 2")])
def test_a_killed_process_is_the_cause_of_a_lost_connection(doubtful, process):
    published = launch._Failure(text="x\nRuntimeError: connection closed", process="rank 0 of 2", doubtful=doubtful)
    board = types.SimpleNamespace(publish=lambda failure: published)
    name, failure = launch._cause(board, 2, 1, KilledProcess)
    assert name == f"{process} of this training run"
    assert ("killed by SIGKILL" in failure.text) is doubtful


CONFIG = """
store_gb: 0
datasets:
  t: {layout: tgs, root: TGS, size: [48, 48], validation: {fraction: 0.3}, test: {rule: fraction, fraction: 0.2}}
experiments:
  e: {dataset: t, model: {name: unet, width: 4, depth: 2}, loss: bce-dice, optimizer: {name: adamw, lr: 0.01},
    schedule: {name: cosine, warmup: 1}, crop: [32, 40], augment: {flip: both, rotate: 10}, batch_size: 4,
    epochs: 40, threads: 1, gpus: 2}
"""


class Training:
    """A training run started from the command line, with its own output and state folders."""

    def __init__(self, folder, output):
        self.folder, self.output = folder, folder / output
        arguments = f"train --experiment e --output {output} --state state-{output} --save-every 0".split()
        self.log = folder / f"{output}.log"
        with self.log.open("a") as log:
            command = [sys.executable, "-m", "pipeline", *arguments]
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            pipes = {"stdout": log, "stderr": subprocess.STDOUT}
            self.process = subprocess.Popen(command, cwd=folder, env=environment, **pipes, start_new_session=True)

    def wait_until_running(self):
        """Wait until states were saved; return the training processes."""
        states = set()
        while len(states) < 3:
            assert self.process.poll() is None, self.log.read_text()
            with contextlib.suppress(FileNotFoundError):
                states |= {
                    path.stat().st_mtime_ns for path in self.folder.glob(f"state-{self.output.name}/*/current.pt")
                }
            time.sleep(0.005)
        children = psutil.Process(self.process.pid).children()
        forked = [child for child in children if "multiprocessing-fork" in " ".join(child.cmdline())]
        assert len(forked) == 2
        return sorted(forked, key=lambda child: child.pid)

    def wait_for_exit(self, status):
        assert self.process.wait(timeout=240) == status, self.log.read_text()
        return self.log.read_text()


@pytest.mark.slow
def test_distributed_training_resumes_after_every_kill(tmp_path):
    make_tgs(tmp_path / "TGS")
    (tmp_path / "config.yaml").write_text(CONFIG)
    for split in ("train", "validation"):
        arguments = ["shard", "--dataset", "t", "--split", split, "--number", "0"]
        subprocess.run([sys.executable, "-m", "pipeline", *arguments], cwd=tmp_path, check=True, capture_output=True)
    uninterrupted, interrupted = Training(tmp_path, "uninterrupted"), Training(tmp_path, "interrupted")

    interrupted.wait_until_running()[1].kill()
    log = interrupted.wait_for_exit(1)
    assert "rank 1 of 2 of this training run\n    found:    killed by SIGKILL" in log
    assert "Traceback" not in log

    interrupted = Training(tmp_path, "interrupted")
    running = interrupted.wait_until_running()
    interrupted.process.kill()
    assert interrupted.process.wait() == -signal.SIGKILL
    assert psutil.wait_procs(running, timeout=20)[1] == []

    interrupted = Training(tmp_path, "interrupted")
    interrupted.wait_until_running()
    interrupted.process.terminate()
    log = interrupted.wait_for_exit(128 + signal.SIGTERM)
    assert "found:    SIGTERM" in log
    assert "it resumes from this step" in log

    interrupted = Training(tmp_path, "interrupted")
    interrupted.wait_until_running()[1].send_signal(signal.SIGUSR1)
    log = interrupted.wait_for_exit(128 + signal.SIGUSR1)
    assert log.count("resumes from epoch") == 3
    assert log.count("it resumes from this step") == 2
    assert "resumes from epoch 1, step 0" not in log

    assert not interrupted.output.exists()
    Training(tmp_path, "interrupted").wait_for_exit(0)
    uninterrupted.wait_for_exit(0)
    for name in ("best.pt", "last.pt", "history.csv"):
        assert (uninterrupted.output / name).read_bytes() == (interrupted.output / name).read_bytes(), name
    assert not list(tmp_path.glob("state-*"))


def must_not_run():
    raise AssertionError("the function must not run")


@pytest.mark.slow
def test_signal_while_processes_start_is_an_interruption(monkeypatch):
    def start_and_signal(process):
        original_start(process)
        os.kill(os.getpid(), signal.SIGTERM)

    kind = torch.multiprocessing.get_context("spawn").Process
    original_start = kind.start
    monkeypatch.setattr(kind, "start", start_and_signal)
    handlers = signal.getsignal(signal.SIGTERM)
    with pytest.raises(InterruptionError) as caught:
        on_ranks(must_not_run, 2)()
    assert caught.value.status == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == handlers
