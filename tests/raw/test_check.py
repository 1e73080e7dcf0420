import base64
import hashlib
import io
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from rawfiles import add_drive, blobs, make_tgs, write_gif, write_tif
from sources import checked, opened, preparation, source
from toy_layout import COLOURS, TOY, add, toy_image

from pipeline.cli import main as cli
from pipeline.core.errors import RawDataError
from pipeline.raw.check import ignored as check_ignored
from pipeline.raw.check.text import format_reports
from pipeline.raw.decode.headers import read_header
from pipeline.raw.reports import read_reports
from pipeline.shards.prepare import prepare
from pipeline.shards.recipes import ShardRecipe
from pipeline.shards.write import build_shard


@pytest.fixture
def toys(tmp_path):
    """Six images of a toy layout; names that start with t are test samples."""
    for index, name in enumerate(["a", "b", "c", "d", "t1", "t2"]):
        add(tmp_path / "toy", name, *toy_image(index))
    return tmp_path / "toy"


def check(root, layout=TOY, **more):
    return checked(layout, root, **{"test": "official", "threads": 2, **more})


def kinds(report):
    return [(row["severity"], row["kind"], row["count"]) for row in report["findings"]]


def test_clean_data_set_has_facts_and_no_findings(toys):
    report = check(toys)
    assert kinds(report) == []
    assert (report["pairs"], report["errors"], report["warnings"]) == (6, 0, 0)
    assert report["splits"] == {"train": 4, "validation": 0, "test": 2, "unlabelled": 0}
    assert report["facts"]["sizes"] == {"72x64": 6}
    assert report["facts"]["mask_types"] == {"PNG 8-bit": 6}
    assert sum(row["pixels"] for row in report["balance"]) == pytest.approx(1, abs=1e-5)
    masks = np.stack([toy_image(index)[1] for index in range(6)])
    assert report["balance"][1]["pixels"] == pytest.approx((masks == 1).sum() / (masks != 255).sum(), abs=1e-6)


def test_unpaired_files_are_reported_and_others_are_read(drive):
    (drive / "training/1st_manual/22_manual1.gif").unlink()
    (drive / "test/images/02_test.tif").unlink()
    report = check(drive, "drive")
    assert report["pairs"] == 7
    assert {kind for _, kind, _ in kinds(report)} == {"unpaired"}
    assert "22_training.tif" in format_reports([report], [Path("check.html")])
    assert "02_manual1.gif" in format_reports([report], [Path("check.html")])


def test_incomplete_sample_does_not_count_as_pair(drive):
    (drive / "training/mask/22_training_mask.gif").unlink()
    report = check(drive, "drive")
    assert kinds(report) == [("error", "unpaired", 1)]
    assert report["pairs"] == 8
    assert report["facts"]["images_read"] == 9


def test_tables_in_use_are_not_reported_as_ignored(tmp_path, toys, tgs):
    (toys / "tables").mkdir()
    (toys / "tables/patients.csv").write_text("id,patient\n" + "".join(f"{name},{name}\n" for name in "abcd"))
    (toys / "test.txt").write_text("t1\nt2\n")
    (toys / "notes.csv").write_text("x")
    group = {"file": "tables/patients.csv", "id": "id", "column": "patient"}
    validation = {"rule": "fraction", "fraction": 0.25, "seed": 0, "group": group}
    report = check(toys, test={"rule": "list", "file": "test.txt"}, validation=validation)
    assert report["ignored"] == [{"reason": check_ignored.NOTES, "count": 1, "examples": ["notes.csv"]}]
    absolute = {**validation, "group": {**group, "file": str(toys / "tables/patients.csv")}}
    assert check(toys, validation=absolute)["ignored"][0]["examples"] == ["notes.csv", "test.txt"]
    split = {"test": {"rule": "fraction", "fraction": 0.3, "seed": 0}}
    assert check(tgs, "tgs", **split)["ignored"][0]["examples"] == ["train.csv"]
    assert check(tgs, "tgs", options={"masks": "csv"}, **split)["ignored"][0]["reason"] == check_ignored.UNUSED


