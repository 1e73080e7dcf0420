"""Predictions of other programs: values from 0 to 1, other types and files."""

import struct

import numpy as np
import pytest
from PIL import ExifTags, Image
from sources import opened

from pipeline.core.errors import PredictionError
from pipeline.core.fingerprint import Fingerprint
from pipeline.core.manifest import Manifest
from pipeline.evaluation.choice import choose_threshold
from pipeline.evaluation.class_renderings import render_classes
from pipeline.evaluation.evaluate import evaluate
from pipeline.evaluation.evaluate_classes import evaluate_classes
from pipeline.evaluation.recipes import (
    ChosenThreshold,
    EvaluateRecipe,
    RenderRecipe,
    SubmissionRecipe,
    ThresholdRecipe,
)
from pipeline.evaluation.renderings import render
from pipeline.evaluation.submission import write_submission
from pipeline.images.foreign import require_levels
from pipeline.images.png import read_grey, write_png

SPLITS = {"test": {"rule": "fraction", "fraction": 0.5}, "validation": {"fraction": 0.5}}


@pytest.fixture
def raw(tgs):
    return opened("d", "tgs", tgs, **SPLITS)


def write_masks(raw, folder, split, factor):
    """Write the masks of a split, times a factor, as predictions."""
    folder.mkdir()
    for sample in raw.splits[split]:
        mask = np.zeros((101, 101), np.uint8) if sample.mask is None else raw.read_foreground(sample)
        mask[:3] = 1
        write_png(folder / f"{sample.id}.png", mask * np.uint8(factor))


def use(command, raw, folder, tmp_path):
    """Use a folder of predictions in one of the commands that read probabilities."""
    given = {"dataset": "d", "source": raw.source}
    (tmp_path / "t.json").write_text('{"value": 0.5, "source": "fixed", "criterion": ""}')
    shared = {"experiment": "e", "output": tmp_path / "out"}
    if command == "evaluate":
        recipe = EvaluateRecipe(empty_masks="one", **given)
        evaluate(recipe, predictions={"test": folder}, threshold=0.5, **shared)
    elif command == "threshold":
        choose_threshold(ThresholdRecipe(criterion=ChosenThreshold(), **given), predictions=folder, **shared)
    elif command == "render":
        render(RenderRecipe(split="test", **given), predictions=folder, threshold=tmp_path / "t.json", **shared)
    else:
        write_submission(SubmissionRecipe(**given), predictions=folder, threshold=tmp_path / "t.json", **shared)


COMMANDS = {"evaluate": "test", "threshold": "validation", "render": "test", "submission": "unlabelled"}


@pytest.mark.parametrize("command", COMMANDS)
def test_masks_of_0_and_1_are_refused(tmp_path, raw, command):
    write_masks(raw, tmp_path / "p", COMMANDS[command], 1)
    with pytest.raises(PredictionError, match="save as 0 and 255") as caught:
        use(command, raw, tmp_path / "p", tmp_path)
    assert "delete" not in str(caught.value)
    assert not (tmp_path / "out").exists()
    for factor in (0, 255):
        write_masks(raw, tmp_path / f"p{factor}", COMMANDS[command], factor)
        use(command, raw, tmp_path / f"p{factor}", tmp_path)


@pytest.mark.parametrize(
    ("images", "found"),
    [
        ([[0, 2], [0, 0]], "the values 0 and 2 in 2 images"),
        ([[1, 2], [1, 2]], "the values 1 and 2 in 2 images"),
        ([[0, 100], [100, 100]], "the values 0 and 100"),
        ([[0, 255], [0, 1]], "the values 0 and 1"),
        ([[0, 255], [0, 100]], "the values 0 and 100"),
        ([[0, 255], [0, 200]], None),
        ([[0, 255], [0, 0]], None),
        ([[0, 0], [0, 0]], None),
        ([[128, 128], [128, 128]], None),
        ([[0, 7, 90], [0, 1]], None),
        ([[0, 127], [0, 0]], "the values 0 and 127"),
        ([[20, 220], [20, 20]], None),
    ],
)
def test_masks_of_other_values_than_0_and_255_are_refused(tmp_path, images, found):
    for number, values in enumerate(images):
        write_png(tmp_path / f"{number}.png", np.array([values], np.uint8))
    if found is None:
        require_levels(tmp_path, ["0", "1"])
    else:
        with pytest.raises(PredictionError, match=found):
            require_levels(tmp_path, ["0", "1"])


