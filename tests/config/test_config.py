import json
import re
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import yaml

from pipeline.config import config
from pipeline.core.errors import ConfigError
from pipeline.core.options import tag_values
from pipeline.evaluation.criteria import score_at_levels
from pipeline.evaluation.metrics import CRITERIA
from pipeline.evaluation.recipes import ChosenThreshold
from pipeline.graph.artifacts import Checkpoint, SplitTable
from pipeline.graph.study import Study
from pipeline.raw.dataset import open_dataset
from pipeline.raw.layouts.drive import Drive
from pipeline.raw.layouts.registry import LAYOUTS
from pipeline.raw.source import Source

ROOT = Path(__file__).parents[2]

GOOD = """
datasets:
  drive: {layout: drive, root: data/raw/DRIVE, size: [512, 512]}
experiments:
  drive-unet: {dataset: drive, model: {name: unet}, loss: mse, optimizer: {name: sgd, lr: 0.01, momentum: 0.9}, \
batch_size: 1, epochs: 100}
"""


def changed(**changes):
    """Parse GOOD with dotted keys set to other values."""
    data = yaml.safe_load(GOOD)
    for path, value in changes.items():
        node = data
        *steps, last = path.replace("__", "-").split("/")
        for step in steps:
            node = node.setdefault(step, {})
        node[last] = value
    return config.parse(data)


def complaints(**changes):
    with pytest.raises(ConfigError) as caught:
        changed(**changes)
    return caught.value


def test_readme_example_is_valid_and_frozen():
    parsed = config.parse(yaml.safe_load(GOOD))
    assert parsed.experiments["drive-unet"].optimizer.momentum == 0.9
    with pytest.raises(ValueError, match="frozen"):
        parsed.experiments["drive-unet"].epochs = 3


def test_configuration_without_experiments_is_valid():
    assert changed(experiments={}).experiments == {}
    assert changed(experiments=None).experiments == {}


def test_configuration_files_of_the_project_are_valid():
    for path in (ROOT / "config.yaml", *sorted((ROOT / "config").glob("*.yaml"))):
        assert config.load([path]).experiments


def test_tutorials_on_a_processor_differ_only_in_what_the_file_says():
    full, cpu = (config.load([ROOT / f"config/{name}.yaml"]) for name in ("tutorials", "tutorials-cpu"))
    for name in full.datasets.keys() & cpu.datasets.keys():
        given = cpu.datasets[name].model_copy(update={"root": full.datasets[name].root})
        assert given == full.datasets[name]
    common = full.experiments.keys() & cpu.experiments.keys()
    assert common == {"a-drive", "b-shapes", "b-shapes-as-published", "e-tgs"}
    for name in common:
        expected = full.experiments[name]
        changed_keys = {"precision": expected.precision, "threads": expected.threads}
        if name == "a-drive":
            changed_keys["model"] = expected.model
        assert cpu.experiments[name].model_copy(update=changed_keys) == expected


def test_schema_file_is_up_to_date():
    written = json.loads((ROOT / "workflow/schemas/config.schema.json").read_text())
    assert written == json.loads(json.dumps(config.schema()))


def test_schema_agrees_with_the_parser():
    checker = jsonschema.Draft202012Validator(config.schema())
    for path in (ROOT / "config.yaml", *sorted((ROOT / "config").glob("*.yaml"))):
        # PyYAML reads 1e-3 as text; editors follow YAML 1.2, where it is a number
        text = re.sub(r"\b\de-\d\b", lambda found: f"{float(found[0]):.12f}", path.read_text())
        assert list(checker.iter_errors(yaml.safe_load(text))) == [], path
    good = yaml.safe_load(GOOD)
    checker.validate({**good, "experiments": {"drive-unet": None}})
    for change in ({"loss": "mze"}, {"model": "unt"}, {"epochs": 0}, {"colour": 1}, {"schedule": "cosin"}):
        bad = {**good, "experiments": {"e": {**good["experiments"]["drive-unet"], **change}}}
        assert list(checker.iter_errors(bad)), change


