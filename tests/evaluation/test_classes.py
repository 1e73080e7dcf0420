import math

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, jaccard_score, precision_score
from sources import source as source_of
from toy_layout import CLASSES, COLOURS, toy_image

from pipeline.cli import main as cli
from pipeline.config.config import parse
from pipeline.core.counts import VOID
from pipeline.core.errors import PredictionError
from pipeline.core.tables import write_json
from pipeline.evaluation.choice import choose_threshold
from pipeline.evaluation.class_renderings import render_classes
from pipeline.evaluation.classes import confusion_matrix, one_vs_rest, pixel_accuracy
from pipeline.evaluation.confusion import plot_confusions, row_fractions
from pipeline.evaluation.evaluate import evaluate
from pipeline.evaluation.evaluate_classes import evaluate_classes
from pipeline.evaluation.metrics import CLASS_METRICS
from pipeline.evaluation.recipes import ChosenThreshold, EvaluateRecipe, RenderRecipe, ThresholdRecipe
from pipeline.evaluation.renderings import render
from pipeline.graph.study import Study
from pipeline.images.colours import VOID_COLOUR, legend, overlay_classes, paint
from pipeline.images.png import read_grey, write_png
from pipeline.raw.decode.image import read_image


def add(root, name, image, mask=None):
    """Write the files of a sample: a test sample if its name begins with t."""
    for folder, pixels in (("images", image), ("masks", mask)):
        if pixels is not None:
            path = path_of(root, name, folder)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_png(path, pixels)


def path_of(root, name, folder):
    return root / ("test" if name.startswith("t") else "train") / folder / f"{name}.png"


@pytest.fixture
def toys(tmp_path):
    """A folder of synthetic shapes with ignored outlines: four test and four training images."""
    for number in range(8):
        add(tmp_path / "raw", f"{'t' if number < 4 else 'v'}{number}", *toy_image(number))
    return tmp_path / "raw"


def folder_options(root, classes):
    """Return the layout options of a folder of `toys`, with the classes of its masks."""
    colours = {name: f"#{bytes(colour).hex()}" for name, colour in zip(classes, COLOURS, strict=False)}
    fov = "{split}/fov" if (root / "test/fov").is_dir() else None
    return {
        "images": "{split}/images", "masks": "{split}/masks", "fov": fov, "missing_masks": "unlabelled",
        "labels": {str(index): name for index, name in enumerate(classes)}, "ignore": [VOID], "colours": colours,
    }  # fmt: skip


SPLITS = {"test": {"rule": "official"}, "validation": {"rule": "fraction", "fraction": 0.4}}


def source(root, classes=CLASSES):
    return source_of("folder", root, folder_options(root, classes), **SPLITS)


