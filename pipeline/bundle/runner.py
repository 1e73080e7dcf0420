"""Predict images with a bundle: masks and probabilities at native size.

Needs numpy, onnxruntime and opencv-python-headless, and the files beside it: `python predict.py IMAGES OUTPUT`.
What each setting means is documented in the schema of bundle.json, and what this program does without in README.md.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

EXTENSIONS = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp")
TURNS = {"none": (0,), "horizontal": (0,), "flips": (0, 2), "rot90": (0, 1, 2, 3)}
"""Quarter turns of the averaged views of an image, each also mirrored; one view is not."""

Array = np.ndarray[Any, Any]
Info = dict[str, Any]
Run = Callable[[Array], Array]
Axis = tuple[int, int, list[int], Array]


class UnusableError(ValueError):
    """An image that cannot be predicted."""


def decode(path: Path, info: Info) -> Array:
    """Read an image as (H, W, C) of uint8, uint16 or float32: three channels RGB, or one."""
    data = np.fromfile(path, np.uint8)
    turned = info["input"]["decode"]["exif"] == "apply" and data[:2].tobytes() == b"\xff\xd8"  # a JPEG file
    flags = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR if turned else cv2.IMREAD_UNCHANGED
    pixels = cv2.imdecode(data, flags) if data.size else None
    if pixels is None:
        raise UnusableError("no image that OpenCV can read")
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    if pixels.dtype == np.float64:
        pixels = pixels.astype(np.float32)
    if pixels.dtype not in (np.uint8, np.uint16, np.float32) or not np.isfinite(pixels).all():
        raise UnusableError(f"pixels of type {pixels.dtype} or without a value; expected 8 bits, 16 bits or floats")
    if pixels.shape[2] in (2, 4):
        if pixels[:, :, -1].min() != pixels[:, :, -1].max():
            raise UnusableError("an alpha channel that varies; flatten it onto a background")
        pixels = pixels[:, :, :-1]
    if pixels.shape[2] not in (1, 3):
        raise UnusableError(f"{pixels.shape[2]} channels; expected 1 or 3, with or without alpha")
    rgb = np.ascontiguousarray(pixels[:, :, ::-1])  # OpenCV reads blue first
    if info["input"]["channels"] == "rgb":
        return np.repeat(rgb, 3, axis=2) if rgb.shape[2] == 1 else rgb
    if rgb.shape[2] == 1:
        return rgb
    equal = (rgb == rgb[:, :, :1]).all()
    return np.ascontiguousarray(rgb[:, :, :1]) if equal else cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)[:, :, None]


def resize(pixels: Array, height: int, width: int, interpolation: str = "area") -> Array:
    """Resize (H, W) or (H, W, C): averages along an axis that shrinks, unless the interpolation is linear."""
    resized = pixels
    if interpolation == "area":  # one axis after the other: OpenCV would interpolate both linearly if one grows
        shrunk = (min(width, pixels.shape[1]), min(height, pixels.shape[0]))
        if shrunk != pixels.shape[1::-1]:
            resized = cv2.resize(pixels, shrunk, interpolation=cv2.INTER_AREA)
    if resized.shape[:2] != (height, width):
        resized = cv2.resize(resized, (width, height), interpolation=cv2.INTER_LINEAR)
    return resized.reshape(height, width, *pixels.shape[2:])


def normalize(pixels: Array, settings: Info) -> Array:
    """Map (H, W, C) to (C, H, W) float32."""
    method, channels = settings["method"], pixels.shape[2]
    if method == "minmax":
        low, high = float(pixels.min()), float(pixels.max())
        scale = np.full(channels, 0.0 if high == low else 1.0 / (high - low))
        offset = -low * scale
    elif pixels.dtype == np.float32:
        raise UnusableError(f"floats, which have no full range; the normalization {method} needs 8 or 16 bits")
    elif method == "standard":
        mean, std = np.array(settings["mean"], float), np.array(settings["std"], float)
        scale, offset = 1.0 / (float(np.iinfo(pixels.dtype).max) * std), -mean / std
    else:
        width, low = {"unit": (1.0, 0.0), "symmetric": (2.0, -1.0)}[method]
        scale, offset = np.full(channels, width / float(np.iinfo(pixels.dtype).max)), np.full(channels, low)
    image = np.empty((channels, *pixels.shape[:2]), np.float32)
    np.multiply(np.moveaxis(pixels, -1, 0), scale.astype(np.float32)[:, None, None], out=image)
    image += offset.astype(np.float32)[:, None, None]
    return image


def prepare(pixels: Array, info: Info) -> Array:
    """Map a decoded image to the input (C, H, W) float32 of the network."""
    settings, fixed = info["input"], info["network"].get("fixed_size")
    height, width = pixels.shape[:2] if settings["size"] == "native" else settings["size"]
    if min(height, width) < settings["smallest"]:
        raise UnusableError(f"{width} x {height} pixels; expected {settings['smallest']} or more on each side")
    if fixed and [height, width] != list(fixed):
        raise UnusableError(f"{width} x {height} pixels; the network takes only {fixed[1]} x {fixed[0]}")
    return normalize(resize(pixels, height, width, settings["interpolation"]), settings["normalize"])


def round_up(size: int, multiple: int) -> int:
    """Round up to a multiple."""
    return -(-size // multiple) * multiple


def spread(length: int, used: int, stride: int, multiple: int) -> list[int]:
    """Return the starts of tiles, evenly from border to border, at multiples of the pooling step."""
    last = max(0, round_up(length - used, multiple) // multiple)
    gaps = max(1, -(-last * multiple // stride))
    return sorted({last * index // gaps * multiple for index in range(gaps + 1)})


def blended_axis(length: int, side: int, tiles: Info, multiple: int) -> Axis:
    """Return input side, used side, starts and weights of overlapping tiles along an axis."""
    side, margin = round_up(side, multiple), round_up(tiles.get("margin", 0), multiple)
    used = side - 2 * margin
    if length <= side:
        return length, length, [0], np.ones(length, np.float32)
    stride = max(multiple, int(used * (1 - tiles.get("overlap", 0.5))) // multiple * multiple)
    distances = np.arange(used, dtype=np.float32) - np.float32((used - 1) / 2)
    weights = np.exp(np.float32(-0.5) * (distances / np.float32(used / 8)) ** 2)
    return side, used, spread(length, used, stride, multiple), weights


def valid_axis(length: int, side: int | None, multiple: int) -> Axis:
    """Return the same of tiles of valid convolutions, which need no blending; the whole axis without a side."""
    lost = 4 * (multiple - 1)

    def padding(wanted: int) -> tuple[int, int]:
        bottom = -(-(wanted + lost) // multiple)
        border = (multiple * 4 + 2 * lost) // 2
        return border, multiple * (bottom + 4) + lost - wanted - border

    margin = padding(multiple)[0]
    wanted = length if side is None else max(multiple, side - 2 * margin)
    side = wanted + sum(padding(wanted))
    used = side - 2 * margin
    return side, used, spread(length, used, used // multiple * multiple, multiple), np.ones(used, np.float32)


def mirror(length: int, start: int, stop: int) -> Array:
    """Return the indices from start to stop, reflected into an axis; the border pixel is not repeated."""
    period = max(1, 2 * (length - 1))
    indices = np.arange(start, stop) % period
    return np.where(indices < length, indices, period - indices)


def average_views(run: Run, image: Array, test_time: str) -> Array:
    """Return the mean output of a network over the views of (C, H, W), each turned back."""
    if test_time == "none":
        return run(image)
    total: Array = np.zeros((), np.float32)
    views = [(turns, mirrored) for turns in TURNS[test_time] for mirrored in (False, True)]
    for turns, mirrored in views:
        view = np.rot90(image[:, :, ::-1] if mirrored else image, turns, (1, 2))
        output = np.rot90(run(np.ascontiguousarray(view)), -turns, (1, 2))
        total = total + (output[:, :, ::-1] if mirrored else output)
    return total / np.float32(len(views))


def predict_probability(run: Run, image: Array, info: Info) -> Array:
    """Map the input (C, H, W) of a network to probabilities (K, H, W); `run` maps (C, h, w) to (K, h', w')."""
    test_time = info["test_time"]
    if info.get("tiles"):
        return predict_tiles(lambda tile: average_views(run, tile, test_time), image, info)
    if info["network"].get("valid"):
        return average_views(lambda view: predict_tiles(run, view, info), image, test_time)
    return average_views(run, image, test_time)


def predict_tiles(run: Run, image: Array, info: Info) -> Array:
    """Do the same in tiles; valid convolutions without tiles take one that covers the image."""
    height, width = image.shape[1:]
    multiple, tiles = info["network"]["multiple"], info.get("tiles", {})
    sides = zip((height, width), tiles.get("size", (None, None)), strict=True)
    if info["network"].get("valid"):
        axes = [valid_axis(*side, multiple) for side in sides]
    else:
        axes = [blended_axis(*side, tiles, multiple) for side in sides]
    (rows, used_rows, tops, row_weights), (columns, used_columns, lefts, column_weights) = axes
    weights = row_weights[:, None] * column_weights
    total, sums = None, np.zeros((height, width), np.float32)
    margin_rows, margin_columns = (rows - used_rows) // 2, (columns - used_columns) // 2
    for top in tops:
        band = image[:, mirror(height, top - margin_rows, top - margin_rows + rows)]
        for left in lefts:
            first = left - margin_columns
            output = run(np.ascontiguousarray(band[:, :, mirror(width, first, first + columns)]))
            y, x = (output.shape[1] - used_rows) // 2, (output.shape[2] - used_columns) // 2
            part = (slice(top, min(top + used_rows, height)), slice(left, min(left + used_columns, width)))
            size = part[0].stop - top, part[1].stop - left
            total = np.zeros((len(output), height, width), np.float32) if total is None else total
            total[:, part[0], part[1]] += (output[:, y : y + used_rows, x : x + used_columns] * weights)[
                :, : size[0], : size[1]
            ]
            sums[part] += weights[: size[0], : size[1]]
    return total / sums


def round_half_down(values: Array) -> Array:
    """Round to levels 0..255."""
    return np.ceil(values - 0.5).astype(np.uint8)


def to_levels(probability: Array) -> Array:
    """Quantize probabilities to levels 0..255."""
    return round_half_down(np.clip(probability, 0.0, 1.0) * 255)


def network(session: Any) -> Run:  # noqa: ANN401 - of onnxruntime, which is imported when a bundle is loaded
    """Return the function that a session computes for one image or tile."""
    return lambda image: np.asarray(session.run(None, {"image": image[None]})[0][0])


class Bundle:
    """The networks of an unpacked bundle, on the CPU."""

    def __init__(self, folder: Path, threads: int = 0) -> None:
        import onnxruntime

        self.info = json.loads((Path(folder) / "bundle.json").read_text("utf-8"))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        files = [str(Path(folder) / network["graph"]) for network in self.info["networks"]]
        self.sessions = [onnxruntime.InferenceSession(f, options, ["CPUExecutionProvider"]) for f in files]
        self.classes = self.info["output"]["classes"]

    def predict(self, path: Path) -> tuple[Array, Array]:
        """Return levels (K, H, W) and mask (H, W) of an image file, at its native size.

        The mask is 0 and 255 with two classes, class indices with more.
        """
        pixels = decode(path, self.info)
        image, size, several = prepare(pixels, self.info), pixels.shape[:2], len(self.classes) > 2
        levels, planes = [], np.empty(0)
        for session in self.sessions:
            run = network(session)
            probability = predict_probability(run, image, self.info)
            if np.isnan(probability).any():
                raise UnusableError("a network returned probabilities that are not numbers")
            planes = np.stack([resize(plane, *size) for plane in probability])
            levels.append(to_levels(planes))
        if len(levels) > 1:
            planes = np.sum(levels, axis=0, dtype=np.uint32)
            levels = [round_half_down(planes / len(levels))]
        if several:
            return levels[0], planes.argmax(axis=0).astype(np.uint8)
        threshold = int(np.floor(self.info["output"]["threshold"] * 255 + 1e-9))
        return levels[0], (levels[0][0] > threshold).astype(np.uint8) * np.uint8(255)


def write(path: Path, plane: Array) -> None:
    """Write a PNG file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", plane)[1].tobytes())


