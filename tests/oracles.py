"""Compare our scores with those of other libraries, to 1e-6: for the tests on synthetic and on real images."""

import numpy as np
import pytest
from scipy import ndimage
from sklearn import metrics as sklearn

from pipeline.core.counts import LEVELS, absolute_error, confusion, joint_histogram
from pipeline.evaluation.classes import one_vs_rest
from pipeline.evaluation.contours import PERCENTILE, TOLERANCE, contour_scores
from pipeline.evaluation.curves import curves, max_f_columns, thresholds
from pipeline.evaluation.metrics import CLASS_METRICS, METRICS, class_scores
from pipeline.evaluation.tables import nan_mean


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-6)


def inside(region, *planes):
    return [plane.ravel() if region is None else plane[region] for plane in planes]


def histogram_by_definition(levels, mask, region=None):
    """Count pixels by mask value and level, one at a time."""
    histogram = np.zeros((2, LEVELS), np.int64)
    for level, value in zip(*inside(region, levels, mask), strict=True):
        histogram[value, level] += 1
    return histogram


def compare_metrics(input_kind, expected, *inputs):
    """Compare all metrics with one kind of input; each needs a reference value."""
    metrics = {name: metric for name, metric in METRICS.items() if metric.input == input_kind}
    assert expected.keys() == metrics.keys(), "add the value of another library for the new metric to tests/oracles.py"
    for name, metric in metrics.items():
        close(metric.function(*inputs), expected[name])


def compare_counts(levels, mask, region, level):
    """Compare scores at one threshold with scikit-learn's; mask and prediction must both have both values."""
    counts = confusion(joint_histogram(levels, mask, region), level)
    predicted, true = inside(region, levels > level, mask == 1)
    ((tn, fp), (fn, tp)) = sklearn.confusion_matrix(true, predicted)
    assert counts == (tp, fp, fn, tn)
    expected = {
        "f1": sklearn.f1_score(true, predicted),
        "dice": sklearn.f1_score(true, predicted),
        "iou": sklearn.jaccard_score(true, predicted),
        "precision": sklearn.precision_score(true, predicted),
        "recall": sklearn.recall_score(true, predicted),
        "specificity": sklearn.recall_score(~true, ~predicted),
        "accuracy": sklearn.accuracy_score(true, predicted),
        "mcc": sklearn.matthews_corrcoef(true, predicted),
        "tgs_score": np.mean([sklearn.jaccard_score(true, predicted) > limit / 20 for limit in range(10, 20)]),
        "f03": sklearn.fbeta_score(true, predicted, beta=0.3**0.5),
        "youden": sklearn.recall_score(true, predicted) + sklearn.recall_score(~true, ~predicted) - 1,
    }
    compare_metrics("counts", expected, counts, 1.0)


def compare_areas(levels, mask, region):
    """Compare the areas under both curves, and the mean absolute error, with scikit-learn's."""
    histogram = joint_histogram(levels, mask, region)
    probability, true = inside(region, levels / 255, mask)
    expected = {
        "mae": sklearn.mean_absolute_error(true, probability),
        "roc_auc": sklearn.roc_auc_score(true, probability),
        "pr_auc": sklearn.average_precision_score(true, probability),
    }
    compare_metrics("histogram", {"mae": expected.pop("mae")}, histogram)
    compare_metrics("ranks", expected, histogram)


def compare_soft(levels, mask, region):
    """Compare the mean absolute error against soft masks, 0 to 255, with scikit-learn's."""
    probability, true = inside(region, levels / 255, mask / 255)
    distances = np.abs(np.subtract(*inside(region, levels.astype(int), mask.astype(int)))).sum()
    compare_metrics("soft", {"mae_soft": sklearn.mean_absolute_error(true, probability)}, distances, probability.size)


