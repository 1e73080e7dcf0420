"""Score 512x512 predictions: this pipeline's way beside that of the salient-object tutorial and a loop over thresholds.

    python benchmarks/evaluate.py [--rounds 25] [--size 512]

All get the same eight images, decoded, and give their mean absolute error and maxF (beta^2 0.3, of mean precision and
mean recall) over 256 levels; that they agree is checked before anything is timed. They take turns, in one thread; the
median and the least processor time for all images, divided by their number, are printed. On a machine that does
something else as well, the least times are what to compare.

ours: what `python -m pipeline evaluate` does: one joint histogram of levels and mask for each image, and all the rest
from its sums.

tutorial: written afresh after the evaluation that the U2-Net tutorial reports: float tensors, the error as a mean of
differences, two histograms with torch (all predicted pixels, and the right ones among them), cumulative sums.

loop: written afresh after what evaluation code for salient objects commonly does: for each of 256 thresholds a binary
map as a float tensor, its product with the mask, and three sums.

tight loop: the fastest loop over thresholds that we know: Boolean NumPy arrays, `np.count_nonzero`, nothing computed
twice. Nobody has to write it, and it says how much of the gain is the histogram's.
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


def draw(size, images=8):
    """Draw masks of blobs, and noisy guesses at them as grey levels."""
    rng = np.random.default_rng(0)
    pairs = []
    for _ in range(images):
        field = cv2.GaussianBlur(rng.normal(size=(size, size)), (0, 0), size / 24)
        field /= field.std()
        mask = (field > 0.7).astype(np.uint8)
        noise = cv2.GaussianBlur(rng.normal(size=(size, size)), (0, 0), 2) * 60
        pairs.append((np.clip(128 + 70 * (field - 0.7) + noise, 0, 255).astype(np.uint8), mask))
    return pairs


def ours(pairs):
    histograms = np.stack([joint_histogram(levels, mask) for levels, mask in pairs])
    return float(absolute_error(histograms).mean()), max_f(histograms, BETA2_SALIENT)


def best(precisions, recalls):
    """Return the highest F of the mean curves."""
    return float(f_beta(np.mean(precisions, axis=0), np.mean(recalls, axis=0), BETA2_SALIENT).max())


def tutorial(pairs):
    errors, precisions, recalls = [], [], []
    for prediction, truth in pairs:
        errors.append(float(torch.abs(prediction - truth).mean()))
        chosen = prediction[truth > 0.5]
        all_of = torch.histc(prediction, bins=LEVELS, min=0.0, max=1.0)
        hits = torch.histc(chosen, bins=LEVELS, min=0.0, max=1.0)
        right, called = hits.flip(0).cumsum(0).double(), all_of.flip(0).cumsum(0).double()
        precisions.append((right / called.clamp(min=1)).numpy())
        recalls.append((right / max(len(chosen), 1)).numpy())
    return sum(errors) / len(errors), best(precisions, recalls)


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
    return sum(errors) / len(errors), best(precisions, recalls)


def tight_loop(pairs):
    errors, precisions, recalls = [], [], []
    for prediction, truth in pairs:
        errors.append(np.abs(prediction - truth).mean())
        true = truth > 0.5
        positives = max(np.count_nonzero(true), 1)
        precision, recall = np.zeros(LEVELS), np.zeros(LEVELS)
        for level in range(LEVELS):
            predicted = prediction > (level - 0.5) / (LEVELS - 1)
            hits = np.count_nonzero(predicted & true)
            precision[level] = hits / max(np.count_nonzero(predicted), 1)
            recall[level] = hits / positives
        precisions.append(precision)
        recalls.append(recall)
    return float(np.mean(errors)), best(precisions, recalls)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--size", type=int, default=512)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    levels = draw(arguments.size)
    floats = [(one.astype(np.float32) / np.float32(255), mask.astype(np.float32)) for one, mask in levels]
    tensors = [(torch.from_numpy(one), torch.from_numpy(mask)) for one, mask in floats]
    ways = {
        "ours": (ours, levels),
        "tutorial": (tutorial, tensors),
        "loop": (loop, tensors),
        "tight loop": (tight_loop, floats),
    }
    scores = {name: way(pairs) for name, (way, pairs) in ways.items()}
    for name, found in scores.items():
        np.testing.assert_allclose(found, scores["ours"], atol=1e-4, err_msg=name)
    print(f"mean absolute error {scores['ours'][0]:.4f}, maxF {scores['ours'][1]:.4f}: all agree")
    seconds = {name: [] for name in ways}
    for _ in range(arguments.rounds):
        for name, (way, pairs) in ways.items():
            started = time.process_time()
            way(pairs)
            seconds[name].append((time.process_time() - started) / len(pairs))
    size, rounds = arguments.size, arguments.rounds
    print(f"{size}x{size}, {rounds} rounds, milliseconds of processor time for each image")
    print(f"{'':12}{'median':>10}{'ratio':>9}{'least':>10}{'ratio':>9}")
    for name, times in seconds.items():
        cells = [
            f"{1000 * some(times):10.3f}{some(times) / some(seconds['ours']):8.1f}x"
            for some in (statistics.median, min)
        ]
        print(f"{name:12}{''.join(cells)}")


if __name__ == "__main__":
    main()
