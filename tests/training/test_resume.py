"""An interrupted training resumes and ends with the same files as an uninterrupted one."""

import contextlib
import errno
import io
import itertools
import os
import resource
import shutil
import signal
import subprocess
import sys
import types
from pathlib import Path

import pandas as pd
import pytest
import torch
from rawfiles import make_tgs
from sources import source

from pipeline.cli.main import main
from pipeline.core.errors import InterruptionError, OutputError, TrainingError
from pipeline.core.signals import SIGNALS
from pipeline.graph.artifacts import STAGES
from pipeline.graph.plan import Plan
from pipeline.shards.recipes import ShardRecipe
from pipeline.shards.write import build_shard
from pipeline.tools import provenance
from pipeline.training import device as devices
from pipeline.training import run as training
from pipeline.training import state_saver, step
from pipeline.training import validate as validation
from pipeline.training.checkpoint import load_checkpoint
from pipeline.training.generations import write_current
from pipeline.training.history import Progress
from pipeline.training.recipes import TrainRecipe
from pipeline.training.state import load_state, save_state, state_key

SHARD = {"dataset": "d", "size": [48, 48], "normalize": "unit", "storage": "uint8"}
RECIPE = {
    "dataset": "d",
    "model": {"name": "unet", "width": 4, "depth": 2},
    "loss": {"name": "bce", "region": "fov"},
    "optimizer": {"name": "adam", "lr": 0.02},
    "batch_size": 3,
    "epochs": 4,
    "precision": "fp32",
    "threads": 1,
}
AUGMENTED = {
    "crop": [32, 40],
    "augment": {
        "flip": "both",
        "rot90": True,
        "rotate": 10.0,
        "elastic": {"grid": 3, "sigma": 3.0},
        "gamma": [0.8, 1.2],
    },
    "repeats": 2,
}
OPTIMIZERS = {
    "sgd": {"name": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4},
    "adam": {"name": "adam", "lr": 0.02},
    "adamw": {"name": "adamw", "lr": 0.02, "weight_decay": 0.01},
}
SCHEDULES = {
    "constant": {"name": "constant"},
    "cosine": {"name": "cosine", "warmup": 1.5},
    "plateau": {"name": "plateau", "factor": 0.5, "patience": 1, "min_delta": 1.0},
}
FILES = ("best.pt", "last.pt", "history.csv")
NATIVE_BF16 = pytest.mark.skipif(
    not devices.bf16_is_native(torch.device("cpu")), reason="this CPU has no bfloat16 of its own"
)


class PowerLoss(BaseException):
    """Ends a training run immediately, without saving its state."""


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    samples = source("tgs", make_tgs(folder / "raw"), validation={"fraction": 0.3})
    for split in ("train", "validation"):
        shard = ShardRecipe.model_validate({**SHARD, "split": split, "source": samples})
        build_shard(shard, number=0, output=folder / f"{split}.h5")
    return folder


@pytest.fixture
def save_interval(monkeypatch):
    """A clock that advances by one second each time it is read: at each step, validation batch and epoch."""

    def set_interval(checks):
        monkeypatch.setattr(state_saver, "time", types.SimpleNamespace(monotonic=itertools.count().__next__))
        return {"save_every": checks - 1}

    return set_interval


def recipe_of(**changes):
    return TrainRecipe.model_validate({**RECIPE, **changes})


def run(shards, output, state=None, save_every=60.0, memory=None, **changes):
    training.train(
        recipe_of(**changes),
        experiment="e",
        train_shards=[shards / "train.h5"],
        validation_shards=[shards / "validation.h5"],
        output=output,
        state=state,
        save_every=save_every,
        memory=memory,
    )


def act_in_step(monkeypatch, steps, act, module=step):
    """Call `act` in the given step; return a list with one entry for each step started."""
    started = []
    supervise = module.supervise

    def counted(*arguments):
        started.append(len(started) + 1)
        if len(started) == steps:
            act()
        return supervise(*arguments)

    monkeypatch.setattr(module, "supervise", counted)
    return started


def lose_power():
    raise PowerLoss


def interrupt(monkeypatch, shards, output, state, steps, act=lose_power, ends_by=PowerLoss, **changes):
    """Start a training run and interrupt it."""
    with monkeypatch.context() as patched:
        act_in_step(patched, steps, act)
        with pytest.raises(ends_by) as caught:
            run(shards, output, state=state, **changes)
    assert not output.exists()
    return caught.value


