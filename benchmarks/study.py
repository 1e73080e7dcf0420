"""`config/drive.yaml` from end to end on a GPU.

training and prediction: 3,200 steps of its network and the prediction of all samples with test-time augmentation, in
a new process, from shards. snakemake: the whole workflow, from the raw images to the report, where Snakemake and the
real DRIVE data are there.
"""

import importlib.util
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.context import Context
from benchmarks.measure import Case, NotRun, Variant
from benchmarks.processes import measured
from benchmarks.training import make_recipe
from benchmarks.worker import ROOT

SETTINGS = {"epochs": 40, "repeats": 20, "checkpoint_every": 1, "validate_every": 4, "precision": "auto"}


def train_and_predict(shards: list[str], output: str) -> None:
    """Train on all shards but the first, validate on that, predict all; print the seconds of both."""
    from pipeline.prediction.predict import predict
    from pipeline.prediction.recipes import PredictRecipe
    from pipeline.training.run import train

    files, folder = [Path(path) for path in shards], Path(output)
    recipe = make_recipe("A 16 wide, crop 256", 4, SETTINGS)
    started = time.perf_counter()
    train(recipe, experiment="e", train_shards=files[1:], validation_shards=files[:1], output=folder)
    trained = time.perf_counter()
    settings = {"precision": "auto", "threads": recipe.threads, "test_time": "flips", "kind": "probability"}
    prediction = PredictRecipe.model_validate({"dataset": "benchmark", "split": "train", **settings})
    predict(prediction, experiment="e", checkpoint=folder / "best.pt", shards=files, output=folder / "predictions")
    print(trained - started, time.perf_counter() - trained)


def cases(context: Context) -> Iterator[Case]:
    """Yield one case, which runs once."""
    if not context.gpu:
        raise NotRun("takes 20 minutes without a GPU")

    def ours() -> dict[str, float]:
        output = context.folder / "study"
        output.mkdir()
        shards = [str(path) for path in context.samples("drive-native")]
        words = [sys.executable, "-m", "benchmarks.study", json.dumps([shards, str(output)])]
        usage = measured([words], {}, timeout=max(10.0, context.deadline.left()))
        training, prediction = map(float, usage.outputs[0].split()[-2:])
        return {"": usage.seconds, "training": training, "prediction": prediction}

    def snakemake() -> dict[str, float]:
        if importlib.util.find_spec("snakemake") is None:
            raise NotRun("snakemake is not installed")
        if context.real is None or not (context.real / "DRIVE").is_dir():
            raise NotRun("needs --real with DRIVE")
        folder = context.folder / "workflow"
        (folder / "data/raw").mkdir(parents=True)
        (folder / "data/raw/DRIVE").symlink_to((context.real / "DRIVE").absolute())
        config = str(ROOT / "config/drive.yaml")
        words = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "--cores", "all", "--quiet", "all"]
        words += ["--configfile", config, "--replace-workflow-config"]
        return {"": measured([words], {}, folder=folder, timeout=max(10.0, context.deadline.left())).seconds}

    units = {"": "s", "training": "s", "prediction": "s"}
    variants = [Variant("ours, training and prediction", ours), Variant("ours, snakemake", snakemake)]
    yield Case("config/drive.yaml", units, variants, "", max_rounds=1)


if __name__ == "__main__":
    train_and_predict(*json.loads(sys.argv[1]))
