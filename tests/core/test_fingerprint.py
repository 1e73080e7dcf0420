"""What counts as a change of code, of settings and of libraries, and what does not."""

import ast
import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pipeline.models.names import MODELS

from pipeline.core import fingerprint as module
from pipeline.core.fingerprint import (
    Fingerprint,
    code_digests,
    differences,
    library_versions,
    mismatch,
    read_fingerprint,
)
from pipeline.graph.stages import STAGES, code_digest, fingerprint, stage_code
from pipeline.raw.layouts.registry import LAYOUTS

PACKAGE = Path(module.__file__).parents[1]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package, whose sources are digested in place of the real ones; call it to read it anew."""
    folder = shutil.copytree(PACKAGE, tmp_path / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(module, "_FOLDER", folder)

    def forget():
        for cached in (module._module, module._file, stage_code):
            cached.cache_clear()

    def edit(name, old, new):
        path = folder / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))
        forget()

    forget()
    yield edit
    forget()


def train(model="unet"):
    return code_digest({"stage": "train", "settings": {"model": {"name": model}}})


def shard(layout):
    return code_digest({"stage": "shard", "settings": {"source": {"layout": layout}}})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("import torch\n", "import torch  # the framework\n\n\n"),
        ('"""', '"""Something else. '),
        ("class UNet(", '"""A text by itself."""\n\n\nclass UNet('),
        ("class UNet(", "if TYPE_CHECKING:\n    import pandas\n\n\nclass UNet("),
        ("class UNet(", "if typing.TYPE_CHECKING:\n    from pipeline.report import leaderboard\n\n\nclass UNet("),
        ("from torch import nn", "from torch import (\n    nn\n)"),
    ],
)
def test_words_about_the_code_do_not_count(package, old, new):
    before = train()
    package("models/unet.py", old, new)
    assert train() == before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("models/unet.py", "class UNet(", "class Another("),
        ("models/unet.py", "class UNet(", "EXTRA = 1\n\n\nclass UNet("),
        ("models/unet.py", "import torch\n", "import torch\nimport pipeline.report.leaderboard\n"),
        ("training/losses.py", "def ", "@some.decorator\ndef "),
        ("training/augment.py", " = ", " = 7 and "),
        ("raw/splits/draws.py", "return ", "return not "),  # three imports away
    ],
)
def test_code_counts_where_the_stage_reaches_it(package, file, old, new):
    before, other = train(), code_digest({"stage": "curves", "settings": {}})
    package(file, old, new)
    assert train() != before
    assert code_digest({"stage": "curves", "settings": {}}) == other


def test_imports_are_followed_inside_functions_and_not_for_type_checkers(package):
    assert "pipeline.report.curves" not in code_digests(["pipeline.core.counts"])
    package("core/counts.py", "def ", "def first():\n    from pipeline.report import curves\n\n\ndef ")
    assert "pipeline.report.curves" in code_digests(["pipeline.core.counts"])
    package("core/counts.py", "    from pipeline.report", "    if TYPE_CHECKING:\n        from pipeline.report")
    assert "pipeline.report.curves" not in code_digests(["pipeline.core.counts"])


def test_an_else_of_type_checking_counts(package):
    package(
        "core/counts.py", "def ", "if TYPE_CHECKING:\n    A = 1\nelse:\n    import pipeline.report.curves\n\n\ndef "
    )
    assert "pipeline.report.curves" in code_digests(["pipeline.core.counts"])


@pytest.mark.parametrize("name", sorted(module.OVERLOOKED))
def test_what_is_overlooked_exists_has_a_reason_and_changes_nothing(package, name):
    stages = {stage: code_digest({"stage": stage, "settings": {}}) for stage in STAGES}
    assert len(module.OVERLOOKED[name]) > 10
    assert not any(name in stage_code(stage)[0] for stage in STAGES)
    package(f"{name.removeprefix('pipeline.').replace('.', '/')}.py", '"""\n', '"""\nADDED = 1\n')
    assert {stage: code_digest({"stage": stage, "settings": {}}) for stage in STAGES} == stages


def test_only_the_chosen_network_and_layout_count(package):
    nets, shards = {name: train(name) for name in MODELS}, {name: shard(name) for name in LAYOUTS}
    package("models/unet.py", "import torch\n", "import torch\nADDED = 1\n")
    package("raw/layouts/tgs.py", "from pathlib", "ADDED = 1\nfrom pathlib")
    assert {name for name in MODELS if train(name) != nets[name]} == {"unet"}
    assert {name for name in LAYOUTS if shard(name) != shards[name]} == {"tgs"}


def test_predictions_depend_on_the_network_of_their_checkpoint_and_on_no_other(package):
    def predict(name):
        checkpoint = {"stage": "train", "settings": {"model": {"name": name}}}
        return code_digest({"stage": "predict", "settings": {}, "made_from": {"checkpoint": checkpoint}})

    before = {name: predict(name) for name in MODELS}
    package("models/unet_plain.py", "import torch\n", "import torch\nADDED = 1\n")
    assert {name for name in MODELS if predict(name) != before[name]} == {"unet-original", "unet-small"}


def test_two_networks_of_one_module_differ():
    assert MODELS["u2net"][0] == MODELS["u2net-lite"][0]
    assert train("u2net") != train("u2net-lite")


def test_stages_end_where_they_should():
    for stage in ("threshold", "evaluate", "evaluate_classes", "render", "submission", "baseline", "splits", "check",
                  "folds", "ensemble"):  # fmt: skip
        code, libraries = stage_code(stage)
        assert "torch" not in libraries
        assert not any(name.startswith(("pipeline.training", "pipeline.models")) for name in code), stage
    assert not any("evaluation" in name for name in stage_code("train")[0])
    assert not any("torch" in libraries for libraries in (stage_code("shard", "tgs")[1],))
    assert {"torch", "numpy", "cv2", "h5py"} <= stage_code("train", None, "unet")[1].keys()


def test_only_looked_up_names_are_imported_by_text():
    found = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if re.search(r"import_module|__import__|runpy", path.read_text())
    }
    assert found == {"models/registry.py", "raw/dataset.py"}  # others would hide from the digest


def test_a_digest_is_the_same_under_every_version_of_python():
    source = 'def f(x: int = 1) -> str:\n    """Words."""\n    return f"{x!r}" if x else "é"\n'
    assert module._text(ast.parse(source)) == (
        "Module(body=[FunctionDef(name='f',args=arguments(args=[arg(arg='x',annotation=Name(id='int',ctx=Load()))],"
        "defaults=[Constant(value=1)]),body=[Return(value=IfExp(test=Name(id='x',ctx=Load()),"
        "body=JoinedStr(values=[FormattedValue(value=Name(id='x',ctx=Load()),conversion=114)]),"
        "orelse=Constant(value='é')))],returns=Name(id='str',ctx=Load()))])"
    )


def test_libraries_count_to_the_minor_version(monkeypatch):
    versions = {"torch": "2.13.0+cpu", "numpy": "2.4.6", "opencv-contrib-python": "5.0.0.93"}

    def version(name):
        if name not in versions:
            raise importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    module._version.cache_clear()
    try:
        assert library_versions(["pipeline.training.preview"]) == {"cv2": "5.0", "numpy": "2.4", "torch": "2.13"}
        assert library_versions(["pipeline.raw.decode.tiff"])["tifffile"] == "not installed"
    finally:
        module._version.cache_clear()


def test_every_rule_that_makes_something_says_which_code_makes_it():
    rules = {}
    for path in (PACKAGE.parent / "workflow/rules").glob("*.smk"):
        for block in re.split(r"^rule ", path.read_text(), flags=re.MULTILINE)[1:]:
            rules[block.partition(":")[0]] = block
    making = {name for name, block in rules.items() if re.search(r"^    output:", block, re.MULTILINE)}
    assert {"shard", "train", "predict", "evaluate", "report"} <= making
    assert [name for name in sorted(making) if not re.search(r"^        code=", rules[name], re.MULTILINE)] == []
    cached = {name for name, block in rules.items() if "    cache: True" in block}
    assert cached == {"shard", "train"}
    assert not any("benchmark:" in rules[name] for name in cached)  # Snakemake refuses the pair


# -- fingerprints ----------------------------------------------------------------------------------------------------


def plan(**settings):
    source = {"layout": "drive", "root": "raw"}
    return {
        "stage": "shard",
        "settings": {"size": [48, 40], "normalize": {"method": "unit"}, "source": source, **settings},
    }


def trained(**settings):
    return {
        "stage": "train",
        "settings": {"model": {"name": "unet"}, "seed": 0},
        "made_from": {"train shards": plan(**settings), "validation shards": plan(**settings)},
    }


def test_a_fingerprint_survives_being_written(tmp_path):
    made = fingerprint(trained())
    again = Fingerprint.from_json(made.to_json())
    assert again == made
    assert again.digest == made.digest
    assert json.loads(made.to_json())["made_from"]["train shards"]["settings"]["size"] == [48, 40]
    module.sign(made.to_json(), tmp_path)
    module.sign(None, tmp_path / "nowhere")
    assert mismatch(tmp_path, read_fingerprint(tmp_path), made) is None
    assert [path.name for path in tmp_path.iterdir()] == [module.FILE]


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "{}", '{"stage": "train"}'])
def test_what_is_no_fingerprint_is_said_to_be_damaged(tmp_path, text):
    problem = mismatch(tmp_path / "x y", text, fingerprint(plan()))
    assert problem.found == "a damaged fingerprint"
    assert f"rm -r '{tmp_path / 'x y'}'" in problem.remedy


def test_a_result_without_a_fingerprint_is_named(tmp_path):
    assert mismatch(tmp_path, read_fingerprint(tmp_path / "nowhere"), fingerprint(plan())).found == "no fingerprint"


def test_members_of_a_shard_are_no_part_of_its_fingerprint():
    source = {"layout": "drive", "root": "raw", "exclude": {"21": "blurred"}, "cache": "results/cache/x.json"}
    assert fingerprint(plan(source=source)) == fingerprint(plan())
    assert fingerprint(plan(source={"layout": "drive", "root": "elsewhere"})) != fingerprint(plan())


def test_the_order_of_keys_and_tuples_for_lists_change_nothing():
    turned = {**plan(), "settings": dict(reversed(plan(size=(48, 40))["settings"].items()))}
    assert fingerprint(turned).digest == fingerprint(plan()).digest


def test_differences_name_what_differs():
    made = fingerprint(plan())
    other = Fingerprint(
        "shard",
        {**made.settings, "size": [64, 64], "normalize": {"method": "minmax"}, "channels": "rgb"},
        {**made.code, "pipeline.shards.write": "0" * 16},
        {**made.libraries, "h5py": "9.9"},
    )
    assert differences(made, made) == []
    assert differences(made, other) == [
        "channels none here, rgb asked for",
        "normalize.method unit here, minmax asked for",
        "size [48, 40] here, [64, 64] asked for",
        "code of pipeline.shards.write differs",
        f"h5py {made.libraries['h5py']} here, 9.9 asked for",
    ]
    assert differences(fingerprint(trained()), made) == ["made by stage train here, shard asked for"]


def test_many_changed_modules_are_counted():
    made = fingerprint(plan())
    other = Fingerprint("shard", made.settings, dict.fromkeys(made.code, "0"), made.libraries)
    (said,) = differences(made, other)
    assert said.endswith(f" and {len(made.code) - 4} more differs")


def test_differences_go_down_to_what_it_was_made_from():
    made, other = fingerprint(trained()), fingerprint(trained(size=[64, 64]))
    assert differences(made, other) == [
        "train shards and validation shards: size [48, 40] here, [64, 64] asked for",
    ]
    alone = Fingerprint(made.stage, made.settings, made.code, made.libraries)
    assert differences(alone, made) == ["train shards and validation shards: not known what made it"]
    assert differences(made, alone) == ["train shards and validation shards: used here, not asked for"]


def test_changed_code_of_a_part_is_seen(package):
    made = fingerprint(trained())
    package("raw/layouts/drive.py", "from pathlib", "ADDED = 1\nfrom pathlib")
    assert differences(made, fingerprint(trained())) == [
        "train shards and validation shards: code of all modules differs"
    ]


def test_settings_that_nobody_checked_do_not_break_it():
    for settings in ({"source": 5}, {"source": {"layout": ["x"]}}, {"model": "unet"}, {"model": {"name": "nope"}}):
        assert fingerprint({"stage": "train", "settings": settings}).settings == settings


# -- nothing is missed -------------------------------------------------------------------------------------------------

CONFIG = """
datasets: {d: {layout: drive, root: DRIVE, size: [48, 48], validation: {fraction: 0.34}}}
experiments:
  e: {dataset: d, model: {name: unet, width: 4, depth: 2}, loss: bce, optimizer: {name: adam, lr: 0.02},
    batch_size: 2, epochs: 1, threads: 1, augment: {flip: both}}