def test_all_mistakes_are_reported_at_once_with_key_paths():
    error = complaints(
        **{
            "datasets/drive/size": [512, 51.5],
            "datasets/drive/colour": "red",
            "experiments/drive__unet/loss": "mze",
            "experiments/drive__unet/epochs": 0,
            "experiments/drive__unet/optimizer": {"name": "sdg", "lr": 1},
            "experiments/bad name": None,
            "experiment": {},
            "experiments/other": {"dataset": "drvie"},
        }
    )
    where = {problem.where: problem for problem in error.problems}
    assert "datasets.drive.size" in where
    assert "'mse', 'bce', 'bce-with-logits'" in where["experiments.drive-unet.loss"].expected
    assert "did you mean 'mse'" in where["experiments.drive-unet.loss"].remedy
    assert "did you mean 'sgd'" in where["experiments.drive-unet.optimizer"].remedy
    assert "did you mean `experiments`" in where["experiment"].remedy
    assert where["experiments.other.dataset"].expected == "one of the data sets: drive"
    assert where["datasets.drive.colour"].found == "the unknown key 'colour'"
    assert "greater than or equal to 1" in where["experiments.drive-unet.epochs"].expected


@pytest.mark.parametrize("name", ["", "a/b", "..", "-rf", ".hidden", "a b", "ä", "x" * 65, "a.second-observer"])
def test_names_that_are_invalid_in_paths_are_rejected(name):
    error = complaints(**{"datasets": {name: {"layout": "tgs", "root": "x", "size": "native"}}})
    assert any("not allowed in paths" in problem.found for problem in error.problems)


def test_names_that_differ_only_in_case_are_rejected():
    tgs = {"layout": "tgs", "root": "x", "size": "native"}
    assert "'a' and 'A'" in str(complaints(datasets={"a": tgs, "A": tgs}))


def test_inconsistent_settings_are_rejected():
    assert "one of the data sets: drive" in str(complaints(**{"experiments/drive__unet/dataset": "drvie"}))
    assert "threshold: 0.5" in str(complaints(**{"datasets/drive/validation": {"fraction": 0}}))
    for changes, message in (
        ({"experiments/drive__unet/schedule": {"name": "cosine", "warmup": 100}}, "shorter than the training"),
        ({"experiments/drive__unet/schedule": {"name": "constant", "warmup": 1}}, "unknown key 'warmup'"),
        (
            {
                "experiments/drive__unet/schedule": {"name": "cosine", "warmup": 2},
                "experiments/drive__unet/stages": [{"epochs": 4, "lr": 1e-4}, {"epochs": 2, "lr": 1e-5}],
            },
            "a warm-up shorter than stage 3, which has this schedule too",
        ),
        ({"datasets/drive/normalize": {"method": "standard", "mean": [0.5], "std": [0.2]}}, "3 of each"),
        ({"datasets/drive/normalize": {"method": "unit", "mean": [0.5]}}, "other methods have neither"),
        (
            {
                "datasets/drive/normalize": {"method": "standard", "mean": [0.5] * 3, "std": [0.2, 0.2, 1e-6]},
                "datasets/drive/storage": "float16",
            },
            "values that `storage: float16` can hold",
        ),
        (
            {"datasets/drive/normalize": {"method": "standard", "mean": [123.675, 116.28, 103.53], "std": [58] * 3}},
            "divide values for 8-bit images by 255",
        ),
        ({"datasets/drive/normalize": "standard"}, "`standard` needs `mean` and `std`"),
        ({"experiments/drive__unet/optimizer": "sgd"}, "a mapping, such as"),
    ):
        assert message in str(complaints(**changes)), message
    unwatched = {"datasets/drive/validation": {"fraction": 0}, "experiments/drive__unet/threshold": 0.5}
    falling = [{"epochs": 2, "schedule": {"name": "plateau"}}]
    assert "experiments.drive-unet.stages" in str(
        complaints(**unwatched, **{"experiments/drive__unet/stages": falling})
    )
    assert "monitor" in str(complaints(**unwatched, **{"experiments/drive__unet/monitor": "val_dice"}))
    changed(**{"datasets/drive/validation": {"fraction": 0}, "experiments/drive__unet/threshold": 0.5})


def test_settings_that_do_not_fit_several_classes(monkeypatch):
    def loss(name):
        return {"experiments/drive__unet/loss": name}

    names = ("background", "circle", "square")
    monkeypatch.setattr(Drive, "class_names", lambda self: names)
    assert "'mse', while its data set has 3 classes (background, circle, square)" in str(complaints(**loss("mse")))
    assert "cross-entropy, cross-entropy-dice, lovasz-softmax, softmax-bce, softmax-dice" in str(
        complaints(**loss("bce-dice"))
    )
    for threshold in (0.5, "validation"):
        message = str(complaints(**loss("cross-entropy"), **{"experiments/drive__unet/threshold": threshold}))
        assert "remove `threshold`" in message
    for monitor in ("val_mae", "val_max_f"):
        message = str(complaints(**loss("cross-entropy"), **{"experiments/drive__unet/monitor": monitor}))
        assert f"{monitor!r}, while its data set has 3 classes" in message
    without = {"datasets/drive/validation": {"fraction": 0}, "experiments/drive__unet/keep_probability": True}
    parsed = changed(**loss("cross-entropy"), **without)
    assert parsed.datasets["drive"].multiclass