@pytest.mark.parametrize("folder", ["missing", "empty"])
def test_missing_or_empty_root_is_reported(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    report = check(tmp_path / folder, "drive")
    assert kinds(report) == [("error", "listing", 1)]
    assert (tmp_path / "out/x.png").is_file()


def break_tif(root):
    path = root / "training/images/22_training.tif"
    path.write_bytes(path.read_bytes()[:-3000])


def break_both(root):
    break_tif(root)
    write_gif(root / "training/1st_manual/22_manual1.gif", np.full((70, 60), 128, np.uint8))


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (break_tif, ["unreadable"]),
        (break_both, ["mask-values", "unreadable"]),
        (
            lambda root: (root / "training/images/22_training.tif").write_bytes(
                b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"
            ),
            ["git-lfs"],
        ),
        (lambda root: write_gif(root / "training/1st_manual/22_manual1.gif", np.zeros((71, 60), np.uint8)), ["size"]),
        (lambda root: write_gif(root / "training/mask/22_training_mask.gif", np.zeros((70, 61), np.uint8)), ["size"]),
    ],
)
def test_check_and_shard_job_report_the_same_problems(drive, damage, expected):
    damage(drive)
    report = check(drive, "drive")
    assert sorted(kind for _, kind, _ in kinds(report)) == expected
    raw = opened("x", "drive", drive, test="official")
    (sample,) = (sample for sample in raw.splits["train"] if sample.id == "22")
    with pytest.raises(RawDataError) as caught:
        prepare(raw, sample, preparation())
    assert {problem.found for problem in caught.value.problems} == {row["found"] for row in report["findings"]}


@pytest.mark.parametrize(
    ("settings", "image"),
    [
        ({"size": "native"}, np.full((40, 31, 3), 9, np.uint8)),
        ({"storage": "float16"}, np.full((40, 30), 900, np.uint16)),
        ({"storage": "uint8"}, np.full((40, 30), 0.5, np.float32)),
        ({"normalize": "unit"}, np.full((40, 30), 0.5, np.float32)),
        ({}, np.full((40, 30, 5), 9, np.uint8)),
        ({}, np.full((40, 30), np.nan, np.float32)),
    ],
)
def test_check_reports_what_the_shard_job_refuses(tmp_path, settings, image):
    for number in range(3):
        mask, pixels = blobs(number, 40, 30)
        odd = image if number == 2 else pixels
        write_tif(tmp_path / f"x/images/{number}.tif", odd)
        write_tif(tmp_path / f"x/masks/{number}.tif", 255 * np.resize(mask, odd.shape[:2]))
    settings = {"storage": "float32", "normalize": "minmax", "size": [32, 32], **settings}
    recipe = preparation(**settings).to(
        ShardRecipe, dataset="x", split="train", source=source("folder", tmp_path / "x")
    )
    with pytest.raises(RawDataError) as caught:
        build_shard(recipe, number=0, output=tmp_path / "x.h5")
    native = settings.pop("size") == "native"
    report = checked("folder", tmp_path / "x", native=native, **settings)
    errors = [row for row in report["findings"] if row["severity"] == "error"]
    assert {(row["location"], row["found"]) for row in errors} == {
        (problem.where, problem.found) for problem in caught.value.problems
    }


def test_sizes_may_differ_between_splits_of_native_size(toys):
    for name in ("t1", "t2"):
        add(toys, name, *toy_image(3, height=50))
    assert check(toys, native=True)["errors"] == 0
    add(toys, "a", *toy_image(3, height=50))
    assert kinds(check(toys, native=True))[:2] == [("error", "size", 1)] * 2


def test_one_bright_pixel_that_sets_the_range_is_a_warning(tmp_path):
    for number in range(4):
        mask, pixels = blobs(number, 40, 30)
        pixels = pixels.astype(np.uint16)
        pixels[0, 0] = 65535 if number == 1 else pixels[0, 0]
        write_tif(tmp_path / f"x/images/{number}.tif", pixels)
        write_tif(tmp_path / f"x/masks/{number}.tif", 255 * mask)
    (row,) = checked("folder", tmp_path / "x")["findings"]
    assert (row["severity"], row["kind"], row["count"]) == ("warning", "narrow-range", 1)
    assert row["location"].endswith("1.tif")
    assert "1 of 4 images" in row["found"]
    assert "repair or clip" in row["remedy"]


