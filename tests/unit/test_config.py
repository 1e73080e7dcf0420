import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from pipeline import config
from pipeline.errors import ConfigError

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


def test_the_example_of_the_readme_is_valid_and_frozen():
    parsed = config.parse(yaml.safe_load(GOOD))
    assert parsed.experiments["drive-unet"].optimizer.momentum == 0.9
    with pytest.raises(ValueError, match="frozen"):
        parsed.experiments["drive-unet"].epochs = 3


def test_no_experiments_is_valid():
    assert changed(experiments={}).experiments == {}
    assert changed(experiments=None).experiments == {}


def test_the_files_of_the_project_are_valid():
    for path in (ROOT / "config.yaml", *sorted((ROOT / "config").glob("*.yaml"))):
        assert config.load([path]).experiments


def test_the_schema_on_disk_is_the_one_of_the_code():
    written = json.loads((ROOT / "workflow/schemas/config.schema.json").read_text())
    assert written == json.loads(json.dumps(config.schema()))


def test_the_schema_accepts_what_the_project_ships_and_refuses_what_it_would():
    checker = jsonschema.Draft202012Validator(config.schema())
    for path in (ROOT / "config.yaml", *sorted((ROOT / "config").glob("*.yaml"))):
        # PyYAML reads 1e-3 as text; editors follow YAML 1.2, where it is a number
        text = re.sub(r"\b(\d)e-3\b", r"0.00\1", path.read_text())
        assert list(checker.iter_errors(yaml.safe_load(text))) == [], path
    good = yaml.safe_load(GOOD)
    checker.validate({**good, "experiments": {"drive-unet": None}})
    for change in ({"loss": "mze"}, {"model": "unt"}, {"epochs": 0}, {"colour": 1}, {"schedule": "cosin"}):
        bad = {**good, "experiments": {"e": {**good["experiments"]["drive-unet"], **change}}}
        assert list(checker.iter_errors(bad)), change


def test_every_mistake_is_reported_at_once_with_its_path():
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
    assert "'mse', 'bce', 'dice'" in where["experiments.drive-unet.loss"].expected
    assert "did you mean 'mse'" in where["experiments.drive-unet.loss"].remedy
    assert "did you mean 'sgd'" in where["experiments.drive-unet.optimizer"].remedy
    assert "did you mean `experiments`" in where["experiment"].remedy
    assert where["experiments.other.dataset"].expected == "one of the data sets: drive"
    assert where["datasets.drive.colour"].found == "the unknown key 'colour'"
    assert "greater than or equal to 1" in where["experiments.drive-unet.epochs"].expected


@pytest.mark.parametrize("name", ["", "a/b", "..", "-rf", ".hidden", "a b", "ä", "x" * 65, "a.second-observer"])
def test_names_that_cannot_become_paths(name):
    error = complaints(**{"datasets": {name: {"layout": "tgs", "root": "x", "size": "native"}}})
    assert any("cannot become a path" in problem.found for problem in error.problems)


def test_names_that_are_one_file_on_some_systems():
    tgs = {"layout": "tgs", "root": "x", "size": "native"}
    assert "'a' and 'A'" in str(complaints(datasets={"a": tgs, "A": tgs}))


def test_what_does_not_fit_together():
    assert "one of the data sets: drive" in str(complaints(**{"experiments/drive__unet/dataset": "drvie"}))
    assert "threshold: 0.5" in str(complaints(**{"datasets/drive/validation": {"fraction": 0}}))
    for changes, said in (
        ({"experiments/drive__unet/schedule": {"name": "cosine", "warmup": 100}}, "shorter than the training"),
        ({"experiments/drive__unet/schedule": {"name": "constant", "warmup": 1}}, "only with `name: cosine`"),
        ({"datasets/drive/normalize": {"method": "standard", "mean": [0.5], "std": [0.2]}}, "3 of each"),
        ({"datasets/drive/normalize": {"method": "unit", "mean": [0.5]}}, "no other method has them"),
        ({"datasets/drive/normalize": "standard"}, "`standard` needs `mean` and `std`"),
        ({"experiments/drive__unet/optimizer": "sgd"}, "a mapping, such as"),
    ):
        assert said in str(complaints(**changes)), said
    unwatched = {"datasets/drive/validation": {"fraction": 0}, "experiments/drive__unet/threshold": 0.5}
    assert "monitor" in str(complaints(**unwatched, **{"experiments/drive__unet/monitor": "val_dice"}))
    fixed = changed(**{"datasets/drive/validation": {"fraction": 0}, "experiments/drive__unet/threshold": 0.5})
    assert fixed.threshold_settings("drive-unet")["fixed"] == 0.5


