"""Changes of code, settings and libraries that change a fingerprint, and changes that do not."""

import ast
import importlib.metadata
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from sources import source

from pipeline.config.config import load
from pipeline.core import code as module
from pipeline.core.code import code_digests, library_versions
from pipeline.core.errors import ConfigError
from pipeline.core.fingerprint import Fingerprint, differences
from pipeline.core.options import tag_values
from pipeline.graph.artifacts import (
    STAGES,
    Augmented,
    Baseline,
    Checkpoint,
    Predictions,
    Renderings,
    Scores,
    Shard,
    SplitTable,
    Threshold,
)
from pipeline.graph.base import plan_of
from pipeline.graph.plan import NoRecipe, Plan, _code_digest, stage_code
from pipeline.graph.study import Study
from pipeline.models.networks import NETWORKS
from pipeline.prediction.recipes import PredictRecipe
from pipeline.raw.layouts.registry import LAYOUTS
from pipeline.shards.recipes import ShardRecipe
from pipeline.training.augment.options import STEPS
from pipeline.training.recipes import TrainRecipe

PACKAGE = Path(module.__file__).parents[1]
FLIPS = next(f"{step.function.rpartition('.')[0].replace('.', '/')}.py" for step in STEPS if "flip" in step.options)
FLIPS = FLIPS.removeprefix("pipeline/")
NETWORK_NAMES, LAYOUT_NAMES = tag_values(NETWORKS, "name"), tag_values(LAYOUTS, "layout")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Digest a copy of the package; return a function that edits it."""
    folder = shutil.copytree(PACKAGE, tmp_path / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(module, "_FOLDER", folder)

    def clear_caches():
        for cached in (module._module, module._file, stage_code, _code_digest):
            cached.cache_clear()

    def edit(name, old, new):
        path = folder / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))
        clear_caches()

    clear_caches()
    yield edit
    clear_caches()


SHARD = {"dataset": "d", "split": "train", "number": 0}


def shard_plan(layout="drive", source=source, **settings):
    recipe = {"dataset": "d", "split": "train", "size": [48, 40], "normalize": {"method": "unit"}, **settings}
    return Plan(STAGES["shard"], SHARD, ShardRecipe.model_validate({"source": source(layout, "raw"), **recipe}))


def train_plan(model="unet", loss="bce", **settings):
    recipe = {
        **{"dataset": "d", "model": {"name": model}, "loss": loss, "optimizer": {"name": "adam", "lr": 0.1}},
        **{"batch_size": 1, "epochs": 1, "augment": {"flip": "both"}},
    }
    shards = [shard_plan(**settings).fingerprint().identity]
    made_from = {"train_shards": shards, "validation_shards": shards}
    return Plan(STAGES["train"], {"experiment": "e"}, TrainRecipe.model_validate(recipe), {}, made_from)


def train(model="unet"):
    return train_plan(model).code_digest


def shard(layout):
    return shard_plan(layout).code_digest


def stage_digest(stage):
    """Return the code digest of a stage whose settings select no module."""
    return Plan(STAGES[stage], {}, NoRecipe()).code_digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("import torch\n", "import torch  # the framework\n\n\n"),
        ('"""', '"""Another docstring. '),
        ("class UNet(", '"""A bare string."""\n\n\nclass UNet('),
        ("class UNet(", "if TYPE_CHECKING:\n    import pandas\n\n\nclass UNet("),
        ("class UNet(", "if typing.TYPE_CHECKING:\n    from pipeline.report import leaderboard\n\n\nclass UNet("),
        ("from torch import nn", "from torch import (\n    nn\n)"),
    ],
)
def test_comments_and_docstrings_do_not_change_the_digest(package, old, new):
    original = train()
    package("models/unet.py", old, new)
    assert train() == original


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("models/unet.py", "class UNet(", "class Another("),
        ("models/unet.py", "class UNet(", "EXTRA = 1\n\n\nclass UNet("),
        ("models/unet.py", "import torch\n", "import torch\nimport pipeline.report.leaderboard\n"),
        ("training/losses.py", "def ", "@some.decorator\ndef "),
        (FLIPS, "\ndef ", "\nEXTRA = 1\n\n\ndef "),
        ("raw/splits/sampling.py", "return ", "return not "),  # imported indirectly
    ],
)
def test_a_code_change_affects_only_stages_that_import_it(package, file, old, new):
    train_digest, curves_digest = train(), stage_digest("curves")
    package(file, old, new)
    assert train() != train_digest
    assert stage_digest("curves") == curves_digest


def test_imports_in_functions_are_followed_type_imports_not(package):
    assert "pipeline.report.curves" not in code_digests(["pipeline.core.counts"])
    package("core/counts.py", "def ", "def first():\n    from pipeline.report import curves\n\n\ndef ")
    assert "pipeline.report.curves" in code_digests(["pipeline.core.counts"])
    package("core/counts.py", "    from pipeline.report", "    if TYPE_CHECKING:\n        from pipeline.report")
    assert "pipeline.report.curves" not in code_digests(["pipeline.core.counts"])


def test_the_else_branch_of_type_checking_is_followed(package):
    package(
        "core/counts.py", "def ", "if TYPE_CHECKING:\n    A = 1\nelse:\n    import pipeline.report.curves\n\n\ndef "
    )
    assert "pipeline.report.curves" in code_digests(["pipeline.core.counts"])


@pytest.mark.parametrize("name", sorted(module.EXCLUDED))
def test_excluded_modules_have_a_reason_and_change_no_digest(package, name):
    stages = {stage: stage_digest(stage) for stage in STAGES}
    assert len(module.EXCLUDED[name]) > 10
    assert not any(name in stage_code(stage)[0] for stage in STAGES.values())
    package(f"{name.removeprefix('pipeline.').replace('.', '/')}.py", '"""\n', '"""\nADDED = 1\n')
    assert {stage: stage_digest(stage) for stage in STAGES} == stages


def test_digests_cover_only_the_configured_network_and_layout(package):
    nets, shards = {name: train(name) for name in NETWORK_NAMES}, {name: shard(name) for name in LAYOUT_NAMES}
    package("models/unet.py", "import torch\n", "import torch\nADDED = 1\n")
    package("raw/layouts/tgs.py", "from pathlib", "ADDED = 1\nfrom pathlib")
    assert {name for name in NETWORK_NAMES if train(name) != nets[name]} == {"unet"}
    assert {name for name in LAYOUT_NAMES if shard(name) != shards[name]} == {"tgs"}


def test_an_edit_of_a_module_of_a_loss_retrains_only_its_networks(package):
    original = {name: train_plan(loss=name).code_digest for name in ("bce", "lovasz")}
    package("training/lovasz.py", "import torch\n", "import torch\nADDED = 1\n")
    assert {name for name in original if train_plan(loss=name).code_digest != original[name]} == {"lovasz"}


def test_predictions_depend_only_on_their_own_network(package):
    def predict(name):
        recipe = PredictRecipe(
            dataset="d", split="test", kind="probability", precision="fp32", threads=1, test_time="none"
        )
        made_from = {"checkpoint": [train_plan(name).fingerprint().identity]}
        return Plan(STAGES["predict"], {"experiment": "e"}, recipe, {}, made_from).fingerprint().identity

    original = {name: predict(name) for name in NETWORK_NAMES}
    package("models/unet_plain.py", "import torch\n", "import torch\nADDED = 1\n")
    assert {name for name in NETWORK_NAMES if predict(name) != original[name]} == {"unet-original", "unet-small"}


def test_two_networks_of_one_module_differ():
    full, lite = train_plan("u2net"), train_plan("u2net-lite")
    assert full.code() == lite.code()
    assert full.fingerprint() != lite.fingerprint()


def test_stages_import_only_what_they_need():
    for stage in ("threshold", "evaluate", "evaluate_classes", "render", "submission", "baseline", "splits", "check",
                  "folds", "ensemble"):  # fmt: skip
        code, libraries = stage_code(STAGES[stage])
        assert "torch" not in libraries
        assert not any(name.startswith(("pipeline.training", "pipeline.models")) for name in code), stage
    assert not any("evaluation" in name for name in train_plan().code()[0])
    assert "torch" not in shard_plan("tgs").code()[1]
    assert {"torch", "numpy", "cv2", "h5py"} <= train_plan().code()[1].keys()


def test_only_known_modules_import_by_name():
    importing = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if re.search(r"import_module|__import__|runpy", path.read_text())
    }
    assert importing == {
        "cli/job.py",
        "models/registry.py",
        "models/unet_encoder.py",
        "training/augment/augmentation.py",
        "training/losses.py",
        "training/run.py",
    }  # others would be missing in digests


def test_digests_are_equal_under_all_python_versions():
    source = 'def f(x: int = 1) -> str:\n    """Words."""\n    return f"{x!r}" if x else "é"\n'
    assert module._text(ast.parse(source)) == (
        "Module(body=[FunctionDef(name='f',args=arguments(args=[arg(arg='x',annotation=Name(id='int',ctx=Load()))],"
        "defaults=[Constant(value=1)]),body=[Return(value=IfExp(test=Name(id='x',ctx=Load()),"
        "body=JoinedStr(values=[FormattedValue(value=Name(id='x',ctx=Load()),conversion=114)]),"
        "orelse=Constant(value='é')))],returns=Name(id='str',ctx=Load()))])"
    )


def test_library_versions_are_major_and_minor(monkeypatch):
    versions = {"torch": "2.13.0+cpu", "numpy": "2.4.6", "opencv-contrib-python": "5.0.0.93"}

    def version(name):
        if name not in versions:
            raise importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    module._version.cache_clear()
    try:
        assert library_versions(["pipeline.core.counts", "pipeline.models.unet"]) == {
            "cv2": "5.0",
            "numpy": "2.4",
            "torch": "2.13",
        }
        assert library_versions(["pipeline.raw.decode.tiff"])["tifffile"] == "not installed"
    finally:
        module._version.cache_clear()


def test_every_rule_with_output_has_a_plan():
    rules = {}
    for path in (PACKAGE.parent / "workflow/rules").glob("*.smk"):
        for block in re.split(r"^rule ", path.read_text(), flags=re.MULTILINE)[1:]:
            rules[block.partition(":")[0]] = block
    with_output = {name for name, block in rules.items() if re.search(r"^    output:", block, re.MULTILINE)}
    assert {"shard", "train", "predict", "evaluate", "report"} <= with_output
    assert [
        name for name in sorted(with_output) if not re.search(r"^        plan=plan\(", rules[name], re.MULTILINE)
    ] == []


# -- fingerprints ----------------------------------------------------------------------------------------------------


def test_every_part_of_a_fingerprint_changes_the_identity():
    original = train_plan().fingerprint()
    assert re.fullmatch("[0-9a-f]{32}", original.identity)
    assert original.identity == train_plan().fingerprint().identity
    for field in ("settings", "code", "libraries", "raw", "made_from"):
        assert replace(original, **{field: {**getattr(original, field), "other": "x"}}).identity != original.identity, (
            field
        )
    assert replace(original, stage="predict").identity != original.identity


def test_the_result_is_part_of_its_identity():
    plan = train_plan()
    assert replace(plan, result={"experiment": "f"}).fingerprint().identity != plan.fingerprint().identity


def test_excluded_samples_and_paths_do_not_change_a_shard():
    recipe = shard_plan().recipe
    for changes, same in (
        ({"exclude": {"21": "blurred"}, "cache": "results/cache/x.json"}, True),
        ({"root": "elsewhere"}, True),
        ({"mask_kind": "soft"}, False),
    ):
        changed = Plan(STAGES["shard"], SHARD, recipe.changed(source=recipe.source.changed(**changes)))
        assert (changed.fingerprint() == shard_plan().fingerprint()) == same, changes


def test_order_of_keys_and_tuples_do_not_change_the_identity():
    settings = shard_plan(size=(48, 40)).recipe.plain()
    reordered = Plan(STAGES["shard"], SHARD, ShardRecipe.model_validate(dict(reversed(settings.items()))))
    assert reordered.fingerprint().identity == shard_plan().fingerprint().identity


def test_differences_are_described():
    original = shard_plan().fingerprint()
    other = Fingerprint(
        "shard",
        {**original.settings, "size": [64, 64], "normalize": {"method": "minmax"}, "added": "rgb"},
        {**original.code, "pipeline.shards.write": "0" * 16},
        {**original.libraries, "h5py": "9.9"},
        {"raw files": "0"},
        {"train_shards": ["1"], "checkpoint": ["2"]},
    )
    assert differences(original, original) == []
    assert differences(original, other) == [
        "added is none, expected rgb",
        "normalize.method is unit, expected minmax",
        "size is [48, 40], expected [64, 64]",
        "code of pipeline.shards.write differs",
        f"h5py is {original.libraries['h5py']}, expected 9.9",
        "raw files changed",
        "made from a different checkpoint and different train shards",
    ]
    assert differences(train_plan().fingerprint(), original) == ["made by stage train, expected shard"]


def test_many_changed_modules_are_counted():
    original = shard_plan().fingerprint()
    other = Fingerprint("shard", original.settings, dict.fromkeys(original.code, "0"), original.libraries)
    (description,) = differences(original, other)
    assert description.endswith(f" and {len(original.code) - 4} more differs")


@pytest.mark.parametrize("change", [{"size": [64, 64]}, {"layout": "tgs"}])
def test_a_changed_input_changes_the_identity(change):
    original, other = train_plan().fingerprint(), train_plan(**change).fingerprint()
    assert differences(original, other) == ["made from different train shards and different validation shards"]
    assert original.identity != other.identity


def test_changed_code_of_an_input_changes_the_fingerprint(package):
    original = train_plan().fingerprint()
    package("raw/layouts/drive.py", "from pathlib", "ADDED = 1\nfrom pathlib")
    assert differences(original, train_plan().fingerprint()) == [
        "made from different train shards and different validation shards"
    ]


def test_a_plan_of_other_code_is_refused(package):
    text = train_plan().to_json()
    assert Plan.from_json(text, STAGES) == train_plan()
    package("models/unet.py", "import torch\n", "import torch\nADDED = 1\n")
    with pytest.raises(ConfigError, match="run snakemake again: they changed since it planned the job"):
        Plan.from_json(text, STAGES)


# -- completeness -------------------------------------------------------------------------------------------------

CONFIG = """
datasets: {d: {layout: drive, root: DRIVE, size: [48, 48], validation: {fraction: 0.34}}}
experiments:
  e: {dataset: d, model: {name: unet, width: 4, depth: 2}, loss: bce, optimizer: {name: adam, lr: 0.02},
    batch_size: 2, epochs: 1, threads: 1, augment: {flip: both}}
