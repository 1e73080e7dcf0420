"""Steps wait for nothing, and replayed ones have the same bits; a stand-in records in place of CUDA."""

import contextlib
import itertools
import json
import shutil
import signal
import types

import numpy as np
import pytest
import torch
from shardfiles import edited, write_tgs_shards
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.core.errors import InterruptionError, TrainingError
from pipeline.models.networks import UNet
from pipeline.models.registry import build_model
from pipeline.training import data, optim, progress_file, run, state_saver, step, step_graph
from pipeline.training.augment import batch_rng
from pipeline.training.augment.augmentation import Augmentation
from pipeline.training.augment.options import Augment
from pipeline.training.checkpoint import load_checkpoint
from pipeline.training.data import Batch, SampleStore
from pipeline.training.history import Progress
from pipeline.training.losses import LOSSES
from pipeline.training.recipes import Adam, Cosine, Plateau, TrainRecipe
from pipeline.training.state import load_state, state_key
from pipeline.training.step_graph import WARM_UP_STEPS, StepGraph
from pipeline.training.uploads import Uploader
from pipeline.training.validate import validate

RECIPE = {
    "dataset": "d",
    "model": {"name": "unet", "width": 4, "depth": 2},
    "loss": {"name": "bce", "region": "fov"},
    "optimizer": {"name": "adam", "lr": 0.02},
    "batch_size": 3,
    "epochs": 2,
    "threads": 1,
    "precision": "fp32",
}
AUGMENT = {
    "flip": "both",
    "rot90": True,
    "rotate": 10.0,
    "elastic": {"grid": 3, "sigma": 3.0},
    "brightness": 0.1,
    "gamma": [0.8, 1.2],
}
OPTIMIZERS = {
    "sgd": {"name": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4},
    "adam": {"name": "adam", "lr": 0.02},
    "adamw": {"name": "adamw", "lr": 0.02, "weight_decay": 0.01},
}
NEEDS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU, named by CUDA_VISIBLE_DEVICES")


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = write_tgs_shards(tmp_path_factory.mktemp("shards"))
    shutil.copy(folder / "train.h5", folder / "classes.h5")
    with edited(folder / "classes.h5") as file:
        masks = file["masks"][:]
        masks[..., :24] *= 2
        masks[::2, ..., :6, :6] = 255
        file["masks"][:] = masks
        file.attrs["class_names"] = json.dumps(["background", "right", "left"])
    return folder


@pytest.fixture
def fused(monkeypatch):
    """Optimizers as on CUDA: fused, with the learning rate as a tensor."""
    monkeypatch.setattr(optim, "implementation", lambda name, device: {"fused": True})


class StandIn:
    """Records a computation as CUDA does: it is not done now, but by each replay, on the same tensors."""

    def __init__(self, error=None):
        self.runs, self.recordings, self.replays, self.error = 0, 0, 0, error

    def run(self, compute):
        self.runs += 1
        compute()

    def record(self, compute):
        if self.error is not None:
            raise self.error
        self.recordings += 1

        def replay():
            self.replays += 1
            compute()

        return replay


@pytest.fixture
def recorder(monkeypatch):
    recorder = StandIn()
    monkeypatch.setattr(run, "choose_recorder", lambda wanted, device: recorder if wanted else None)
    return recorder


def train(shards, output, state=None, save_every=60.0, memory=None, train_shard="train.h5", **changes):
    run.train(
        TrainRecipe.model_validate({**RECIPE, **changes}),
        experiment="e",
        train_shards=[shards / train_shard],
        validation_shards=[shards / "validation.h5"] if train_shard == "train.h5" else [],
        output=output,
        state=state,
        save_every=save_every,
        memory=memory,
    )


def assert_same(a, b):
    for name in ("best.pt", "last.pt"):
        weights = [load_checkpoint(folder / name).state for folder in (a, b)]
        assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert (a / "history.csv").read_bytes() == (b / "history.csv").read_bytes()


class PowerLoss(BaseException):
    """Ends a training run immediately."""


