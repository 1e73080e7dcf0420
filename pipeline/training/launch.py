"""Run distributed training on several GPUs, of one machine or several, with PyTorch's own launcher.

`torch.distributed.elastic`, the library of `torchrun`, finds the machines, numbers and starts the processes, and ends
those of a machine when one of them fails. Nothing is restarted: the same command resumes a training run. Two things
that elastic leaves open are added here:

- **Failures.** Elastic reports the process whose end it notices first, which may be one that only lost the connection
  to the process that failed, and it does not end processes on other machines that wait for those of this one. Here the
  first failure of all processes is published in the store of the rendezvous. Every process waits for it in a thread,
  passes it on in the error file of elastic, and exits. It is data (JSON).
- **Signals.** After a signal, elastic kills processes that do not end within a fixed time. Saving the state of a large
  network may take longer. Here signals are forwarded, and elastic sees the processes end by themselves.
"""

import atexit
import functools
import json
import logging
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import torch
from torch import distributed
from torch.distributed import DistNetworkError, DistStoreError, TCPStore  # type: ignore[attr-defined]
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.elastic.rendezvous import RendezvousError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from pipeline.core import errors
from pipeline.core.errors import InterruptionError, PipelineError, Problem, TrainingError
from pipeline.core.progress import log, mute
from pipeline.core.signals import handle_signals
from pipeline.training.nodes import first_node

HOST = "127.0.0.1"

TIMEOUT = timedelta(minutes=10)
"""Timeout of collective operations, longer than writing a state takes, and of the wait for other machines."""

_CAUSE_TIMEOUT = timedelta(seconds=10)
"""How long a process that lost a connection waits for the reason: the failure of another process."""


def on_ranks(
    function: Callable[..., None], count: int, nodes: int = 1, run_id: str = "training"
) -> Callable[..., bool]:
    """Return a function that runs `function` in several processes, which communicate by `pipeline.training.ranks`.

    Parameters
    ----------
    function : callable
        Importable by name, with keyword arguments that can be pickled.
    count : int
        Number of processes on all machines, a multiple of `nodes`. Each uses its own GPU; without GPUs all compute on
        the CPU.
    nodes : int
        Number of machines. The function must be called on each of them; see `pipeline.training.nodes`.
    run_id : str
        Name of this training run. Machines with different names do not train together.

    Returns
    -------
    callable
        Takes the same arguments, returns when all processes have succeeded, and tells whether rank 0 was on this
        machine. If a process fails, the others are ended. Signals to this process are forwarded to those it started.

    Raises
    ------
    PipelineError
        The error that one of the processes raised.
    TrainingError
        If a process died or raised any other exception, or the machines do not find each other.
    InterruptionError
        After a signal.
    """

    @functools.wraps(function)
    def launch(**arguments: Any) -> bool:  # noqa: ANN401 - the arguments of `function`
        received: list[signal.Signals] = []

        def forward_signal(number: signal.Signals) -> None:
            received.append(number)
            children = multiprocessing.active_children()
            if not children:
                raise _Failure(text=number.name).error("this training run", received)
            for child in children:
                with suppress(ProcessLookupError):
                    os.kill(child.pid or 0, number)

        with handle_signals(forward_signal), _quiet_elastic(), tempfile.TemporaryDirectory() as folder:
            store, is_host = _connect_store(nodes)
            config = LaunchConfig(
                min_nodes=nodes,
                max_nodes=nodes,
                nproc_per_node=count // nodes,
                run_id=run_id,
                rdzv_backend="c10d",
                rdzv_endpoint=f"{store.host}:{store.port}",
                rdzv_configs={"is_host": is_host, "join_timeout": int(TIMEOUT.total_seconds())},
                local_addr=HOST if nodes == 1 else None,
                max_restarts=0,
                logs_specs=DefaultLogsSpecs(folder),
                signals_to_handle="SIGQUIT",  # none of those that are forwarded
            )
            board = _Board(store.host, store.port, f"{run_id}/failure")
            try:
                return 0 in elastic_launch(config, _run_rank)(function, arguments, board)
            except ChildFailedError as error:
                name, failure = _cause(board, count, *error.get_first_failure())
                if is_host and nodes > 1:
                    time.sleep(1)  # the processes on other machines read the failure from the store of this one
            except (RendezvousError, DistStoreError, DistNetworkError) as error:
                name, failure = "the machines of this training run", _Failure(text=str(error))
            raise failure.error(name, received)

    return launch


