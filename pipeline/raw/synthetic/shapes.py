"""Draw circles, triangles and squares on plain grounds, in the formats of the Shapes data."""

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.images.png import write_png
from pipeline.raw.synthetic.drawing import Field, Plane, blend, clouds, distinct_colour, fill_outline, write_jpeg

SIDE = 128
_SIZE = (SIDE, SIDE)
_IDS = {"train": (*range(360), *range(800, 860)), "test": tuple(range(900, 960))}  # 800-859 are for validation
_CORNERS = {1: 64, 2: 3, 3: 4}  # class index to corners of the outline: circle, triangle, square
_RADIUS = (13.0, 27.0)  # of the circle with a shape's area, in pixels
_TILT = 0.25  # radians that a shape may lean to either side
_STAYS = 0.7  # share of a shape that later ones leave in sight
_QUALITY = 92


def draw_shapes(root: Path) -> None:
    """Write ``train_imgs`` and ``train_mask`` (420 images), ``test_imgs`` and ``test_mask`` (60) below `root`."""
    for half, numbers in _IDS.items():
        images, masks = root / f"{half}_imgs", root / f"{half}_mask"
        images.mkdir(parents=True)
        masks.mkdir()
        for number in numbers:
            rng = np.random.default_rng([22, number])
            image, mask = _scene(rng)
            write_jpeg(images / f"{number}.jpg", image, blur=rng.uniform(0.3, 0.8), quality=_QUALITY)
            write_png(masks / f"{number}.png", mask)


def _scene(rng: np.random.Generator) -> tuple[Field, Plane]:
    """Draw one image and its mask of class indices; a shape covers those drawn before it in both."""
    image = _ground(rng)
    texture = clouds(rng, _SIZE, rng.uniform(5, 24), octaves=3)
    mask = np.zeros(_SIZE, dtype=np.uint8)
    in_sight: list[tuple[NDArray[np.bool_], int]] = []  # what is left of each shape, and its whole area
    colours: list[Field] = []
    for _ in range(rng.integers(1, 5)):
        kind = int(rng.integers(1, 4))
        cover = _place(rng, _CORNERS[kind], in_sight)
        if cover is None:
            continue
        inside = cover > 127
        beneath = image[:, inside].mean(axis=1)[:, None, None]
        colours.append(distinct_colour(rng, [*colours, beneath], candidates=6))
        shade = rng.uniform(0, 40) * _slope(rng.uniform(0, 2 * np.pi)) + rng.uniform(0, 6) * texture
        image = blend(image, colours[-1] + shade, cover.astype(np.float32) * np.float32(1 / 255))
        mask[inside] = kind
        in_sight = [(left & ~inside, area) for left, area in in_sight]
        in_sight.append((inside, int(inside.sum())))
    grain = rng.standard_normal(image.shape, dtype=np.float32) * np.float32(rng.uniform(2, 6))
    return image + grain, mask


def _place(rng: np.random.Generator, corners: int, in_sight: list[tuple[NDArray[np.bool_], int]]) -> Plane | None:
    """Find a place where a regular shape leaves enough of the others in sight; None where there is none."""
    for _ in range(20):
        # a triangle stands on a side and so does a square
        angle = np.pi / corners + np.pi / 2 + rng.uniform(-_TILT, _TILT)
        radius = rng.uniform(*_RADIUS)
        # the corners lie so far out that every kind has the area of the circle: size says nothing about the class
        reach = radius * math.sqrt(2 * math.pi / (corners * math.sin(2 * math.pi / corners)))
        centre = rng.uniform(0.85 * reach, SIDE - 1 - 0.85 * reach, 2)
        angles = angle + np.arange(corners) * 2 * np.pi / corners
        cover = fill_outline(_SIZE, centre + reach * np.stack([np.cos(angles), np.sin(angles)], axis=1))
        if all(np.count_nonzero(left & (cover < 128)) >= _STAYS * area for left, area in in_sight):
            return cover
    return None


def _slope(angle: float) -> Field:
    """Return a plane that rises by 1 over the image's side, in the direction `angle` (radians)."""
    steps = np.arange(SIDE, dtype=np.float32) / SIDE - np.float32(0.5)
    return np.asarray(steps * np.float32(np.cos(angle)) + steps[:, None] * np.float32(np.sin(angle)), dtype=np.float32)


def _ground(rng: np.random.Generator) -> Field:
    """Mix two close colours by a gradient or by clouds, with fine texture over it."""
    first, other = rng.uniform(25, 230, (2, 3, 1, 1)).astype(np.float32)
    second = first + (other - first) * np.float32(rng.uniform(0.1, 0.4))
    if rng.random() < 0.5:
        share = 0.5 + _slope(rng.uniform(0, 2 * np.pi))
    else:
        share = 0.5 + 0.3 * clouds(rng, _SIZE, rng.uniform(32, 64))
    return blend(first, second, np.clip(share, 0, 1)) + rng.uniform(1, 5) * clouds(
        rng, _SIZE, rng.uniform(4, 12), octaves=2
    )