def test_threshold_criteria_are_those_that_can_be_computed():
    for metric, criterion in CRITERIA.items():
        for averaging in ("micro", "macro"):
            threshold = {"experiments/drive__unet/threshold": {"metric": metric, "averaging": averaging}}
            if averaging == "micro" and criterion.macro_only:
                assert "averaging: macro" in str(complaints(**threshold))
                continue
            chosen = changed(**threshold).experiments["drive-unet"].threshold
            assert chosen == ChosenThreshold(metric=metric, averaging=averaging)
    for wrong in ("f1", {"metric": "dice"}, {"metric": "f1", "by": "mean"}, {"averaging": "median"}, 1, [0.5]):
        error = complaints(**{"experiments/drive__unet/threshold": wrong})
        assert len(error.problems) == 1, str(error)
        assert error.problems[0].where.startswith("experiments.drive-unet.threshold"), str(error)


def test_only_macro_criteria_depend_on_empty_masks():
    rng = np.random.default_rng(0)
    nothing = np.zeros((3, 2, 256), np.int64)
    nothing[:, 0] = rng.integers(0, 3, (3, 256))
    nothing[2, 1] = rng.integers(0, 3, 256)  # one image with foreground, two that are empty at the highest thresholds
    nothing[:, 0, 200:] = 0
    for metric in CRITERIA:
        for averaging in ("micro", "macro"):
            one, skip = (score_at_levels(nothing, metric, averaging, policy) for policy in ("one", "skip"))
            if averaging == "macro" or not CRITERIA[metric].macro_only:
                depends = ChosenThreshold(metric=metric, averaging=averaging).depends_on_empty
                assert depends == (not np.array_equal(one, skip, equal_nan=True)), (metric, averaging)


def test_binary_probabilities_are_always_stored():
    changed(**{"experiments/drive__unet/keep_probability": True})
    error = complaints(**{"experiments/drive__unet/keep_probability": False})
    assert [problem.where for problem in error.problems] == ["experiments.drive-unet.keep_probability"]


@pytest.mark.parametrize("value", [True, "many", None, -1, float("nan")])
def test_booleans_and_text_are_no_numbers(value):
    assert "epochs" in str(complaints(**{"experiments/drive__unet/epochs": value}))
    if value is not None:
        assert "datasets.drive.shards" in str(complaints(**{"datasets/drive/shards": value}))
        assert "model" in str(complaints(**{"experiments/drive__unet/model": {"name": "unet", "depth": value}}))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("batch_size", 2**63),
        ("epochs", 10**39),
        ("repeats", 10**6),
        ("optimizer", {"name": "adam", "lr": 1e300}),
        ("optimizer", {"name": "sgd", "lr": 0.1, "weight_decay": 1e39}),
        ("schedule", {"name": "plateau", "monitor": "val_loss", "patience": 2**31}),
    ],
)
def test_numbers_that_no_training_can_use_are_rejected(key, value):
    text = str(complaints(**{f"experiments/drive__unet/{key}": value}))
    assert f"experiments.drive-unet.{key}" in text
    assert "a number below" in text or "less than or equal to 10000" in text, text


def test_number_1e_3_that_yaml_reads_as_text():
    parsed = changed(**{"experiments/drive__unet/optimizer": yaml.safe_load("{name: adam, lr: 1e-3}")})
    assert parsed.experiments["drive-unet"].optimizer.lr == 0.001


def test_later_files_override_and_null_removes(tmp_path):
    (tmp_path / "a.yaml").write_text(GOOD)
    (tmp_path / "b.yaml").write_text("experiments: {drive-unet: {epochs: 3}}")
    (tmp_path / "c.yaml").write_text("experiments: {drive-unet: null}")
    one, two, three = tmp_path / "a.yaml", tmp_path / "b.yaml", tmp_path / "c.yaml"
    assert config.load([one, two]).experiments["drive-unet"].epochs == 3
    assert config.load([one, two]).experiments["drive-unet"].batch_size == 1
    assert config.load([one, two, three]).experiments == {}


