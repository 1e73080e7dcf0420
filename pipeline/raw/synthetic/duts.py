"""Synthetic scenes with one or two salient objects, in the formats of DUTS."""

import string
from pathlib import Path

import cv2
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

_FOLDERS = {"DUTS-TR": 96, "DUTS-TE": 24}
_SIZES = ((300, 400), (267, 400), (266, 400), (320, 400), (225, 400), (400, 300), (400, 280), (400, 267), (375, 300))
_PALETTES = (  # RGB: three colours that occur together in nature
    ((62, 84, 34), (112, 132, 56), (168, 170, 104)),  # grass
    ((36, 52, 34), (70, 84, 52), (122, 124, 84)),  # woods
    ((150, 124, 92), (186, 164, 128), (214, 200, 172)),  # sand
    ((84, 78, 72), (128, 122, 114), (172, 168, 160)),  # stone
    ((40, 74, 92), (72, 112, 128), (134, 164, 172)),  # water
    ((74, 48, 34), (116, 78, 52), (160, 122, 86)),  # wood
    ((188, 192, 196), (214, 216, 218), (236, 236, 234)),  # snow
)
_SKIES = (
    ((86, 130, 186), (144, 178, 212), (214, 224, 232)),
    ((138, 148, 160), (174, 180, 186), (210, 212, 212)),
    ((96, 84, 120), (196, 138, 112), (236, 196, 140)),
)
_QUALITY = 84
_HARD_MASK_FRACTION = 0.25  # fraction of masks without soft edges

Points = NDArray[np.float64]
Triple = tuple[tuple[int, int, int], ...]


def write_duts(root: Path) -> None:
    """Write ``DUTS-TR`` (96 images with masks) and ``DUTS-TE`` (24) below `root`."""
    for part, (folder, count) in enumerate(_FOLDERS.items()):
        images, masks = root / folder / f"{folder}-Image", root / folder / f"{folder}-Mask"
        images.mkdir(parents=True)
        masks.mkdir()
        for index in range(count):
            rng = np.random.default_rng([2017, part, index])
            name = _name(rng)
            image, mask = _scene(rng)
            write_jpeg(images / f"{name}.jpg", image, blur=0.6, quality=_QUALITY)
            write_png(masks / f"{name}.png", mask)


def _name(rng: np.random.Generator) -> str:
    """Sample a file name in the style of the sources of DUTS: ILSVRC 2012 and 2013, ImageNet, SUN."""
    style = rng.choice(4, p=[0.45, 0.1, 0.3, 0.15])
    if style < 2:
        return f"ILSVRC{2012 + style}_test_{rng.integers(1, 100_000):08d}"
    if style == 2:
        return f"n{rng.integers(1_400_000, 4_600_000):08d}_{rng.integers(1, 30_000)}"
    return "sun_a" + "".join(rng.choice(list(string.ascii_lowercase), 15))


def _scene(rng: np.random.Generator) -> tuple[FloatArray, Plane]:
    """Generate an image and its mask of 0 to 255."""
    shape = _SIZES[rng.integers(len(_SIZES))]
    height, width = shape
    image = _background(rng, shape)
    mask = np.zeros(shape, dtype=np.uint8)
    offset = rng.uniform(0.24, 0.3) * rng.choice([-1, 1]) if rng.random() < 0.2 else 0.0
    size = min(shape) * rng.uniform(0.16, 0.36)
    kind = rng.integers(len(_OUTLINES))
    for side in (offset, -offset) if offset else (0.0,):
        centre = np.array([width * (0.5 + side + rng.normal(0, 0.06)), height * rng.uniform(0.45, 0.6)])
        coverage = np.zeros(shape, dtype=np.uint8)
        for points in _OUTLINES[kind](rng, size * (rng.uniform(0.6, 0.8) if offset else 1.0)):
            coverage = np.maximum(coverage, fill_outline(shape, centre + points))
        image = _add_object(rng, image, coverage)
        mask = np.maximum(mask, coverage)
    image *= 1 + 0.12 * cloud_texture(rng, shape, max(shape), octaves=1)
    image += rng.standard_normal(shape, dtype=np.float32) * np.float32(rng.uniform(2, 5))
    if rng.random() < _HARD_MASK_FRACTION:
        return image, (mask > 127).astype(np.uint8) * np.uint8(255)
    return image, np.asarray(cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.6, 1.3)), dtype=np.uint8)


