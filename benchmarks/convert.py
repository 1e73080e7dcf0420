"""Convert raw images for training: the method of the DRIVE tutorial compared with this pipeline.

    python benchmarks/convert.py --root data/raw [--rounds 5]

`--root` contains DRIVE/ and TGS/, the real data sets; the default is the synthetic data. Both methods run in their own
processes, alternately; medians are printed.

The tutorial method, reimplemented from its description: Pillow decodes, OpenCV resizes (labels too), each image and
each label is scaled to [0, 1] by its own minimum and maximum in float64, all are collected in lists, and one object
array is written to a `.npy` file. (A blank image, which would cause a division by zero, becomes zeros.) The number of
samples and their sizes are equal; three channels.

The pipeline runs `python -m pipeline shard`, one process for each shard, as many at a time as there are cores.

in loop: seconds from the first image to the finished file, in one process. total: seconds from the start of the
process(es) to the end of the last one. memory: the largest peak of any process. MB on disk: size of the written files.
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
    """Convert the labelled training images by the tutorial method; return the seconds."""
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


def configuration(root, layout, size, shards, storage):
    """Return a configuration in which all labelled images except test images are training images."""
    data = {"layout": layout, "root": str(root), "shards": shards, "size": size, "storage": storage}
    return {"datasets": {"benchmark": {**data, "test": "official", "validation": {"fraction": 0}}}}


def threads(shards):
    """Return the number of decoding threads: several if there is one shard, as in the workflow."""
    return os.cpu_count() if shards == 1 else 1


def build_shards(root, layout, size, shards, storage, output):
    """Build all shards in this process; return the seconds."""
    from pipeline.config.config import parse
    from pipeline.graph.artifacts import Shard
    from pipeline.graph.study import Study
    from pipeline.shards.write import build_shard

    study = Study(parse(configuration(root, layout, size, shards, storage)))
    start = time.perf_counter()
    for number in study.raw("benchmark").shard_members("train"):
        recipe = Shard("benchmark", "train", number).recipe(study)
        build_shard(recipe, number=number, output=output / f"{number}.h5", threads=threads(shards))
    return time.perf_counter() - start


def run_commands(commands, jobs):
    """Run commands, `jobs` at a time; return wall seconds, the largest peak memory in MB, and their outputs."""
    pending, running, peaks, outputs = list(commands), {}, [], []
    start = time.perf_counter()
    while pending or running:
        while pending and len(running) < jobs:
            process = subprocess.Popen(pending.pop(0), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            running[process.pid] = process
        pid, status, usage = os.wait4(-1, 0)
        process = running.pop(pid)
        if status:
            sys.exit(f"{process.args} failed")
        peaks.append(usage.ru_maxrss / 1024)
        outputs.append(process.stdout.read())
    return time.perf_counter() - start, max(peaks), outputs


def measure(method, root, layout, size, shards, folder):
    """Run a method once; return seconds in the loop, total seconds, memory and size."""
    this_script = [sys.executable, __file__, "--child"]
    job = {"root": str(root), "layout": layout, "size": size, "shards": shards, "method": method, "output": str(folder)}
    _, _, outputs = run_commands([[*this_script, json.dumps(job)]], 1)
    loop = json.loads(outputs[0].splitlines()[-1])
    if method == "tutorial":
        seconds, memory, _ = run_commands([[*this_script, json.dumps(job)]], 1)
    else:
        command = [sys.executable, "-m", "pipeline", "shard", "--dataset", "benchmark", "--split", "train"]
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as config:
            json.dump(configuration(root, layout, size, shards, method), config)  # JSON is YAML
            config.flush()
            command += ["--threads", str(threads(shards)), "--config", config.name]
            commands = [[*command, "--number", path.stem, "--output", str(path)] for path in folder.glob("*.h5")]
            seconds, memory, _ = run_commands(commands, os.cpu_count())
    size_on_disk = sum(path.stat().st_size for path in folder.iterdir())
    return {"in loop (s)": loop, "total (s)": seconds, "memory (MB)": memory, "MB on disk": size_on_disk / 1e6}


def child(job):
    root, output = Path(job["root"]), Path(job["output"])
    if job["method"] == "tutorial":
        return tutorial(root, job["layout"], job["size"], output / "table.npy")
    return build_shards(root, job["layout"], job["size"], job["shards"], job["method"], output)


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
        results = {method: [] for method in ("tutorial", "float16", "uint8")}
        for _ in range(arguments.rounds):
            for method, measurements in results.items():
                with tempfile.TemporaryDirectory() as folder:
                    measurements.append(measure(method, root, layout, size, shards, Path(folder)))
        medians = {
            method: {
                key: statistics.median(measurement[key] for measurement in measurements) for key in measurements[0]
            }
            for method, measurements in results.items()
        }
        print(f"\n{name}, {arguments.rounds} rounds, medians")
        print(f"{'':14}" + "".join(f"{method:>12}" for method in medians) + f"{'ratio f16':>12}{'ratio u8':>12}")
        for key, reference in medians["tutorial"].items():
            values = "".join(f"{median[key]:12.2f}" for median in medians.values())
            ratios = "".join(f"{reference / medians[method][key]:11.1f}x" for method in ("float16", "uint8"))
            print(f"{key:14}{values}{ratios}")


if __name__ == "__main__":
    main()
