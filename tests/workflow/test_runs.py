import h5py
import pandas as pd
import pytest
import yaml
from projects import CONFIG, Project
from rawfiles import add_drive, blobs, make_tgs, write_tif
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def test_results_listed_in_the_readme_exist(finished):
    files = finished.files()
    for name in ("best.pt", "last.pt", "history.csv", "curves.png", "timing.csv"):
        assert f"results/models/a/{name}" in files
    for kind in ("probability", "mask", "overlay", "panel"):
        for name in ("01", "02", "03"):
            assert f"results/predictions/a/test/{kind}/{name}.png" in files
        for name in ("tile012", "tile013"):
            assert f"results/predictions/b-2/unlabelled/{kind}/{name}.png" in files
    scored = {"a", "b-2", "d.second-observer"}
    scored |= {f"{dataset}.{kind}" for dataset in "dt" for kind in ("all-background", "resolution-ceiling")}
    for name in scored:
        for table in ("summary", "per_image", "intervals", "curve"):
            assert f"results/metrics/{name}/{table}.csv" in files
    assert {"results/splits/d.csv", "results/splits/t.csv", "results/shards/t/unlabelled-0.h5"} <= files
    board = pd.read_csv(finished.folder / "results/leaderboard.csv")
    assert set(board["experiment"]) == scored
    page = (finished.folder / "results/report.html").read_text()
    assert all(f'data-v="{name}"' in page for name in scored)
    assert "train --experiment a" in page  # the command in the provenance of its network
    test = board[(board["split"] == "test") & (board["averaging"] == "macro")].set_index(["experiment", "region"])
    assert (test.loc[["d.all-background"], ["f1", "recall"]] == 0).all(axis=None)
    assert test.loc["d.all-background", "specificity"].tolist() == [1, 1]
    assert 0.6 < test.loc[("d.resolution-ceiling", "fov"), "f1"] < 0.999
    assert (test["f1_low"] <= test["f1_high"]).all()
    pairs = pd.read_csv(finished.folder / "results/comparisons.csv").query("region == 'full' and metric == 'f1'")
    of_d = pairs[pairs["dataset"] == "d"]
    assert {*of_d["a"], *of_d["b"]} == {name for name in scored if name[0] in "ad"}
    assert (len(of_d), set(of_d["comparisons"])) == (3, {3})  # not of one baseline with another
    assert set(board["split"]) == {"test", "validation"}
    scored = pd.read_csv(finished.folder / "results/metrics/b-2/per_image.csv")
    assert set(scored["split"]) == {"test", "validation"}
    assert "tile012" not in set(scored["id"])
    assert not [name for name in files if "partial" in name]


def test_second_run_does_nothing(project):
    assert project.planned() == {}


@pytest.mark.parametrize(
    ("old", "new", "runs"),
    [
        ("# two data sets", "#   other words", set()),
        ("{fraction: 0.34}", "{seed: 0, fraction: 0.340}", set()),
        ("optimizer: {name: adam, lr: 0.02}", "optimizer: {lr: 2e-2, name: adam}", set()),
        (
            "threads: 1, threshold: 0.5",
            "threads: 1, threshold: 0.4",
            {"threshold", "render", "submission", "evaluate", "comparisons", "leaderboard", "report"},
        ),
        (
            "threads: 1, threshold: 0.5",
            "threads: 1, threshold: 0.5, empty_masks: skip",
            {"evaluate", "comparisons", "leaderboard", "report"},
        ),
        (
            "lr: 0.02",
            "lr: 0.01",
            {"train", "curves", "predict", "threshold", "render", "evaluate", "comparisons", "leaderboard", "report"},
        ),
    ],
)
def test_configuration_changes_rerun_the_expected_rules(project, old, new, runs):
    project.edit(old, new)
    planned = project.planned()
    assert set(planned) == runs
    assert planned.get("train", 0) <= 1  # never the other experiment