def test_check_reads_second_observer_masks(drive):
    write_gif(drive / "test/2nd_manual/01_manual2.gif", np.zeros((5, 60), np.uint8))
    assert kinds(check(drive, "drive")) == [("error", "size", 1)]


def test_image_in_two_splits_is_a_leak(toys):
    image, mask = toy_image(0)
    add(toys, "t3", image, np.roll(mask, 1))
    report = check(toys)
    assert kinds(report) == [("error", "leak", 2)]
    assert report["leak"] == 2
    assert "a in train, t3 in test" in report["findings"][0]["found"]
    assert kinds(check(toys, exclude={"t3": "a copy of a"})) == []


def test_same_pixels_in_another_file_are_a_duplicate(toys):
    image, mask = toy_image(0)
    add(toys, "e", image, mask)
    encoded_ok, data = cv2.imencode(".png", image[:, :, ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 0])
    assert encoded_ok
    (toys / "images/e.png").write_bytes(data.tobytes())
    report = check(toys)
    assert kinds(report) == [("warning", "duplicate", 2)]
    assert report["leak"] == 0


def test_blank_images_are_one_warning_even_across_splits(tmp_path):
    root = make_tgs(tmp_path / "TGS")
    blank = (root / "train/images/tile000.png").read_bytes()
    for name in ("train/images/tile004.png", "train/images/tile008.png", "test/images/tile012.png"):
        (root / name).write_bytes(blank)
    report = check(root, "tgs", test={"rule": "fraction", "fraction": 0.5, "seed": 1})
    assert kinds(report) == [("warning", "blank", 4)]
    assert "all identical" in report["findings"][0]["found"]
    assert report["facts"]["blank_images"] == 3
    assert report["facts"]["empty_masks"] == 3
    assert report["facts"]["mask_types"] == {"PNG 16-bit": 9, "PNG 8-bit": 3}


def test_full_masks_are_counted_and_absent_classes_listed(toys):
    for path in (toys / "masks").iterdir():
        cv2.imwrite(str(path), np.full((64, 72), 2, np.uint8))
    report = check(toys)
    assert report["facts"]["full_masks"] == 6
    assert "none with a pixel of background, circle, square" in report["findings"][0]["found"]


def test_unused_files_are_reported_with_the_reason(toys):
    for name in (".hidden", "masks/Thumbs.db", "notes.txt", "extra.png", "a.psd", "a.xyz"):
        (toys / name).write_bytes(b"x")
    reasons = {row["reason"]: row["examples"] for row in check(toys, exclude={"b": "blurred"})["ignored"]}
    assert reasons == {
        check_ignored.OTHER_FORMAT: ["a.psd"],
        check_ignored.OTHER: ["a.xyz"],
        check_ignored.EXCLUDED: ["images/b.png", "masks/b.png"],
        check_ignored.SYSTEM: ["masks/Thumbs.db"],
        check_ignored.HIDDEN: [".hidden"],
        check_ignored.UNUSED: ["extra.png"],
        check_ignored.NOTES: ["notes.txt"],
    }


def test_report_does_not_depend_on_the_number_of_threads(toys):
    texts = []
    for threads in (1, 4):
        check(toys, threads=threads)
        texts.append([(toys.parent / f"out/x.{ending}").read_bytes() for ending in ("json", "html", "png")])
    assert texts[0] == texts[1]
    assert read_reports([toys.parent / "out/x.json"])[0]["pairs"] == 6


def test_hostile_file_names_are_escaped(tmp_path):
    root = tmp_path / "toy"
    for index, name in enumerate(['<img src=x onerror="alert(1)">', "\x1b[31mred", "été 1 (2)", "'\"&"]):
        add(root, name, toy_image(index)[0], np.full((64, 72), 77, np.uint8))
    report = check(root)
    page = (tmp_path / "out/x.html").read_text()
    assert re.findall(r"<img [^>]*", page)[0].startswith('<img alt="contact sheet"')
    assert page.count("<img ") == 1
    assert "&lt;img src=x onerror=" in page
    assert "\x1b" not in page + format_reports([report], [Path("check.html")])
    assert "été 1 (2)" in page