def _background(rng: np.random.Generator, shape: tuple[int, int]) -> FloatArray:
    """Generate a background with clutter: land under a sky, a floor and a wall, or a single surface."""
    height, width = shape
    near = _surface(rng, shape, _PALETTES[rng.integers(len(_PALETTES))], rng.uniform(20, 90), rng.uniform(0.4, 3))
    kind = rng.integers(3)
    if kind < 2:
        palette = _SKIES[rng.integers(len(_SKIES))] if kind == 0 else _PALETTES[rng.integers(len(_PALETTES))]
        far = _surface(rng, shape, palette, rng.uniform(60, 160), 2.5)
        ridge = cloud_texture(rng, (1, width), 8, octaves=1, stretch=rng.uniform(3, 12)) * (9 if kind == 0 else 0)
        rows = np.arange(height, dtype=np.float32)[:, None]
        distance = (rows - height * rng.uniform(0.2, 0.6) - ridge) / rng.uniform(1.0, 12.0)
        near = blend(far, near, 1 / (1 + np.exp(-np.clip(distance, -30, 30))))
    clutter = np.zeros(shape, dtype=np.uint8)
    for _ in range(rng.integers(2, 14)):
        spot = rng.uniform(0, 1, 2) * (width, height)
        if rng.random() < 0.5:
            points = spot + _limb(rng.uniform(0, 2 * np.pi), rng.uniform(40, 260), rng.uniform(2, 7), rng.normal(0, 1))
        else:
            points = spot + _blob(rng, rng.uniform(6, 36), 0.25)
        clutter = np.maximum(clutter, (fill_outline(shape, points) * rng.uniform(0.3, 1)).astype(np.uint8))
    veil = cv2.GaussianBlur(clutter, (0, 0), rng.uniform(0.8, 4)).astype(np.float32)
    tint = near.mean(axis=(1, 2), keepdims=True) * rng.uniform(0.35, 1.5) + rng.normal(0, 12, (3, 1, 1))
    return blend(near, tint.astype(np.float32), veil * np.float32(0.55 / 255))


def _surface(
    rng: np.random.Generator, shape: tuple[int, int], palette: Triple, cell: float, stretch: float
) -> FloatArray:
    """Mix the colours of a palette by a cloud texture, and add fine texture."""
    colours = np.array(palette) + rng.normal(0, 8, (3, 3))
    first, second, third = colours.astype(np.float32)[:, :, None, None]
    level = cloud_texture(rng, shape, cell, octaves=5, stretch=stretch)
    level *= np.float32(rng.uniform(0.3, 0.8))
    mixed = blend(blend(second, first, np.clip(-level, 0, 1)), third, np.clip(level, 0, 1))
    return mixed + np.float32(rng.uniform(0, 9)) * cloud_texture(rng, shape, 5, octaves=2, stretch=stretch)


def _add_object(rng: np.random.Generator, image: FloatArray, coverage: Plane) -> FloatArray:
    """Add an object with pattern, shading and shadow to the image."""
    shape = (image.shape[1], image.shape[2])
    covered_colour = image[:, coverage > 127].mean(axis=1)[:, None, None].astype(np.float32)
    base = distinct_colour(rng, [covered_colour], candidates=5)
    base = blend(base, base.mean(keepdims=True), rng.uniform(0, 0.6))  # reduce the saturation
    second_colour = blend(base, distinct_colour(rng, [base], candidates=2), rng.uniform(0.25, 0.8))
    shaded = image * (1 - _shadow(rng, coverage))
    body = blend(base, second_colour, _pattern(rng, shape))
    body += np.float32(rng.uniform(4, 12)) * cloud_texture(rng, shape, rng.uniform(4, 16), octaves=3)
    body *= _relief(rng, coverage)
    edge = np.asarray(cv2.GaussianBlur(coverage, (0, 0), 0.7), dtype=np.float32)
    return blend(shaded, body, edge * np.float32(1 / 255))


