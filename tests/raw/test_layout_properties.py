"""Whatever stands in a raw folder: each sample has its own files and no others, or one error names every offender."""

import csv
import os
import tempfile
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sources import listed

from pipeline.core.errors import RawDataError

NUMBERS = st.from_regex(r"[0-9]{1,4}", fullmatch=True)
LETTERS = {"exclude_characters": "/\0", "exclude_categories": ("Cs",)}
NOT_UTF8 = "\udcff"  # how Python shows the byte ff in a name


def names(letters):
    return st.text(letters, min_size=1, max_size=8).filter(
        lambda name: not name.startswith(".") and len(os.fsencode(name)) < 100
    )


NAMES, WRITABLE = names(st.characters(**LETTERS, include_characters=NOT_UTF8)), names(st.characters(**LETTERS))
IGNORED = st.sets(st.sampled_from(["notes.txt", "Thumbs.db", ".hidden.png", "._1.png", "readme", "7.psd"]))


def nfc(text):
    return unicodedata.normalize("NFC", text)


@st.composite
def roles(draw, names, most):
    """Draw identifiers, and for each of the roles those that have a file in it: mostly all of them."""
    known = draw(st.lists(names, max_size=5, unique_by=nfc))
    gaps = st.sets(st.sampled_from(known), max_size=2) if known else st.just(set())
    found = []
    for _ in range(most):
        kind = draw(st.sampled_from(["all", "all", "all", "gaps", "none"]))
        found.append(set(known) - draw(gaps) if kind == "gaps" else set(known) if kind == "all" else set())
    return found


def put(root, folder, name):
    path = root / folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return str(path)


def put_all(root, folder, template, names, form="NFC"):
    """Write a file for each identifier; give identifier to path."""
    paths = {nfc(name): put(root, folder, template.format(unicodedata.normalize(form, name))) for name in names}
    assert len(paths) == len(names)
    return paths


def apart(images, files):
    """Give the paths that have no partner on the other side."""
    lonely = images.keys() ^ files.keys()
    return {paths[name] for paths in (images, files) for name in lonely if name in paths}


def judge(samples, offenders, expected):
    """List, and compare with `expected` (identifier to files by role), or with the error where there are offenders."""
    if not offenders:
        by_id = {sample.id: sample for sample in samples()}
        assert sorted(by_id) == sorted(expected)
        for name, files in expected.items():
            assert {role: getattr(by_id[name], role) for role in files} == files
        return
    with pytest.raises(RawDataError) as caught:
        samples()
    text = str(caught.value)
    assert [name for name in offenders if name not in text] == []
    assert all(problem.remedy for problem in caught.value.problems)


def repeated(*halves):
    """Give the paths of images whose identifier stands in two halves."""
    shared = set(halves[0]) & set(halves[1])
    return {half[name] for half in halves for name in shared}


DRIVE_ROLES = (
    ("images", ".tif"),
    ("1st_manual", "_manual1.gif"),
    ("mask", "_mask.gif"),
    ("2nd_manual", "_manual2.gif"),
)


@settings(max_examples=150)
@given(training=roles(NUMBERS, 4), test=roles(NUMBERS, 4), copies=st.booleans(), named=st.booleans(), ignored=IGNORED)
def test_drive(training, test, copies, named, ignored):
    with tempfile.TemporaryDirectory() as folder:
        root, offenders, expected, listed_images = Path(folder), set(), {}, []
        for half, members in (("training", training), ("test", test)):
            (root / half).mkdir()
            images, masks, fovs, observers = (
                put_all(root, f"{half}/{role}", f"{{}}_{half}{end}", names)
                for (role, end), names in zip(DRIVE_ROLES, members, strict=True)
            )
            offenders |= apart(images, fovs)
            offenders |= apart(images, masks) if masks or half == "training" else set()
            offenders |= apart(images, observers) if observers else set()
            offenders |= set() if images else {str(root / half / "images")}
            listed_images.append(images)
            expected |= {
                name: {
                    "image": images[name],
                    "mask": masks.get(name),
                    "fov": fovs[name],
                    "observer": observers.get(name),
                }
                for name in images.keys() & fovs.keys()
            }
        for name in ignored:
            put(root, "training/images", name)
        if copies and training[0]:
            copy = f"{min(training[0])}-copy.tif"
            put(root, "training/images", copy)
            offenders.add(copy)
        if named:
            offenders.add(put(root, "test/mask", "no number.gif"))
        offenders |= repeated(*listed_images)
        judge(lambda: listed("drive", root), offenders, expected)


