"""What the terminal shows of a run, from the events of Snakemake; no workflow runs here."""

import io
import json
import logging
import time
from types import SimpleNamespace

import pytest
from rich.console import Console
from snakemake_logger_plugin_segmentation import LogHandler, LogHandlerSettings, views
from snakemake_logger_plugin_segmentation.dry_run import planned_job, summary
from snakemake_logger_plugin_segmentation.failures import cause
from snakemake_logger_plugin_segmentation.run import Run, duration, stage_of
from snakemake_logger_plugin_segmentation.scores import read_leaderboard, score_table
from snakemake_logger_plugin_segmentation.view import screen

PROBLEM = """The shards cannot be used (1 problem):
  results/shards/d/train-0.h5
    found:    a damaged file
    expected: an intact one
    remedy:   run the same command again"""


def job(number, rule="train", command="pipeline train", /, **wildcards):
    state = f" --state results/state/{wildcards['experiment']}" if rule.startswith("train") else ""
    return {
        **{"jobid": number, "rule_name": rule, "wildcards": wildcards, "shellcmd": f"{command}{state} > log 2>&1"},
        **{"log": [f"results/logs/{rule}/{number}.log"], "output": [f"out/{number}"], "reason": "Missing output files"},
    }


def training(epoch=3, **more):
    scores = {"train_loss": 0.5, "val_dice": 0.8123}
    return {
        **{"epoch": epoch, "epochs": 10, "done": 0.25, "seconds_left": 130.0, "loss": 0.12345},
        **{"monitor": "val_dice", "scores": scores, **more},
    }


def lines(run, progress=None, now=65.0, width=80, height=24, **more):
    return [line.plain for line in screen(run, progress or {}, now, width, height, **more)]


def record(event, level=logging.INFO, message="", **fields):
    made = logging.LogRecord("snakemake", level, "", 0, message, None, None)
    made.__dict__.update(fields, **({"event": event} if event else {}))
    return made


@pytest.fixture
def view(tmp_path, monkeypatch):
    """Return a function that makes a view; the text that it prints is in `output`."""
    monkeypatch.chdir(tmp_path)

    def make(kind, **more):
        console = Console(file=io.StringIO(), width=80, highlight=False, **more)
        made = kind(console, commands=False)
        made.output = console.file.getvalue
        return made

    return make


def test_screen_shows_stages_and_trainings_with_time_left():
    run = Run()
    run.plan({"shard": 2, "train": 2, "predict": 4, "all": 1, "metrics_a": 1, "total": 10})
    run.start(job(1, "shard", dataset="d", split="test", number="0"), 0.0)
    run.finish(1)
    run.start(job(2, experiment="drive-unet"), 5.0)
    run.start(job(3, "train_nodes", experiment="tgs-unet"), 60.0)
    run.start(job(4, "predict", experiment="old", split="test"), 60.0)
    assert lines(run, {"train drive-unet": training()}, ascii_only=True) == [
        "1 of 8 jobs, 65 s",
        "",
        "  shards     ####################...................    1 of 2",
        "  training   " + "." * 39 + "    0 of 2, 2 running",
        "  prediction " + "." * 39 + "    0 of 4, 1 running",
        "",
        "  training        epoch                 loss  score           time left",
        "  drive-unet       3/10  ##........  0.12345  Dice 0.8123     2 min",
        "  tgs-unet    starts, 5 s",
        "",
        "  also running: predict old test",
    ]


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (60, 12)])
def test_screen_of_sixty_trainings_fits_the_terminal(width, height):
    run = Run()
    run.plan(dict.fromkeys(["inspect", "shard", "train", "predict", "evaluate", "report"], 60))
    for number in range(60):
        run.start(job(number, experiment=f"an-experiment-with-a-rather-long-name-seed{number}"), 0.0)
        run.start(job(100 + number, "predict", experiment=f"e{number}", split="test"), 0.0)
    shown = lines(run, {f"train e{number}": training() for number in range(60)}, width=width, height=height)
    assert max(map(len, shown)) < width
    assert len(shown) <= max(height - 1, 14)
    assert any("more trainings" in line for line in shown)


def test_unknown_scores_of_a_training_are_dashes():
    run = Run()
    run.plan({"train": 1})
    run.start(job(1, experiment="a"), 0.0)
    state = training(1, loss=None, seconds_left=None, scores={})
    assert lines(run, {"train a": state}, ascii_only=True)[-1].split() == ["a", "1/10", "##........", "-", "-", "-"]


@pytest.mark.parametrize(
    ("rule", "stage"),
    [
        *(("train", "training"), ("check_drive", "check"), ("all", None), ("report_a", None), ("report", "report")),
        *(("segmentation_predict_classes", "prediction"), ("plot", "other")),
    ],
)
def test_each_rule_belongs_to_a_stage(rule, stage):
    assert stage_of(rule) == stage


