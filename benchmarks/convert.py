"""Convert raw images for training: the DRIVE tutorial's way and this pipeline's, side by side.

    python benchmarks/convert.py --root data/raw [--rounds 5]

`--root` holds DRIVE/ and TGS/, the real sets; without it the synthetic data are used. Both ways do what they do in
their own processes, in turns; medians are printed.

The tutorial's way, written afresh from its description: Pillow decodes, OpenCV resizes (labels too), each image and
each label is brought to [0, 1] by its own smallest and largest value in float64, all of them are collected in lists,
and one object array goes to a `.npy` file. (A blank image, which would divide by zero, is left as zeros here, so that
the comparison can run at all.) The same number of samples, the same sizes, three channels.

Ours is `python -m pipeline shard`, one process for each shard, as many at a time as there are cores.

in loop: seconds from the first image to the finished file, in one process. whole: seconds from starting the
process(es) to the end of the last. memory: the largest peak of any one process. bytes: what lies on disk afterwards.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SETS = {"DRIVE": ("drive", [512, 512], 1), "TGS": ("tgs", [128, 128], 4)}


def tutorial(root, layout, size, output):
    """Convert the labelled training images the tutorial's way; return the seconds that took."""
    import cv2
    import numpy as np
    from PIL import Image

    def read(path):
        with Image.open(path) as image:
            return np.array(image)

    def stretch(values):
        span = values.max() - values.min()
        return (values - values.min()) / span if span else np.zeros(values.shape)

    folders = {
        "drive": ("training/images", "training/1st_manual"),
        "tgs": ("train/images", "train/masks"),
    }[layout]
    images, labels = (sorted((root / folder).iterdir()) for folder in folders)
    started = time.perf_counter()
    pairs = []
    for image, label in zip(images, labels, strict=True):
        pixels = cv2.resize(read(image), (size[1], size[0])).transpose(2, 0, 1)
        mask = cv2.resize(read(label), (size[1], size[0])).reshape(1, *size)
        pairs.append((stretch(pixels), stretch(mask)))
    table = np.empty((len(pairs), 2), dtype=object)
    for row, (pixels, mask) in enumerate(pairs):
        table[row, 0], table[row, 1] = pixels, mask
    np.save(output, table, allow_pickle=True)
    return time.perf_counter() - started


def configuration(root, layout, size, shards, storage):
    """Return what config.yaml would say: all labelled images that are no test images are trained on."""
    data = {"layout": layout, "root": str(root), "shards": shards, "size": size, "storage": storage}
    return {"datasets": {"benchmark": {**data, "test": "official", "validation": {"fraction": 0}}}}


def threads(shards):
    """Decode in several threads where there is one shard, as the workflow does."""
    return os.cpu_count() if shards == 1 else 1


def ours_in_loop(root, layout, size, shards, storage, output):
    """Build all shards in this process; return the seconds that took."""
    from pipeline.config.config import parse
    from pipeline.graph.artifacts import Shard
    from pipeline.graph.study import Study
    from pipeline.shards.write import build_shard

    study = Study(parse(configuration(root, layout, size, shards, storage)))
    started = time.perf_counter()
    for number in study.raw("benchmark").shard_members("train"):
        recipe = Shard("benchmark", "train", number).recipe(study)
        build_shard(recipe, number=number, output=output / f"{number}.h5", threads=threads(shards))
    return time.perf_counter() - started


def watch(commands, at_once):
    """Run commands, some at a time; return wall seconds, the largest peak memory in MB, and what they printed."""
    waiting, running, peaks, said = list(commands), {}, [], []
    started = time.perf_counter()
    while waiting or running:
        while waiting and len(running) < at_once:
            process = subprocess.Popen(waiting.pop(0), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            running[process.pid] = process
        pid, status, usage = os.wait4(-1, 0)
        process = running.pop(pid)
        if status:
            sys.exit(f"{process.args} failed")
        peaks.append(usage.ru_maxrss / 1024)
        said.append(process.stdout.read())
    return time.perf_counter() - started, max(peaks), said


def measure(way, root, layout, size, shards, folder):
    """Run one way once: seconds in the loop, seconds of whole processes, memory, bytes."""
    here = [sys.executable, __file__, "--child"]
    job = {"root": str(root), "layout": layout, "size": size, "shards": shards, "way": way, "output": str(folder)}
    _, _, said = watch([[*here, json.dumps(job)]], 1)
    loop = json.loads(said[0].splitlines()[-1])
    if way == "tutorial":
        whole, memory, _ = watch([[*here, json.dumps(job)]], 1)
    else:
        words = [sys.executable, "-m", "pipeline", "shard", "--dataset", "benchmark", "--split", "train"]
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as config:
            json.dump(configuration(root, layout, size, shards, way), config)  # which is YAML
            config.flush()
            words += ["--threads", str(threads(shards)), "--config", config.name]
            commands = [[*words, "--number", path.stem, "--output", str(path)] for path in folder.glob("*.h5")]
            whole, memory, _ = watch(commands, os.cpu_count())
    total = sum(path.stat().st_size for path in folder.iterdir())
    return {"in loop (s)": loop, "whole (s)": whole, "memory (MB)": memory, "MB on disk": total / 1e6}


def child(job):
    root, output = Path(job["root"]), Path(job["output"])
    if job["way"] == "tutorial":
        return tutorial(root, job["layout"], job["size"], output / "table.npy")
    return ours_in_loop(root, job["layout"], job["size"], job["shards"], job["way"], output)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("data/synthetic"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(child(json.loads(arguments.child)))
        return
    for name, (layout, size, shards) in SETS.items():
        root = arguments.root / name
        results = {way: [] for way in ("tutorial", "float16", "uint8")}
        for _ in range(arguments.rounds):
            for way, measured in results.items():
                with tempfile.TemporaryDirectory() as folder:
                    measured.append(measure(way, root, layout, size, shards, Path(folder)))
        medians = {
            way: {key: statistics.median(one[key] for one in measured) for key in measured[0]}
            for way, measured in results.items()
        }
        print(f"\n{name}, {arguments.rounds} rounds, medians")
        print(f"{'':14}" + "".join(f"{way:>12}" for way in medians) + f"{'ratio f16':>12}{'ratio u8':>12}")
        for key, theirs in medians["tutorial"].items():
            values = "".join(f"{median[key]:12.2f}" for median in medians.values())
            ratios = "".join(f"{theirs / medians[way][key]:11.1f}x" for way in ("float16", "uint8"))
            print(f"{key:14}{values}{ratios}")


if __name__ == "__main__":
    main()
