"""Training of every network: the documents' loop, the best hand-written loop, and the product.

The documents' loop is what the tutorials do: fp32, NCHW, a DataLoader over arrays in memory, `loss.item()` in each
step. The lean loop has one batch of random numbers on the device, channels_last, no logging and no data set; on a
CPU, memory stays in the process (`LEAN_MALLOC`). Both train the plain networks of `benchmarks.networks`. The product
is `pipeline.training.run.train` with shards, augmentation and history, stopped at the end of each epoch.
"""

import contextlib
import ctypes
import gc
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.context import Context
from benchmarks.measure import Case, NotRun, Variant
from benchmarks.worker import LEAN_MALLOC, Channel, Worker

SGD = {"name": "sgd", "lr": 0.01, "momentum": 0.9}
ADAM = {"name": "adam", "lr": 1e-3}
CROPS = {
    "model": {"name": "unet", "width": 16},
    "loss": "bce-dice",
    "optimizer": {"name": "adamw", "lr": 2e-3, "weight_decay": 0.01},
    "schedule": {"name": "cosine", "warmup": 1},
    "crop": [256, 256],
    "augment": {"flip": "both", "rot90": True, "brightness": 0.1, "contrast": 0.2},
    "monitor": "val_dice",
}
WARPED = {**CROPS["augment"], "rotate": 180.0, "scale": [0.8, 1.25], "elastic": {}}  # type: ignore[dict-item]
FULL = {"loss": {"name": "mse", "region": "full"}, "optimizer": SGD}


class Training(NamedTuple):
    """A network and how it is trained.

    Parameters
    ----------
    network, loss : str
        Of `benchmarks.networks`.
    side : int
        Pixels of a training sample.
    batch, gpu_batch : int
    samples : str
        Of `benchmarks.context.SETS`.
    recipe : dict
        Settings of the product.
    weight : float
        Share of the time on a CPU, in seconds of one step of the documents' loop.
    """

    network: str
    loss: str
    side: int
    batch: int
    gpu_batch: int
    samples: str
    recipe: dict[str, Any]
    weight: float


TRAININGS = {
    "E 128": Training(
        "E", "bce", 128, 64, 64, "tgs-128", {"model": "unet-crop", "loss": "bce", "optimizer": ADAM}, 1.0
    ),
    "A 16 wide, crop 256": Training("A 16 wide", "bce-dice", 256, 4, 4, "drive-native", CROPS, 1.0),
    "A 16 wide, crop 256, warped": Training(
        "A 16 wide", "bce-dice", 256, 4, 4, "drive-native", {**CROPS, "augment": WARPED}, 1.0
    ),
    "B small 128": Training(
        "B small", "cross-entropy", 128, 16, 16, "shapes-128",
        {"model": "unet-small", "loss": "cross-entropy", "optimizer": {**ADAM, "eps": 1e-7}}, 1.5,
    ),
    "D lite, crop 288": Training(
        "D lite", "supervised", 288, 4, 16, "duts-320",
        {"model": "u2net-lite", "loss": "bce", "optimizer": {"name": "adamw", "lr": 1e-3, "weight_decay": 1e-4},
         "crop": [288, 288], "augment": {"flip": "horizontal"}}, 4.0,
    ),
    "A 16 wide 512": Training(
        "A 16 wide", "mse", 512, 1, 8, "drive-512", {**FULL, "model": {"name": "unet", "width": 16}}, 1.0
    ),
    "B original 128": Training(
        "B original", "cross-entropy", 128, 1, 16, "shapes-128",
        {"model": "unet-original", "loss": "cross-entropy", "optimizer": {**ADAM, "eps": 1e-7}}, 4.0,
    ),
    "A 31M 512": Training("A", "mse", 512, 1, 8, "drive-512", {**FULL, "model": "unet"}, 10.0),
}  # fmt: skip
LARGE = "A 31M 512"
SMALL_GPU = 100 * 2**30
"""Bytes of a GPU whose memory does not hold all variants of the large network at once."""

SLOW = (LARGE, "B original 128", "D lite, crop 288")
"""Not with `--quick` on a CPU: a step takes seconds."""


