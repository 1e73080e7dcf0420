import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from pipeline.cli import parser, reference
from pipeline.config import config
from pipeline.report.results_page import render_results

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *sorted((ROOT / "docs").glob("*.md"))]
GENERATED = ("commands.md", "configuration.md", "measurements.md", "rerun-table.md", "results.md")


def anchors_of(page):
    titles = re.findall(r"(?m)^#+ (.*)$", page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_links_between_pages_resolve():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            if target.startswith("http"):
                continue
            path, _, anchor = target.partition("#")
            linked = page.parent / path if path else page
            assert linked.exists(), f"{page.name}: {target}"
            assert not anchor or anchor in anchors_of(linked), f"{page.name}: {target}"


def test_every_page_is_linked_from_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in PAGES if page.parent.name == "docs" and f"(docs/{page.name})" not in readme] == []


def test_pages_are_short_enough_to_read():
    words = {page.name: len(page.read_text(encoding="utf-8").split()) for page in PAGES if page.name not in GENERATED}
    assert words["README.md"] <= 900
    assert {name: count for name, count in words.items() if count > 1500} == {}


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "commands.md"], ids=lambda page: page.stem)
def test_commands_in_pages_parse(page):
    lines = re.findall(r"(?m)^ {4}python -m pipeline (.*)$", page.read_text(encoding="utf-8"))
    for line in lines:
        parser.parse(shlex.split(line.partition(" # ")[0].removesuffix(" &").replace("...", "results/leaderboard.csv")))


def test_examples_of_the_readme_are_valid():
    own, experiment = map(yaml.safe_load, re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL))
    assert set(config.parse(own).experiments) == {"cells-unet"}
    default = yaml.safe_load((ROOT / "config.yaml").read_text())
    default["experiments"] |= experiment["experiments"]
    assert config.parse(default).experiments["drive-unet-wide-seed1"].crop == (128, 128)


@pytest.mark.parametrize(("page", "least"), [("raw-data.md", 30), ("results.md", 4)])
def test_tests_named_in_pages_exist(page, least):
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / page).read_text(encoding="utf-8")))
    existing = {
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert len(named) > least
    assert sorted(named - existing) == []


def test_each_row_of_raw_data_page_names_its_test():
    text = (ROOT / "docs" / "raw-data.md").read_text(encoding="utf-8")
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


def test_results_page_is_what_its_tables_give():
    """`python -m pipeline results` writes it."""
    assert (ROOT / "docs" / "results.md").read_text(encoding="utf-8") == render_results(ROOT / "docs" / "results")


def test_example_of_configuration_page_is_valid():
    assert set(config.parse(yaml.safe_load(reference.EXAMPLE)).datasets) == {"leaves"}


def test_configuration_page_lists_every_key():
    text, definitions = reference.configuration_page(), config.schema()["$defs"].values()
    keys = {key for definition in definitions for key in definition["properties"]}
    assert {key for key in keys if f"| `{key}` |" not in text} <= {"rule"}
    kinds = {str(value["const"]) for one in definitions for value in one["properties"].values() if "const" in value}
    assert {kind for kind in kinds if f"`{kind}`" not in text} == set()