def test_page_allows_only_its_own_style_and_embedded_image(toys, tmp_path):
    check(toys)
    page = (tmp_path / "out/x.html").read_text()
    (policy,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', page)
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    )
    assert page.index(policy) < page.index("<style>")
    assert not re.search(r"<script|style=|\son\w+=", page)


def sheet_colours(folder, below=0):
    """Return the height of a contact sheet and its colours of at least 100 pixels, from a row on."""
    sheet = np.asarray(Image.open(folder / "out/x.png").convert("RGB"))
    colours, counts = np.unique(sheet[below:].reshape(-1, 3), axis=0, return_counts=True)
    return sheet.shape[0], set(map(tuple, colours[counts >= 100].tolist()))


def test_contact_sheet_of_several_classes_has_a_legend(toys, tmp_path):
    check(toys)
    _, colours = sheet_colours(tmp_path, below=-22)
    assert {*COLOURS[1:], (128, 128, 128)} <= colours  # the masks have ignored pixels
    for path in (toys / "masks").iterdir():
        mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(path), np.where(mask == 255, 0, mask))
    check(toys)
    _, colours = sheet_colours(tmp_path, below=-22)
    assert {*COLOURS[1:]} <= colours
    assert (128, 128, 128) not in colours


def test_contact_sheet_of_two_classes_shows_ignored_pixels(tmp_path):
    for number in range(2):
        write_tif(tmp_path / f"x/images/{number}.tif", np.full((40, 30), 20 + number, np.uint8))
        write_tif(tmp_path / f"x/masks/{number}.tif", np.pad(np.full((20, 10), 255, np.uint8), 10))
    checked("folder", tmp_path / "x")
    height, colours = sheet_colours(tmp_path)
    assert (128, 128, 128) not in colours
    for number in range(2):
        write_tif(tmp_path / f"x/masks/{number}.tif", np.pad(np.full((20, 10), 255, np.uint8), 10, constant_values=9))
    checked("folder", tmp_path / "x", {"labels": {0: "background", 255: "object"}, "ignore": [9]})
    with_legend, colours = sheet_colours(tmp_path)
    assert (128, 128, 128) in colours
    assert with_legend > height


def test_long_names_do_not_widen_the_page(tmp_path):
    root, name = tmp_path / "toy", "a" * 200
    add(root, name, *toy_image(1))
    (root / "masks" / f"{name}.png").write_bytes((root / "images" / f"{name}.png").read_bytes()[:-60])
    assert check(root)["errors"] == 1
    page = (tmp_path / "out/x.html").read_text()
    assert name in page
    assert re.search(r"\nbody \{[^}]*overflow-wrap: anywhere", page)
    assert re.search(r"\n\.sheet \{[^}]*overflow-x: auto", page)


def test_file_name_that_is_not_utf8_is_reported(tmp_path):
    add(tmp_path / "toy", "a", *toy_image(1))
    odd = "b\udcff.png"
    for folder in ("images", "masks"):
        (tmp_path / "toy" / folder / odd).write_bytes((tmp_path / "toy" / folder / "a.png").read_bytes()[:-60])
    report = check(tmp_path / "toy")
    format_reports([report], [Path("check.html")]).encode("utf-8")
    assert "b\\udcff.png" in (tmp_path / "out/x.json").read_text().replace("\\\\", "\\")


def encoded(form, mode="RGB", **options):
    buffer = io.BytesIO()
    Image.fromarray(blobs(1)[1]).convert(mode).save(buffer, form, **options)
    return buffer.getvalue()


def test_header_has_orientation_profile_alpha_and_depth():
    turned = Image.Exif()
    turned[274] = 6
    jpeg = read_header(encoded("JPEG", exif=turned, icc_profile=b"profile"))
    assert (jpeg.format, jpeg.bits, jpeg.orientation, jpeg.orientation_applied, jpeg.icc) == ("JPEG", 8, 6, True, True)
    png = read_header(encoded("PNG", "RGBA", icc_profile=b"profile", exif=turned))
    assert (png.bits, png.alpha, png.icc, png.orientation_applied) == (8, True, True, True)
    assert read_header(encoded("PNG", "1")).bits == 1
    assert read_header(encoded("GIF", "L")).format == "GIF"
    assert read_header(encoded("JPEG")[:9]).format == "unknown"


