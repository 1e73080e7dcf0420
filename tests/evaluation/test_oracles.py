"""Scores beside those of scikit-learn, SciPy and PySODMetrics, on drawn images; tests/real has the real ones."""

import numpy as np
import pytest
from oracles import (
    compare_areas,
    compare_contours,
    compare_counts,
    compare_curve,
    compare_saliency,
)


def image(seed, height=61, width=83):
    """Draw blobs, and a noisy guess at them that uses all levels from 0 to 255."""
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
def test_counts_areas_and_curve_of_a_image(seed):
    levels, mask = image(seed)
    region = np.random.default_rng(seed).random(mask.shape) < 0.8
    for inside in (None, region):
        compare_counts(levels, mask, inside, cut=100 + 10 * seed)
        compare_areas(levels, mask, inside)
        compare_curve(levels, mask, inside)


@pytest.mark.parametrize("seed", SEEDS)
def test_contours_of_a_image(seed):
    levels, mask = image(seed)
    region = np.zeros(mask.shape, bool)
    region[5:50, 9:70] = True
    for inside in (None, region):
        compare_contours(levels > 127, mask == 1, inside)


def test_saliency_scores_of_several_images():
    compare_saliency([image(seed, 40 + seed, 70 - seed) for seed in SEEDS])


def test_saliency_scores_of_images_that_were_guessed_badly():
    # the best that can be done is to call everything foreground
    rng = np.random.default_rng(0)
    pairs = []
    for _ in range(3):
        levels = rng.integers(0, 256, (30, 30)).astype(np.uint8)
        levels.flat[:2] = 0, 255
        pairs.append((levels, (rng.random((30, 30)) < 0.6).astype(np.uint8)))
    compare_saliency(pairs)
