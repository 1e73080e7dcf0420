"""Damage image files at random and check that `decode` refuses them with the name of the file.

    python tests/fuzz_decode.py --inputs 20000 --seed 1

A decoder may crash or hang, so inputs are decoded in a monitored child process. Inputs that violate the rules are saved
in the folder --keep.
"""

import argparse
import io
import os
import queue
import resource
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from pipeline.core.errors import RawDataError
from pipeline.raw.decode.image import decode

LIMIT = 10.0  # seconds for one input of a few kilobytes on a busy machine
MEMORY = 6 * 2**30
NAME = "some-file.image"
KINDS = ("flip", "truncate", "insert", "zero", "drop")


def make_files() -> dict[str, bytes]:
    """Return small files of every format, and real files from the folder PIPELINE_REAL_DATA if it is set."""
    rng = np.random.default_rng(0)
    waves = 127 + 120 * np.sin(np.arange(45)[:, None] / 7) * np.cos(np.arange(38)[None] / 5)
    rgb = np.clip(waves[:, :, None] + rng.normal(0, 8, (45, 38, 3)), 0, 255).astype(np.uint8)
    grey, deep = rgb[:, :, 0], rgb[:, :, 0].astype(np.uint16) * 255
    mask = Image.fromarray((grey > 127).astype(np.uint8) * 255)
    files = {
        "rgb.png": _save(rgb, "png"),
        "grey16.png": _save(deep, "png"),
        "palette.png": _save(Image.fromarray(rgb).quantize(16), "png"),
        "short-palette.png": _save(Image.fromarray(rgb).quantize(11), "png"),
        "bits.png": _save(mask.convert("1"), "png"),
        "grey.gif": _save(grey, "gif"),
        "palette.gif": _save(Image.fromarray(rgb).quantize(32), "gif"),
        "photo.jpg": _save(rgb, "jpeg"),
        "frames.jpg": _save(Image.fromarray(rgb), "mpo", save_all=True, append_images=[Image.fromarray(rgb[::-1])]),
        "progressive.jpg": _save(rgb, "jpeg", progressive=True),
        "image.bmp": _save(rgb, "bmp"),
        "exact.webp": _save(rgb, "webp", lossless=True),
        "lossy.webp": _save(rgb, "webp"),
    }
    variants = {
        "plain": {},
        "lzw": {"compression": "lzw"},
        "deflate": {"compression": "zlib", "predictor": True},
        "tiled": {"tile": (16, 16), "byteorder": ">"},
        "jpeg": {"compression": "jpeg"},
        "nodata": {"extratags": [(42113, "s", 0, "-9999", True)]},
        "imagej": {"description": "ImageJ=1.54f\nimages=1\n", "metadata": None},
    }
    for name, options in variants.items():
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, rgb, photometric="rgb", **options)
        files[f"{name}.tif"] = buffer.getvalue()
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(rgb, photometric="rgb")
        writer.write(np.ones(rgb.shape[:2], bool), photometric="minisblack", subfiletype=4)
    files["masked.tif"] = buffer.getvalue()
    if folder := os.environ.get("PIPELINE_REAL_DATA"):
        for pattern in ("DRIVE/test/*/01_*", "TGS/train/*/000*.png", "DUTS/DUTS-TR/*/*"):
            files |= {path.name: path.read_bytes() for path in sorted(Path(folder).glob(pattern))[:4]}
    return files


def _save(image, kind, **options) -> bytes:
    buffer = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def make_input(files: dict[str, bytes], seed: int, index: int) -> tuple[str, str, bytes]:
    """Return name, kind of damage and damaged bytes; deterministic for a seed and index."""
    rng = np.random.default_rng((seed, index))
    names = sorted(files)
    name, kind = names[index % len(names)], KINDS[int(rng.integers(len(KINDS)))]
    data = bytearray(files[name])
    # headers at the start control a decoder most
    limit = min(len(data), 200) if rng.random() < 0.4 else len(data)
    start, length = int(rng.integers(limit)), int(rng.integers(1, 33))
    if kind == "flip":
        for position in rng.integers(limit, size=int(rng.integers(1, 5))):
            data[position] ^= 1 << int(rng.integers(8)) if rng.random() < 0.5 else int(rng.integers(1, 256))
    elif kind == "truncate":
        del data[int(rng.integers(len(data))) :]
    elif kind == "insert":
        data[start:start] = rng.bytes(length)
    elif kind == "zero":
        data[start : start + length] = bytes(len(data[start : start + length]))
    else:
        del data[start : start + length]
    return name, kind, bytes(data)


