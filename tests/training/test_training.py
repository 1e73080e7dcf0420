import io
import json
import math
import resource
import shutil

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from rawfiles import make_drive, make_tgs
from shardfiles import edited
from sources import source

from pipeline.core.counts import absolute_error, confusion, dice, joint_histogram, max_f, to_levels
from pipeline.core.errors import CheckpointError, OutputError, ShardError, TrainingError
from pipeline.images.png import read_levels
from pipeline.models.networks import UNet
from pipeline.models.registry import build_model
from pipeline.prediction.predict import predict
from pipeline.prediction.recipes import PredictRecipe
from pipeline.shards.recipes import ShardRecipe
from pipeline.shards.write import build_shard
from pipeline.training import device as devices
from pipeline.training.checkpoint import FORMAT, load_checkpoint
from pipeline.training.data import SampleStore
from pipeline.training.history import is_best
from pipeline.training.losses import LOSSES
from pipeline.training.optim import lr_factor
from pipeline.training.preview import preview
from pipeline.training.recipes import AugmentedRecipe, TrainRecipe
from pipeline.training.run import train
from pipeline.training.validate import validate
from pipeline.training.weights import class_weights, weight_map

SHARD = {"dataset": "d", "size": [48, 48], "normalize": "unit", "storage": "uint8"}
RECIPE = {
    "dataset": "d",
    "model": {"name": "unet", "width": 4, "depth": 2},
    "loss": {"name": "bce", "region": "fov"},
    "optimizer": {"name": "adam", "lr": 0.02},
    "batch_size": 3,
    "epochs": 3,
    "precision": "fp32",
    "threads": 1,
}


