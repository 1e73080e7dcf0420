"""A finished project without training: synthetic predictions, with scores and images made by the real stages."""

import numpy as np
import pandas as pd
from manifests import sign, sign_all
from rawfiles import make_drive, make_shapes, make_tgs

from pipeline.cli import main as cli
from pipeline.config.config import load
from pipeline.graph.artifacts import Predictions
from pipeline.graph.study import Study
from pipeline.images.png import write_png

HOSTILE = "<img src=x onerror=alert(1)>"
CLASSES = ("disc", '</script><script>alert(2)</script><b onmouseover="alert(3)">&amp;', "square")
REASON = "<iframe src=//example.org></iframe>"
CONFIG = """
datasets:
  d:
    layout: drive
    root: raw/DRIVE
    size: [48, 48]
    validation: {fraction: 0.34}
    exclude: {"26": "<iframe src=//example.org></iframe>"}
  t: {layout: tgs, root: raw/TGS, size: [48, 48], test: {rule: list, file: test.txt}}
  s:
    layout: folder
    root: raw/shapes
    images: "{split}_imgs"
    masks: "{split}_mask"
    labels: {0: background, 1: disc, 2: triangle, 3: square}
    size: [48, 48]
    validation: {fraction: 0.25}
experiments:
  good: &two
    dataset: t
    model: {name: unet, width: 4, depth: 2}
    loss: bce
    optimizer: {name: adam, lr: 0.02}
    batch_size: 2
    epochs: 1
    threshold: 0.5
  worse: *two
  eyes: {<<: *two, dataset: d}
  classes:
    dataset: s
    model: {name: unet, width: 4, depth: 2}
    loss: cross-entropy
    optimizer: {name: adam, lr: 0.02}
    batch_size: 2
    epochs: 1
"""
NOISE = {"good": 0.05, "worse": 0.25, "eyes": 0.1, "classes": 0.1}
HISTORY = """epoch,train_loss,lr,val_loss,val_dice,val_mae,val_max_f
1,0.9,0.02,1.1,,0.4,0.3
2,0.5,0.01,0.7,0.6,0.2,0.7
3,0.4,0.005,0.8,0.7,0.1,0.8
"""
INTERVALS = """experiment,dataset,split,region,class,averaging,metric,estimate,low,high,level,resamples,images
good,t,test,full,salt,macro,f1,0.9,0.801,0.942,0.95,2000,6
"""
COMPARISONS = """dataset,split,region,class,metric,a,b,images,difference,low,high,p,p_holm,comparisons
t,test,full,salt,f1,good,worse,6,0.2,0.1,0.3,0.01,0.02,2
t,test,full,salt,iou,good,worse,6,0.2,-0.1,0.3,0.2,0.2,2
"""


def make_project(folder):
    """Write raw files, predictions, scores and files of training runs, but not the report."""
    make_drive(folder / "raw/DRIVE")
    tgs = make_tgs(folder / "raw/TGS")
    for path in list(tgs.rglob("tile001.png")):
        path.rename(path.with_name(f"{HOSTILE}.png"))
    for table in ("train.csv", "depths.csv"):
        (tgs / table).write_text((tgs / table).read_text().replace("tile001,", f"{HOSTILE},"))
    names = (HOSTILE, "tile000", "tile002", "tile003", "tile005", "tile007")
    (tgs / "test.txt").write_text("".join(f"{name}\n" for name in names))
    make_shapes(folder / "raw/shapes")
    (folder / "config.yaml").write_text(CONFIG)
    study = Study(load([folder / "config.yaml"]))
    for number, (name, experiment) in enumerate(study.experiments.items()):
        rng = np.random.default_rng(number)
        raw = study.raw(experiment.dataset)
        kind = "mask" if raw.multiclass else "probability"
        predicted = folder / f"results/predictions/{name}/test/{kind}"
        predicted.mkdir(parents=True)
        for sample in raw.splits["test"]:
            truth = raw.read_truth(sample)
            is_wrong = rng.random(truth.shape) < NOISE[name]
            if raw.multiclass:
                pixels = np.where(is_wrong, rng.integers(0, 4, truth.shape), truth).astype(np.uint8)
            else:
                pixels = np.where((truth == 1) ^ is_wrong, 230, 20).astype(np.uint8)
            write_png(predicted / f"{sample.id}.png", pixels)
        sign(study, Predictions(name, "test", kind))
        if not raw.multiclass:
            run("threshold", "--experiment", name)
        run("render", "--experiment", name, "--split", "test")
        run("evaluate", "--experiment", name)
        (folder / f"results/models/{name}").mkdir(parents=True)
        (folder / f"results/models/{name}/history.csv").write_text(HISTORY)
        (folder / f"results/models/{name}/timing.csv").write_text("epoch,seconds,max_rss\n1,2.5,700\n2,1.5,710\n")
        benchmark = folder / f"results/benchmarks/evaluate/{name}.tsv"
        benchmark.parent.mkdir(parents=True, exist_ok=True)
        benchmark.write_text("s\th:m:s\tmax_rss\n1.25\t0:00:01\t99.5\n")
    # the configuration rejects such a name; the report must escape it anyway
    path = folder / "results/metrics/classes/confusion.csv"
    table = pd.read_csv(path).replace("triangle", CLASSES[1])
    table.to_csv(path, index=False)
    run("baseline", "--dataset", "d", "--kind", "second-observer", "--split", "test")
    run("threshold", "--experiment", "d.second-observer")
    run("evaluate", "--experiment", "d.second-observer")
    (folder / "results/metrics/good/intervals.csv").write_text(INTERVALS)
    (folder / "results/comparisons.csv").write_text(COMPARISONS)
    run("check", "--exit-zero")
    sign_all()  # the files above are written by hand
    run("leaderboard")
    sign_all()  # the leaderboard above lists all methods scored here


def run(*arguments):
    assert cli.main([*arguments]) == 0, arguments