def interrupt(monkeypatch, last_step, *arguments, **changes):
    """Start a training run and end it in a step, whether it is replayed or not."""
    steps = itertools.count(1)
    call = step.TrainingStep.__call__

    def counted(*step_arguments):
        if next(steps) == last_step:
            raise PowerLoss
        call(*step_arguments)

    with monkeypatch.context() as patched:
        patched.setattr(step.TrainingStep, "__call__", counted)
        with pytest.raises(PowerLoss):
            train(*arguments, **changes)


@pytest.mark.usefixtures("fused")
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_recorded_steps_end_with_the_bits_of_eager_ones(shards, tmp_path, monkeypatch, recorder, optimizer):
    schedule = {"name": "cosine", "warmup": 0.5}
    changes = {"optimizer": OPTIMIZERS[optimizer], "schedule": schedule, "augment": AUGMENT, "repeats": 2}
    train(shards, tmp_path / "eager", cuda_graph=False, **changes)
    assert recorder.runs == 0
    train(shards, tmp_path / "recorded", **changes)
    assert (recorder.runs, recorder.recordings) == (WARM_UP_STEPS, 1)
    assert recorder.replays > WARM_UP_STEPS
    assert_same(tmp_path / "eager", tmp_path / "recorded")
    interrupt(monkeypatch, 7, shards, tmp_path / "resumed", tmp_path / "state", save_every=0, **changes)
    train(shards, tmp_path / "resumed", tmp_path / "state", **changes)
    assert recorder.recordings == 3
    assert_same(tmp_path / "eager", tmp_path / "resumed")


@pytest.mark.usefixtures("fused")
def test_each_stage_records_a_step_with_its_own_loss(shards, tmp_path, recorder):
    changes = {"repeats": 2, "stages": [{"loss": "dice", "lr": 0.01, "epochs": 2}]}
    train(shards, tmp_path / "eager", cuda_graph=False, **changes)
    train(shards, tmp_path / "recorded", **changes)
    assert (recorder.runs, recorder.recordings) == (2 * WARM_UP_STEPS, 2)
    assert_same(tmp_path / "eager", tmp_path / "recorded")


@pytest.mark.usefixtures("fused")
def test_training_goes_on_if_its_steps_cannot_be_recorded(shards, tmp_path, recorder, capfd):
    train(shards, tmp_path / "eager", cuda_graph=False)
    recorder.error = torch.AcceleratorError("operation not permitted when stream is capturing")
    capfd.readouterr()
    train(shards, tmp_path / "m")
    stderr = capfd.readouterr().err
    assert stderr.count("not as a CUDA graph: operation not permitted") == 1
    assert (recorder.runs, recorder.replays) == (WARM_UP_STEPS, 0)
    assert_same(tmp_path / "eager", tmp_path / "m")


def batch_of(value, rows=2, weight=True):
    plane = torch.full((rows, 1, 2, 2), float(value))
    return Batch(image=plane, target=plane + 1, weight=plane + 2 if weight else None)


def test_each_form_of_batches_has_its_own_recording():
    seen, recorder = [], StandIn()
    graph = StepGraph(lambda batch: seen.append((float(batch.image.mean()), batch.weight is None)), recorder, "e")
    for number in range(12):
        graph(batch_of(number, weight=number % 2 == 0))
    assert seen == [(number, number % 2 == 1) for number in range(12)]
    assert (recorder.runs, recorder.recordings, recorder.replays) == (2 * WARM_UP_STEPS, 2, 12 - 2 * WARM_UP_STEPS)


@pytest.mark.parametrize("weight", [True, False])
@pytest.mark.parametrize("channels", [1, 3])
def test_all_augmented_batches_have_one_form(channels, weight):
    augment, rng = Augmentation((6, 6), Augment(flip="both", rot90=True)), torch.Generator()
    recorder = StandIn()
    graph = StepGraph(lambda batch: None, recorder, "e")
    image = torch.zeros(2, channels, 8, 8).contiguous(memory_format=torch.channels_last)
    plane = torch.zeros(2, 1, 8, 8)
    for _ in range(30):
        graph(augment(Batch(image, plane, plane if weight else None), rng))
    assert (recorder.runs, recorder.recordings) == (WARM_UP_STEPS, 1)


