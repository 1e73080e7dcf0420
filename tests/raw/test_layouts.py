import errno
import os
from pathlib import Path

import numpy as np
import pytest
from rawfiles import make_drive
from sources import listed, opened, source

from pipeline.core.errors import RawDataError
from pipeline.core.options import tag_values
from pipeline.raw.dataset import open_partially
from pipeline.raw.layouts.registry import LAYOUTS


def problems(layout, root, **options):
    with pytest.raises(RawDataError) as caught:
        listed(layout, root, **options)
    return caught.value


def test_drive_pairs_by_number(drive):
    samples = {sample.id: sample for sample in listed("drive", drive)}
    assert sorted(samples) == ["01", "02", "03", "21", "22", "23", "24", "25", "26"]
    assert Path(samples["21"].image).name == "21_training.tif"
    assert Path(samples["21"].mask).name == "21_manual1.gif"
    assert Path(samples["21"].fov).name == "21_training_mask.gif"
    assert samples["21"].observer is None
    assert Path(samples["01"].observer).name == "01_manual2.gif"
    assert samples["01"].official_split == "test"


def test_drive_lists_every_missing_extra_and_misnamed_file(drive):
    (drive / "training/1st_manual/22_manual1.gif").unlink()
    (drive / "test/mask/02_test_mask.gif").unlink()
    (drive / "training/images/24_training.tif").rename(drive / "training/images/99_training.tif")
    (drive / "test/images/03_test.tif").rename(drive / "test/images/three_test.tif")
    error = problems("drive", drive)
    text = str(error)
    for part in ("22_training.tif", "02_test.tif", "99_training.tif", "24_manual1.gif", "three_test.tif", "03_manual1"):
        assert part in text
    assert "a name without a leading number" in text
    assert len(error.problems) >= 6


def test_drive_refuses_two_files_of_one_number(drive):
    source = drive / "training/images/21_training.tif"
    (drive / "training/images/21_copy.tif").write_bytes(source.read_bytes())
    assert "21_copy.tif" in str(problems("drive", drive))


def test_drive_test_images_without_labels_are_unlabelled(drive):
    for role in ("1st_manual", "2nd_manual"):
        for path in (drive / "test" / role).iterdir():
            path.unlink()
        (drive / "test" / role).rmdir()
    raw = opened("drive", "drive", drive, test="official")
    assert [sample.id for sample in raw.splits["unlabelled"]] == ["01", "02", "03"]
    assert raw.splits["test"] == []
    assert len(raw.splits["train"]) == 6


def test_drive_accepts_folder_train_and_ignores_hidden_files(tmp_path):
    root = make_drive(tmp_path / "DRIVE")
    (root / "training").rename(root / "train")
    (root / "train/images/.DS_Store").write_bytes(b"")
    (root / "train/images/._21_training.tif").write_bytes(b"")
    (root / "train/images/Thumbs.db").write_bytes(b"")
    assert len(listed("drive", root)) == 9


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir(), lambda path: path.write_text("x")])
@pytest.mark.parametrize("layout", tag_values(LAYOUTS, "layout"))
def test_error_for_a_missing_root_names_the_command(tmp_path, make, layout):
    root = tmp_path / "RAW"
    make(root)
    error = problems(layout, root)
    assert str(root) in str(error)
    kind = next(kind for kind in LAYOUTS if tag_values([kind], "layout") == [layout])
    assert ("python -m pipeline synthetic" in str(error)) == kind.has_synthetic
    assert "`root` of data set 'd'" in str(error)


def test_error_for_an_empty_image_folder_names_it(drive):
    for path in (drive / "test" / "images").iterdir():
        path.unlink()
    assert str(drive / "test" / "images") in str(problems("drive", drive))


def test_tgs_pairs_by_name_and_reads_depths(tgs):
    samples = listed("tgs", tgs)
    assert len(samples) == 14
    assert sum(sample.labelled for sample in samples) == 12
    assert samples[3].metadata["depth"] == 103.0
    (tgs / "depths.csv").unlink()
    assert not listed("tgs", tgs)[0].metadata