LAYERED = """
datasets:
  d:
    layout: folder
    root: .
    size: native
    labels: {0: background, 128: edge, 255: cell, "#0000ff": sky}
    colours: {cell: "#ff0000", edge: "#00ff00"}
    exclude: {"1": blurred, "2": double}
    test: {rule: fraction, fraction: 0.3, seed: 4}
    normalize: {method: standard, mean: [0.5, 0.5, 0.5], std: [0.2, 0.2, 0.2]}
experiments:
  e:
    {dataset: d, model: {name: unet, width: 8, depth: 3}, loss: cross-entropy,
     optimizer: {name: sgd, lr: 0.1, momentum: 0.9}, batch_size: 1, epochs: 1}
"""


def layered(folder, *later):
    paths = [folder / f"{number}.yaml" for number in range(len(later) + 1)]
    for path, text in zip(paths, (LAYERED, *later), strict=True):
        path.write_text(text)
    return config.load(paths)


@pytest.mark.parametrize(
    ("later", "key", "expected"),
    [
        ("exclude: null", "exclude", {}),
        ('exclude: {"1": null}', "exclude", {"2": "double"}),
        ('exclude: {"1": ~, "3": new}', "exclude", {"2": "double", "3": "new"}),
        ("colours: null", "colours", {}),
        ("colours: {edge: null}", "colours", {"cell": "#ff0000"}),
        ("labels: {128: null}, colours: null", "labels", {"0": "background", "255": "cell", "#0000ff": "sky"}),
        ('labels: {"128": null, "0, 0, 255": null}, colours: null', "labels", {"0": "background", "255": "cell"}),
    ],
)
def test_null_removes_entries_of_an_earlier_file(tmp_path, later, key, expected):
    layout = layered(tmp_path, f"datasets: {{d: {{{later}}}}}").datasets["d"]
    assert getattr(layout, key) == expected
    schema = jsonschema.Draft202012Validator(config.schema())
    if key != "labels" and "null}" in later:
        data = yaml.safe_load(LAYERED)
        data["datasets"]["d"].update(yaml.safe_load(f"{{{later}}}"))
        schema.validate(data)


OTHER_KINDS = {
    "rule": ("datasets: {d: {test: {rule: k-fold, folds: 5, fold: 0%s}}}", "fraction"),
    "network": ("experiments: {e: {model: {name: u2net%s}}}", "depth"),
    "optimizer": ("experiments: {e: {optimizer: {name: adam%s}}}", "momentum"),
}


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_options_of_another_kind_are_removed_by_null_as_advised(tmp_path, kind):
    text, key = OTHER_KINDS[kind]
    with pytest.raises(ConfigError) as caught:
        layered(tmp_path, text % "")
    removals = {problem.where.rpartition(".")[2]: problem.remedy for problem in caught.value.problems}
    assert removals[key] == f"leave the key out; where an earlier file sets it, write `{key}: null`"
    nulls = "".join(f", {name}: null" for name in removals)
    parsed = layered(tmp_path, text % nulls)
    assert parsed.datasets["d"].test.seed == 4
    assert parsed.experiments["e"].optimizer.lr == 0.1
    with pytest.raises(ConfigError, match="unknown key 'fractoin'"):
        layered(tmp_path, text % f"{nulls}, fractoin: null")


@pytest.mark.parametrize("text", ["a: [", "- 1", "", "a: !!python/object/apply:os.system ['true']", "\tx: 1"])
def test_files_that_are_not_a_configuration_are_rejected(tmp_path, text):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"c\.yaml"):
        config.load([path])
    with pytest.raises(ConfigError, match=r"gone\.yaml"):
        config.load([tmp_path / "gone.yaml"])


@pytest.mark.parametrize(
    "tiles", [{"size": [16, 64]}, {"size": 64}, {"size": [64, 64], "overlap": 1}, {"size": [64, 96], "margin": 32}]
)
def test_invalid_tiles_are_rejected(tiles):
    assert "experiments.drive-unet.tiles" in str(complaints(**{"experiments/drive__unet/tiles": tiles}))


def with_dataset(**keys):
    """Parse one data set that no experiment uses."""
    return config.parse({"datasets": {"x": {"root": "r", "size": [64, 64], **keys}}})


def source(parsed, *splits, **asked):
    """What decides some splits of the data set x."""
    return Study(parsed).source("x", *splits, **asked)


def wrong(**keys):
    with pytest.raises(ConfigError) as caught:
        with_dataset(**keys)
    return {problem.where: f"{problem}" for problem in caught.value.problems}


