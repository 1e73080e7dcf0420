"""Which results `clean` removes and which it keeps."""

import os

import pytest
import yaml

from pipeline.cli import main as cli
from pipeline.cli import tools
from pipeline.config.config import parse
from pipeline.core import files as written
from pipeline.core.errors import OutputError
from pipeline.core.files import atomic_file, atomic_folder, partial_name
from pipeline.core.manifest import Manifest
from pipeline.graph import clean
from pipeline.graph.artifacts import Checkpoint
from pipeline.graph.base import stored_identities
from pipeline.graph.study import Study

EXPERIMENT = {"model": "unet", "loss": "bce", "optimizer": {"name": "adam", "lr": 0.02}, "batch_size": 2, "epochs": 1}
# no validation samples; of 40 shards most are empty
DATASET = {"layout": "drive", "size": [48, 48], "shards": 40, "validation": {"fraction": 0}}

NEEDED = [
    "shards/d/train-8.h5",
    "shards/d/train-8.h5.manifest.json",
    "shards/d/train-8.manifest.json",  # of no result
    "shards/d/train-12.h5",
    "shards/d/test-5.h5",
    "shards/d/notes.txt",
    "splits/d.csv",
    "cache/foreground-d.json",
    "cache/digests-d.json",
    "store/notes.txt",
    "store/notes/mine.txt",
    "check/d.json",
    "models/e/best.pt",
    "models/e/best.pt.manifest.json",
    "models/a-seed1/best.pt",
    "models/notes.txt",
    "predictions/e/test/mask/01.png",
    "predictions/e/test/probability.manifest.json",
    "predictions/e/threshold.json",
    "predictions/e/threshold.json.manifest.json",
    "predictions/d.second-observer/test/probability/01.png",
    "metrics/a/summary.csv",
    "metrics/a/summary.csv.manifest.json",
    "metrics/e/summary.csv",
    "state/e/abc/current.pt",
    "logs/train/e.log",
    "logs/predict/e/test.log",
    "logs/average/a.log",
    "logs/report.log",
    "leaderboard.csv",
    "leaderboard.csv.manifest.json",
    "my-notes/old/of-mine.txt",
]

EARLIER = f"store/{'0' * 32}"

UNNEEDED = {
    "shards/d/train-1.h5": ["shards/d/train-1.h5"],
    "shards/d/train-1.h5.manifest.json": ["shards/d/train-1.h5.manifest.json"],
    "shards/d/validation-0.h5": ["shards/d/validation-0.h5"],
    "shards/gone": ["shards/gone/train-0.h5", "shards/gone/test-0.h5"],
    "splits/gone.csv": ["splits/gone.csv"],
    "cache/foreground-gone.json": ["cache/foreground-gone.json"],
    "cache/digests-gone.json": ["cache/digests-gone.json"],
    EARLIER: [f"{EARLIER}/best.pt", f"{EARLIER}/best.pt.manifest.json"],
    "check/gone.html": ["check/gone.html"],
    "models/a": ["models/a/best.pt"],
    "models/old": ["models/old/best.pt", "models/old/deep/er.txt"],
    "models/gone.second-observer": ["models/gone.second-observer/best.pt"],
    "predictions/old": ["predictions/old/test/mask/01.png"],
    "predictions/e/validation": ["predictions/e/validation/mask/01.png"],
    "metrics/old": ["metrics/old/summary.csv"],
    "state/old": ["state/old/abc/current.pt"],
    "logs/train/old.log": ["logs/train/old.log"],
    "logs/predict/old": ["logs/predict/old/test.log"],
    "benchmarks/evaluate/old.tsv": ["benchmarks/evaluate/old.tsv"],
    "predictions/e/test/.0123456789ab.partial-mask": ["predictions/e/test/.0123456789ab.partial-mask/01.png"],
    "models/e/.0123456789ab.partial-best.pt": ["models/e/.0123456789ab.partial-best.pt"],
}


@pytest.fixture
def results(tmp_path, drive, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in [*NEEDED, *(name for names in UNNEEDED.values() for name in names)]:
        path = tmp_path / "results" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"1234567")
    os.utime(tmp_path / "results/models/e/best.pt", (1, 1))
    return tmp_path / "results"


def study_of(results, root="DRIVE", **changes):
    experiment = {**EXPERIMENT, "dataset": "d", "threshold": 0.5, **changes}
    data = {
        "datasets": {"d": {**DATASET, "root": str(results.resolve().parent / root)}},
        "experiments": {"e": experiment, "a": {**experiment, "seeds": [1]}},
    }
    return Study(parse(data))