def test_tgs_lists_missing_and_extra_masks(tgs):
    (tgs / "train/masks/tile003.png").rename(tgs / "train/masks/other.png")
    (tgs / "train/masks/tile005.png").unlink()
    error = problems("tgs", tgs)
    assert len(error.problems) == 3
    for name in ("tile003", "tile005", "other"):
        assert name in str(error)


def test_tgs_codes_equal_the_mask_files(tgs):
    files = opened("t", "tgs", tgs)
    codes = opened("t", "tgs", tgs, {"masks": "csv"})
    for a, b in zip(files.splits["train"], codes.splits["train"], strict=True):
        assert b.mask is None
        np.testing.assert_array_equal(files.read_truth(a), codes.read_truth(b))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("id,mask\ntile000,\n", "the columns"),
        ("id,rle_mask\ntile000,1 1\ntile000,1 1\n", "a second row with the id"),
        ("id,rle_mask\ntile000,\n", "no mask of that name"),
    ],
)
def test_invalid_table_of_codes_is_refused(tgs, text, found):
    (tgs / "train.csv").write_text(text)
    assert found in str(problems("tgs", tgs, masks="csv"))


@pytest.mark.parametrize(("table", "masks"), [("depths.csv", "png"), ("train.csv", "csv")])
def test_identifiers_changed_by_a_spreadsheet_are_named(tgs, table, masks):
    text = (tgs / table).read_text()
    (tgs / table).write_text(text.replace("tile000,", "TILE000,").replace("tile001,", "tile001.png,"))
    with pytest.raises(RawDataError) as caught:
        listed("tgs", tgs, masks=masks)
    (problem,) = (problem for problem in caught.value.problems if problem.where == str(tgs / table))
    assert "'TILE000' for 'tile000', 'tile001.png' for 'tile001'" in problem.found


FILES = {
    "drive": ("training/images/21_training.tif", "training/1st_manual/21_manual1.gif", "training/mask/21_m.gif"),
    "tgs": ("train/images/0a.png", "train/masks/0a.png"),
    "duts": ("DUTS-TR/DUTS-TR-Image/a.jpg", "DUTS-TR/DUTS-TR-Mask/a.png"),
    "shapes": ("train_imgs/0.jpg", "train_mask/0.png"),
    "folder": ("images/a.png", "masks/a.png"),
}


