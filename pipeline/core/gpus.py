"""Assign the GPUs of this machine to concurrent jobs: each job has exclusive GPUs, other jobs wait.

A GPU belongs to the process that holds the lock on the file named after it. The operating system releases the lock when
the process ends, even if it is killed. Without GPUs, nothing is locked.
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
"""CUDA reads it once, when it is initialized, so a process must hold its GPUs before that."""

_POLL_INTERVAL = 0.5  # seconds between attempts to lock GPUs
_LOG_INTERVAL = 60.0  # seconds between log lines while a job waits


def installed_gpus() -> list[str]:
    """Return the UUIDs of the NVIDIA GPUs of this machine, in the order of `nvidia-smi`; none if it is absent or fails.

    CUDA is not initialized, because that would fix which GPUs this process sees.
    """
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, "--query-gpu=uuid", "--format=csv,noheader"]
    try:
        output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in output.splitlines() if line.startswith("GPU-")]


def visible_gpus(value: str | None, installed: Sequence[str]) -> list[str]:
    """Return the installed GPUs that ``CUDA_VISIBLE_DEVICES`` makes visible.

    Parameters
    ----------
    value : str, optional
        Value of the variable. As in CUDA, entries after an invalid one are ignored, and an empty value hides all GPUs.
    installed : sequence of str
        UUIDs in the order of `nvidia-smi`. A number in `value` is an index into this list. UUIDs may be abbreviated.

    Returns
    -------
    list of str
        UUIDs; those of MIG devices as in `value`.
    """
    if value is None:
        return list(installed)
    visible: list[str] = []
    for entry in map(str.strip, value.split(",") if installed else ()):
        if entry.isdecimal() and int(entry) < len(installed):
            gpu = installed[int(entry)]
        elif entry.startswith("MIG-"):
            gpu = entry
        else:
            matches = [uuid for uuid in installed if entry.startswith("GPU-") and uuid.startswith(entry)]
            if len(matches) != 1:
                break
            gpu = matches[0]
        if gpu not in visible:
            visible.append(gpu)
    return visible


def usable_gpus() -> list[str]:
    """Return the GPUs of this machine that ``CUDA_VISIBLE_DEVICES`` does not hide."""
    return visible_gpus(os.environ.get(VISIBLE), installed_gpus())


@contextmanager
def hold_gpus(
    count: int = 1,
    *,
    environment: MutableMapping[str, str] = os.environ,
    installed: Callable[[], Sequence[str]] = installed_gpus,
    folder: Path | None = None,
) -> Iterator[list[str]]:
    """Hold GPUs that no other job of this user holds, and hide all others from this process and its children.

    Waits until enough GPUs are free. One job at a time takes GPUs, so a job that needs several is not starved. In a
    Slurm job with exactly as many GPUs as needed, nothing is locked.

    Parameters
    ----------
    count : int
        Number of GPUs.
    environment : mapping
        Environment in which ``CUDA_VISIBLE_DEVICES`` is read, and set inside the block.
    installed : callable
        Returns the UUIDs of the GPUs of this machine.
    folder : Path, optional
        Folder of the lock files; by default a folder of this user in the temporary folder of the system.

    Yields
    ------
    list of str
        The GPUs; none if the machine has none, so that the job runs on the CPU.

    Raises
    ------
    TrainingError
        If there are GPUs, but fewer than `count`.
    OutputError
        If the folder of the locks belongs to another user, or its file system has no locks.
    """
    previous = environment.get(VISIBLE)
    visible = visible_gpus(previous, installed())
    if not visible or (environment.get("SLURM_JOB_ID") and len(visible) == count):
        yield visible
        return
    if count > len(visible):
        raise TrainingError(
            "visible GPUs",
            f"{len(visible)} ({', '.join(visible)})" + f", limited by {VISIBLE}" * (previous is not None),
            f"{count}, the value of `gpus` of the experiment",
            "run it on a machine with enough GPUs, or lower `gpus`; the network is then trained again, because `gpus` "
            "affects the result",
        )
    with ExitStack() as locks:
        held = _wait_for_gpus(count, visible, folder or _lock_folder(), locks)
        environment[VISIBLE] = ",".join(held)
        try:
            yield held
        finally:
            if previous is None:
                del environment[VISIBLE]
            else:
                environment[VISIBLE] = previous


def _wait_for_gpus(count: int, visible: Sequence[str], folder: Path, locks: ExitStack) -> list[str]:
    """Wait until `count` of the visible GPUs are locked; keep those already locked while waiting."""
    start = last_log = time.monotonic()
    held: list[str] = []
    with ExitStack() as queue_lock:
        is_first = False
        while True:
            if not is_first and _acquire(folder / "turn.lock", queue_lock):
                is_first = True
            for gpu in visible if is_first else ():
                if len(held) < count and gpu not in held and _acquire(folder / f"{gpu}.lock", locks):
                    held.append(gpu)
            now = time.monotonic()
            if len(held) == count:
                waited = f", after {now - start:.0f} s" if last_log > start else ""
                log(f"using GPU {', '.join(held)}{waited}")
                return held
            if last_log == start or now - last_log >= _LOG_INTERVAL:
                last_log = now
                needed = "a GPU" if count == 1 else f"{count} GPUs"
                log(f"waiting for {needed}: other jobs use or wait for the visible GPUs ({', '.join(visible)})")
            time.sleep(_POLL_INTERVAL)


def _acquire(path: Path, locks: ExitStack) -> bool:
    """Acquire a lock until the stack is closed; return False if another process holds it."""
    lock = FileLock(path)
    try:
        locks.enter_context(lock.acquire(blocking=False))
    except Timeout:
        return False
    except (OSError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        remedy = "set TMPDIR to a folder on a local disk"
        raise OutputError(str(path), reason, "a file that can be locked", remedy) from error
    return True


def _lock_folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"segmentation-pipeline-gpus-{os.getuid()}"
    with suppress(FileExistsError):  # its type and owner are checked below
        folder.mkdir(mode=0o700)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        remedy = "set TMPDIR to a folder of your own"
        raise OutputError(
            str(folder), "not a folder, or a folder of another user", "a folder of the current user", remedy
        )
    return folder