def release_memory() -> None:
    """Give freed memory back, so that the variants do not hold that of earlier cases."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)


class Process:
    """A worker of any variant."""

    def wake(self) -> None:
        """Load libraries and the device."""
        import torch

        import pipeline.training.run  # noqa: F401

        if torch.cuda.is_available():
            torch.zeros(1, device="cuda")


class Loop(Process):
    """What both hand-written loops share; a worker."""

    def __init__(self) -> None:
        self.step: Callable[[], None] | None = None
        self.batch, self.step_seconds = 1, 1.0

    def release(self) -> None:
        """Forget network and data."""
        self.step = None
        release_memory()

    def measure(self, seconds: float) -> dict[str, float]:
        """Train for about so many seconds; return images per second."""
        steps = max(1, round(seconds / self.step_seconds))
        return {"": steps * self.batch / self.run(steps)}

    def run(self, steps: int) -> float:
        """Run some steps; return the seconds. A GPU may lag behind by many steps, so their number is fixed before."""
        import torch

        assert self.step is not None
        started = time.perf_counter()
        for _ in range(steps):
            self.step()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter() - started

    def warm_up(self, batch: int) -> dict[str, float]:
        """Run a step, and, if that was fast, more; return the seconds of the last one."""
        self.batch = batch
        for _ in range(5):
            self.step_seconds = self.run(1)
            if self.step_seconds > 1:
                break
        return {"step": self.step_seconds}


def build(training: Training) -> tuple[Any, Any, tuple[int, ...]]:
    """Return the network, the loss function, and the shape of an image."""
    from benchmarks.networks import LOSSES, NETWORKS
    from pipeline.models.shapes import valid_margins

    network = NETWORKS[training.network]()
    side = training.side + (sum(valid_margins(training.side, 16)) if training.network == "B original" else 0)
    return network, LOSSES[training.loss], (3, side, side)


def random_samples(training: Training, count: int, shape: tuple[int, ...], device: Any) -> tuple[Any, Any]:
    """Return images and targets."""
    import torch

    images = torch.rand(count, *shape, device=device)
    if training.loss == "cross-entropy":
        return images, torch.randint(0, 4, (count, training.side, training.side), device=device)
    return images, torch.randint(0, 2, (count, 1, training.side, training.side), device=device).float()


def count_operations(name: str) -> int:
    """Count the floating-point operations of a training step of one image; nothing is computed."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    training = TRAININGS[name]
    with torch.device("meta"):
        network, loss, shape = build(training)
        images, targets = random_samples(training, 2, shape, "meta")
    with FlopCounterMode(display=False) as counter:
        loss(network(images), targets).backward()
    return int(counter.get_total_flops()) // 2


class Documents(Loop):
    """The loop of the tutorials."""

    def prepare(self, name: str, batch: int) -> dict[str, float]:
        import torch
        from torch.utils.data import DataLoader, TensorDataset

        training = TRAININGS[name]
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        network, criterion, shape = build(training)
        network.to(device)
        optimizer = documents_optimizer(training, network.parameters())
        dataset = TensorDataset(*random_samples(training, 4 * batch, shape, "cpu"))
        loader = DataLoader(dataset, batch_size=batch, shuffle=True)
        losses: list[float] = []

        def batches() -> Iterator[Any]:
            while True:
                yield from loader

        iterator = batches()

        def step() -> None:
            images, targets = next(iterator)
            images, targets = images.to(device), targets.to(device)
            loss = criterion(network(images), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())

        self.step = step
        return {**self.warm_up(batch), "operations": count_operations(name)}


def documents_optimizer(training: Training, parameters: Any, **options: Any) -> Any:
    """Return the optimizer of a training."""
    import torch

    settings = dict(training.recipe["optimizer"])
    kinds = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    kind = kinds[settings.pop("name")]
    if options.pop("capturable", False) and kind is not torch.optim.SGD:
        options["capturable"] = True
    return kind(parameters, **settings, **options)


class Lean(Loop):
    """The best loop by hand."""

    def prepare(self, name: str, batch: int, precision: str, graph: bool = False) -> dict[str, float]:
        import torch

        training, cuda = TRAININGS[name], torch.cuda.is_available()
        device = torch.device("cuda" if cuda else "cpu")
        if precision == "bf16" and not cuda and not torch.cpu._is_avx512_bf16_supported():
            raise NotRun("this processor has no bf16")
        torch.backends.cudnn.benchmark = True
        network, criterion, shape = build(training)
        network = network.to(device, memory_format=torch.channels_last)
        optimizer = documents_optimizer(
            training, network.parameters(), capturable=graph, **({"fused": True} if cuda else {})
        )
        images, targets = random_samples(training, batch, shape, device)
        images = images.contiguous(memory_format=torch.channels_last)

        def step() -> None:
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(
                device.type, dtype=torch.bfloat16, enabled=precision == "bf16", cache_enabled=not graph
            ):
                outputs = network(images)
            outputs = [output.float() for output in outputs] if isinstance(outputs, list) else outputs.float()
            criterion(outputs, targets).backward()
            optimizer.step()

        self.step = step if not graph else captured(step)
        return self.warm_up(batch)


def captured(step: Callable[[], None]) -> Callable[[], None]:
    """Record a step as one CUDA graph; return the function that replays it."""
    import torch

    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    torch.cuda.empty_cache()  # what the first steps used
    return graph.replay


