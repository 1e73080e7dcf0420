"""Evaluation: mean absolute error and maxF (beta^2 0.3, of mean precision and mean recall) over 256 levels.

All ways score the same eight images of 512 x 512 pixels in one thread; their results are compared first. Processor
time.

documents: the evaluation of the U2-Net tutorial (D): float tensors, the error as a mean of differences, two
histograms with torch (of all pixels, and of the foreground pixels of the mask), cumulative sums. loop: common
evaluation code for salient objects: for each of 256 thresholds a binary map as a float tensor, its product with the
mask, and three sums. tight loop: the fastest known loop over thresholds: Boolean NumPy arrays, nothing computed
twice. ours: one joint histogram of levels and mask for each image, from whose sums all scores are computed.
"""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from benchmarks.context import Context
from benchmarks.measure import Case, Variant

LEVELS = 256
WAYS = ("documents", "loop", "tight loop", "ours")
Pairs = list[tuple[Any, Any]]


def synthetic_pairs(size: int, images: int = 8) -> Pairs:
    """Return noisy predictions, as levels, of masks of blobs."""
    import cv2
    import numpy as np

    rng = np.random.default_rng(0)
    pairs = []
    for _ in range(images):
        field = cv2.GaussianBlur(rng.normal(size=(size, size)), (0, 0), size / 24)
        field = field / field.std()
        noise = cv2.GaussianBlur(rng.normal(size=(size, size)), (0, 0), 2) * 60
        levels = np.clip(128 + 70 * (field - 0.7) + noise, 0, 255).astype(np.uint8)
        pairs.append((levels, (field > 0.7).astype(np.uint8)))
    return pairs


def ours(pairs: Pairs) -> tuple[float, float]:
    import numpy as np

    from pipeline.core.counts import absolute_error, joint_histogram, max_f

    histograms = np.stack([joint_histogram(levels, mask) for levels, mask in pairs])
    return float(absolute_error(histograms).mean()), max_f(histograms, 0.3)


def max_f_of_means(precisions: list[Any], recalls: list[Any]) -> float:
    """Return the maximum F-measure of the mean curves."""
    import numpy as np

    precision, recall = np.mean(precisions, axis=0), np.mean(recalls, axis=0)
    return float((1.3 * precision * recall / np.maximum(0.3 * precision + recall, 1e-20)).max())


def documents(pairs: Pairs) -> tuple[float, float]:
    import torch

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


def loop(pairs: Pairs) -> tuple[float, float]:
    import numpy as np
    import torch

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


def tight_loop(pairs: Pairs) -> tuple[float, float]:
    import numpy as np

    errors, precisions, recalls = [], [], []
    for prediction, truth in pairs:
        errors.append(np.abs(prediction - truth).mean())
        mask = truth > 0.5
        positives = max(int(np.count_nonzero(mask)), 1)
        precision, recall = np.zeros(LEVELS), np.zeros(LEVELS)
        for level in range(LEVELS):
            predicted = prediction > (level - 0.5) / (LEVELS - 1)
            hits = int(np.count_nonzero(predicted & mask))
            precision[level] = hits / max(int(np.count_nonzero(predicted)), 1)
            recall[level] = hits / positives
        precisions.append(precision)
        recalls.append(recall)
    return float(np.mean(errors)), max_f_of_means(precisions, recalls)


class Scores:
    """All ways, in one process and one thread; a worker."""

    def prepare(self, size: int) -> None:
        import cv2
        import numpy as np
        import torch

        torch.set_num_threads(1)
        cv2.setNumThreads(1)
        levels = synthetic_pairs(size)
        floats = [(values.astype(np.float32) / np.float32(255), mask.astype(np.float32)) for values, mask in levels]
        tensors = [(torch.from_numpy(values), torch.from_numpy(mask)) for values, mask in floats]
        functions: list[tuple[Callable[[Pairs], tuple[float, float]], Pairs]]
        functions = [(documents, tensors), (loop, tensors), (tight_loop, floats), (ours, levels)]
        self.ways = dict(zip(WAYS, functions, strict=True))
        expected = ours(levels)
        for name, (function, pairs) in self.ways.items():
            np.testing.assert_allclose(function(pairs), expected, atol=1e-4, err_msg=name)

    def measure(self, way: str) -> dict[str, float]:
        function, pairs = self.ways[way]
        calls, started = 0, time.process_time()
        while time.process_time() - started < 0.1 or not calls:
            function(pairs)
            calls += 1
        return {"": (time.process_time() - started) / len(pairs) / calls * 1000}


def cases(context: Context) -> Iterator[Case]:
    """Yield one case."""
    worker = context.start("benchmarks.evaluation:Scores", {"OMP_NUM_THREADS": "1"})
    size = 128 if context.quick else 512
    worker.call("prepare", size=size)
    variants = [Variant(way, partial(worker.call, "measure", way=way)) for way in WAYS]
    yield Case(f"MAE and maxF, {size} x {size}, processor time of an image", {"": "ms"}, variants)