def test_validation_fraction_does_not_affect_test_shards(project):
    project.edit("{fraction: 0.34}", "{fraction: 0.6}")
    planned = project.planned()
    shards = {p.name for p in (project.folder / "results/shards/d").iterdir()}
    assert planned["train"] == 1
    assert planned["shard"] <= len([name for name in shards if not name.startswith("test")]) + 2
    project.snakemake("--dry-run", "results/shards/d/" + next(n for n in sorted(shards) if n.startswith("test")))
    assert "Nothing to be done" in project.output


def test_touched_raw_file_runs_nothing(project):
    for path in (project.folder / "raw").rglob("*.*"):
        path.touch()
    assert project.planned() == {}


def test_changed_image_rebuilds_one_shard(project):
    write_tif(project.folder / "raw/DRIVE/training/images/23_training.tif", blobs(99)[1], photometric="rgb")
    planned = project.planned()
    assert planned["shard"] == 1
    assert planned["train"] == 1


def test_added_image_rebuilds_at_most_two_shards(project):
    add_drive(project.folder / "raw/DRIVE", "training", 40)
    planned = project.planned()
    assert 1 <= planned["shard"] <= 3  # its own, and both shards of a sample that moves from train to validation
    assert planned["train"] == 1
    before = {p.name for p in (project.folder / "results/shards/d").iterdir()}
    project.snakemake("shards_a")
    assert before <= {p.name for p in (project.folder / "results/shards/d").iterdir()}


def test_changed_table_row_rebuilds_only_the_shard_of_its_sample(project):
    project.edit("{layout: tgs, root: raw/TGS,", "{layout: tgs, root: raw/TGS, masks: csv, shards: 4,")
    project.snakemake("shards")
    built = len(list((project.folder / "results/shards/t").iterdir()))
    assert built > 4
    for table, old, new in (("depths.csv", "tile003,103", "tile003,999"), ("train.csv", "tile002,", "tile002,1 1 ")):
        path = project.folder / "raw/TGS" / table
        text = path.read_text()
        rows = [f"{new}" if row.startswith(old) else row for row in text.splitlines()]
        path.write_text("\n".join(rows) + "\n")
        assert project.planned("shards")["shard"] == 1, table
        path.write_text(text)
        assert "shard" not in project.planned("shards")


def test_added_experiment_runs_only_its_own_jobs(project):
    data = yaml.safe_load(project.config.read_text())
    data["experiments"]["c"] = {**data["experiments"]["a"], "seed": 5}
    project.config.write_text(yaml.safe_dump(data))
    planned = project.planned()
    assert planned["train"] == 1
    assert "shard" not in planned
    assert planned["evaluate"] == 1


def test_targets_of_all_and_of_one_experiment(fresh):
    assert set(fresh.planned("shards")) == {"shards", "shard", "splits"}
    assert "train" not in fresh.planned("shards_a")
    assert fresh.planned("models")["train"] == 2
    assert fresh.planned("models_b-2")["train"] == 1
    assert "evaluate" not in fresh.planned("predictions")
    assert fresh.planned("predictions_a")["predict"] == 2
    assert fresh.planned("metrics_b-2")["evaluate"] == 1
    assert fresh.planned("report")["report"] == 1
    assert fresh.planned("report_a")["evaluate"] == 1


def test_layered_configuration_files(fresh):
    over = fresh.folder / "over.yaml"
    over.write_text("experiments: {a: null, b-2: {epochs: 3}}")
    assert fresh.planned("models", "--configfile", str(over))["train"] == 1
    alone = fresh.folder / "alone.yaml"
    alone.write_text("datasets: {t: {layout: tgs, root: raw/TGS, size: [32, 32]}}\nexperiments: {}")
    planned = fresh.planned("--configfile", str(alone), "--replace-workflow-config")
    baselines = {"baseline", "threshold", "evaluate", "inspect"}
    assert set(planned) == {"shard", "splits", "comparisons", "leaderboard", "report", *baselines}
    assert fresh.planned("models", "--config", 'experiments={"a": {"epochs": 5}}')["train"] == 2