@settings(max_examples=150)
@given(train=roles(NAMES, 2), test=roles(NAMES, 1), form=st.sampled_from(["NFC", "NFD"]), ignored=IGNORED)
def test_tgs(train, test, form, ignored):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        put(root, "train", "notes.txt")
        images = put_all(root, "train/images", "{}.png", train[0])
        masks = put_all(root, "train/masks", "{}.png", train[1], form)
        others = put_all(root, "test/images", "{}.png", test[0])
        for name in ignored:
            put(root, "train/images", name)
        offenders = apart(images, masks) | repeated(images, others)
        offenders |= set() if images else {str(root / "train/images")}
        expected = {name: {"image": path, "mask": masks.get(name)} for name, path in images.items()}
        expected |= {name: {"image": path, "mask": None} for name, path in others.items()}
        judge(lambda: listed("tgs", root), offenders, expected)


@settings(max_examples=150)
@given(train=roles(WRITABLE, 3), twice=st.booleans(), form=st.sampled_from(["NFC", "NFD"]), words=st.booleans())
def test_tgs_with_tables(train, twice, form, words):
    with_image, coded, deep = train
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        put(root, "train", "notes.txt")
        images = put_all(root, "train/images", "{}.png", with_image)
        rows = {nfc(name): f"{index + 1} 1" for index, name in enumerate(sorted(coded))}
        depths = {nfc(name): float(index) for index, name in enumerate(sorted(deep))}
        for table, column, values in (("train.csv", "rle_mask", rows), ("depths.csv", "z", depths)):
            written = [(unicodedata.normalize(form, name), value) for name, value in values.items()]
            with (root / table).open("w", newline="", encoding="utf-8") as handle:
                csv.writer(handle).writerows([["id", column], *written])
                if twice and values:
                    csv.writer(handle).writerow([min(values), values[min(values)]])
                if words and table == "depths.csv":
                    csv.writer(handle).writerow(["a tenth name", "deep"])
        offenders = {images.get(name, f"{root / 'train.csv'}, {name}") for name in images.keys() ^ rows.keys()}
        offenders |= {f"the id {min(values)!r} for the second" for values in (rows, depths) if twice and values}
        offenders |= set() if images else {str(root / "train/images")}
        offenders |= {"id a tenth name"} if words else set()
        expected = {name: {"image": path, "mask_codes": rows.get(name)} for name, path in images.items()}
        judge(lambda: listed("tgs", root, masks="csv"), offenders, expected)
        if not offenders:
            samples = listed("tgs", root, masks="csv")
            found = {sample.id: sample.metadata["depth"] for sample in samples if sample.id in depths}
            assert found == {name: depths[name] for name in found}


@settings(max_examples=150)
@given(train=roles(NUMBERS, 2), test=roles(NUMBERS, 2), strange=NAMES, odd=st.booleans(), ignored=IGNORED)
def test_shapes(train, test, strange, odd, ignored):
    with tempfile.TemporaryDirectory() as folder:
        root, offenders, expected, listed_images = Path(folder), set(), {}, []
        put(root, ".", "notes.txt")
        for half, members in (("train", train), ("test", test)):
            images = put_all(root, f"{half}_imgs", "{}.jpg", members[0])
            masks = put_all(root, f"{half}_mask", "{}.png", members[1])
            offenders |= apart(images, masks) if half == "train" or masks else set()
            listed_images.append(images)
            expected |= {name: {"image": path, "mask": masks.get(name)} for name, path in images.items()}
        for name in ignored:
            put(root, "train_imgs", name)
        offenders |= set() if listed_images[0] else {str(root / "train_imgs")}
        if odd and not (strange.isascii() and strange.isdigit()):
            offenders.add(put(root, "test_imgs", f"{strange}.JPG"))
        judge(lambda: listed("shapes", root), offenders | repeated(*listed_images), expected)


@settings(max_examples=150)
@given(
    halves=st.tuples(roles(NAMES, 2), roles(NAMES, 2)),
    there=st.sets(st.sampled_from(["DUTS-TR", "DUTS-TE"])),
    form=st.sampled_from(["NFC", "NFD"]),
    ignored=IGNORED,
)
def test_duts(halves, there, form, ignored):
    with tempfile.TemporaryDirectory() as folder:
        root, expected, listed_images = Path(folder), {}, []
        put(root, ".", "notes.txt")
        offenders = set() if there else {str(root)}
        for half, members in zip(("DUTS-TR", "DUTS-TE"), halves, strict=True):
            if half not in there:
                continue
            (root / half).mkdir()
            images = put_all(root, f"{half}/{half}-Image", "{}.jpg", members[0])
            masks = put_all(root, f"{half}/{half}-Mask", "{}.png", members[1], form)
            for name in ignored:
                put(root, f"{half}/{half}-Mask", name)
            offenders |= apart(images, masks) if masks or half == "DUTS-TR" else set()
            offenders |= set() if images else {str(root / half / f"{half}-Image")}
            listed_images.append(images)
            expected |= {name: {"image": path, "mask": masks.get(name)} for name, path in images.items()}
        offenders |= repeated(*listed_images) if len(listed_images) == 2 else set()
        judge(lambda: listed("duts", root), offenders, expected)
