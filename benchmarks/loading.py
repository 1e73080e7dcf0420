"""Loading of samples for training: the documents' DataLoader, and the product.

DRIVE, by tutorial A: the `.npy` file of its conversion is loaded and copied to tensors, and a DataLoader makes
batches of one. TGS, by tutorial E: a DataLoader with a process for each core decodes and resizes every image in every
epoch. The product opens its shards and makes batches as in training. opened: the first epoch, with all that comes
before; steady: each further epoch.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.context import Context, build_shards, configuration
from benchmarks.conversion import FOLDERS, convert_by_documents
from benchmarks.measure import Case, Variant
from benchmarks.worker import Worker

SETS: dict[str, tuple[str, list[int], int]] = {"DRIVE": ("drive", [512, 512], 1), "TGS": ("tgs", [128, 128], 64)}
"""Layout, size, and size of a batch."""

MOST = 1024
"""Samples at most, so that a round takes seconds."""


def two_epochs(open_loader: Any) -> dict[str, float]:
    """Return images per second of the first epoch, with opening, and of the second one."""
    started = time.perf_counter()
    loader, images = open_loader()
    rates = []
    for _ in range(2):
        for batch in loader():
            del batch
        rates.append(images / (time.perf_counter() - started))
        started = time.perf_counter()
    return {"opened": rates[0], "steady": rates[1]}


class Documents:
    """The DataLoaders of the tutorials; a worker."""

    def prepare(self, root: str, layout: str, size: list[int], batch: int) -> None:
        self.root, self.layout, self.size, self.batch = Path(root), layout, (size[0], size[1]), batch
        self.folder = tempfile.TemporaryDirectory()
        if layout == "drive":
            convert_by_documents(self.root, layout, self.size, Path(self.folder.name) / "table.npy")

    def measure(self) -> dict[str, float]:
        return two_epochs(self._open_arrays if self.layout == "drive" else self._open_files)

    def _open_arrays(self) -> Any:
        import numpy as np
        import torch
        from torch.utils.data import DataLoader, TensorDataset

        table = np.load(Path(self.folder.name) / "table.npy", allow_pickle=True)
        images = torch.from_numpy(np.array([row[0] for row in table], dtype=np.float32))
        masks = torch.from_numpy(np.array([row[1] for row in table])).float()
        loader = DataLoader(TensorDataset(images, masks), shuffle=True)
        return lambda: loader, len(images)

    def _open_files(self) -> Any:
        import cv2
        import torch
        from torch.utils.data import DataLoader, Dataset

        paths = [sorted((self.root / folder).iterdir())[:MOST] for folder in FOLDERS[self.layout]]
        size = self.size

        class Files(Dataset[Any]):
            def __len__(self) -> int:
                return len(paths[0])

            def __getitem__(self, index: int) -> tuple[Any, Any]:
                image = cv2.imread(str(paths[0][index]))
                mask = cv2.imread(str(paths[1][index]), cv2.IMREAD_GRAYSCALE)
                assert image is not None
                assert mask is not None
                image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
                pixels, label = cv2.resize(image, size), cv2.resize(mask, size)
                tensor = torch.from_numpy(pixels.transpose(2, 0, 1).copy()).float() / 255
                return tensor, torch.from_numpy(label[None]).float() / 255

        loader = DataLoader(Files(), batch_size=self.batch, shuffle=True, num_workers=os.cpu_count() or 1)
        return lambda: loader, len(paths[0])


class Ours:
    """The samples of a training; a worker."""

    def prepare(self, shards: list[str], batch: int) -> None:
        self.shards, self.batch = [Path(path) for path in shards], batch

    def measure(self) -> dict[str, float]:
        return two_epochs(self._open)

    def _open(self) -> Any:
        import torch

        from pipeline.training.data import SampleStore

        store = SampleStore(self.shards, torch.device("cpu"))
        return lambda: store.batches(torch.randperm(len(store)), self.batch), len(store)


def cases(context: Context) -> Iterator[Case]:
    """Yield a case for each data set."""
    for name, (layout, size, batch) in SETS.items():
        root = context.raw(name)
        config = configuration(layout, root, size=size, shards=1 if layout == "drive" else 4)
        shards = [str(path) for path in build_shards(config, context.folder / f"loading-{name}", MOST)]
        documents, ours = (context.start(f"benchmarks.loading:{one}") for one in ("Documents", "Ours"))
        documents.call("prepare", root=str(root), layout=layout, size=size, batch=batch)
        ours.call("prepare", shards=shards, batch=batch)

        def measure(worker: Worker) -> dict[str, float]:
            return worker.call("measure", timeout=120)

        variants = [
            Variant(one, partial(measure, worker)) for one, worker in (("documents", documents), ("ours", ours))
        ]
        units = {"opened": "images/s", "steady": "images/s"}
        yield Case(f"{name}, batch {batch}", units, variants, deadline=context.deadline.share(1, layout == "drive"))
        context.close()
