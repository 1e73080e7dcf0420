"""Start the processes of one training on several GPUs, watch them, and end all of them when one ends badly.

They run on one machine. The process that starts them computes nothing: it hosts the store where they meet, hands
signals on, and says what ended them.
"""

import functools
import multiprocessing
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

import torch
from torch import distributed
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from pipeline.core.errors import InterruptionError, PipelineError, Problem, TrainingError
from pipeline.core.progress import log, mute
from pipeline.core.signals import handle_signals

HOST = "127.0.0.1"

TIMEOUT = timedelta(minutes=10)
"""How long processes wait for one that lives and does not come: longer than a state takes to be written."""


def on_ranks(function: Callable[..., None], count: int) -> Callable[..., None]:
    """Make a function run in several processes at once, which find each other by `pipeline.training.ranks`.

    Parameters
    ----------
    function : callable
        Importable by its name, with keyword arguments that can be pickled.
    count : int
        Processes. Each has a GPU of its own; where there is none, all compute on the CPU.

    Returns
    -------
    callable
        It takes the same arguments, and returns when all processes have ended well. When one ends badly, the others
        are killed. A signal to this process goes on to all of them.

    Raises
    ------
    PipelineError
        What one of the processes raised.
    TrainingError
        If a process died or raised anything else.
    InterruptionError
        After a signal.
    """

    @functools.wraps(function)
    def together(**arguments: Any) -> None:  # noqa: ANN401 - whatever the function takes
        spawn = multiprocessing.get_context("spawn")  # CUDA cannot be used in a forked process
        store, port = _store()
        watched: dict[Connection, SpawnProcess] = {}
        received: list[signal.Signals] = []

        def hand_on(number: signal.Signals) -> None:
            received.append(number)
            for process in watched.values():
                _send(process, number)

        with handle_signals(hand_on), ExitStack() as stack:
            for rank in range(count):
                ours, theirs = spawn.Pipe(duplex=False)
                given = (rank, count, port, theirs, function, arguments)
                process = spawn.Process(target=_be_rank, args=given, name=f"rank {rank} of {count}", daemon=True)
                process.start()
                theirs.close()  # so that the pipe ends with the process
                stack.callback(_end, process)
                watched[ours] = process
                for number in received:
                    _send(process, number)
            _watch(dict(watched), received)
        del store

    return together


def _store() -> tuple[Any, int]:
    """Host the store where the processes meet, for this machine alone, on a free port."""
    server = socket.create_server((HOST, 0))
    port = server.getsockname()[1]
    # the store closes the socket
    return TCPStore(HOST, port, None, True, wait_for_workers=False, master_listen_fd=server.detach()), port


def _be_rank(
    rank: int, count: int, port: int, end: Connection, function: Callable[..., None], arguments: Mapping[str, Any]
) -> None:
    """Be one of the processes; say at the end what went wrong, or nothing."""
    threading.Thread(target=_die_with_parent, daemon=True).start()
    if rank > 0:
        mute()
    failure: object = None
    try:
        _join(rank, count, port)
        function(**arguments)
        distributed.destroy_process_group()
    except PipelineError as error:
        failure = (type(error), error.problems, getattr(error, "status", None))
    except BaseException:  # also Ctrl-C: whoever watches knows what to say of it
        failure = traceback.format_exc()
    end.send(failure)
    if failure is not None:
        os._exit(1)  # what others do not take part in any more could wait for them


def _join(rank: int, count: int, port: int) -> None:
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    backend = "gloo"
    if torch.cuda.is_available():
        if torch.cuda.device_count() < count:
            found = f"{torch.cuda.device_count()} GPUs"
            raise TrainingError("GPUs of this machine", found, f"{count}", "change `gpus` of the experiment")
        torch.cuda.set_device(rank)
        backend = "cpu:gloo,cuda:nccl"
    store = TCPStore(HOST, port, None, False)
    distributed.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=TIMEOUT)


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGKILL)


def _send(process: SpawnProcess, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        if process.pid is not None and process.exitcode is None:
            os.kill(process.pid, number)


def _end(process: SpawnProcess) -> None:
    process.kill()
    process.join()


def _watch(running: dict[Connection, SpawnProcess], received: list[signal.Signals]) -> None:
    """Wait until all processes have ended well, or raise what ended one of them."""
    while running:
        for end in wait(list(running)):
            assert isinstance(end, Connection)
            process = running.pop(end)
            try:
                failure = end.recv()
            except EOFError:
                process.join()
                code = process.exitcode or 0
                failure = f"it ended with status {code}" if code >= 0 else f"{signal.Signals(-code).name} ended it"
            if isinstance(failure, str):
                _fail(process.name, failure, received)
            elif failure is not None:
                kind, problems, status = failure
                raise kind(problems) if status is None else kind(problems, status=status)


def _fail(name: str, failure: str, received: list[signal.Signals]) -> None:
    """Raise what ended a process, a traceback or one line; after a signal, that."""
    if received:
        remedy = "run the same command again: it goes on from what was saved, or starts anew"
        problem = Problem(name, received[0].name, "time to train on", remedy)
        raise InterruptionError(problem, status=128 + received[0])
    lines = failure.strip().splitlines()
    if len(lines) > 1:
        log(f"{name}:\n{failure}")
    raise TrainingError(
        f"{name} of this training",
        lines[-1],
        "processes that all train to the end",
        "see above what it said; SIGKILL without a word is often too little memory. The same command goes on from "
        "what was saved",
    )