def test_layout_defaults():
    shapes, duts, folder = (with_dataset(layout=name).datasets["x"] for name in ("shapes", "duts", "folder"))
    assert (shapes.normalize.method, shapes.test.rule, shapes.validation.rule) == ("symmetric",) + ("official",) * 2
    assert shapes.layout_options.class_names() == ("background", "circle", "triangle", "square")
    assert (duts.mask_kind, duts.test.rule, duts.validation.fraction) == ("soft", "official", 0.1)
    assert duts.normalize.mean == (0.485, 0.456, 0.406)
    assert (folder.test.rule, folder.validation.fraction) == ("fraction", 0.2)
    assert folder.layout_options.class_names() == ("background", "foreground")
    split = with_dataset(layout="folder", images="{split}/img", masks="{split}/lab").datasets["x"]
    assert (split.test.rule, split.validation.rule) == ("official", "official")
    fixed = with_dataset(layout="folder", images="{split}/img", masks="{split}/lab", validation={"fraction": 0.1})
    assert fixed.datasets["x"].validation.rule == "fraction"


def test_split_rules():
    for rule in (
        "official",
        {"rule": "official"},
        {"fraction": 0.3},
        {"rule": "fraction", "fraction": 0.3, "seed": 1},
        {"rule": "list", "file": "val.txt"},
        {"rule": "k-fold", "folds": 5, "fold": 4, "seed": 2},
    ):
        parsed = with_dataset(layout="shapes", validation=rule)
        validation = source(parsed, "train").validation
        assert validation.rule == (rule if isinstance(rule, str) else rule.get("rule", "fraction"))
        jsonschema.Draft202012Validator(config.schema()).validate(
            {"datasets": {"x": {"layout": "shapes", "root": "r", "size": "native", "validation": rule}}}
        )
    assert source(with_dataset(layout="shapes", validation={"fraction": 0}), "train").validation is None
    assert "0 to 4" in wrong(layout="shapes", test={"rule": "k-fold", "folds": 5, "fold": 5})["datasets.x.test"]
    assert "datasets.x.test.file" in wrong(layout="shapes", test={"rule": "list"})
    assert "'sed'" in wrong(layout="shapes", validation={"fraction": 0.2, "sed": 1})["datasets.x.validation.sed"]
    extra = {"rule": "fraction", "fraction": 2, "sed": 1}
    assert {"datasets.x.test.sed", "datasets.x.test.fraction"} == set(wrong(layout="shapes", test=extra))
    for kind, layout in zip(LAYOUTS, tag_values(LAYOUTS, "layout"), strict=True):
        for split in {"test", "validation"} - {*kind.official}:
            problem = wrong(layout=layout, **{split: "official"})[f"datasets.x.{split}"]
            assert f"has no official {split} samples" in problem


def test_labels_determine_classes_and_order():
    labels = {255: "vessel", "#000": "x"}
    assert "neither a grey value" in wrong(layout="folder", labels=labels)["datasets.x.labels"]
    parsed = with_dataset(layout="folder", labels={255: "vessel", "0": "background", "#0A0B0C": "vessel"}, ignore=[7])
    assert parsed.datasets["x"].layout_options.class_names() == ("background", "vessel")
    layout = source(parsed, "train").plain()["layout"]
    assert layout["labels"] == {"255": "vessel", "0": "background", "#0a0b0c": "vessel"}
    assert layout["ignore"] == ["7"]
    other = with_dataset(layout="folder", labels={0: "b", 1: "c", 2: "a"}, classes=["b", "a", "c"])
    assert other.datasets["x"].layout_options.class_names() == ("b", "a", "c")
    named = with_dataset(layout="folder", classes=["b", "a"]).datasets["x"].layout_options.mask_labels()
    assert (named.classes, named.label_map.meaning) == (("b", "a"), {0: 0, 255: 1})
    soft = source(with_dataset(layout="folder", classes=["b", "a"], mask_kind="soft"), "train")
    assert soft.mask_kind == "soft"


THREE = {0: "background", 1: "a", 2: "b"}


