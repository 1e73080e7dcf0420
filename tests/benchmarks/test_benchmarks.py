import csv
import re
import sys
from functools import partial

import pytest

from benchmarks import __main__ as program
from benchmarks.context import SETS, Context
from benchmarks.measure import Case, Deadline, Measurement, NotRun, Problem, Variant, order, run_case, summarize
from benchmarks.processes import measured as measured_processes
from benchmarks.table import draw, insert, markdown, write_csv
from benchmarks.training import CPU_WAYS, GPU_WAYS, LARGE, Ours, Preparation, _Stop, choose_shards
from benchmarks.worker import Worker

ROWS = [
    Measurement("training", "E, batch 64", "documents", "cpu", "fp32", 50.0, 48.0, 51.5, "images/s", 5),
    Measurement("training", "E, batch 64", "ours", "cpu", "bf16", 180.25, 170.0, 190.0, "images/s", 5, 3.605, 0.42),
    Measurement("bits", "equal to the bit", "two trainings", "cpu", "", 0.0, 0.0, 0.0, "1 = yes", 1),
]


class Clock:
    """A clock that only moves when told."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def work(self, seconds, value):
        self.now += seconds
        return {"": value}


def measured(case, rounds=5, deadline=None):
    return run_case("part", "cpu", case, rounds, deadline or Deadline(600), lambda text: None)


def test_options_have_defaults():
    arguments = program.parse([])
    assert (arguments.rounds, arguments.minutes, arguments.only) == (5, 20.0, None)
    assert program.parse(["--gpu"]).minutes < 4
    assert program.parse(["--only", "limits", "training"]).only == ["limits", "training"]


@pytest.mark.parametrize("words", [["--only", "trainings"], ["--rounds", "0"], ["--docs", "--quick"]])
def test_wrong_options_end_with_a_usage_message(words, capsys):
    with pytest.raises(SystemExit) as error:
        program.parse(words)
    assert error.value.code == 2
    assert re.search("choose from|at least 1|only with all parts", capsys.readouterr().err)


def test_each_round_starts_with_the_next_variant():
    calls = []
    variants = [Variant(name, lambda name=name: calls.append(name) or {"": 1.0}) for name in "abc"]
    measured(Case("case", {"": "s"}, variants), rounds=4)
    assert "".join(calls) == "abc" + "bca" + "cab" + "abc"
    assert order("ab", 3) == ["b", "a"]


def test_a_round_that_does_not_fit_is_not_started():
    clock = Clock()
    case = Case("case", {"": "s"}, [Variant("slow", partial(clock.work, 4, 1.0))])
    rows, _ = measured(case, 5, Deadline(10, clock))
    assert (rows[0].rounds, clock.now) == (2, 8)


def test_the_first_round_runs_after_the_deadline():
    clock = Clock()
    case = Case("case", {"": "s"}, [Variant("slow", partial(clock.work, 4, 1.0))])
    assert measured(case, 5, Deadline(0, clock))[0][0].rounds == 1


def test_the_time_left_is_shared_by_weight():
    clock = Clock()
    deadline = Deadline(100, clock)
    clock.now = 40
    assert deadline.share(1, 2).left() == 20
    clock.now = 200
    assert deadline.share(1, 2).left() == 0


def test_a_failing_variant_is_reported_and_left_out():
    calls = []

    def fail():
        calls.append("fail")
        raise ValueError("broken")

    def absent():
        raise NotRun("no GPU")

    variants = [Variant("good", lambda: {"": 2.0}), Variant("bad", fail), Variant("absent", absent)]
    rows, problems = measured(Case("case", {"": "s"}, variants))
    assert [(row.variant, row.rounds) for row in rows] == [("good", 5)]
    assert sorted(problems) == [
        Problem("part, case, absent", "no GPU", failed=False),
        Problem("part, case, bad", "ValueError: broken", failed=True),
    ]
    assert calls == ["fail"]


@pytest.mark.parametrize(("unit", "ratio"), [("images/s", 3.0), ("s", 1 / 3)])
def test_ratio_is_the_median_of_the_rounds(unit, ratio):
    case = Case("case", {"": unit}, [Variant(name, dict) for name in ("documents", "ours")])
    values = {"documents": [{"": 1.0}, {"": 2.0}, {"": 100.0}], "ours": [{"": 3.0}, {"": 6.0}, {"": 100.0}]}
    reference, ours = summarize("part", "cpu", case, values)
    assert reference.ratio is None
    assert ours.ratio == pytest.approx(ratio)
    assert (ours.median, ours.low, ours.high) == (6.0, 3.0, 100.0)


def test_table_shows_ratios_limits_and_what_did_not_run():
    problems = [
        Problem("planning", "snakemake is not installed", failed=False),
        Problem("loading", "E: x", failed=True),
    ]
    text = markdown(ROWS, problems, {"processor": "P", "cores": "2"})
    lines = text.splitlines()
    assert lines[0] == "processor P; cores 2."
    assert "| E, batch 64 | documents | fp32 | 50 images/s | 48 - 51.5 | 5 |  |  |" in lines
    assert "|  | ours | bf16 | 180 images/s | 170 - 190 | 5 | 3.60x | 42 % |" in lines
    assert "| equal to the bit | two trainings |  | NO |  | 1 |  |  |" in lines
    assert text.index("Failed:") < text.index("- loading: E: x") < text.index("Not run:") < text.index("- planning")


def test_csv_has_one_row_for_each_measurement(tmp_path):
    write_csv(tmp_path / "rows.csv", ROWS)
    with (tmp_path / "rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["variant"] for row in rows] == ["documents", "ours", "two trainings"]
    assert (rows[1]["median"], rows[1]["ratio"], rows[0]["ratio"]) == ("180.2", "3.605", "")


def test_table_replaces_the_text_between_markers(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- cpu: begin -->\nold\n<!-- cpu: end -->\nb\n")
    insert(page, "cpu", "new \\1\n")
    assert page.read_text() == "a\n<!-- cpu: begin -->\nnew \\1\n<!-- cpu: end -->\nb\n"
    with pytest.raises(ValueError, match="gpu: begin"):
        insert(page, "gpu", "new")


def test_plot_needs_a_ratio(tmp_path):
    assert draw(ROWS, tmp_path / "images/ratios.png")
    assert (tmp_path / "images/ratios.png").read_bytes().startswith(b"\x89PNG")
    assert not draw(ROWS[:1], tmp_path / "none.png")


def test_parts_that_fail_do_not_stop_others(tmp_path, monkeypatch):
    part = type("Part", (), {"cases": lambda context: iter([Case("c", {"": "s"}, [Variant("v", lambda: {"": 1.0})])])})
    broken = type("Part", (), {"cases": lambda context: 1 / 0})
    late = type("Part", (), {"cases": lambda context: program._time_up()})
    parts = {"limits": broken, "bits": late, "study": part}
    monkeypatch.setattr(program.importlib, "import_module", lambda name: parts[name.rpartition(".")[2]])
    context = Context(tmp_path, log=lambda text: None)
    rows = program.run_parts(context, dict.fromkeys(parts, 1.0), Deadline(60))
    assert [row.part for row in rows] == ["study"]
    assert [(problem.where, problem.failed) for problem in context.problems] == [("limits", True), ("bits", False)]


def test_worker_answers_fails_and_is_given_up():
    with Worker("collections:UserDict", {"x": {"b": 2}}) as worker:
        assert worker.call("get", key="x") == {"b": 2}
        with pytest.raises(RuntimeError, match="KeyError"):
            worker.call("pop", key="y")
        with pytest.raises(RuntimeError, match="no answer within 0 s"):
            worker.receive(0)
    with Worker("missing_library:X", {}) as worker, pytest.raises(NotRun, match="missing_library is not installed"):
        worker.call("prepare")


def test_product_waits_after_the_line_of_an_epoch(capsys):
    from pipeline.training.history import describe_epoch

    ours, answers = Ours(), []
    ours.images = 8
    requests = iter([("measure", {}), ("release", {})])
    ours.channel = type(
        "Channel", (), {"answer": lambda self, *a: answers.append(a), "receive": lambda self: next(requests)}
    )()
    row = {"epoch": 1, "train_loss": 0.5, "lr": 0.1, "val_loss": 0.4, "val_dice": 0.3, "val_mae": 0.2, "val_max_f": 0.1}
    ours.write("e: unet with 31 parameters on cpu (x), bf16, 2 threads, 8 training samples\n")
    assert answers == []
    ours.write(describe_epoch(row, 9, 1.5))
    ours.write("\n")
    with pytest.raises(_Stop):
        ours.write(describe_epoch(row | {"epoch": 2}, 9, 1.5) + "\n")
    assert [(kind, result["precision"]) for kind, result in answers] == [("result", "bf16")] * 2


def test_epochs_use_few_shards_and_repeat_them(tmp_path, monkeypatch):
    counts = {"a": 5, "b": 2, "c": 3}
    reader = type("Reader", (), {"__init__": lambda self, files: setattr(self, "n", counts[files[0].name]),
                                 "__len__": lambda self: self.n, "close": lambda self: None})  # fmt: skip
    monkeypatch.setattr("pipeline.shards.read.ShardReader", reader)
    files = [tmp_path / name for name in counts]
    assert choose_shards(files, 4) == ([tmp_path / "b", tmp_path / "c"], 1, 5)
    assert choose_shards(files, 100) == ([tmp_path / "b", tmp_path / "c", tmp_path / "a"], 10, 100)


def test_a_measured_process_may_print_more_than_a_pipe_holds():
    usage = measured_processes([[sys.executable, "-c", "print('x' * 300_000)"]], {}, timeout=30)
    assert usage.outputs == ["x" * 300_000 + "\n"]


class FakeWorker:
    """Answers as a worker; remembers what it was asked for."""

    def __init__(self, step):
        self.step, self.asked = step, []

    def send(self, method, **arguments):
        self.asked.append(arguments)

    def receive(self, timeout):
        return {"step": self.step, "operations": 10**9, "precision": "bf16"}

    def call(self, method, timeout, **arguments):
        return {"": 100.0}


@pytest.mark.parametrize(("gigabytes", "left_out"), [(139, set()), (78, {"lean graph", "ours without graph"})])
def test_epochs_of_the_product_fit_the_pace_of_loops(gigabytes, left_out, tmp_path, monkeypatch):
    monkeypatch.setattr(Context, "samples", lambda self, name: [tmp_path / name])
    context = Context(tmp_path, gpu=True, gpu_memory=gigabytes * 2**30)
    context.limits["convolution", "bf16"] = 4e11
    steps = {"documents": 0.05, "lean bf16": 0.025, "lean graph": 0.0125}
    workers = {name: FakeWorker(steps.get(name, 0.0)) for name in GPU_WAYS}
    case = Preparation(context, GPU_WAYS, workers, LARGE).case()
    assert {*GPU_WAYS} - {variant.name for variant in case.variants} == left_out
    asked = {
        name: worker.asked[0]["steps"] for name, worker in workers.items() if name.startswith("ours") and worker.asked
    }
    full = {"ours": 20, "ours without graph": 10, "ours fp32": 2}
    assert asked == (full if not left_out else {"ours": 10, "ours fp32": 2})
    rows, problems = measured(case, 1)
    assert problems == []
    assert {row.variant: row.share for row in rows}["ours"] == pytest.approx(0.25)


def test_networks_have_the_published_numbers_of_parameters():
    from benchmarks.networks import NETWORKS
    from benchmarks.training import count_operations

    counts = {name: sum(p.numel() for p in NETWORKS[name]().parameters()) for name in ("B small", "D lite", "E")}
    assert counts == {"B small": 1_993_188, "D lite": 1_128_333, "E": 117_041}
    assert 2e8 < count_operations("E 128") < 2e10


def test_a_part_runs_and_is_written(tmp_path, capsys):
    csv_file = tmp_path / "rows.csv"
    assert program.main(["--only", "bootstrap", "--quick", "--rounds", "1", "--csv", str(csv_file)]) == 0
    loop, ours, _ = csv.DictReader(csv_file.read_text().splitlines())
    assert (loop["variant"], loop["ratio"], ours["variant"]) == ("loop over resamples", "", "ours")
    assert float(ours["ratio"]) > 1
    assert "| 20 images | loop over resamples |" in capsys.readouterr().out


def test_missing_shards_are_named(tmp_path):
    with pytest.raises(NotRun, match=r"no tgs-128/\*.h5"):
        Context(tmp_path, shards=tmp_path).samples("tgs-128")


@pytest.mark.slow
def test_shards_are_made_for_another_machine(tmp_path):
    assert program.main(["--make-shards", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {*SETS}
    assert all(Context(tmp_path, shards=tmp_path).samples(name) for name in SETS)


@pytest.mark.slow
@pytest.mark.parametrize(
    "part",
    [
        "training",
        "prediction",
        "loading",
        "conversion",
        "startup",
        "bits",
        "pictures",
        "evaluation",
        "limits",
        "planning",
    ],
)
def test_every_part_runs(part, tmp_path, capsys):
    csv_file = tmp_path / "rows.csv"
    assert program.main(["--only", part, "--quick", "--rounds", "1", "--csv", str(csv_file)]) == 0, capsys.readouterr()
    rows = list(csv.DictReader(csv_file.read_text().splitlines()))
    assert rows
    if part == "training":
        assert {row["variant"] for row in rows} == {*CPU_WAYS}
        assert all(row["precision"] in ("fp32", "bf16") for row in rows)
