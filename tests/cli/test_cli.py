import errno
import importlib
import inspect
import json
import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from rawfiles import write_tif

from pipeline.cli import main as cli
from pipeline.config.config import load
from pipeline.core.manifest import Manifest, find
from pipeline.graph.artifacts import KINDS, Report, Shard
from pipeline.graph.base import plan_of
from pipeline.graph.plan import NoRecipe
from pipeline.graph.study import Study
from pipeline.tools.provenance import read_provenance
from pipeline.training.checkpoint import load_checkpoint


@pytest.fixture
def project(tmp_path, drive, monkeypatch):
    """A folder with raw files and a configuration, in which the command line is used."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(
        "datasets: {d: {layout: drive, root: DRIVE, size: [48, 48], validation: {fraction: 0.34}}}\n"
        "experiments:\n"
        "  e: {dataset: d, model: {name: unet, width: 4, depth: 2}, loss: bce, optimizer: {name: adam, lr: 0.02},\n"
        "      batch_size: 2, epochs: 1, threads: 1}\n"
    )
    return tmp_path


def test_a_full_standard_output_is_one_message():
    with Path("/dev/full").open("w") as full:
        words = [sys.executable, "-m", "pipeline", "models"]
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert "standard output" in done.stderr
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_a_log_on_a_full_disk_gives_its_reason_as_exit_status():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-m", "pipeline", "check", "--config", "missing.yaml"], stderr=full)
    assert done.returncode == errno.ENOSPC


BASELINE = "baseline --dataset d --kind all-background --split test --output"


def test_a_folder_of_the_user_is_never_replaced(project, capsys):
    (project / "mine/sub").mkdir(parents=True)
    (project / "mine/keep.txt").write_text("precious")
    (project / "link").symlink_to("mine")
    for output in ("mine", "mine/.", "mine/../mine", "link", "DRIVE", str(project / "mine"), "mine/keep.txt"):
        assert cli.main([*BASELINE.split(), output]) == 1, output
        assert "name a" in capsys.readouterr().err
    assert (project / "mine/keep.txt").read_text() == "precious"
    assert (project / "DRIVE/training").is_dir()


def test_an_earlier_result_is_replaced_unless_it_was_changed(project, capsys):
    (project / "new").mkdir()
    for _ in range(2):
        assert cli.main([*BASELINE.split(), "new"]) == 0
    (project / "new/mine.txt").write_text("precious")
    assert cli.main([*BASELINE.split(), "new"]) == 1
    assert "or that were changed" in capsys.readouterr().err
    assert (project / "new/mine.txt").exists()
    for _ in range(2):
        assert cli.main(BASELINE.split()[:-1]) == 0
        (written,) = (project / "results/predictions").rglob("probability.manifest.json")
        written.unlink()  # as by a kill


@pytest.mark.parametrize("output", [".", "/", "", "mine/sub/..", ".."])
def test_outputs_without_a_name_are_refused(project, output, capsys):
    (project / "mine/sub").mkdir(parents=True)
    for command in (BASELINE, "splits --dataset d --output"):
        assert cli.main([*command.split(), output]) == 1
        assert "append a name" in capsys.readouterr().err
    assert (project / "mine/sub").is_dir()


@pytest.mark.parametrize(
    ("command", "found"),
    [
        ("splits --dataset d --output mine", "name a file with --output"),
        ("shard --dataset d --split test --number 0 --output mine", "name a file with --output"),
        ("train --experiment e --output config.yaml", "name a folder with --output"),
        ("check --dataset d --output config.yaml", "name a folder with --output"),
        ("render --experiment e --split test --output mine", "files that the pipeline did not write"),
    ],
)
def test_outputs_of_the_wrong_kind_are_refused_before_work(project, command, found, capsys):
    (project / "mine/mask").mkdir(parents=True)
    (project / "mine/mask/1.png").touch()
    assert cli.main(command.split()) == 1
    assert found in capsys.readouterr().err
    assert (project / "mine/mask/1.png").exists()


@pytest.mark.parametrize(
    "command",
    [
        "splits --dataset d --output {}",
        f"{BASELINE} {{}}",
        "predict --checkpoint best.pt --input DRIVE --output {}",
        "synthetic --output {}",
        "unpack {} out",
        "verify-run DRIVE {}",
    ],
)
def test_paths_in_a_folder_without_permission_are_refused(project, command, capsys, closed_folder):
    assert cli.main(command.format(closed_folder / "x").split()) == 1
    assert "remedy:" in capsys.readouterr().err


def test_commands_run_by_hand_from_raw_files_to_report(project, capsys):
    for line in (
        "splits --dataset d",
        "shard --dataset d --split train --number 0",
        "shard --dataset d --split validation --number 0",
        "shard --dataset d --split test --number 0",
        "train --experiment e",
        "curves --experiment e",
        "tensorboard --experiment e",
        "predict --experiment e --split validation",
        "predict --experiment e --split test",
        "threshold --experiment e",
        "render --experiment e --split test",
        "evaluate --experiment e",
        "baseline --dataset d --kind second-observer --split test",
        "comparisons",
        "leaderboard",
        "report --leaderboard results/leaderboard.csv",  # whatever is in it
    ):
        assert cli.main(line.split()) == 0, line
    for path in (
        "splits/d.csv",
        "models/e/best.pt",
        "models/e/curves.png",
        "tensorboard/e/events.out.tfevents.0.history",
        "predictions/e/threshold.json",
        "predictions/e/test/overlay/01.png",
        "metrics/e/summary.csv",
        "predictions/d.second-observer/test/probability/01.png",
        "metrics/e/intervals.csv",
        "comparisons.csv",
        "leaderboard.csv",
        "report.html",
    ):
        assert (project / "results" / path).is_file(), path
        assert find(project / "results" / path) or find((project / "results" / path).parent), path
    for line in ("threshold --experiment d.second-observer", "evaluate --experiment d.second-observer", "leaderboard"):
        assert cli.main(line.split()) == 0
    assert "d.second-observer" in (project / "results/leaderboard.csv").read_text()
    assert cli.main(["evaluate", "--experiment", "d.second-observer", "--threshold", "0.4"]) == 0
    capsys.readouterr()
    assert cli.main(["leaderboard"]) == 1
    error = capsys.readouterr().err
    assert "results/metrics/d.second-observer/summary.csv\n    found:    a result of other settings" in error
    assert "1 problem" in error
    summaries = [f"results/metrics/{name}/summary.csv" for name in ("e", "d.second-observer")]
    assert cli.main(["leaderboard", "--summaries", *summaries]) == 0, "what is named is taken, whatever made it"


@pytest.mark.parametrize(
    "line",
    [
        "evaluate --experiment e --unlabelled-predictions x",
        "evaluate --experiment e --threshold 1.5",
        f"evaluate --experiment e --threshold {'x' * 300}",
        "shard --dataset d --split test --number 0 --threads 0",
        "shard --dataset d --split tset --number 0",
        "folds --dataset d --folds 0",
        "folds --dataset d --folds 1",
    ],
)
def test_invalid_options_are_refused_by_the_parser(project, line):
    with pytest.raises(SystemExit, match="2"):
        cli.main(line.split())


def test_plan_and_configuration_make_the_same_shard(project, capsys):
    assert cli.main(["shard", "--dataset", "d", "--split", "test", "--number", "0", "--output", "a.h5"]) == 0
    plan = plan_of(Shard("d", "test", 0), Study(load([project / "config.yaml"]))).to_json()
    words = ["shard", "--dataset", "d", "--split", "test", "--number", "0", "--output", "b.h5", "--plan"]
    assert cli.main([*words, plan]) == 0
    assert (project / "a.h5").read_bytes() == (project / "b.h5").read_bytes()
    manifests = [Manifest.read(project / name) for name in ("a.h5", "b.h5")]
    assert manifests[0].identity == manifests[1].identity
    assert cli.main(["shard", "--dataset", "d", "--split", "train", *words[5:], plan]) == 2
    other = json.dumps({**json.loads(plan), "code": "of yesterday"})
    capsys.readouterr()
    assert cli.main([*words, other]) == 2
    assert "a plan for other code or libraries of stage shard" in capsys.readouterr().err


def test_a_reverted_edit_reuses_the_stored_checkpoint(project, capsys, monkeypatch):
    def make(*words):
        config = ["--dataset", "d", "--number", "0"] if words[0] == "shard" else []
        assert cli.main([*words, *config]) == 0
        return capsys.readouterr().err

    def edit(old, new):
        text = (project / "config.yaml").read_text()
        assert old in text
        (project / "config.yaml").write_text(text.replace(old, new))

    for split in ("train", "validation"):
        make("shard", "--split", split)
    assert "epoch 1/1" in make("train", "--experiment", "e")
    best = project / "results/models/e/best.pt"
    first, made = best.read_bytes(), Manifest.read(best)
    shutil.rmtree(best.parent)  # as Snakemake does where it starts the job
    edit("epochs: 1", "epochs: 2")
    assert "epoch 2/2" in make("train", "--experiment", "e")
    assert best.read_bytes() != first
    edit("epochs: 2", "epochs: 1")
    monkeypatch.setattr("pipeline.training.run.train", None)
    assert "restored from results/store/" in make("train", "--experiment", "e")
    assert best.read_bytes() == first
    assert Manifest.read(best) == made
    assert find(best.with_name("history.csv")) == made
    monkeypatch.setattr("pipeline.shards.write.build_shard", None)
    (project / "results/shards/d/train-0.h5").unlink()
    assert "restored from" in make("shard", "--split", "train")


@pytest.mark.parametrize(("asked", "native", "reused"), [("fp32", False, True), ("auto", True, False)])
def test_precision_auto_reuses_what_it_resolves_to(project, capsys, monkeypatch, asked, native, reused):
    """A checkpoint of `auto` is that of the precision that the hardware had: it serves this one, and no other."""

    def train(precision, bf16_is_native):
        shutil.rmtree(project / "results/models", ignore_errors=True)
        monkeypatch.setattr("pipeline.training.device.bf16_is_native", lambda _: bf16_is_native)
        text = re.sub(r", precision: \w+", "", (project / "config.yaml").read_text())
        text = text.replace("epochs: 1", f"epochs: 1, precision: {precision}")
        (project / "config.yaml").write_text(text)
        assert cli.main(["train", "--experiment", "e"]) == 0
        return "restored from" in capsys.readouterr().err

    for split in ("train", "validation"):
        assert cli.main(["shard", "--dataset", "d", "--split", split, "--number", "0"]) == 0
    assert not train("auto", bf16_is_native=False)
    folder = project / "results/models/e"
    made = load_checkpoint(folder / "best.pt")
    assert made.info.settings.precision == "fp32"
    assert read_provenance(folder / "provenance.json")["hardware"]["precision"] == "fp32"
    recorded = Manifest.read(folder / "best.pt")
    assert recorded.fingerprint.settings["precision"] == "auto"
    assert train(asked, native) == reused
    assert Manifest.read(folder / "best.pt").fingerprint.settings["precision"] == asked
    assert load_checkpoint(folder / "best.pt").info.settings.precision == ("fp32" if reused else "bf16")


@pytest.mark.parametrize("changed", ["another file", "the same file, edited"])
def test_named_shards_are_never_served_from_the_store(project, capsys, changed):
    """What is named is taken whatever made it, so the store must not answer for files that it does not know."""
    for split in ("train", "validation", "test"):
        assert cli.main(["shard", "--dataset", "d", "--split", split, "--number", "0"]) == 0
    shards, mine = project / "results/shards/d", project / "mine.h5"
    if changed == "another file":
        shutil.copy(shards / "train-0.h5", mine)
    else:
        mine = shards / "train-0.h5"
    words = ["train", "--experiment", "e", "--train-shards", str(mine)]
    words += ["--validation-shards", str(shards / "validation-0.h5")]
    assert cli.main([*words, "--output", "one"]) == 0
    capsys.readouterr()
    mine.unlink()
    shutil.copy(shards / "test-0.h5", mine)
    assert cli.main([*words, "--output", "two"]) == 0
    assert "epoch 1/1" in capsys.readouterr().err
    assert (project / "one/best.pt").read_bytes() != (project / "two/best.pt").read_bytes()


def test_store_gb_0_keeps_nothing(project):
    line = "shard --dataset d --split test --number 0"
    assert cli.main([*line.split(), "--store-gb", "0"]) == 0
    with (project / "config.yaml").open("a") as file:
        file.write("store_gb: 0\n")
    assert cli.main(line.split()) == 0
    assert not (project / "results/store").exists()
    assert cli.main([*line.split(), "--store-gb", "1"]) == 0
    assert len(list((project / "results/store").iterdir())) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_stage_functions_take_what_their_command_passes(kind):
    module, _, name = kind.stage.function.rpartition(".")
    parameters = inspect.signature(getattr(importlib.import_module(module), name)).parameters
    told = {*kind.fields(), *kind.input_descriptions, "recipe", "output"}
    options = {
        "predictions",
        "threads",
        "raw_digest",
        "state",
        "save_every",
        "memory",
        "images",
        "licence",
    }  # see pipeline/cli
    needed = {name for name, one in parameters.items() if one.default is one.empty}
    assert needed <= told | {"predictions"}
    assert parameters.keys() <= told | options
    assert ("recipe" in parameters) == (kind.stage.recipe is not NoRecipe)
    looked_up = {"checks", "trainings", "images"} if kind is Report else set()  # by the page itself
    parts = kind.input_descriptions.keys() - looked_up
    assert {part for part in parts if not part.endswith("_predictions")} <= parameters.keys()


@pytest.mark.parametrize(
    ("line", "status", "message"),
    [
        ("shard --dataset nope --split test --number 0", 2, "one of d"),
        ("train --experiment nope", 2, "one of e"),
        ("shard --dataset d --split test --number 7", 1, "no samples in shard 7"),
        ("shard --config gone.yaml --dataset d --split test --number 0", 2, "gone.yaml"),
        ("shard --dataset d --split test --number 0 --plan {", 2, "Invalid JSON"),
        ("shard --dataset d --split test --number 0 --plan []", 2, "a JSON object"),
        (
            'shard --dataset d --split test --number 0 --plan {"stage":"shard","result":{},"recipe":{"siez":1}}',
            2,
            "siez: Extra",
        ),
        (
            'curves --experiment e --plan {"stage":"curves","result":{},"recipe":{"note":""}}',
            2,
            "the fields experiment in `result`",
        ),
        ("train --experiment e", 1, "run `snakemake shards`"),
        ("evaluate --experiment e", 2, "python -m pipeline predict"),
        ("threshold --experiment e", 1, "no such file"),
        ("train --experiment d.second-observer", 2, "one of e"),
        ("predict --experiment d.second-observer --split test", 2, "one of e"),
        ("train --experiment e --plan {}", 2, "stage: Field required"),
        ("curves --experiment e", 1, "train the experiment first: `snakemake models`"),
        (
            "shard --dataset d --split test --number 0 --output config.yaml/x.h5",
            1,
            "a file has the name of a required folder",
        ),
    ],
)
def test_mistakes_end_with_one_message_and_a_status(project, capsys, line, status, message):
    assert cli.main(line.split(" ")) == status
    error = capsys.readouterr().err
    assert message in error
    assert "remedy:" in error
    assert "Traceback" not in error
    assert not (project / "results").exists()


def test_leaderboard_skips_methods_without_scored_samples(project, capsys):
    config = (project / "config.yaml").read_text()
    few = "validation: {fraction: 0}, test: {rule: fraction, fraction: 0.01}"
    config = config.replace("{d: {", f"{{n: {{layout: drive, root: DRIVE, size: [48, 48], {few}}}, d: {{")
    lone = "model: unet, loss: bce, optimizer: {name: adam, lr: 0.02}, batch_size: 2, epochs: 1, threshold: 0.5"
    (project / "config.yaml").write_text(f"{config}  z: {{dataset: n, seeds: [1, 2], {lone}}}\n")
    assert cli.main(["leaderboard"]) == 1
    error = capsys.readouterr().err
    assert "results/metrics/e/summary.csv" in error
    assert "metrics/z" not in error


def test_every_command_reports_an_invalid_configuration(project, capsys):
    (project / "config.yaml").write_text("datasets: {d: {layout: drve, root: x}}")
    for line in ("splits --dataset d", "leaderboard", "report"):
        assert cli.main(line.split()) == 2
        assert "did you mean 'drive'" in capsys.readouterr().err


def test_a_bad_raw_file_is_named_and_no_shard_is_left(project, capsys):
    write_tif(project / "DRIVE/test/images/02_test.tif", __import__("numpy").zeros((5, 60, 3), "uint8"))
    assert cli.main(["shard", "--dataset", "d", "--split", "test", "--number", "0"]) == 1
    assert "02_manual1.gif" in capsys.readouterr().err
    assert not list((project / "results").rglob("*.h5"))


def test_synthetic_does_not_replace_files_of_others(project, capsys):
    (project / "mine" / "DRIVE").mkdir(parents=True)
    (project / "mine" / "DRIVE" / "thesis.tif").write_bytes(b"precious")
    (project / "mine" / "TGS").touch()
    assert cli.main(["synthetic", "--output", "mine"]) == 1
    error = capsys.readouterr().err
    assert "not a synthetic data set" in error
    assert "mine/TGS" in error
    assert (project / "mine" / "DRIVE" / "thesis.tif").read_bytes() == b"precious"


@pytest.mark.parametrize(
    ("line", "limit"),
    [
        ("shard --dataset d --split train --number 0 --output out/x.h5", 20_000),
        ("shard --dataset d --split train --number 0 --output out/x.h5", 1_000),
        ("baseline --dataset d --kind second-observer --split test --output out/images", 50),
        ("synthetic --output out", 300_000),
    ],
)
def test_a_full_disk_ends_with_one_message_and_no_files(project, line, limit):
    # a limit on the size of files fails in the same place as a full disk, and needs no rights
    def no_more_than():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    command = [sys.executable, "-m", "pipeline", *line.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=no_more_than)
    assert done.returncode == 1, done.stderr
    assert "File too large" in done.stderr
    assert "remedy:" in done.stderr
    assert "Traceback" not in done.stderr
    assert not [path for path in (project / "out").rglob("*") if path.is_file()]


LIGHT = [
    "check",
    "splits --dataset d",
    "shard --dataset d --split test --number 0",
    "baseline --dataset d --kind second-observer --split test",
    "evaluate --experiment d.second-observer --threshold 0.5",
]


def test_conversion_and_evaluation_do_not_import_torch(project):
    code = (
        "import sys; from pipeline.cli.main import main; status = main(sys.argv[1:]); "
        "assert 'torch' not in sys.modules; sys.exit(status)"
    )
    for line in LIGHT:
        done = subprocess.run([sys.executable, "-c", code, *line.split()], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_a_closed_pipe_prints_no_traceback(project):
    command = [sys.executable, "-u", "-m", "pipeline", "check"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        error = process.stderr.read()
    assert process.returncode == 128 + 13
    assert "BrokenPipe" not in error


def test_ctrl_c_during_the_first_imports_ends_with_one_line(tmp_path):
    (tmp_path / "pydantic.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "check"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{Path(__file__).parents[2]}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


def test_lack_of_memory_is_one_line(project, capsys, monkeypatch):
    def allocate(*_):
        raise MemoryError

    monkeypatch.setattr("pipeline.raw.check.run.check_dataset", allocate)
    assert cli.main(["check", "--dataset", "d", "--output", "c"]) == 1
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith("too little memory: use fewer threads")