def judge(original: bytes, name: str, kind: str, data: bytes) -> str:
    """Decode one input; return ``refused``, ``same`` or ``changed`` pixels, or the violation of a rule."""
    try:
        pixels = decode(data, NAME)
    except RawDataError as error:
        if NAME not in str(error):
            return "violation: the error does not name the file"
        return "violation: out of memory" if "MemoryError" in str(error) else "refused"
    except BaseException as error:
        return f"violation: {type(error).__name__}"
    if np.array_equal(pixels, decode(original, NAME)):
        return "same"
    if name.endswith(".png"):
        return "violation: a changed PNG was accepted"
    return "violation: a truncated file was accepted" if kind == "truncate" else "changed"


Judge = Callable[[bytes, str, str, bytes], str]
"""Maps the original bytes, their name, the kind of damage and the damaged bytes to an outcome, as `judge` does."""


def _child(start: int, stop: int, seed: int, files: dict[str, bytes], judge: Judge) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    print("ready", flush=True)
    for index in range(start, stop):
        name, kind, data = make_input(files, seed, index)
        print(index, judge(files[name], name, kind, data), sep="\t", flush=True)


def fuzz(
    inputs: int, seed: int, keep: Path | None = None, script: str = __file__, files: dict[str, bytes] | None = None
) -> Counter[tuple[str, str, str]]:
    """Judge damaged inputs in child processes of a script; count them by suffix, kind of damage and outcome."""
    files = make_files() if files is None else files
    counts: Counter[tuple[str, str, str]] = Counter()
    start = 0
    while start < inputs:
        for index, outcome in _monitored_outcomes(script, start, inputs, seed):
            name, kind, data = make_input(files, seed, index)
            counts[name.rpartition(".")[2], kind, outcome] += 1
            if outcome.startswith("violation") and keep is not None:
                keep.mkdir(parents=True, exist_ok=True)
                (keep / f"{seed}-{index}-{kind}-{name}").write_bytes(data)
            start = index + 1
    return counts


def _monitored_outcomes(script: str, start: int, stop: int, seed: int):
    """Yield index and outcome of every input, up to the first one that ends the child process."""
    command = [sys.executable, script, "--child", str(start), str(stop), "--seed", str(seed)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as child:
        lines: queue.Queue[str] = queue.Queue()

        def read() -> None:
            for line in child.stdout:
                lines.put(line)
            lines.put("")

        threading.Thread(target=read, daemon=True).start()
        if lines.get(timeout=120) != "ready\n":
            raise RuntimeError("the child process does not start")
        for index in range(start, stop):
            try:
                line = lines.get(timeout=LIMIT)
            except queue.Empty:
                child.kill()
                yield index, f"violation: no answer within {LIMIT:.0f} s"
                return
            if not line:
                yield index, f"violation: the process ended with {child.wait()}"
                return
            yield index, line.rstrip("\n").split("\t")[1]


def main(argv=None, *, description=__doc__, script=__file__, make_files=make_files, judge=judge) -> int:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-violations"))
    parser.add_argument("--child", type=int, nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.child:
        _child(*arguments.child, arguments.seed, make_files(), judge)
        return 0
    counts = fuzz(arguments.inputs, arguments.seed, arguments.keep, script, make_files())
    for (suffix, kind, outcome), count in sorted(counts.items()):
        print(f"{suffix:5} {kind:9} {outcome:60} {count:7}")
    violations = sum(count for (_, _, outcome), count in counts.items() if outcome.startswith("violation"))
    print(f"{counts.total()} inputs, {violations} violations")
    return min(violations, 1)


if __name__ == "__main__":
    sys.exit(main())