def test_strides_along_one_channel_make_no_difference():
    recorder = StandIn()
    graph = StepGraph(lambda batch: None, recorder, "e")
    for last in [False, True] * WARM_UP_STEPS:
        plane = torch.zeros(2, 3, 4, 1).permute(0, 3, 1, 2) if last else torch.zeros(2, 1, 3, 4)
        graph(Batch(plane, plane, None))
    assert (recorder.runs, recorder.recordings) == (WARM_UP_STEPS, 1)


def test_replays_read_the_batch_from_the_same_memory():
    seen = []
    graph = StepGraph(lambda batch: seen.append((batch.image.data_ptr(), float(batch.target.sum()))), StandIn(), "e")
    batches = [batch_of(number) for number in range(WARM_UP_STEPS + 3)]
    for batch in batches:
        graph(batch)
    replayed = seen[WARM_UP_STEPS:]
    assert len({address for address, _ in replayed}) == 1
    assert replayed[0][0] not in {batch.image.data_ptr() for batch in batches}
    assert [total for _, total in seen] == [float(batch.target.sum()) for batch in batches]


@pytest.mark.parametrize(("device", "processes"), [("cpu", 1), ("mps", 1), ("cuda", 2)])
def test_steps_are_recorded_on_one_gpu_only(monkeypatch, capfd, device, processes):
    monkeypatch.setattr(step_graph.ranks, "world_size", lambda: processes)
    assert step_graph.choose_recorder(True, torch.device(device)) is None
    assert ("several GPUs" in capfd.readouterr().err) == (processes > 1)
    assert step_graph.choose_recorder(False, torch.device("cuda")) is None
    assert capfd.readouterr().err == ""


@pytest.fixture
def cuda(monkeypatch):
    """A stand-in for CUDA: an object with its calls, its free memory, and the error that ends a recording, if any."""
    cuda = types.SimpleNamespace(calls=[], free=40, allocated=10, peak=99, end_error=None)

    @contextlib.contextmanager
    def graph(graph, memory, stream, capture_error_mode):
        cuda.calls.append(("record", memory))
        yield
        if cuda.end_error is not None:
            raise cuda.end_error

    def end_allocation(device, memory):
        cuda.calls.append(("end", memory))
        if cuda.end_error is None:
            raise RuntimeError("not currently recording to mempool_id")

    stream = types.SimpleNamespace(wait_stream=lambda other: None)
    generator = types.SimpleNamespace(
        clone_state=lambda: "state", graphsafe_set_state=lambda state: cuda.calls.append(("generator", state))
    )
    functions = {
        "Stream": lambda priority: stream,
        "stream": contextlib.nullcontext,
        "current_stream": lambda: stream,
        "current_device": lambda: 0,
        "default_generators": [generator],
        "graph": graph,
        "CUDAGraph": lambda: types.SimpleNamespace(replay="replay"),
        "graph_pool_handle": itertools.count(7).__next__,
        "empty_cache": lambda: None,
        "memory_allocated": lambda: cuda.allocated,
        "reset_peak_memory_stats": lambda: setattr(cuda, "peak", cuda.allocated),
        "max_memory_allocated": lambda: cuda.peak,
        "mem_get_info": lambda: (cuda.free, 99),
    }
    for name, function in functions.items():
        monkeypatch.setattr(torch.cuda, name, function)
    monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", end_allocation, raising=False)
    release = lambda device, memory: cuda.calls.append(("release", memory))  # noqa: E731
    monkeypatch.setattr(torch._C, "_cuda_releasePool", release, raising=False)
    return cuda


def test_a_graph_leaves_memory_for_an_eager_step(cuda):
    recorder = step_graph.CudaRecorder()
    recorder.run(lambda: setattr(cuda, "peak", 90))  # warm-up, in which algorithms are tried
    recorder.run(lambda: setattr(cuda, "peak", 30))
    assert recorder.record(lambda: None) == "replay"
    cuda.free = 39
    with pytest.raises(RuntimeError, match="GB of GPU memory"):
        recorder.record(lambda: None)
    assert cuda.calls == [("record", 7)]


