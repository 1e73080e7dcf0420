"""Batches from shards: held in memory where they fit, else read from the files; the same batches either way."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import torch

from pipeline.progress import say
from pipeline.shards.read import ShardReader


@dataclass(frozen=True)
class Batch:
    """What one step works on.

    Parameters
    ----------
    image : (N, C, H, W) float32
        Normalized, in channels_last memory format.
    target : (N, 1, H, W) float32 in [0, 1]
    weight : (N, 1, H, W) float32 of {0, 1}, or None
        1 inside the field of view.
    """

    image: torch.Tensor
    target: torch.Tensor
    weight: torch.Tensor | None


class SampleStore:
    """The labelled samples of one split, ready to be taken in any order.

    Parameters
    ----------
    paths : sequence of Path
        Shards.
    device : torch.device
        Where batches are wanted.
    budget : int, optional
        Bytes of main memory that may be filled; half of what is free without it. On a GPU the samples lie on the
        device if they take less than half of its free memory. What does not fit is read from the shards while the
        step before it computes. Where samples lie changes the speed and nothing else.
    use_fov : bool
        Whether batches carry the field of view as weight.
    """

    def __init__(
        self, paths: list[Path], device: torch.device, budget: int | None = None, use_fov: bool = True
    ) -> None:
        self.reader = ShardReader(paths)
        self.info = self.reader.info
        self.device = device
        self._names = ["images", "masks", *(["fov"] if use_fov and self.reader.has_fov else [])]
        self._scale = torch.from_numpy(self.reader.column("scale"))[:, :, None, None].to(device)
        self._offset = torch.from_numpy(self.reader.column("offset"))[:, :, None, None].to(device)
        self._full = 255.0 if self.info.mask_kind == "soft" else 1.0
        self._held: dict[str, torch.Tensor] | None = None
        size = self.reader.nbytes()
        if size <= (psutil.virtual_memory().available // 2 if budget is None else budget):
            self._held = {name: torch.from_numpy(self.reader.whole(name)) for name in self._names}
            where = "main memory"
            if device.type == "cuda" and size <= torch.cuda.mem_get_info(device)[0] // 2:
                self._held = {name: tensor.to(device) for name, tensor in self._held.items()}
                where = "GPU memory"
        else:
            where = "the shards, read as needed"
        say(f"{len(self.reader)} samples of {self.info.dataset}, {size / 1e6:.0f} MB, in {where}")

    def __len__(self) -> int:
        return len(self.reader)

    def batches(self, order: torch.Tensor, size: int) -> Iterator[Batch]:
        """Yield batches of `size` rows in the given order; the last one may be smaller.

        Parameters
        ----------
        order : (N,) int64
            Rows of the samples.
        size : int
        """
        parts = list(torch.split(order, size))
        if self._held is not None:
            for rows in parts:
                yield self._finish(rows, self._held_rows(rows))
            return
        with ThreadPoolExecutor(max_workers=1) as pool:  # one reader ahead of the step; HDF5 takes one at a time
            coming = pool.submit(self._read_rows, parts[0])
            for position, rows in enumerate(parts):
                stored = coming.result()
                if position + 1 < len(parts):
                    coming = pool.submit(self._read_rows, parts[position + 1])
                yield self._finish(rows, stored)

    def _held_rows(self, rows: torch.Tensor) -> dict[str, torch.Tensor]:
        assert self._held is not None
        return {name: tensor[rows.to(tensor.device)] for name, tensor in self._held.items()}

    def _read_rows(self, rows: torch.Tensor) -> dict[str, torch.Tensor]:
        return {
            name: torch.from_numpy(np.stack([self.reader.plane(name, int(row)) for row in rows]))
            for name in self._names
        }

    def _finish(self, rows: torch.Tensor, stored: dict[str, torch.Tensor]) -> Batch:
        on_device = {name: tensor.to(self.device, non_blocking=True) for name, tensor in stored.items()}
        rows = rows.to(self.device)
        image = on_device["images"].float() * self._scale[rows] + self._offset[rows]
        return Batch(
            image=image.contiguous(memory_format=torch.channels_last),
            target=on_device["masks"].float() / self._full,
            weight=on_device["fov"].float() if "fov" in on_device else None,
        )
