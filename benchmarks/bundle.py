"""Prediction of image files by the program of a bundle, and by PyTorch, both in fp32: decoding, network, native size.

Both are one process that handles one image after the other, with the same number of threads, and neither writes files.
The networks are trained for one epoch of a few samples.
"""

import os
import tempfile
import time
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.context import SETS, Context
from benchmarks.measure import Case, Variant
from benchmarks.training import TRAININGS, choose_shards, make_recipe

IMAGES = {"E 128": 64, "A 16 wide 512": 6, "D lite, crop 288": 3}
"""Trainings of `benchmarks.training`, and number of images."""


class Both:
    """A bundle and the checkpoint that it was made from; a worker."""

    def prepare(self, name: str, shards: list[str], raw: str, count: int) -> None:
        """Train, export, and load both."""
        from pipeline.bundle import runner
        from pipeline.bundle.write import write_bundle
        from pipeline.prediction.listing import list_images
        from pipeline.prediction.network import load_predictor
        from pipeline.prediction.recipes import SourcedThreshold
        from pipeline.training.run import train

        self.folder = tempfile.TemporaryDirectory()
        folder = Path(self.folder.name)
        files, _, _ = choose_shards([Path(path) for path in shards], 1)
        recipe = make_recipe(name, 1, {"epochs": 1, "precision": "fp32"})
        train(recipe, experiment="e", train_shards=files[:1], validation_shards=[], output=folder)
        self.images = list_images(Path(raw))[:count]
        self.threshold, threads = SourcedThreshold(0.5, "none"), len(os.sched_getaffinity(0))
        bundle, checkpoint = folder / "model.zip", folder / "best.pt"
        write_bundle(
            checkpoints=[checkpoint],
            images=self.images[:2],
            output=bundle,
            threshold=self.threshold,
            threads=threads,
        )
        with zipfile.ZipFile(bundle) as archive:
            archive.extractall(folder / "bundle")
        self.bundle = runner.Bundle(folder / "bundle", threads)
        self.predictor = load_predictor(checkpoint, precision="fp32", threads=threads)

    def measure(self, way: str) -> dict[str, float]:
        """Predict all images; return images per second."""
        from pipeline.bundle.write import predict_by_pytorch

        started = time.perf_counter()
        for image in self.images:
            if way == "bundle":
                self.bundle.predict(image.path)
            else:
                predict_by_pytorch([self.predictor], image, self.threshold)
        return {"": len(self.images) / (time.perf_counter() - started)}


def cases(context: Context) -> Iterator[Case]:
    """Yield a case for each network."""
    folders = {"TGS": "train/images", "DRIVE": "training/images", "DUTS": "DUTS-TR/DUTS-TR-Image"}
    for name, count in IMAGES.items():
        samples = TRAININGS[name].samples
        raw = context.raw(SETS[samples][0]) / folders[SETS[samples][0]]
        worker = context.start("benchmarks.bundle:Both")
        shards = [str(path) for path in context.samples(samples)]
        worker.call("prepare", name=name, shards=shards, raw=str(raw), count=2 if context.quick else count)
        variants = [Variant(way, partial(worker.call, "measure", way=way), "fp32") for way in ("ours", "bundle")]
        yield Case(name, {"": "images/s"}, variants, "ours")
        worker.close()
