"""Compare images with those that a network was trained on, and summarize the differences."""

from collections.abc import Iterator

import numpy as np

from pipeline.core.errors import plural
from pipeline.prediction.normalized import NormalizedImage
from pipeline.raw.recipes import NormalizeMethod
from pipeline.raw.value_range import ImageValues, image_values, narrow_range, narrow_range_warning, unlike

_EXAMPLES = 3


class Comparison:
    """Finds images that are not like the training images, or that their normalization makes almost constant.

    Parameters
    ----------
    method : {'minmax', 'unit', 'symmetric', 'standard'}
    trained : ImageValues, optional
        Of the training images.
    """

    def __init__(self, method: NormalizeMethod, trained: ImageValues | None) -> None:
        self._method, self._trained = method, trained
        self._narrow: dict[str, str] = {}
        self._unlike: dict[str, dict[str, str]] = {}  # by what the training images are like

    def add(self, image: NormalizedImage) -> None:
        """Compare an image; one cause is recorded. Threads may call this at the same time."""
        pixels = np.moveaxis(image.stored, 0, -1)
        narrow = narrow_range(pixels, self._method)
        different = None
        if self._trained is not None and not (narrow and self._method == "minmax"):
            different = unlike(image_values(pixels, image.scale, image.offset, self._method), self._trained)
        if different is not None:
            found, _, expected = different.partition("; ")
            self._unlike.setdefault(expected, {})[image.name] = found
        elif narrow is not None:
            self._narrow[image.name] = narrow

    def warnings(self, image_count: int) -> Iterator[str]:
        """Yield one line for each cause, given the number of compared images."""
        for expected, found in sorted(self._unlike.items()):
            examples = "; ".join(f"{name}: {text}" for name, text in sorted(found.items())[:_EXAMPLES])
            more = "; ..." if len(found) > _EXAMPLES else ""
            images = f"{len(found)} of {plural(image_count, 'image')}"
            yield f"{images} not like the training images, their predictions may be wrong: {examples}{more}; {expected}"
        warning = narrow_range_warning(dict(sorted(self._narrow.items())), image_count, self._method)
        if warning is not None:
            found_images, expected, remedy = warning
            yield f"{found_images}; expected {expected}; {remedy}"


def unlike_extremes(values: ImageValues, trained: ImageValues) -> str | None:
    """Return why the darkest or the brightest of several images is not like the training images, or None."""
    for end in (0, 1):
        extremes = {
            name: (pair[end], pair[end])
            for name in ("unused_bits", "means", "spreads")
            if (pair := getattr(values, name)) is not None
        }
        mean = extremes["means"][0] if "means" in extremes else values.mean
        if different := unlike(values.changed(**extremes, mean=mean), trained):
            return different
    return None
