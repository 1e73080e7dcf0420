"""What the synthetic data sets share: noise, texture, colour, outlines and JPEG files.

Images are (3, H, W) while they are drawn, RGB of about 0..255: sums over planes are several times faster so.
A `shape` is height and width in pixels.
"""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.uint8]
Field = NDArray[np.float32]

_FRACTION_BITS = 4  # corners of outlines are placed to a sixteenth of a pixel


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], sigma: float) -> Field:
    """Draw white noise blurred by a Gaussian of `sigma` pixels, on which the time depends.

    Returns
    -------
    (height, width) array of float32, standard deviation 1, mean 0 but for chance
    """
    noise = cv2.GaussianBlur(rng.normal(0, 1, shape).astype(np.float32), (0, 0), sigma)
    return np.asarray(noise / noise.std(), dtype=np.float32)


def clouds(
    rng: np.random.Generator, shape: tuple[int, int], cell: float, *, octaves: int = 4, stretch: float = 1.0
) -> Field:
    """Draw a texture with coarse and fine parts: noise on grids, each half as coarse and half as strong as the last.

    Parameters
    ----------
    cell : float
        Height of the coarsest parts, in pixels. The finest have at least 2 pixels.
    octaves : int
        How many grids are added.
    stretch : float
        How many times wider than high the parts are.

    Returns
    -------
    (height, width) array of float32, mean 0, standard deviation 1
    """
    height, width = shape
    total: Field = np.zeros((1, 1), dtype=np.float32)
    for octave in range(octaves):
        size = max(cell / 2**octave, 2.0)
        grid = (int(height / size) + 2, int(width / (size * stretch)) + 2)
        # from grid to grid, because enlarging every one of them to the whole image is what takes the time
        total = np.asarray(cv2.resize(total, grid[::-1], interpolation=cv2.INTER_CUBIC), dtype=np.float32)
        total += rng.standard_normal(grid, dtype=np.float32) * np.float32(0.5**octave)
    texture = cv2.resize(total, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray((texture - texture.mean()) / texture.std(), dtype=np.float32)


def distinct_colour(rng: np.random.Generator, others: list[Field], *, candidates: int) -> Field:
    """Draw some colours and return the one that differs most from all `others`.

    Parameters
    ----------
    others : list of (3, 1, 1) arrays of float32
        RGB, 0..255.
    candidates : int
        How many colours are drawn; the more, the starker is the contrast.

    Returns
    -------
    (3, 1, 1) array of float32, 20..235
    """
    colours = rng.uniform(20, 235, (candidates, 3, 1, 1)).astype(np.float32)
    distances = [min(float(np.linalg.norm(colour - other)) for other in others) for colour in colours]
    return np.asarray(colours[int(np.argmax(distances))], dtype=np.float32)


def blend(below: Field, above: Field, share: Field | float) -> Field:
    """Lay colours or images over others, where `share`, 0..1 or (H, W) of it, says how much of them is seen."""
    return np.asarray(below + (above - below) * share, dtype=np.float32)


def fill_outline(shape: tuple[int, int], points: NDArray[np.float64]) -> Plane:
    """Fill a closed outline with soft edges.

    Parameters
    ----------
    points : (N, 2) array of float
        Corners, x and y in pixels. They may lie outside.

    Returns
    -------
    (height, width) array of uint8, how much of each pixel is inside: 0 to 255
    """
    plane = np.zeros(shape, dtype=np.uint8)
    corners = np.rint(points * 2**_FRACTION_BITS).astype(np.int32)
    cv2.fillPoly(plane, [corners], 255, cv2.LINE_AA, _FRACTION_BITS)
    return plane


def write_jpeg(path: Path, image: Field, *, blur: float, quality: int) -> None:
    """Write an image as JPEG.

    Parameters
    ----------
    image : (3, H, W) array of float32
        RGB; values outside 0..255 are cut.
    blur : float
        Standard deviation of a last Gaussian blur, in pixels.
    quality : int
        JPEG quality, 0..100.

    Raises
    ------
    OSError
        If the file cannot be written; `pipeline.core.files` turns it into words.
    """
    pixels = cv2.GaussianBlur(cv2.merge(list(image[::-1])), (0, 0), blur)
    levels = np.clip(pixels, 0, 255).astype(np.uint8)
    done, data = cv2.imencode(".jpg", levels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f"cannot encode an array of shape {image.shape} and type {image.dtype}")
    path.write_bytes(data.tobytes())