def test_header_of_16_bit_tiff(tmp_path):
    write_tif(tmp_path / "a.tif", np.zeros((9, 8, 4), np.uint16), photometric="rgb", extrasamples=["unassalpha"])
    header = read_header((tmp_path / "a.tif").read_bytes())
    assert (header.format, header.bits, header.alpha) == ("TIFF", 16, True)


def drive_of(root, **more):
    return opened("d", "drive", root, **{"test": "official", **more})


def test_exclusion_does_not_move_other_samples(drive):
    validation = {"fraction": 0.5, "seed": 0}
    before = drive_of(drive, validation=validation)
    after = drive_of(drive, validation=validation, exclude={"22": "blurred"})
    for split, samples in before.splits.items():
        assert after.splits[split] == [sample for sample in samples if sample.id != "22"]
    assert [(item.id, item.reason) for item in after.excluded] == [("22", "blurred")]


def test_unpaired_files_can_be_excluded(drive):
    (drive / "training/1st_manual/22_manual1.gif").unlink()
    (drive / "training/images/23_training.tif").unlink()
    with pytest.raises(RawDataError, match="22_training"):
        drive_of(drive, exclude={"23": "lost"})
    raw = drive_of(drive, exclude={"22": "no mask", "23": "lost"})
    assert [sample.id for sample in raw.splits["train"]] == ["21", "24", "25", "26"]


def test_exclusion_affects_only_its_own_shard(drive):
    raw = drive_of(drive, shards=3, exclude={"22": "blurred"})
    affected = [(split, shard) for split in raw.splits for shard in range(3) if raw.exclusions(split, shard)]
    ((split, shard),) = affected
    assert "22" in {sample.id for sample in drive_of(drive, shards=3).shard_members(split)[shard]}


def test_unknown_excluded_identifier_suggests_similar_ones(drive):
    with pytest.raises(RawDataError, match="did you mean '22'"):
        drive_of(drive, test=None, exclude={"222": "blurred"})


def test_excluding_all_training_samples_is_refused(drive):
    names = {str(number): "bad" for number in range(21, 27)}
    with pytest.raises(RawDataError, match="all training samples"):
        drive_of(drive, exclude=names)


@pytest.fixture
def project(tmp_path, drive, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(
        'datasets: {d: {layout: drive, root: DRIVE, size: [48, 48], exclude: {"22": blurred}}}\n'
    )
    return tmp_path


def test_check_command_exit_status_and_files(project, capsys):
    assert cli.main(["check"]) == 0
    assert "d: 0 errors, 0 warnings" in capsys.readouterr().out
    break_tif(project / "DRIVE")  # an excluded sample
    assert cli.main(["check", "--dataset", "d"]) == 0
    assert "excluded: 22: blurred" in capsys.readouterr().out
    add_drive(project / "DRIVE", "training", 40, labels=False)
    assert cli.main(["check"]) == 1
    assert "40_training.tif" in capsys.readouterr().out
    assert cli.main(["check", "--exit-zero"]) == 0
    assert cli.main(["check", "--print-reports", "results/check/d.json"]) == 1
    assert json.loads((project / "results/check/d.json").read_text())["errors"] == 1
    assert cli.main(["check", "--print-reports", "config.yaml"]) == 1
    assert "python -m pipeline check" in capsys.readouterr().err


def test_table_of_splits_lists_excluded_samples(project):
    assert cli.main(["splits", "--dataset", "d"]) == 0
    (row,) = (line for line in (project / "results/splits/d.csv").read_text().splitlines() if "excluded" in line)
    assert row.startswith("22,excluded,,")
    assert row.endswith(",blurred")


def test_excluded_identifier_without_quotes_is_refused(project, capsys):
    text = (project / "config.yaml").read_text()
    (project / "config.yaml").write_text(text.replace('"22"', "22"))
    assert cli.main(["check"]) == 2
    assert "in quotes" in capsys.readouterr().err