@pytest.mark.parametrize(
    ("labels", "ignored", "predicted", "logged", "found"),
    [
        ({0: "field", 2: "sky", 1: "cell"}, [200], [0, 1, 2], "0 field, 1 sky, 2 cell", None),
        ({0: "field", 2: "sky", 4: "cell"}, [200], [0, 2, 4], "0 field, 1 sky, 2 cell", "no class index: 4"),
        ({0: "field", 2: "sky", 1: "cell"}, [200], [0, 1, 200], "0 field, 1 sky, 2 cell", "no class index: 200"),
        ({0: "field", 127: "sky", 255: "cell"}, [], [0, 127, 255], "1 sky", "no class index: 127, 255"),
        ({1: "field", 2: "sky", 3: "cell"}, [0], [1, 2, 3], "0 field, 1 sky", "no class index: 3"),
        ({0: "field", 1: "sky", 2: "cell"}, [255], [0, 1, 2], None, None),
        ({"#000000": "field", "#00ff00": "sky", "#ff0000": "cell"}, [], [0, 1, 2], None, None),
    ],
)
@pytest.mark.parametrize("command", ["evaluate", "render"])
def test_mask_values_are_not_read_as_class_indices(
    tmp_path, capsys, labels, ignored, predicted, logged, found, command
):
    for folder in ("images", "masks", "p"):
        (tmp_path / "raw" / folder).mkdir(parents=True)
    first = next(iter(labels))
    for number in range(4):
        write_png(tmp_path / f"raw/images/{number}.png", np.full((9, 9), 40 + number, np.uint8))
        grey = np.full((9, 9), first if isinstance(first, int) else 0, np.uint8)
        write_png(tmp_path / f"raw/masks/{number}.png", grey)
        write_png(tmp_path / f"raw/p/{number}.png", np.resize(np.array(predicted, np.uint8), (9, 9)))
    options = {"images": "images", "masks": "masks", "ignore": ignored}
    options["labels"] = {str(key): name for key, name in labels.items()}
    raw = opened("d", "folder", tmp_path / "raw", options, **SPLITS)
    shared = {"experiment": "e", "output": tmp_path / "out"}

    def use_folder():
        if command == "evaluate":
            recipe = EvaluateRecipe(dataset="d", source=raw.source, empty_masks="one")
            evaluate_classes(recipe, predictions={"test": tmp_path / "raw/p"}, **shared)
        else:
            recipe = RenderRecipe(dataset="d", source=raw.source, split="test")
            render_classes(recipe, predictions=tmp_path / "raw/p", **shared)

    if found is None:
        use_folder()
    else:
        with pytest.raises(PredictionError, match=found) as caught:
            use_folder()
        assert len(caught.value.problems) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if "class indices" in line]
    assert len(lines) == (logged is not None)
    assert all(logged in line for line in lines)


def test_predictions_with_an_exif_orientation_are_refused(tmp_path):
    exif = Image.Exif()
    for orientation in (1, 3):
        exif[ExifTags.Base.Orientation] = orientation
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / f"{orientation}.png", exif=exif)
    read_grey(tmp_path / "1.png")
    with pytest.raises(PredictionError, match="the EXIF orientation 3"):
        read_grey(tmp_path / "3.png")


@pytest.mark.parametrize(
    "exif",
    [
        b"xx",
        b"II*\0" + struct.pack("<I", 9999),
        b"II*\0" + struct.pack("<IHHHI4s", 8, 1, 274, 2, 4, b"abc\0"),  # text
        b"II*\0" + struct.pack("<IHHHI4s", 8, 1, 274, 11, 1, struct.pack("<f", np.nan)),
        b"MM\0*" + struct.pack(">IHHHIHH", 8, 1, 274, 3, 1, 99, 0),
    ],
    ids=["no header", "points outside", "text", "no number", "unknown"],
)
def test_a_damaged_exif_orientation_is_ignored(tmp_path, exif):
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a.png", exif=exif)
    assert b"eXIf" in (tmp_path / "a.png").read_bytes()
    assert read_grey(tmp_path / "a.png").shape == (4, 4)