def test_all_graphs_of_a_training_share_their_memory(cuda):
    recorder = step_graph.CudaRecorder()
    for _ in "ab":
        recorder.record(lambda: None)
    assert cuda.calls == [("record", 7)] * 2


def test_a_failed_recording_ends_for_allocator_and_generator(cuda):
    def fail():
        raise RuntimeError("no memory")

    with pytest.raises(RuntimeError, match="no memory"):
        step_graph.CudaRecorder().record(fail)
    assert cuda.calls == [("record", 7), ("end", 7), ("generator", "state")]
    cuda.end_error = torch.AcceleratorError("operation failed due to a previous error during capture")
    cuda.calls.clear()
    with pytest.raises(RuntimeError, match="during capture"):
        step_graph.CudaRecorder().record(lambda: None)
    assert cuda.calls == [("record", 8), ("end", 8), ("release", 8), ("generator", "state")]


def test_after_a_failed_recording_nothing_is_replayed():
    recorder = StandIn()
    graph = StepGraph(lambda batch: None, recorder, "e")
    for _ in range(WARM_UP_STEPS + 2):
        graph(batch_of(0))
    recorder.error = RuntimeError("no memory")
    for weight in [False] * (WARM_UP_STEPS + 1) + [True] * 3:
        graph(batch_of(0, weight=weight))
    assert (recorder.recordings, recorder.replays) == (1, 2)


def test_cuda_graph_is_not_part_of_the_identity_of_a_training():
    recipes = [TrainRecipe.model_validate({**RECIPE, "cuda_graph": value}) for value in (True, False)]
    assert recipes[0].fingerprint_settings() == recipes[1].fingerprint_settings()
    assert state_key(recipes[0], []) == state_key(recipes[1], [])


@pytest.mark.usefixtures("fused")
@pytest.mark.parametrize("options", [Cosine(name="cosine", warmup=2), Plateau(name="plateau", patience=1)])
def test_fused_optimizers_always_read_the_rate_from_one_tensor(options):
    optimizers = [optim.build_optimizer([torch.zeros(2, requires_grad=True)], Adam(name="adam", lr=0.3)) for _ in "ab"]
    schedules = [optim.Schedule(options, optimizer, 4, 2) for optimizer in optimizers]
    rate = optimizers[0].param_groups[0]["lr"]
    for _ in range(3):
        schedules[0].step()
        schedules[0].record_validation(1.0)
    assert optimizers[0].param_groups[0]["lr"] is rate
    assert rate.item() == pytest.approx(schedules[0].learning_rate)
    assert rate.item() != pytest.approx(0.3)
    for part in (optimizers, schedules):
        part[1].load_state_dict(part[0].state_dict())
    assert schedules[1].learning_rate == schedules[0].learning_rate
    assert torch.equal(optimizers[1].param_groups[0]["lr"], rate)
    for schedule in schedules:
        schedule.step()
        schedule.record_validation(1.0)
    assert schedules[1].learning_rate == schedules[0].learning_rate


def test_state_of_a_gpu_optimizer_can_be_resumed_on_a_cpu():
    parameters = [[torch.ones(2, requires_grad=True)] for _ in "ab"]
    a, b = (optim.build_optimizer(part, Adam(name="adam", lr=0.3)) for part in parameters)
    schedule = optim.Schedule(Cosine(name="cosine"), b, 4, 2)
    saved = a.state_dict()
    saved["param_groups"][0] |= {"fused": True, "capturable": True, "lr": torch.tensor(0.3)}
    b.load_state_dict(saved)
    schedule.load_state_dict(schedule.state_dict())
    parameters[1][0].grad = torch.ones(2)
    b.step()
    group = b.param_groups[0]
    assert (group["fused"], group["capturable"], group["lr"]) == (None, False, 0.3)


class NoWaiting(TorchDispatchMode):
    """Refuses operations for which the CPU would wait for a GPU."""

    WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "lift_fresh", "bincount")

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        indices = args[1] if name.startswith("index") and isinstance(args[1], list | tuple) else ()
        by_mask = any(index is not None and index.dtype == torch.bool for index in indices)
        assert name not in self.WAITING, f"{name} waits for the device"
        assert not by_mask, "a mask as an index waits for the device"
        return function(*args, **(kwargs or {}))


