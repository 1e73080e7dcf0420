"""Batches from shards: held in memory where they fit, else read from the files; the same batches either way."""

import math
import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import torch
from numpy.typing import NDArray

from pipeline.core.counts import SOFT_THRESHOLD, VOID
from pipeline.core.errors import ShardError
from pipeline.core.files import output_problem
from pipeline.core.progress import log, progress_bar
from pipeline.shards.read import ShardReader
from pipeline.shards.select import Selection
from pipeline.training import ranks


@dataclass(frozen=True)
class Batch:
    """What one step works on.

    Parameters
    ----------
    image : (N, C, H, W) float32
        Normalized, in channels_last memory format.
    target : (N, 1, H, W) float32 in [0, 1], or int64
        The foreground's share, or class indices where there are more than two classes.
    weight : (N, 1, H, W) float32, or None
        How much a pixel counts: 0 outside the field of view and where the mask is void.
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
    selection : Selection, optional
        Take only these samples of the shards.
    weighted : bool
        Whether `weigh` will be called: the weights of the pixels then count as a part of the samples.

    Raises
    ------
    ShardError
        If a shard cannot be used, or has no masks.
    """

    def __init__(
        self,
        paths: list[Path],
        device: torch.device,
        budget: int | None = None,
        use_fov: bool = True,
        selection: Selection | None = None,
        weighted: bool = False,
    ) -> None:
        self.reader = ShardReader(paths, selection)
        self.info = self.reader.info
        if not self.reader.has_masks or not len(self.reader):
            raise ShardError(
                ", ".join(map(str, paths)),
                "samples without masks" if len(self.reader) else "no samples",
                "labelled samples",
                "name the shards of the splits train and validation",
            )
        self.device = device
        self._names = ["images", "masks", *(["fov"] if use_fov and self.reader.has_fov else [])]
        self._scale = torch.from_numpy(self.reader.column("scale"))[:, :, None, None].to(device)
        self._offset = torch.from_numpy(self.reader.column("offset"))[:, :, None, None].to(device)
        self.soft = self.info.mask_kind == "soft"
        self._budget = psutil.virtual_memory().available // 2 if budget is None else budget
        self._held: dict[str, torch.Tensor] | None = None
        self._weights: torch.Tensor | None = None
        size = self.reader.nbytes() + weighted * self._weight_bytes()
        if size <= self._budget:
            self._held = {name: torch.from_numpy(self.reader.whole(name)) for name in self._names}
            where = "main memory"
            if device.type == "cuda" and size <= torch.cuda.mem_get_info(device)[0] // 2:
                self._held = {name: tensor.to(device) for name, tensor in self._held.items()}
                where = "GPU memory"
        else:
            where = "the shards, read as needed"
        log(f"{len(self.reader)} samples of {self.info.dataset}, {size / 1e6:.0f} MB, in {where}")

    def __len__(self) -> int:
        return len(self.reader)

    def count_classes(self) -> NDArray[np.int64]:
        """Count the pixels of each class; soft masks count as foreground from 1/2 up.

        Void pixels are left out, and where batches carry the field of view those outside of it.
        """
        counts = np.zeros(256, dtype=np.int64)
        for row in range(len(self)):
            mask = self._mask(row)
            inside = mask[self._plane("fov", row) > 0] if "fov" in self._names else mask.ravel()
            counts += np.bincount(inside, minlength=256)
        return counts[: len(self.info.class_names)]

    def weigh(self, weigh: Callable[[NDArray[np.uint8]], NDArray[np.float32]]) -> None:
        """Let every pixel weigh what `weigh` says of its mask, from now on.

        Parameters
        ----------
        weigh : callable
            Maps a (H, W) mask of class indices to (H, W) float32. It is called once for each sample; the maps lie in
            memory beside the samples, or in a temporary file where these do not.

        Raises
        ------
        OutputError
            If the folder for temporary files has no room for them.
        """
        maps = self._room_for_weights()
        for row in progress_bar(range(len(self)), "weights of the pixels", len(self)):
            maps[row, 0] = weigh(self._mask(row))
        self._weights = torch.from_numpy(maps)
        if self._held is not None:
            self._held["weights"] = self._weights.to(self._held["images"].device)

    def _room_for_weights(self) -> NDArray[np.float32]:
        shape = (len(self), 1, *self.info.size)
        if self._held is not None:
            return np.empty(shape, dtype=np.float32)
        with tempfile.TemporaryFile() as file:  # the mapping keeps the unnamed file
            try:  # a mapping of what the disk turns out not to hold ends the process without a message
                if hasattr(os, "posix_fallocate"):  # not on macOS
                    os.posix_fallocate(file.fileno(), 0, self._weight_bytes())
            except OSError as error:
                raise output_problem(Path(tempfile.gettempdir()), error) from error
            return np.memmap(file, dtype=np.float32, mode="w+", shape=shape)

    def _weight_bytes(self) -> int:
        return len(self) * math.prod(self.info.size) * 4

    def _mask(self, row: int) -> NDArray[np.uint8]:
        mask = self._plane("masks", row)
        return (mask > SOFT_THRESHOLD).astype(np.uint8) if self.soft else mask

    def _plane(self, name: str, row: int) -> NDArray[np.uint8]:
        return self.reader.plane(name, row)[0] if self._held is None else self._held[name][row, 0].cpu().numpy()

    def batches(self, order: torch.Tensor, size: int) -> Iterator[Batch]:
        """Yield batches of `size` rows in the given order; the last one may be smaller.

        Where several processes train together, each gets its rows of every batch, in the last one perhaps none.

        Parameters
        ----------
        order : (N,) int64
            Rows of the samples.
        size : int
        """
        parts = [rows[ranks.local_rows(len(rows))] for rows in torch.split(order, size)] if len(order) else []
        if self._held is not None or not parts:
            for rows in parts:
                yield self._finish(rows, self._take(rows))
            return
        with ThreadPoolExecutor(max_workers=1) as pool:  # one reader ahead of the step; HDF5 takes one at a time
            coming = pool.submit(self._take, parts[0])
            for position, rows in enumerate(parts):
                stored = coming.result()
                if position + 1 < len(parts):
                    coming = pool.submit(self._take, parts[position + 1])
                yield self._finish(rows, stored)

    def _take(self, rows: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return samples as they are stored, with the weights of their pixels."""
        if self._held is not None:
            return {name: tensor[rows.to(tensor.device)] for name, tensor in self._held.items()}
        numbers = rows.tolist() or [0]  # where there is none, one for the shape
        planes = {name: np.stack([self.reader.plane(name, row) for row in numbers]) for name in self._names}
        stored = {name: torch.from_numpy(plane)[: len(rows)] for name, plane in planes.items()}
        return stored if self._weights is None else {**stored, "weights": self._weights[rows]}

    def _finish(self, rows: torch.Tensor, stored: dict[str, torch.Tensor]) -> Batch:
        on_device = {name: tensor.to(self.device, non_blocking=True) for name, tensor in stored.items()}
        rows = rows.to(self.device)
        image = on_device["images"].float() * self._scale[rows] + self._offset[rows]
        mask = on_device["masks"]
        weight = on_device["fov"].float() if "fov" in on_device else None
        if "weights" in on_device:
            weight = on_device["weights"] if weight is None else weight * on_device["weights"]
        if self.soft:
            target = mask.float() / 255.0
        else:
            void = mask == VOID
            if void.any():
                weight = torch.where(void, 0.0, torch.ones_like(image[:, :1]) if weight is None else weight)
                mask = torch.where(void, 0, mask)
            target = mask.long() if len(self.info.class_names) > 2 else mask.float()
        return Batch(image=image.contiguous(memory_format=torch.channels_last), target=target, weight=weight)