"""
OUTSIDE_STAGES = (
    "pipeline.cli.",
    "pipeline.graph.",
    "pipeline.core.gpus",
    "pipeline.core.paths",
    "pipeline.tools.provenance",
    "pipeline.training.nodes",
)
RESULTS = "results/predictions/e"
SHARDS = "results/shards/d"
PROFILED = """
import inspect, pathlib, sys, threading
from pipeline.cli import main as cli
called = set()
def note(frame, event, _):
    if event == "call" and frame.f_code.co_name != "modules":  # called for the fingerprint
        called.add(frame.f_code)
threading.setprofile(note)
sys.setprofile(note)
status = cli.main(sys.argv[1:])
sys.setprofile(None)
package = pathlib.Path(cli.__file__).parents[2]
files = {pathlib.Path(code.co_filename) for code in called if code.co_flags & inspect.CO_OPTIMIZED}
print(*[".".join(file.relative_to(package).with_suffix("").parts) for file in files if file.is_relative_to(package)])
sys.exit(status)
"""


def called(line, plan, folder):
    """Run a command in a new process; return the modules of this package whose functions it called."""
    command = [sys.executable, "-c", PROFILED, *line.split(), "--plan", plan.to_json()]
    completed = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert completed.returncode == 0, completed.stderr
    return {name for name in completed.stdout.splitlines()[-1].split() if name.startswith("pipeline.")}


@pytest.mark.slow
def test_jobs_call_no_module_outside_their_digest(tmp_path, drive, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text(CONFIG)
    study = Study(load([Path("config.yaml")]))
    for artifact, line in (
        (Shard("d", "train", 0), "shard --dataset d --number 0 --split train"),
        (Shard("d", "validation", 0), "shard --dataset d --number 0 --split validation"),
        (Checkpoint("e"), f"train --experiment e --train-shards {SHARDS}/train-0.h5 --validation-shards "
         f"{SHARDS}/validation-0.h5"),
        (Augmented("e"), f"augmented --experiment e --train-shards {SHARDS}/train-0.h5"),
        (Predictions("e", "validation", "probability"), "predict --experiment e --split validation --kind probability "
         f"--checkpoint results/models/e/best.pt --shards {SHARDS}/validation-0.h5"),
        (Threshold("e"), f"threshold --experiment e --predictions {RESULTS}/validation/probability"),
        (Renderings("e", "validation"), f"render --experiment e --split validation --predictions "
         f"{RESULTS}/validation/probability --threshold {RESULTS}/threshold.json"),
        (Scores("e"), f"evaluate --experiment e --validation-predictions {RESULTS}/validation/probability "
         f"--threshold {RESULTS}/threshold.json"),
        (Baseline("d", "resolution-ceiling", "test"), "baseline --dataset d --kind resolution-ceiling --split test "
         "--output ceiling"),
        (SplitTable("d"), "splits --dataset d"),
    ):  # fmt: skip
        plan = plan_of(artifact, study)
        code = plan.code()[0].keys()
        if isinstance(artifact, Predictions):  # the checkpoint covers the network
            code |= plan_of(Checkpoint("e"), study).code()[0].keys()
        uncovered = called(line, plan, tmp_path) - code - module.EXCLUDED.keys()
        assert not {name for name in uncovered if not name.startswith(OUTSIDE_STAGES)}, artifact
