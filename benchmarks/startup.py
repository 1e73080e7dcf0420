"""Start-up: whole processes that only import, or print help."""

import sys
from collections.abc import Iterator
from functools import partial

from benchmarks.context import Context
from benchmarks.measure import Case, Variant
from benchmarks.processes import measured

CASES: dict[str, dict[str, list[str]]] = {
    "start of a command": {
        "an empty Python": ["-c", "pass"],
        "ours, --help": ["-m", "pipeline", "--help"],
        "ours, shard --help": ["-m", "pipeline", "shard", "--help"],
        "ours, train --help": ["-m", "pipeline", "train", "--help"],
        "snakemake --version": ["-m", "snakemake", "--version"],
    },
    "imports of a conversion": {
        "documents": ["-c", "import cv2, numpy; from PIL import Image"],
        "ours": ["-c", "import pipeline.shards.write"],
    },
    "imports of a training": {
        "documents": ["-c", "import numpy, torch, matplotlib.pyplot, torch.utils.data"],
        "ours": ["-c", "import pipeline.training.run"],
    },
}


def cases(context: Context) -> Iterator[Case]:
    """Yield all cases."""

    def measure(words: list[str]) -> dict[str, float]:
        usage = measured([[sys.executable, *words]], context.environment, timeout=60)
        return {"": usage.seconds, "memory": usage.memory}

    for name, commands in CASES.items():
        variants = [Variant(one, partial(measure, words)) for one, words in commands.items()]
        reference = "documents" if "documents" in commands else ""
        yield Case(name, {"": "s", "memory": "MB"}, variants, reference)
