"""Names in which Snakemake, a shell or a terminal would see patterns, variables or markup."""

import cv2
import pytest
from projects import Project
from rawfiles import blobs

CONFIG = """
datasets:
  x: {layout: folder, root: "ROOT", images: "*/im", masks: "*/m", size: [32, 32], exclude: {"q-{x}": "as <b> says"},
    test: {rule: list, file: "l{dataset}.txt"}, validation: {fraction: 0.3}}
experiments:
  e: {dataset: x, model: {name: unet, width: 4, depth: 2}, loss: bce-dice, optimizer: {name: adam, lr: 0.01},
    batch_size: 2, epochs: 1}
"""
NAMES = ("a{b}", "<b>x", "{dataset}", "<results>", "{}", "%s", "*", "[bold]", "s{", "$HOME'\"")


@pytest.fixture
def special(tmp_path):
    root = tmp_path / "r{dataset}<results>[x]"
    for number, name in enumerate(("{x}", *NAMES)):
        folder = root / ("q" if number == 0 else "{id}")
        (folder / "im").mkdir(parents=True, exist_ok=True)
        (folder / "m").mkdir(exist_ok=True)
        mask, image = blobs(number, 40, 40)
        cv2.imwrite(str(folder / "im" / f"{name}.png"), image)
        cv2.imwrite(str(folder / "m" / f"{name}.png"), 255 * mask)
    (root / "l{dataset}.txt").write_text("{id}-a{b}\n{id}-<b>x.png\n")
    project = Project(tmp_path)
    project.config.write_text(CONFIG.replace("ROOT", root.name))
    return project


def test_raw_folder_with_braces_and_brackets_is_planned(special):
    assert special.planned("shards", "check")["shard"] == 3


@pytest.mark.slow
def test_whole_study_takes_names_with_braces_and_brackets(special):
    special.snakemake()
    files = special.files()
    assert {f"results/predictions/e/test/overlay/{{id}}-{name}.png" for name in ("a{b}", "<b>x")} <= files
    assert special.planned() == {}
    special.snakemake("check")
    assert "x: 0 errors" in special.output
    assert "q-{x}: as <b> says" in special.output
    (special.folder / "r{dataset}<results>[x]/{id}/m/[bold].png").unlink()
    assert special.snakemake("check", check=False) != 0
    assert "r{dataset}<results>[x]/{id}/im/[bold].png" in special.output
