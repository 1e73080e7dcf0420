"""Synthetic seismic tiles in the formats of TGS salt: layered reflectors with salt bodies."""

import csv
from pathlib import Path

import cv2
import numpy as np

from pipeline.images.png import write_png
from pipeline.raw.decode.masks import encode_rle
from pipeline.raw.synthetic.drawing import FloatArray, Plane, smooth_noise

SIDE = 101
_LABELLED = 160
_UNLABELLED = 12
_BLACK = 3  # tiles without signal, as in the real data set


def write_tgs(root: Path) -> None:
    """Write ``train`` (160 tiles with masks), ``test`` (12 without), ``train.csv`` and ``depths.csv`` below `root`."""
    for part in ("train/images", "train/masks", "test/images"):
        (root / part).mkdir(parents=True)
    names = [f"{value:010x}" for value in np.random.default_rng(2018).integers(16**10, size=_LABELLED + _UNLABELLED)]
    depths, codes = [], []
    for index, name in enumerate(names):
        rng = np.random.default_rng([2018, index])
        depths.append((name, int(rng.integers(50, 960))))
        if index < _BLACK:
            tile, mask = np.zeros((SIDE, SIDE), dtype=np.uint8), np.zeros((SIDE, SIDE), dtype=np.uint8)
        else:
            tile, mask = _tile(rng, with_salt=rng.random() < 0.61)
        labelled = index < _LABELLED
        folder = root / ("train" if labelled else "test")
        write_png(folder / "images" / f"{name}.png", np.repeat(tile[:, :, None], 3, axis=2))
        if labelled:
            # empty masks are 8-bit, others 16-bit, as in the real data set
            stored = mask.astype(np.uint16) * np.uint16(65535) if mask.any() else mask
            write_png(folder / "masks" / f"{name}.png", stored)
            codes.append((name, encode_rle(mask)))
    _write_csv(root / "depths.csv", ("id", "z"), depths)
    _write_csv(root / "train.csv", ("id", "rle_mask"), codes)


def _tile(rng: np.random.Generator, with_salt: bool) -> tuple[Plane, Plane]:
    """Generate a tile and its mask of {0, 1}."""
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    dip = rng.normal(0, 0.35)
    warped = y + dip * x + 7 * _noise(rng, 22) + 1.2 * _noise(rng, 6)
    layers = np.zeros((SIDE, SIDE), dtype=np.float32)
    for _ in range(5):
        layers += rng.uniform(0.4, 1.0) * np.sin(2 * np.pi * warped / rng.uniform(5, 19) + rng.uniform(0, 7))
    layers *= 1.0 + 0.45 * _noise(rng, 14)
    mask = np.zeros((SIDE, SIDE), dtype=np.uint8)
    signal = 0.42 * layers
    if with_salt:
        mask = _salt_body(rng, x, y)
        soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 1.3)
        chaos = 0.55 * _noise(rng, 2.2) + 0.3 * _noise(rng, 5)
        edge = soft * (1 - soft) * 4
        signal = signal * (1 - soft) + (chaos - 0.35) * soft + 1.1 * edge
    values = 118 + 38 * rng.uniform(0.8, 1.2) * signal + rng.normal(0, 4, signal.shape)
    return np.clip(values, 0, 255).astype(np.uint8), mask


def _salt_body(rng: np.random.Generator, x: FloatArray, y: FloatArray) -> Plane:
    """Generate the mask of a salt body: one side of a wavy line, or an ellipse."""
    kind = rng.random()
    if kind < 0.5:  # one side of a wavy line
        angle = rng.uniform(0, 2 * np.pi)
        line = (x - 50) * np.cos(angle) + (y - 50) * np.sin(angle) + 9 * _noise(rng, 16) + rng.uniform(-32, 32)
        return np.asarray(line > 0, dtype=np.uint8)
    cx, cy = rng.uniform(15, 86), rng.uniform(25, 95)
    rx, ry = rng.uniform(14, 42), rng.uniform(12, 36)
    ellipse = np.hypot((x - cx) / rx, (y - cy) / ry) + 0.16 * _noise(rng, 12)
    return np.asarray(ellipse < 1, dtype=np.uint8)


def _noise(rng: np.random.Generator, sigma: float) -> FloatArray:
    noise = smooth_noise(rng, (SIDE, SIDE), sigma)
    return np.asarray(noise - noise.mean(), dtype=np.float32)


def _write_csv(path: Path, header: tuple[str, str], rows: list[tuple[str, int]] | list[tuple[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