class _Stop(BaseException):
    """Ends a training between two epochs."""


class Ours(Process):
    """The product: each call of `measure` is one epoch of `pipeline.training.run.train`."""

    channel: Channel

    def __init__(self) -> None:
        self.images, self.precision, self._started, self._line = 0, "", 0.0, ""

    def prepare(self, name: str, batch: int, shards: list[str], steps: int, settings: dict[str, Any]) -> dict[str, Any]:
        """Train one epoch; later epochs are trained by `measure`; `release` ends this call."""
        from pipeline.training.run import train

        files, repeats, self.images = choose_shards([Path(path) for path in shards], steps * batch)
        recipe = make_recipe(name, batch, {"repeats": repeats, **settings})
        self._started, error_stream = time.perf_counter(), sys.stderr
        sys.stderr = self
        try:
            with tempfile.TemporaryDirectory() as folder:
                train(recipe, experiment="e", train_shards=files, validation_shards=[], output=Path(folder))
        except _Stop:
            pass
        finally:
            sys.stderr = error_stream
        release_memory()
        return {}

    def write(self, text: str) -> None:
        """Receive what the training prints; wait after the line of an epoch."""
        sys.__stderr__.write(text)  # type: ignore[union-attr]
        self._line += text
        if not self._line.endswith("\n"):
            return
        line, self._line = self._line, ""
        if found := re.search(r"parameters on .*, (fp32|bf16), ", line):
            self.precision = found[1]
        if re.match(r"epoch \d+/\d+: ", line):
            elapsed = time.perf_counter() - self._started
            self.channel.answer("result", {"": self.images / elapsed, "precision": self.precision})
            if self.channel.receive()[0] == "release":
                raise _Stop
            self._started = time.perf_counter()

    def flush(self) -> None:
        """Nothing is held back."""

    def isatty(self) -> bool:
        """A log, no terminal."""
        return False

    def release(self) -> None:
        """Only if there is no training to end."""


def choose_shards(files: list[Path], images: int) -> tuple[list[Path], int, int]:
    """Choose shards for epochs of about so many images.

    Returns
    -------
    list of Path
        As few shards as hold these samples.
    int
        How often an epoch uses each sample.
    int
        Images of an epoch.
    """
    from pipeline.shards.read import ShardReader

    counts: dict[Path, int] = {}
    for file in files:
        with contextlib.closing(ShardReader([file])) as reader:
            counts[file] = len(reader)
    chosen: list[Path] = []
    samples = 0
    for file in sorted(files, key=lambda file: (counts[file], file)):
        chosen.append(file)
        samples += counts[file]
        if samples >= images:
            break
    repeats = min(max(1, round(images / samples)), 10_000)
    return chosen, repeats, samples * repeats


def make_recipe(name: str, batch: int, settings: dict[str, Any]) -> Any:
    """Return the recipe of the product; settings that this version does not have are refused."""
    from pipeline.training.recipes import TrainRecipe

    if unknown := [key for key in settings if key not in TrainRecipe.model_fields]:
        raise NotRun(f"this version has no setting {', '.join(unknown)}")
    common = {"dataset": "benchmark", "batch_size": batch, "epochs": 9999, "checkpoint_every": 9999}
    threads = {"threads": min(256, len(os.sched_getaffinity(0)))}
    return TrainRecipe.model_validate({**common, **threads, **TRAININGS[name].recipe, **settings})


class Way(NamedTuple):
    """A variant: what runs, and how."""

    target: str
    precision: str
    options: dict[str, Any] = {}  # noqa: RUF012 - never changed
    pace: str | None = None  # the loop whose speed gives the steps of an epoch


CPU_WAYS = {
    "documents": Way("Documents", "fp32"),
    "lean fp32": Way("Lean", "fp32", {"precision": "fp32"}),
    "lean bf16": Way("Lean", "bf16", {"precision": "bf16"}),
    "ours fp32": Way("Ours", "fp32", {"settings": {"precision": "fp32"}}, "lean fp32"),
    "ours": Way("Ours", "", {"settings": {"precision": "auto"}}, "lean bf16"),
}
GPU_WAYS = {
    "documents": Way("Documents", "fp32"),
    "lean bf16": Way("Lean", "bf16", {"precision": "bf16"}),
    "lean graph": Way("Lean", "bf16", {"precision": "bf16", "graph": True}),
    "ours": Way("Ours", "", {"settings": {"precision": "auto"}}, "lean graph"),
    "ours without graph": Way("Ours", "", {"settings": {"precision": "auto", "cuda_graph": False}}, "lean bf16"),
    "ours fp32": Way("Ours", "fp32", {"settings": {"precision": "fp32"}}, "documents"),
}


