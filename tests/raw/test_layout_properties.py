"""For any content of a raw folder each sample has exactly its own files, or one error names every offending file."""

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
NOT_UTF8 = "\udcff"  # the byte ff in a name, as Python decodes it


def names(letters):
    return st.text(letters, min_size=1, max_size=8).filter(
        lambda name: not name.startswith(".") and len(os.fsencode(name)) < 100
    )


NAMES, WRITABLE = names(st.characters(**LETTERS, include_characters=NOT_UTF8)), names(st.characters(**LETTERS))
IGNORED = st.sets(st.sampled_from(["notes.txt", "Thumbs.db", ".hidden.png", "._1.png", "readme", "7.psd"]))


def nfc(text):
    return unicodedata.normalize("NFC", text)


@st.composite
def roles(draw, names, count):
    """Generate identifiers, and for each role those that have a file in it, mostly all of them."""
    identifiers = draw(st.lists(names, max_size=5, unique_by=nfc))
    gaps = st.sets(st.sampled_from(identifiers), max_size=2) if identifiers else st.just(set())
    members = []
    for _ in range(count):
        kind = draw(st.sampled_from(["all", "all", "all", "gaps", "none"]))
        members.append(
            {"all": set(identifiers), "none": set()}[kind] if kind != "gaps" else set(identifiers) - draw(gaps)
        )
    return members


def put(root, folder, name):
    path = root / folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return str(path)


def put_all(root, folder, template, names, form="NFC"):
    """Write a file for each identifier; return the map from identifier to path."""
    paths = {nfc(name): put(root, folder, template.format(unicodedata.normalize(form, name))) for name in names}
    assert len(paths) == len(names)
    return paths


def unpaired(images, files):
    """Return the paths without a partner on the other side."""
    names = images.keys() ^ files.keys()
    return {paths[name] for paths in (images, files) for name in names if name in paths}


def judge(samples, offenders, expected):
    """Compare samples with `expected` (identifier to files by role), or the error with the offenders, if any."""
    if not offenders:
        by_id = {sample.id: sample for sample in samples()}
        assert sorted(by_id) == sorted(expected)
        for name, files in expected.items():
            assert {role: getattr(by_id[name], role) for role in files} == files
        return
    with pytest.raises(RawDataError) as caught:
        samples()
    text = "\n".join(f"{problem.where}: {problem.found}" for problem in caught.value.problems)
    assert [name for name in offenders if name not in text] == []
    assert all(problem.remedy for problem in caught.value.problems)


def duplicates(*folders):
    """Return the paths of images whose identifier is in two folders."""
    shared = set(folders[0]) & set(folders[1])
    return {paths[name] for paths in folders for name in shared}


DRIVE_ROLES = (
    ("images", ".tif"),
    ("1st_manual", "_manual1.gif"),
    ("mask", "_mask.gif"),
    ("2nd_manual", "_manual2.gif"),
)


@settings(max_examples=150)
@given(
    training=roles(NUMBERS, 4), test=roles(NUMBERS, 4), copies=st.booleans(), misnamed=st.booleans(), ignored=IGNORED
)
def test_drive_lists_samples_or_every_offender(training, test, copies, misnamed, ignored):
    with tempfile.TemporaryDirectory() as folder:
        root, offenders, expected, listed_images = Path(folder), set(), {}, []
        for half, members in (("training", training), ("test", test)):
            (root / half).mkdir()
            images, masks, fovs, observers = (
                put_all(root, f"{half}/{role}", f"{{}}_{half}{end}", names)
                for (role, end), names in zip(DRIVE_ROLES, members, strict=True)
            )
            offenders |= unpaired(images, fovs)
            offenders |= unpaired(images, masks) if masks or half == "training" else set()
            offenders |= unpaired(images, observers) if observers else set()
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
        if misnamed:
            offenders.add(put(root, "test/mask", "no number.gif"))
        offenders |= duplicates(*listed_images)
        judge(lambda: listed("drive", root), offenders, expected)


@settings(max_examples=150)
@given(train=roles(NAMES, 2), test=roles(NAMES, 1), form=st.sampled_from(["NFC", "NFD"]), ignored=IGNORED)
def test_tgs_lists_samples_or_every_offender(train, test, form, ignored):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        put(root, "train", "notes.txt")
        images = put_all(root, "train/images", "{}.png", train[0])
        masks = put_all(root, "train/masks", "{}.png", train[1], form)
        test_images = put_all(root, "test/images", "{}.png", test[0])
        for name in ignored:
            put(root, "train/images", name)
        offenders = unpaired(images, masks) | duplicates(images, test_images)
        offenders |= set() if images else {str(root / "train/images")}
        expected = {name: {"image": path, "mask": masks.get(name)} for name, path in images.items()}
        expected |= {name: {"image": path, "mask": None} for name, path in test_images.items()}
        judge(lambda: listed("tgs", root), offenders, expected)


