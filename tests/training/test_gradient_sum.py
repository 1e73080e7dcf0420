"""Gradients are summed in buckets of a fixed order while the backward pass runs."""

import pytest
import torch
from torch import nn

from pipeline.training import ranks
from pipeline.training.launch import on_ranks

COUNT = 4  # parameters of 4 x 4 float32: 64 bytes each


class Layers(nn.Module):
    """Weights that are multiplied; with `used` below `COUNT`, the last ones have no gradient."""

    def __init__(self, used=COUNT):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weights = nn.ParameterList(torch.randn(4, 4, generator=generator) for _ in range(COUNT))
        self.used = used

    def forward(self, values):
        for weight in list(self.weights)[: self.used]:
            values = torch.tanh(values @ weight)
        return values.sum()


class Message:
    """A sum in progress of two processes with the same gradients, complete when it is waited for."""

    def __init__(self, tensor, log):
        self.tensor, self.log = tensor, log

    def wait(self):
        self.log.append(("wait", len(self.tensor)))
        self.tensor.mul_(2)


@pytest.fixture
def events(monkeypatch):
    """What a process of two sends and waits for, as lengths of messages; other processes have the same gradients."""
    log = []

    def all_reduce(tensor, async_op):
        assert async_op
        log.append(("send", len(tensor)))
        return Message(tensor, log)

    monkeypatch.setattr(ranks, "world_size", lambda: 2)
    monkeypatch.setattr(ranks.distributed, "all_reduce", all_reduce)
    return log


def sent(log):
    return [length for kind, length in log if kind == "send"]


@pytest.mark.parametrize(
    ("size", "lengths"),
    [
        (1 << 20, [64]),  # a small network sends one message
        (128, [32, 32]),
        (100, [32, 32]),  # a bucket is complete when it reaches the size
        (64, [16, 16, 16, 16]),
    ],
)
def test_each_bucket_is_one_message_and_sums_are_right(events, size, lengths):
    network, alone = Layers(), Layers()
    gradient_sum = ranks.GradientSum(network, size)
    values = torch.ones(3, 4)
    alone(values).backward()
    for _ in range(2):
        network.zero_grad()
        network(values).backward()
        assert sent(events) == lengths, "all messages are sent before the backward pass ends"
        gradient_sum.finish()
        assert events == [(kind, length) for kind in ("send", "wait") for length in lengths]
        events.clear()
        for mine, expected in zip(network.parameters(), alone.parameters(), strict=True):
            torch.testing.assert_close(mine.grad, 2 * expected.grad, rtol=0, atol=0)


def test_messages_keep_their_order_if_gradients_do_not(events):
    network = Layers()
    gradient_sum = ranks.GradientSum(network, 64)
    first, second, third, fourth = network.weights
    fourth.sum().backward()
    assert sent(events) == [16]
    first.sum().backward()
    second.sum().backward()
    assert sent(events) == [16], "both wait for the bucket of the third"
    third.sum().backward()
    assert sent(events) == [16] * 4
    gradient_sum.finish()


@pytest.mark.parametrize("used", [0, 1, 3])
def test_missing_gradients_are_sent_as_zeros_and_stay_missing(events, used):
    network = Layers(used)
    gradient_sum = ranks.GradientSum(network, 64)
    network(torch.ones(3, 4, requires_grad=True)).backward()
    assert sent(events) == [], "the first bucket has no gradient"
    gradient_sum.finish()
    assert sent(events) == [16] * COUNT
    assert [weight.grad is not None for weight in network.weights] == [n < used for n in range(COUNT)]


def test_a_single_process_sends_nothing():
    network = Layers()
    gradient_sum = ranks.GradientSum(network)
    network(torch.ones(3, 4)).backward()
    gradient_sum.finish()
    assert not any(weight._post_accumulate_grad_hooks for weight in network.weights)


def sum_with_and_without_buckets():
    """Compare a step in buckets with the same step after a restart, and with one message after the backward pass."""
    torch.set_num_threads(1)
    values, sums = torch.arange(12.0).reshape(3, 4) * (ranks.rank() + 0.3), []
    for _ in range(2):
        network = Layers()
        gradient_sum = ranks.GradientSum(network, 64)
        network(values).backward()
        gradient_sum.finish()
        sums.append(torch.cat([weight.grad.reshape(-1) for weight in network.weights]))
    network = Layers()
    network(values).backward()
    together = torch.cat([weight.grad.reshape(-1) for weight in network.weights])
    assert not torch.equal(together, sums[0])
    ranks.distributed.all_reduce(together)
    assert torch.equal(sums[0], sums[1])
    if ranks.world_size() == 2:  # the sum of two numbers does not depend on their order
        assert torch.equal(sums[0], together)
    torch.testing.assert_close(sums[0], together)


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 3])
def test_buckets_give_the_bits_of_one_message(count):
    on_ranks(sum_with_and_without_buckets, count)()
