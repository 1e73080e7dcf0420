import json
import shutil

import cv2
import numpy as np
import pandas as pd
import pytest
from rawfiles import blobs
from sources import source

from pipeline.core.errors import ConfigError, PredictionError, RawDataError
from pipeline.evaluation.recipes import SubmissionRecipe
from pipeline.evaluation.submission import write_submission
from pipeline.images.png import write_png
from pipeline.raw.decode.masks import decode_rle


def submit(root, folder, layout, **options):
    (folder / "t.json").write_text(json.dumps({"value": 0.5, "source": "fixed", "criterion": ""}))
    write_submission(
        SubmissionRecipe(dataset="x", source=source(layout, root, options)),
        experiment="e",
        predictions=folder / "p",
        threshold=folder / "t.json",
        output=folder / "submission",
    )
    return folder / "submission"


def predict(folder, masks):
    """Write probabilities just above and just below one half."""
    (folder / "p").mkdir()
    for name, mask in masks.items():
        write_png(folder / "p" / f"{name}.png", np.where(mask, 128, 127).astype(np.uint8))


def test_tgs_codes_decode_to_masks_and_empty_masks_are_empty(tgs, tmp_path):
    masks = {"tile013": np.zeros((101, 101), np.uint8), "tile012": blobs(3, 101, 101)[0]}
    masks["tile012"][0, 0] = masks["tile012"][-1, -1] = 1
    predict(tmp_path, masks)
    file = submit(tgs, tmp_path, "tgs") / "submission.csv"
    assert file.read_text().splitlines()[0] == "id,rle_mask"
    assert file.read_text().splitlines()[2] == "tile013,"
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    assert table["id"].tolist() == ["tile012", "tile013"]
    for name, codes in table.itertuples(index=False):
        np.testing.assert_array_equal(decode_rle(codes, 101, 101, name), masks[name])


@pytest.fixture
def unlabelled(drive):
    shutil.rmtree(drive / "test/1st_manual")
    shutil.rmtree(drive / "test/2nd_manual")
    return drive


def test_drive_images_are_named_by_number_and_are_0_or_255(unlabelled, tmp_path):
    masks = {f"{number:02d}": blobs(number)[0] for number in (1, 2, 3)}
    predict(tmp_path, masks)
    folder = submit(unlabelled, tmp_path, "drive")
    assert sorted(path.name for path in folder.iterdir()) == ["1.png", "2.png", "3.png"]
    for name, mask in masks.items():
        written = cv2.imread(str(folder / f"{int(name)}.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(written, mask * 255)
    with_template = submit(unlabelled, tmp_path, "drive", submission_name="{id}_test.png")
    assert sorted(path.name for path in with_template.iterdir()) == ["01_test.png", "02_test.png", "03_test.png"]


def test_images_with_same_submission_name_are_refused(unlabelled, tmp_path):
    predict(tmp_path, {})
    for folder in ("images", "mask"):
        path = next((unlabelled / "test" / folder).glob("01*"))
        shutil.copy(path, path.with_name(path.name[1:]))
    with pytest.raises(RawDataError, match=r"2 images that would be submitted as 1\.png"):
        submit(unlabelled, tmp_path, "drive")


def test_unusable_submission_images_are_listed_nothing_written(unlabelled, tmp_path):
    predict(tmp_path, {"01": np.zeros((70, 61), np.uint8), "02": np.zeros((70, 60), np.uint8)})
    with pytest.raises(PredictionError) as caught:
        submit(unlabelled, tmp_path, "drive")
    assert len(caught.value.problems) == 2
    assert not (tmp_path / "submission").exists()


def test_missing_challenge_or_unlabelled_samples_are_refused(drive, tmp_path):
    with pytest.raises(RawDataError, match="no samples in split 'unlabelled'"):
        submit(drive, tmp_path, "drive")
    images = tmp_path / "duts/DUTS-TE/DUTS-TE-Image"
    images.mkdir(parents=True)
    write_png(images / "a.png", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(ConfigError, match="no challenge format"):
        submit(tmp_path / "duts", tmp_path, "duts")
