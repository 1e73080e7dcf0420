"""Scores equal those of scikit-learn, SciPy and PySODMetrics on synthetic images; tests/real has real images."""

import numpy as np
import pytest
from oracles import (
    compare_areas,
    compare_classes,
    compare_contours,
    compare_counts,
    compare_curve,
    compare_saliency,
    compare_soft,
)

from pipeline.evaluation.classes import confusion_matrix


def image(seed, height=61, width=83):
    """Return a noisy prediction with levels from 0 to 255, and its random mask."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    waves = sum(
        np.sin(rng.normal(0, 0.16) * rows + rng.normal(0, 0.16) * columns + rng.uniform(0, 6.3)) for _ in range(5)
    )
    mask = (waves > 0.8).astype(np.uint8)
    levels = np.clip(128 + 55 * (waves - 0.8) + rng.normal(0, 45, mask.shape), 0, 255).astype(np.uint8)
    levels.flat[:2] = 0, 255
    return levels, mask


SEEDS = range(6)


@pytest.mark.parametrize("seed", SEEDS)
def test_counts_areas_and_curve_match_scikit_learn(seed):
    levels, mask = image(seed)
    region = np.random.default_rng(seed).random(mask.shape) < 0.8
    for inside in (None, region):
        compare_counts(levels, mask, inside, level=100 + 10 * seed)
        compare_areas(levels, mask, inside)
        compare_curve(levels, mask, inside)
        compare_soft(levels, mask * np.uint8(190), inside)


@pytest.mark.parametrize("foreground", [slice(1, None), slice(0, None)])
@pytest.mark.parametrize("seed", SEEDS)
def test_class_scores_match_scikit_learn(seed, foreground):
    # classes 4 and 6 occur nowhere, 5 only in masks and 2 only in predictions
    rng = np.random.default_rng(seed)
    true, predicted = rng.choice([0, 1, 3, 5], 500), rng.choice([0, 1, 2, 3], 500)
    matrix = confusion_matrix(predicted.astype(np.uint8), true.astype(np.uint8), 7)
    compare_classes(matrix, true, predicted, foreground)


@pytest.mark.parametrize("seed", SEEDS)
def test_contour_scores_match_scipy(seed):
    levels, mask = image(seed)
    region = np.zeros(mask.shape, bool)
    region[5:50, 9:70] = True
    for inside in (None, region):
        compare_contours(levels > 127, mask == 1, inside)


def test_saliency_scores_match_pysodmetrics():
    compare_saliency([image(seed, 40 + seed, 70 - seed) for seed in SEEDS])


def test_saliency_scores_of_random_predictions():
    # the best F is reached if all pixels are foreground
    rng = np.random.default_rng(0)
    pairs = []
    for _ in range(3):
        levels = rng.integers(0, 256, (30, 30)).astype(np.uint8)
        levels.flat[:2] = 0, 255
        pairs.append((levels, (rng.random((30, 30)) < 0.6).astype(np.uint8)))
    compare_saliency(pairs)
