"""Jobs of single targets, from dry runs."""

from projects import Project
from rawfiles import make_shapes

SEVERAL = """
datasets:
  s: {layout: shapes, root: raw/Shapes, size: [48, 48]}
experiments:
  few:
    dataset: s
    model: {name: unet, width: 4, depth: 2}
    loss: cross-entropy
    optimizer: {name: adam, lr: 0.02}
    batch_size: 2
    epochs: 1
    threads: 1
"""


def test_every_target_of_an_experiment_with_folds_can_be_planned(fresh):
    fresh.edit("threads: 1\n  b-2", "threads: 1\n    folds: 2\n  b-2")
    planned = fresh.planned("tensorboard_a", "shards_a", "models_a", "predictions_a", "metrics_a", "report_a")
    assert (planned["events"], planned["train"], planned["average"]) == (2, 2, 1)  # an ensemble has no training


def test_report_depends_on_the_panels_that_it_links(tmp_path):
    make_shapes(tmp_path / "raw/Shapes")
    project = Project(tmp_path)
    project.config.write_text(SEVERAL)
    planned = project.planned("report")
    # only test images; the page shows no validation images
    assert (planned["predict_classes"], planned["render_classes"]) == (2, 1)
