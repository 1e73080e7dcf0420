import shutil

import cv2
import numpy as np
import pandas as pd
import yaml
from projects import CONFIG, Project
from rawfiles import make_drive

from pipeline.raw.decode.masks import decode_rle


def test_tgs_submission_is_one_table(finished):
    folder = finished.folder / "results/predictions/b-2/unlabelled"
    table = pd.read_csv(folder / "submission/submission.csv", dtype=str, keep_default_na=False)
    assert table.columns.tolist() == ["id", "rle_mask"]
    assert table["id"].tolist() == ["tile012", "tile013"]
    for name, codes in table.itertuples(index=False):
        mask = cv2.imread(str(folder / f"mask/{name}.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(decode_rle(codes, 101, 101, name) * 255, mask)
    assert "results/predictions/a/test/submission" not in {str(name) for name in finished.files()}


def test_drive_without_test_labels_is_scored_by_folds(tmp_path):
    drive = make_drive(tmp_path / "raw/DRIVE")
    shutil.rmtree(drive / "test/1st_manual")
    shutil.rmtree(drive / "test/2nd_manual")
    data = yaml.safe_load(CONFIG)
    data["datasets"]["d"]["test"] = {"rule": "k-fold", "folds": 3, "fold": 1, "stratify": "foreground"}
    del data["datasets"]["t"], data["experiments"]["b-2"]
    project = Project(tmp_path)
    project.config.write_text(yaml.safe_dump(data))
    project.snakemake()
    files = project.files()
    submitted = {name for name in files if "/submission/" in name and name.endswith(".png")}
    folder = "results/predictions/a/unlabelled"
    assert submitted == {f"{folder}/submission/{number}.png" for number in (1, 2, 3)}
    for number in (1, 2, 3):
        made, mask = (tmp_path / folder / name for name in (f"submission/{number}.png", f"mask/{number:02d}.png"))
        np.testing.assert_array_equal(cv2.imread(str(made), -1), cv2.imread(str(mask), -1))
    table = pd.read_csv(tmp_path / "results/splits/d.csv", dtype=str)
    assert table["split"].value_counts().to_dict() == {"unlabelled": 3, "test": 2, "train": 3, "validation": 1}
    assert "results/cache/foreground-d.json" in files
    assert project.planned() == {}
    (tmp_path / "results/cache/foreground-d.json").unlink()
    assert project.planned() == {}
