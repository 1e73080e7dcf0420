"""Validation scores, and the accuracy in training."""

import dataclasses
import types

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from pipeline.evaluation.classes import confusion_matrix
from pipeline.training.accuracy import count_correct
from pipeline.training.data import Batch
from pipeline.training.losses import LOSSES
from pipeline.training.validate import mean_dice, validate


@pytest.mark.parametrize("first", [0, 1])
def test_val_dice_leaves_out_classes_that_occur_nowhere(first):
    # classes 4 and 6 occur nowhere, 5 only in masks and 2 only in predictions
    rng = np.random.default_rng(0)
    true, predicted = rng.choice([0, 1, 3, 5], 500).astype("u1"), rng.choice([0, 1, 2, 3], 500).astype("u1")
    occurring = [0, 1, 2, 3, 5][first:]
    expected = f1_score(true, predicted, labels=occurring, average="macro", zero_division=0)
    assert mean_dice(confusion_matrix(predicted, true, 7), slice(first, None)) == pytest.approx(expected)


def test_val_dice_is_one_if_no_foreground_class_occurs():
    assert mean_dice(np.diag([9, 0, 0])) == 1.0
    assert np.isnan(mean_dice(np.zeros((3, 3), int)))


class Constant(torch.nn.Module):
    """A network that gives the same logits for every pixel."""

    def __init__(self, logits):
        super().__init__()
        self.logits_of_pixel = torch.tensor(logits)[None, :, None, None]

    def forward(self, x):
        return self.logits_of_pixel.expand(len(x), -1, *x.shape[2:])


class OneBatch:
    """A store with one batch."""

    def __init__(self, target, classes):
        self.batch = Batch(image=torch.zeros(len(target), 3, *target.shape[2:]), target=target, weight=None)
        self.info = types.SimpleNamespace(class_names=["background", *"abc"[: classes - 1]])

    def __len__(self):
        return len(self.batch.image)

    def batches(self, order, size):
        yield self.batch


HALF = torch.tensor([[[[1.0, 0.0, 0.0, 0.0]]]])


@pytest.mark.parametrize(("loss", "logits"), [("bce", [0.0]), ("mse", [0.5]), ("cross-entropy", [3.0, 3.0])])
def test_probability_of_exactly_one_half_is_background(loss, logits):
    network, store = Constant(logits), OneBatch(HALF, 2)
    scores = validate(network, LOSSES[loss], store, 1, "fp32")
    assert (scores.val_dice, scores.val_accuracy) == (0.0, 0.75)
    correct = count_correct(network(store.batch.image), LOSSES[loss].activation, store.batch)
    assert correct.tolist() == [3, 4]


def test_accuracy_of_several_classes_counts_valid_pixels():
    target = torch.tensor([[[[0, 1, 2, 2]]]])
    network, store = Constant([0.0, 1.0, 3.0]), OneBatch(target, 3)
    assert validate(network, LOSSES["cross-entropy"], store, 1, "fp32").val_accuracy == 0.5
    weight = torch.tensor([[[[0.0, 0.0, 0.3, 9.0]]]])
    batch = dataclasses.replace(store.batch, weight=weight)
    assert count_correct(network(batch.image), "softmax", batch).tolist() == [2, 2]
