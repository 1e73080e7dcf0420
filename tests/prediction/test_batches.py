"""Batches of the network: their size, the order of uploads and results, and values computed on the device."""

import threading
from collections import Counter

import h5py
import numpy as np
import pytest
import torch
from rawfiles import make_tgs
from sources import source
from untrained import build, checkpoint, load, predict_shard, read

from pipeline.core.counts import to_levels
from pipeline.core.parallel import read_ahead
from pipeline.prediction import batches
from pipeline.prediction import network as networks
from pipeline.prediction.bands import class_indices
from pipeline.prediction.batches import (
    Direct,
    HostBatch,
    PixelLimit,
    normalize,
    pixels_within,
    run_batches,
    to_class_tensor,
    to_level_tensor,
)
from pipeline.prediction.normalized import NormalizedImage
from pipeline.shards.read import ShardReader

CPU = torch.device("cpu")


def test_levels_on_the_device_equal_levels_to_the_byte():
    rng = np.random.default_rng(0)
    halves = (np.arange(511, dtype=np.float32) / 510).repeat(3)
    steps = np.float32([-1, 0, 1]) * np.spacing(halves.reshape(-1, 3))
    values = np.concatenate([[-0.1, -0.0, 1.1], rng.random(10**5), halves + steps.ravel()]).astype(np.float32)
    np.testing.assert_array_equal(to_level_tensor(torch.from_numpy(values)).numpy(), to_levels(values))


def test_classes_on_the_device_are_the_first_of_equal_ones():
    values = np.random.default_rng(1).integers(0, 3, (2, 4, 20, 30)).astype(np.float32)
    classes = to_class_tensor(torch.from_numpy(values)).numpy()
    assert classes.shape == (2, 1, 20, 30)
    np.testing.assert_array_equal(classes[:, 0], [class_indices(planes) for planes in values])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32"])
def test_batches_are_normalized_like_single_images(dtype):
    rng = np.random.default_rng(2)
    stored = (rng.random((3, 2, 5, 7)) * 200).astype(dtype)
    scale, offset = rng.random((2, 3, 2), dtype=np.float32)
    images = [NormalizedImage("x", *values) for values in zip(stored, scale, offset, strict=True)]
    batch = normalize(HostBatch.of(images, pinned=False))
    assert torch.equal(batch, torch.stack([image.whole() for image in images]))
    np.testing.assert_array_equal(images[0].stored, stored[0])


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("GET was unable to find an engine to execute this computation"),  # cuDNN
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED"),
    ],
)
def test_a_batch_without_memory_is_halved_like_later_ones(error):
    limit, sizes = PixelLimit(CPU), []

    def run(batch):
        sizes.append(len(batch))
        if len(batch) > 2:
            raise error
        return 2 * batch

    batch = torch.rand(7, 1, 10, 10)
    assert torch.equal(limit.within_memory(run)(batch), 2 * batch)
    assert sizes == [7, 4, 2, 2, 3, 2, 1]
    assert limit.batch(10, 10) == 2


def test_one_image_without_memory_is_an_error():
    def run(batch):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        PixelLimit(CPU).within_memory(run)(torch.rand(1, 1, 10, 10))


def test_the_limit_follows_from_free_memory_and_the_first_batch():
    assert pixels_within(free=4000, needed=100, pixels=1000) == 20000
    assert pixels_within(free=0, needed=100, pixels=1000) == 1000
    assert pixels_within(free=10**12, needed=1, pixels=1000) == 2**22


class Recorded(Direct):
    """A device that records when batches are sent and results are awaited."""

    def __init__(self, ahead):
        super().__init__(CPU)
        self.ahead, self.events = ahead, []

    def download(self, *tensors):
        number = int(tensors[0].flatten()[0])
        self.events.append(f"send {number}")
        wait = super().download(*tensors)

        def record_and_wait():
            self.events.append(f"await {number}")
            return wait()

        return record_and_wait


