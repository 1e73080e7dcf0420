import os
import tempfile
import time
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from sources import checked, opened, preparation
from sources import listed as listed_samples

from pipeline.core.counts import VOID
from pipeline.core.errors import RawDataError
from pipeline.raw.check.ignored import ignored_files
from pipeline.raw.layouts.folder import Folder
from pipeline.shards.prepare import prepare

SPLITS = {"train": ["train", "training"], "validation": ["val"], "test": ["test"]}


def put(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def listed(root, **options):
    samples = listed_samples("folder", root, split_folders=SPLITS, **options)
    return {sample.id: sample for sample in samples}


def refusal(root, **options):
    with pytest.raises(RawDataError) as caught:
        listed(root, **options)
    return caught.value


def test_images_and_masks_pair_by_name_in_any_extension_case(tmp_path):
    put(tmp_path, "images/a.JPG", "images/b (1).jpg", "images/c.tiff", "images/Thumbs.db", "images/._a.jpg")
    put(tmp_path, "masks/a.png", "masks/b (1).PNG", "masks/c.gif", "masks/.DS_Store", "masks/notes.txt")
    samples = listed(tmp_path)
    assert list(samples) == ["a", "b (1)", "c"]
    assert samples["a"].image == str(tmp_path / "images/a.JPG")
    assert samples["b (1)"].mask == str(tmp_path / "masks/b (1).PNG")
    assert samples["a"].official_split is None


def test_names_that_are_not_utf8_are_all_listed(tmp_path):
    put(tmp_path, "images/a.png", "images/b\udcff.png", "images/é.png", "images/c\udce9.png")
    put(tmp_path, "masks/a.png", "masks/b\udcff.png", "masks/é.png", "masks/c\udce9.png")
    with pytest.raises(RawDataError) as caught:
        opened("d", "folder", tmp_path)
    refused = [problem.where for problem in caught.value.problems]
    assert refused == [
        rf"{tmp_path}/{kind}/{name}.png" for name in (r"b\udcff", r"c\udce9") for kind in ("images", "masks")
    ]
    assert "convmv" in str(caught.value)
    str(caught.value).encode("utf-8")


def test_every_unpaired_file_is_listed(tmp_path):
    put(tmp_path, "images/a.jpg", "images/b.jpg", "images/c.jpg", "masks/a.png", "masks/d.png", "masks/e.png")
    error = refusal(tmp_path)
    assert len(error.problems) == 4
    for name in ("images/b.jpg", "images/c.jpg", "masks/d.png", "masks/e.png"):
        assert name in str(error)
    error = refusal(tmp_path, missing_masks="unlabelled")
    assert {problem.where for problem in error.problems} == {str(tmp_path / "masks" / n) for n in ("d.png", "e.png")}


def test_images_without_mask_may_be_unlabelled(tmp_path):
    put(tmp_path, "images/a.jpg", "images/b.jpg", "masks/a.png")
    samples = listed(tmp_path, missing_masks="unlabelled")
    assert [sample.labelled for sample in samples.values()] == [True, False]


def test_without_masks_all_samples_are_unlabelled(tmp_path):
    put(tmp_path, "images/a.jpg", "masks/a.png")
    raw = opened("d", "folder", tmp_path, {"masks": None})
    assert [sample.id for sample in raw.splits["unlabelled"]] == ["a"]
    assert raw.splits["train"] == []


def test_missing_all_masks_is_one_problem(tmp_path):
    put(tmp_path, *(f"images/{index}.jpg" for index in range(30)), "labels/0.png")
    error = refusal(tmp_path)
    assert len(error.problems) == 1
    assert "any of 30 images" in str(error)


@pytest.mark.parametrize(
    ("image", "mask", "options", "remedy"),
    [
        ("images/{}.jpg", "masks/{}_mask.png", {}, 'set `mask_name: "{id}_mask"`'),
        ("images/{}.jpg", "masks/mask_{}.PNG", {}, 'set `mask_name: "mask_{id}"`'),
        ("images/{}_sat.jpg", "masks/{}.png", {}, 'set `image_name: "{id}_sat"`'),
        ("images/a_{}_sat.jpg", "masks/a_{}_gt.png", {}, 'set `image_name: "a_{id}_sat"` and `mask_name: "a_{id}_gt"`'),
        ("images/{}.jpg", "masks/{}_mask.png", {"mask_name": "{id}_seg"}, 'set `mask_name: "{id}_mask"`'),
        (
            "images/{}.jpg",
            "images/{}-gt.png",
            {"masks": "images", "mask_name": "{id}_gt"},
            'set `mask_name: "{id}-gt"`',
        ),
        (
            "p{}/images/x.jpg",
            "p{}/masks/x_m.png",
            {"images": "*/images", "masks": "*/masks"},
            'set `mask_name: "{id}_m"`',
        ),
        ("p{}/images/x.jpg", "masks/x.png", {"images": "*/images"}, "use the same wildcards in `images` and `masks`"),
        ("images/{}.jpg", "q/masks/{}.png", {"masks": "*/masks"}, "use the same wildcards in `images` and `masks`"),
        ("images/{}.jpg", "masks/x{}y.txt", {}, "correct the pattern or the name"),
    ],
)
def test_names_that_would_pair_are_suggested(tmp_path, image, mask, options, remedy):
    numbers = ("07", "17", "8")
    put(tmp_path, *(image.format(number) for number in numbers), *(mask.format(number) for number in numbers))
    (problem,) = refusal(tmp_path, **options).problems
    assert "no mask for any of" in problem.found
    assert problem.remedy.startswith(remedy)


def test_fov_names_that_would_pair_are_suggested(tmp_path):
    put(tmp_path, "images/a.png", "masks/a.png", "fov/a_roi.png")
    (problem,) = refusal(tmp_path, fov="fov").problems
    assert problem.remedy == 'set `fov_name: "{id}_roi"`'


def test_missing_mask_folder_lists_what_there_is(tmp_path):
    put(tmp_path, "images/a.png", "labels/a.png")
    (problem,) = refusal(tmp_path).problems
    assert f"no such folder; {tmp_path} contains images, labels" in problem.found


def test_unpaired_wildcard_text_names_the_identifier(tmp_path):
    put(tmp_path, "p1/images/a.png", "p2/images/a.png", "p1/masks/a.png", "p3/masks/a.png")
    found = sorted(problem.found for problem in refusal(tmp_path, images="*/images", masks="*/masks").problems)
    assert found == [
        f"no image with the identifier 'p3-a' in {tmp_path}/*/images",
        f"no mask with the identifier 'p2-a' in {tmp_path}/*/masks ({{id}})",
    ]


def test_name_templates_separate_roles_in_one_folder(tmp_path):
    put(tmp_path, "train/1_sat.jpg", "train/1_mask.png", "train/2_sat.jpg", "train/2_mask.png", "train/preview.png")
    samples = listed(tmp_path, images="train", masks="train", image_name="{id}_sat", mask_name="{id}_mask")
    assert list(samples) == ["1", "2"]
    assert samples["2"].mask.endswith("2_mask.png")


def test_plain_template_matches_the_remaining_files(tmp_path):
    put(tmp_path, "all/x (1).png", "all/x (1)_mask.png", "all/x (2).png", "all/x (2)_mask.png")
    samples = listed(tmp_path, images="all", masks="all", mask_name="{id}_mask")
    assert list(samples) == ["x (1)", "x (2)"]


def test_extensions_separate_roles_in_one_folder(tmp_path):
    put(tmp_path, "all/x.JPG", "all/x.png")
    samples = listed(tmp_path, images="all", masks="all", mask_name="{id}.png")
    assert samples["x"].image.endswith("x.JPG")
    assert samples["x"].mask.endswith("x.png")


def test_split_pattern_matches_folder_names(tmp_path):
    put(tmp_path, "Training/img/a.jpg", "val/img/b.jpg", "test/img/c.jpg", "extra/img/d.jpg")
    put(tmp_path, "Training/lab/a.png", "val/lab/b.png")
    samples = listed(tmp_path, images="{split}/img", masks="{split}/lab")
    assert {name: sample.official_split for name, sample in samples.items()} == {
        "a": "training",
        "b": "validation",
        "c": "test",
    }
    assert [sample.labelled for sample in samples.values()] == [True, True, False]
    put(tmp_path, "test/img/e.jpg", "test/lab/e.png")
    assert "img/c.jpg" in str(
        refusal(tmp_path, images="{split}/img", masks="{split}/lab")
    )  # now one of several masks is missing


def test_training_split_without_masks_is_refused(tmp_path):
    put(tmp_path, "train/img/a.jpg", "test/img/c.jpg", "test/lab/c.png")
    assert "split 'train'" in str(refusal(tmp_path, images="{split}/img", masks="{split}/lab"))


def test_prefix_ids_separate_equal_names_of_splits(tmp_path):
    put(tmp_path, *(f"{split}/{role}/1.png" for split in ("train", "test") for role in ("img", "lab")))
    options = {"images": "{split}/img", "masks": "{split}/lab"}
    assert "prefix_ids: true" in str(refusal(tmp_path, **options))
    samples = listed(tmp_path, **options, prefix_ids=True)
    assert list(samples) == ["test-1", "train-1"]
    assert samples["test-1"].mask == str(tmp_path / "test/lab/1.png")


def test_masks_of_all_splits_may_be_in_one_folder(tmp_path):
    put(tmp_path, "images/train/a.jpg", "images/test/b.jpg", "masks/a.png", "masks/b.png", "masks/c.png")
    error = refusal(tmp_path, images="images/{split}")
    assert [problem.where for problem in error.problems] == [str(tmp_path / "masks/c.png")]
    (tmp_path / "masks/c.png").unlink()
    assert listed(tmp_path, images="images/{split}")["b"].mask == str(tmp_path / "masks/b.png")


def test_wildcard_texts_become_part_of_the_identifier(tmp_path):
    put(tmp_path, "p1/images/a.png", "p2/images/a.png", "p1/masks/a.png", "p2/masks/a.png", "readme/x.txt")
    samples = listed(tmp_path, images="*/images", masks="*/masks")
    assert list(samples) == ["p1-a", "p2-a"]
    assert samples["p2-a"].mask == str(tmp_path / "p2/masks/a.png")
    put(tmp_path, "deep/i/x/y/b.png", "deep/i/c.png", "deep/m/x/y/b.png", "deep/m/c.png", "deep/i/.trash/z.png")
    assert list(listed(tmp_path, images="deep/i/**", masks="deep/m/**")) == ["c", "x-y-b"]
    put(tmp_path, "case-7_raw/a.png", "case-7_seg/a.png")
    assert list(listed(tmp_path, images="case-*_raw", masks="case-*_seg")) == ["7-a"]


def test_circular_links_are_not_followed(tmp_path):
    put(tmp_path, "images/p/a.png", "masks/p/a.png")
    (tmp_path / "images/p/back").symlink_to(tmp_path / "images")
    assert list(listed(tmp_path, images="images/**", masks="masks/**")) == ["p-a"]


def test_links_to_other_folders_are_followed(tmp_path):
    root = tmp_path / "root"
    put(root, "images/p/a.png", "masks/p/a.png")
    put(tmp_path, "store/images/b.png", "store/masks/b.png", "store/images/unused.txt")
    for kind in ("images", "masks"):
        (root / kind / "q").symlink_to(tmp_path / "store" / kind)
    (tmp_path / "store/images/back").symlink_to(root / "images")
    assert list(listed(root, images="images/**", masks="masks/**")) == ["p-a", "q-b"]
    unused = [path for paths in ignored_files(root, (), ()).values() for path in paths]
    assert "images/q/unused.txt" in unused
    assert len(unused) == 5


def test_repeated_identifiers_are_listed(tmp_path):
    put(tmp_path, "images/a.jpg", "images/a.png", "masks/a.png", "images/b.jpg", "masks/b.png", "masks/b.gif")
    error = str(refusal(tmp_path))
    for part in ("images/a.jpg", "images/a.png", "masks/b.gif", "identifier 'a'", "identifier 'b'"):
        assert part in error


def test_fields_of_view_are_paired(tmp_path):
    put(tmp_path, "images/a.jpg", "masks/a.png", "fov/a_roi.png", "images/b.jpg", "masks/b.png")
    assert "images/b.jpg" in str(refusal(tmp_path, fov="fov", fov_name="{id}_roi"))
    put(tmp_path, "fov/b_roi.png")
    assert listed(tmp_path, fov="fov", fov_name="{id}_roi")["b"].fov == str(tmp_path / "fov/b_roi.png")


def test_error_for_a_folder_without_images_lists_its_content(tmp_path):
    put(tmp_path, "imgs/a.jp2", "masks/a.png")
    assert "contains imgs, masks" in str(refusal(tmp_path))
    assert "contains a.jp2" in str(refusal(tmp_path, images="imgs"))
    assert "{split} is one of" in str(refusal(tmp_path, images="imgs/{split}"))


def test_many_files_are_listed_in_seconds(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    for index in range(5000):
        (tmp_path / f"images/{index}.jpg").touch()
        (tmp_path / f"masks/{index}.png").touch()
    start = time.process_time()
    assert len(listed(tmp_path)) == 5000
    assert time.process_time() - start < 1


def test_colour_masks_are_read_by_declared_labels(tmp_path):
    truth = np.arange(64, dtype=np.uint8).reshape(8, 8) % 3
    colours = np.array([(0, 0, 0), (255, 0, 0), (2, 2, 255)], np.uint8)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    Image.fromarray(colours[truth]).save(tmp_path / "images/a.png")
    Image.fromarray(colours[truth]).save(tmp_path / "masks/a.png")
    labels = {
        "classes": ["background", "red"],
        "labels": {"#000000": "background", "#ff0000": "red"},
        "ignore": ["#0000ff"],
        "tolerance": 2,
    }
    raw = opened("d", "folder", tmp_path, labels)
    np.testing.assert_array_equal(raw.read_truth(raw.splits["train"][0]), np.array([0, 1, VOID])[truth])
    assert raw.colours == ((0, 0, 0), (255, 0, 0))
    assert not raw.multiclass


def write_pages(path, pages):
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, pages, photometric="minisblack")


def test_background_in_any_case_is_the_first_class():
    labels = {"255": "cell", "0": "Background"}
    layout = Folder.model_validate({"layout": "folder", "images": "i", "masks": "m", "labels": labels})
    assert layout.class_names() == ("Background", "cell")
    last = Folder.model_validate({"layout": "folder", "images": "i", "masks": "m", "classes": ["cell", "Background"]})
    (problem,) = last.problems("datasets.d", "index")
    assert (problem.found, problem.remedy) == ("'Background' as class 1", "put Background first")


def test_pages_samples_makes_each_page_a_sample(tmp_path):
    stack = np.random.default_rng(0).integers(0, 256, (3, 20, 16), dtype=np.uint8)
    masks = (stack > 127).astype(np.uint8) * 255
    write_pages(tmp_path / "images/s.tif", stack)
    write_pages(tmp_path / "masks/s.tif", masks)
    Image.fromarray(stack[0]).save(tmp_path / "images/t.png")
    Image.fromarray(masks[0]).save(tmp_path / "masks/t.png")
    raw = opened("d", "folder", tmp_path, {"pages": "samples"})
    samples = {sample.id: sample for split in raw.splits.values() for sample in split}
    assert sorted(samples) == ["s-p001", "s-p002", "s-p003", "t-p001"]
    preparation_options = preparation(channels="grey", storage="uint8", normalize="unit")
    items = [prepare(raw, samples[f"s-p00{n}"], preparation_options) for n in (1, 2, 3)]
    for item, page, mask in zip(items, stack, masks, strict=True):
        np.testing.assert_array_equal(item.stored[0], page)
        np.testing.assert_array_equal(item.mask, mask // 255)
    assert len({item.digest for item in items}) == 3
    np.testing.assert_array_equal(raw.read_truth(samples["t-p001"]), masks[0] // 255)


def test_unequal_and_damaged_stacks_are_refused(tmp_path):
    stack = np.zeros((3, 20, 16), np.uint8)
    write_pages(tmp_path / "images/s.tif", stack)
    write_pages(tmp_path / "masks/s.tif", stack[:2])
    error = str(refusal(tmp_path, pages="samples"))
    assert "masks/s.tif" in error
    assert "2 pages, while" in error
    data = (tmp_path / "images/s.tif").read_bytes()
    (tmp_path / "images/s.tif").write_bytes(data[:200])
    assert "list of pages of the TIFF points outside the file" in str(refusal(tmp_path, pages="samples"))


def test_a_stack_with_problems_is_reported_once(tmp_path):
    stack = np.random.default_rng(0).integers(0, 256, (3, 20, 16), dtype=np.uint8)
    masks = (stack > 127).astype(np.uint8) * 255
    for name in ("bad", "cut", "good"):
        write_pages(tmp_path / f"images/{name}.tif", stack)
        write_pages(tmp_path / f"masks/{name}.tif", masks)
    Image.fromarray(masks[0]).save(tmp_path / "masks/bad.tif")
    (tmp_path / "masks/cut.tif").write_bytes((tmp_path / "masks/cut.tif").read_bytes()[:200])
    report = checked("folder", tmp_path, {"pages": "samples"})
    found = {Path(finding["location"]).stem: finding["found"] for finding in report["findings"]}
    assert report["errors"] == 2
    assert "1 page, while" in found["bad"]
    assert "points outside the file" in found["cut"]
    assert report["ignored"] == []
    raw = opened("d", "folder", tmp_path, {"pages": "samples"}, exclude={"bad": "pages differ", "cut": "damaged"})
    assert [sample.id for samples in raw.splits.values() for sample in samples] == [f"good-p00{n}" for n in (1, 2, 3)]


CHANNELS_AS_PAGES = {
    "Fiji": {"description": "ImageJ=1.54f\nimages=3\nchannels=3\nhyperstack=true\nmode=grayscale\n"},
    "composite": {"imagej": True, "metadata": {"axes": "CYX", "mode": "composite"}},
    "Bio-Formats": {"description": '<OME><Pixels SizeC="3" SizeT="1" SizeZ="1" SizeX="16" SizeY="20"/></OME>'},
    "axes": {"metadata": {"axes": "CYX"}},
}
SLICES_AS_PAGES = {
    "Fiji": {"description": "ImageJ=1.54f\nimages=3\nslices=3\n"},
    "ImageJ slices": {"imagej": True, "metadata": {"axes": "ZYX"}},
    "ImageJ without axes": {"imagej": True},  # tifffile declares channels
    "OME without axes": {"ome": True},
    "plain": {},
    "ImageJ with a long number": {"description": f"ImageJ=1.54f\nchannels={'9' * 5000}\n"},
    "OME with a long number": {"description": f'<OME><Pixels SizeC="{"9" * 5000}"/></OME>'},
    "JSON with an infinite number": {"description": '{"axes": "C", "shape": [Infinity]}'},
}


@pytest.mark.parametrize("writer", CHANNELS_AS_PAGES)
def test_pages_that_are_channels_are_refused_as_samples(tmp_path, writer):
    save_stacks(tmp_path, **CHANNELS_AS_PAGES[writer])
    write_pages(tmp_path / "masks/s.tif", np.zeros((20, 16), np.uint8))
    error = refusal(tmp_path, pages="samples")
    assert "3 channels of an image" in str(error)
    assert [Path(problem.where).parent.name for problem in error.problems] == ["images"]


@pytest.mark.parametrize("writer", SLICES_AS_PAGES)
def test_pages_that_are_slices_are_samples(tmp_path, writer):
    save_stacks(tmp_path, **SLICES_AS_PAGES[writer])
    assert len(opened("d", "folder", tmp_path, {"pages": "samples"}).splits["train"]) == 3


def save_stacks(root, **options):
    for folder, options_of_file in (("images", options), ("masks", {})):
        (root / folder).mkdir()
        pixels = np.arange(3 * 20 * 16, dtype=np.uint8).reshape(3, 20, 16) // 128 * 255
        tifffile.imwrite(root / folder / "s.tif", pixels, photometric="minisblack", **options_of_file)


def test_stacks_without_the_option_are_refused_by_name(tmp_path):
    for folder in ("images", "masks"):
        write_pages(tmp_path / folder / "s.tif", np.zeros((3, 20, 16), np.uint8))
    raw = opened("d", "folder", tmp_path)
    with pytest.raises(RawDataError, match="a TIFF with 3 pages") as caught:
        raw.read_truth(raw.splits["train"][0])
    assert "pages: samples" in str(caught.value)


def write_objects(root, name, *masks):
    (root / name / "images").mkdir(parents=True)
    (root / name / "masks").mkdir(parents=True)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(root / name / "images" / "anything.png")
    for index, mask in enumerate(masks):
        Image.fromarray(mask).save(root / name / "masks" / f"m{index}.png")


MERGE = {"images": "*/images", "masks": "*/masks", "merge_masks": True}


def test_object_masks_are_merged_and_belong_to_the_sample(tmp_path):
    one, other, third = (np.zeros((8, 8), np.uint8) for _ in range(3))
    one[:3, :3] = other[2:5, 2:5] = third[7, 7] = 255
    write_objects(tmp_path, "n1", one, other, third)
    write_objects(tmp_path, "n2", one)
    raw = opened("d", "folder", tmp_path, MERGE)
    samples = {sample.id: sample for split in raw.splits.values() for sample in split}
    assert sorted(samples) == ["n1", "n2"]
    paths = [str(tmp_path / "n1/masks" / f"m{index}.png") for index in range(3)]
    assert list(samples["n1"].files[1:]) == list(samples["n1"].truth_files) == paths
    np.testing.assert_array_equal(raw.read_truth(samples["n1"]), (one | other | third) // 255)
    preparation_options = preparation(channels="grey", storage="uint8", normalize="unit")
    digest = prepare(raw, samples["n1"], preparation_options).digest
    Image.fromarray(one).save(paths[2])
    assert prepare(raw, samples["n1"], preparation_options).digest != digest


def test_merged_masks_have_equal_sizes_and_keep_ignored_pixels(tmp_path):
    write_objects(tmp_path, "n1", np.zeros((8, 8), np.uint8), np.zeros((8, 9), np.uint8))
    ignored = np.zeros((8, 8), np.uint8)
    ignored[0, :2], one = 9, np.zeros((8, 8), np.uint8)
    one[0, 1:3] = 255
    write_objects(tmp_path, "n2", ignored, one)
    write_objects(tmp_path, "n3", one, ignored)
    raw = opened("d", "folder", tmp_path, {**MERGE, "ignore": ["9"]})
    samples = {sample.id: sample for split in raw.splits.values() for sample in split}
    with pytest.raises(RawDataError, match=r"m1\.png\n.*9x8 pixels"):
        raw.read_truth(samples["n1"])
    for name in ("n2", "n3"):
        assert raw.read_truth(samples[name])[0, :4].tolist() == [VOID, 1, 1, 0]


def test_two_images_for_merged_masks_are_refused(tmp_path):
    put(tmp_path, "a/images/1.png", "a/images/2.png", "a/masks/1.png", "b/images/1.png", "c/masks/1.png")
    error = str(refusal(tmp_path, **MERGE))
    for part in ("2 files of one role (image) with the identifier 'a'", "b/images/1.png", "c/masks/1.png"):
        assert part in error


def test_nfc_and_nfd_names_are_equal(tmp_path):
    put(tmp_path, "images/caf\u00e9 (1).jpg", "masks/cafe\u0301 (1).png")
    assert list(listed(tmp_path)) == ["caf\u00e9 (1)"]
    put(tmp_path, "images/cafe\u0301 (1).jpg")
    assert "identifier 'caf\u00e9 (1)'" in str(refusal(tmp_path))


def test_unpadded_numbers_pair_by_name_not_by_order(tmp_path):
    put(tmp_path, *(f"images/{n}.jpg" for n in (0, 1, 10, 11, 2)), *(f"masks/{n}.png" for n in (11, 2, 1, 0, 10)))
    for name, sample in listed(tmp_path).items():
        assert sample.mask == str(tmp_path / "masks" / f"{name}.png")


NAMES = st.lists(
    st.text(st.characters(exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1, max_size=12).filter(
        lambda name: not name.startswith(".") and len(name.encode()) < 200
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda name: unicodedata.normalize("NFC", name),
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=NAMES, form=st.sampled_from(["NFC", "NFD"]), seed=st.randoms(use_true_random=False))
def test_pairs_do_not_depend_on_the_listing_order(names, form, seed, monkeypatch):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in names:
            put(root, f"images/{name}.png", f"masks/{unicodedata.normalize(form, name)}_mask.png")
        first = listed(root, mask_name="{id}_mask")
        assert sorted(first) == sorted(unicodedata.normalize("NFC", name) for name in names)
        for name, sample in first.items():
            for path, end in ((sample.image, ".png"), (sample.mask, "_mask.png")):
                assert unicodedata.normalize("NFC", Path(path).name) == name + end
        listdir = os.listdir
        with monkeypatch.context() as patch:
            patch.setattr(os, "listdir", lambda path: seed.sample(names := listdir(path), len(names)))
            assert listed(root, mask_name="{id}_mask") == first
        deleted = seed.choice(names)
        (root / f"masks/{unicodedata.normalize(form, deleted)}_mask.png").unlink()
        if len(names) > 1:
            assert len(refusal(root, mask_name="{id}_mask").problems) == 1
