"""Launch distributed training on several GPUs of one machine; kill all processes if one fails.

The parent process computes nothing: it hosts the rendezvous store, forwards signals and reports errors.
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
"""Timeout of collective operations: longer than writing a state takes."""


def on_ranks(function: Callable[..., None], count: int) -> Callable[..., None]:
    """Return a function that runs `function` in several processes, which communicate by `pipeline.training.ranks`.

    Parameters
    ----------
    function : callable
        Importable by name, with keyword arguments that can be pickled.
    count : int
        Number of processes. Each uses its own GPU; without GPUs all compute on the CPU.

    Returns
    -------
    callable
        Takes the same arguments and returns when all processes have succeeded. If one fails, the others are killed.
        Signals to this process are forwarded to all of them.

    Raises
    ------
    PipelineError
        The error that one of the processes raised.
    TrainingError
        If a process died or raised any other exception.
    InterruptionError
        After a signal.
    """

    @functools.wraps(function)
    def launch(**arguments: Any) -> None:  # noqa: ANN401 - the arguments of `function`
        spawn = multiprocessing.get_context("spawn")  # CUDA cannot be used in a forked process
        store, port = _host_store()
        processes: dict[Connection, SpawnProcess] = {}
        received: list[signal.Signals] = []

        def forward_signal(signal_number: signal.Signals) -> None:
            received.append(signal_number)
            for process in processes.values():
                _send_signal(process, signal_number)

        with handle_signals(forward_signal), ExitStack() as stack:
            for rank in range(count):
                receiver, sender = spawn.Pipe(duplex=False)
                process_args = (rank, count, port, sender, function, arguments)
                process = spawn.Process(
                    target=_run_rank, args=process_args, name=f"rank {rank} of {count}", daemon=True
                )
                process.start()
                sender.close()  # so that the pipe closes when the process exits
                stack.callback(_kill, process)
                processes[receiver] = process
                for signal_number in received:
                    _send_signal(process, signal_number)
            _wait_for_all(dict(processes), received)
        del store

    return launch


def _host_store() -> tuple[Any, int]:
    """Host the rendezvous store of the processes on a free local port; return the store and the port."""
    server = socket.create_server((HOST, 0))
    port = server.getsockname()[1]
    # the store closes the socket
    return TCPStore(HOST, port, None, True, wait_for_workers=False, master_listen_fd=server.detach()), port


def _run_rank(
    rank: int, count: int, port: int, sender: Connection, function: Callable[..., None], arguments: Mapping[str, Any]
) -> None:
    """Run one of the processes; send its error to the parent process, or None."""
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    if rank > 0:
        mute()
    failure: object = None
    try:
        _init_process_group(rank, count, port)
        function(**arguments)
        distributed.destroy_process_group()
    except PipelineError as error:
        failure = (type(error), error.problems, getattr(error, "status", None))
    except BaseException:  # also Ctrl-C, which the parent process reports
        failure = traceback.format_exc()
    sender.send(failure)
    if failure is not None:
        os._exit(1)  # a normal exit could wait forever for collective operations with the other processes


def _init_process_group(rank: int, count: int, port: int) -> None:
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    backend = "gloo"
    if torch.cuda.is_available():
        if torch.cuda.device_count() < count:
            found = str(torch.cuda.device_count())
            raise TrainingError(
                "visible GPUs", found, f"{count}, the value of `gpus` of the experiment", "lower `gpus`"
            )
        torch.cuda.set_device(rank)
        backend = "cpu:gloo,cuda:nccl"
    store = TCPStore(HOST, port, None, False)
    distributed.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=TIMEOUT)


def _exit_with_parent() -> None:
    """Wait for the end of the parent process, then kill this one."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGKILL)


def _send_signal(process: SpawnProcess, signal_number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        if process.pid is not None and process.exitcode is None:
            os.kill(process.pid, signal_number)


def _kill(process: SpawnProcess) -> None:
    process.kill()
    process.join()


def _wait_for_all(running: dict[Connection, SpawnProcess], received: list[signal.Signals]) -> None:
    """Wait until all processes have succeeded, or raise the error of one that failed."""
    while running:
        for receiver in wait(list(running)):
            assert isinstance(receiver, Connection)
            process = running.pop(receiver)
            try:
                failure = receiver.recv()
            except EOFError:
                process.join()
                code = process.exitcode or 0
                failure = f"exited with status {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"
            if isinstance(failure, str):
                _raise_failure(process.name, failure, received)
            elif failure is not None:
                kind, problems, status = failure
                raise kind(problems) if status is None else kind(problems, status=status)


def _raise_failure(name: str, failure: str, received: list[signal.Signals]) -> None:
    """Raise the failure of a process, a traceback or one line; after a signal, an interruption."""
    if received:
        remedy = "run the same command again: it resumes from the last saved state, or restarts"
        problem = Problem(name, received[0].name, "a training run that finishes", remedy)
        raise InterruptionError(problem, status=128 + received[0])
    lines = failure.strip().splitlines()
    if len(lines) > 1:
        log(f"{name}:\n{failure}")
    raise TrainingError(
        f"{name} of this training run",
        lines[-1],
        "processes that all finish",
        "see the output of the process above; SIGKILL without a message often means too little memory. The same "
        "command resumes from the last saved state",
    )