def not_waiting(batches, *_):
    """Yield batches; reading, augmentation and step must not wait for the device."""
    with NoWaiting():
        yield from batches


@pytest.mark.usefixtures("fused")
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"crop": [32, 40], "augment": {**AUGMENT, "scale": [0.9, 1.1], "shear": 3.0, "shift": 0.1, "contrast": 0.1}},
        {"crop": [32, 32], "augment": {"rot90": True, "flip": "both"}, "optimizer": OPTIMIZERS["sgd"]},
        {"train_shard": "classes.h5", "loss": "cross-entropy-dice", "optimizer": OPTIMIZERS["adamw"]},
        {"train_shard": "classes.h5", "loss": {"name": "cross-entropy", "border": {}, "class_balance": True}},
        {"memory": 0, "loss": "bce-dice", "schedule": {"name": "cosine"}},
        {"model": {"name": "u2net-lite", "width": 4}, "loss": "dice"},
        {"model": {"name": "unet-crop", "widths": [4, 8]}, "loss": "mse"},
    ],
    ids=["plain", "warp", "crop", "classes", "weights", "streamed", "side outputs", "unet-crop"],
)
def test_no_step_waits_for_the_device(shards, tmp_path, monkeypatch, changes):
    monkeypatch.setattr(run, "progress_bar", not_waiting)
    monkeypatch.setattr(progress_file.ProgressFile, "update", lambda *_: None)  # waits for the loss once a second
    train(shards, tmp_path / "m", tmp_path / "state", epochs=1, **changes)
    assert load_checkpoint(tmp_path / "m/last.pt").epoch == 1


def test_the_guard_notices_a_step_that_waits(shards, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "progress_bar", not_waiting)
    monkeypatch.setattr(step, "count_correct", lambda output, *_: output[output > 0].new_zeros(2).long())
    with pytest.raises(AssertionError, match="waits for the device"):
        train(shards, tmp_path / "m", epochs=1)


