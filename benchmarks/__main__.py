"""Measure everything side by side, and print one table.

    python -m benchmarks [--real DIR] [--only PART ...] [--csv FILE] [--docs]
    python -m benchmarks --gpu [--shards DIR]

The variants of a case run alternately, each where it matters in a process of its own, for five rounds if the time
lasts; the table has median, smallest and largest value, and the median of the ratios within a round.
docs/performance.md says what is compared.
"""

import argparse
import importlib
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.context import SETS, Context, describe_machine
from benchmarks.measure import Deadline, Measurement, run_case
from benchmarks.table import draw, insert, markdown, write_csv

PARTS = {
    "limits": 20.0,
    "conversion": 170.0,
    "loading": 40.0,
    "training": 560.0,
    "prediction": 90.0,
    "bundle": 60.0,
    "evaluation": 15.0,
    "pictures": 20.0,
    "startup": 20.0,
    "planning": 200.0,
    "bootstrap": 15.0,
    "digests": 20.0,
    "bits": 20.0,
    "study": 1.0,
}
"""Parts, in order, and their share of the time."""

GPU_PARTS = {"limits": 12.0, "training": 120.0, "bits": 18.0, "prediction": 22.0, "study": 45.0}
"""Parts that a GPU changes."""

START = 8.0
"""Seconds on a GPU that starting and ending need, and that no part gets."""


GRACE = 4.0
"""Seconds after its end at which a part is stopped."""


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", metavar="PART", choices=sorted(PARTS), help=f"parts: {', '.join(PARTS)}")
    parser.add_argument(
        "--real", type=Path, metavar="DIR", help="folder with DRIVE/, TGS/ and DUTS/, as far as they are there"
    )
    parser.add_argument("--gpu", action="store_true", help="measure what a GPU changes, on the first CUDA device")
    parser.add_argument("--shards", type=Path, metavar="DIR", help="training shards that --make-shards wrote")
    parser.add_argument(
        "--make-shards", type=Path, metavar="DIR", help="write the training shards for another machine, and end"
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each case (5)")
    parser.add_argument("--minutes", type=float, help="time for all parts (20; with --gpu 3.8)")
    parser.add_argument("--quick", action="store_true", help="small cases, to see that everything runs")
    parser.add_argument(
        "--csv", type=Path, metavar="FILE", help="file for the rows (benchmarks.csv)", default=Path("benchmarks.csv")
    )
    parser.add_argument(
        "--docs", action="store_true", help="write table and plot to docs/measurements.md and docs/images/"
    )
    arguments = parser.parse_args(words)
    if arguments.rounds < 1:
        parser.error("--rounds: at least 1")
    if arguments.docs and (arguments.only or arguments.quick):
        parser.error("--docs: only with all parts and at full length, because it replaces the whole table")
    if arguments.minutes is None:
        arguments.minutes = 3.8 if arguments.gpu else 20.0
    return arguments


class TimeUp(BaseException):
    """Stops a part that waits too long."""


def _time_up(*_: object) -> None:
    raise TimeUp


def log(text: str) -> None:
    """Print a line of progress with the time."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def run_parts(context: Context, parts: dict[str, float], total: Deadline) -> list[Measurement]:
    """Run parts; one that fails does not stop the others."""
    rows: list[Measurement] = []
    names = list(parts)
    for index, name in enumerate(names):
        context.deadline = total.share(parts[name], sum(parts[later] for later in names[index + 1 :]))
        started = time.monotonic()
        log(f"{name}: at most about {context.deadline.left():.0f} s")
        if total.left() <= 0 and index:
            context.leave_out(name, "the time is up")
            continue
        try:
            for case in importlib.import_module(f"benchmarks.{name}").cases(context):
                if context.deadline.left() <= 0 and case.deadline is None and index:
                    context.leave_out(f"{name}, {case.name}", "the time is up")
                    continue
                deadline = case.deadline or context.deadline
                measured, problems = run_case(name, context.device, case, context.rounds, deadline, log)
                rows += measured
                context.problems += problems
                for row in measured:
                    ratio = "" if row.ratio is None else f", {row.ratio:.2f}x"
                    log(f"  {row.case}: {row.variant} {row.median:.4g} {row.unit}{ratio}")
        except TimeUp:
            context.leave_out(name, "stopped, the time is up")
        except Exception as error:
            context.fail(name, error)
        finally:
            context.close()
        log(f"{name}: {time.monotonic() - started:.0f} s")
    return rows


def main(words: Sequence[str] | None = None) -> int:
    """Run the benchmarks; return 1 if a part failed."""
    arguments = parse(sys.argv[1:] if words is None else words)
    total = Deadline(arguments.minutes * 60 - (START if arguments.gpu else 0))
    options = {name: getattr(arguments, name) for name in ("rounds", "quick", "gpu", "real", "shards")}
    with tempfile.TemporaryDirectory() as folder:
        context = Context(Path(folder), log=log, **options)
        if arguments.make_shards is not None:
            context.made = arguments.make_shards
            for name in SETS:
                print(*context.samples(name), sep="\n")
            return 0
        parts = GPU_PARTS if arguments.gpu else PARTS
        chosen = {name: parts.get(name, 20.0) for name in PARTS if name in (arguments.only or parts)}
        machine = describe_machine(arguments.gpu)
        if arguments.gpu and "GPU" not in machine:
            print("--gpu: no CUDA device found; without --gpu the processor is measured", file=sys.stderr)
            return 2
        context.gpu_memory = int(machine.get("GPU memory", "0").split()[0]) * 2**30
        signal.signal(signal.SIGALRM, _time_up)
        signal.setitimer(signal.ITIMER_REAL, total.left() + (GRACE if arguments.gpu else 60))
        rows = run_parts(context, chosen, total)
        signal.setitimer(signal.ITIMER_REAL, 0)
        for name in PARTS:
            if name not in chosen:
                context.leave_out(name, "not chosen" if arguments.only else "the same with and without a GPU")
    write_csv(arguments.csv, rows)
    text = markdown(rows, context.problems, machine)
    print(text)
    if arguments.docs:
        image = Path(f"docs/images/performance-{context.device}.png")
        drawn = f"![Ratios to the reference](images/{image.name})\n\n" if draw(rows, image) else ""
        insert(Path("docs/measurements.md"), context.device, drawn + text)
    return int(any(problem.failed for problem in context.problems))


if __name__ == "__main__":
    sys.exit(main())
