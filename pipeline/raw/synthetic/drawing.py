"""Drawing functions of the synthetic data sets: noise, textures, colours, outlines and JPEG files.

Working images are (3, H, W), RGB of about 0..255: sums over contiguous planes are several times faster.
A `shape` is height and width in pixels.
"""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.uint8]
FloatArray = NDArray[np.float32]

_FRACTION_BITS = 4  # outlines have a precision of 1/16 pixel


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], sigma: float) -> FloatArray:
    """Sample white noise blurred by a Gaussian of `sigma` pixels; the run time grows with `sigma`.

    Returns
    -------
    (height, width) array of float32, standard deviation 1, mean about 0
    """
    noise = cv2.GaussianBlur(rng.normal(0, 1, shape).astype(np.float32), (0, 0), sigma)
    return np.asarray(noise / noise.std(), dtype=np.float32)


def cloud_texture(
    rng: np.random.Generator, shape: tuple[int, int], cell: float, *, octaves: int = 4, stretch: float = 1.0
) -> FloatArray:
    """Sample a texture of several octaves: the sum of noise on grids, each with half the cell size and amplitude.

    Parameters
    ----------
    cell : float
        Cell height of the coarsest grid in pixels. That of the finest is at least 2.
    octaves : int
        Number of grids.
    stretch : float
        Width of a cell divided by its height.

    Returns
    -------
    (height, width) array of float32, mean 0, standard deviation 1
    """
    height, width = shape
    total: FloatArray = np.zeros((1, 1), dtype=np.float32)
    for octave in range(octaves):
        size = max(cell / 2**octave, 2.0)
        grid = (int(height / size) + 2, int(width / (size * stretch)) + 2)
        # resize from grid to grid, because resizing each grid to the image size is slow
        total = np.asarray(cv2.resize(total, grid[::-1], interpolation=cv2.INTER_CUBIC), dtype=np.float32)
        total += rng.standard_normal(grid, dtype=np.float32) * np.float32(0.5**octave)
    resized = cv2.resize(total, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray((resized - resized.mean()) / resized.std(), dtype=np.float32)


def distinct_colour(rng: np.random.Generator, existing: list[FloatArray], *, candidates: int) -> FloatArray:
    """Sample colours and return the one that differs most from all `existing` ones.

    Parameters
    ----------
    existing : list of (3, 1, 1) arrays of float32
        RGB, 0..255.
    candidates : int
        Number of sampled colours; more candidates give more contrast.

    Returns
    -------
    (3, 1, 1) array of float32, 20..235
    """
    colours = rng.uniform(20, 235, (candidates, 3, 1, 1)).astype(np.float32)
    distances = [
        min(float(np.linalg.norm(colour - existing_colour)) for existing_colour in existing) for colour in colours
    ]
    return np.asarray(colours[int(np.argmax(distances))], dtype=np.float32)


def blend(background: FloatArray, foreground: FloatArray, opacity: FloatArray | float) -> FloatArray:
    """Blend colours or images over a background; `opacity` is 0..1, a number or (H, W)."""
    return np.asarray(background + (foreground - background) * opacity, dtype=np.float32)


def fill_outline(shape: tuple[int, int], points: NDArray[np.float64]) -> Plane:
    """Rasterise a closed outline with anti-aliased edges.

    Parameters
    ----------
    points : (N, 2) array of float
        Corners, x and y in pixels; may be outside the image.

    Returns
    -------
    (height, width) array of uint8, coverage of each pixel, 0 to 255
    """
    plane = np.zeros(shape, dtype=np.uint8)
    corners = np.rint(points * 2**_FRACTION_BITS).astype(np.int32)
    cv2.fillPoly(plane, [corners], 255, cv2.LINE_AA, _FRACTION_BITS)
    return plane


def write_jpeg(path: Path, image: FloatArray, *, blur: float, quality: int) -> None:
    """Write an image as JPEG.

    Parameters
    ----------
    image : (3, H, W) array of float32
        RGB; values are clipped to 0..255.
    blur : float
        Standard deviation of a final Gaussian blur, in pixels.
    quality : int
        JPEG quality, 0..100.

    Raises
    ------
    OSError
        If the file cannot be written; `pipeline.core.files` converts it to a message.
    """
    pixels = cv2.GaussianBlur(cv2.merge(list(image[::-1])), (0, 0), blur)
    levels = np.clip(pixels, 0, 255).astype(np.uint8)
    success, data = cv2.imencode(".jpg", levels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not success:
        raise ValueError(f"cannot encode an array of shape {image.shape} and type {image.dtype}")
    path.write_bytes(data.tobytes())
