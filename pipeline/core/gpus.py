"""GPUs of this machine, and how jobs that run side by side share them: each has its own, others wait.

A GPU belongs to whoever holds the lock on the file of its name. The system takes the lock back when the holder ends,
however it ends. Where there is no GPU, nothing here does anything.
"""

import os
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.core.errors import OutputError, TrainingError
from pipeline.core.progress import log

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""CUDA reads it when it starts, once: a process has to hold its GPUs before."""

_POLL = 0.5  # seconds between two looks at GPUs that others hold
_REMIND = 60.0  # seconds between two lines in the log while a job waits


def installed_gpus() -> list[str]:
    """Return the UUIDs of the NVIDIA GPUs here, in the order of `nvidia-smi`; none where that is missing or fails.

    Nothing of CUDA is started: that would settle which GPUs this process sees.
    """
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    words = [program, "--query-gpu=uuid", "--format=csv,noheader"]
    try:
        listed = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in listed.splitlines() if line.startswith("GPU-")]


def visible_gpus(said: str | None, installed: Sequence[str]) -> list[str]:
    """Return those of the installed GPUs that ``CUDA_VISIBLE_DEVICES`` leaves visible.

    Parameters
    ----------
    said : str, optional
        Its value. As CUDA reads it: what follows a name that is no GPU does not count, and an empty value hides all.
    installed : sequence of str
        UUIDs. A number means a place in this list, so in the order of `nvidia-smi`. UUIDs may be shortened.

    Returns
    -------
    list of str
        UUIDs; those of MIG devices as they were said.
    """
    if said is None:
        return list(installed)
    chosen: list[str] = []
    for name in map(str.strip, said.split(",") if installed else ()):
        if name.isdecimal() and int(name) < len(installed):
            found = installed[int(name)]
        elif name.startswith("MIG-"):
            found = name
        else:
            fitting = [one for one in installed if name.startswith("GPU-") and one.startswith(name)]
            if len(fitting) != 1:
                break
            found = fitting[0]
        if found not in chosen:
            chosen.append(found)
    return chosen


def usable_gpus() -> list[str]:
    """Return the GPUs of this machine that jobs may use: all that ``CUDA_VISIBLE_DEVICES`` does not hide."""
    return visible_gpus(os.environ.get(VISIBLE), installed_gpus())


@contextmanager
def hold_gpus(
    count: int = 1,
    *,
    environment: MutableMapping[str, str] = os.environ,
    installed: Callable[[], Sequence[str]] = installed_gpus,
    folder: Path | None = None,
) -> Iterator[list[str]]:
    """Hold GPUs that no other job of this user holds, and let this process and its children see no others.

    Waits until they are free. One job at a time chooses; so a job that needs several gets them in its turn. In a Slurm
    job that got as many as it needs nothing is done: the choice was made.

    Parameters
    ----------
    count : int
        How many.
    environment : mapping
        Where ``CUDA_VISIBLE_DEVICES`` is read and, for the time of the block, set.
    installed : callable
        Lists the UUIDs of this machine's GPUs.
    folder : Path, optional
        Where the locks lie; in the temporary folder of the system without it, in a folder of this user.

    Yields
    ------
    list of str
        The GPUs; none where there are none, and the work is the CPU's.

    Raises
    ------
    TrainingError
        If there are GPUs, and fewer than that.
    OutputError
        If the folder of the locks belongs to somebody else, or its file system has no locks.
    """
    before = environment.get(VISIBLE)
    visible = visible_gpus(before, installed())
    if not visible or (environment.get("SLURM_JOB_ID") and len(visible) == count):
        yield visible
        return
    if count > len(visible):
        raise TrainingError(
            "GPUs of this machine",
            f"{len(visible)} ({', '.join(visible)})" + f", as {VISIBLE} says" * (before is not None),
            f"{count}, as the experiment says (`gpus`)",
            "run it on a machine that has them, or change `gpus`: it is part of the recipe",
        )
    with ExitStack() as locks:
        held = _wait_for(count, visible, folder or _lock_folder(), locks)
        environment[VISIBLE] = ",".join(held)
        try:
            yield held
        finally:
            if before is None:
                del environment[VISIBLE]
            else:
                environment[VISIBLE] = before


def _wait_for(count: int, visible: Sequence[str], folder: Path, locks: ExitStack) -> list[str]:
    """Hold as many of the visible GPUs, keeping those that come free until there are enough."""
    started = reminded = time.monotonic()
    held: list[str] = []
    with ExitStack() as turn:
        choosing = False
        while True:
            if not choosing and _hold(folder / "turn.lock", turn):
                choosing = True
            for name in visible if choosing else ():
                if len(held) < count and name not in held and _hold(folder / f"{name}.lock", locks):
                    held.append(name)
            now = time.monotonic()
            if len(held) == count:
                waited = f", after {now - started:.0f} s" if reminded > started else ""
                log(f"on GPU {', '.join(held)}{waited}")
                return held
            if reminded == started or now - reminded >= _REMIND:
                reminded = now
                what = "a GPU" if count == 1 else f"{count} GPUs"
                log(f"waits for {what}: other jobs use, or wait for, the {len(visible)} here ({', '.join(visible)})")
            time.sleep(_POLL)


def _hold(path: Path, locks: ExitStack) -> bool:
    """Take a lock, to be given back with the stack, or say that another process has it."""
    lock = FileLock(path)
    try:
        locks.enter_context(lock.acquire(blocking=False))
    except Timeout:
        return False
    except (OSError, NotImplementedError) as error:
        found = getattr(error, "strerror", None) or str(error)
        remedy = "set TMPDIR to a folder on a disk of this machine"
        raise OutputError(str(path), found, "a file that can be locked", remedy) from error
    return True


def _lock_folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"segmentation-pipeline-gpus-{os.getuid()}"
    with suppress(FileExistsError):  # whatever it is
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        expected = "a folder of your own for locks"
        raise OutputError(str(folder), "something of another user", expected, "remove it, or set TMPDIR")
    return folder