def main() -> None:
    """Predict an image, or all images of a folder."""
    parser = argparse.ArgumentParser(description="Predict masks of images with this bundle.")
    parser.add_argument("images", type=Path, help="image, or folder that is searched recursively")
    parser.add_argument("output", type=Path, help="folder for mask/, 0 and 255 or class indices, at native size")
    parser.add_argument("--probability", action="store_true", help="write probability/ too: level / 255")
    parser.add_argument("--threads", type=int, default=0, help="threads of the networks (default: all cores)")
    arguments = parser.parse_args()
    bundle, root, failed = Bundle(Path(__file__).parent, arguments.threads), arguments.images, 0
    found = sorted(f for f in root.rglob("*") if f.suffix.lower() in EXTENSIONS and not f.name.startswith("."))
    files = [root] if root.is_file() else found
    if not files:
        sys.exit(f"{root}: no images ({', '.join(EXTENSIONS)})")
    for file in files:
        name = Path(file.name) if root.is_file() else file.relative_to(root)
        name = "-".join(name.with_suffix("").parts) + ".png"
        try:
            levels, mask = bundle.predict(file)
        except (UnusableError, OSError) as error:
            print(f"{file}: {error}", file=sys.stderr)
            failed += 1
            continue
        write(arguments.output / "mask" / name, mask)
        if arguments.probability and len(levels) == 1:
            write(arguments.output / "probability" / name, levels[0])
        elif arguments.probability:
            for label, plane in zip(bundle.classes, levels, strict=True):
                write(arguments.output / "probability" / label.replace("/", "-") / name, plane)
    sys.exit(f"{failed} of {len(files)} images could not be predicted" if failed else 0)


if __name__ == "__main__":
    main()
