"""Score 512x512 predictions: this pipeline compared with the salient-object tutorial and a loop over thresholds.

    python benchmarks/evaluate.py [--rounds 25] [--size 512]

All methods compute mean absolute error and maxF (beta^2 0.3, of mean precision and mean recall) over 256 levels from
the same eight decoded images. Their results are compared before the timing. They run alternately, in one thread; the
median and the minimum CPU time per image are printed. On a busy machine, compare the minimum.

pipeline: the method of `python -m pipeline evaluate`: one joint histogram of levels and mask for each image, from whose
sums all scores are computed.

tutorial: reimplements the evaluation of the U2-Net tutorial: float tensors, the error as a mean of differences, two
histograms with torch (of all pixels, and of the foreground pixels of the mask), cumulative sums.

loop: reimplements common evaluation code for salient objects: for each of 256 thresholds a binary map as a float
tensor, its product with the mask, and three sums.

tight loop: the fastest known loop over thresholds: Boolean NumPy arrays, `np.count_nonzero`, nothing computed twice. It
shows how much of the gain is due to the histogram.
"""

import argparse
import statistics
import time

import cv2
import numpy as np
import torch

from pipeline.core.counts import absolute_error, joint_histogram, max_f
from pipeline.evaluation.scores import BETA2_SALIENT, f_beta

LEVELS = 256


def synthetic_pairs(size, images=8):
    """Return synthetic masks of blobs, and noisy predictions of them as levels."""
    rng = np.random.default_rng(0)
    pairs = []
    for _ in range(images):
        field = cv2.GaussianBlur(rng.normal(size=(size, size)), (0, 0), size / 24)
        field /= field.std()
        mask = (field > 0.7).astype(np.uint8)
        noise = cv2.GaussianBlur(rng.normal(size=(size, size)), (0, 0), 2) * 60
        pairs.append((np.clip(128 + 70 * (field - 0.7) + noise, 0, 255).astype(np.uint8), mask))
    return pairs


def pipeline(pairs):
    histograms = np.stack([joint_histogram(levels, mask) for levels, mask in pairs])
    return float(absolute_error(histograms).mean()), max_f(histograms, BETA2_SALIENT)


def max_f_of_means(precisions, recalls):
    """Return the maximum F-measure of the mean curves."""
    return float(f_beta(np.mean(precisions, axis=0), np.mean(recalls, axis=0), BETA2_SALIENT).max())


def tutorial(pairs):
    errors, precisions, recalls = [], [], []
    for prediction, truth in pairs:
        errors.append(float(torch.abs(prediction - truth).mean()))
        foreground = prediction[truth > 0.5]
        all_pixels = torch.histc(prediction, bins=LEVELS, min=0.0, max=1.0)
        hits = torch.histc(foreground, bins=LEVELS, min=0.0, max=1.0)
        tp, predicted = hits.flip(0).cumsum(0).double(), all_pixels.flip(0).cumsum(0).double()
        precisions.append((tp / predicted.clamp(min=1)).numpy())
        recalls.append((tp / max(len(foreground), 1)).numpy())
    return sum(errors) / len(errors), max_f_of_means(precisions, recalls)


def loop(pairs):
    errors, precisions, recalls = [], [], []
    for prediction, truth in pairs:
        errors.append(float(torch.abs(prediction - truth).mean()))
        precision, recall = np.zeros(LEVELS), np.zeros(LEVELS)
        for level in range(LEVELS):
            predicted = (prediction > (level - 0.5) / (LEVELS - 1)).float()
            hits = (predicted * truth).sum()
            precision[level] = hits / (predicted.sum() + 1e-20)
            recall[level] = hits / (truth.sum() + 1e-20)
        precisions.append(precision)
        recalls.append(recall)
    return sum(errors) / len(errors), max_f_of_means(precisions, recalls)


def tight_loop(pairs):
    errors, precisions, recalls = [], [], []
    for prediction, truth in pairs:
        errors.append(np.abs(prediction - truth).mean())
        mask = truth > 0.5
        positives = max(np.count_nonzero(mask), 1)
        precision, recall = np.zeros(LEVELS), np.zeros(LEVELS)
        for level in range(LEVELS):
            predicted = prediction > (level - 0.5) / (LEVELS - 1)
            hits = np.count_nonzero(predicted & mask)
            precision[level] = hits / max(np.count_nonzero(predicted), 1)
            recall[level] = hits / positives
        precisions.append(precision)
        recalls.append(recall)
    return float(np.mean(errors)), max_f_of_means(precisions, recalls)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--size", type=int, default=512)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    levels = synthetic_pairs(arguments.size)
    floats = [(prediction.astype(np.float32) / np.float32(255), mask.astype(np.float32)) for prediction, mask in levels]
    tensors = [(torch.from_numpy(prediction), torch.from_numpy(mask)) for prediction, mask in floats]
    methods = {
        "pipeline": (pipeline, levels),
        "tutorial": (tutorial, tensors),
        "loop": (loop, tensors),
        "tight loop": (tight_loop, floats),
    }
    scores = {name: method(pairs) for name, (method, pairs) in methods.items()}
    for name, values in scores.items():
        np.testing.assert_allclose(values, scores["pipeline"], atol=1e-4, err_msg=name)
    print(f"mean absolute error {scores['pipeline'][0]:.4f}, maxF {scores['pipeline'][1]:.4f}: all agree")
    seconds = {name: [] for name in methods}
    for _ in range(arguments.rounds):
        for name, (method, pairs) in methods.items():
            start = time.process_time()
            method(pairs)
            seconds[name].append((time.process_time() - start) / len(pairs))
    size, rounds = arguments.size, arguments.rounds
    print(f"{size}x{size}, {rounds} rounds, milliseconds of CPU time per image")
    print(f"{'':12}{'median':>10}{'ratio':>9}{'minimum':>10}{'ratio':>9}")
    for name, times in seconds.items():
        cells = [
            f"{1000 * statistic(times):10.3f}{statistic(times) / statistic(seconds['pipeline']):8.1f}x"
            for statistic in (statistics.median, min)
        ]
        print(f"{name:12}{''.join(cells)}")


if __name__ == "__main__":
    main()
