"""The table of what mistakes change: each row against its definition, computed pixel by pixel."""

import numpy as np
import pytest

from benchmarks.ablation import mistakes_of_a, mistakes_of_e

IMAGES, PIXELS = 5, 400


def pixels(experiment, split):
    """Return levels and masks of N images, (N, pixels) each; the first half of the pixels is the field of view."""
    rng = np.random.default_rng(sum(map(ord, experiment + split)))
    masks = rng.random((IMAGES, PIXELS)) < 0.3
    levels = np.clip(rng.normal(90 + 60 * masks, 40), 0, 255).astype(int)
    return levels, masks


def read(experiment, split):
    levels, masks = pixels(experiment, split)

    def histograms(part):
        return np.stack(
            [
                np.stack([np.bincount(level[mask == value], minlength=256) for value in (False, True)])
                for level, mask in zip(levels[:, part], masks[:, part], strict=True)
            ]
        )

    return {"fov": histograms(slice(PIXELS // 2)), "full": histograms(slice(None))}


def dice(predicted, masks):
    return 2 * (predicted & masks).sum(-1) / (predicted.sum(-1) + masks.sum(-1))


def inside(experiment, split):
    return [values[:, : PIXELS // 2] for values in pixels(experiment, split)]


def best_level(levels, masks):
    scores = [dice((levels > level).ravel(), masks.ravel()) for level in range(255)]
    return int(np.argmax(scores))


def at_best_of(scored, chosen):
    levels, masks = scored
    return dice(levels > best_level(*chosen), masks).mean()


def test_rows_of_a_choose_thresholds_where_they_say():
    test, validation = inside("a-drive", "test"), inside("a-drive", "validation")
    selected = [inside("a-drive-selected-on-test", split) for split in ("validation", "test")]
    interpolated = [inside("a-drive-interpolated", split) for split in ("test", "validation")]
    rows = [mistake.row() for mistake in mistakes_of_a(read)]
    expected = {
        "labels interpolated": at_best_of(*interpolated),
        "threshold 0.5, not chosen": dice(test[0] > 127, test[1]).mean(),
        "threshold chosen on test images": at_best_of(test, test),
        "epoch chosen on test images": at_best_of(*selected),
        "epoch and threshold chosen on test images": at_best_of(selected[0], selected[0]),
    }
    for row in rows[:5]:
        assert row["mended"] == pytest.approx(at_best_of(test, validation))
        assert row["with_mistake"] == pytest.approx(expected.pop(row["mistake"]))
        assert row["difference"] == pytest.approx(row["with_mistake"] - row["mended"], abs=1e-6)
        assert row["low"] <= row["difference"] <= row["high"]
        assert row["images"] == IMAGES
    assert not expected
    levels, masks = pixels("a-drive", "test")
    level = best_level(*validation)
    f1, accuracy = rows[5:]
    assert (f1["metric"], accuracy["metric"]) == ("f1", "accuracy")
    assert f1["with_mistake"] == pytest.approx(dice(levels > level, masks).mean())
    assert accuracy["with_mistake"] == pytest.approx(((levels > level) == masks).mean())


def competition_score(predicted, masks):
    union = (predicted | masks).sum(-1)
    iou = (predicted & masks).sum(-1) / np.maximum(union, 1)
    return (iou[:, None] > np.arange(0.5, 1, 0.05)).mean(1)


def test_rows_of_e_choose_thresholds_where_they_say():
    test, validation = pixels("e-tgs", "test"), pixels("e-tgs", "validation")
    interpolated, fixed, leaked = (mistake.row() for mistake in mistakes_of_e(read))
    at_half = competition_score(test[0] > 127, test[1]).mean()
    assert interpolated["mended"] == fixed["with_mistake"] == pytest.approx(at_half)
    levels, masks = pixels("e-tgs-interpolated", "test")
    assert interpolated["with_mistake"] == pytest.approx(competition_score(levels > 127, masks).mean())
    on_validation = [competition_score(validation[0] > level, validation[1]).mean() for level in range(255)]
    best = np.flatnonzero(np.isclose(on_validation, max(on_validation)))
    chosen = competition_score(test[0] > best[len(best) // 2], test[1]).mean()
    assert fixed["mended"] == leaked["mended"] == pytest.approx(chosen)
    on_test = [competition_score(test[0] > level, test[1]).mean() for level in range(255)]
    assert leaked["with_mistake"] == pytest.approx(max(on_test))
