import cv2
import numpy as np
import pytest

from pipeline.evaluation.contours import TOLERANCE, contour, contour_scores, distances


def disc(size=80, centre=(40, 40), radius=20):
    rows, columns = np.ogrid[:size, :size]
    return (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2


def test_contour_of_square_is_its_outermost_pixels():
    mask = np.zeros((9, 9), bool)
    mask[2:7, 3:8] = True
    expected = mask.copy()
    expected[3:6, 4:7] = False
    np.testing.assert_array_equal(contour(mask), expected)
    outline = np.ones((4, 5), bool)
    outline[1:3, 1:4] = False
    np.testing.assert_array_equal(contour(np.ones((4, 5), bool)), outline)  # outside the image is background


def test_scores_of_a_shifted_square():
    mask = np.zeros((40, 40), bool)
    mask[10:30, 10:30] = True
    for shift in (0, 1, TOLERANCE, TOLERANCE + 1, 5):
        moved = np.roll(mask, shift, axis=1)
        dice, distance = contour_scores(moved, mask)
        assert (dice == 1) == (shift <= TOLERANCE)
        assert distance == shift


def test_single_outlier_changes_scores_little():
    mask, speck = disc(), disc()
    speck[2, 2] = True
    dice, distance = contour_scores(speck, mask)
    assert 0.99 < dice < 1
    assert distance == 0
    assert distances(contour(speck), contour(mask)).max() > 30


def test_empty_masks():
    empty, nonempty = np.zeros((80, 80), bool), disc()
    assert np.isnan(contour_scores(empty, empty)).all()
    for pair in ((empty, nonempty), (nonempty, empty)):
        dice, distance = contour_scores(*pair)
        assert dice == 0
        assert np.isnan(distance)


def test_contour_scores_use_only_the_region():
    truth = disc()
    predicted = truth.copy()
    predicted[:, 60:] = True
    region = np.zeros_like(truth)
    region[:, :60] = True
    assert contour_scores(predicted, truth)[0] < 0.8
    np.testing.assert_array_equal(contour_scores(predicted, truth, region), [1, 0])


@pytest.mark.parametrize("seed", range(3))
def test_distances_are_exact(seed):
    rng = np.random.default_rng(seed)
    source, target = rng.random((2, 70, 1100)) < 0.0005
    target[0, 0] = source[-1, -1] = True
    result = distances(source, target)
    points, targets = np.argwhere(source), np.argwhere(target)
    expected = np.sqrt(((points[:, None] - targets[None]) ** 2).sum(axis=2)).min(axis=1)
    np.testing.assert_array_equal(result, expected)
    assert cv2.countNonZero(source.astype(np.uint8)) == len(result)
