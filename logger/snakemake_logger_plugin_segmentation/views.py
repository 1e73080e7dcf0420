"""Views of a run: a screen on a terminal, lines elsewhere, a summary of a dry run."""

import atexit
import errno
import os
import re
import textwrap
import threading
import time
from collections.abc import Mapping
from logging import ERROR, WARNING, LogRecord
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text
from snakemake_interface_logger_plugins.common import LogEvent

from .dry_run import Planned, find_changes, planned_job, summary
from .failures import HEADING, describe_failure
from .progress import read_progress
from .run import Job, Run, duration
from .scores import LEADERBOARD, REPORT, read_leaderboard, score_table
from .view import screen, training_line

TICK = 1.0
"""Seconds between two looks at the progress of trainings for the screen."""

LOG_INTERVAL = 60.0
"""Seconds between two lines on a training in a log."""

_MOST_SCORES = 30

_NOISE = re.compile(
    r"host: |Building DAG|Using shell|Provided |Rules claiming|Conda environments|Singularity containers|Group jobs: "
    r"|Select jobs|Execute \d|Complete log|Elapsed time|This was a dry-run|Some jobs were triggered|Rules with "
    r"|Reasons:|\d+ jobs have |Assuming unrestricted|Workflow has started|Using workflow specific|Using profile"
    r"|Exiting because|Removing output files of failed|Config file .* is extended|Full Traceback"
)
"""Beginnings of messages that say nothing about this run; .snakemake/log has them."""

_PLACES = (
    ("training", Path("results/models"), "networks and learning curves"),
    ("images", Path("results/predictions"), "masks and renderings"),
    ("scores", LEADERBOARD, "all scores"),
    ("report", REPORT, "scores, curves and images; open it in a browser"),
)
"""Where to look after a stage has made something."""

_COMMAND_FAILED = re.compile(r"(?:> (\S+) 2>&1)?' returned non-zero exit status (\d+)")
_KILLED = 137
_FULL = {errno.ENOSPC: "some disk space", errno.EDQUOT: "some of your quota"}

_SOURCE_LINE = re.compile(r'^  File ".*", line \d+, in ')