"""
NOT_THE_STAGE = ("pipeline.cli.", "pipeline.graph.", "pipeline.core.")
SHARD = "shard --dataset d --shard 0 --split"


def loaded(line, settings, folder):
    """Run a verb by itself; return the modules of this package that it loaded."""
    code = (
        "import sys; from pipeline.cli import main as cli; status = cli.main(sys.argv[1:]); "
        "loaded = {n: m.__file__ for n, m in sys.modules.items() if n.startswith('pipeline.')}; "
        "print(*[n for n, file in loaded.items() if not file.endswith('__init__.py')]); "
        "sys.exit(status)"
    )
    words = [sys.executable, "-c", code, *line.split(), "--settings", json.dumps(settings)]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.slow
def test_a_job_loads_no_module_that_its_digest_misses(tmp_path, drive, monkeypatch):
    from pipeline.config.config import load

    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text(CONFIG)
    config = load([Path("config.yaml")])
    model, results = "results/models/e/best.pt", "results/predictions/e"
    for stage, line, settings in (
        ("shard", f"{SHARD} train", config.shard_settings("d", "train")),
        ("shard", f"{SHARD} validation", config.shard_settings("d", "validation")),
        ("train", "train --experiment e --train-shards results/shards/d/train-0.h5 --validation-shards "
         "results/shards/d/validation-0.h5", config.train_settings("e")),
        ("augmented", "augmented --experiment e --train-shards results/shards/d/train-0.h5",
         config.augmented_settings("e")),
        ("predict", f"predict --experiment e --split validation --checkpoint {model} --kind probability --shards "
         "results/shards/d/validation-0.h5", config.predict_settings("e")),
        ("threshold", "threshold --experiment e", config.threshold_settings("e")),
        ("render", "render --experiment e --split validation", config.render_settings("e", "validation")),
        ("evaluate", f"evaluate --experiment e --predictions validation={results}/validation/probability",
         config.evaluate_settings("e")),
        ("baseline", "baseline --dataset d --kind resolution-ceiling --split test --output ceiling",
         config.baseline_settings("d", "resolution-ceiling", "test")),
        ("splits", "splits --dataset d", config.splits_settings("d")),
    ):  # fmt: skip
        layout = "drive" if "source" in settings else None
        known = stage_code(stage, layout, "unet" if stage in ("train", "predict") else None)[0]
        left = {name for name in loaded(line, settings, tmp_path) if not name.startswith(NOT_THE_STAGE)} - known.keys()
        # what the command line itself looks names up in
        looked_up = code_digests(["pipeline.evaluation.entrants", "pipeline.raw.splits.assign"])
        assert left <= {*looked_up, "pipeline.tools.provenance"}, (
            stage
        )  # provenance tells of a training what nothing reads
