"""A layout for tests: `images/<id>.png`, and optionally `masks/<id>.png` and `fov/<id>.png`.

Mask values are class indices, and 255 is void. Identifiers that start with ``t`` are test samples.
"""

from typing import Literal

import cv2
import numpy as np

from pipeline.core.counts import VOID
from pipeline.images.png import write_png
from pipeline.raw.decode.labels import LabelMap, Labels
from pipeline.raw.layouts.base import Layout
from pipeline.raw.samples import Sample

CLASSES = ("background", "circle", "triangle", "square")
COLOURS = ((0, 0, 0), (128, 0, 0), (0, 128, 0), (0, 0, 128))


class Toy(Layout):
    """A layout that is not registered; pass it as an object: `source(TOY, root, test="official")`."""

    official = ("test",)
    layout: Literal["toy"] = "toy"

    def mask_labels(self):
        return Labels(CLASSES, COLOURS, LabelMap({**{index: index for index in range(4)}, VOID: VOID}))

    def find_samples(self, root, problems):
        def path_if_exists(folder, name):
            path = root / folder / name
            return str(path) if path.exists() else None

        return [
            Sample(
                id=path.stem,
                image=str(path),
                mask=path_if_exists("masks", path.name),
                fov=path_if_exists("fov", path.name),
                official_split="test" if path.stem.startswith("t") else "training",
            )
            for path in sorted((root / "images").iterdir())
        ]


TOY = Toy()


def toy_image(seed, height=64, width=72, void=True):
    """Return an RGB image and its mask: a circle, a triangle and a square on noise, with void borders."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((height, width), np.uint8)
    for index in rng.permutation([1, 2, 3]).tolist():
        x, y, r = int(rng.integers(12, width - 12)), int(rng.integers(12, height - 12)), min(height, width) // 6
        shape = np.zeros_like(mask)
        if index == 1:
            cv2.circle(shape, (x, y), r, 1, -1)
        elif index == 2:
            cv2.fillPoly(shape, [np.array([[x, y - r], [x - r, y + r], [x + r, y + r]])], 1)
        else:
            cv2.rectangle(shape, (x - r, y - r), (x + r, y + r), 1, -1)
        mask[shape == 1] = index
        if void:
            mask[(cv2.dilate(shape, np.ones((3, 3), np.uint8)) == 1) & (shape == 0)] = 255
    shades = np.array([60, 200, 140, 170, *([60] * 252)])[mask]
    image = shades[:, :, None] + np.array([20, 0, -20]) + rng.normal(0, 12, (height, width, 3))
    return np.clip(image, 0, 255).astype(np.uint8), mask


def add(root, name, image, mask=None, fov=None):
    for folder, pixels in (("images", image), ("masks", mask), ("fov", fov)):
        if pixels is not None:
            (root / folder).mkdir(parents=True, exist_ok=True)
            write_png(root / folder / f"{name}.png", pixels)
