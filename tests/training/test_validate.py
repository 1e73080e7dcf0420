"""Validation scores of several classes."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from pipeline.evaluation.classes import confusion_matrix
from pipeline.training.validate import mean_dice


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
