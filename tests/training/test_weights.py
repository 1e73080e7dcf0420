import numpy as np
import pytest

from pipeline.core.counts import VOID
from pipeline.training.recipes import Border
from pipeline.training.weights import border_term, class_weights, weight_map


def brute_force(mask, w0, sigma):
    """Compute the border term from the distances to all objects, pixel by pixel."""
    import cv2

    planes = []
    for label in sorted(set(np.unique(mask).tolist()) - {0, VOID}):
        count, components = cv2.connectedComponents((mask == label).astype(np.uint8), connectivity=8)
        planes += [components == number for number in range(1, count)]
    y, x = np.mgrid[: mask.shape[0], : mask.shape[1]]
    distances = []
    for plane in planes:
        rows, columns = np.nonzero(plane)
        distances.append(np.sqrt((y[..., None] - rows) ** 2 + (x[..., None] - columns) ** 2).min(axis=-1))
    term = np.zeros(mask.shape)
    if len(planes) > 1:
        nearest = np.sort(np.stack(distances), axis=0)
        term = w0 * np.exp(-((nearest[0] + nearest[1]) ** 2) / (2 * sigma**2))
    term[mask != 0] = 0
    return term


def test_border_term_matches_a_brute_force_computation():
    rng = np.random.default_rng(3)
    mask = np.zeros((40, 50), dtype=np.uint8)
    for _ in range(7):
        top, left = rng.integers(0, 34), rng.integers(0, 44)
        mask[top : top + rng.integers(2, 8), left : left + rng.integers(2, 8)] = rng.integers(1, 4)
    mask[0:3, 47:] = VOID
    np.testing.assert_allclose(border_term(mask, 10, 5), brute_force(mask, 10, 5), atol=1e-4)
    np.testing.assert_allclose(border_term(mask, 3, 1.5), brute_force(mask, 3, 1.5), atol=1e-4)


def test_border_weight_decreases_with_the_gap_width():
    mask = np.zeros((20, 80), dtype=np.uint8)
    for left in (0, 12, 30, 60):
        mask[:, left : left + 10] = 1
    term = border_term(mask, 10, 5)
    gaps = [term[10, 10:12].max(), term[10, 22:30].max(), term[10, 40:60].max()]
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[0] == pytest.approx(10 * np.exp(-9 / 50), rel=1e-4)  # distance 1 to one object, 2 to the other
    assert (term[mask == 1] == 0).all()


def test_single_object_has_no_border_weight():
    mask = np.zeros((30, 30), dtype=np.uint8)
    mask[10:20, 10:20] = 1
    assert (border_term(mask, 10, 5) == 0).all()
    assert (border_term(np.zeros_like(mask), 10, 5) == 0).all()


def test_class_weights_balance_the_classes():
    counts = np.array([900, 90, 10])
    weights = class_weights(counts)
    np.testing.assert_allclose(weights * counts, 1000 / 3, rtol=1e-6)
    # weight 0 means ignored: a class that only validation masks contain would be excluded from their scores
    assert class_weights([5, 0])[1] == 1


def test_weight_map_adds_class_and_border_weights_without_void():
    mask = np.array([[0, 1, 0, 1, VOID]], dtype=np.uint8)
    plain = weight_map(mask)
    assert plain.tolist() == [[1, 1, 1, 1, 0]]
    both = weight_map(mask, by_class=np.array([0.5, 2.0], dtype=np.float32), border=Border(w0=10, sigma=5))
    assert both[0, 1] == 2.0
    assert both[0, 2] == pytest.approx(0.5 + 10 * np.exp(-4 / 50), rel=1e-5)
    assert both[0, 4] == 0
