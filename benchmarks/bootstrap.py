"""Bootstrap intervals of a summary: products with a matrix of weights, compared with a loop over resamples.

    python benchmarks/bootstrap.py [--images 20 600 5000] [--loop 20]

Both compute the 2,000 resampled values of macro F1, micro F1, micro ROC AUC and maxF (beta^2 0.3, of mean precision
and mean recall) from the same synthetic histograms and scores. The loop builds `--loop` resamples and scores each with
the functions that score a split; its time is scaled to 2,000. Their results are compared first. One thread; CPU time.
The last column is the time for all intervals of the two rows of a summary.
"""

import argparse
import time

import numpy as np

from pipeline.core.counts import confusion, dice, max_f
from pipeline.evaluation.bootstrap import RESAMPLES, resampled_means, resampling_weights
from pipeline.evaluation.curves import roc_auc
from pipeline.evaluation.intervals import resampled_histograms, two_class_intervals
from pipeline.evaluation.metrics import METRICS
from pipeline.evaluation.scores import BETA2_SALIENT, f_beta

THRESHOLD_LEVEL = 127
MACRO = [name for name, metric in METRICS.items() if metric.input != "counts" or metric.reported]


def random_histograms(images):
    """Return random histograms, (images, 2, 256)."""
    rng = np.random.default_rng(0)
    slopes = np.stack([np.linspace(3, 0.2, 256), np.linspace(0.2, 1, 256)])
    return rng.poisson(200 * slopes * rng.uniform(0.5, 2, (images, 2, 1))).astype(np.int64)


def vectorized(weights, histograms, scores):
    pooled, means = resampled_histograms(weights, histograms)
    max_f_values = f_beta(means["precision"], means["recall"], BETA2_SALIENT).max(axis=-1)
    macro = resampled_means(weights, scores[:, None])[:, 0]
    return np.stack([macro, dice(confusion(pooled, THRESHOLD_LEVEL)), roc_auc(pooled), max_f_values], axis=1)


def loop(weights, histograms, scores):
    rows = []
    for row in weights:
        indices = np.repeat(np.arange(len(row)), row)
        resample = histograms[indices]
        pooled = resample.sum(axis=0)
        rows.append(
            [
                scores[indices].mean(),
                dice(confusion(pooled, THRESHOLD_LEVEL)),
                roc_auc(pooled),
                max_f(resample, BETA2_SALIENT),
            ]
        )
    return np.array(rows, dtype=np.float64)


def timed(function, *arguments):
    start = time.process_time()
    result = function(*arguments)
    return result, time.process_time() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[20, 600, 5000])
    parser.add_argument("--loop", type=int, default=20, help="number of resamples in the loop (20)")
    arguments = parser.parse_args()
    print(f"{'images':>8}{'vectorized':>14}{'loop':>12}{'ratio':>9}{'all intervals':>16}")
    for images in arguments.images:
        histograms = random_histograms(images)
        scores = dice(confusion(histograms, THRESHOLD_LEVEL))
        weights = resampling_weights(images)
        vectorized_values, vectorized_s = timed(vectorized, weights, histograms, scores)
        loop_values, loop_s = timed(loop, weights[: arguments.loop], histograms, scores)
        np.testing.assert_allclose(vectorized_values[: arguments.loop], loop_values, atol=1e-9)
        loop_s *= RESAMPLES / arguments.loop
        _, all_s = timed(two_class_intervals, weights, histograms, dict.fromkeys(MACRO, scores), THRESHOLD_LEVEL, "one")
        print(
            f"{images:8}{vectorized_s:12.2f} s{loop_s:10.1f} s{loop_s / vectorized_s:8.1f}x{all_s:14.2f} s", flush=True
        )


if __name__ == "__main__":
    main()