@pytest.mark.parametrize(
    ("keys", "key", "message"),
    [
        ({"labels": {0: "a/b", 1: "c"}}, "labels", "match pattern"),
        ({"labels": {0: "background"}}, "labels", "at least one other"),
        ({"labels": {0: "a", 1: "A"}}, "labels", "upper and lower case"),
        ({"labels": {0: "background", 1: "a", 2: "mean"}}, "labels", "another name"),
        ({"labels": {"#ff0000": "a", "255,0,0": "b"}}, "labels", "is repeated"),
        ({"labels": {0: "a", 4: "b"}, "tolerance": 2}, "tolerance", "0 and 4 overlap"),
        ({"ignore": [250], "tolerance": 3}, "tolerance", "250 and 255 overlap"),
        ({"ignore": [255]}, "ignore", "which is the class foreground in `labels`"),
        ({"ignore": ["white"]}, "ignore.0", "neither a grey value"),
        ({"tolerance": 128}, "tolerance", "127"),
        ({"labels": THREE, "classes": ["background", "a"]}, "classes", "the same names in both"),
        ({"classes": ["background", "a", "b"]}, "labels", "the mask values of each class"),
        ({"labels": THREE, "inverted": True}, "inverted", "two classes"),
        ({"labels": THREE, "mask_kind": "soft"}, "mask_kind", "two classes, background and one other"),
        ({"labels": {0: "a", 1: "b"}, "mask_kind": "soft"}, "labels", "pixels of soft masks are probabilities"),
        ({"tolerance": 1, "mask_kind": "soft"}, "tolerance", "pixels of soft masks are probabilities"),
        ({"colours": {"a": "#ff0000"}}, "colours", "unknown: a"),
        ({"colours": {"background": "red"}}, "colours.background", "neither a grey value"),
        ({"colours": {"background": "#ff0000", "foreground": "255,0,0"}}, "colours", "one colour for two classes"),
        ({"images": "/data/images"}, "images", "below `root`"),
        ({"images": "../images"}, "images", "below `root`"),
        ({"images": "a/**/b/**"}, "images", "at most once"),
        ({"images": "{splits}/a"}, "images", "no other braces"),
        ({"images": "images/*.png"}, "images", "folders, not files"),
        ({"image_name": "a"}, "image_name", "{id} once"),
        ({"mask_name": "{id}/{id}"}, "mask_name", "{id} once"),
        ({"masks": "images"}, "masks", "the same files as `images`"),
        ({"masks": "{split}/m"}, "images", "no {split}, while masks has one"),
        ({"prefix_ids": True}, "prefix_ids", "`images`, `masks` has no {split}"),
        ({"split_folders": {"train": ["a"]}}, "split_folders", "no pattern has {split}"),
        ({"images": "{split}", "split_folders": {"train": ["A"], "test": ["a"]}}, "split_folders", "a more than once"),
        ({"split_folders": {"trian": ["a"]}}, "split_folders.trian", "did you mean `train`"),
    ],
)
def test_invalid_folder_data_sets_are_rejected(keys, key, message):
    problems = wrong(layout="folder", **keys)
    assert message in problems[f"datasets.x.{key}"]


def test_soft_masks_with_several_classes_are_rejected():
    assert "4 classes" in wrong(layout="shapes", mask_kind="soft")["datasets.x.mask_kind"]


def test_training_on_a_data_set_without_masks_is_rejected():
    folder = {"layout": "folder", "root": "r", "size": "native", "masks": None}
    assert not config.parse({"datasets": {"x": folder}}).datasets["x"].layout_options.labelled
    assert "without masks" in str(complaints(**{"datasets/drive": folder}))


def test_class_colours_affect_only_renderings():
    base = {"layout": "folder", "labels": {0: "background", 255: "a"}}
    one, other = with_dataset(**base), with_dataset(**base, colours={"a": "#ff0000"})
    assert source(one, "train") == source(other, "train")
    assert source(one, "test", presentation=True) != source(other, "test", presentation=True)


