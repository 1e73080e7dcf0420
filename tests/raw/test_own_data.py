"""Data of the user's own: messages, contact sheet, groups of stacks, and the examples of the guide."""

import re
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml
from PIL import Image
from sources import check_recipe, checked, opened, preparation, source

from pipeline.config import config
from pipeline.core.errors import ConfigError, RawDataError
from pipeline.images.figures import for_display
from pipeline.raw.check.measure import measure
from pipeline.raw.check.page import html_page
from pipeline.raw.check.text import format_reports, format_sizes
from pipeline.raw.dataset import open_dataset
from pipeline.shards.prepare import prepare

ROOT = Path(__file__).parents[2]
PAGES = {"pages": "samples"}
GROUP = {"column": "patient", "file": "patients.csv", "id": "stack"}


@pytest.fixture
def stacks(tmp_path):
    """Six stacks of three 12-bit pages, two stacks for each patient."""
    rng = np.random.default_rng(0)
    rows = ["stack,patient"]
    for index in range(6):
        masks = np.zeros((3, 24, 32), np.uint8)
        masks[:, 8:16, 8:16] = 255
        images = rng.integers(100, 300, masks.shape, dtype=np.uint16)
        images[masks == 255] += 3000
        for name, pages in (("images", images), ("masks", masks)):
            (tmp_path / "raw" / name).mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(tmp_path / "raw" / name / f"s{index}.tif", pages, photometric="minisblack")
        rows.append(f"s{index},P{index // 2}")
    (tmp_path / "raw/patients.csv").write_text("\n".join(rows))
    return tmp_path / "raw"


def check(root, **more):
    return checked("folder", root, more.pop("options", PAGES), **more)


