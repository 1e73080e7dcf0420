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
from pipeline.raw.decode.masks import decode_runs


def submit(root, folder, layout, **options):
    (folder / "t.json").write_text(json.dumps({"value": 0.5, "source": "fixed", "chosen_by": ""}))
    write_submission(
        SubmissionRecipe(dataset="x", source=source(layout, root, options)),
        experiment="e",
        predictions=folder / "p",
        threshold=folder / "t.json",
        output=folder / "submission",
    )
    return folder / "submission"


def predict(folder, masks):
    """Write probabilities on either side of one half."""
    (folder / "p").mkdir()
    for name, mask in masks.items():
        write_png(folder / "p" / f"{name}.png", np.where(mask, 128, 127).astype(np.uint8))


def test_the_codes_of_tgs_decode_to_the_masks_and_empty_ones_are_empty(tgs, tmp_path):
    masks = {"tile013": np.zeros((101, 101), np.uint8), "tile012": blobs(3, 101, 101)[0]}
    masks["tile012"][0, 0] = masks["tile012"][-1, -1] = 1
    predict(tmp_path, masks)
    file = submit(tgs, tmp_path, "tgs") / "submission.csv"
    assert file.read_text().splitlines()[0] == "id,rle_mask"
    assert file.read_text().splitlines()[2] == "tile013,"
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    assert table["id"].tolist() == ["tile012", "tile013"]
    for name, codes in table.itertuples(index=False):
        np.testing.assert_array_equal(decode_runs(codes, 101, 101, name), masks[name])


@pytest.fixture
def unlabelled(drive):
    shutil.rmtree(drive / "test/1st_manual")
    shutil.rmtree(drive / "test/2nd_manual")
    return drive


def test_the_images_of_drive_are_named_by_number_and_hold_0_and_255(unlabelled, tmp_path):
    masks = {f"{number:02d}": blobs(number)[0] for number in (1, 2, 3)}
    predict(tmp_path, masks)
    folder = submit(unlabelled, tmp_path, "drive")
    assert sorted(path.name for path in folder.iterdir()) == ["1.png", "2.png", "3.png"]
    for name, mask in masks.items():
        written = cv2.imread(str(folder / f"{int(name)}.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(written, mask * 255)
    named = submit(unlabelled, tmp_path, "drive", submission_name="{id}_test.png")
    assert sorted(path.name for path in named.iterdir()) == ["01_test.png", "02_test.png", "03_test.png"]


def test_images_that_would_get_one_name_are_refused(unlabelled, tmp_path):
    predict(tmp_path, {})
    for folder in ("images", "mask"):
        path = next((unlabelled / "test" / folder).glob("01*"))
        shutil.copy(path, path.with_name(path.name[1:]))
    with pytest.raises(RawDataError, match=r"2 images that would be handed in as 1\.png"):
        submit(unlabelled, tmp_path, "drive")


def test_predictions_that_are_missing_or_misshapen_are_all_listed_and_nothing_is_left(unlabelled, tmp_path):
    predict(tmp_path, {"01": np.zeros((70, 61), np.uint8), "02": np.zeros((70, 60), np.uint8)})
    with pytest.raises(PredictionError) as caught:
        submit(unlabelled, tmp_path, "drive")
    assert len(caught.value.problems) == 2
    assert not (tmp_path / "submission").exists()


def test_what_has_no_challenge_or_no_unlabelled_sample_is_refused(drive, tmp_path):
    with pytest.raises(RawDataError, match="no sample in split 'unlabelled'"):
        submit(drive, tmp_path, "drive")
    half = tmp_path / "duts/DUTS-TE/DUTS-TE-Image"
    half.mkdir(parents=True)
    write_png(half / "a.png", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(ConfigError, match="no challenge format is known"):
        submit(tmp_path / "duts", tmp_path, "duts")
