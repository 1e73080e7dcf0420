"""Small raw folders in the formats of the real data sets, for tests that change them."""

from pathlib import Path

import cv2
import numpy as np
import tifffile
from PIL import Image

HEIGHT, WIDTH = 70, 60


def blobs(seed: int, height: int = HEIGHT, width: int = WIDTH):
    """Return a mask of {0, 1} with blobs and a noisy RGB image of them."""
    rng = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(rng.normal(0, 1, (height, width)), (0, 0), 5)
    mask = (noise > np.quantile(noise, 0.75)).astype(np.uint8)
    image = 60 + 120 * mask[:, :, None] + rng.normal(0, 12, (height, width, 3)) + np.array([20, 0, -20])
    return mask, np.clip(image, 0, 255).astype(np.uint8)


def write_gif(path: Path, plane: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(plane).save(path, optimize=False)


def write_palette_gif(path: Path, mask: np.ndarray) -> None:
    image = Image.fromarray(mask).convert("P")
    image.putpalette((4, 2, 4, 252, 254, 252))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, optimize=False)


def write_tif(path: Path, pixels: np.ndarray, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, pixels, compression="lzw", metadata=None, software="", **options)


def add_drive(
    root: Path, split: str, number: int, height: int = HEIGHT, width: int = WIDTH, labels: bool = True
) -> None:
    """Write an image with its mask, field of view and second observer."""
    mask, image = blobs(number, height, width)
    y, x = np.mgrid[:height, :width]
    fov = (np.hypot(y - height / 2, x - width / 2) < min(height, width) * 0.48).astype(np.uint8)
    folder, name = root / split, f"{number:02d}"
    write_tif(folder / "images" / f"{name}_{split}.tif", image, photometric="rgb")
    write_gif(folder / "mask" / f"{name}_{split}_mask.gif", fov * 255)
    if labels:
        write_gif(folder / "1st_manual" / f"{name}_manual1.gif", mask * 255)
        if split == "test":
            write_palette_gif(folder / "2nd_manual" / f"{name}_manual2.gif", np.roll(mask, 1, axis=0))


def make_drive(root: Path, training: int = 6, test: int = 3) -> Path:
    for number in range(21, 21 + training):
        add_drive(root, "training", number)
    for number in range(1, 1 + test):
        add_drive(root, "test", number)
    return root


def make_tgs(root: Path, labelled: int = 12, unlabelled: int = 2, side: int = 101) -> Path:
    """Write tiles with 16-bit masks, 8-bit empty masks, one blank image, run-length codes and depths."""
    from pipeline.images.png import write_png
    from pipeline.raw.decode.masks import encode_rle

    for folder in ("train/images", "train/masks", "test/images"):
        (root / folder).mkdir(parents=True)
    codes, depths = ["id,rle_mask"], ["id,z"]
    for index in range(labelled + unlabelled):
        name = f"tile{index:03d}"
        mask, image = blobs(100 + index, side, side)
        if index % 4 == 0:
            mask[:] = 0
        if index == 0:
            image[:] = 0
        grey = np.repeat(image[:, :, :1], 3, axis=2)
        split = "train" if index < labelled else "test"
        write_png(root / split / "images" / f"{name}.png", grey)
        depths.append(f"{name},{100 + index}")
        if split == "train":
            stored = mask.astype(np.uint16) * np.uint16(65535) if mask.any() else mask
            write_png(root / "train" / "masks" / f"{name}.png", stored)
            codes.append(f"{name},{encode_rle(mask)}")
    (root / "train.csv").write_text("\n".join(codes) + "\n")
    (root / "depths.csv").write_text("\n".join(depths) + "\n")
    return root


def make_shapes(root: Path, training: int = 6, validation: int = 2, test: int = 2, test_masks: bool = True) -> Path:
    """Write squares (class 3) and discs (class 1) on noise; triangles (class 2) never occur."""
    from pipeline.images.png import write_png

    ids = [*range(training), *range(800, 800 + validation), *range(900, 900 + test)]
    for folder in ("train_imgs", "train_mask", "test_imgs", *(["test_mask"] if test_masks else [])):
        (root / folder).mkdir(parents=True)
    for number in ids:
        rng = np.random.default_rng(number)
        mask = np.zeros((48, 48), dtype=np.uint8)
        x, y = (int(value) for value in rng.integers(10, 38, 2))
        cv2.circle(mask, (x, y), 8, 1, -1)
        cv2.rectangle(mask, (2, 2), (14, 14), 3, -1)
        image = np.array([40, 220, 0, 130])[mask][:, :, None] + rng.normal(0, 10, (48, 48, 3))
        split = "test" if number >= 900 else "train"
        cv2.imwrite(str(root / f"{split}_imgs/{number}.jpg"), np.clip(image, 0, 255).astype(np.uint8))
        if split == "train" or test_masks:
            write_png(root / f"{split}_mask/{number}.png", mask)
    return root