def put(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def test_pages_belong_to_the_group_of_their_stack(stacks):
    split = {"group": GROUP, "seed": 0}
    test = {"rule": "k-fold", "folds": 3, "fold": 0, **split}
    raw = opened("x", "folder", stacks, PAGES, test=test, validation={"fraction": 0, **split})
    held_out = [sample.id for sample in raw.splits["test"]]
    assert len(held_out) == 6
    assert len({int(name[1]) // 2 for name in held_out}) == 1  # the two stacks of one patient
    training_patients = {int(sample.id[1]) // 2 for sample in raw.splits["train"]}
    assert training_patients == {0, 1, 2} - {int(held_out[0][1]) // 2}


def test_group_of_a_page_overrides_that_of_its_stack(stacks):
    table = stacks / "patients.csv"
    table.write_text(table.read_text() + "\ns0-p002,P2")
    split = {"group": GROUP, "seed": 0}
    tests = []
    for fold in range(3):
        test_rule = {"rule": "k-fold", "folds": 3, "fold": fold, **split}
        raw = opened("x", "folder", stacks, PAGES, test=test_rule, validation={"fraction": 0, **split})
        tests.append({sample.id for sample in raw.splits["test"]})
    assert {"s0-p002", "s4-p001", "s5-p003"} <= next(test for test in tests if "s0-p002" in test)
    assert not any({"s0-p001", "s0-p002"} <= test for test in tests)


def test_error_for_a_table_of_other_ids_quotes_them(stacks):
    (stacks / "patients.csv").write_text("stack,patient\nslide-1,P1\nslide-2,P2\n")
    report = check(stacks, test={"rule": "fraction", "fraction": 0.2, "seed": 0, "group": GROUP})
    (finding,) = report["findings"]
    assert "18 of 18 samples: s0-p001" in finding["found"]
    assert "'slide-1', 'slide-2'" in finding["remedy"]
    assert report["pairs"] == 18


@pytest.mark.parametrize("storage", ["float16", "uint8"])
def test_check_and_prepare_report_the_same_storage_error(stacks, storage):
    report = check(stacks, storage=storage)
    assert [row["kind"] for row in report["findings"]] == ["storage"] * 6  # files, not pages
    assert report["facts"]["images_read"] == 18
    raw = opened("x", "folder", stacks, PAGES)
    sample = raw.splits["train"][0]
    with pytest.raises(RawDataError) as caught:
        prepare(raw, sample, preparation(channels="grey", storage=storage))
    (problem,) = caught.value.problems
    rows = [row for row in report["findings"] if row["location"] == sample.image]
    assert [(row["found"], row["expected"], row["remedy"]) for row in rows] == [
        (problem.found, problem.expected, problem.remedy)
    ]


def test_check_reports_float_images_outside_the_unit_range(stacks):
    tifffile.imwrite(
        stacks / "images/s0.tif",
        np.random.default_rng(0).random((3, 24, 32), dtype=np.float32),
        photometric="minisblack",
    )
    report = check(stacks, normalize="symmetric")
    assert [(row["kind"], row["remedy"]) for row in report["findings"] if row["severity"] == "error"] == [
        ("storage", "set `normalize: minmax`")
    ]


@pytest.mark.parametrize(("normalize", "kinds"), [("unit", ["dark"]), ("symmetric", ["dark"]), ("minmax", [])])
def test_12_bit_values_in_16_bits_are_a_warning(stacks, normalize, kinds):
    report = check(stacks, normalize=normalize)
    assert [row["kind"] for row in report["findings"]] == kinds
    assert report["errors"] == 0


def test_16_bit_images_of_full_range_are_no_warning(stacks):
    for path in (stacks / "images").glob("*.tif"):
        tifffile.imwrite(path, tifffile.imread(path) * 16, photometric="minisblack")
    assert check(stacks, normalize="unit")["findings"] == []


def test_contact_sheet_shows_inverted_masks(stacks):
    def inside_and_outside(**options):
        recipe = check_recipe("folder", stacks, {**PAGES, **options})
        raw = open_dataset("x", recipe.source)
        shown = measure(raw, raw.splits["train"][0], "train", recipe, with_thumbnail=True).thumbnail.astype(int)
        colourful = shown.max(axis=2) - shown.min(axis=2)  # the image itself is grey
        scale = shown.shape[1] / 32
        inner = colourful[int(10 * scale) : int(14 * scale), int(10 * scale) : int(14 * scale)]
        outer = colourful[int(2 * scale) : int(6 * scale), int(20 * scale) : int(28 * scale)]
        return np.median(inner) > 20, np.median(outer) > 20

    assert inside_and_outside() == (True, False)
    assert inside_and_outside(inverted=True) == (False, True)


def test_12_bit_images_are_bright_despite_a_hot_pixel():
    ramp = np.linspace(200, 4000, 64 * 64).astype(np.uint16).reshape(64, 64, 1)
    ramp[5, 5] = 65535
    shown = for_display(ramp)
    assert shown.dtype == np.uint8
    assert (shown[0, 0, 0], shown[-1, -1, 0]) == (0, 255)
    assert 120 < np.median(shown) < 135
    one_bright = np.zeros((64, 64, 1), np.uint16)
    one_bright[3, 3] = 9
    assert for_display(one_bright).max() == 255
    assert for_display(np.full((4, 4, 1), 7, np.uint16)).max() == 0


def test_files_with_the_same_remedy_are_grouped(tmp_path):
    for index, value in enumerate((100, 100, 101, 255)):
        image = np.random.default_rng(index).integers(0, 255, (20, 20, 3), dtype=np.uint8)
        put(tmp_path / f"raw/images/<b>{index}.png", image)
        mask = np.zeros((20, 20), np.uint8)
        mask[5:9, 5:9] = value
        put(tmp_path / f"raw/masks/<b>{index}.png", mask)
    report = check(tmp_path / "raw")
    assert report["errors"] == 3
    text = format_reports([report], [Path("check.html")])
    assert "ERROR mask-values: 3 times" in text
    assert text.count("remedy:") == 1
    for index, value in enumerate((100, 100, 101)):
        assert f"masks/<b>{index}.png: mask values {value} (16 pixels)" in text
    html = html_page(report, b"")
    assert html.count("<li>") == 3
    assert "masks/&lt;b&gt;2.png: mask values 101" in html
    assert "<b>2.png" not in html


def test_error_for_a_misspelt_root_lists_its_neighbours(stacks):
    report = check(stacks.with_name("rwa"), exclude={"s0": "blurred"})
    (finding,) = report["findings"]  # and no second problem for the unknown identifier s0
    assert "contains raw" in finding["found"]
    assert "pipeline synthetic" not in finding["remedy"]
    (finding,) = check(stacks / "no/where")["findings"]
    assert f"parent folder {stacks / 'no'} does not exist" in finding["found"]


def test_missing_image_folder_is_one_problem(stacks):
    report = check(stacks, options={"images": "photos"})
    (finding,) = report["findings"]
    assert finding["location"].endswith("raw/photos")
    assert "contains images, masks, patients.csv" in finding["found"]


def test_many_sizes_are_summarised_by_their_range():
    assert format_sizes({"10x20": 2, "30x5": 1}) == "10x20 (2), 30x5 (1)"
    many = {f"{10 + index}x{30 - index}": 1 + (index == 4) for index in range(8)}
    assert format_sizes(many) == "8 different, 10 to 17 wide, 23 to 30 high; most often 14x26 (2)"


def test_excluded_files_stay_excluded_if_the_splits_fail(tmp_path):
    for name in ("a", "b", "c"):
        image = np.random.default_rng(ord(name)).integers(0, 255, (20, 20, 3), dtype=np.uint8)
        put(tmp_path / f"raw/images/{name}.png", image)
        put(tmp_path / f"raw/masks/{name}.png", np.zeros((20, 20), np.uint8))
    (tmp_path / "raw/list.txt").write_text("nobody.png\n")
    test = {"rule": "list", "file": str(tmp_path / "raw/list.txt")}
    report = check(tmp_path / "raw", options={}, exclude={"a": "blurred"}, test=test)
    assert report["pairs"] == 2
    assert next(row["reason"] for row in report["ignored"]) == "files of excluded samples"
    assert not any("no place for" in row["reason"] for row in report["ignored"])


@pytest.mark.parametrize(("on_disk", "typed"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_typed_names_match_files_in_nfc_and_nfd(tmp_path, on_disk, typed):
    """macOS stores accents apart from their letters (NFD); editors write NFC."""

    def on_disk_form(text):
        return unicodedata.normalize(on_disk, text)

    def typed_form(text):
        return unicodedata.normalize(typed, text)

    names = [f"{city}-{index}" for city in ("Köln", "Évry", "Århus") for index in range(2)]
    for name in names:
        image = np.random.default_rng(len(name)).integers(0, 255, (20, 20, 3), dtype=np.uint8)
        put(tmp_path / "raw" / on_disk_form(f"images/{name}.png"), image)
        put(tmp_path / "raw" / on_disk_form(f"masks/{name}_gefäß.png"), np.zeros((20, 20), np.uint8))
    (tmp_path / "raw/t.csv").write_text(typed_form("id,Größe\n" + "".join(f"{name},{name[:-2]}\n" for name in names)))
    (tmp_path / "raw/test.txt").write_text(typed_form("Évry-0\nÉvry-1\n"))
    options = {"mask_name": typed_form("{id}_gefäß")}
    by_table = {"column": on_disk_form("Größe"), "file": "t.csv", "id": "id"}
    for group in (by_table, {"pattern": typed_form("^([A-ZÅÉ][a-zö]+)-")}):
        validation = {"rule": "fraction", "fraction": 0.5, "seed": 0, "group": group}
        test = {"rule": "list", "file": "test.txt"}
        exclude = {typed_form("Köln-1"): "blurred"}
        raw = opened("d", "folder", tmp_path / "raw", options, test=test, validation=validation, exclude=exclude)
        assert [sample.id for sample in raw.splits["test"]] == ["Évry-0", "Évry-1"]
        assert [item.id for item in raw.excluded] == ["Köln-1"]
        assert raw.excluded[0].sample is not None
        assert len({sample.id[:-2] for sample in raw.splits["validation"]}) == 1
        assert sum(map(len, raw.splits.values())) == 5


def test_configured_identifiers_are_normalised():
    def configured_source(form):
        exclude = {unicodedata.normalize(form, "Köln-1"): "blurred"}
        data = {"layout": "folder", "root": "raw", "labels": {0: "a", 1: "b"}, "size": [32, 32], "exclude": exclude}
        return config.parse({"datasets": {"d": data}}).datasets["d"].source("test", cache="")

    assert configured_source("NFC") == configured_source("NFD")


def label_map(**labels):
    return source("folder", ".", {"labels": labels}).layout.mask_labels().label_map


def refusal(labels, pixels):
    with pytest.raises(RawDataError) as caught:
        labels.classify(np.asarray(pixels), "mask.png")
    return str(caught.value)


@pytest.mark.parametrize("keys", [{"0": "background", "255": "a"}, {"#000000": "background", "#00ff00": "a"}])
def test_error_for_a_photograph_as_mask_suggests_swapped_folders(keys):
    photo = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    message = refusal(label_map(**keys), photo)
    assert "`images` and `masks` are not swapped" in message
    assert "declare" not in message


def test_error_for_a_grey_mask_among_colours_says_so():
    coloured = label_map(**{"#000000": "background", "#00ff00": "a"})
    assert "the mask is grey, while `labels` has colours" in refusal(coloured, np.array([[0, 150]], np.uint8))
    assert "the mask is grey" not in refusal(coloured, np.array([[(0, 0, 0), (255, 0, 0)]], np.uint8))


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [("*.JPG", 'here "."'), ("photos/*.png", 'here "photos"'), ("*_mask.png", 'here ".", and "{id}_mask" as')],
)
def test_error_for_a_pattern_of_files_suggests_a_folder(pattern, hint):
    data = {"datasets": {"x": {"layout": "folder", "root": "r", "size": [64, 64], "masks": pattern}}, "experiments": {}}
    with pytest.raises(ConfigError) as caught:
        config.parse(data)
    assert hint in str(caught.value)


def test_guide_examples_are_valid():
    text = (ROOT / "docs/own-data.md").read_text(encoding="utf-8")
    examples = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert len(examples) == 2
    parsed = [config.parse(yaml.safe_load(example)) for example in examples]
    assert parsed[1].datasets["nuclei"].storage == "auto"