@pytest.mark.parametrize(
    "keys",
    [
        {"layout": "folder", "images": "{split}/i/**", "masks": "{split}/m/**", "labels": THREE, "prefix_ids": True},
        {"layout": "folder", "mask_kind": "soft", "inverted": True, "fov": "fov", "ignore": []},
        {"layout": "folder", "pages": "samples", "images": "train/i/**", "masks": "train/m/**"},
        {"layout": "folder", "merge_masks": True, "images": "train/i/*", "masks": "train/m/*"},
        {"layout": "shapes"},
        {"layout": "duts"},
    ],
)
def test_settings_survive_json_and_open_the_data_set(tmp_path, keys):
    for name in ("train/i/p/1.png", "train/m/p/1.png", "val/i/1.png", "val/m/1.png", "images/1.png", "masks/1.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name in ("fov/1.png", "train_imgs/1.jpg", "train_mask/1.png", "train_imgs/800.jpg", "train_mask/800.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name in ("DUTS-TR/DUTS-TR-Image/1.jpg", "DUTS-TR/DUTS-TR-Mask/1.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    parsed = with_dataset(**{**keys, "root": str(tmp_path)})
    plain = json.loads(json.dumps(SplitTable("x").recipe(Study(parsed)).plain(), sort_keys=True))
    raw = open_dataset("x", Source.model_validate(plain["source"]))
    assert raw.classes == parsed.datasets["x"].layout_options.class_names()
    assert len(raw.splits["train"]) == 1


def test_two_names_of_one_loss_give_one_recipe():
    for loss_name in ("bce-with-logits", {"name": "bce-with-logits"}):
        one, other = (
            Checkpoint("drive-unet").recipe(Study(changed(**{"experiments/drive__unet/loss": loss})))
            for loss in (loss_name, "bce")
        )
        assert one == other


def test_valid_and_invalid_experiments():
    for change in (
        {"model": "u2net-lite"},
        {"model": {"name": "unet-small", "widths": [8, 16, 32]}},
        {"schedule": {"name": "plateau", "patience": 2}, "early_stopping": 4},
        {"augment": {"flip": "both", "elastic": {}, "scale": [0.5, 2]}, "crop": [64, 64]},
        {"loss": {"name": "bce", "border": {}, "class_balance": True}},
    ):
        assert changed(**{f"experiments/drive__unet/{key}": value for key, value in change.items()})
    for change, message in (
        ({"loss": {"name": "dice", "border": {}}}, "or choose another loss, for example bce-dice"),
        ({"augment": {"scale": [2, 0.5]}}, "the lowest first"),
        ({"augment": {"flip": "sideways"}}, "'horizontal'"),
        ({"crop": [4096, 64]}, "a crop that fits into the samples"),
        ({"model": {"name": "u2net", "depth": 3}}, "unknown key 'depth'"),
    ):
        assert message in str(complaints(**{f"experiments/drive__unet/{key}": value for key, value in change.items()}))


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"tiles": {"size": [64, 64]}}, "tiles, with the model unet-crop"),
        ({"crop": [64, 64]}, "[64, 64], with the model unet-crop and the size [256, 256]"),
        ({"datasets/drive/size": "native", "crop": [64, 64]}, "and the size native"),
        ({"datasets/drive/size": [64, 96], "test_time": "rot90"}, "rot90, with the model unet-crop"),
    ],
)
def test_a_stretched_output_needs_one_size(change, found):
    change = {"datasets/drive/size": [256, 256], **change}
    settings = {key if "/" in key else f"experiments/drive__unet/{key}": value for key, value in change.items()}
    stretched = {**settings, "experiments/drive__unet/model": "unet-crop"}
    assert found in str(complaints(**stretched))
    assert "padding: mirror" in str(complaints(**stretched))
    assert changed(**{**settings, "experiments/drive__unet/model": {"name": "unet-crop", "padding": "mirror"}})
    whole = {"experiments/drive__unet/crop": [256, 256], "datasets/drive/size": [256, 256]}
    assert changed(**whole, **{"experiments/drive__unet/model": "unet-crop"})


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ({}, "not every pattern has a wildcard"),
        ({"images": "*/images"}, "not every pattern has a wildcard"),
    ],
)
def test_merge_masks_needs_wildcards(keys, found):
    with pytest.raises(ConfigError, match=found):
        with_dataset(layout="folder", merge_masks=True, **keys)


@pytest.mark.parametrize(
    ("keys", "found", "remedy"),
    [
        ({"mask_kind": "soft"}, "true, for soft masks", "set `mask_kind: index`"),
        ({"labels": THREE}, "true, for 3 classes", "one class under `labels`"),
    ],
)
def test_merge_masks_rejects_soft_and_multiclass_masks(keys, found, remedy):
    folders = {"layout": "folder", "merge_masks": True, "images": "*/i", "masks": "*/m"}
    with pytest.raises(ConfigError) as caught:
        with_dataset(**folders, **keys)
    (problem,) = caught.value.problems
    assert problem.where.endswith(".merge_masks")
    assert problem.found == found
    assert remedy in problem.remedy
    first, *others = THREE
    joined = {first: THREE[first], **dict.fromkeys(others, "object")}
    assert with_dataset(**folders, **({"labels": joined} if "labels" in keys else {"mask_kind": "index"}))