def build(path, split, samples, **changes):
    build_shard(
        ShardRecipe.model_validate({**SHARD, **changes, "split": split, "source": samples}), number=0, output=path
    )
    return path


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Training, validation and unlabelled shards of a small TGS folder, and DRIVE-like shards with a field of view."""
    folder = tmp_path_factory.mktemp("shards")
    for layout, make in (("tgs", make_tgs), ("drive", make_drive)):
        samples = source(layout, make(folder / layout), validation={"fraction": 0.3})
        for split in ("train", "validation", *(["unlabelled"] if layout == "tgs" else [])):
            build(folder / f"{layout}-{split}.h5", split, samples)
    return folder


def train_on(train_shards, validation_shards, output, memory=None, **changes):
    recipe = TrainRecipe.model_validate({**RECIPE, **changes})
    samples = {"train_shards": train_shards, "validation_shards": validation_shards}
    train(recipe, experiment="e", output=output, memory=memory, **samples)
    return pd.read_csv(output / "history.csv")


def run(shards, output, **changes):
    return train_on([shards / "tgs-train.h5"], [shards / "tgs-validation.h5"], output, **changes)


def test_training_learns_and_records_its_history(shards, tmp_path):
    history = run(shards, tmp_path / "m", epochs=12)
    scores = ["val_loss", "val_dice", "val_mae", "val_max_f", "val_accuracy"]
    assert history.columns.tolist() == ["epoch", "train_loss", "accuracy", "lr", *scores]
    assert history["accuracy"].iloc[-1] > max(0.85, history["accuracy"].iloc[0])
    assert history["epoch"].tolist() == list(range(1, 13))
    assert history["train_loss"].iloc[-1] < 0.6 * history["train_loss"].iloc[0]
    assert history["val_dice"].max() > 0.8
    best, last = (load_checkpoint(tmp_path / "m" / name) for name in ("best.pt", "last.pt"))
    assert best.epoch == history.loc[history["val_loss"].idxmin(), "epoch"]
    assert last.epoch == 12
    assert best.info.settings == TrainRecipe.model_validate({**RECIPE, "epochs": 12})
    assert best.info.preparation.normalize.method == "unit"
    images, values = SampleStore([shards / "tgs-train.h5"], torch.device("cpu")), best.info.image_values
    assert values.dtypes == ("uint8",)
    assert not best.info.has_fov
    means = [float(batch.image.mean()) for batch in images.batches(torch.arange(len(images)), 1)]
    assert values.mean == pytest.approx(np.mean(means), abs=1e-3)
    assert best.info.made_with["torch"] == str(torch.__version__)
    timing = pd.read_csv(tmp_path / "m/timing.csv")
    assert (timing["seconds"] > 0).all()
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == [
        "best.pt",
        "history.csv",
        "last.pt",
        "timing.csv",
    ]


def test_seed_determines_the_bytes_of_a_training(shards, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run(shards, tmp_path / name, seed=seed)
    for file in ("best.pt", "last.pt", "history.csv"):
        a, b, c = ((tmp_path / name / file).read_bytes() for name in "abc")
        assert a == b, file
        assert a != c, file


def test_streamed_samples_give_the_same_weights(shards, tmp_path):
    run(shards, tmp_path / "held")
    run(shards, tmp_path / "streamed", memory=0)
    assert (tmp_path / "held/last.pt").read_bytes() == (tmp_path / "streamed/last.pt").read_bytes()


def test_batches_are_normalized_and_carry_the_field_of_view(shards):
    store = SampleStore([shards / "drive-train.h5"], torch.device("cpu"))
    batches = list(store.batches(torch.tensor([2, 0, 1, 3]), 3))
    assert [len(batch.image) for batch in batches] == [3, 1]
    assert batches[0].image.is_contiguous(memory_format=torch.channels_last)
    assert 0 <= batches[0].image.min() < batches[0].image.max() <= 1
    assert set(batches[0].target.unique().tolist()) == {0.0, 1.0}
    assert set(batches[0].weight.unique().tolist()) == {0.0, 1.0}
    alone = next(store.batches(torch.tensor([2]), 1))
    torch.testing.assert_close(alone.image, batches[0].image[:1])
    full = SampleStore([shards / "drive-train.h5"], torch.device("cpu"), use_fov=False)
    assert next(full.batches(torch.tensor([0]), 1)).weight is None


def test_unlabelled_shards_are_refused_for_training(shards, tmp_path):
    unlabelled = [shards / "tgs-unlabelled.h5"]
    for samples in ((unlabelled, []), ([shards / "tgs-train.h5"], unlabelled)):
        with pytest.raises(ShardError, match=r"unlabelled\.h5[\s\S]*samples without masks"):
            train_on(*samples, tmp_path / "m")


@pytest.mark.parametrize("memory", [None, 0])
def test_class_weights_balance_classes_in_the_field_of_view(shards, memory):
    store = SampleStore([shards / "drive-train.h5"], torch.device("cpu"), memory)
    by_class = class_weights(store.count_classes())
    store.set_pixel_weights(lambda mask: weight_map(mask, by_class=by_class))
    batch = next(store.batches(torch.arange(len(store)), len(store)))
    assert (batch.weight == 0).any()
    background, vessels = (float(batch.weight[batch.target == label].sum()) for label in (0, 1))
    assert background == pytest.approx(vessels, rel=1e-4)


def test_without_validation_the_last_epoch_is_the_best(shards, tmp_path):
    history = train_on([shards / "tgs-train.h5"], [], tmp_path / "m", epochs=2)
    assert history["val_loss"].isna().all()
    assert load_checkpoint(tmp_path / "m/best.pt").epoch == 2


def test_the_best_epoch_follows_the_monitor(shards, tmp_path):
    history = run(shards, tmp_path / "m", epochs=6, monitor="val_dice", optimizer={"name": "sgd", "lr": 0.3})
    best = load_checkpoint(tmp_path / "m/best.pt")
    assert best.epoch == history.loc[history["val_dice"].idxmax(), "epoch"]


def test_validate_every_and_checkpoint_every_are_respected(shards, tmp_path):
    history = run(shards, tmp_path / "m", epochs=7, validate_every=3)
    assert history["epoch"][history["val_loss"].notna()].tolist() == [1, 3, 6, 7]
    history = run(shards, tmp_path / "n", epochs=7, checkpoint_every=3)
    assert history["val_loss"].notna().all()
    allowed = history[history["epoch"].isin([3, 6, 7])]
    assert load_checkpoint(tmp_path / "n/best.pt").epoch == allowed.loc[allowed["val_loss"].idxmin(), "epoch"]


def test_early_stopping(shards, tmp_path, capfd):
    constant = {"name": "sgd", "lr": 1e-12}
    history = run(shards, tmp_path / "m", epochs=20, early_stopping=3, optimizer=constant, monitor="val_max_f")
    assert len(history) == history["val_max_f"].idxmax() + 1 + 3 < 20
    assert "val_max_f did not improve in 3 validations" in capfd.readouterr().err
    assert load_checkpoint(tmp_path / "m/last.pt").epoch == len(history)


def test_plateau_schedule_halves_the_learning_rate(shards, tmp_path):
    plateau = {"name": "plateau", "factor": 0.5, "patience": 3, "min_delta": 10.0}
    history = run(shards, tmp_path / "m", epochs=8, schedule=plateau, optimizer={"name": "adam", "lr": 0.01})
    assert history["lr"].tolist() == [0.01] * 4 + [0.005] * 3 + [0.0025]


def test_history_has_the_learning_rate_at_the_end_of_each_epoch(shards, tmp_path):
    history = run(shards, tmp_path / "m", epochs=4, schedule={"name": "cosine", "warmup": 1}, batch_size=1)
    factors = [0.5 * (1 + math.cos(math.pi * epoch / 3)) for epoch in range(4)]
    assert history["lr"].tolist() == pytest.approx([0.02 * factor for factor in factors], abs=1e-6)


AUGMENT = {"flip": "both", "rot90": True, "rotate": 10.0, "elastic": {"grid": 3, "sigma": 3.0}, "brightness": 0.1}


def test_augmented_training_does_not_depend_on_the_memory_budget(shards, tmp_path):
    for name, options in (("a", {}), ("b", {"memory": 0})):
        history = run(shards, tmp_path / name, crop=[32, 32], augment=AUGMENT, repeats=3, **options)
    assert (tmp_path / "a/last.pt").read_bytes() == (tmp_path / "b/last.pt").read_bytes()
    run(shards, tmp_path / "plain", repeats=3)
    assert pd.read_csv(tmp_path / "plain/history.csv")["train_loss"].tolist() != history["train_loss"].tolist()


def test_repeats_lengthen_an_epoch(shards, tmp_path, capfd):
    run(shards, tmp_path / "m", epochs=1, repeats=5, batch_size=4)
    output = capfd.readouterr().err
    samples = int(output.split(" samples of d")[0].split()[-1])
    assert f"epoch 1 of 1: {math.ceil(5 * samples / 4)} in" in output
    assert load_checkpoint(tmp_path / "m/best.pt").info.settings.repeats == 5


def test_training_refuses_a_crop_larger_than_the_samples(shards, tmp_path):
    with pytest.raises(TrainingError, match="height 64 and width 32; samples have height 48"):
        run(shards, tmp_path / "m", crop=[64, 32])


def test_pixel_weights_change_training_also_when_streamed(shards, tmp_path):
    loss = {"name": "bce", "region": "fov", "border": {"w0": 10, "sigma": 5}, "class_balance": True}
    for name, options in (("held", {}), ("streamed", {"memory": 0})):
        run(shards, tmp_path / name, loss=loss, augment=AUGMENT, epochs=2, **options)
    run(shards, tmp_path / "plain", augment=AUGMENT, epochs=2)
    held, streamed, plain = ((tmp_path / name / "last.pt").read_bytes() for name in ("held", "streamed", "plain"))
    assert held == streamed
    assert held != plain


def predict_shard(checkpoint, shard, output):
    settings = {"kind": "probability", "precision": "fp32", "threads": 1, "test_time": "none"}
    recipe = PredictRecipe.model_validate({"dataset": "d", "split": "validation", **settings})
    predict(recipe, experiment="e", checkpoint=checkpoint, shards=[shard], output=output)


def test_u2net_trains_all_outputs_and_predicts_the_fused_one(shards, tmp_path):
    model = {"name": "u2net-lite", "width": 16}
    history = run(shards, tmp_path / "m", model=model, epochs=6, optimizer={"name": "adam", "lr": 0.01})
    assert history["train_loss"].iloc[0] > 3, "the loss of seven outputs is about seven times ln 2"
    assert history["val_dice"].max() > 0.6
    best = load_checkpoint(tmp_path / "m/best.pt")
    assert best.info.activation == "sigmoid"
    predict_shard(tmp_path / "m/best.pt", shards / "tgs-validation.h5", tmp_path / "p")
    network = build_model(best.info.model, in_channels=3, out_channels=1).eval()
    network.load_state_dict(best.state)
    store = SampleStore([shards / "tgs-validation.h5"], torch.device("cpu"))
    with torch.no_grad():
        probability = network(next(store.batches(torch.tensor([0]), 1)).image)[0, 0].numpy()
    name = store.reader.column("ids")[0]
    expected = to_levels(cv2.resize(probability, (101, 101), interpolation=cv2.INTER_LINEAR))
    levels = read_levels(tmp_path / f"p/{name}.png", 101, 101)
    assert np.abs(levels.astype(int) - expected).max() <= 1


def write_classes(path, classes=4, ignored_corner=True):
    """Convert a two-class shard to several classes, with a corner of ignored pixels."""
    with edited(path) as file:
        masks = file["masks"][:]
        left = np.arange(masks.shape[-1]) < masks.shape[-1] // 2
        masks = np.where((masks == 1) & left, 2, masks).astype(np.uint8)
        if ignored_corner:
            masks[..., :6, :6] = 255
        file["masks"][:] = masks
        file.attrs["class_names"] = json.dumps(["background", "right", "left", "never"][:classes])
    return path


@pytest.mark.parametrize("memory", [None, 0])
def test_multiclass_training_ignores_void_pixels(shards, tmp_path, memory):
    paths = [
        write_classes(shutil.copy(shards / f"tgs-{split}.h5", tmp_path / f"{split}.h5"))
        for split in ("train", "validation")
    ]
    store = SampleStore(paths[:1], torch.device("cpu"), memory)
    batch = next(store.batches(torch.tensor([0, 1]), 2))
    assert batch.target.dtype == torch.int64
    assert batch.target.max() <= 2
    assert float(batch.weight[:, :, :6, :6].sum()) == 0
    assert float(batch.weight[:, :, 6:].min()) == 1
    assert store.count_classes().sum() == len(store) * (48 * 48 - 36)
    loss = {"name": "cross-entropy", "class_balance": True}
    history = train_on(paths[:1], paths[1:], tmp_path / "m", memory, loss=loss, epochs=10)
    assert history["train_loss"].iloc[-1] < history["train_loss"].iloc[0]
    assert history["val_mae"].isna().all()
    assert history["val_accuracy"].iloc[-1] > history["val_accuracy"].iloc[0]
    info = load_checkpoint(tmp_path / "m/best.pt").info
    assert info.out_channels == 4
    assert info.class_names == ("background", "right", "left", "never")


def test_pixel_weights_count_towards_the_memory_budget(shards, capfd):
    paths, cpu = [shards / "drive-train.h5"], torch.device("cpu")
    plain = SampleStore(paths, cpu)
    samples, weights = plain.reader.nbytes(), 4 * len(plain) * math.prod(plain.info.size)
    for budget, weighted, location in (
        (samples, False, "in main memory"),
        (samples + weights - 1, True, "in the shards, read as needed"),
        (samples + weights, True, "in main memory"),
    ):
        capfd.readouterr()
        SampleStore(paths, cpu, budget, weighted=weighted)
        assert location in capfd.readouterr().err


def test_pixel_weights_on_a_full_disk_raise_output_error(shards):
    store = SampleStore([shards / "drive-train.h5"], torch.device("cpu"), 0, weighted=True)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OutputError, match="ulimit -f"):
            store.set_pixel_weights(lambda mask: np.ones(mask.shape, np.float32))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_two_class_loss_is_refused_for_more_classes(shards, tmp_path):
    path = write_classes(shutil.copy(shards / "tgs-train.h5", tmp_path / "t.h5"))
    with pytest.raises(TrainingError, match="'bce' for 4 classes"):
        train_on([path], [], tmp_path / "m")


def test_validation_scores_agree_with_the_counts_of_each_image(shards, tmp_path):
    torch.manual_seed(0)
    network = build_model(UNet(name="unet", width=4, depth=2), in_channels=3, out_channels=1)
    store = SampleStore([shards / "drive-validation.h5"], torch.device("cpu"))
    scores = validate(network, LOSSES["bce"], store, 2, "fp32")
    histograms, correct = [], []
    with torch.no_grad():
        for batch in store.batches(torch.arange(len(store)), 1):
            levels = to_levels(torch.sigmoid(network(batch.image))[0, 0].numpy())
            mask = batch.target[0, 0].numpy().astype(np.uint8)
            correct.append(((levels > 127) == mask)[batch.weight[0, 0].numpy() > 0])
            histograms.append(joint_histogram(levels, mask, batch.weight[0, 0].numpy() > 0))
    histograms = np.stack(histograms)
    assert scores.val_dice == pytest.approx(float(dice(confusion(histograms.sum(axis=0), 127))), abs=1e-3)
    assert scores.val_mae == pytest.approx(float(absolute_error(histograms).mean()), abs=1e-4)
    assert scores.val_max_f == pytest.approx(max_f(histograms), abs=1e-3)
    assert scores.val_accuracy == pytest.approx(np.concatenate(correct).mean(), abs=1e-3)


def test_preview_image_is_not_blank(shards, tmp_path):
    for layout, crop in (("tgs", None), ("drive", [32, 40])):
        path = tmp_path / f"{layout}.png"
        recipe = AugmentedRecipe.model_validate({"dataset": "d", "seed": 0, "crop": crop, "augment": AUGMENT})
        preview(recipe, experiment="e", train_shards=[shards / f"{layout}-train.h5"], output=path)
        assert cv2.imread(str(path)).std() > 20


def test_preview_refuses_a_crop_larger_than_the_samples(shards, tmp_path):
    recipe = AugmentedRecipe.model_validate({"dataset": "d", "seed": 0, "crop": [64, 32], "augment": AUGMENT})
    with pytest.raises(TrainingError, match="height 64 and width 32; samples have height 48"):
        preview(recipe, experiment="e", train_shards=[shards / "tgs-train.h5"], output=tmp_path / "x.png")


def test_nan_loss_stops_the_training(shards, tmp_path):
    with pytest.raises(TrainingError, match="lower the learning rate"):
        run(shards, tmp_path / "m", loss="mse", optimizer={"name": "sgd", "lr": 1e12}, epochs=5)
    assert not (tmp_path / "m").exists()


def test_epoch_with_nan_validation_is_never_the_best():
    nan, good = {"val_loss": math.nan, "val_dice": 0.0}, {"val_loss": 0.1, "val_dice": 0.9}
    for monitor in ("val_loss", "val_dice"):
        assert not is_best(nan | {monitor: math.nan}, good, monitor)
        assert is_best(nan | {monitor: math.nan}, nan | {monitor: math.nan}, monitor)
        assert is_best(good, nan | {monitor: math.nan}, monitor)


def test_validated_epoch_beats_epochs_without_validation(shards, tmp_path):
    history = run(shards, tmp_path / "m", epochs=7, validate_every=2, checkpoint_every=3)
    assert history["epoch"][history["val_loss"].notna()].tolist() == [1, 2, 4, 6, 7]
    allowed = history[history["epoch"].isin([6, 7])]  # epoch 3 is not validated
    assert load_checkpoint(tmp_path / "m/best.pt").epoch == allowed.loc[allowed["val_loss"].idxmin(), "epoch"]


def test_nan_monitor_stops_the_training(shards, tmp_path):
    with edited(shutil.copy(shards / "tgs-validation.h5", tmp_path / "empty.h5")) as file:
        file["masks"][:] = 0
    samples = [shards / "tgs-train.h5"], [tmp_path / "empty.h5"]
    with pytest.raises(TrainingError, match=r"val_max_f nan[\s\S]*a non-empty mask"):
        train_on(*samples, tmp_path / "m", monitor="val_max_f")
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("monitor", ["val_mae", "val_max_f"])
def test_two_class_monitor_is_refused_for_more_classes(shards, tmp_path, monitor):
    path = write_classes(shutil.copy(shards / "tgs-train.h5", tmp_path / "t.h5"))
    with pytest.raises(TrainingError, match="val_loss or val_dice"):
        train_on([path], [path], tmp_path / "m", loss="cross-entropy", monitor=monitor)


def test_validation_shards_with_other_preparation_are_refused(shards, tmp_path):
    samples = source("tgs", make_tgs(tmp_path / "raw"), validation={"fraction": 0.3})
    other = build(tmp_path / "v.h5", "validation", samples, channels="grey", normalize="minmax")
    with pytest.raises(TrainingError, match=r"channels\n[\s\S]*normalization\n") as caught:
        train_on([shards / "tgs-train.h5"], [other], tmp_path / "m")
    assert len(caught.value.problems) == 2


def test_unsupported_batch_shape_is_reported(shards, tmp_path):
    with pytest.raises(TrainingError, match="a smaller `depth`"):
        run(shards, tmp_path / "m", model={"name": "unet", "width": 2, "depth": 7}, batch_size=1)


def test_cross_entropy_from_training_to_prediction(shards, tmp_path):
    history = run(shards, tmp_path / "m", loss="cross-entropy", epochs=6)
    assert history["val_dice"].max() > 0.7
    predict_shard(tmp_path / "m/best.pt", shards / "tgs-unlabelled.h5", tmp_path / "p")
    levels = read_levels(tmp_path / "p/tile013.png", 101, 101)
    assert levels.max() > 150
    assert levels.min() < 100


def test_bf16_is_refused_where_it_would_be_emulated(shards, tmp_path, monkeypatch):
    monkeypatch.setattr(devices, "bf16_is_native", lambda device: False)
    with pytest.raises(TrainingError, match="precision: fp32"):
        run(shards, tmp_path / "m", precision="bf16")


@pytest.mark.skipif(not devices.bf16_is_native(torch.device("cpu")), reason="this CPU has no bfloat16 of its own")
def test_bf16_trains_close_to_fp32(shards, tmp_path):
    losses = [run(shards, tmp_path / p, precision=p, epochs=4)["train_loss"].iloc[-1] for p in ("fp32", "bf16")]
    assert losses[1] == pytest.approx(losses[0], rel=0.1)


def test_unwritable_output_is_reported(shards, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="file has the name of a required folder"):
        run(shards, tmp_path / "file" / "m", epochs=1)


def test_constant_and_cosine_rate_factors():
    assert {lr_factor("constant", 10, 0)(step) for step in range(10)} == {1.0}
    cosine = [lr_factor("cosine", 100, 0)(step) for step in range(101)]
    assert cosine[0] == 1.0
    assert cosine[50] == pytest.approx(0.5)
    assert cosine[100] == pytest.approx(0.0, abs=1e-12)
    warm = [lr_factor("cosine", 100, 10)(step) for step in range(101)]
    assert np.diff(warm[:11]).min() > 0
    assert warm[10] == 1.0
    assert np.diff(warm[10:]).max() < 0
    assert sum(warm[:10]) / 10 == pytest.approx(0.5)


class Trap:
    """Runs code when unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("code from a checkpoint was run",))


@pytest.mark.parametrize("kind", ["code", "text", "cut off", "other", "missing"])
def test_invalid_checkpoints_are_refused(tmp_path, kind):
    path = tmp_path / "x.pt"
    if kind == "code":
        buffer = io.BytesIO()
        torch.save({"state": Trap()}, buffer)
        path.write_bytes(buffer.getvalue())
    elif kind == "text":
        path.write_bytes(b"not a checkpoint")
    elif kind == "cut off":
        torch.save({"format": FORMAT, "state": {"a": torch.zeros(100)}}, path)
        path.write_bytes(path.read_bytes()[:200])
    elif kind == "other":
        torch.save({"state": {}}, path)
    with pytest.raises(CheckpointError, match=r"x\.pt"):
        load_checkpoint(path)