@pytest.mark.parametrize("found", FILES)
@pytest.mark.parametrize("layout", FILES)
def test_files_of_another_layout_are_recognised(tmp_path, layout, found):
    for name in FILES[found]:
        (tmp_path / "x/data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "x/data" / name).write_bytes(b"x")
    problems = open_partially("d", source(layout, tmp_path / "x/data")).problems
    hints = [problem for problem in problems if f"look like layout '{found}'" in problem.found]
    assert [problem.remedy for problem in hints] == [f"set `layout: {found}`"] * (layout != found)


def test_files_one_folder_deeper_are_recognised(drive):
    with pytest.raises(RawDataError) as caught:
        opened("d", "drive", drive.parent)
    assert caught.value.problems[0].remedy == f"set `root: {drive}`"
    with pytest.raises(RawDataError) as caught:
        opened("d", "tgs", drive.parent)
    assert caught.value.problems[0].remedy == f"set `layout: drive` and `root: {drive}`"


@pytest.mark.parametrize("layout", FILES)
def test_folder_that_may_not_be_listed_is_one_message(drive, monkeypatch, layout):
    def refuse(path, *arguments):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    for name in ("listdir", "scandir"):
        monkeypatch.setattr(os, name, refuse)
    (problem,) = open_partially("d", source(layout, drive)).problems
    assert (problem.where, problem.found) == (str(drive), "Permission denied")
    assert "chmod -R u+rX" in problem.remedy


def test_error_for_a_non_numeric_depth_names_the_tile(tgs):
    (tgs / "depths.csv").write_text("id,z\ntile000,deep\n")
    assert "tile000" in str(problems("tgs", tgs))


def test_second_observer_masks_are_read_by_palette(drive):
    raw = opened("drive", "drive", drive, test="official")
    sample = raw.splits["test"][0]
    np.testing.assert_array_equal(raw.read_observer(sample), np.roll(raw.read_truth(sample), 1, axis=0))


def put(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def make_shapes(root, numbers=(0, 7, 10, 799, 800, 899, 900), test=(950,)):
    put(root, *(f"train_imgs/{n}.jpg" for n in numbers), *(f"train_mask/{n}.png" for n in numbers))
    put(root, *(f"test_imgs/{n}.jpg" for n in test))
    return root


def test_shapes_has_official_splits_by_number(tmp_path):
    root = make_shapes(tmp_path)
    raw = opened("s", "shapes", root, test="official", validation="official")
    ids = {split: [sample.id for sample in samples] for split, samples in raw.splits.items()}
    assert ids == {
        "train": ["0", "10", "7", "799"],
        "validation": ["800", "899"],
        "test": ["900"],
        "unlabelled": ["950"],
    }
    assert raw.multiclass
    assert raw.classes == ("background", "circle", "triangle", "square")
    assert raw.colours == ((0, 0, 0), (128, 0, 0), (0, 128, 0), (0, 0, 128))
    put(root, "test_mask/950.png")
    raw = opened("s", "shapes", root, test="official", validation="official")
    assert [sample.id for sample in raw.splits["test"]] == ["900", "950"]


def test_shapes_lists_every_unpaired_file(tmp_path):
    root = make_shapes(tmp_path, test=(950, 951, 7))
    (root / "train_mask/10.png").unlink()
    put(root, "train_mask/11.png", "test_mask/950.png", "train_imgs/cat.jpg")
    error = problems("shapes", root)
    text = str(error)
    for part in ("train_imgs/10.jpg", "train_mask/11.png", "test_imgs/951.jpg", "cat.jpg", "the identifier '7'"):
        assert part in text
    assert "test_imgs/950.jpg" not in text


def test_duts_test_folder_and_test_masks_are_optional(tmp_path):
    put(tmp_path, "DUTS-TR/DUTS-TR-Image/n1.jpg", "DUTS-TR/DUTS-TR-Mask/n1.png")
    raw = opened("d", "duts", tmp_path, test="official", mask_kind="soft")
    assert [sample.id for sample in raw.splits["train"]] == ["n1"]
    put(tmp_path, "DUTS-TE/DUTS-TE-Image/sun_a.jpg", "DUTS-TE/DUTS-TE-Mask/sun_a.png")
    raw = opened("d", "duts", tmp_path, test="official", mask_kind="soft")
    assert [sample.id for sample in raw.splits["test"]] == ["sun_a"]
    (tmp_path / "DUTS-TE/DUTS-TE-Mask/sun_a.png").unlink()
    raw = opened("d", "duts", tmp_path, test="official", mask_kind="soft")
    assert [sample.id for sample in raw.splits["unlabelled"]] == ["sun_a"]


def test_duts_lists_every_unpaired_file(tmp_path):
    put(tmp_path, "DUTS-TR/DUTS-TR-Image/a.jpg", "DUTS-TR/DUTS-TR-Mask/b.png", "DUTS-TE/DUTS-TE-Mask/c.png")
    text = str(problems("duts", tmp_path))
    for part in ("a.jpg", "b.png", "DUTS-TE-Image\n", "c.png"):
        assert part in text
    (tmp_path / "DUTS-TR").rename(tmp_path / "TR")
    (tmp_path / "DUTS-TE").rename(tmp_path / "TE")
    assert "neither DUTS-TR nor DUTS-TE" in str(problems("duts", tmp_path))