def surveyed(results, root="DRIVE", **changes):
    return clean.find_unneeded(study_of(results, root, **changes), results)


def files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_clean_lists_and_removes_exactly_the_unneeded_results(results):
    before = files(results)
    found = surveyed(results)
    assert {str(one.path.relative_to(results)): one.bytes for one in found.unneeded} == {
        name: 7 * len(contents) for name, contents in UNNEEDED.items()
    }
    assert found.skipped == []
    assert files(results) == before
    clean.remove(results, found.unneeded)
    assert files(results) == set(NEEDED)
    assert surveyed(results).unneeded == []


def test_results_of_an_unlistable_data_set_are_kept(results):
    gone = {str(one.path.relative_to(results)) for one in surveyed(results, "unplugged").unneeded}
    assert set(UNNEEDED) - gone == {
        *("shards/d/train-1.h5", "shards/d/train-1.h5.manifest.json", "shards/d/validation-0.h5"),
        *("predictions/e/validation", EARLIER),
    }


def test_current_store_entries_are_kept(results):
    today = results / "store" / min(stored_identities(Checkpoint("e"), study_of(results)))
    (results / EARLIER).rename(today)
    assert surveyed(results, epochs=1).unneeded
    assert today not in [one.path for one in surveyed(results, epochs=1).unneeded]
    (earlier,) = [one for one in surveyed(results, epochs=2).unneeded if one.path == today]
    assert earlier.reason == "kept from earlier settings, code or raw files"


def test_state_older_than_the_checkpoint_is_unneeded(results):
    def states():
        return [one.path for one in surveyed(results).unneeded if one.path.is_relative_to(results / "state/e")]

    def written(path, second):
        os.utime(path, (second, second))

    (results / "state/e/newer").mkdir()
    for path in (results / "state/e").rglob("*"):
        written(path, 100)
    written(results / "models/e/best.pt", 50)
    assert states() == []
    written(results / "models/e/best.pt", 150)
    assert states() == [results / "state/e/abc", results / "state/e/newer"]
    written(results / "state/e/newer", 200)
    assert states() == [results / "state/e/abc"]
    (results / "models/e/best.pt").unlink()  # training runs or failed: the state may still be needed
    assert states() == []


def test_links_are_never_followed(results, tmp_path):
    outside = tmp_path / "precious"
    outside.mkdir()
    for name in ("train-0.h5", "raw.tif"):
        (outside / name).write_text("precious")
    (results / "models/linked").symlink_to(outside)  # an unconfigured experiment that is a link to the outside
    (results / "shards/d/train-7.h5").symlink_to(outside / "train-0.h5")  # like links of Snakemake's cache
    (results / "models/old/inside").symlink_to(outside)
    (results / "models/e/.0123456789ab.partial-x").symlink_to(outside)
    (results / "benchmarks/predict").symlink_to(tmp_path)
    (results / "metrics").rename(results / "elsewhere")
    (results / "metrics").symlink_to(outside)
    found = surveyed(results)
    assert {str(path.relative_to(results)) for path, _ in found.skipped} == {
        "models/linked", "models/e/.0123456789ab.partial-x", "benchmarks/predict", "metrics",
    }  # fmt: skip
    assert all(str(outside) in reason or str(tmp_path) in reason for _, reason in found.skipped)
    clean.remove(results, found.unneeded)
    assert files(outside) == {"train-0.h5", "raw.tif"}
    assert not (results / "shards/d/train-7.h5").is_symlink()
    assert (results / "models/linked").is_symlink()
    assert not (results / "models/old").exists()


def test_folder_replaced_by_a_link_is_not_entered(results, tmp_path):
    found = surveyed(results)
    (results / "models").rename(tmp_path / "precious")
    (results / "models").symlink_to(tmp_path / "precious")
    before = files(tmp_path / "precious")
    with pytest.raises(OutputError) as caught:
        clean.remove(results, found.unneeded)
    assert len(caught.value.problems) == sum(name.startswith("models/") for name in UNNEEDED)
    assert files(tmp_path / "precious") == before
    assert not (results / "metrics/old").exists()  # all others are removed


def test_results_may_be_a_link_to_another_disk(results, tmp_path):
    (tmp_path / "project").mkdir()
    (tmp_path / "project/results").symlink_to(results)
    there = tmp_path / "project/results"
    clean.remove(there, surveyed(there).unneeded)
    assert files(results) == set(NEEDED)