@pytest.mark.parametrize("value", [True, "many", None, -1, float("nan")])
def test_numbers_are_numbers(value):
    assert "epochs" in str(complaints(**{"experiments/drive__unet/epochs": value}))
    if value is not None:
        assert "datasets.drive.shards" in str(complaints(**{"datasets/drive/shards": value}))
        assert "model" in str(complaints(**{"experiments/drive__unet/model": {"name": "unet", "depth": value}}))


def test_yaml_that_reads_1e_3_as_text_still_gives_a_number():
    parsed = changed(**{"experiments/drive__unet/optimizer": yaml.safe_load("{name: adam, lr: 1e-3}")})
    assert parsed.experiments["drive-unet"].optimizer.lr == 0.001


def test_later_files_go_over_earlier_ones_and_null_takes_away(tmp_path):
    (tmp_path / "a.yaml").write_text(GOOD)
    (tmp_path / "b.yaml").write_text("experiments: {drive-unet: {epochs: 3}}")
    (tmp_path / "c.yaml").write_text("experiments: {drive-unet: null}")
    one, two, three = tmp_path / "a.yaml", tmp_path / "b.yaml", tmp_path / "c.yaml"
    assert config.load([one, two]).experiments["drive-unet"].epochs == 3
    assert config.load([one, two]).experiments["drive-unet"].batch_size == 1
    assert config.load([one, two, three]).experiments == {}


@pytest.mark.parametrize("text", ["a: [", "- 1", "", "a: !!python/object/apply:os.system ['true']", "\tx: 1"])
def test_files_that_are_no_configuration(tmp_path, text):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"c\.yaml"):
        config.load([path])
    with pytest.raises(ConfigError, match=r"gone\.yaml"):
        config.load([tmp_path / "gone.yaml"])


def test_a_slice_holds_only_what_its_stage_uses():
    base = changed()

    def slices(parsed):
        return {
            "shard": parsed.shard_settings("drive", "train"),
            "test shard": parsed.shard_settings("drive", "test"),
            "train": parsed.train_settings("drive-unet"),
            "predict": parsed.predict_settings("drive-unet"),
            "threshold": parsed.threshold_settings("drive-unet"),
            "render": parsed.render_settings("drive-unet", "test"),
            "evaluate": parsed.evaluate_settings("drive-unet"),
        }

    def moved(**changes):
        after = slices(changed(**changes))
        return {stage for stage, said in slices(base).items() if said != after[stage]}

    assert moved(**{"experiments/drive__unet/optimizer": {"name": "sgd", "lr": 0.02, "momentum": 0.9}}) == {"train"}
    assert moved(**{"experiments/drive__unet/threshold": 0.4}) == {"threshold"}
    assert moved(**{"experiments/drive__unet/empty_masks": "skip"}) == {"evaluate"}
    assert moved(**{"datasets/drive/storage": "uint8"}) == {"shard", "test shard"}
    assert moved(**{"datasets/drive/size": [256, 256]}) == {"shard", "test shard"}
    assert moved(**{"datasets/drive/validation": {"fraction": 0.3}}) == {"shard", "threshold", "evaluate"}
    assert moved(**{"datasets/drive/shards": 3}) == {"shard", "test shard"}
