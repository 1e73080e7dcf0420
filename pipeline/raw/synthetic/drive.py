"""Synthetic fundus images in the formats of DRIVE: a bright disc on black with a branching vessel tree."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from pipeline.raw.synthetic.drawing import Plane, smooth_noise

HEIGHT, WIDTH = 584, 565
_RADIUS = 268
_CENTRE = (282.0, 292.0)  # x, y of the field of view
_TRAINING = range(21, 33)
_TEST = range(1, 7)
_OBSERVER_PALETTE = (4, 2, 4, 252, 254, 252)  # palette of the second observer's files in DRIVE
_TRUNKS = (  # four arcades, four small vessels: angle in radians to the line from disc to macula, width in pixels
    (1.25, 8.0),
    (0.95, 6.5),
    (-1.25, 8.0),
    (-0.95, 6.5),
    (0.35, 3.2),
    (-0.3, 3.2),
    (2.4, 4.0),
    (-2.4, 4.0),
)

Segment = tuple[tuple[float, float], tuple[float, float], float]  # start, end, width in pixels


def write_drive(root: Path) -> None:
    """Write ``training`` (12 images) and ``test`` (6) below `root`, with a second observer for the test images."""
    for split, numbers in (("training", _TRAINING), ("test", _TEST)):
        for role in ("images", "1st_manual", "mask", *(["2nd_manual"] if split == "test" else [])):
            (root / split / role).mkdir(parents=True)
        for number in numbers:
            rng = np.random.default_rng([20_10, number])
            fov = _disc(_CENTRE, _RADIUS)
            segments = _vessel_tree(rng)
            vessels = np.minimum(_render_segments(segments), fov)
            folder, name = root / split, f"{number:02d}"
            pixels = _photograph(rng, fov, segments)
            tifffile.imwrite(
                folder / "images" / f"{name}_{split}.tif",
                pixels,
                photometric="rgb",
                compression="lzw",
                rowsperstrip=4,
                metadata=None,
                software="",
            )
            _write_grey_gif(folder / "1st_manual" / f"{name}_manual1.gif", vessels)
            _write_grey_gif(folder / "mask" / f"{name}_{split}_mask.gif", fov)
            if split == "test":
                observer_mask = np.minimum(_render_segments(_second_observer(rng, segments)), fov)
                _write_palette_gif(folder / "2nd_manual" / f"{name}_manual2.gif", observer_mask)


def _disc(centre: tuple[float, float], radius: float) -> Plane:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    inside = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 <= radius**2
    return np.asarray(inside * 255, dtype=np.uint8)


def _vessel_tree(rng: np.random.Generator) -> list[Segment]:
    """Generate vessels from the optic disc: two arcades up, two down, small ones between."""
    side = rng.choice([-1, 1])
    root = (_CENTRE[0] + side * rng.uniform(150, 175), _CENTRE[1] + rng.uniform(-15, 15))
    towards = np.pi if side > 0 else 0.0
    segments: list[Segment] = []
    stack: list[tuple[float, float, float, float, float]] = []
    for spread, width in _TRUNKS:
        # the arcades start steeply and bend back around the macula
        bend = -np.sign(spread) * (0.0105 if abs(spread) < 2 else 0.002)
        stack.append((*root, towards + spread + rng.normal(0, 0.1), width * rng.uniform(0.85, 1.1), bend))
    while stack:
        x, y, heading, width, bend = stack.pop()
        drift = 0.0
        while width > 1.1 and (x - _CENTRE[0]) ** 2 + (y - _CENTRE[1]) ** 2 < (_RADIUS + 5) ** 2:
            drift = 0.8 * drift + rng.normal(0, 0.025)
            heading += drift + bend
            nx, ny = x + 4 * np.cos(heading), y + 4 * np.sin(heading)
            segments.append(((x, y), (nx, ny), width))
            x, y = nx, ny
            width *= 0.991
            if rng.random() < 0.042 and width > 1.6:
                turn = rng.choice([-1, 1]) * rng.uniform(0.4, 1.0)
                stack.append((x, y, heading + turn, width * rng.uniform(0.5, 0.8), rng.normal(0, 0.004)))
                heading -= turn * 0.2
                width *= 0.93
    return segments


def _second_observer(rng: np.random.Generator, segments: list[Segment]) -> list[Segment]:
    """Imitate a second observer: shift the vessel tree slightly, and leave out some thin vessels."""
    shifts = cv2.GaussianBlur(rng.normal(0, 1, (2, HEIGHT, WIDTH)).transpose(1, 2, 0), (0, 0), 20)
    shifts *= 0.8 / shifts.std()
    noise = cv2.GaussianBlur(rng.random((HEIGHT, WIDTH)), (0, 0), 15)
    threshold = np.quantile(noise, 0.3)
    shifted_segments: list[Segment] = []
    for (x0, y0), (x1, y1), width in segments:
        row, column = int(np.clip(y0, 0, HEIGHT - 1)), int(np.clip(x0, 0, WIDTH - 1))
        if width < 2.2 and noise[row, column] < threshold:
            continue
        dx, dy = shifts[row, column]
        shifted_segments.append(((x0 + dx, y0 + dy), (x1 + dx, y1 + dy), width * 0.95))
    return shifted_segments


def _render_segments(segments: list[Segment], canvas: NDArray[Any] | None = None) -> Plane:
    """Render segments in white on black, with positions rounded to 1/16 pixel."""
    plane = np.zeros((HEIGHT, WIDTH), dtype=np.uint8) if canvas is None else canvas
    for (x0, y0), (x1, y1), width in segments:
        start, end = (round(x0 * 16), round(y0 * 16)), (round(x1 * 16), round(y1 * 16))
        cv2.line(plane, start, end, 255, max(1, round(width)), cv2.LINE_8, 4)
    return np.asarray(plane, dtype=np.uint8)


def _photograph(rng: np.random.Generator, fov: Plane, segments: list[Segment]) -> Plane:
    """Render the image: uneven orange illumination, bright optic disc, dark macula, dark red vessels, noise."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    root = segments[0][0]
    direction = np.sign(_CENTRE[0] - root[0])
    centre = (_CENTRE[0] + rng.uniform(-60, 60), _CENTRE[1] + rng.uniform(-60, 60))
    distance = np.hypot(x - centre[0], y - centre[1])
    size = (HEIGHT, WIDTH)
    light = 1.05 - 0.22 * (distance / _RADIUS) ** 2 + 0.05 * smooth_noise(rng, size, 60)
    optic = np.exp(-((np.hypot((x - root[0]) / 32, (y - root[1]) / 37)) ** 6))
    macula = np.exp(-(((x - root[0] - direction * 190) ** 2 + (y - root[1] - 10) ** 2) / (2 * 30.0**2)))
    texture = 1.0 + 0.02 * smooth_noise(rng, size, 3) + 0.022 * smooth_noise(rng, size, 9)
    darkness = np.zeros((HEIGHT, WIDTH), dtype=np.float32)
    for low, high, depth in ((0.0, 2.2, 0.16), (2.2, 4.0, 0.26), (4.0, 99.0, 0.36)):
        selected = [segment for segment in segments if low <= segment[2] < high]
        darkness = np.maximum(darkness, cv2.GaussianBlur(_render_segments(selected), (0, 0), 1.0) / 255.0 * depth)
    tone = rng.uniform(0.85, 1.1)
    channels = []
    for base, disc, dark, absorbed in ((212.0, 40.0, 25.0, 0.35), (122.0, 95.0, 30.0, 1.0), (78.0, 60.0, 20.0, 0.7)):
        value = base * tone * light * texture + disc * optic - dark * macula
        channels.append(value * (1.0 - absorbed * darkness) + rng.normal(0, 3.0, light.shape))
    pixels = cv2.GaussianBlur(np.stack(channels, axis=-1).astype(np.float32), (0, 0), 0.7)
    inside = cv2.GaussianBlur(fov, (0, 0), 1.5)[:, :, None] / 255.0
    dark_rim = rng.normal(3.0, 1.0, pixels.shape)
    return np.asarray(np.clip(pixels * inside + dark_rim * (1 - inside), 0, 255), dtype=np.uint8)


def _write_grey_gif(path: Path, plane: Plane) -> None:
    """Write 0 and 255 with a full grey palette, which is read as one 8-bit channel."""
    Image.fromarray(plane).save(path, optimize=False)


def _write_palette_gif(path: Path, plane: Plane) -> None:
    """Write two palette indices with a nearly black and a nearly white colour."""
    image = Image.fromarray((plane > 0).astype(np.uint8)).convert("P")
    image.putpalette(_OBSERVER_PALETTE)
    image.save(path, optimize=False)