def test_without_experiments_shards_and_baselines_are_made(fresh):
    fresh.config.write_text("datasets: {t: {layout: tgs, root: raw/TGS, size: [32, 32]}}\nexperiments: {}")
    fresh.snakemake()
    board = pd.read_csv(fresh.folder / "results/leaderboard.csv")
    assert set(board["experiment"]) == {"t.all-background", "t.resolution-ceiling"}


def test_ids_with_spaces_quotes_and_umlauts_work(tmp_path):
    folder = tmp_path / "a folder (1)"
    tgs = make_tgs(folder / "raw" / "TGS")
    names = {"tile001": "été 1 (2)", "tile012": 'x\'y "z" $HOME;&'}
    for old, new in names.items():
        for path in list(tgs.rglob(f"{old}.png")):
            path.rename(path.with_name(f"{new}.png"))
    project = Project(folder)
    data = yaml.safe_load(CONFIG)
    project.config.write_text(
        yaml.safe_dump({"datasets": {"t": data["datasets"]["t"]}, "experiments": {"b": data["experiments"]["b-2"]}})
    )
    project.snakemake()
    table = pd.read_csv(folder / "results/splits/t.csv").set_index("id")
    for name in names.values():
        split = table.loc[name, "split"]
        if split != "train":
            assert f"results/predictions/b/{split}/overlay/{name}.png" in project.files()


def test_snakemake_report_contains_and_captions_every_figure(project):
    shown = project.reported()
    for kind, category, count in (
        ("check/*.html", "Raw data", 2),
        ("check/*.png", "Raw data", 2),
        ("models/*/augmented.png", "Training", 2),
        ("models/*/curves.png", "Training", 2),
        ("predictions/*/*/sheet.png", "Predictions", 6),
        ("metrics/*/summary.csv", "Scores", 7),
        ("comparisons.csv", "Scores", 1),
        ("leaderboard.csv", "Scores", 1),
    ):
        found = {str(path.relative_to(project.folder)) for path in (project.folder / "results").glob(kind)}
        assert len(found) == count, (kind, found)
        assert {shown[name]["category"] for name in found} == {category}
        for name in found:
            shown.pop(name)
    assert not shown


def test_tensorboard_target_writes_events_once(project):
    assert "events" not in project.planned("--forceall")
    project.snakemake("tensorboard_a")
    names = {str(path.relative_to(project.folder)) for path in (project.folder / "results/tensorboard").rglob("*.*")}
    events = "results/tensorboard/a/events.out.tfevents.0.history"
    assert names == {events, f"{events.replace('tfevents', 'events')}.manifest.json"}
    assert project.planned("tensorboard") == {"events": 1, "tensorboard": 1}
    log = EventAccumulator(str(project.folder / "results/tensorboard/a"))
    log.Reload()
    history = pd.read_csv(project.folder / "results/models/a/history.csv")
    assert [event.step for event in log.Scalars("loss/train")] == history["epoch"].tolist() == [1, 2]


def test_edited_sample_list_rebuilds_only_affected_shards(project):
    entries = project.folder / "raw/DRIVE/validation.txt"
    entries.write_text("21_training.tif\n22_training.tif\n")
    project.edit("{fraction: 0.34}", "{rule: list, file: validation.txt}")
    project.snakemake("shards")
    entries.write_text("# the same two\n22\n21\n")
    assert project.planned("shards") == {}
    entries.write_text("21\n23\n")  # 22 goes to train, 23 comes from there
    planned = project.planned("shards", "--workflow-profile", "none")
    assert planned["splits"] == 1
    assert 2 <= planned["shard"] <= 4  # never those of the test split
    outputs = [line for line in project.output.splitlines() if "output: results/shards" in line]
    assert len(outputs) == planned["shard"]
    assert not [line for line in outputs if "test-" in line]
    project.snakemake("shards")
    table = pd.read_csv(project.folder / "results/splits/d.csv", dtype=str).set_index("id")
    assert table.loc[["21", "22", "23"], "split"].tolist() == ["validation", "train", "validation"]
    for number, row in table.iterrows():
        with h5py.File(project.folder / f"results/shards/d/{row['split']}-{row['shard']}.h5") as file:
            assert number in file["ids"].asstr()[:]
    assert project.planned("shards") == {}