class View:
    """Follows the events of a run; subclasses show them."""

    lines_of_log = 3

    def __init__(self, console: Console, commands: bool) -> None:
        self.console, self.commands = console, commands
        self.run, self.folder, self.planned = Run(), Path(), False
        self.interrupted, self.statuses = False, dict[str, int]()
        self.last_progress: dict[str, Mapping[str, Any]] = {}
        self.lock = threading.RLock()

    def emit(self, record: LogRecord) -> None:
        """Take one record."""
        with self.lock:
            self.take(getattr(record, "event", None), record.__dict__, record)

    def take(self, event: str | None, fields: Mapping[str, Any], record: LogRecord) -> None:
        """Update the state and show what is new."""
        now = time.monotonic()
        if event == LogEvent.RUN_INFO:
            if not self.planned:
                self.run.started, self.folder, self.planned = now, Path.cwd(), True
            self.run.plan(fields["stats"])
            self.show_plan(str(fields["msg"]))
        elif event == LogEvent.JOB_INFO:
            job = self.run.start(fields, now)
            if job and self.commands and fields.get("shellcmd"):
                self.print(f"{job.label}:\n    {fields['shellcmd'].strip()}")
            if job:
                self.job_started(job)
        elif event == LogEvent.JOB_FINISHED:
            if job := self.run.finish(fields["job_id"]):
                self.job_finished(job, now)
        elif event == LogEvent.JOB_ERROR:
            self.job_failed(fields)
        elif event == LogEvent.ERROR:
            self.error(record.getMessage())
        elif event is None:
            self.message(record)

    def job_failed(self, fields: Mapping[str, Any]) -> None:
        """Print the cause of a failure and where the log is; of a job that was interrupted, its name."""
        if self.interrupted:
            if job := self.run.running.pop(fields["jobid"], None):
                self.print(f"stopped: {job.label}")
            return
        label = self.run.fail(fields)
        names = list(fields.get("log") or ())
        details = describe_failure([str(self.folder / name) for name in names], self.lines_of_log)
        details = [line.replace(f"{self.folder}/", "") for line in details] or [str(fields.get("rule_msg") or "")]
        if _KILLED in [self.statuses.get(name) for name in names]:
            details.append("it was killed (exit status 137): perhaps the memory was too small")
        for status in {self.statuses.get(name, 0) for name in names} & {*_FULL}:
            details += ["it could not write its message into its log:", f"    found:    {os.strerror(status)}"]
            details.append(f"    remedy:   free {_FULL[status]}, then run the same command again")
        self.print(f"failed: {label}\n" + textwrap.indent("\n".join(details), "    "), "red")

    def error(self, text: str) -> None:
        """Print an error of Snakemake; of an error of the pipeline, its message alone."""
        if "At least one job did not complete successfully" in text:
            return  # the end of the run lists the jobs
        if failed := _COMMAND_FAILED.search(text):
            self.statuses[failed[1] or ""] = int(failed[2])
            return  # the failure of the job follows
        lines = [line for line in text.rstrip().split("\n") if not _SOURCE_LINE.match(line)]
        headings = [number for number, line in enumerate(lines) if HEADING.match(line)]
        self.print("\n".join(lines[headings[0] :] if headings else lines), "red")

    def message(self, record: LogRecord) -> None:
        """Print a message unless Snakemake prints it in each run, or in each that fails."""
        text = record.getMessage()
        self.interrupted = self.interrupted or text.startswith("Terminating processes on user request")
        if text not in ("", "None") and not _NOISE.match(text):
            style = "red" if record.levelno >= ERROR else "yellow" if record.levelno >= WARNING else ""
            self.print(text.rstrip(), style)

    def print(self, text: str, style: str = "") -> None:
        """Print text as it is, with its own line breaks only."""
        self.console.print(Text(text, style=style), soft_wrap=True)

    def progress(self) -> dict[str, Mapping[str, Any]]:
        """Read the progress files of the running trainings; one that is writing its results has none any more."""
        read = {job.label: read_progress(self.folder / job.state) for job in self.run.trainings}
        known = {label: state or self.last_progress.get(label) for label, state in read.items()}
        self.last_progress = {label: state for label, state in known.items() if state is not None}
        return self.last_progress

    def show_plan(self, table: str) -> None:
        """Show how many jobs there are."""

    def job_started(self, job: Job) -> None:
        """Show that a job was started or submitted."""

    def job_finished(self, job: Job, now: float) -> None:
        """Show that a job has ended."""

    def close(self) -> None:
        """Show how the run has ended, the scores, and where to look."""
        run = self.run
        if not self.planned:
            return
        done, planned, time_taken = sum(run.done.values()), sum(run.planned.values()), time.monotonic() - run.started
        if run.failed:
            self.print(
                f"{len(run.failed)} of {planned} jobs failed, {done} are done, {duration(time_taken)}:", "bold red"
            )
            for label, logs in run.failed.items():
                self.print(f"    {label}" + "".join(f", {name}" for name in logs))
            self.print("Correct the cause and type the same command again; finished results are kept.")
        elif done < planned:
            self.print(f"Stopped after {done} of {planned} jobs. To continue, type the same command again.", "bold")
        else:
            self.print(f"{f'All {done} jobs' if done > 1 else '1 job'} done, {duration(time_taken)}.", "bold green")
            self._print_scores()

    def _print_scores(self) -> None:
        """Print the scores if they are new, and where results are."""
        rows = score_table(read_leaderboard(self.folder / LEADERBOARD)) if self.run.done["scores"] else []
        if rows:
            widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
            widths[0] = min(widths[0] + 2, max(24, self.console.width - sum(widths[1:]) - 2 * len(widths)))
            for row in rows[:_MOST_SCORES]:
                heading = row[1:] == rows[0][1:]
                if heading:
                    self.print("")
                name = row[0] if heading else f"  {row[0]}"
                if heading and len(name) > widths[0]:
                    self.print(name, "bold")
                    name = ""
                cells = [
                    f"{name:<{widths[0]}}",
                    *(f"{cell:<{width}}" for cell, width in zip(row[1:], widths[1:], strict=True)),
                ]
                self.print("  ".join(cells).rstrip(), "bold" if heading else "")
            if len(rows) > _MOST_SCORES:
                self.print(f"  and {len(rows) - _MOST_SCORES} more")
            self.print("")
        for stage, path, what in _PLACES:
            if self.run.done[stage] and (self.folder / path).exists():
                self.print(f"{path}: {what}")


