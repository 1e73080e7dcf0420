"""Configuration files whose meaning differs from what their writer sees are refused, with the line."""

import time

import pytest

from pipeline.config import config, yaml_files
from pipeline.core.errors import ConfigError

GOOD = """
datasets:
  d: {layout: folder, root: raw, size: [32, 32], labels: {0: background, 255: disc}, exclude: {"007": blurred}}
experiments:
  e: &base {dataset: d, model: {name: unet}, loss: bce, optimizer: {name: adam, lr: 1e-3}, batch_size: 2, epochs: 1}
"""


def refused(text):
    with pytest.raises(ConfigError) as caught:
        yaml_files.parse_text(text, "c.yaml")
    return caught.value.problems


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (GOOD + "  e: {dataset: d}\n", (6, 5)),
        (GOOD.replace("epochs: 1}", "\n  epochs: 1,\n  epochs: 5}"), (7, 6)),
        (GOOD.replace("255: disc", "\n  255: disc,\n  '255': ring"), (5, 4)),
        (GOOD.replace("255: disc", "\n  255: disc,\n  0xff: ring"), (5, 4)),
        (GOOD.replace("255: disc", "\n  255: disc,\n  255.0: ring"), (5, 4)),
        (GOOD.replace("0: background, 255: disc", "\n  1: disc,\n  true: ring"), (5, 4)),
        (GOOD + "datasets: {}\n", (6, 2)),
        (GOOD + "  f:\n    <<: *base\n    <<: *base\n", (8, 7)),
        ('{"datasets": {},\n\t"experiments": {},\n\t"datasets": {}}', (3, 1)),
    ],
)
def test_equal_keys_are_refused_with_both_lines(text, lines):
    (problem,) = refused(text)
    assert problem.where == f"c.yaml, line {lines[0]}"
    assert problem.found.endswith(f"a second time; the first is in line {lines[1]}")


def test_explicit_keys_override_merged_ones(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(GOOD + "  f: {<<: *base, epochs: 3}\n")
    experiments = config.load([path]).experiments
    assert (experiments["e"].epochs, experiments["f"].epochs, experiments["f"].dataset) == (1, 3, "d")


@pytest.mark.parametrize(
    ("before", "after", "name"),
    [
        *(
            ("  e:", f"  {name}:", name)
            for name in ("007", "on", "null", "010", "1e3", "2024-01-01", "~", "1:30", "1.5")
        ),
        ("  d:", "  0x1F:", "0x1F"),
        ("dataset: d", "dataset: no", "no"),
        ("255: disc", "255: yes", "yes"),
        ("255: disc}", "255: disc}, classes: [background, off]", "off"),
        ('"007": blurred', "007: blurred", "007"),
    ],
)
def test_names_without_quotes_that_are_no_text_are_refused(before, after, name):
    (problem,) = refused(GOOD.replace(before, after))
    assert problem.found.startswith(f"the name {name}, which YAML reads as ")
    assert problem.remedy == f'write it in quotes: "{name}"'
    quoted = GOOD.replace(before, after.replace(name, f'"{name}"'))
    assert yaml_files.parse_text(quoted, "c.yaml")


def test_null_removes_labels_and_classes_of_an_earlier_file():
    text = GOOD.replace("labels: {0: background, 255: disc}", "labels: null, classes: ~")
    assert yaml_files.parse_text(text, "c.yaml")["datasets"]["d"]["labels"] is None
    text = GOOD.replace("labels: {0: background, 255: disc}", "labels: {0: background, 255: null}")
    assert yaml_files.parse_text(text, "c.yaml")["datasets"]["d"]["labels"] == {0: "background", 255: None}
    text = GOOD.replace("255: disc}", "255: disc}, classes: [background, null]")
    with pytest.raises(ConfigError, match="the name null"):
        yaml_files.parse_text(text, "c.yaml")


@pytest.mark.parametrize("name", ["classes", "labels", "dataset", "exclude"])
def test_entries_may_be_called_like_settings(name):
    text = GOOD.replace("  e:", f"  {name}:")
    assert yaml_files.parse_text(text, "c.yaml")["experiments"][name]["batch_size"] == 2


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("042", "042, which YAML reads as 34"),
        ("1:30", "1:30, which YAML reads as 90 (base 60)"),
        ("2024-01-01", "2024-01-01, which YAML reads as a date"),
        ("9" * 5000, "a number of 5000 characters"),
        ("", "nothing after `seed:`"),
        ("{id}", "`{id}` without quotes, which YAML reads as a mapping"),
        ("!!set {}", "the tag 'tag:yaml.org,2002:set'"),
    ],
)
def test_values_that_yaml_reads_differently_are_refused(value, found):
    (problem,) = refused(GOOD.replace("epochs: 1", f"\n  seed: {value}"))
    assert problem.found == found
    assert problem.where == "c.yaml, line 6"