def test_interrupted_removal_is_completed_by_the_next_one(results, monkeypatch):
    def killed(path):
        raise KeyboardInterrupt

    found = surveyed(results)
    monkeypatch.setattr(clean.shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        clean.remove(results, [one for one in found.unneeded if one.path == results / "metrics/old"])
    monkeypatch.undo()
    assert not (results / "metrics/old").exists()
    remnants = [one for one in surveyed(results).unneeded if one.path.name.endswith(".partial-old")]
    assert [one.path.parent for one in remnants] == [results / "metrics"]
    clean.remove(results, surveyed(results).unneeded)
    assert files(results) == set(NEEDED)


def test_files_being_written_are_not_leftovers(results, monkeypatch):
    def unneeded():
        found = {one.path.name: one.reason for one in surveyed(results).unneeded}
        return {name.split(".partial-")[1]: reason for name, reason in found.items() if "partial" in name}

    known = unneeded()
    with atomic_folder(results / "metrics/e") as folder, atomic_file(results / "models/e/new.pt") as file:
        file.write_text("new")
        assert unneeded() == known
        (folder / "a.csv").write_text("new")
    monkeypatch.setattr(written.socket, "gethostname", lambda: "another")
    (results / "models/e" / partial_name("theirs")).write_text("half")
    monkeypatch.undo()
    assert unneeded() == {**known, "theirs": "left by a job that was killed or runs on another machine"}


def test_file_renamed_during_the_survey_is_no_leftover(results, monkeypatch):
    path = results / "models/e" / partial_name("new.pt")
    path.write_text("new")

    def ended(one):
        if one == path:
            path.rename(path.with_name("new.pt"))
        return False

    monkeypatch.setattr(clean, "is_being_written", ended)
    assert path not in [one.path for one in surveyed(results).unneeded]
    assert (results / "models/e/new.pt").read_text() == "new"


@pytest.fixture
def project(tmp_path, drive, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = {
        "datasets": {
            "d": {"layout": "drive", "root": "DRIVE", "size": [48, 48]},
            "lost": {"layout": "tgs", "root": "unplugged", "size": [48, 48]},
        },
        "experiments": {"e": {**EXPERIMENT, "dataset": "d", "seeds": [1]}},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(data))
    for name in ("models/e-seed1", "models/e-seed2", "metrics/e", "shards/lost", "predictions/e-seed1/unlabelled"):
        folder = tmp_path / "results" / name
        folder.mkdir(parents=True)
        (folder / "train-9.h5").write_text("x" * 2000)
    return tmp_path


def test_clean_command_lists_first_and_removes_only_with_yes(project, capsys, monkeypatch):
    assert cli.main(["clean"]) == 0
    output = capsys.readouterr()
    assert "2.0 kB  results/models/e-seed2  (no experiment 'e-seed2')" in output.out
    assert "results/predictions/e-seed1/unlabelled  (d has no unlabelled samples)" in output.out
    assert "4.0 kB  in 2 places" in output.out
    assert "To remove all of this, add --yes" in output.out
    assert "lost: its shards and predictions are kept" in output.err
    assert (project / "results/models/e-seed2").exists()

    monkeypatch.setattr(tools.sys.stdin, "isatty", lambda: True, raising=False)
    for answer, gone in (("y", False), ("yes", True)):
        monkeypatch.setattr("builtins.input", lambda _, answer=answer: answer)
        assert cli.main(["clean"]) == 0
        assert (project / "results/models/e-seed2").exists() != gone
    assert "Removed 4.0 kB" in capsys.readouterr().out
    assert files(project / "results") == {f"{x}/train-9.h5" for x in ("models/e-seed1", "metrics/e", "shards/lost")}
    assert cli.main(["clean", "--yes"]) == 0
    assert "holds nothing that is not needed" in capsys.readouterr().out


def test_unlistable_data_set_is_reported_once(project, capsys):
    (project / "results" / EARLIER).mkdir(parents=True)
    assert cli.main(["clean"]) == 0
    assert capsys.readouterr().err.count("lost: its shards and predictions are kept") == 1


def test_nothing_is_removed_while_snakemake_holds_its_lock(project, capsys):
    (project / ".snakemake/locks").mkdir(parents=True)
    (project / ".snakemake/locks/0.input.lock").write_text("")
    before = files(project / "results")
    assert cli.main(["clean"]) == 0
    assert cli.main(["clean", "--yes"]) == 1
    assert "snakemake --unlock" in capsys.readouterr().err
    assert files(project / "results") == before


@pytest.fixture
def made(tmp_path, drive, monkeypatch):
    """A project with some results, made by commands."""
    monkeypatch.chdir(tmp_path)
    data = {
        "datasets": {"d": {"layout": "drive", "root": "DRIVE", "size": [48, 48]}},
        "experiments": {"e": {**EXPERIMENT, "dataset": "d", "threshold": 0.5}},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(data))
    for line in (
        "splits --dataset d",
        "shard --dataset d --split test --number 0",
        "baseline --dataset d --kind second-observer --split test",
        "threshold --experiment d.second-observer",
        "evaluate --experiment d.second-observer",
    ):
        assert cli.main(line.split()) == 0
    return tmp_path


def test_current_results_are_not_outdated(made, capsys):
    before = files(made / "results")
    assert cli.main(["clean", "--outdated", "--yes"]) == 0
    assert "results/ holds nothing that is outdated" in capsys.readouterr().out
    assert files(made / "results") - {"cache/digests-d.json"} == before - {"cache/digests-d.json"}


def outdated_after(made, capsys):
    """Return the results that the command removes with their manifests, and the reason of each."""
    before = files(made / "results")
    assert cli.main(["clean", "--outdated"]) == 0
    assert "Nothing was removed." in capsys.readouterr().out
    assert files(made / "results") == before
    assert cli.main(["clean", "--outdated", "--yes"]) == 0
    output = capsys.readouterr().out
    lines = [line.split("  (") for line in output.splitlines() if "  (" in line]
    reasons = {place.rsplit("results/", 1)[1]: reason.removesuffix(")") for place, reason in lines}
    gone = before - files(made / "results")
    assert gone
    assert all(any(f"{name}/".startswith(f"{place}/") for place in reasons) for name in gone)
    assert not any((made / "results" / place).exists() for place in reasons)
    assert cli.main(["clean", "--outdated"]) == 0
    assert "holds nothing that is outdated" in capsys.readouterr().out
    return {place: reason for place, reason in reasons.items() if not place.endswith(".manifest.json")}


def test_edited_table_is_outdated(made, capsys):
    path = made / "results/metrics/d.second-observer/summary.csv"
    path.write_text(path.read_text().replace("0.", "0.9", 1))
    folder = "metrics/d.second-observer"
    tables = {f"{folder}/{name}.csv" for name in ("per_image", "summary", "intervals", "curve")}
    found = outdated_after(made, capsys)
    assert found == dict.fromkeys(tables, f"a file of the same job was edited afterwards: results/{folder}/summary.csv")


def test_result_of_other_settings_is_outdated(made, capsys):
    (made / "config.yaml").write_text((made / "config.yaml").read_text().replace("- 48", "- 64"))
    assert outdated_after(made, capsys) == {"shards/d/test-0.h5": "size is [48, 48], expected [64, 64]"}


def test_result_of_other_raw_files_is_outdated(made, capsys):
    observer = made / "DRIVE/test/2nd_manual/01_manual2.gif"
    times = observer.stat().st_atime_ns, observer.stat().st_mtime_ns
    observer.write_bytes((made / "DRIVE/test/2nd_manual/02_manual2.gif").read_bytes())
    os.utime(observer, ns=times)
    found = outdated_after(made, capsys)
    assert found["predictions/d.second-observer/test/probability"] == "raw files changed"
    assert "made from different" in found["metrics/d.second-observer/summary.csv"]
    assert not [place for place in found if place.startswith(("shards", "splits"))]


@pytest.mark.parametrize("damage", ["gone", "{", "edited"])
def test_result_without_a_valid_manifest_is_outdated(made, capsys, damage):
    path = made / "results/predictions/d.second-observer/threshold.json.manifest.json"
    if damage == "gone":
        path.unlink()
    else:
        path.write_text("{" if damage == "{" else path.read_text().replace("0.5", "0.6"))
    if damage == "edited":
        with pytest.raises(ValueError, match="edited"):
            Manifest.read(path.with_name("threshold.json"))
    words = "is missing" if damage == "gone" else "is damaged"
    (reason,) = outdated_after(made, capsys).values()
    assert words in reason


def test_results_of_an_unlistable_data_set_are_not_outdated(made, capsys):
    (made / "DRIVE").rename(made / "unplugged")
    before = files(made / "results")
    assert cli.main(["clean", "--outdated", "--yes"]) == 1
    assert "DRIVE" in capsys.readouterr().err
    assert files(made / "results") == before


def test_invalid_configuration_removes_nothing(project, capsys):
    before = files(project / "results")
    (project / "config.yaml").write_text("datasets: {d: {layout: drvie}}")
    assert cli.main(["clean", "--yes"]) == 2
    assert files(project / "results") == before