class Ticking(View):
    """A view that looks at the progress of trainings now and then, in a thread of its own."""

    interval = TICK

    def __init__(self, console: Console, commands: bool) -> None:
        super().__init__(console, commands)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._tick_until_end, daemon=True)

    def show_plan(self, table: str) -> None:
        """Start to look."""
        if not self._thread.is_alive() and not self._end.is_set():
            self._thread.start()

    def _tick_until_end(self) -> None:
        while not self._end.wait(self.interval):
            with self.lock:
                self.tick()

    def tick(self) -> None:
        """Show the progress."""

    def close(self) -> None:
        """End the thread, and show the end of the run."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()
        super().close()


class Lines(Ticking):
    """Lines with the time, for logs and for people who prefer them."""

    lines_of_log = 30
    interval = LOG_INTERVAL

    def line(self, text: str) -> None:
        """Print a line after the time."""
        self.print(f"[{time.strftime('%H:%M:%S')}] {text}")

    def show_plan(self, table: str) -> None:
        """Print Snakemake's table of rules and jobs."""
        super().show_plan(table)
        self.print(table.rstrip())

    def job_started(self, job: Job) -> None:
        """Print the job."""
        self.line(f"{job.label}: started")

    def job_finished(self, job: Job, now: float) -> None:
        """Print the job, its time and how far the run is."""
        done, planned = sum(self.run.done.values()), sum(self.run.planned.values())
        self.line(f"{job.label}: done, {duration(now - job.started)} ({done} of {planned} jobs)")

    def tick(self) -> None:
        """Print how far the trainings are."""
        progress = self.progress()
        for job in self.run.trainings:
            if job.label in progress:
                self.line(training_line(job, progress[job.label]))


class Screen(Ticking):
    """One screen that is replaced each second; failures and warnings stay above it."""

    def __init__(self, console: Console, commands: bool) -> None:
        super().__init__(console, commands)
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._size = console.size
        atexit.register(self._live.stop)  # shows the cursor again, however the process ends

    def show_plan(self, table: str) -> None:
        """Show the screen."""
        super().show_plan(table)
        self._live.start()
        self.tick()

    def job_started(self, job: Job) -> None:
        """Make way for a job that prints to the terminal."""
        if job.prints:
            self._live.stop()

    def job_finished(self, job: Job, now: float) -> None:
        """Show the screen again after a job that prints."""
        if not any(other.prints for other in self.run.running.values()):
            self._live.start()

    def tick(self) -> None:
        """Replace the screen."""
        if not self._live.is_started:
            return
        if self.console.size != self._size:  # terminals wrap the old lines in their own ways
            self._size = self.console.size
            self._live.stop()
            self.console.clear()
            self._live.start()
        width, height = self._size
        ascii_only = not self.console.encoding.startswith("utf")
        lines = screen(self.run, self.progress(), time.monotonic(), width, height, ascii_only)
        self._live.update(Group(*lines), refresh=True)

    def close(self) -> None:
        """Replace the screen by the end of the run."""
        with self.lock:
            self._live.stop()
        super().close()


class DryRun(View):
    """The experiments that would run, and why."""

    def __init__(self, console: Console, commands: bool) -> None:
        super().__init__(console, commands)
        self.jobs: list[Planned] = []
        self.failed, self.changes = False, find_changes()

    def take(self, event: str | None, fields: Mapping[str, Any], record: LogRecord) -> None:
        """Note a job; print everything else at once."""
        if event == LogEvent.JOB_INFO:
            if job := planned_job(fields, self.changes):
                self.jobs.append(job)
                if self.commands:
                    self.print(f"{job.name}, {job.verb}:\n    {(fields.get('shellcmd') or '').strip()}")
            return
        self.failed = self.failed or event == LogEvent.ERROR
        super().take(event, fields, record)

    def show_plan(self, table: str) -> None:
        """Print Snakemake's table of rules and jobs, once."""
        if not self.jobs:
            self.print(table.rstrip())

    def close(self) -> None:
        """Print the experiments."""
        if self.failed or not self.jobs:
            return
        rows = summary(self.jobs)
        self.print(f"\n{len(self.jobs)} jobs would run, because:\n", "bold")
        names = min(30, max(len(name) for name, _, _ in rows))
        for name, work, because in rows:
            for first, text, style in ((name, because, ""), ("", work, "dim")):
                body = self._wrapped(text, names + 4)
                self.console.print(Text(f"  {first:<{names}}  "), Text(body, style=style), sep="", soft_wrap=True)
        self.print("\nNothing was run (-n). With -p also the commands; with --verbose the output of Snakemake.", "dim")

    def _wrapped(self, text: str, indent: int) -> str:
        """Wrap text on a terminal."""
        if not self.console.is_terminal:
            return text
        width = max(20, self.console.width - indent - 1)
        return f"\n{' ' * indent}".join(textwrap.wrap(text, width, break_on_hyphens=False))