def test_stratified_and_grouped_splits():
    table = {"column": "z", "file": "depths.csv"}
    parsed = with_dataset(layout="tgs", test={"rule": "fraction", "fraction": 0.2, "group": table},
                          validation={"stratify": "foreground"})  # fmt: skip
    train = source(parsed, "train").plain()
    assert train["test"]["group"] == {**table, "id": "id"}
    assert train["validation"] == {"rule": "fraction", "fraction": 0.2, "seed": 0, "stratify": "foreground"}
    assert train["cache"] == "results/cache/foreground-x.json"
    assert source(parsed, "test").cache is None
    pattern = {"rule": "k-fold", "folds": 2, "fold": 0, "group": {"pattern": "(a)(?:b)"}}
    assert source(with_dataset(layout="tgs", test=pattern), "test").plain()["test"]["group"] == {"pattern": "(a)(?:b)"}


def test_recipe_omits_unused_strata_and_groups():
    train = source(with_dataset(layout="tgs"), "train").plain()
    assert train["test"] == {"rule": "permutation", "fraction": 0.15, "seed": 42}
    assert train["validation"] == {"rule": "fraction", "fraction": 0.2, "seed": 0}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"group": {"pattern": "("}}, "is not a regular expression"),
        ({"group": {"pattern": "ab"}}, "one group in parentheses, not 0"),
        ({"group": {"pattern": "(a)", "id": "x"}}, "`pattern` alone"),
        ({"group": {"column": "z"}}, "either `column` and `file`"),
        ({"group": {"pattern": "(a)"}, "stratify": "foreground"}, "not both"),
        ({"rule": "permutation", "stratify": "foreground"}, "with `rule: permutation`, only with fraction and k-fold"),
        ({"stratify": "size"}, "foreground"),
    ],
)
def test_invalid_strata_and_groups_are_rejected(changes, message):
    found = wrong(layout="tgs", test={"rule": "fraction", "fraction": 0.2, **changes})
    assert any(message in text for text in found.values()), found


def test_official_and_listed_splits_reject_groups():
    for rule in ({"rule": "official"}, {"rule": "list", "file": "a.txt"}):
        found = wrong(layout="drive", test={**rule, "group": {"pattern": "(a)"}})
        assert set(found) == {"datasets.x.test.group"}


def test_submission_name_template():
    parsed = with_dataset(layout="drive", submission_name="{id}_test.png")
    assert parsed.datasets["x"].layout_options.submission_template() == "{id}_test.png"
    for name in ("x.png", "{id}.gif", "../{id}.png", "{id}{number}.png"):
        assert "datasets.x.submission_name" in wrong(layout="drive", submission_name=name)


@pytest.mark.parametrize(
    ("key", "value", "remedy"),
    [
        ("datasets/drive/size", 256, "[256, 256]"),
        ("datasets/drive/size", "32x32", "[256, 256]"),
        ("experiments/drive__unet/crop", [64], "[256, 256]"),
        ("experiments/drive__unet/tiles", {"size": 64}, "[64, 64]"),
    ],
)
def test_a_size_with_one_number_asks_for_height_and_width(key, value, remedy):
    (problem,) = complaints(**{key: value}).problems
    assert "[height, width]" in problem.expected
    assert remedy in problem.remedy


def test_text_options_with_numbers_ask_for_quotes():
    (problem,) = complaints(**{"datasets/drive/root": 2024}).problems
    assert "in quotes" in problem.remedy


@pytest.mark.parametrize(
    ("labels", "swapped"),
    [
        ({0: "background", 255: "membrane"}, "labels: {0: membrane, 255: background}"),
        ({"#000000": "a", "#ffffff": "b", "#ff0000": "b"}, 'labels: {"#000000": b, "#ffffff": a, "#ff0000": a}'),
    ],
)
def test_inverted_beside_labels_is_refused(labels, swapped):
    (message,) = wrong(layout="folder", labels=labels, inverted=True).values()
    assert f"write `{swapped}`" in message
    assert with_dataset(layout="folder", inverted=True)
    assert with_dataset(layout="folder", classes=["background", "membrane"], inverted=True)


def test_home_folder_and_variables_in_paths_are_replaced(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("DATA", "/data")
    listed = {"rule": "list", "file": "$DATA/test.txt"}
    group = {"rule": "fraction", "fraction": 0.2, "group": {"file": "~/g.csv", "column": "patient"}}
    parsed = config.parse(
        {
            "datasets": {
                "x": {"layout": "folder", "root": "~/raw", "size": [64, 64], "test": listed, "validation": group}
            }
        }
    ).datasets["x"]
    assert (parsed.root, parsed.test.file) == ("/home/somebody/raw", "/data/test.txt")
    assert parsed.validation.group.file == "/home/somebody/g.csv"
    assert with_dataset(layout="folder", root="a~/$unknown").datasets["x"].root == "a~/$unknown"
