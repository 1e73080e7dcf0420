"""Batches are prepared beside the steps; a stand-in for streams of CUDA records the order of the work."""

import contextlib
import threading
import weakref

import pytest
import torch

from pipeline.training.uploads import Preparation, Uploader


class Stream:
    """Records its work in a list of all streams: its name, and what it does or waits for."""

    def __init__(self, name, work):
        self.name, self.work = name, work

    def wait_stream(self, other):
        self.work.append(f"{self.name} waits for all of {other.name}")

    def wait_event(self, event):
        self.work.append(f"{self.name} waits for {event}")

    def record_event(self):
        return self.work[-1]


@pytest.fixture
def work(monkeypatch):
    work = []
    streams = [Stream("steps", work)]

    @contextlib.contextmanager
    def use(stream):
        streams.append(stream)
        yield
        streams.pop()

    monkeypatch.setattr(torch.cuda, "Stream", lambda: Stream("preparation", work))
    monkeypatch.setattr(torch.cuda, "stream", use)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: streams[-1])
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    return work


class Batch:
    pass


def test_a_batch_is_prepared_during_the_step_before(work):
    batches = []

    def prepare():
        for number in range(4):
            assert sum(batch() is not None for batch in batches) <= 2, "memory for two batches and the next"
            batch = Batch()
            batches.append(weakref.ref(batch))
            work.append(f"{torch.cuda.current_stream().name} makes {number}")
            yield batch
            del batch

    for number, _ in enumerate(Preparation(torch.device("cuda")).run(prepare())):
        work.append(f"{torch.cuda.current_stream().name} compute {number}")
    assert work == [
        "preparation waits for all of steps",
        "preparation makes 0",
        "steps waits for preparation makes 0",
        "steps compute 0",
        "preparation makes 1",
        "steps waits for preparation makes 1",
        "steps compute 1",
        "preparation waits for steps compute 0",
        "preparation makes 2",
        "steps waits for preparation makes 2",
        "steps compute 2",
        "preparation waits for steps compute 1",
        "preparation makes 3",
        "steps waits for preparation makes 3",
        "steps compute 3",
        "preparation waits for steps compute 2",
    ]


def test_batches_are_made_only_when_they_are_asked_for():
    made = []
    batches = Preparation(torch.device("cpu")).run(made.append(number) or number for number in range(3))
    assert next(batches) == 0
    assert made == [0]
    assert list(batches) == [1, 2]


@pytest.mark.usefixtures("work")
def test_the_thread_that_uploads_uses_the_gpu_of_its_process(monkeypatch):
    selected = []
    monkeypatch.setattr(
        torch.cuda, "set_device", lambda device: selected.append((device, threading.current_thread().name))
    )
    with Uploader(torch.device("cuda")).worker() as worker:
        name = worker.submit(lambda: threading.current_thread().name).result()
    assert selected == [(3, name)]
    with Uploader(torch.device("cpu")).worker() as worker:
        assert worker.submit(lambda: 1).result() == 1
    assert len(selected) == 1
