import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from pipeline.cli import reference
from pipeline.config import config

ROOT = Path(__file__).parents[1]


def test_tests_named_in_raw_data_page_exist():
    text = (ROOT / "docs" / "raw-data.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+)`", text))
    existing = {
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert len(named) > 30
    assert sorted(named - existing) == []
    rows = [line for line in text.splitlines() if line.startswith("|") and line.count("|") == 4]
    assert all("`test_" in row for row in rows[2:])


def test_readme_links_to_raw_data_page():
    assert "docs/raw-data.md" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_orphan_job_command_matches_folder_and_link(tmp_path):
    folder, link, programs = tmp_path / "real  folder", tmp_path / "link", tmp_path / "bin"
    for path in (folder, programs):
        path.mkdir()
    link.symlink_to(folder)
    jobs = [
        f"11 segmentation_1a {folder}",
        f"12 other {folder}",
        f"13 segmentation_2b {folder}/below",
        f"14 segmentation_1a {folder}",
    ]
    for name, lines in (("squeue", ["cat << 'END'", *jobs, "END"]), ("scancel", ['echo "$@"'])):
        (programs / name).write_text("\n".join(["#!/bin/sh", *lines, ""]))
        (programs / name).chmod(0o755)
    (command,) = re.findall(r"^ +(squeue .*scancel)$", (ROOT / "docs/cluster.md").read_text(), re.MULTILINE)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    for start in (folder, link):
        words = ["sh", "-c", f'cd "$0" && {command}', str(start)]
        done = subprocess.run(words, env={"PATH": path}, capture_output=True, text=True, check=True)
        assert done.stdout == "11 14\n"


@pytest.mark.parametrize(
    ("name", "page"), [("commands.md", reference.commands_page), ("configuration.md", reference.configuration_page)]
)
def test_generated_pages_are_current(name, page):
    """`make schema` writes them."""
    text = page()
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == text
    anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in re.findall("(?m)^#+ (.*)$", text)}
    assert {*re.findall(r"\]\(#([^)]+)\)", text)} <= anchors
    cells = [cell for line in text.splitlines() if line.startswith("|") for cell in line.split(" | ")]
    assert max(len(cell.split()) for cell in cells) <= 35
    if name == "configuration.md":
        assert "|  |\n" not in text, "every key has a description"


def test_example_of_configuration_page_is_valid():
    assert set(config.parse(yaml.safe_load(reference.EXAMPLE)).datasets) == {"leaves"}


def test_configuration_page_lists_every_key():
    text, definitions = reference.configuration_page(), config.schema()["$defs"].values()
    keys = {key for definition in definitions for key in definition["properties"]}
    assert {key for key in keys if f"| `{key}` |" not in text} <= {"rule"}
    kinds = {str(value["const"]) for one in definitions for value in one["properties"].values() if "const" in value}
    assert {kind for kind in kinds if f"`{kind}`" not in text} == set()