class Calls(TorchDispatchMode):
    """Records the names of the operations that compute something."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if not function.is_view:
            self.names.append(function.overloadpacket.__name__)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("changes", "limit"), [({"flip": "both", "rot90": True}, 16), ({**AUGMENT, "shear": 3.0}, 70)], ids=["place", "all"]
)
def test_a_batch_uploads_once_and_takes_few_operations(monkeypatch, changes, limit):
    uploads, calls = [], Calls()

    def upload(tensor, device):
        uploads.append(tensor.numel())
        calls.names.clear()  # those before draw on the CPU
        return tensor

    monkeypatch.setattr(batch_rng, "upload", upload)
    image, plane = torch.zeros(4, 3, 40, 40).to(memory_format=torch.channels_last), torch.zeros(4, 1, 40, 40)
    augment = Augmentation((32, 32), Augment.model_validate(changes))
    with calls:
        augment(Batch(image, plane, plane), torch.Generator())
    assert len(uploads) == 1
    assert uploads[0] <= 4 * (4 + 2 + 2 * 9 + 4 + 3), "a few numbers for each sample"
    assert len(calls.names) <= limit, calls.names


def test_validation_counts_with_one_histogram_a_batch(shards):
    store = SampleStore([shards / "train.h5"], torch.device("cpu"))
    network = build_model(UNet(name="unet", width=4, depth=2), in_channels=3, out_channels=1)
    calls = Calls()
    with calls:
        validate(network, LOSSES["bce"], store, 4, "fp32")
    assert calls.names.count("bincount") == -(-len(store) // 4)
    assert calls.names.count("_local_scalar_dense") == 0


def test_all_epochs_of_a_store_upload_in_one_stream(shards, monkeypatch):
    created = []
    monkeypatch.setattr(data, "Uploader", lambda device: created.append(Uploader(device)) or created[-1])
    store = SampleStore([shards / "train.h5"], torch.device("cpu"), 0)
    assert [len(list(store.batches(torch.arange(3), 2))) for _ in range(3)] == [2, 2, 2]
    assert len(created) == 1


@pytest.mark.parametrize("memory", [None, 0])
def test_ignored_pixels_change_only_their_own_batches(shards, memory):
    store = SampleStore([shards / "classes.h5"], torch.device("cpu"), memory)
    batches = list(store.batches(torch.arange(len(store)), 1))
    assert [batch.weight is None for batch in batches] == [row % 2 == 1 for row in range(len(store))]
    assert np.unique(torch.cat([batch.target for batch in batches])).tolist() == [0, 1, 2]
    assert batches[0].weight.sum() == 48 * 48 - 36


def test_no_state_that_is_not_finite_is_saved(shards, tmp_path, monkeypatch):
    changes = {"loss": "mse", "optimizer": {"name": "sgd", "lr": 1e9}, "epochs": 5, "batch_size": 1}
    monkeypatch.setattr(state_saver, "time", types.SimpleNamespace(monotonic=itertools.count().__next__))
    with pytest.raises(TrainingError, match=r"(train_loss|weights) nan[\s\S]*lower the learning rate"):
        train(shards, tmp_path / "m", tmp_path / "state", save_every=0, **changes)
    state = load_state(tmp_path / "state")
    assert state["progress"]["loss"].isfinite()
    assert all(tensor.isfinite().all() for tensor in state["parts"]["network"].values())
    assert state["progress"]["epoch"] == 1, "the error comes long before the end of the epoch"


@pytest.mark.parametrize(("seconds", "asked"), [(0.01, 1 + 4), (0.25, 1 + 8), (3.0, 33)])
def test_processes_ask_for_signals_once_a_second_at_least(tmp_path, monkeypatch, seconds, asked):
    """After the first step, every 8 steps; or as many as take a second."""
    exchanged, now = [], [0.0]
    monkeypatch.setattr(state_saver, "time", types.SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(state_saver.ranks, "world_size", lambda: 2)
    monkeypatch.setattr(state_saver.ranks, "rank", lambda: 1)
    monkeypatch.setattr(state_saver.ranks, "broadcast", lambda saved: saved)
    monkeypatch.setattr(state_saver.ranks, "all_reduce_max", lambda number: exchanged.append(number) or number)
    saver = state_saver.StateSaver("e", tmp_path, 60.0, Progress(), {}, {})

    def do_steps(count):
        for _ in range(count):
            now[0] += seconds
            saver.save_if_due()

    do_steps(33)
    assert len(exchanged) == 2 * asked
    saver._record_signal(signal.SIGTERM)
    with pytest.raises(InterruptionError, match="SIGTERM"):
        do_steps(state_saver.MOST_STEPS)


@NEEDS_GPU
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_cuda_graphs_end_with_the_bits_of_eager_steps(shards, tmp_path, monkeypatch, capfd, optimizer, precision):
    changes = {"optimizer": OPTIMIZERS[optimizer], "precision": precision, "augment": AUGMENT, "repeats": 2}
    changes["schedule"] = {"name": "cosine"}
    train(shards, tmp_path / "eager", cuda_graph=False, **changes)
    train(shards, tmp_path / "graph", **changes)
    assert "operation by operation" not in capfd.readouterr().err
    assert_same(tmp_path / "eager", tmp_path / "graph")
    interrupt(monkeypatch, 7, shards, tmp_path / "resumed", tmp_path / "state", save_every=0, **changes)
    train(shards, tmp_path / "resumed", tmp_path / "state", **changes)
    assert_same(tmp_path / "eager", tmp_path / "resumed")


@NEEDS_GPU
@pytest.mark.parametrize("memory", [None, 0])
@pytest.mark.parametrize("cuda_graph", [True, False])
def test_no_step_on_a_gpu_waits_for_it(shards, tmp_path, monkeypatch, memory, cuda_graph):
    def not_waiting_on_cuda(batches, *_):
        torch.cuda.set_sync_debug_mode("error")
        try:
            yield from batches
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(run, "progress_bar", not_waiting_on_cuda)
    train(shards, tmp_path / "m", memory=memory, crop=[32, 40], augment=AUGMENT, cuda_graph=cuda_graph)
    assert load_checkpoint(tmp_path / "m/last.pt").epoch == 2
