"""Synthetic images of circles, triangles and squares on plain backgrounds, in the formats of Shapes."""

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.images.png import write_png
from pipeline.raw.synthetic.drawing import (
    FloatArray,
    Plane,
    blend,
    cloud_texture,
    distinct_colour,
    fill_outline,
    write_jpeg,
)

SIDE = 128
_SIZE = (SIDE, SIDE)
_NUMBERS = {"train": (*range(360), *range(800, 860)), "test": tuple(range(900, 960))}  # 800-859 are validation samples
_CORNERS = {1: 64, 2: 3, 3: 4}  # number of corners by class index: circle, triangle, square
_RADIUS = (13.0, 27.0)  # of the circle with the area of the shape, in pixels
_TILT = 0.25  # maximum rotation to either side, in radians
_MIN_VISIBLE = 0.7  # minimum fraction of a shape that stays visible behind later ones
_QUALITY = 92


def write_shapes(root: Path) -> None:
    """Write ``train_imgs`` and ``train_mask`` (420 images), ``test_imgs`` and ``test_mask`` (60) below `root`."""
    for split, numbers in _NUMBERS.items():
        images, masks = root / f"{split}_imgs", root / f"{split}_mask"
        images.mkdir(parents=True)
        masks.mkdir()
        for number in numbers:
            rng = np.random.default_rng([22, number])
            image, mask = _scene(rng)
            write_jpeg(images / f"{number}.jpg", image, blur=rng.uniform(0.3, 0.8), quality=_QUALITY)
            write_png(masks / f"{number}.png", mask)


def _scene(rng: np.random.Generator) -> tuple[FloatArray, Plane]:
    """Generate an image and its mask of class indices; later shapes cover earlier ones in both."""
    image = _background(rng)
    texture = cloud_texture(rng, _SIZE, rng.uniform(5, 24), octaves=3)
    mask = np.zeros(_SIZE, dtype=np.uint8)
    visible: list[tuple[NDArray[np.bool_], int]] = []  # visible pixels of each shape, and its area in pixels
    colours: list[FloatArray] = []
    for _ in range(rng.integers(1, 5)):
        kind = int(rng.integers(1, 4))
        coverage = _place_shape(rng, _CORNERS[kind], visible)
        if coverage is None:
            continue
        inside = coverage > 127
        covered_colour = image[:, inside].mean(axis=1)[:, None, None]
        colours.append(distinct_colour(rng, [*colours, covered_colour], candidates=6))
        shade = rng.uniform(0, 40) * _slope(rng.uniform(0, 2 * np.pi)) + rng.uniform(0, 6) * texture
        image = blend(image, colours[-1] + shade, coverage.astype(np.float32) * np.float32(1 / 255))
        mask[inside] = kind
        visible = [(visible_pixels & ~inside, area) for visible_pixels, area in visible]
        visible.append((inside, int(inside.sum())))
    grain = rng.standard_normal(image.shape, dtype=np.float32) * np.float32(rng.uniform(2, 6))
    return image + grain, mask


def _place_shape(rng: np.random.Generator, corners: int, visible: list[tuple[NDArray[np.bool_], int]]) -> Plane | None:
    """Place a regular polygon so that enough of the other shapes stays visible; None after 20 attempts."""
    for _ in range(20):
        # triangles and squares stand on a side
        angle = np.pi / corners + np.pi / 2 + rng.uniform(-_TILT, _TILT)
        radius = rng.uniform(*_RADIUS)
        # all kinds have the area of the circle, so that the size does not reveal the class
        reach = radius * math.sqrt(2 * math.pi / (corners * math.sin(2 * math.pi / corners)))
        centre = rng.uniform(0.85 * reach, SIDE - 1 - 0.85 * reach, 2)
        angles = angle + np.arange(corners) * 2 * np.pi / corners
        coverage = fill_outline(_SIZE, centre + reach * np.stack([np.cos(angles), np.sin(angles)], axis=1))
        if all(
            np.count_nonzero(visible_pixels & (coverage < 128)) >= _MIN_VISIBLE * area
            for visible_pixels, area in visible
        ):
            return coverage
    return None


def _slope(angle: float) -> FloatArray:
    """Return a linear gradient that rises by 1 over the image side, in direction `angle` (radians)."""
    steps = np.arange(SIDE, dtype=np.float32) / SIDE - np.float32(0.5)
    return np.asarray(steps * np.float32(np.cos(angle)) + steps[:, None] * np.float32(np.sin(angle)), dtype=np.float32)


def _background(rng: np.random.Generator) -> FloatArray:
    """Mix two similar colours by a gradient or a cloud texture, and add fine texture."""
    first, contrast = rng.uniform(25, 230, (2, 3, 1, 1)).astype(np.float32)
    second = first + (contrast - first) * np.float32(rng.uniform(0.1, 0.4))
    if rng.random() < 0.5:
        opacity = 0.5 + _slope(rng.uniform(0, 2 * np.pi))
    else:
        opacity = 0.5 + 0.3 * cloud_texture(rng, _SIZE, rng.uniform(32, 64))
    return blend(first, second, np.clip(opacity, 0, 1)) + rng.uniform(1, 5) * cloud_texture(
        rng, _SIZE, rng.uniform(4, 12), octaves=2
    )