@pytest.mark.parametrize(
    ("ahead", "events"),
    [
        (0, "send 0, await 0, send 1, await 1, send 2, await 2"),
        (1, "send 0, send 1, await 0, send 2, await 1, await 2"),
    ],
)
def test_the_next_batch_is_sent_before_results_are_awaited(ahead, events):
    transfer = Recorded(ahead)
    numbered = ((number, [torch.full((1, 1, 2, 2), float(number))]) for number in range(3))
    results = list(run_batches(transfer, lambda tensors, _: (tensors[0], tensors[0].isnan().any()), numbered))
    assert [key for key, _ in results] == [int(result.values[0, 0, 0, 0]) for _, result in results] == [0, 1, 2]
    assert ", ".join(transfer.events) == events  # one wait for each batch


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Return shards of five samples, of their native size and of another one."""
    folder = tmp_path_factory.mktemp("shards")
    samples = source("tgs", make_tgs(folder / "TGS", unlabelled=5))
    return {size: build(folder / f"{size}.h5", "unlabelled", samples, size=size_of[size]) for size in size_of}


size_of = {"native": "native", "fixed": [48, 64]}


@pytest.mark.parametrize("kind", ["probability", "mask"])
def test_only_final_values_come_from_the_device_at_native_size(tmp_path, shards, monkeypatch, kind):
    types = []
    predict_batches = networks.Predictor.predict_batches

    def record(self, groups):
        for batch, result in predict_batches(self, groups):
            types.append(str(result.values.dtype))
            yield batch, result

    monkeypatch.setattr(networks.Predictor, "predict_batches", record)
    for size, dtype in (("native", "uint8"), ("fixed", "float32")):
        types.clear()
        path = checkpoint(tmp_path / "c.pt", classes=3, preparation={"size": size_of[size]})
        predict_shard(path, shards[size], tmp_path / size, kind=kind)
        assert types == [dtype]
    network, reader = load(path), ShardReader([shards["native"]])
    scale, offset, name = (reader.column(name)[0] for name in ("scale", "offset", "ids"))
    probability = network(NormalizedImage(name, reader.read_array("images", 0), scale, offset))
    if kind == "mask":
        np.testing.assert_array_equal(read(tmp_path / f"native/{name}.png"), class_indices(probability))
    else:
        np.testing.assert_array_equal(read(tmp_path / f"native/circle/{name}.png"), to_levels(probability)[1])


def test_samples_are_read_once_and_nan_is_sought_once_a_batch(tmp_path, shards, monkeypatch):
    counts = Counter()
    monkeypatch.setattr(batches, "PIXELS_AT_ONCE", 2 * 48 * 64)

    def count(owner, name):
        original = getattr(owner, name)

        def counted(*arguments, **options):
            counts[name] += 1
            return original(*arguments, **options)

        monkeypatch.setattr(owner, name, counted)

    for owner, name in ((ShardReader, "read_array"), (torch.Tensor, "isnan"), (h5py, "File")):
        count(owner, name)
    path = checkpoint(tmp_path / "c.pt")
    counts.clear()
    predict_shard(path, shards["fixed"], tmp_path / "p")
    assert counts["read_array"] == 5
    assert counts["isnan"] == 3  # batches of two samples
    assert counts["File"] <= 2  # one to verify the shard


def test_the_next_item_is_made_while_this_one_is_used():
    made = [threading.Event() for _ in range(3)]

    def items():
        for number, event in enumerate(made):
            event.set()
            yield number

    ahead = read_ahead(items())
    for number in range(2):
        assert next(ahead) == number
        assert made[number + 1].wait(10)
    assert list(ahead) == [2]


def test_an_error_while_reading_ahead_is_raised_in_order():
    def items():
        yield 1
        raise ValueError("damaged")

    ahead = read_ahead(items(), 3)
    assert next(ahead) == 1
    with pytest.raises(ValueError, match="damaged"):
        next(ahead)