def compare_curve(levels, mask, region):
    """Compare every point of the curves with scikit-learn's, which lists only the levels that occur."""
    points = curves(joint_histogram(levels, mask, region))
    values, true = inside(region, levels.astype(int), mask)
    precision, recall, occurring = sklearn.precision_recall_curve(true, values)
    close(points.precision[occurring], precision[:-1])
    close(points.recall[occurring], recall[:-1])
    fpr, tpr, occurring = sklearn.roc_curve(true, values, drop_intermediate=False)
    occurring = np.minimum(occurring, 256).astype(int)  # infinity: no pixel is foreground
    close(points.fpr[occurring], fpr)
    close(points.recall[occurring], tpr)
    f1 = [sklearn.f1_score(true, values / 255 > threshold) for threshold in thresholds()[[1, 60, 128, 200, 255]]]
    histogram = joint_histogram(levels, mask, region)[None]
    assert max(f1) <= max_f_columns(histogram)["max_f1_of_mean_curve"] + 1e-12


def compare_contours(predicted, true, region):
    """Compare boundary Dice and the 95 % Hausdorff distance with SciPy's morphology and distance transform."""
    planes = [plane if region is None else plane & region for plane in (predicted, true)]
    lines = [plane & ~ndimage.binary_erosion(plane) for plane in planes]
    to_true, to_predicted = (ndimage.distance_transform_edt(~target)[source] for source, target in (lines, lines[::-1]))
    dice = ((to_true <= TOLERANCE).sum() + (to_predicted <= TOLERANCE).sum()) / (to_true.size + to_predicted.size)
    hausdorff = max(np.percentile(to_true, PERCENTILE), np.percentile(to_predicted, PERCENTILE))
    close(contour_scores(predicted, true, region), [dice, hausdorff])


def compare_saliency(pairs):
    """Compare MAE and all maximum F with PySODMetrics, which rescales each map to 0..255: levels must include both."""
    saliency = pytest.importorskip("py_sod_metrics", reason="`make install` adds PySODMetrics")
    histograms = np.stack([joint_histogram(levels, mask) for levels, mask in pairs])
    max_f = max_f_columns(histograms)
    error = saliency.MAE()
    for beta2, name in ((0.3, "max_f03"), (1.0, "max_f1")):
        of_curves = saliency.FmeasureV2({"f": saliency.FmeasureHandler(True, False, beta=beta2)})
        of_means = saliency.Fmeasure(beta=beta2)
        for levels, mask in pairs:
            assert (levels.min(), levels.max()) == (0, 255)
            for reference in (of_curves, of_means, error):
                reference.step(levels, mask * 255)
        close(max_f[f"{name}_of_mean_curve"], of_curves.get_results()["f"]["dynamic"].max())
        points = of_means.get_results()["pr"]
        f = (1 + beta2) * points["p"] * points["r"] / np.maximum(beta2 * points["p"] + points["r"], 1e-12)
        close(max_f[f"{name}_of_mean_pr"], f.max())
    close(absolute_error(histograms).mean(), error.get_results()["mae"])


def compare_classes(matrix, true, predicted, foreground):
    """Compare scores of several classes, and their mean, with scikit-learn's over the classes that occur."""
    counts = one_vs_rest(matrix)
    scores = class_scores(CLASS_METRICS, counts, "skip")
    occurring = np.union1d(true, predicted)
    absent = np.setdiff1d(np.arange(len(matrix)), occurring)
    averaged = np.intersect1d(occurring, np.arange(len(matrix))[foreground])
    for name, function in {
        "iou": sklearn.jaccard_score,
        "f1": sklearn.f1_score,
        "dice": sklearn.f1_score,
        "precision": sklearn.precision_score,
        "recall": sklearn.recall_score,
    }.items():
        assert np.isnan(scores[name][absent]).all()
        close(scores[name][occurring], function(true, predicted, labels=occurring, average=None, zero_division=0))
        mean = function(true, predicted, labels=averaged, average="macro", zero_division=0)
        close(nan_mean(scores[name][foreground]), mean)
    assert all(np.isnan(values[absent]).all() for values in scores.values())