def _pattern(rng: np.random.Generator, shape: tuple[int, int]) -> FloatArray:
    """Sample the opacity of an object's second colour, 0 to 1: patches, spots, bands or a pale side."""
    kind = rng.integers(4)
    rough = cloud_texture(rng, shape, (70, 22, 50, 120)[kind], octaves=3)
    if kind == 2:
        angle = rng.uniform(0, np.pi)
        y, x = np.ogrid[: shape[0], : shape[1]]
        waves = (x * np.cos(angle) + y * np.sin(angle)) / rng.uniform(3, 9)
        rough = np.sin(waves.astype(np.float32) + 1.2 * rough)
    return np.asarray(1 / (1 + np.exp(-np.clip((4, 7, 5, 1.5)[kind] * (rough - rng.uniform(-0.3, 0.8)), -30, 30))))


def _relief(rng: np.random.Generator, coverage: Plane) -> FloatArray:
    """Return the brightness of an object, about 0.5 to 1.3: it is convex and lit from above."""
    height, width = coverage.shape
    small = cv2.resize(coverage, (width // 4, height // 4), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    thick = cv2.GaussianBlur(small, (0, 0), max(1.5, 0.1 * np.sqrt(small.sum())))
    down, right = np.gradient(thick)
    steep = np.hypot(down, right).max() + 1e-6
    light = 0.65 + 0.3 * thick + (0.45 * down + rng.uniform(-0.35, 0.35) * right) / steep
    return np.asarray(cv2.resize(light, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def _shadow(rng: np.random.Generator, coverage: Plane) -> FloatArray:
    """Return the darkness of an object's shadow, 0 to 0.6: the outline, sheared, flattened and blurred."""
    height, width = coverage.shape
    bottom = float(np.flatnonzero(coverage.any(axis=1))[-1])
    flat, lean = rng.uniform(0.15, 0.4), rng.uniform(-0.7, 0.7)
    matrix = np.array([[1, -lean, lean * bottom], [0, flat, (1 - flat) * bottom]], dtype=np.float64) / 4
    quarter = cv2.warpAffine(coverage, matrix, (width // 4, height // 4))
    soft = cv2.GaussianBlur(quarter, (0, 0), rng.uniform(0.8, 2.5))
    dark = cv2.resize(soft, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(dark * np.float32(rng.uniform(0.25, 0.6) / 255), dtype=np.float32)


def _blob(rng: np.random.Generator, size: float, waviness: float, *, wide: float = 1.0) -> Points:
    """Sample a smooth closed outline around (0, 0): a circle of radius `size` with random waves."""
    angles = np.linspace(0, 2 * np.pi, 180, endpoint=False)
    radius = np.ones(180)
    for waves in range(2, 7):
        radius += rng.normal(0, waviness / waves) * np.cos(waves * angles + rng.uniform(0, 2 * np.pi))
    radius = size * np.maximum(radius, 0.2)
    return np.stack([wide * radius * np.cos(angles), radius * np.sin(angles) / wide], axis=1)


def _limb(heading: float, length: float, width: float, bend: float) -> Points:
    """Return the outline of a curved strip that starts at (0, 0) and narrows to a third of its width."""
    along = np.linspace(0, 1, 24)
    headings = heading + bend * along
    line = np.cumsum(np.stack([np.cos(headings), np.sin(headings)], axis=1), axis=0) * length / 24
    across = np.stack([-np.sin(headings), np.cos(headings)], axis=1) * (width * (1 - 0.67 * along) / 2)[:, None]
    return np.concatenate([line + across, (line - across)[::-1]])


def _animal(rng: np.random.Generator, size: float) -> list[Points]:
    """Sample outlines of an animal: body, head, ears, legs and tail, some with bristles."""
    side, wide = rng.choice([-1, 1]), rng.uniform(1.1, 1.5)
    body = _blob(rng, size, 0.15, wide=wide)
    if rng.random() < 0.4:
        body *= 1 + rng.uniform(0.03, 0.1) * np.abs(rng.normal(0, 1, (180, 1)))
    head = np.array([side * size * wide * rng.uniform(0.85, 1.1), -size * rng.uniform(0.3, 0.9)])
    skull = size * rng.uniform(0.35, 0.5)
    parts = [body, head + _blob(rng, skull, 0.2, wide=rng.uniform(1, 1.3))]
    parts += [
        head + _limb(-np.pi / 2 + angle, skull * rng.uniform(1.2, 1.8), skull * 0.6, 0.3) for angle in (-0.5, 0.4)
    ]
    for position in (-0.7, -0.45, 0.45, 0.7):
        start = np.array([position * size * wide, 0.3 * size])
        reach = size * rng.uniform(0.8, 1.2)
        parts.append(start + _limb(np.pi / 2 + rng.normal(0, 0.2), reach, size * 0.4, rng.normal(0, 0.3)))
    tail = np.pi / 2 + side * rng.uniform(0.8, 2.4)
    start = np.array([-side * size * wide * 0.8, -0.1 * size])
    return [*parts, start + _limb(tail, size * rng.uniform(0.6, 1.4), size * 0.3, rng.normal(0, 1.2))]


def _plant(rng: np.random.Generator, size: float) -> list[Points]:
    """Sample outlines of a flower with stalk and leaves."""
    angles = np.linspace(0, 2 * np.pi, 180, endpoint=False) + rng.uniform(0, 1)
    petals = 1 + rng.uniform(0.12, 0.35) * np.cos(rng.integers(5, 10) * angles) + rng.normal(0, 0.01, 180)
    head = np.stack([np.cos(angles), np.sin(angles) * rng.uniform(0.6, 1)], axis=1) * petals[:, None] * size
    bend = rng.normal(0, 0.5)
    parts = [head, _limb(np.pi / 2 - bend / 2, 4 * size, size * 0.25, bend)]
    for side in (-1, 1):
        start = np.array([0, size * rng.uniform(1.2, 2.2)])
        parts.append(start + _limb(np.pi / 2 - side * rng.uniform(1.2, 2), size * 1.3, size * 0.5, side * 0.5))
    return parts


def _pot(rng: np.random.Generator, size: float) -> list[Points]:
    """Sample outlines of a symmetric object: a jug, a bottle or a lamp, with or without a handle."""
    rows = np.linspace(-1, 1, 60)
    waves = sum(rng.normal(0, 0.3 / k) * np.cos(k * np.pi * (rows + rng.uniform(0, 2))) for k in (1, 2, 3))
    half_width = np.clip(rng.uniform(0.4, 0.7) + waves, 0.18, 1.1)
    tall = rng.uniform(1.0, 1.5)
    right = np.stack([half_width, rows * tall], axis=1) * size
    angle = rng.normal(0, 0.08)
    matrix = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    parts = [np.concatenate([right, right[::-1] * (-1, 1)]) @ matrix]
    if rng.random() < 0.5:
        parts.append(
            np.array([half_width[20] * size * 0.9, -0.35 * tall * size]) + _limb(-0.6, size * 1.5, size * 0.22, 2.8)
        )
    return parts


def _fruit(rng: np.random.Generator, size: float) -> list[Points]:
    """Sample outlines of a fruit, a stone or a shell: one to three blobs."""
    bud_numbers = range(rng.integers(0, 3))
    buds = [rng.normal(0, 0.6 * size, 2) + _blob(rng, size * rng.uniform(0.4, 0.8), 0.3) for _ in bud_numbers]
    return [_blob(rng, size, 0.35, wide=rng.uniform(0.8, 1.3)), *buds]


_OUTLINES = (_animal, _animal, _plant, _pot, _fruit)