def assert_same(a, b):
    for name in ("best.pt", "last.pt"):
        weights = [load_checkpoint(folder / name).state for folder in (a, b)]
        assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    for name in FILES:
        assert (a / name).read_bytes() == (b / name).read_bytes(), name


@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=NATIVE_BF16)])
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_resumed_training_is_bit_identical_after_power_loss(
    shards, tmp_path, monkeypatch, capfd, save_interval, optimizer, schedule, precision
):
    recipe = {**AUGMENTED, "optimizer": OPTIMIZERS[optimizer], "schedule": SCHEDULES[schedule], "precision": precision}
    run(shards, tmp_path / "uninterrupted", **recipe)
    state, interval = tmp_path / "state", save_interval(4)
    samples = len(load_epoch_order(shards, tmp_path, recipe))
    per_epoch = -(-samples // 3)
    for steps in (per_epoch + 3, per_epoch):
        interrupt(monkeypatch, shards, tmp_path / "resumed", state, steps, **recipe, **interval)
    capfd.readouterr()
    with monkeypatch.context() as patched:
        started = act_in_step(patched, 0, lose_power)
        run(shards, tmp_path / "resumed", state=state, **recipe, **interval)
    assert "e: resumes from epoch " in capfd.readouterr().err
    assert 0 < len(started) < 4 * per_epoch - 4
    assert_same(tmp_path / "uninterrupted", tmp_path / "resumed")


def load_epoch_order(shards, tmp_path, recipe):
    """Return the order of the samples in an epoch from a saved state."""
    with pytest.MonkeyPatch.context() as patched:
        interrupt(patched, shards, tmp_path / "probe", tmp_path / "probed", 2, **recipe, save_every=0)
    return load_state(tmp_path / "probed")["progress"]["rows"]


def test_training_resumes_from_any_step(shards, tmp_path, monkeypatch, capfd):
    run(shards, tmp_path / "uninterrupted", epochs=3)
    per_epoch = -(-len(load_epoch_order(shards, tmp_path, {})) // 3)
    stderr = []
    for steps in range(2, 3 * per_epoch + 1):
        output, state = tmp_path / f"{steps}", tmp_path / f"state-{steps}"
        interrupt(monkeypatch, shards, output, state, steps, epochs=3, save_every=0)
        capfd.readouterr()
        run(shards, output, epochs=3, state=state)
        stderr += [line for line in capfd.readouterr().err.splitlines() if "resumes" in line]
        assert_same(tmp_path / "uninterrupted", output)
    assert stderr == [
        f"e: resumes from epoch {1 + done // per_epoch}, step {done % per_epoch}" for done in range(1, 3 * per_epoch)
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"early_stopping": 2, "monitor": "val_max_f", "optimizer": {"name": "sgd", "lr": 1e-12}, "epochs": 20},
        {"validate_every": 3, "checkpoint_every": 2, "epochs": 5},
        {"memory": 0, "loss": {"name": "bce", "region": "fov", "border": {"w0": 10, "sigma": 5}}},
        {"model": {"name": "u2net-lite", "width": 4}},
        {"model": {"name": "unet", "width": 4, "depth": 3, "attention": "scse"}},
        {"loss": {"name": "cross-entropy", "region": "full"}, "monitor": "val_dice"},
    ],
    ids=["early stopping", "rare validation", "streamed", "side outputs", "attention", "two channels"],
)
def test_resumed_training_is_bit_identical_with_other_settings(shards, tmp_path, monkeypatch, save_interval, changes):
    recipe = {**AUGMENTED, **changes}
    run(shards, tmp_path / "uninterrupted", **recipe)
    interrupt(monkeypatch, shards, tmp_path / "resumed", tmp_path / "state", 9, **recipe, **save_interval(3))
    run(shards, tmp_path / "resumed", state=tmp_path / "state", **recipe)
    assert_same(tmp_path / "uninterrupted", tmp_path / "resumed")
    assert len(pd.read_csv(tmp_path / "resumed/timing.csv")) == len(pd.read_csv(tmp_path / "resumed/history.csv"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1], ids=lambda number: number.name)
