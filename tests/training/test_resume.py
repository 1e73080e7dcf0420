"""A training that was ended from outside goes on, and ends as if nothing had happened."""

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
from pipeline.training import state_saver
from pipeline.training import validate as validation
from pipeline.training.checkpoint import load_checkpoint
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
    "threads": 1,
}
WILD = {
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

pytestmark = pytest.mark.usefixtures("one_thread")


class PowerLoss(BaseException):
    """Ends a training at once, with no time to save anything."""


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    samples = source("tgs", make_tgs(folder / "raw"), validation={"fraction": 0.3})
    for split in ("train", "validation"):
        shard = ShardRecipe.model_validate({**SHARD, "split": split, "source": samples})
        build_shard(shard, number=0, output=folder / f"{split}.h5")
    return folder


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic = False


@pytest.fixture
def saves_every(monkeypatch):
    """A clock that moves by a second each time it is looked at: once a step, a validation batch and an epoch."""

    def every(checks):
        monkeypatch.setattr(state_saver, "time", types.SimpleNamespace(monotonic=itertools.count().__next__))
        return {"save_every": checks - 1}

    return every


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


def after(monkeypatch, steps, act, module=training):
    """Let `act` happen in the middle of a step, once that many were begun; return how many were."""
    begun = []
    supervise = module.supervise

    def counted(*arguments):
        begun.append(len(begun) + 1)
        if len(begun) == steps:
            act()
        return supervise(*arguments)

    monkeypatch.setattr(module, "supervise", counted)
    return begun


def lose_power():
    raise PowerLoss


def interrupt(monkeypatch, shards, output, state, steps, act=lose_power, ends_by=PowerLoss, **changes):
    """Begin a training and end it from outside."""
    with monkeypatch.context() as patched:
        after(patched, steps, act)
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
def test_a_training_that_lost_power_ends_with_the_same_bits(
    shards, tmp_path, monkeypatch, capfd, saves_every, optimizer, schedule, precision
):
    recipe = {**WILD, "optimizer": OPTIMIZERS[optimizer], "schedule": SCHEDULES[schedule], "precision": precision}
    run(shards, tmp_path / "whole", **recipe)
    state, often = tmp_path / "state", saves_every(4)
    samples = len(load_epoch_order(shards, tmp_path, recipe))
    per_epoch = -(-samples // 3)
    for steps in (per_epoch + 3, per_epoch):
        interrupt(monkeypatch, shards, tmp_path / "kept", state, steps, **recipe, **often)
    capfd.readouterr()
    with monkeypatch.context() as patched:
        begun = after(patched, 0, lose_power)
        run(shards, tmp_path / "kept", state=state, **recipe, **often)
    assert "e: goes on from epoch " in capfd.readouterr().err
    assert 0 < len(begun) < 4 * per_epoch - 4
    assert_same(tmp_path / "whole", tmp_path / "kept")


def load_epoch_order(shards, tmp_path, recipe):
    """Return the order of the samples in an epoch, as a saved state has it."""
    with pytest.MonkeyPatch.context() as patched:
        interrupt(patched, shards, tmp_path / "probe", tmp_path / "probed", 2, **recipe, save_every=0)
    return load_state(tmp_path / "probed")["progress"]["rows"]


def test_it_goes_on_from_any_step_of_a_training(shards, tmp_path, monkeypatch, capfd):
    run(shards, tmp_path / "whole", epochs=3)
    per_epoch = -(-len(load_epoch_order(shards, tmp_path, {})) // 3)
    said = []
    for steps in range(2, 3 * per_epoch + 1):
        output, state = tmp_path / f"{steps}", tmp_path / f"state-{steps}"
        interrupt(monkeypatch, shards, output, state, steps, epochs=3, save_every=0)
        capfd.readouterr()
        run(shards, output, epochs=3, state=state)
        said += [line for line in capfd.readouterr().err.splitlines() if "goes on" in line]
        assert_same(tmp_path / "whole", output)
    assert said == [
        f"e: goes on from epoch {1 + done // per_epoch}, step {done % per_epoch}" for done in range(1, 3 * per_epoch)
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"early_stopping": 2, "monitor": "val_max_f", "optimizer": {"name": "sgd", "lr": 1e-12}, "epochs": 20},
        {"validate_every": 3, "checkpoint_every": 2, "epochs": 5},
        {"memory": 0, "loss": {"name": "bce", "region": "fov", "border": {"w0": 10, "sigma": 5}}},
        {"model": {"name": "u2net-lite", "width": 4}},
        {"loss": {"name": "cross-entropy", "region": "full"}, "monitor": "val_dice"},
    ],
    ids=["early stopping", "rare validation", "streamed", "side outputs", "two channels"],
)
def test_whatever_else_a_training_does_it_goes_on(shards, tmp_path, monkeypatch, saves_every, changes):
    recipe = {**WILD, **changes}
    run(shards, tmp_path / "whole", **recipe)
    interrupt(monkeypatch, shards, tmp_path / "kept", tmp_path / "state", 9, **recipe, **saves_every(3))
    run(shards, tmp_path / "kept", state=tmp_path / "state", **recipe)
    assert_same(tmp_path / "whole", tmp_path / "kept")
    assert len(pd.read_csv(tmp_path / "kept/timing.csv")) == len(pd.read_csv(tmp_path / "kept/history.csv"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1], ids=lambda number: number.name)
def test_a_signal_saves_the_step_that_is_under_way_and_ends_the_training(shards, tmp_path, monkeypatch, capfd, number):
    run(shards, tmp_path / "whole")
    handlers = [signal.getsignal(one) for one in SIGNALS]
    signalled = {"act": lambda: os.kill(os.getpid(), number), "ends_by": InterruptionError}
    error = interrupt(monkeypatch, shards, tmp_path / "kept", tmp_path / "state", 5, **signalled)
    assert error.status == 128 + number
    assert f"found:    {number.name}" in str(error)
    assert "it goes on from here" in str(error)
    assert handlers == [signal.getsignal(one) for one in SIGNALS]
    progress = load_state(tmp_path / "state")["progress"]
    per_epoch = -(-len(progress["rows"]) // 3)
    assert (progress["epoch"], progress["step"]) == (1 + 5 // per_epoch, 5 % per_epoch)
    run(shards, tmp_path / "kept", state=tmp_path / "state")
    assert f"goes on from epoch {progress['epoch']}, step {progress['step']}" in capfd.readouterr().err
    assert_same(tmp_path / "whole", tmp_path / "kept")


def test_a_signal_in_a_validation_does_not_wait_for_its_end(shards, tmp_path, monkeypatch):
    run(shards, tmp_path / "whole", batch_size=1)
    with monkeypatch.context() as patched:
        begun = after(patched, 2, lambda: os.kill(os.getpid(), signal.SIGTERM), validation)
        with pytest.raises(InterruptionError):
            run(shards, tmp_path / "kept", state=tmp_path / "state", batch_size=1)
    assert len(begun) == 2
    progress = load_state(tmp_path / "state")["progress"]
    assert (progress["epoch"], progress["step"]) == (1, len(progress["rows"]))
    with monkeypatch.context() as patched:
        begun = after(patched, 0, lose_power)
        run(shards, tmp_path / "kept", state=tmp_path / "state", batch_size=1)
    assert len(begun) == 3 * len(progress["rows"])
    assert_same(tmp_path / "whole", tmp_path / "kept")


def test_a_signal_after_the_last_epoch_loses_nothing(shards, tmp_path, monkeypatch):
    run(shards, tmp_path / "whole")
    write_table = training.write_table

    def signalled(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        write_table(*arguments)

    monkeypatch.setattr(training, "write_table", signalled)
    run(shards, tmp_path / "kept", state=tmp_path / "state")
    assert_same(tmp_path / "whole", tmp_path / "kept")


def tear(path, how):
    contents = path.read_bytes()
    if how == "cut off":
        path.write_bytes(contents[: len(contents) // 2])
    elif how == "empty":
        path.write_bytes(b"")
    else:
        middle = len(contents) // 2
        path.write_bytes(contents[:middle] + bytes([contents[middle] ^ 1]) + contents[middle + 1 :])


@pytest.mark.parametrize("how", ["cut off", "empty", "one bit"])
def test_a_torn_state_is_named_and_the_one_before_is_taken(shards, tmp_path, monkeypatch, capfd, how):
    run(shards, tmp_path / "whole")
    state = tmp_path / "state"
    interrupt(monkeypatch, shards, tmp_path / "kept", state, 7, save_every=0)
    newest, before = (load_state(state)["progress"], torn_free_previous(state))
    assert (newest["epoch"], newest["step"]) > (before["epoch"], before["step"])
    tear(state / "current.pt", how)
    capfd.readouterr()
    run(shards, tmp_path / "kept", state=state)
    said = capfd.readouterr().err
    assert f"{state / 'current.pt'}: no whole state" in said
    assert f"goes on from epoch {before['epoch']}, step {before['step']}" in said
    assert_same(tmp_path / "whole", tmp_path / "kept")


def torn_free_previous(state):
    """Return how far the state before the newest is."""
    current = state / "current.pt"
    current.rename(state / "aside")
    progress = load_state(state)["progress"]
    (state / "aside").rename(current)
    return progress


def test_a_torn_state_never_takes_the_place_of_a_whole_one(tmp_path):
    save_state(tmp_path, {"number": 1})
    save_state(tmp_path, {"number": 2})
    tear(tmp_path / "current.pt", "cut off")
    assert load_state(tmp_path) == {"number": 1}
    save_state(tmp_path, {"number": 3})
    tear(tmp_path / "current.pt", "cut off")
    assert load_state(tmp_path) == {"number": 1}


def test_where_no_state_is_whole_the_training_starts_anew_and_says_so(shards, tmp_path, monkeypatch, capfd):
    run(shards, tmp_path / "whole")
    state = tmp_path / "state"
    interrupt(monkeypatch, shards, tmp_path / "kept", state, 7, save_every=0)
    for name in ("current.pt", "previous.pt"):
        tear(state / name, "cut off")
    capfd.readouterr()
    run(shards, tmp_path / "kept", state=state)
    said = capfd.readouterr().err
    assert said.count("no whole state (") == 2
    assert "starts anew" in said
    assert "goes on" not in said
    assert_same(tmp_path / "whole", tmp_path / "kept")


class Trap:
    """Runs code when it is unpickled without care."""

    def __reduce__(self):
        return (pytest.fail, ("code from a state was run",))


def test_code_in_a_state_is_never_run(tmp_path):
    save_state(tmp_path, {"progress": Trap()})
    with pytest.raises(TrainingError, match=r"current\.pt"):
        load_state(tmp_path)


@pytest.mark.parametrize(
    ("where", "error"),
    [
        ("read", OSError(errno.ESTALE, os.strerror(errno.ESTALE))),
        ("read", MemoryError()),
        ("load", RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")),
        ("load", MemoryError()),
    ],
    ids=str,
)
def test_a_whole_state_that_cannot_be_read_now_stays(tmp_path, monkeypatch, where, error):
    save_state(tmp_path, {"number": 1})
    save_state(tmp_path, {"number": 2})
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    def fails(*_, **__):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(*((Path, "read_bytes") if where == "read" else (torch, "load")), fails)
        with pytest.raises(TrainingError, match="run the same command again"):
            load_state(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert load_state(tmp_path) == {"number": 2}


def test_the_state_is_there_until_all_is_written(shards, tmp_path, monkeypatch, capfd):
    """What fails after the last epoch must not lose what led there: Snakemake removes the files of a failed job."""
    state = tmp_path / "state"
    assert main(words(shards, tmp_path / "whole", tmp_path / "other")) == 0
    with monkeypatch.context() as patched:
        patched.setattr(provenance, "write_provenance", lambda *_, **__: os.kill(os.getpid(), signal.SIGINT))
        assert main(words(shards, tmp_path / "m", state)) == 130
    shutil.rmtree(tmp_path / "m")
    capfd.readouterr()
    assert main(words(shards, tmp_path / "m", state)) == 0
    assert "goes on from epoch" in capfd.readouterr().err
    assert_same(tmp_path / "whole", tmp_path / "m")
    assert not state.exists()


def test_a_state_of_another_network_is_refused(shards, tmp_path, monkeypatch):
    interrupt(monkeypatch, shards, tmp_path / "m", tmp_path / "state", 3, save_every=0)
    with pytest.raises(TrainingError, match="delete this folder"):
        run(shards, tmp_path / "m", state=tmp_path / "state", model={"name": "unet", "width": 8, "depth": 2})


def test_states_are_told_apart_by_settings_and_by_what_is_in_the_shards(shards, tmp_path):
    paths = [shards / "train.h5", shards / "validation.h5"]
    key = state_key(recipe_of(), paths)
    assert key == state_key(TrainRecipe.model_validate(dict(reversed(RECIPE.items()))), paths)
    copy = tmp_path / "copy.h5"
    copy.write_bytes(paths[0].read_bytes())
    assert key == state_key(recipe_of(), [copy, paths[1]])
    tear(copy, "one bit")
    others = [
        state_key(recipe_of(), [copy, paths[1]]),
        state_key(recipe_of(), paths[:1]),
        state_key(recipe_of(), [paths[0], tmp_path / "missing.h5"]),
        state_key(recipe_of(), paths, identity="of other code"),
        state_key(recipe_of(seed=1), paths),
        state_key(recipe_of(optimizer={"name": "adam", "lr": 0.01}), paths),
    ]
    assert len({key, *others}) == 1 + len(others)


def words(shards, output, state, **changes):
    """Return the words of a `train` command."""
    plan = Plan(STAGES["train"], {"experiment": "e"}, recipe_of(**changes))
    return [
        *("train", "--experiment", "e", "--plan", plan.to_json()),
        *("--train-shards", str(shards / "train.h5"), "--validation-shards", str(shards / "validation.h5")),
        *("--output", str(output), "--state", str(state), "--save-every", "0"),
    ]


def test_the_command_finds_its_own_state_and_no_other(shards, tmp_path, monkeypatch, capfd):
    state = tmp_path / "state"
    assert main(words(shards, tmp_path / "whole", state)) == 0
    assert not state.exists()
    with monkeypatch.context() as patched:
        after(patched, 5, lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert main(words(shards, tmp_path / "m", state)) == 128 + signal.SIGTERM
    said = capfd.readouterr().err
    assert "Training was interrupted" in said
    assert "Traceback" not in said
    (folder,) = state.iterdir()
    assert main(words(shards, tmp_path / "other", state, seed=1)) == 0
    assert "goes on" not in capfd.readouterr().err
    assert list(state.iterdir()) == [folder], "that of the other training is left alone"
    assert main(words(shards, tmp_path / "m", state)) == 0
    assert "goes on from epoch" in capfd.readouterr().err
    assert_same(tmp_path / "whole", tmp_path / "m")
    assert not state.exists()


def test_a_training_does_not_end_because_its_state_cannot_be_saved(shards, tmp_path, capfd):
    run(shards, tmp_path / "whole")
    (tmp_path / "file").write_text("in the way")
    capfd.readouterr()
    run(shards, tmp_path / "m", state=tmp_path / "file" / "state", save_every=0)
    said = capfd.readouterr().err
    assert said.count("its state cannot be saved") == 1
    assert "a file stands where a folder is needed" in said
    assert_same(tmp_path / "whole", tmp_path / "m")


def test_a_signal_where_nothing_can_be_saved_says_so(shards, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    signalled = {"act": lambda: os.kill(os.getpid(), signal.SIGINT), "ends_by": InterruptionError}
    error = interrupt(monkeypatch, shards, tmp_path / "m", tmp_path / "file" / "state", 3, **signalled)
    assert "from what was saved before, or starts anew" in str(error)


def test_a_state_that_the_disk_does_not_hold_leaves_the_one_before(tmp_path):
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


def test_a_state_is_a_plain_file_of_tensors_and_its_checksum(tmp_path):
    save_state(tmp_path, {"weights": torch.arange(5.0), "lowest": float("inf")})
    contents = (tmp_path / "current.pt").read_bytes()
    plain = torch.load(io.BytesIO(contents[:-32]), weights_only=True)
    assert plain["lowest"] == float("inf")
    assert plain["weights"].tolist() == [0, 1, 2, 3, 4]


def test_another_number_of_threads_agrees_within_rounding(shards, tmp_path):
    # small steps, and no batch of a single blank tile: either multiplies whatever rounding left over
    recipe = {**WILD, "batch_size": 4, "epochs": 1, "optimizer": {"name": "sgd", "lr": 0.01}}
    for threads in (1, 2):
        run(shards, tmp_path / f"{threads}", threads=threads, **recipe)
    one, two = (load_checkpoint(tmp_path / f"{threads}/last.pt") for threads in (1, 2))
    assert (one.about.settings.threads, two.about.settings.threads) == (1, 2)
    for name, weights in one.state.items():
        torch.testing.assert_close(two.state[name], weights, rtol=1e-4, atol=2e-5, msg=name)


def test_the_seeds_are_recorded_and_independent(shards, tmp_path):
    recorded = []
    for seed in (0, 1):
        run(shards, tmp_path / f"{seed}", seed=seed, epochs=1)
        about = load_checkpoint(tmp_path / f"{seed}/last.pt").about
        assert about.settings.deterministic
        recorded.append(about.seeds)
    assert set(recorded[0]) == {"weights", "order", "augmentation"}
    assert len({*recorded[0].values(), *recorded[1].values()}) == 6


def test_the_hardware_that_a_training_went_on_upon_is_recorded(shards, tmp_path, monkeypatch):
    interrupt(monkeypatch, shards, tmp_path / "m", tmp_path / "state", 3, save_every=0)
    here = devices.describe_device(torch.device("cpu"))
    monkeypatch.setattr(training, "describe_device", lambda device: "another machine")
    run(shards, tmp_path / "m", state=tmp_path / "state")
    assert load_checkpoint(tmp_path / "m/last.pt").about.made_with["device"] == f"{here}, then another machine"


@pytest.mark.parametrize("deterministic", [True, False])
def test_determinism_is_a_setting_and_says_what_it_means_on_a_gpu(monkeypatch, capfd, deterministic):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    devices.prepare_determinism(deterministic, torch.device("cpu"))
    assert capfd.readouterr().err == ""
    assert torch.are_deterministic_algorithms_enabled() == deterministic
    devices.prepare_determinism(deterministic, torch.device("cuda"))
    said = capfd.readouterr().err
    assert said.startswith("deterministic:" if deterministic else "not deterministic:")
    assert "last digits" in said
    assert torch.backends.cudnn.benchmark != deterministic
    assert ("CUBLAS_WORKSPACE_CONFIG" in os.environ) == deterministic


@pytest.mark.slow
def test_a_process_that_is_killed_again_and_again_ends_with_the_same_bits(shards, tmp_path):
    recipe = {**WILD, "epochs": 40}
    command = [sys.executable, "-m", "pipeline"]
    subprocess.run(
        [*command, *words(shards, tmp_path / "whole", tmp_path / "none", **recipe)], check=True, capture_output=True
    )
    state, log = tmp_path / "state", tmp_path / "log"
    resumed = []
    for saves in (1, 2, 7, 30, 61):
        with log.open("w") as file:
            process = subprocess.Popen(
                [*command, *words(shards, tmp_path / "m", state, **recipe)], stdout=file, stderr=subprocess.STDOUT
            )
            seen = set()
            while len(seen) <= saves and process.poll() is None:
                with contextlib.suppress(FileNotFoundError):  # between two renames
                    seen |= {path.stat().st_mtime_ns for path in state.glob("*/current.pt")}
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL, "it ended before it was killed"
        resumed.append("goes on from epoch" in log.read_text())
        assert not (tmp_path / "m").exists()
    assert resumed == [False, True, True, True, True]
    done = subprocess.run(
        [*command, *words(shards, tmp_path / "m", state, **recipe)], check=True, capture_output=True, text=True
    )
    assert "goes on from epoch" in done.stderr
    assert_same(tmp_path / "whole", tmp_path / "m")
    assert not state.exists()


@pytest.mark.slow
def test_two_processes_with_one_state_do_not_disturb_each_other(shards, tmp_path):
    recipe = {**WILD, "epochs": 30}
    command = [sys.executable, "-m", "pipeline"]
    subprocess.run(
        [*command, *words(shards, tmp_path / "whole", tmp_path / "none", **recipe)], check=True, capture_output=True
    )
    command += words(shards, tmp_path / "m", tmp_path / "state", **recipe)
    pair = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate()[1] for process in pair]
    assert [process.returncode for process in pair] == [0, 0], said
    assert_same(tmp_path / "whole", tmp_path / "m")
    assert not any("Traceback" in one for one in said)
