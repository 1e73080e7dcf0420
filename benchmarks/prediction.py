"""Prediction of a split: from the prepared samples to PNG files at native size.

The documents' way: the network is loaded, and images pass through it one by one in fp32 and NCHW; the result goes
through the sigmoid, is resized by OpenCV, and is saved by Pillow. With test-time augmentation four mirror images pass
through the network, one after the other. The product: `pipeline.prediction.predict.predict`, with the checkpoint that
its training wrote. The numbers of both networks are random.
"""

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.context import Context
from benchmarks.measure import Case, Variant
from benchmarks.training import TRAININGS, build, choose_shards, make_recipe
from benchmarks.worker import Worker

PREDICTIONS: dict[str, tuple[str, str, int, int]] = {
    "A 16 wide 512": ("A 16 wide 512", "none", 6, 16),
    "A 16 wide 512, four mirror images": ("A 16 wide 512", "flips", 4, 16),
    "E 128": ("E 128", "none", 64, 128),
    "A 31M 512": ("A 31M 512", "none", 1, 16),
}
"""Training, test-time augmentation, and number of images on a CPU and on a GPU."""


class Predictor:
    """Both ways; a worker."""

    def prepare(self, name: str, shards: list[str], images: int) -> None:
        import torch

        self.name = name
        self.folder = tempfile.TemporaryDirectory()
        self.files, _, self.images = choose_shards([Path(path) for path in shards], images)
        torch.set_num_threads(len(os.sched_getaffinity(0)))

    def measure(self, test_time: str) -> dict[str, float]:
        """Predict all images."""
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            images = self.predict(Path(folder) / "predictions", test_time)
            return {"": images / (time.perf_counter() - started)}

    def predict(self, output: Path, test_time: str) -> int:
        """Predict; return the number of images."""
        raise NotImplementedError


class Documents(Predictor):
    """One image at a time."""

    def prepare(self, name: str, shards: list[str], images: int) -> None:
        import torch

        from pipeline.shards.read import ShardReader

        super().prepare(name, shards, images)
        network, _, _ = build(TRAININGS[name])
        self.weights = Path(self.folder.name) / "model.pt"
        torch.save(network.state_dict(), self.weights)
        with contextlib.closing(ShardReader(self.files)) as reader:
            pixels = [torch.from_numpy(reader.read_array("images", row)).float() / 255 for row in range(len(reader))]
            self.samples = list(zip(pixels, reader.column("original_size"), strict=True))

    def predict(self, output: Path, test_time: str) -> int:
        import cv2
        import numpy as np
        import torch
        from PIL import Image

        output.mkdir()
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        network, _, _ = build(TRAININGS[self.name])
        network.load_state_dict(torch.load(self.weights, weights_only=True))
        network.to(device).eval()
        flips: list[tuple[int, ...]] = [()]
        if test_time == "flips":
            flips = [(), (2,), (3,), (2, 3)]
        with torch.no_grad():
            for number, (pixels, native) in enumerate(self.samples):
                image = pixels[None].to(device)
                views = [network(image.flip(axes)).sigmoid().flip(axes) for axes in flips]
                probability = torch.stack(views).mean(0).squeeze().cpu().numpy()
                probability = cv2.resize(probability, (int(native[1]), int(native[0])))
                Image.fromarray((probability * 255).astype(np.uint8)).save(output / f"{number}.png")
        return len(self.samples)


class Ours(Predictor):
    """The product."""

    def prepare(self, name: str, shards: list[str], images: int) -> None:
        from pipeline.training.run import train

        super().prepare(name, shards, images)
        settings = {"epochs": 1, "precision": "auto"}
        recipe = make_recipe(name, min(4, TRAININGS[name].batch), settings)
        train(recipe, experiment="e", train_shards=self.files[:1], validation_shards=[], output=Path(self.folder.name))
        self.precision = "fp32"
        self.threads = recipe.threads

    def measure(self, test_time: str, precision: str = "fp32") -> dict[str, float]:
        self.precision = precision
        return super().measure(test_time)

    def predict(self, output: Path, test_time: str) -> int:
        from pipeline.prediction.predict import predict
        from pipeline.prediction.recipes import PredictRecipe

        settings = {"precision": self.precision, "threads": self.threads, "test_time": test_time}
        recipe = PredictRecipe.model_validate(
            {"dataset": "benchmark", "split": "train", "kind": "probability", **settings}
        )
        checkpoint = Path(self.folder.name) / "best.pt"
        predict(recipe, experiment="e", checkpoint=checkpoint, shards=self.files, output=output)
        return self.images


def cases(context: Context) -> Iterator[Case]:
    """Yield a case for each network and kind of test-time augmentation."""
    names = [name for name in PREDICTIONS if context.gpu or not context.quick or "31M" not in name]
    workers: dict[str, Worker] = {one: context.start(f"benchmarks.prediction:{one}") for one in ("Documents", "Ours")}
    previous = ""
    for index, name in enumerate(names):
        training, test_time, *numbers = PREDICTIONS[name]
        deadline = context.deadline.share(
            3 if "31M" in name else 1, sum(3 if "31M" in one else 1 for one in names[index + 1 :])
        )
        if training != previous:
            shards = [str(path) for path in context.samples(TRAININGS[training].samples)]
            for worker in workers.values():
                worker.send(
                    "prepare", name=training, shards=shards, images=2 if context.quick else numbers[context.gpu]
                )
            for one, worker in list(workers.items()):
                try:
                    worker.receive(180)
                except Exception as error:
                    context.fail(f"prediction, {name}, {one}", error)
                    del workers[one]
            previous = training
        ways: dict[str, tuple[str, dict[str, str]]] = {"documents": ("Documents", {})}
        ways |= {"ours fp32": ("Ours", {"precision": "fp32"}), "ours": ("Ours", {"precision": "auto"})}
        variants = []
        for way, (worker_name, options) in ways.items():
            if worker_name in workers:
                measure = partial(workers[worker_name].call, "measure", 180, test_time=test_time, **options)
                variants.append(Variant(way, measure, options.get("precision", "fp32")))
        if variants:
            yield Case(name, {"": "images/s"}, variants, "documents", deadline=deadline)