def cases(context: Context) -> Iterator[Case]:
    """Yield one case for each network; each variant has a process for all of them, which waits while others run."""
    ways = GPU_WAYS if context.gpu else CPU_WAYS
    workers = {}
    for name, way in ways.items():
        environment = LEAN_MALLOC if way.target == "Lean" else {}
        workers[name] = context.start(f"benchmarks.training:{way.target}", environment)
    for worker in workers.values():
        worker.send("wake")
    for worker in workers.values():
        worker.receive(180)
    names = [name for name in TRAININGS if context.gpu or not context.quick or name not in SLOW]
    for name in set(TRAININGS) - set(names):
        context.leave_out(f"training, {name}", "takes minutes: not with --quick")
    for index, name in enumerate(names):
        later = sum(1.0 if context.gpu else 1 + TRAININGS[other].weight for other in names[index + 1 :])
        weight = 1.0 if context.gpu else 1 + TRAININGS[name].weight
        deadline = context.deadline.share(weight, later)
        if index and deadline.left() < (3 if context.gpu else 5):
            context.leave_out(f"training, {name}", "the time is up")
            continue
        case = Preparation(context, ways, workers, name).case()
        if case is not None:
            case.deadline = deadline
            yield case
        for way_name in ways:
            with contextlib.suppress(RuntimeError, NotRun):
                workers[way_name].call("release", timeout=30)


class Preparation:
    """Prepares all variants of a training."""

    def __init__(self, context: Context, ways: dict[str, Way], workers: dict[str, Worker], name: str) -> None:
        self.context, self.workers, self.name = context, workers, name
        self.ways = dict(ways)
        if context.gpu and name == LARGE and context.gpu_memory < SMALL_GPU:
            for graph in ("lean graph", "ours without graph"):
                del self.ways[graph]
                context.leave_out(
                    f"training, {name}, {graph}", "the memory of this GPU does not hold all variants at once"
                )
        self.training = TRAININGS[name]
        self.batch = self.training.gpu_batch if context.gpu else self.training.batch
        if context.quick and not context.gpu:
            self.batch = min(self.batch, 4)
        self.seconds = 0.2 if context.quick else 0.25 if context.gpu else 1.5
        self.ready: dict[str, dict[str, Any]] = {}

    def case(self) -> Case | None:
        """Prepare the loops, then the product, whose epochs are as long as the loops are fast."""
        loops = [name for name, way in self.ways.items() if way.pace is None]
        self._prepare({name: {} for name in loops}, alone=True)
        arguments = {}
        for name, way in self.ways.items():
            if way.pace is not None:
                pace = (
                    self.ready.get(way.pace)
                    or self.ready.get("lean bf16")
                    or self.ready.get("documents")
                    or {"step": 1.0}
                )
                slower = 3 if way.pace == "documents" else 1  # exact fp32 on a GPU
                arguments[name] = {"steps": min(2000, max(1, round(self.seconds / pace["step"] / slower)))}
        try:
            shards = [str(path) for path in self.context.samples(self.training.samples)]
        except Exception as error:
            self.context.fail(f"training, {self.name}, samples of the product", error)
        else:
            self._prepare({name: {**one, "shards": shards} for name, one in arguments.items()}, alone=False)
        variants = [
            Variant(name, partial(self._measure, name), partial(self._precision, name), partial(self._share, name))
            for name in self.ways
            if name in self.ready
        ]
        return Case(self.name + f", batch {self.batch}", {"": "images/s"}, variants, "documents") if variants else None

    def _prepare(self, arguments: dict[str, dict[str, Any]], alone: bool) -> None:
        """Prepare variants, on a GPU several at a time unless their first times are used."""
        at_once = len(arguments) if self.context.gpu and not alone else 1
        names = list(arguments)
        for first in range(0, len(names), at_once):
            group = names[first : first + at_once]
            for name in group:
                options = {**self.ways[name].options, **arguments[name]}
                self.workers[name].send("prepare", name=self.name, batch=self.batch, **options)
            for name in group:
                try:
                    self.ready[name] = self.workers[name].receive(180)
                except Exception as error:
                    self.context.fail(f"training, {self.name}, {name}", error)

    def _measure(self, name: str) -> dict[str, float]:
        result = self.workers[name].call("measure", timeout=180, seconds=self.seconds)
        return {"": result[""]}

    def _precision(self, name: str) -> str:
        return str(self.ready[name].get("precision") or self.ways[name].precision)

    def _share(self, name: str, images: float) -> float | None:
        operations = self.ready.get("documents", {}).get("operations")
        limit = self.context.limits.get(("convolution", self._precision(name)))
        return images * operations / limit if operations and limit else None
