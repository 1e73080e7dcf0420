"""The limits of the machine: convolution, matrix product, copies of memory."""

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

from benchmarks.context import Context
from benchmarks.measure import Case, NotRun, Variant
from benchmarks.worker import LEAN_MALLOC, Worker

CHANNELS = 256
MATRIX = 2048
GPU_MATRIX = 8192


class Limits:
    """Measures one limit at a time, in one process; a worker."""

    def measure(self, kind: str, precision: str, seconds: float) -> dict[str, float]:
        """Return operations (10^12) or bytes (10^9) per second."""
        import torch

        cuda = torch.cuda.is_available()
        device = torch.device("cuda" if cuda else "cpu")
        if precision == "bf16" and not cuda and not torch.cpu._is_avx512_bf16_supported():
            raise NotRun("this processor has no bf16")
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        function, amount = getattr(self, f"_{kind}")(torch, device, dtype, cuda)
        with torch.no_grad():
            self._run(function, 2, cuda)
            calls, started = 0, time.perf_counter()
            while calls == 0 or time.perf_counter() - started < seconds:
                calls += self._run(function, 10 if cuda else 1, cuda)
            return {"": calls * amount / (time.perf_counter() - started)}

    def _run(self, function: Any, calls: int, cuda: bool) -> int:
        """Call a function and wait for the device; return the number of calls."""
        import torch

        for _ in range(calls):
            function()
        if cuda:
            torch.cuda.synchronize()
        return calls

    def _convolution(self, torch: Any, device: Any, dtype: Any, cuda: bool) -> tuple[Any, float]:
        images, side = (32, 128) if cuda else (4, 64)
        x = torch.rand(images, CHANNELS, side, side, device=device, dtype=dtype)
        layer = torch.nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False, device=device, dtype=dtype)
        layer, x = layer.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
        return partial(layer, x), 2 * 9 * CHANNELS * CHANNELS * side * side * images / 1e12

    def _product(self, torch: Any, device: Any, dtype: Any, cuda: bool) -> tuple[Any, float]:
        side = GPU_MATRIX if cuda else MATRIX
        a, b = (torch.rand(side, side, device=device, dtype=dtype) for _ in range(2))
        return partial(torch.mm, a, b), 2 * side**3 / 1e12

    def _memory(self, torch: Any, device: Any, dtype: Any, cuda: bool) -> tuple[Any, float]:
        source = torch.ones(2**28, dtype=torch.uint8, device=device)
        target = torch.empty_like(source)
        return partial(target.copy_, source), 2 * len(source) / 1e9

    def _upload(self, torch: Any, device: Any, dtype: Any, cuda: bool) -> tuple[Any, float]:
        source = torch.ones(2**28, dtype=torch.uint8, pin_memory=True)
        target = torch.empty_like(source, device=device)
        return partial(target.copy_, source, non_blocking=True), len(source) / 1e9

    def _download(self, torch: Any, device: Any, dtype: Any, cuda: bool) -> tuple[Any, float]:
        source = torch.ones(2**28, dtype=torch.uint8, device=device)
        target = torch.empty(2**28, dtype=torch.uint8, pin_memory=True)
        return partial(target.copy_, source, non_blocking=True), len(source) / 1e9


def cases(context: Context) -> Iterator[Case]:
    """Yield the limits; those of convolutions are the measure of the trainings."""
    worker = context.start("benchmarks.limits:Limits", LEAN_MALLOC)
    seconds = 0.1 if context.quick or context.gpu else 0.7

    def measure(worker: Worker, kind: str, precision: str) -> dict[str, float]:
        result = worker.call("measure", kind=kind, precision=precision, seconds=seconds, timeout=60)
        best = max(context.limits.get((kind, precision), 0.0), result[""] * 1e12)
        context.limits[kind, precision] = best
        return result

    for kind, name in (
        ("convolution", f"convolution 3x3, {CHANNELS} to {CHANNELS} channels"),
        ("product", f"matrix product, {GPU_MATRIX if context.gpu else MATRIX} wide"),
    ):
        variants = [Variant(one, partial(measure, worker, kind, one), one) for one in ("fp32", "bf16")]
        yield Case(name, {"": "TFLOP/s"}, variants, "")
    copies = {"memory": "copy in memory"}
    if context.gpu:
        copies |= {"upload": "copy to the device, pinned", "download": "copy from the device, pinned"}
    for kind, name in copies.items():
        yield Case(
            name,
            {"": "GB/s"},
            [Variant("read and written" if kind == "memory" else "copied", partial(measure, worker, kind, ""))],
        )