@settings(max_examples=150)
@given(train=roles(WRITABLE, 3), twice=st.booleans(), form=st.sampled_from(["NFC", "NFD"]), non_numeric=st.booleans())
def test_tgs_tables_list_samples_or_every_offender(train, twice, form, non_numeric):
    with_image, with_code, with_depth = train
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        put(root, "train", "notes.txt")
        images = put_all(root, "train/images", "{}.png", with_image)
        rows = {nfc(name): f"{index + 1} 1" for index, name in enumerate(sorted(with_code))}
        depths = {nfc(name): float(index) for index, name in enumerate(sorted(with_depth))}
        for table, column, values in (("train.csv", "rle_mask", rows), ("depths.csv", "z", depths)):
            written = [(unicodedata.normalize(form, name), value) for name, value in values.items()]
            with (root / table).open("w", newline="", encoding="utf-8") as handle:
                csv.writer(handle).writerows([["id", column], *written])
                if twice and values:
                    csv.writer(handle).writerow([min(values), values[min(values)]])
                if non_numeric and table == "depths.csv":
                    csv.writer(handle).writerow(["a tenth name", "deep"])
        offenders = {images.get(name, f"{root / 'train.csv'}, {name}") for name in images.keys() ^ rows.keys()}
        offenders |= {f"a second row with the id {min(values)!r}" for values in (rows, depths) if twice and values}
        offenders |= set() if images else {str(root / "train/images")}
        offenders |= {"id a tenth name"} if non_numeric else set()
        expected = {name: {"image": path, "mask_codes": rows.get(name)} for name, path in images.items()}
        judge(lambda: listed("tgs", root, masks="csv"), offenders, expected)
        if not offenders:
            samples = listed("tgs", root, masks="csv")
            read_depths = {sample.id: sample.metadata["depth"] for sample in samples if sample.id in depths}
            assert read_depths == {name: depths[name] for name in read_depths}


@settings(max_examples=150)
@given(train=roles(NUMBERS, 2), test=roles(NUMBERS, 2), strange=NAMES, odd=st.booleans(), ignored=IGNORED)
def test_shapes_lists_samples_or_every_offender(train, test, strange, odd, ignored):
    with tempfile.TemporaryDirectory() as folder:
        root, offenders, expected, listed_images = Path(folder), set(), {}, []
        put(root, ".", "notes.txt")
        for half, members in (("train", train), ("test", test)):
            images = put_all(root, f"{half}_imgs", "{}.jpg", members[0])
            masks = put_all(root, f"{half}_mask", "{}.png", members[1])
            offenders |= unpaired(images, masks) if half == "train" or masks else set()
            listed_images.append(images)
            expected |= {name: {"image": path, "mask": masks.get(name)} for name, path in images.items()}
        for name in ignored:
            put(root, "train_imgs", name)
        offenders |= set() if listed_images[0] else {str(root / "train_imgs")}
        if odd and not (strange.isascii() and strange.isdigit()):
            offenders.add(put(root, "test_imgs", f"{strange}.JPG"))
        judge(lambda: listed("shapes", root), offenders | duplicates(*listed_images), expected)


@settings(max_examples=150)
@given(
    halves=st.tuples(roles(NAMES, 2), roles(NAMES, 2)),
    folders=st.sets(st.sampled_from(["DUTS-TR", "DUTS-TE"])),
    form=st.sampled_from(["NFC", "NFD"]),
    ignored=IGNORED,
)
def test_duts_lists_samples_or_every_offender(halves, folders, form, ignored):
    with tempfile.TemporaryDirectory() as folder:
        root, expected, listed_images = Path(folder), {}, []
        put(root, ".", "notes.txt")
        offenders = set() if folders else {str(root)}
        for half, members in zip(("DUTS-TR", "DUTS-TE"), halves, strict=True):
            if half not in folders:
                continue
            (root / half).mkdir()
            images = put_all(root, f"{half}/{half}-Image", "{}.jpg", members[0])
            masks = put_all(root, f"{half}/{half}-Mask", "{}.png", members[1], form)
            for name in ignored:
                put(root, f"{half}/{half}-Mask", name)
            offenders |= unpaired(images, masks) if masks or half == "DUTS-TR" else set()
            offenders |= set() if images else {str(root / half / f"{half}-Image")}
            listed_images.append(images)
            expected |= {name: {"image": path, "mask": masks.get(name)} for name, path in images.items()}
        offenders |= duplicates(*listed_images) if len(listed_images) == 2 else set()
        judge(lambda: listed("duts", root), offenders, expected)
