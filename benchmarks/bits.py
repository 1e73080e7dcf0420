"""Whether trainings that should give the same network do: the tensors of their checkpoints are compared bit by bit."""

import os
import re
import signal
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.context import Context
from benchmarks.measure import Case, Variant
from benchmarks.training import choose_shards, make_recipe

NAME, BATCH, EPOCHS = "A 16 wide, crop 256", 4, 4
WAYS = {
    "two trainings": {},
    "stopped by a signal and continued": {"stop": True},
    "with and without CUDA graph": {"cuda_graph": False},
}


class Interrupter:
    """Standard error that sends a signal to this process after the second epoch, once."""

    def __init__(self) -> None:
        self.sent = False

    def write(self, text: str) -> None:
        """Look for the line of an epoch."""
        sys.__stderr__.write(text)  # type: ignore[union-attr]
        if not self.sent and re.search(rf"epoch 2/{EPOCHS}: ", text):
            self.sent = True
            os.kill(os.getpid(), signal.SIGTERM)

    def flush(self) -> None:
        """Nothing is held back."""

    def isatty(self) -> bool:
        """A log, no terminal."""
        return False


class Bits:
    """Trains and compares; a worker."""

    def prepare(self, shards: list[str], crop: int) -> None:
        self.crop = crop
        self.files, _, _ = choose_shards([Path(path) for path in shards], 2 * BATCH)
        self.reference = self._train()

    def measure(self, stop: bool = False, **settings: Any) -> dict[str, float]:
        """Train again; return 1 if the checkpoints are equal."""
        return {"": float(self._train(stop, **settings) == self.reference)}

    def _train(self, stop: bool = False, **settings: Any) -> dict[str, bytes]:
        """Train a small network; return the bytes of all tensors of both checkpoints."""
        import numpy as np

        from pipeline.core.errors import InterruptionError
        from pipeline.training.checkpoint import load_checkpoint
        from pipeline.training.run import train

        crop = [self.crop, self.crop]
        recipe = make_recipe(
            NAME,
            BATCH,
            {"epochs": EPOCHS, "checkpoint_every": 1, "repeats": 4, "precision": "auto", "crop": crop, **settings},
        )
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            arguments: dict[str, Any] = {"experiment": "e", "train_shards": self.files[:-1] or self.files}
            arguments |= {"validation_shards": self.files[-1:], "output": folder}
            if stop:
                arguments["state"] = folder / "state"
                error_stream, sys.stderr = sys.stderr, Interrupter()
                try:
                    train(recipe, **arguments)
                except InterruptionError:
                    pass
                else:
                    raise RuntimeError("the training was not stopped by a signal")
                finally:
                    sys.stderr = error_stream
            train(recipe, **arguments)
            return {
                f"{file}, {tensor}": np.ascontiguousarray(values.numpy()).tobytes()
                for file in ("best.pt", "last.pt")
                for tensor, values in load_checkpoint(folder / file).state.items()
            }


def cases(context: Context) -> Iterator[Case]:
    """Yield one case."""
    worker = context.start("benchmarks.bits:Bits")
    shards = [str(path) for path in context.samples("drive-native")]
    worker.call("prepare", shards=shards, crop=256 if context.gpu else 64)
    ways = {name: options for name, options in WAYS.items() if context.gpu or "cuda_graph" not in options}
    variants = [Variant(name, partial(worker.call, "measure", **options)) for name, options in ways.items()]
    yield Case("equal to the bit", {"": "1 = yes"}, variants, "", max_rounds=1)
