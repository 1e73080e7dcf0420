"""Conversion of raw images for training: the way of the DRIVE tutorial (A), and the product.

The documents' way, reimplemented from its description: Pillow decodes, OpenCV resizes (labels too), each image and
each label is scaled to [0, 1] by its own minimum and maximum in float64, all are collected in lists, and one object
array is written to a `.npy` file. (A blank image, which would cause a division by zero, becomes zeros.) The product
runs `python -m pipeline shard`, one process for each shard, as many at a time as there are cores. The number of
samples and their sizes are equal, with three channels.

in the loop: from the first image to the finished file, in one process. whole: from the start of the processes to the
end of the last one. memory: the largest peak of a process.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.context import Context, configuration
from benchmarks.measure import Case, Variant
from benchmarks.processes import measured

SETS: dict[str, tuple[str, tuple[int, int], int]] = {"DRIVE": ("drive", (512, 512), 1), "TGS": ("tgs", (128, 128), 4)}
"""Layout, size, and number of shards."""

FOLDERS = {"drive": ("training/images", "training/1st_manual"), "tgs": ("train/images", "train/masks")}
STORAGES: dict[str, dict[str, str]] = {"ours": {}, "ours, float16": {"storage": "float16"}}


def convert_by_documents(root: Path, layout: str, size: tuple[int, int], output: Path) -> float:
    """Convert the labelled training images; return the seconds."""
    import cv2
    import numpy as np
    from PIL import Image

    def read(path: Path) -> Any:
        with Image.open(path) as image:
            return np.array(image)

    def stretch(values: Any) -> Any:
        span = values.max() - values.min()
        return (values - values.min()) / span if span else np.zeros(values.shape)

    images, labels = (sorted((root / folder).iterdir()) for folder in FOLDERS[layout])
    start = time.perf_counter()
    pairs = []
    for image, label in zip(images, labels, strict=True):
        pixels = cv2.resize(read(image), (size[1], size[0])).transpose(2, 0, 1)
        mask = cv2.resize(read(label), (size[1], size[0])).reshape(1, *size)
        pairs.append((stretch(pixels), stretch(mask)))
    table = np.empty((len(pairs), 2), dtype=object)
    for row, (pixels, mask) in enumerate(pairs):
        table[row, 0], table[row, 1] = pixels, mask
    np.save(output, table, allow_pickle=True)
    return time.perf_counter() - start


def convert_by_product(job: dict[str, Any], output: Path) -> float:
    """Build all shards in this process; return the seconds."""
    from pipeline.config.config import parse
    from pipeline.graph.artifacts import Shard
    from pipeline.graph.study import Study
    from pipeline.shards.write import build_shard

    study = Study(parse(job["config"]))
    start = time.perf_counter()
    for number in study.raw("benchmark").shard_members("train"):
        recipe = Shard("benchmark", "train", number).recipe(study)
        build_shard(recipe, number=number, output=output / f"{number}.h5", threads=job["threads"])
    return time.perf_counter() - start


def measure(context: Context, job: dict[str, Any], way: str, storage: dict[str, str]) -> dict[str, float]:
    """Convert once in the loop and once as whole processes."""
    with tempfile.TemporaryDirectory(dir=context.folder) as name:
        folder = Path(name)
        arguments = {**job, "way": way, "output": name}
        arguments["config"] = configuration(job["layout"], Path(job["root"]), **job["settings"], **storage)
        arguments["threads"] = os.cpu_count() if job["settings"]["shards"] == 1 else 1
        in_loop = [sys.executable, "-m", "benchmarks.conversion", json.dumps(arguments)]
        usage = measured([in_loop], context.environment)
        seconds = float(usage.outputs[0].split()[-1])
        if way == "product":
            config = folder / "config.yaml"
            config.write_text(json.dumps(arguments["config"]))  # JSON is YAML
            command = [sys.executable, "-m", "pipeline", "shard", "--dataset", "benchmark", "--split", "train"]
            command += ["--threads", str(arguments["threads"]), "--config", str(config)]
            files = sorted(folder.glob("*.h5"))
            commands = [[*command, "--number", path.stem, "--output", str(path)] for path in files]
            usage = measured(commands, context.environment, jobs=os.cpu_count() or 1, folder=folder)
            config.unlink()
        size = sum(path.stat().st_size for path in folder.iterdir() if path.suffix in (".h5", ".npy"))
        return {"in the loop": seconds, "whole": usage.seconds, "memory": usage.memory, "size": size / 1e6}


def cases(context: Context) -> Iterator[Case]:
    """Yield a case for each data set."""
    units = {"whole": "s", "in the loop": "s", "memory": "MB", "size": "MB"}
    for name, (layout, size, shards) in SETS.items():
        settings = {"size": list(size), "shards": shards}
        job = {"root": str(context.raw(name).absolute()), "layout": layout, "size": size, "settings": settings}
        ways: dict[str, tuple[str, dict[str, str]]] = {"documents": ("documents", {})}
        ways |= {way: ("product", one) for way, one in STORAGES.items()}
        variants = [Variant(way, partial(measure, context, job, *arguments)) for way, arguments in ways.items()]
        deadline = context.deadline.share(1, 4) if name == "DRIVE" else context.deadline
        yield Case(name, units, variants, deadline=deadline)


def main(job: dict[str, Any]) -> None:
    """Convert in this process and print the seconds."""
    output = Path(job["output"])
    if job["way"] == "documents":
        print(convert_by_documents(Path(job["root"]), job["layout"], tuple(job["size"]), output / "table.npy"))
    else:
        print(convert_by_product(job, output))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
