"""Lines of the screen of a run; pure functions of its state."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.text import Text

from .run import OTHER, STAGES, Job, Run, duration

MOST_COLUMNS = 100
_LABELS = {"val_loss": "val loss", "val_dice": "Dice", "val_mae": "MAE", "val_max_f": "maxF"}
_UNICODE, _ASCII = ("█", "░"), ("#", ".")

Progress = Mapping[str, Any]


def screen(
    run: Run, progress: Mapping[str, Progress], now: float, width: int, height: int, ascii_only: bool = False
) -> list[Text]:
    """Return the lines of the screen.

    Parameters
    ----------
    run : Run
    progress : mapping of str to mapping
        The progress file of each training that has one, by its label.
    now : float
        Seconds, of the same clock as `Run.started`.
    width, height : int
        Of the terminal. No line is longer; trainings that do not fit are counted.
    ascii_only : bool
        Whether the terminal cannot show bars made of blocks.
    """
    columns = min(width - 1, MOST_COLUMNS)
    lines = [_header(run, now), Text()]
    lines += [_stage_line(run, stage, columns, ascii_only) for stage in (*STAGES, OTHER) if run.planned[stage]]
    trainings = run.trainings
    if trainings:
        room = max(1, height - len(lines) - 6)
        shown = trainings if len(trainings) <= room else trainings[: max(1, room - 1)]
        lines += [Text(), *_training_lines(shown, progress, now, columns, ascii_only)]
        if len(trainings) > len(shown):
            lines.append(Text(f"  and {len(trainings) - len(shown)} more trainings", style="dim"))
    others = [job.label for job in run.running.values() if not job.state]
    if others:
        lines += [Text(), Text(f"  {'running' if not trainings else 'also running'}: {', '.join(others)}")]
    for line in lines:
        line.truncate(columns, overflow="ellipsis")
        line.no_wrap = True
    return lines


def _header(run: Run, now: float) -> Text:
    done, planned = sum(run.done.values()), sum(run.planned.values())
    line = Text.assemble((f"{done} of {planned} jobs", "bold"), f", {duration(now - run.started)}")
    if run.failed:
        line.append(f", {len(run.failed)} failed: {', '.join(run.failed)}", style="bold red")
    return line


def _bar(share: float, cells: int, ascii_only: bool) -> tuple[str, str]:
    """Return the filled and the empty part of a bar; it is full at the end only, and not empty after the start."""
    filled = min(cells - 1, max(1, round(share * cells))) if 0 < share < 1 else round(share * cells)
    full, empty = _ASCII if ascii_only else _UNICODE
    return full * filled, empty * (cells - filled)


def _stage_line(run: Run, stage: str, columns: int, ascii_only: bool) -> Text:
    done, planned = run.done[stage], run.planned[stage]
    running = sum(job.stage == stage for job in run.running.values())
    filled, empty = _bar(done / planned, min(40, columns - 40), ascii_only)
    style = "green" if done == planned else "cyan" if running else "dim"
    line = Text.assemble(f"  {stage:<11}", (filled, style), (empty, "dim"), f" {done:>4} of {planned}")
    if running:
        line.append(f", {running} running", style="cyan")
    return line


def _training_lines(
    jobs: Sequence[Job], progress: Mapping[str, Progress], now: float, columns: int, ascii_only: bool
) -> Iterator[Text]:
    names = max(8, min(max(len(job.name) for job in jobs), columns - 57))
    yield Text(f"  {'training':<{names}}  {'epoch':>9}  {'':10}  {'loss':>7}  {'score':<15} time left", style="dim")
    for job in jobs:
        name = job.name if len(job.name) <= names else f"{job.name[: names - 3]}..."
        state = progress.get(job.label)
        if state is None:
            yield Text(f"  {name:<{names}}  starts, {duration(now - job.started)}")
            continue
        filled, empty = _bar(state["done"], 10, ascii_only)
        epoch, (loss, score, left) = f"{state['epoch']}/{state['epochs']}", figures(state)
        yield Text.assemble(
            f"  {name:<{names}}  {epoch:>9}  ", (filled, "cyan"), (empty, "dim"), f"  {loss:>7}  {score:<15} {left}"
        )


def figures(state: Progress) -> tuple[str, str, str]:
    """Return loss, score with its name, and time left of a training, as texts; a dash if not known yet."""
    scores, left = state["scores"], state["seconds_left"]
    loss = state["loss"] if state["loss"] is not None else scores.get("train_loss")
    column = next((name for name in (state["monitor"], "val_dice", *_LABELS) if name in scores), None)
    if column == "val_loss" and "val_dice" in scores:
        column = "val_dice"
    return (
        "-" if loss is None else f"{loss:.5f}"[:7],
        "-" if column is None else f"{_LABELS.get(column, column)} {scores[column]:.4f}",
        "-" if left is None else duration(left),
    )


def training_line(job: Job, state: Progress) -> str:
    """Return the progress of a training in one line, for logs."""
    loss, score, left = figures(state)
    known = [f"epoch {state['epoch']} of {state['epochs']}"]
    known += [text for text, value in ((f"loss {loss}", loss), (score, score), (f"{left} left", left)) if value != "-"]
    return f"{job.label}: {', '.join(known)}"