@pytest.mark.parametrize(
    ("seconds", "text"), [(3.2, "3 s"), (99, "99 s"), (150, "2 min"), (5999, "1 h 40 min"), (7500, "2 h 05 min")]
)
def test_durations_are_words(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("log", "shown"),
    [
        (f"epoch 1\n{PROBLEM}\n", PROBLEM.split("\n")),
        ("Traceback (most recent call last):\n  File x\nKeyError: 'a'\n", ["KeyError: 'a'"]),
        ("epoch 1\n\x1b[2Jepoch 2\n", ["[2Jepoch 2"]),
        ("", []),
    ],
)
def test_a_failure_is_described_by_its_own_message(log, shown):
    assert cause(log, 1) == shown


def test_dry_run_names_experiments_and_what_changed():
    plans = {"old": ["epochs 40 -> 60"], "new": None, "all": [], "raw": ["raw files changed"]}

    def planned(rule, plan, **wildcards):
        found = {**job(1, rule, f"pipeline x --plan '{plan}'", **wildcards), "reason": "Params have changed"}
        return planned_job(found, lambda text, outputs: plans[text])

    jobs = [
        planned("train", "old", experiment="drive-unet"),
        *[planned("predict", "all", experiment="drive-unet", split=split) for split in ("test", "validation")],
        planned("train", "new", experiment="tgs-unet"),
        planned("evaluate", "all", experiment="d.all-background"),
        planned("shard", "raw", dataset="d", split="test", number="0"),
        planned("report", "all"),
    ]
    assert planned_job(job(9, "all"), None) is None
    assert summary(jobs) == [
        ("data set d", "shard", "raw files changed"),
        ("d.all-background", "evaluate", "what it is made from is made again"),
        ("drive-unet", "train, predict x2", "epochs 40 -> 60"),
        ("tgs-unet", "train", "new"),
        ("all together", "report", "what it is made from is made again"),
    ]


def test_log_has_a_line_for_each_job_and_each_failure(view, tmp_path):
    log = view(views.Lines)
    log.emit(record("run_info", stats={"train": 1, "predict": 2, "all": 1, "total": 4}, msg="Job stats:\n..."))
    (tmp_path / "results/logs/predict").mkdir(parents=True)
    (tmp_path / "results/logs/predict/2.log").write_text(f"start\n{PROBLEM}\n")
    (tmp_path / "results/state/a/key").mkdir(parents=True)
    (tmp_path / "results/state/a/key/progress.json").write_text(json.dumps(training()))
    log.emit(record("job_info", **job(1, experiment="a")))
    log.tick()
    (tmp_path / "results/state/a/key/progress.json").unlink()
    assert log.progress() == {"train a": training()}  # it writes its results
    log.emit(record("job_finished", job_id=1))
    assert log.progress() == {}
    failing = job(2, "predict", experiment="a", split="[bold]x")
    log.emit(record("job_info", **failing))
    wall = "RuleException:\nCommand 'pipeline > results/logs/predict/2.log 2>&1' returned non-zero exit status 137."
    log.emit(record("error", logging.ERROR, wall))
    log.emit(record("job_error", logging.ERROR, **failing, rule_msg=None))
    full = job(3, "predict", experiment="b", split="test")
    log.emit(record("job_info", **full))
    log.emit(record("error", logging.ERROR, wall.replace("2.log", "3.log").replace("137", "28")))
    log.emit(record("job_error", logging.ERROR, **full, rule_msg=None))
    log.emit(record(None, message="Building DAG of jobs..."))
    log.emit(record(None, logging.ERROR, "Exiting because a job execution failed. Look above for error messages"))
    log.emit(record(None, logging.WARNING, "a warning"))
    log.emit(record("error", logging.ERROR, "WorkflowError:\nAt least one job did not complete successfully."))
    log.close()
    text = [line.partition("] ")[2] if line.startswith("[") else line for line in log.output().split("\n")]
    assert text == [
        *("Job stats:", "..."),
        *("train a: started", "train a: epoch 3 of 10, loss 0.12345, Dice 0.8123, 2 min left"),
        *("train a: done, 0 s (1 of 3 jobs)", "predict a [bold]x: started"),
        *("failed: predict a [bold]x", *(f"    {line}" for line in PROBLEM.split("\n"))),
        "    log: results/logs/predict/2.log",
        "    it was killed (exit status 137): perhaps the memory was too small",
        *("predict b test: started", "failed: predict b test", "    it ended before it wrote a log"),
        *("    it could not write its message into its log:", "        found:    No space left on device"),
        "        remedy:   free some disk space, then run the same command again",
        *("a warning", "2 of 3 jobs failed, 1 are done, 0 s:"),
        "    predict a [bold]x, results/logs/predict/2.log",
        "    predict b test, results/logs/predict/3.log",
        *("Correct the cause and type the same command again; finished results are kept.", ""),
    ]