def write_predictions(root, folder, prefix="t", seed=0):
    """Write shifted masks with some wrong classes as predictions; return {id: (truth, predicted)}."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    pairs = {}
    for path in sorted(root.glob(f"*/masks/{prefix}*.png")):
        truth = read_grey(path)
        predicted = np.roll(np.where(truth == VOID, 0, truth), 2, axis=1).astype(np.uint8)
        wrong = rng.random(truth.shape) < 0.05
        predicted[wrong] = rng.integers(0, 4, int(wrong.sum()))
        write_png(folder / path.name, predicted)
        pairs[path.stem] = (truth, predicted)
    return pairs


def score(root, tmp_path, empty_masks="one", **more):
    recipe = EvaluateRecipe(dataset="d", empty_masks=empty_masks, source=source(root))
    predictions = {"test": tmp_path / "p", **more}
    evaluate_classes(recipe, experiment="e", predictions=predictions, output=tmp_path / "m")
    return [pd.read_csv(tmp_path / "m" / f"{name}.csv") for name in ("per_image", "summary", "confusion")]


def count_pixels(truth, predicted, index, region=None):
    """Count one class against the others, one pixel at a time."""
    counts = dict.fromkeys(("tp", "fp", "fn", "tn"), 0)
    for y, x in np.ndindex(truth.shape):
        if truth[y, x] == VOID or (region is not None and not region[y, x]):
            continue
        true, positive = truth[y, x] == index, predicted[y, x] == index
        counts["tp" if true and positive else "fn" if true else "fp" if positive else "tn"] += 1
    return counts


@given(st.integers(0, 30), st.sampled_from([2, 3, 7, 255]))
def test_confusion_matrix_equals_pixelwise_comparison(seed, classes):
    rng = np.random.default_rng(seed)
    truth, predicted = rng.integers(0, classes, (2, 9, 11)).astype(np.uint8)
    truth[0] = VOID
    region = (rng.random((9, 11)) < 0.7) & (truth != VOID)
    matrix = confusion_matrix(predicted, truth, classes, region)
    assert matrix.shape == (classes, classes)
    counts = one_vs_rest(matrix)
    for index in {0, 1, classes - 1}:
        assert {name: getattr(counts, name)[index] for name in counts._fields} == count_pixels(
            truth, predicted, index, region
        )
    assert pixel_accuracy(matrix) == pytest.approx((truth == predicted)[region].mean())


def test_class_scores_equal_manual_counts_without_void(tmp_path, toys):
    pairs = write_predictions(toys, tmp_path / "p")
    images, _, _ = score(toys, tmp_path)
    assert images[["id", "class"]].to_numpy().tolist() == [[i, c] for i in pairs for c in CLASSES]
    for row in images.itertuples():
        truth, predicted = pairs[row.id]
        counts = count_pixels(truth, predicted, CLASSES.index(images.loc[row.Index, "class"]))
        assert {name: getattr(row, name) for name in counts} == counts
        assert row.pixels == (truth != VOID).sum() < truth.size
        assert row.iou == pytest.approx(counts["tp"] / (counts["tp"] + counts["fp"] + counts["fn"]), abs=1e-6)
        assert row.f1 == pytest.approx(row.dice, abs=2e-6)
    assert images["threshold"].isna().all()
    assert set(images["threshold_source"]) == {"argmax"}


def test_summary_averages_images_pixels_and_foreground_classes(tmp_path, toys):
    pairs = write_predictions(toys, tmp_path / "p")
    images, summary, _ = score(toys, tmp_path)
    rows = summary.set_index(["averaging", "class"])
    assert len(rows) == 2 * 5
    for name in CLASS_METRICS:
        for index in CLASSES:
            macro = images.loc[images["class"] == index, name].mean()
            assert rows.loc[("macro", index), name] == pytest.approx(macro, abs=2e-6)
        for averaging in ("macro", "micro"):
            foreground = [rows.loc[(averaging, index), name] for index in CLASSES[1:]]
            assert rows.loc[(averaging, "mean"), name] == pytest.approx(np.mean(foreground), abs=2e-6)
    pooled = images.groupby("class")[["tp", "fp", "fn"]].sum().loc["circle"]
    assert rows.loc[("micro", "circle"), "iou"] == pytest.approx(pooled["tp"] / pooled.sum(), abs=2e-6)
    right = [(t == p)[t != VOID] for t, p in pairs.values()]
    assert rows.loc[("macro", "mean"), "accuracy"] == pytest.approx(np.mean([r.mean() for r in right]), abs=1e-6)
    assert rows.loc[("micro", "mean"), "accuracy"] == pytest.approx(np.concatenate(right).mean(), abs=1e-6)
    assert rows.drop(index="mean", level="class")["accuracy"].isna().all()


def write_rare_classes(root, folder):
    """Write masks with one class each, a triangle that is never found, and no square; return the pairs by id."""
    folder.mkdir(exist_ok=True)
    pairs = {}
    for name, index in (("t0", 1), ("t1", 1), ("t2", 2), ("t3", 0)):
        mask = np.zeros((64, 72), np.uint8)
        mask[8:40, 20:50] = index
        predicted = np.zeros_like(mask) if index != 1 else np.roll(mask, 5, axis=1)
        predicted[50:60, :10] = name == "t3"  # a circle where there is none
        add(root, name, toy_image(0)[0], mask)
        write_png(folder / f"{name}.png", predicted)
        pairs[name] = (mask, predicted)
    return pairs


@pytest.mark.parametrize(("policy", "absent"), [("one", 1.0), ("skip", math.nan)])
def test_class_absent_from_mask_and_prediction_follows_policy(tmp_path, toys, capsys, policy, absent):
    write_rare_classes(toys, tmp_path / "p")
    images, summary, _ = score(toys, tmp_path, empty_masks=policy)
    rows = summary.set_index(["averaging", "class"])["f1"]
    by_image = images.set_index(["class", "id"])["f1"]
    assert by_image["triangle", "t2"] == by_image["circle", "t3"] == 0.0
    np.testing.assert_equal(by_image["triangle", "t1"], absent)
    np.testing.assert_equal(rows["micro", "square"], absent)
    assert rows["macro", "triangle"] == (0.75 if policy == "one" else 0.0)
    text = "left out of the mean" if policy == "skip" else "1 by `empty_masks: one`"
    assert f"e, test: no mask has square, and no prediction: {text}" in capsys.readouterr().err
    left_out = summary.set_index(["averaging", "class"])["left_out"].dropna().to_dict()
    assert left_out == ({("macro", "mean"): "square", ("micro", "mean"): "square"} if policy == "skip" else {})


def test_means_of_rare_classes_match_scikit_learn(tmp_path, toys):
    pairs = write_rare_classes(toys, tmp_path / "p")
    images, summary, _ = score(toys, tmp_path, empty_masks="skip")
    rows = summary.set_index(["averaging", "class"])
    occurring = {name: np.union1d(*pair) for name, pair in pairs.items()}
    for name, function in (("iou", jaccard_score), ("f1", f1_score), ("precision", precision_score)):
        of_classes = []
        for index in (1, 2):
            of_images = [
                function(*(plane.ravel() == index for plane in pair), zero_division=0)
                for image, pair in pairs.items()
                if index in occurring[image]
            ]
            of_classes.append(np.mean(of_images))
        assert rows.loc[("macro", "mean"), name] == pytest.approx(np.mean(of_classes), abs=1e-6)
    # `one` would count 1 for each class that an image does not have
    inflated = score(toys, tmp_path, empty_masks="one")[1].set_index(["averaging", "class"])
    assert inflated.loc[("macro", "mean"), "iou"] > 2 * rows.loc[("macro", "mean"), "iou"]
    # a class that only the mask or only the prediction has scores 0, a class in neither has no score
    table = images.set_index(["class", "id"])
    for name in (*CLASS_METRICS, "boundary_dice_2px"):
        assert table[name]["square"].isna().all()
        assert table[name].notna().sum() == sum(len(indices) for indices in occurring.values())
    assert table["boundary_dice_2px"]["triangle", "t2"] == table["boundary_dice_2px"]["circle", "t3"] == 0.0


def test_predicted_class_that_no_mask_has_counts_zero(tmp_path, toys, capsys):
    write_rare_classes(toys, tmp_path / "p")
    predicted = read_grey(tmp_path / "p/t0.png")
    predicted[60, 60] = 3
    write_png(tmp_path / "p/t0.png", predicted)
    _, summary, _ = score(toys, tmp_path, empty_masks="skip")
    rows = summary.set_index(["averaging", "class"])
    for averaging in ("macro", "micro"):
        assert rows.loc[(averaging, "square"), ["iou", "f1", "precision", "recall"]].tolist() == [0, 0, 0, 0]
        mean = rows.loc[averaging].loc[["circle", "triangle", "square"], "iou"].mean()
        assert rows.loc[(averaging, "mean"), "iou"] == pytest.approx(mean, abs=1e-6)
    assert summary["left_out"].isna().all()
    assert "no mask has square, but predictions do: 0 in the mean" in capsys.readouterr().err


@pytest.mark.parametrize(("layout", "configured", "expected"), [
    ("shapes", {}, "skip"), ("shapes", {"empty_masks": "one"}, "one"), ("tgs", {}, "one"),
])  # fmt: skip
def test_default_policy_depends_on_the_number_of_classes(layout, configured, expected):
    data = {"layout": layout, "root": "raw", "size": [64, 64]}
    loss = "cross-entropy" if layout == "shapes" else "bce"
    experiment = {"dataset": "d", "model": "unet", "loss": loss, "optimizer": {"name": "sgd", "lr": 1}}
    experiments = {"e": {**experiment, "batch_size": 1, "epochs": 1, **configured}}
    assert Study(parse({"datasets": {"d": data}, "experiments": experiments})).empty_masks("e") == expected


def test_fov_region_is_scored_separately(tmp_path, toys):
    fov = np.zeros((64, 72), np.uint8)
    fov[10:50, 5:60] = 255
    for path in toys.glob("*/images/*.png"):
        (path.parents[1] / "fov").mkdir(exist_ok=True)
        write_png(path.parents[1] / "fov" / path.name, fov)
    pairs = write_predictions(toys, tmp_path / "p")
    images, _, matrices = score(toys, tmp_path)
    scores = images.set_index(["id", "region", "class"])
    for region, inside in (("full", None), ("fov", fov == 255)):
        counts = count_pixels(*pairs["t2"], 3, inside)
        assert scores.loc[("t2", region, "square"), list(counts)].to_dict() == counts
    assert set(matrices["region"]) == {"fov", "full"}


def test_confusion_table_has_every_pair_of_classes(tmp_path, toys):
    pairs = write_predictions(toys, tmp_path / "p")
    write_predictions(toys, tmp_path / "v", "v")
    _, _, matrices = score(toys, tmp_path, validation=tmp_path / "v")
    assert len(matrices) == 2 * 16
    test = matrices[matrices["split"] == "test"].set_index(["truth", "predicted"])
    expected = sum(int(((t == 2) & (p == 0)).sum()) for t, p in pairs.values())
    assert test.loc[("triangle", "background"), "pixels"] == expected > 0
    assert test["share"].groupby("truth").sum().to_numpy() == pytest.approx(np.ones(4), abs=4e-6)
    assert (tmp_path / "m/confusion.png").read_bytes()[:4] == b"\x89PNG"


def test_class_without_pixels_has_nan_shares_and_is_plotted(tmp_path):
    matrix = np.array([[5, 0, 1], [0, 0, 0], [2, 0, 9]])
    assert np.isnan(row_fractions(matrix)[1]).all()
    for path in (tmp_path / "a.png", tmp_path / "b.png"):
        plot_confusions({("test", "full"): matrix}, classes=("a", "$b$", "c_1"), title="$e", output=path)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_unusable_class_predictions_are_listed_nothing_written(tmp_path, toys):
    write_predictions(toys, tmp_path / "p")
    (tmp_path / "p/t0.png").unlink()
    write_png(tmp_path / "p/t1.png", np.full((64, 72), 4, np.uint8))
    write_png(tmp_path / "p/t2.png", np.zeros((72, 64), np.uint8))
    with pytest.raises(PredictionError) as caught:
        score(toys, tmp_path, validation=tmp_path / "none")
    found_by_file = {problem.where.rsplit("/", 1)[1]: problem.found for problem in caught.value.problems}
    assert found_by_file["t0.png"] == "no such file"
    assert found_by_file["t1.png"] == "class indices 4 (4608 pixels)"
    assert "(72, 64)" in found_by_file["t2.png"]
    assert {name[0] for name in found_by_file} == {"t", "v"}
    assert not (tmp_path / "m").exists()


# -- two classes with ignored pixels -------------------------------------------------------------------------------


@pytest.fixture
def two(toys):
    """The same images with two classes, circles and background, and ignored outlines."""
    for path in toys.glob("*/masks/*.png"):
        mask = read_grey(path)
        write_png(path, np.where(mask == VOID, mask, mask == 1).astype(np.uint8))
    return toys


def test_void_pixels_do_not_change_scores_or_threshold(tmp_path, two):
    results = []
    for seed, folder in enumerate(("a", "b")):
        for split, prefix in (("test", "t"), ("validation", "v")):
            (tmp_path / folder / split).mkdir(parents=True)
            for path in two.glob(f"*/masks/{prefix}*.png"):
                truth = read_grey(path)
                levels = np.random.default_rng(7).integers(0, 200, truth.shape) + 50 * (truth == 1)
                levels[truth == VOID] = (0, 255)[seed]
                write_png(tmp_path / folder / split / path.name, levels.astype(np.uint8))
        dataset = {"dataset": "d", "source": source(two, CLASSES[:2])}
        threshold, tables = tmp_path / folder / "t.json", tmp_path / folder / "m"
        arguments = {"experiment": "e", "predictions": tmp_path / folder / "validation", "output": threshold}
        choose_threshold(ThresholdRecipe(criterion=ChosenThreshold(), **dataset), **arguments)
        arguments = {"experiment": "e", "predictions": {"test": tmp_path / folder / "test"}, "output": tables}
        evaluate(EvaluateRecipe(empty_masks="one", **dataset), threshold=threshold, **arguments)
        results.append([path.read_text() for path in (threshold, tables / "per_image.csv", tables / "summary.csv")])
    assert results[0] == results[1]
    images = pd.read_csv(tmp_path / "a/m/per_image.csv")
    assert set(images["class"]) == {"circle"}
    assert (images["pixels"] < 64 * 72).all()


def test_void_pixels_are_grey_in_overlay_and_panel(tmp_path, two):
    (tmp_path / "p").mkdir()
    for path in two.glob("test/masks/*.png"):
        write_png(tmp_path / "p" / path.name, np.full((64, 72), 255, np.uint8))
    (tmp_path / "t.json").write_text('{"value": 0.5, "source": "fixed", "criterion": ""}')
    arguments = {"predictions": tmp_path / "p", "threshold": tmp_path / "t.json", "output": tmp_path / "o"}
    render(RenderRecipe(dataset="d", split="test", source=source(two, CLASSES[:2])), experiment="e", **arguments)
    painted = read_image(str(tmp_path / "o/overlay/t0.png"), "rgb").astype(int)
    void = read_grey(two / "test/masks/t0.png") == VOID
    assert void.any()
    assert (painted.max(axis=2) == painted.min(axis=2))[void].all()
    assert not (painted.max(axis=2) == painted.min(axis=2))[~void].any()
    panel = read_image(str(tmp_path / "o/panel/t0.png"), "rgb")
    assert (panel == VOID_COLOUR).all(axis=2).any()


# -- renderings of several classes ------------------------------------------------------------------------------------


def test_paint_uses_exact_class_colours():
    classes = np.array([[0, 1, 2], [3, VOID, 0]], np.uint8)
    expected = [[COLOURS[0], COLOURS[1], COLOURS[2]], [COLOURS[3], VOID_COLOUR, COLOURS[0]]]
    np.testing.assert_array_equal(paint(classes, COLOURS), expected)


def test_overlay_marks_errors_white_keeps_void_and_background():
    image = np.full((40, 40, 3), 100, np.uint8)
    truth = np.zeros((40, 40), np.uint8)
    truth[5:15, 5:15], truth[5:15, 25:35] = 1, 2
    predicted = truth.copy()
    predicted[5:15, 25:35] = 3
    predicted[25:35, 5:15] = 1  # ignored in the mask
    truth[25:35, 5:15] = VOID
    painted = overlay_classes(image, predicted, truth, COLOURS)
    white = (painted == 255).all(axis=2)
    assert white[5, 25:35].all()
    assert white[5:15, 25].all()
    assert 0 < white[8:12, 28:32].sum() < 16
    assert not white[predicted == truth].any()
    assert (painted[truth == VOID] == 70).all()
    assert (painted[(truth == 0) & (predicted == 0)] == 70).all()
    assert painted[10, 10].argmax() == 0
    assert painted[10, 10, 0] > 100
    unlabelled = overlay_classes(image, predicted, None, COLOURS)
    assert not (unlabelled == 255).any()
    assert (unlabelled[30, 10] == painted[10, 10]).all()


def test_legend_has_every_colour_and_wraps():
    column = legend(CLASSES, COLOURS, void=True, wrong=True)
    for colour in (*COLOURS, VOID_COLOUR):
        assert (column == colour).all(axis=2).sum() > 100
    strip = legend(CLASSES, COLOURS, width=1000)
    assert strip.shape[1] == 1000
    assert strip.shape[0] * 6 == column.shape[0]
    assert legend(CLASSES, COLOURS, width=200).shape[0] > strip.shape[0]
    pair = [legend((name, "b"), COLOURS[:2]) for name in ("Größe", "Gr??e")]
    assert pair[0].shape != pair[1].shape or (pair[0] != pair[1]).any()


@pytest.mark.parametrize("labelled", [True, False])
def test_renderings_of_several_classes(tmp_path, toys, labelled):
    write_predictions(toys, tmp_path / "p")
    split = "test"
    if not labelled:
        split = "unlabelled"
        for name in ("t0", "t1", "t2", "t3"):
            path_of(toys, name, "masks").unlink()
    recipe = RenderRecipe(dataset="d", split=split, source=source(toys))
    render_classes(recipe, experiment="e", predictions=tmp_path / "p", output=tmp_path / "o")
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == [
        "colour", "legend.png", "overlay", "panel", "sheet.png",
    ]  # fmt: skip
    for kind in ("colour", "overlay", "panel"):
        assert sorted(path.name for path in (tmp_path / "o" / kind).iterdir()) == [f"t{i}.png" for i in range(4)]
    coloured = cv2.imread(str(tmp_path / "o/colour/t1.png"))[:, :, ::-1]
    np.testing.assert_array_equal(coloured, np.array(COLOURS)[read_grey(tmp_path / "p/t1.png")])
    panel = read_image(str(tmp_path / "o/panel/t1.png"), "rgb")
    assert panel.shape[1] == 3 * 4 * 72 + 12
    assert ((panel == VOID_COLOUR).all(axis=2).sum() > 1000) == labelled


def test_renderings_list_all_mismatches_and_write_nothing(tmp_path, toys):
    write_predictions(toys, tmp_path / "p")
    write_png(tmp_path / "p/t1.png", np.full((64, 72), VOID, np.uint8))
    write_png(toys / "test/masks/t2.png", np.zeros((65, 72), np.uint8))
    recipe = RenderRecipe(dataset="d", split="test", source=source(toys))
    with pytest.raises(PredictionError) as caught:
        render_classes(recipe, experiment="e", predictions=tmp_path / "p", output=tmp_path / "o")
    assert sorted(problem.where.rsplit("/", 1)[1] for problem in caught.value.problems) == ["t1.png", "t2.png"]
    assert not list((tmp_path / "o").iterdir())


# -- the command line ----------------------------------------------------------------------------------------------


def test_commands_select_class_evaluation_and_refuse_threshold(tmp_path, toys, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_predictions(toys, tmp_path / "results/predictions/e/test/mask")
    write_json(
        tmp_path / "config.yaml",
        {
            "datasets": {
                "d": {"layout": "folder", "root": "raw", "size": [64, 64], **folder_options(toys, CLASSES), **SPLITS}
            },
            "experiments": {
                name: {"dataset": "d", "model": "unet", "loss": "cross-entropy", "optimizer": {"name": "sgd", "lr": 1},
                       "batch_size": 1, "epochs": 1}
                for name in ("e", "other")
            },
        },
    )  # fmt: skip
    predictions = "results/predictions/e/test/mask"
    rendering = ["render", "--experiment", "e", "--split", "test", "--predictions", predictions]
    evaluation = ["evaluate", "--experiment", "e", "--test-predictions", predictions]
    assert cli.main(rendering) == 0
    assert cli.main(evaluation) == 0
    for name in ("predictions/e/test/colour/t0.png", "metrics/e/confusion.png", "metrics/e/confusion.csv"):
        assert (tmp_path / "results" / name).is_file()
    capsys.readouterr()
    for arguments in ([*rendering, "--threshold", "t.json"], [*evaluation, "--threshold", "0.5"]):
        assert cli.main(arguments) == 2
        assert "leave out --threshold" in capsys.readouterr().err
    assert cli.main(["threshold", "--experiment", "e"]) == 2
    assert "several classes" in capsys.readouterr().err
    assert cli.main(["evaluate", "--experiment", "other"]) == 2
    assert "predict --experiment other" in capsys.readouterr().err