@pytest.mark.parametrize(("factor", "refused"), [(1, True), (255, True), (257, False), (65535, False)])
def test_values_of_8_bits_stored_with_16_bits_are_refused(tmp_path, raw, factor, refused):
    """Masks of 0 and 1, and of 0 and 255; 0 and 257 is what level 1 becomes, 0 and 65535 is a mask."""
    (tmp_path / "p").mkdir()
    for sample in raw.splits["test"]:
        mask = np.zeros((101, 101), np.uint16) if sample.mask is None else raw.read_foreground(sample).astype(np.uint16)
        mask[0] = np.arange(101) if factor == 257 else 0
        write_png(tmp_path / "p" / f"{sample.id}.png", mask * np.uint16(factor))
    if refused:
        with pytest.raises(PredictionError, match=f"16-bit values of at most {factor}"):
            use("evaluate", raw, tmp_path / "p", tmp_path)
    else:
        use("evaluate", raw, tmp_path / "p", tmp_path)


def test_own_predictions_may_be_this_low(tmp_path, raw):
    write_masks(raw, tmp_path / "p", "test", 1)
    fingerprint = Fingerprint(stage="predict", settings={}, code={}, libraries={})
    Manifest.describe(fingerprint, [tmp_path / "p"]).write(tmp_path / "p")
    use("evaluate", raw, tmp_path / "p", tmp_path)


@pytest.mark.parametrize(
    ("pixels", "found"),
    [
        (np.zeros((4, 5), np.uint16), "uint16 pixels of shape (4, 5)"),
        (np.zeros((4, 5, 3), np.uint8), "uint8 pixels of shape (4, 5, 3)"),
    ],
)
def test_other_types_of_pixels_name_what_is_expected(tmp_path, pixels, found):
    write_png(tmp_path / "a.png", pixels)
    with pytest.raises(PredictionError) as caught:
        read_grey(tmp_path / "a.png")
    (problem,) = caught.value.problems
    assert problem.found == found
    assert "save" in problem.remedy
    assert "8-bit grey PNG" in problem.remedy
    assert "delete" not in problem.remedy


@pytest.mark.parametrize(
    ("suffix", "remedy"),
    [
        *[(suffix, "0 to 255 for probabilities 0 to 1") for suffix in (".npy", ".tif", ".TIF", ".JPG")],
        *[(suffix, "rename it to v1.0.png") for suffix in (".PNG", ".Png")],
    ],
)
def test_predictions_in_other_files_name_what_is_expected(tmp_path, suffix, remedy):
    (tmp_path / f"v1.0{suffix}").write_bytes(b"")
    with pytest.raises(PredictionError, match=f"no such file, but v1.0{suffix}") as caught:
        read_grey(tmp_path / "v1.0.png")
    assert remedy in caught.value.problems[0].remedy


def test_folder_in_place_of_a_prediction_is_named(tmp_path):
    (tmp_path / "a.png").mkdir()
    with pytest.raises(PredictionError) as caught:
        read_grey(tmp_path / "a.png")
    assert caught.value.problems[0].found == "a folder"
    assert "move it" in caught.value.problems[0].remedy


@pytest.mark.parametrize("command", COMMANDS)
def test_file_in_place_of_the_folder_is_refused_once(tmp_path, raw, command):
    write_png(tmp_path / "01.png", np.zeros((4, 4), np.uint8))
    with pytest.raises(PredictionError) as caught:
        use(command, raw, tmp_path / "01.png", tmp_path)
    (problem,) = caught.value.problems
    assert (problem.where, problem.found) == (str(tmp_path / "01.png"), "a file")
    assert "name the folder" in problem.remedy