def warn_of_busy_cpus(processes: int, threads: int) -> None:
    """Warn if processes that compute on the CPU have more threads than the cores that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if processes * threads > cores and not torch.cuda.is_available():
        log(
            f"warning: there is no GPU, so {processes} processes with {threads} threads each share {cores} CPU cores, "
            "and wait for each other: lower `gpus` or `threads`, or use a larger machine"
        )


@dataclass(frozen=True)
class _Failure:
    """The failure of a process as plain data: an error of this package, or a text such as a traceback.

    It is doubtful if the process may only have lost the connection to one that failed before.
    """

    kind: str = ""
    problems: tuple[Mapping[str, Any], ...] = ()
    status: int | None = None
    text: str = ""
    process: str = ""
    doubtful: bool = False

    @classmethod
    def from_error(cls, error: PipelineError) -> Self:
        problems = tuple(asdict(problem) for problem in error.problems)
        return cls(type(error).__name__, problems, getattr(error, "status", None))

    def error(self, name: str, received: list[signal.Signals]) -> PipelineError:
        """Return the error to raise; if it is not one of this package and a signal was received, an interruption."""
        kind = getattr(errors, self.kind, None)
        if isinstance(kind, type) and issubclass(kind, PipelineError):
            problems = [Problem(**problem) for problem in self.problems]
            return kind(problems) if self.status is None else InterruptionError(problems, status=self.status)
        if received:
            remedy = "run the same command again: it resumes from the last saved state, or restarts"
            problem = Problem(name, received[0].name, "a training run that finishes", remedy)
            return InterruptionError(problem, status=128 + received[0])
        lines = self.text.strip().splitlines()
        if len(lines) > 1:
            log(f"{name}:\n{self.text}")
        return TrainingError(
            name,
            lines[-1],
            "processes that all finish",
            "see the output of the process above; SIGKILL without a message often means too little memory. The same "
            "command resumes from the last saved state",
        )


@dataclass(frozen=True)
class _Board:
    """Where the first failure of all processes is published: a key of the store of the rendezvous."""

    host: str
    port: int
    key: str

    def connect(self) -> TCPStore:
        return TCPStore(self.host, self.port, is_master=False, timeout=timedelta(seconds=10))

    def publish(self, failure: _Failure) -> _Failure:
        """Publish a failure if it is the first, and return the first."""
        return _Failure(**json.loads(self.connect().compare_set(self.key, "", json.dumps(asdict(failure)))))

    def wait(self, timeout: timedelta) -> _Failure | None:
        """Return the first failure, or None if there is none within the time."""
        store = self.connect()
        try:
            store.wait([self.key], timeout)
        except DistStoreError:
            return None
        return _Failure(**json.loads(store.get(self.key)))


def _connect_store(nodes: int) -> tuple[TCPStore, bool]:
    """Connect to the store of the rendezvous; tell whether this process hosts it."""
    host, port = (HOST, 0) if nodes == 1 else first_node(nodes)
    end = time.monotonic() + TIMEOUT.total_seconds()
    while True:
        try:
            server = socket.create_server((host, port))
        except OSError:  # the address of another machine, or another process hosts the store
            with suppress(OSError), socket.create_connection((host, port), timeout=10):
                return TCPStore(host, port, is_master=False, timeout=TIMEOUT), False
        else:
            port = server.getsockname()[1]  # the store closes the socket; elastic shares it, as it is multi-tenant
            return TCPStore(host, port, None, True, TIMEOUT, False, True, server.detach()), True
        if nodes == 1 or time.monotonic() > end:
            remedy = "start the same command on all machines, with the address of one of them in MASTER_ADDR"
            raise TrainingError(f"{host}:{port}", "no connection", "the first machine of this training run", remedy)
        time.sleep(0.5)


@contextmanager
def _quiet_elastic() -> Iterator[None]:
    """Keep the warnings of elastic about processes that end off the log: the failure is reported by its own message."""
    logger, handler = logging.getLogger("torch.distributed.elastic"), logging.NullHandler()
    quit_handler, propagates = signal.getsignal(signal.SIGQUIT), logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagates
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGQUIT, quit_handler)


def _cause(board: _Board, count: int, rank: int, failure: ProcessFailure) -> tuple[str, _Failure]:
    """Return the first failure of all processes, with the name of its process."""
    data = failure.error_file_data.get("failure")
    if data is None:
        code = failure.exitcode
        text = f"exited with status {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"
        first = _Failure(text=text, process=f"rank {rank} of {count}")
        try:
            published = board.publish(first)
            if not published.doubtful:
                first = published
        except (DistNetworkError, DistStoreError):
            first = replace(first, text="lost the connection to the first machine, whose launcher hosts the store")
    else:
        first = _Failure(**data)
    return f"{first.process} of this training run", first


def _run_rank(function: Callable[..., None], arguments: Mapping[str, Any], board: _Board) -> None:
    """Run one of the processes; publish its failure."""
    name = f"rank {os.environ['RANK']} of {os.environ['WORLD_SIZE']}"
    watch = threading.Thread(target=_exit_after_failure, args=(board,), daemon=True)
    watch.start()
    if os.environ["RANK"] != "0":
        mute()
    try:
        _init_process_group()
        function(**arguments)
        distributed.destroy_process_group()
    except PipelineError as error:
        board.publish(_Failure.from_error(error))
    except BaseException as error:  # also Ctrl-C, which the launcher reports
        failure = _Failure(text=traceback.format_exc(), process=name, doubtful=isinstance(error, RuntimeError))
        if not failure.doubtful or board.wait(_CAUSE_TIMEOUT) is None:
            board.publish(failure)
    else:
        atexit.register(os._exit, 0)  # no teardown, which takes a second and could meet the thread of `watch`
        return
    watch.join()  # exits; a normal exit could wait forever for collective operations with the other processes


def _exit_after_failure(board: _Board) -> None:
    """Wait for the first failure of all processes and exit with it; without the store, end like its process."""
    failure = None
    try:
        while failure is None:
            failure = board.wait(timedelta(hours=1))
        message = {"message": failure.text, "extraInfo": {"timestamp": int(time.time())}}
        text = json.dumps({"message": message, "failure": asdict(failure)})
        Path(os.environ["TORCHELASTIC_ERROR_FILE"]).write_text(text)
        os._exit(1)
    finally:
        os.kill(os.getpid(), signal.SIGKILL)


def _init_process_group() -> None:
    count = int(os.environ["LOCAL_WORLD_SIZE"])
    if sys.platform == "linux" and os.environ["GROUP_WORLD_SIZE"] == "1":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    backend = "gloo"
    if torch.cuda.is_available():
        if torch.cuda.device_count() < count:
            found = str(torch.cuda.device_count())
            expected = f"{count}, the `gpus` of the experiment on each of its `nodes`"
            raise TrainingError("visible GPUs", found, expected, "lower `gpus`")
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        backend = "cpu:gloo,cuda:nccl"
    distributed.init_process_group(backend, timeout=TIMEOUT)