def test_all_ambiguities_are_reported_in_order():
    problems = refused(GOOD.replace("  d:", "  007:").replace("epochs: 1", "epochs: 01") + "  e: {}\n")
    assert [problem.where for problem in problems] == ["c.yaml, line 3", "c.yaml, line 5", "c.yaml, line 6"]


def bomb(first, template):
    lines = [f"x0: &x0 {first}", *(f"x{n}: &x{n} {template}".replace("*", f"*x{n - 1}") for n in range(1, 12))]
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text",
    [
        bomb("[1]", f"[{', '.join('*' * 9)}]"),
        bomb("{a: 1}", "{" + ", ".join(f"k{n}: *" for n in range(9)) + "}"),
        bomb("{a: 1}", f"{{<<: [{', '.join('*' * 9)}]}}"),
        "a: &a [*a]",
        "a: &a {b: *a}",
        "[" * 50_000,
        "\n".join(" " * n + "a:" for n in range(1000)),
        '{"a":' * 20_000,
    ],
)
def test_nested_aliases_and_deep_values_are_refused_at_once(text):
    start = time.monotonic()
    assert len(refused(text)) == 1
    assert time.monotonic() - start < 2


@pytest.mark.parametrize(
    ("content", "remedy"),
    [
        (GOOD.encode("utf-16"), "UTF-8"),
        (GOOD.replace("disc", "Fläche").encode("latin-1"), "UTF-8"),
        (GOOD.encode() + b"---\nx: 1\n", "remove `---`"),
        (GOOD.encode() + b"#" * 2**20, "put long lists of samples into files"),
        (GOOD.replace("  d:", "\td:").encode(), "indent with spaces only"),
    ],
)
def test_unreadable_files_have_a_fitting_remedy(tmp_path, content, remedy):
    path = tmp_path / "c.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        config.load([path])
    assert remedy in caught.value.problems[0].remedy


@pytest.mark.parametrize(
    "encode", [lambda text: text.encode("utf-8-sig"), lambda text: text.replace("\n", "\r\n").encode()]
)
def test_byte_order_mark_and_windows_lines_are_read(tmp_path, encode):
    path = tmp_path / "c.yaml"
    path.write_bytes(encode(GOOD))
    assert config.load([path]).experiments["e"].epochs == 1


def test_data_that_another_workflow_passes_are_checked_too():
    endless: dict = {}
    endless["datasets"] = endless
    nested = [1]
    for _ in range(12):
        nested = [nested] * 9
    for data, found in (
        ({"datasets": {7: {}}}, "the name 7, which is no text"),
        ({"datasets": {}, "store_gb": float("inf")}, "inf"),
        ({"datasets": {"d": {"root": "a\0b"}}}, "with a null character"),
        (endless, "32 levels of nesting"),
        ({"datasets": {"d": nested}}, "more than 100000 values"),
        ({"datasets": {}, "experiments": {"e": {"dataset": ["d"]}}}, "['d']"),
    ):
        with pytest.raises(ConfigError) as caught:
            config.parse(data)
        assert any(found in problem.found for problem in caught.value.problems)


def test_values_of_snakemakes_own_option_are_checked(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(GOOD + "  e: {}\n")
    words = [
        "-n",
        "--configfile",
        str(path),
        "--config",
        "experiments={e: {seed: 1, seed: 2}}",
        "other=@",
        "--cores",
        "2",
    ]
    with pytest.raises(ConfigError) as caught:
        yaml_files.check_snakemake_files(words, [tmp_path / "missing.yaml", path])
    assert [problem.where for problem in caught.value.problems] == [f"{path}, line 6", "--config experiments=, line 1"]
    yaml_files.check_snakemake_files(["--configfile=missing.yaml"])