def test_interrupted_jobs_do_not_count_as_failed(view):
    log = view(views.Lines)
    log.emit(record("run_info", stats={"train": 3}, msg="Job stats:"))
    log.emit(record("job_info", **job(1, experiment="a")))
    log.emit(record(None, logging.INFO, "Terminating processes on user request, this might take some time."))
    log.emit(record("job_error", logging.ERROR, **job(1, experiment="a")))
    log.close()
    assert "stopped: train a\nStopped after 0 of 3 jobs." in log.output()
    assert "failed" not in log.output()


def test_screen_reads_a_progress_file_once_a_second(view, monkeypatch, tmp_path):
    reads = []
    monkeypatch.setattr(views, "read_progress", lambda folder: reads.append(folder))
    monkeypatch.setattr(views.Screen, "interval", 0.05)
    shown = view(views.Screen, force_terminal=True, height=24)
    shown.emit(record("run_info", stats={"train": 2}, msg=""))
    shown.emit(record("job_info", **job(1, experiment="a")))
    for number in range(1000):  # a flood of other events reads nothing
        shown.emit(record("job_finished", job_id=number + 10))
    time.sleep(0.3)
    shown.close()
    assert views.TICK == 1.0
    assert 1 <= len(reads) <= 8
    assert set(reads) == {tmp_path / "results/state/a"}
    assert "\x1b[?25h" in shown.output()  # the cursor is there again
    assert "Stopped after 0 of 2 jobs" in shown.output()


def test_error_of_the_workflow_is_the_message_of_the_pipeline(view):
    shown = view(views.DryRun)
    text = f'WorkflowError in file "/a/common.smk", line 7:\n{PROBLEM}\n  File "/a/common.smk", line 7, in <module>\n'
    shown.emit(record("error", logging.ERROR, text))
    shown.close()
    assert shown.output() == PROBLEM + "\n"


def test_scores_at_the_end_are_those_of_one_region(tmp_path):
    path = tmp_path / "leaderboard.csv"
    columns = "experiment,statistic,runs,dataset,split,region,class,averaging,iou,mae,f1,f1_low,f1_high"
    rows = ["a,run,1,d,test,full,vessel,macro,0.1,0.1,0.1,,", "a,run,1,d,test,fov,vessel,macro,0.6,0.05,0.75,0.7,0.8"]
    rows += ["b,mean,3,d,test,fov,vessel,macro,0.7,0.04,0.85,,", "b,mean,3,d,test,fov,vessel,micro,0.7,0.04,0.86,,"]
    rows += ["m,run,1,c,test,full,cat,macro,0.2,,0.9,,", "m,run,1,c,test,full,mean,macro,0.3,,,,"]
    path.write_text("\n".join([columns, *rows]) + "\n")
    header = ("F1 (interval)", "IoU", "MAE")
    assert score_table(read_leaderboard(path)) == [
        ("d: test images, field of view, macro mean", *header),
        ("b (mean of 3)", "0.850", "0.700", "0.040"),
        ("a", "0.750 (0.700 - 0.800)", "0.600", "0.050"),
        ("c: test images, whole images, macro mean", *header),
        ("m", "-", "0.300", "-"),
    ]
    assert read_leaderboard(tmp_path / "none.csv") == []


@pytest.mark.parametrize(
    ("options", "kind"),
    [({}, "Lines"), ({"dryrun": True}, "DryRun"), ({"verbose": True}, "Snakemake"), ({"quiet": True}, "Snakemake")],
)
def test_options_of_snakemake_choose_the_view(options, kind):
    defaults = dict.fromkeys(("dryrun", "verbose", "printshellcmds", "nocolor", "debug_dag", "stdout"), False)
    quiet = [SimpleNamespace(name="PROGRESS")] if options.get("quiet") else None
    settings = SimpleNamespace(**{**defaults, "show_failed_logs": True, **options, "quiet": quiet})
    made = LogHandler(settings, LogHandlerSettings())
    assert type(made._view).__name__ == kind
    made.close()
    made.close()


def test_quiet_dry_run_prints_errors_only(capsys):
    settings = dict.fromkeys(("verbose", "printshellcmds", "nocolor", "debug_dag", "stdout"), False)
    quiet = [SimpleNamespace(name="ALL")]
    made = LogHandler(
        SimpleNamespace(**settings, dryrun=True, show_failed_logs=True, quiet=quiet), LogHandlerSettings()
    )
    for level, text in ((logging.INFO, "rule a: a long plan"), (logging.ERROR, "no such rule")):
        made.emit(logging.LogRecord("snakemake", level, "", 0, text, (), None))
    made.close()
    printed = capsys.readouterr()
    assert "no such rule" in printed.err + printed.out
    assert "a long plan" not in printed.err + printed.out
