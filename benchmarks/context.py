"""What the parts share: options, device, samples, and the limits of the machine that were measured."""

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

from benchmarks.measure import Deadline, NotRun, Problem
from benchmarks.worker import Worker

SETS: dict[str, tuple[str, dict[str, Any], int]] = {
    "drive-512": ("DRIVE", {"layout": "drive", "size": [512, 512], "shards": 8}, 16),
    "drive-native": ("DRIVE", {"layout": "drive", "size": "native", "shards": 8}, 16),
    "shapes-128": ("Shapes", {"layout": "shapes", "size": [128, 128], "normalize": "symmetric", "shards": 64}, 32),
    "duts-320": ("DUTS", {"layout": "duts", "size": [320, 320], "shards": 2}, 4),
    "tgs-128": ("TGS", {"layout": "tgs", "size": [128, 128], "shards": 32}, 128),
}
"""Samples of the trainings: folder of the raw data set, settings, and how many samples are prepared at least."""


def configuration(layout: str, root: Path, **settings: Any) -> dict[str, Any]:
    """Return a configuration in which all labelled images except test images are training images."""
    data = {"layout": layout, "root": str(root), "test": "official", "validation": {"fraction": 0}, **settings}
    return {"datasets": {"benchmark": data}}


@dataclass
class Context:
    """Options and state of a run; see `benchmarks.__main__` for the options."""

    folder: Path
    rounds: int = 5
    quick: bool = False
    gpu: bool = False
    gpu_memory: int = 0
    real: Path | None = None
    shards: Path | None = None
    made: Path | None = None
    log: Callable[[str], None] = print
    deadline: Deadline = field(default_factory=lambda: Deadline(600))
    problems: list[Problem] = field(default_factory=list)
    limits: dict[tuple[str, str], float] = field(default_factory=dict)
    workers: list[Worker] = field(default_factory=list)

    @property
    def device(self) -> str:
        """Name of the device in the table."""
        return "gpu" if self.gpu else "cpu"

    @property
    def environment(self) -> dict[str, str]:
        """Added to the environment of all processes: without `--gpu` they see no GPU."""
        return {} if self.gpu else {"CUDA_VISIBLE_DEVICES": ""}

    def start(self, target: str, environment: dict[str, str] | None = None, **arguments: Any) -> Worker:
        """Start a process; it ends with the part at the latest."""
        worker = Worker(target, arguments, {**self.environment, **(environment or {})})
        self.workers.append(worker)
        return worker

    def close(self) -> None:
        """End all processes."""
        while self.workers:
            self.workers.pop().close()

    def leave_out(self, where: str, reason: str) -> None:
        """Note what does not run."""
        self.problems.append(Problem(where, reason, failed=False))

    def fail(self, where: str, error: Exception) -> None:
        """Note a failure, or what cannot run here."""
        failed = not isinstance(error, NotRun | ModuleNotFoundError)
        reason = f"{error.name} is not installed" if isinstance(error, ModuleNotFoundError) else str(error)
        self.problems.append(Problem(where, f"{type(error).__name__}: {reason}" if failed else reason, failed))

    def raw(self, name: str) -> Path:
        """Return the folder of a raw data set: the real one if it is there, else the synthetic one."""
        if self.real is not None and (self.real / name).is_dir():
            return self.real / name
        folder = self.folder / "raw"
        if not folder.exists():
            from pipeline.raw.synthetic.datasets import write_datasets

            with redirect_stderr(StringIO()):
                write_datasets(folder)
        return folder / name

    def samples(self, name: str) -> list[Path]:
        """Return the training shards of a set of samples; they are built once, and few.

        Raises
        ------
        NotRun
            If the folder `--shards` does not have them.
        """
        raw, settings, wanted = SETS[name]
        folder = (self.shards or self.made or self.folder / "shards") / name
        files = sorted(folder.glob("*.h5"))
        if self.shards is not None and not files:
            raise NotRun(f"the folder of --shards has no {name}/*.h5")
        if not files:
            files = build_shards(configuration(root=self.raw(raw), **settings), folder, wanted)
        return files


def build_shards(config: dict[str, Any], folder: Path, wanted: int) -> list[Path]:
    """Build training shards until they hold as many samples as wanted, or all."""
    from pipeline.config.config import parse
    from pipeline.graph.artifacts import Shard
    from pipeline.graph.study import Study
    from pipeline.shards.write import build_shard

    study = Study(parse(config))
    files: list[Path] = []
    folder.mkdir(parents=True, exist_ok=True)
    for number, members in study.raw("benchmark").shard_members("train").items():
        if wanted <= 0:
            break
        files.append(folder / f"{number}.h5")
        with redirect_stderr(StringIO()):
            build_shard(Shard("benchmark", "train", number).recipe(study), number=number, output=files[-1])
        wanted -= len(members)
    return files


def describe_machine(gpu: bool) -> dict[str, str]:
    """Describe the machine in general terms: kind of processor, cores, memory, versions."""
    import psutil

    machine = {"processor": _processor(), "cores": str(len(os.sched_getaffinity(0)))}
    machine["memory"] = f"{psutil.virtual_memory().total / 2**30:.0f} GiB"
    machine["system"] = f"{platform.system()}, Python {platform.python_version()}"
    machine |= {name: importlib.metadata.version(name) for name in ("torch", "numpy")}
    code = "import json, torch; p = torch.cuda.get_device_properties(0)\n"
    code += "memory = f'{p.total_memory / 2**30:.0f} GiB'\n"
    code += "print(json.dumps({'GPU': p.name, 'GPU memory': memory, 'CUDA': torch.version.cuda}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True) if gpu else None
    return machine if done is None or done.returncode else machine | json.loads(done.stdout)


def _processor() -> str:
    """Return the model of the processor."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return (names or [platform.processor() or platform.machine()])[0]