def test_signal_saves_the_state_after_the_current_step(shards, tmp_path, monkeypatch, capfd, number):
    run(shards, tmp_path / "uninterrupted")
    handlers = [signal.getsignal(number) for number in SIGNALS]
    signalled = {"act": lambda: os.kill(os.getpid(), number), "ends_by": InterruptionError}
    error = interrupt(monkeypatch, shards, tmp_path / "resumed", tmp_path / "state", 5, **signalled)
    assert error.status == 128 + number
    assert f"found:    {number.name}" in str(error)
    assert "it resumes from this step" in str(error)
    assert handlers == [signal.getsignal(number) for number in SIGNALS]
    progress = load_state(tmp_path / "state")["progress"]
    per_epoch = -(-len(progress["rows"]) // 3)
    assert (progress["epoch"], progress["step"]) == (1 + 5 // per_epoch, 5 % per_epoch)
    run(shards, tmp_path / "resumed", state=tmp_path / "state")
    assert f"resumes from epoch {progress['epoch']}, step {progress['step']}" in capfd.readouterr().err
    assert_same(tmp_path / "uninterrupted", tmp_path / "resumed")


def test_signal_interrupts_a_validation(shards, tmp_path, monkeypatch):
    run(shards, tmp_path / "uninterrupted", batch_size=1)
    with monkeypatch.context() as patched:
        started = act_in_step(patched, 2, lambda: os.kill(os.getpid(), signal.SIGTERM), validation)
        with pytest.raises(InterruptionError):
            run(shards, tmp_path / "resumed", state=tmp_path / "state", batch_size=1)
    assert len(started) == 2
    progress = load_state(tmp_path / "state")["progress"]
    assert (progress["epoch"], progress["step"]) == (1, len(progress["rows"]))
    with monkeypatch.context() as patched:
        started = act_in_step(patched, 0, lose_power)
        run(shards, tmp_path / "resumed", state=tmp_path / "state", batch_size=1)
    assert len(started) == 3 * len(progress["rows"])
    assert_same(tmp_path / "uninterrupted", tmp_path / "resumed")


def test_signal_after_the_last_epoch_loses_nothing(shards, tmp_path, monkeypatch):
    run(shards, tmp_path / "uninterrupted")
    write_table = training.write_table

    def signalled(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        write_table(*arguments)

    monkeypatch.setattr(training, "write_table", signalled)
    run(shards, tmp_path / "resumed", state=tmp_path / "state")
    assert_same(tmp_path / "uninterrupted", tmp_path / "resumed")


def corrupt(path, kind):
    contents = path.read_bytes()
    if kind == "cut off":
        path.write_bytes(contents[: len(contents) // 2])
    elif kind == "empty":
        path.write_bytes(b"")
    else:
        middle = len(contents) // 2
        path.write_bytes(contents[:middle] + bytes([contents[middle] ^ 1]) + contents[middle + 1 :])


@pytest.mark.parametrize("kind", ["cut off", "empty", "one bit"])
def test_training_resumes_from_the_previous_state_if_corrupt(shards, tmp_path, monkeypatch, capfd, kind):
    run(shards, tmp_path / "uninterrupted")
    state = tmp_path / "state"
    interrupt(monkeypatch, shards, tmp_path / "resumed", state, 7, save_every=0)
    newest, previous = (load_state(state)["progress"], previous_progress(state))
    assert (newest["epoch"], newest["step"]) > (previous["epoch"], previous["step"])
    corrupt(state / "current.pt", kind)
    capfd.readouterr()
    run(shards, tmp_path / "resumed", state=state)
    stderr = capfd.readouterr().err
    assert f"{state / 'current.pt'}: corrupt state" in stderr
    assert f"resumes from epoch {previous['epoch']}, step {previous['step']}" in stderr
    assert_same(tmp_path / "uninterrupted", tmp_path / "resumed")


def previous_progress(state):
    """Return the progress in the previous state."""
    current = state / "current.pt"
    current.rename(state / "aside")
    progress = load_state(state)["progress"]
    (state / "aside").rename(current)
    return progress


def test_corrupt_state_never_replaces_an_intact_one(tmp_path):
    save_state(tmp_path, {"number": 1})
    save_state(tmp_path, {"number": 2})
    corrupt(tmp_path / "current.pt", "cut off")
    assert load_state(tmp_path) == {"number": 1}
    save_state(tmp_path, {"number": 3})
    corrupt(tmp_path / "current.pt", "cut off")
    assert load_state(tmp_path) == {"number": 1}


def test_a_state_that_is_no_mapping_is_refused(tmp_path):
    write_current(tmp_path, lambda file: torch.save([1, 2], file))
    with pytest.raises(TrainingError, match="a list in place of a state"):
        load_state(tmp_path)


@pytest.mark.parametrize("epoch", [-3, 0, 3, 10**9])
def test_progress_that_its_history_contradicts_is_refused(epoch):
    progress = Progress()
    state = {**progress.state(), "history": [{}], "epoch": epoch}
    with pytest.raises(ValueError, match=f"epoch {epoch} after a history of 1 epoch"):
        progress.restore(state)
    progress.restore({**state, "epoch": 2})


def test_training_restarts_if_all_states_are_corrupt(shards, tmp_path, monkeypatch, capfd):
    run(shards, tmp_path / "uninterrupted")
    state = tmp_path / "state"
    interrupt(monkeypatch, shards, tmp_path / "resumed", state, 7, save_every=0)
    for name in ("current.pt", "previous.pt"):
        corrupt(state / name, "cut off")
    capfd.readouterr()
    run(shards, tmp_path / "resumed", state=state)
    stderr = capfd.readouterr().err
    assert stderr.count("corrupt state (") == 2
    assert "restarts from the beginning" in stderr
    assert "resumes" not in stderr
    assert_same(tmp_path / "uninterrupted", tmp_path / "resumed")


class Trap:
    """Runs code when unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("code from a state was run",))


def test_code_in_a_state_is_never_run(tmp_path):
    save_state(tmp_path, {"progress": Trap()})
    with pytest.raises(TrainingError, match=r"current\.pt"):
        load_state(tmp_path)


@pytest.mark.parametrize(
    ("failing_step", "error"),
    [
        ("read", OSError(errno.ESTALE, os.strerror(errno.ESTALE))),
        ("read", MemoryError()),
        ("load", RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")),
        ("load", MemoryError()),
    ],
    ids=str,
)
def test_intact_but_unreadable_state_is_kept(tmp_path, monkeypatch, failing_step, error):
    save_state(tmp_path, {"number": 1})
    save_state(tmp_path, {"number": 2})
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    def fails(*_, **__):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(*((Path, "read_bytes") if failing_step == "read" else (torch, "load")), fails)
        with pytest.raises(TrainingError, match="run the same command again"):
            load_state(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert load_state(tmp_path) == {"number": 2}


def test_state_is_kept_until_all_files_are_written(shards, tmp_path, monkeypatch, capfd):
    """A failure after the last epoch must keep the state: Snakemake deletes the outputs of a failed job."""
    state = tmp_path / "state"
    assert main(command_arguments(shards, tmp_path / "uninterrupted", tmp_path / "other")) == 0
    with monkeypatch.context() as patched:
        patched.setattr(provenance, "write_provenance", lambda *_, **__: os.kill(os.getpid(), signal.SIGINT))
        assert main(command_arguments(shards, tmp_path / "m", state)) == 130
    shutil.rmtree(tmp_path / "m")
    capfd.readouterr()
    assert main(command_arguments(shards, tmp_path / "m", state)) == 0
    assert "resumes from epoch" in capfd.readouterr().err
    assert_same(tmp_path / "uninterrupted", tmp_path / "m")
    assert not state.exists()


def test_state_of_another_network_is_refused(shards, tmp_path, monkeypatch):
    interrupt(monkeypatch, shards, tmp_path / "m", tmp_path / "state", 3, save_every=0)
    with pytest.raises(TrainingError, match="delete this folder"):
        run(shards, tmp_path / "m", state=tmp_path / "state", model={"name": "unet", "width": 8, "depth": 2})


def test_state_key_depends_on_settings_and_shard_contents(shards, tmp_path):
    paths = [shards / "train.h5", shards / "validation.h5"]
    key = state_key(recipe_of(), paths)
    assert key == state_key(TrainRecipe.model_validate(dict(reversed(RECIPE.items()))), paths)
    copy = tmp_path / "copy.h5"
    copy.write_bytes(paths[0].read_bytes())
    assert key == state_key(recipe_of(), [copy, paths[1]])
    corrupt(copy, "one bit")
    others = [
        state_key(recipe_of(), [copy, paths[1]]),
        state_key(recipe_of(), paths[:1]),
        state_key(recipe_of(), [paths[0], tmp_path / "missing.h5"]),
        state_key(recipe_of(), paths, identity="of other code"),
        state_key(recipe_of(seed=1), paths),
        state_key(recipe_of(optimizer={"name": "adam", "lr": 0.01}), paths),
    ]
    assert len({key, *others}) == 1 + len(others)


def command_arguments(shards, output, state, **changes):
    """Return the arguments of a `train` command."""
    plan = Plan(STAGES["train"], {"experiment": "e"}, recipe_of(**changes))
    return [
        *("train", "--experiment", "e", "--plan", plan.to_json()),
        *("--train-shards", str(shards / "train.h5"), "--validation-shards", str(shards / "validation.h5")),
        *("--output", str(output), "--state", str(state), "--save-every", "0"),
    ]


def test_command_resumes_only_its_own_state(shards, tmp_path, monkeypatch, capfd):
    state = tmp_path / "state"
    assert main(command_arguments(shards, tmp_path / "uninterrupted", state)) == 0
    assert not state.exists()
    with monkeypatch.context() as patched:
        act_in_step(patched, 5, lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert main(command_arguments(shards, tmp_path / "m", state)) == 128 + signal.SIGTERM
    stderr = capfd.readouterr().err
    assert "Training was interrupted" in stderr
    assert "Traceback" not in stderr
    (folder,) = state.iterdir()
    assert main(command_arguments(shards, tmp_path / "other", state, seed=1)) == 0
    assert "resumes" not in capfd.readouterr().err
    assert list(state.iterdir()) == [folder], "the state of the other training is kept"
    assert main(command_arguments(shards, tmp_path / "m", state)) == 0
    assert "resumes from epoch" in capfd.readouterr().err
    assert_same(tmp_path / "uninterrupted", tmp_path / "m")
    assert not state.exists()


def test_training_continues_if_its_state_cannot_be_saved(shards, tmp_path, capfd):
    run(shards, tmp_path / "uninterrupted")
    (tmp_path / "file").write_text("in the way")
    capfd.readouterr()
    run(shards, tmp_path / "m", state=tmp_path / "file" / "state", save_every=0)
    stderr = capfd.readouterr().err
    assert stderr.count("the state cannot be saved") == 1
    assert "a file has the name of a required folder" in stderr
    assert_same(tmp_path / "uninterrupted", tmp_path / "m")


def test_interruption_reports_a_state_that_cannot_be_saved(shards, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    signalled = {"act": lambda: os.kill(os.getpid(), signal.SIGINT), "ends_by": InterruptionError}
    error = interrupt(monkeypatch, shards, tmp_path / "m", tmp_path / "file" / "state", 3, **signalled)
    assert "resumes from the last saved state, or restarts" in str(error)


def test_failed_write_keeps_the_previous_state(tmp_path):
    save_state(tmp_path, {"number": 1})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(OutputError, match="ulimit -f"):
            save_state(tmp_path, {"weights": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert load_state(tmp_path) == {"number": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["current.pt"]


def test_state_file_is_torch_data_and_a_checksum(tmp_path):
    save_state(tmp_path, {"weights": torch.arange(5.0), "lowest": float("inf")})
    contents = (tmp_path / "current.pt").read_bytes()
    plain = torch.load(io.BytesIO(contents[:-32]), weights_only=True)
    assert plain["lowest"] == float("inf")
    assert plain["weights"].tolist() == [0, 1, 2, 3, 4]


def test_number_of_threads_changes_results_only_by_rounding(shards, tmp_path):
    # small steps, and no batch of a single blank tile: both would amplify rounding errors
    recipe = {**AUGMENTED, "batch_size": 4, "epochs": 1, "optimizer": {"name": "sgd", "lr": 0.01}}
    for threads in (1, 2):
        run(shards, tmp_path / f"{threads}", threads=threads, **recipe)
    one, two = (load_checkpoint(tmp_path / f"{threads}/last.pt") for threads in (1, 2))
    assert (one.info.settings.threads, two.info.settings.threads) == (1, 2)
    for name, weights in one.state.items():
        torch.testing.assert_close(two.state[name], weights, rtol=1e-4, atol=2e-5, msg=name)


def test_the_seeds_are_recorded_and_independent(shards, tmp_path):
    recorded = []
    for seed in (0, 1):
        run(shards, tmp_path / f"{seed}", seed=seed, epochs=1)
        info = load_checkpoint(tmp_path / f"{seed}/last.pt").info
        assert info.settings.deterministic
        recorded.append(info.seeds)
    assert set(recorded[0]) == {"weights", "order", "augmentation"}
    assert len({*recorded[0].values(), *recorded[1].values()}) == 6


def test_checkpoint_records_all_hardware_of_a_resumed_training(shards, tmp_path, monkeypatch):
    interrupt(monkeypatch, shards, tmp_path / "m", tmp_path / "state", 3, save_every=0)
    cpu_name = devices.describe_device(torch.device("cpu"))
    monkeypatch.setattr(training, "describe_device", lambda device: "another machine")
    run(shards, tmp_path / "m", state=tmp_path / "state")
    assert load_checkpoint(tmp_path / "m/last.pt").info.made_with["device"] == f"{cpu_name}, then another machine"


@pytest.mark.parametrize("deterministic", [True, False])
def test_deterministic_setting_is_logged_on_a_gpu(monkeypatch, capfd, deterministic):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    devices.prepare_determinism(deterministic, torch.device("cpu"))
    assert capfd.readouterr().err == ""
    assert torch.are_deterministic_algorithms_enabled() == deterministic
    devices.prepare_determinism(deterministic, torch.device("cuda"))
    stderr = capfd.readouterr().err
    assert stderr.startswith("deterministic:" if deterministic else "not deterministic:")
    assert "last digits" in stderr
    assert torch.backends.cudnn.benchmark != deterministic
    assert ("CUBLAS_WORKSPACE_CONFIG" in os.environ) == deterministic


@pytest.mark.slow
def test_repeatedly_killed_training_is_bit_identical(shards, tmp_path):
    recipe = {**AUGMENTED, "epochs": 40}
    command = [sys.executable, "-m", "pipeline"]
    subprocess.run(
        [*command, *command_arguments(shards, tmp_path / "uninterrupted", tmp_path / "none", **recipe)],
        check=True,
        capture_output=True,
    )
    state, log = tmp_path / "state", tmp_path / "log"
    resumed = []
    for saves in (1, 2, 7, 30, 61):
        with log.open("w") as file:
            process = subprocess.Popen(
                [*command, *command_arguments(shards, tmp_path / "m", state, **recipe)],
                stdout=file,
                stderr=subprocess.STDOUT,
            )
            seen = set()
            while len(seen) <= saves and process.poll() is None:
                with contextlib.suppress(FileNotFoundError):  # between two renames
                    seen |= {path.stat().st_mtime_ns for path in state.glob("*/current.pt")}
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL, "the process ended before it was killed"
        resumed.append("resumes from epoch" in log.read_text())
        assert not (tmp_path / "m").exists()
    assert resumed == [False, True, True, True, True]
    done = subprocess.run(
        [*command, *command_arguments(shards, tmp_path / "m", state, **recipe)],
        check=True,
        capture_output=True,
        text=True,
    )
    assert "resumes from epoch" in done.stderr
    assert_same(tmp_path / "uninterrupted", tmp_path / "m")
    assert not state.exists()


@pytest.mark.slow
def test_two_processes_can_share_a_state_folder(shards, tmp_path):
    recipe = {**AUGMENTED, "epochs": 30}
    command = [sys.executable, "-m", "pipeline"]
    subprocess.run(
        [*command, *command_arguments(shards, tmp_path / "uninterrupted", tmp_path / "none", **recipe)],
        check=True,
        capture_output=True,
    )
    command += command_arguments(shards, tmp_path / "m", tmp_path / "state", **recipe)
    pair = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate()[1] for process in pair]
    assert [process.returncode for process in pair] == [0, 0], outputs
    assert_same(tmp_path / "uninterrupted", tmp_path / "m")
    assert not any("Traceback" in text for text in outputs)
