"""Bootstrap intervals of a summary: products with a matrix of weights, and a loop over resamples.

Both compute the 2,000 resampled values of macro F1, micro F1, micro ROC AUC and maxF (beta^2 0.3, of mean precision
and mean recall) from the same random histograms and scores. The loop builds 20 resamples and scores each with the
functions that score a split; its time is scaled to 2,000. The results are compared first. One thread; processor time.
`all intervals` are those of the two rows of a summary.
"""

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

from benchmarks.context import Context
from benchmarks.measure import Case, Variant

THRESHOLD_LEVEL = 127
IN_LOOP = 20


def vectorized(weights: Any, histograms: Any, scores: Any) -> Any:
    """Return the values of all resamples."""
    import numpy as np

    from pipeline.core.counts import confusion, dice
    from pipeline.evaluation.bootstrap import resampled_means
    from pipeline.evaluation.curves import roc_auc
    from pipeline.evaluation.intervals import resampled_histograms
    from pipeline.evaluation.scores import BETA2_SALIENT, f_beta

    pooled, means = resampled_histograms(weights, histograms)
    max_f_values = f_beta(means["precision"], means["recall"], BETA2_SALIENT).max(axis=-1)
    macro = resampled_means(weights, scores[:, None])[:, 0]
    return np.stack([macro, dice(confusion(pooled, THRESHOLD_LEVEL)), roc_auc(pooled), max_f_values], axis=1)


def loop(weights: Any, histograms: Any, scores: Any) -> Any:
    """Return the values of the first resamples."""
    import numpy as np

    from pipeline.core.counts import confusion, dice, max_f
    from pipeline.evaluation.curves import roc_auc
    from pipeline.evaluation.scores import BETA2_SALIENT

    rows = []
    for row in weights[:IN_LOOP]:
        indices = np.repeat(np.arange(len(row)), row)
        resample = histograms[indices]
        pooled = resample.sum(axis=0)
        values = [scores[indices].mean(), dice(confusion(pooled, THRESHOLD_LEVEL)), roc_auc(pooled)]
        rows.append([*values, max_f(resample, BETA2_SALIENT)])
    return np.array(rows, dtype=np.float64)


class Intervals:
    """All ways; a worker."""

    def prepare(self, images: int) -> None:
        import numpy as np

        from pipeline.core.counts import confusion, dice
        from pipeline.evaluation.bootstrap import resampling_weights

        rng = np.random.default_rng(0)
        slopes = np.stack([np.linspace(3, 0.2, 256), np.linspace(0.2, 1, 256)])
        histograms = rng.poisson(200 * slopes * rng.uniform(0.5, 2, (images, 2, 1))).astype(np.int64)
        scores = dice(confusion(histograms, THRESHOLD_LEVEL))
        self.arguments = (resampling_weights(images), histograms, scores)
        np.testing.assert_allclose(vectorized(*self.arguments)[:IN_LOOP], loop(*self.arguments), atol=1e-9)

    def measure(self, way: str) -> dict[str, float]:
        from pipeline.evaluation.bootstrap import RESAMPLES
        from pipeline.evaluation.intervals import two_class_intervals
        from pipeline.evaluation.metrics import METRICS

        weights, histograms, scores = self.arguments
        started = time.process_time()
        if way == "loop over resamples":
            loop(weights, histograms, scores)
        elif way == "ours":
            vectorized(weights, histograms, scores)
        else:
            macro = [name for name, metric in METRICS.items() if metric.input != "counts" or metric.reported]
            two_class_intervals(weights, histograms, histograms, dict.fromkeys(macro, scores), THRESHOLD_LEVEL, "one")
        seconds = time.process_time() - started
        return {"": seconds * (RESAMPLES / IN_LOOP if way == "loop over resamples" else 1)}


def cases(context: Context) -> Iterator[Case]:
    """Yield a case for each number of images."""
    for images in (20,) if context.quick else (20, 600):
        worker = context.start("benchmarks.bootstrap:Intervals", {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})
        worker.call("prepare", images=images)
        ways = ("loop over resamples", "ours", "ours, all intervals")
        yield Case(
            f"{images} images", {"": "s"}, [Variant(way, partial(worker.call, "measure", way=way)) for way in ways]
        )
        context.close()
