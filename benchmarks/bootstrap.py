"""Bootstrap intervals of a whole summary: sums as products with a matrix of weights, beside a loop over resamples.

    python benchmarks/bootstrap.py [--images 20 600 5000] [--loop 20]

Both get the same histograms and scores of drawn images, and give the 2,000 resampled values of macro F1, micro F1,
micro ROC area and maxF (beta^2 0.3, of mean precision and mean recall). The loop puts `--loop` resamples together and
scores each with the functions that score a split; its time is scaled to 2,000. That both agree on them is checked
first. One thread; processor time. The last column is the time for all intervals of a summary's two rows.
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

CUT = 127
MACRO = [name for name, metric in METRICS.items() if metric.of != "counts" or metric.reported]


def draw(images):
    """Draw histograms of images, (images, 2, 256)."""
    rng = np.random.default_rng(0)
    slopes = np.stack([np.linspace(3, 0.2, 256), np.linspace(0.2, 1, 256)])
    return rng.poisson(200 * slopes * rng.uniform(0.5, 2, (images, 2, 1))).astype(np.int64)


def vectorized(weights, histograms, scores):
    pooled, means = resampled_histograms(weights, histograms)
    best = f_beta(means["precision"], means["recall"], BETA2_SALIENT).max(axis=-1)
    macro = resampled_means(weights, scores[:, None])[:, 0]
    return np.stack([macro, dice(confusion(pooled, CUT)), roc_auc(pooled), best], axis=1)


def loop(weights, histograms, scores):
    rows = []
    for row in weights:
        drawn = np.repeat(np.arange(len(row)), row)
        some = histograms[drawn]
        pooled = some.sum(axis=0)
        rows.append([scores[drawn].mean(), dice(confusion(pooled, CUT)), roc_auc(pooled), max_f(some, BETA2_SALIENT)])
    return np.array(rows, dtype=np.float64)


def timed(function, *arguments):
    started = time.process_time()
    found = function(*arguments)
    return found, time.process_time() - started


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[20, 600, 5000])
    parser.add_argument("--loop", type=int, default=20, help="resamples that the loop puts together (20)")
    arguments = parser.parse_args()
    print(f"{'images':>8}{'vectorized':>14}{'loop':>12}{'ratio':>9}{'all intervals':>16}")
    for images in arguments.images:
        histograms = draw(images)
        scores = dice(confusion(histograms, CUT))
        weights = resampling_weights(images)
        ours, ours_s = timed(vectorized, weights, histograms, scores)
        theirs, theirs_s = timed(loop, weights[: arguments.loop], histograms, scores)
        np.testing.assert_allclose(ours[: arguments.loop], theirs, atol=1e-9)
        theirs_s *= RESAMPLES / arguments.loop
        _, all_s = timed(two_class_intervals, weights, histograms, dict.fromkeys(MACRO, scores), CUT, "one")
        print(f"{images:8}{ours_s:12.2f} s{theirs_s:10.1f} s{theirs_s / ours_s:8.1f}x{all_s:14.2f} s", flush=True)


if __name__ == "__main__":
    main()
