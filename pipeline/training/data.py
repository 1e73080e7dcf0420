"""Batches of samples from shards: cached in memory if they fit, else read from the files; the batches are the same."""

import math
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import torch
from numpy.typing import NDArray

from pipeline.core.counts import SOFT_THRESHOLD, VOID
from pipeline.core.errors import ShardError, plural
from pipeline.core.files import output_problem
from pipeline.core.progress import log, progress_bar
from pipeline.shards.read import ShardReader
from pipeline.shards.select import Selection
from pipeline.training import ranks
from pipeline.training.uploads import Planes, Sent, Uploader, upload


@dataclass(frozen=True)
class Batch:
    """The input of one training step.

    Parameters
    ----------
    image : (N, C, H, W) float32
        Normalized, in channels_last memory format.
    target : (N, 1, H, W) float32 in [0, 1], or int64
        The foreground probability, or class indices if there are more than two classes.
    weight : (N, 1, H, W) float32, or None
        Pixel weights: 0 outside the field of view and at ignored pixels.
    """

    image: torch.Tensor
    target: torch.Tensor
    weight: torch.Tensor | None


class SampleStore:
    """The labelled samples of one split, with random access.

    Parameters
    ----------
    paths : sequence of Path
        Shards.
    device : torch.device
        Device of the batches.
    budget : int, optional
        Main memory for samples, in bytes; by default half of the free memory. On a GPU the samples are in GPU memory if
        they take at most half of its free memory. Samples that do not fit are read from the shards during the previous
        step. The location of the samples changes only the speed.
    use_fov : bool
        Whether pixels outside the field of view get weight 0.
    selection : Selection, optional
        Use only these samples of the shards.
    weighted : bool
        Whether `set_pixel_weights` will be called; the pixel weights then count towards `budget`.

    Raises
    ------
    ShardError
        If a shard is not valid, or has no masks.
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
                "use the shards of the splits train and validation",
            )
        self.device = device
        self._names = ["images", "masks", *(["fov"] if use_fov and self.reader.has_fov else [])]
        self._scale = torch.from_numpy(self.reader.column("scale"))[:, :, None, None].to(device)
        self._offset = torch.from_numpy(self.reader.column("offset"))[:, :, None, None].to(device)
        self.soft = self.info.mask_kind == "soft"
        self._budget = psutil.virtual_memory().available // 2 if budget is None else budget
        self._cache: Planes | None = None
        self._void_rows: NDArray[np.bool_] | None = None
        self._weights: torch.Tensor | None = None
        self._uploader = Uploader(device)
        size = self.reader.nbytes() + weighted * self._weight_bytes()
        if size <= self._budget:
            self._cache = {name: torch.from_numpy(self.reader.read_all(name)) for name in self._names}
            self._void_rows = self._find_void(self._cache["masks"])
            location = "main memory"
            if device.type == "cuda" and size <= torch.cuda.mem_get_info(device)[0] // 2:
                self._cache = {name: tensor.to(device) for name, tensor in self._cache.items()}
                location = "GPU memory"
        else:
            location = "the shards, read as needed"
        log(f"{plural(len(self.reader), 'sample')} of {self.info.dataset}, {size / 1e6:.0f} MB, in {location}")

    def __len__(self) -> int:
        return len(self.reader)

    def count_classes(self) -> NDArray[np.int64]:
        """Count the pixels of each class; pixels of soft masks are foreground above 1/2.

        Ignored pixels are excluded, and with `use_fov` also pixels outside the field of view.
        """
        counts = np.zeros(256, dtype=np.int64)
        for row in range(len(self)):
            mask = self._mask(row)
            valid = mask[self._plane("fov", row) > 0] if "fov" in self._names else mask.ravel()
            counts += np.bincount(valid, minlength=256)
        return counts[: len(self.info.class_names)]

    def set_pixel_weights(self, weight_map: Callable[[NDArray[np.uint8]], NDArray[np.float32]]) -> None:
        """Compute the pixel weights of all samples for the following batches.

        Parameters
        ----------
        weight_map : callable
            Maps a (H, W) mask of class indices to (H, W) float32; called once for each sample. The weights are kept in
            memory if the samples are, else in a temporary file.

        Raises
        ------
        OutputError
            If the temporary folder does not have enough free space.
        """
        weights = self._allocate_weights()
        for row in progress_bar(range(len(self)), "pixel weights", len(self)):
            weights[row, 0] = weight_map(self._mask(row))
        self._weights = torch.from_numpy(weights)
        if self._cache is not None:
            self._cache["weights"] = self._weights.to(self._cache["images"].device)

    def _allocate_weights(self) -> NDArray[np.float32]:
        """Allocate (N, 1, H, W) pixel weights in memory, or in a temporary file if the samples are not in memory."""
        shape = (len(self), 1, *self.info.size)
        if self._cache is not None:
            return np.empty(shape, dtype=np.float32)
        with tempfile.TemporaryFile() as file:  # the memory map keeps the deleted file open
            try:  # writing to a memory map on a full disk kills the process without a message
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
        return self.reader.read_array(name, row)[0] if self._cache is None else self._cache[name][row, 0].cpu().numpy()

    def batches(self, order: torch.Tensor, size: int) -> Iterator[Batch]:
        """Yield batches of `size` rows in the given order; the last one may be smaller.

        In distributed training each process gets its rows of every batch; of the last batch it may get none.

        Parameters
        ----------
        order : (N,) int64
            Row indices of the samples.
        size : int
        """
        if not len(order):
            return
        # the rows of all batches go to the device in one copy
        batches = zip(_local_batches(order, size), _local_batches(upload(order, self.device), size), strict=True)
        if self._cache is not None and self._cache["images"].device.type == self.device.type:
            for rows, device_rows in batches:
                planes = {name: plane.index_select(0, device_rows) for name, plane in self._cache.items()}
                yield self._to_batch(planes, device_rows, self._has_void(rows, planes["masks"]))
            return

        def read_and_send(rows: torch.Tensor) -> tuple[Sent, bool]:
            planes = self._read(rows)
            has_void = self._has_void(rows, planes["masks"])
            return self._uploader.send(planes), has_void

        rows, device_rows = next(batches)
        with self._uploader.worker() as pool:  # reads one batch ahead; HDF5 allows one reader
            next_batch = pool.submit(read_and_send, rows)
            for next_rows, next_device_rows in batches:
                sent, has_void = next_batch.result()
                next_batch = pool.submit(read_and_send, next_rows)
                yield self._to_batch(self._uploader.receive(sent), device_rows, has_void)
                device_rows = next_device_rows
            sent, has_void = next_batch.result()
            yield self._to_batch(self._uploader.receive(sent), device_rows, has_void)

    def _read(self, rows: torch.Tensor) -> Planes:
        """Return samples as stored, with their pixel weights, in main memory."""
        if self._cache is not None:
            return {name: plane.index_select(0, rows) for name, plane in self._cache.items()}
        numbers = rows.tolist() or [0]  # without rows, one sample for the shape
        planes = {name: np.stack([self.reader.read_array(name, row) for row in numbers]) for name in self._names}
        stored = {name: torch.from_numpy(plane)[: len(rows)] for name, plane in planes.items()}
        return stored if self._weights is None else {**stored, "weights": self._weights[rows]}

    def _find_void(self, masks: torch.Tensor) -> NDArray[np.bool_]:
        """Return for each of (N, 1, H, W) masks in main memory whether it has ignored pixels; soft masks have none."""
        planes = masks.numpy().reshape(len(masks), -1)
        return np.zeros(len(masks), dtype=np.bool_) if self.soft else planes.max(axis=1) == VOID

    def _has_void(self, rows: torch.Tensor, masks: torch.Tensor) -> bool:
        """Return whether a batch has ignored pixels; the device is not asked."""
        return bool((self._find_void(masks) if self._void_rows is None else self._void_rows[rows.numpy()]).any())

    def _to_batch(self, planes: Planes, rows: torch.Tensor, has_void: bool) -> Batch:
        """Normalize the images of stored samples, and compute targets and pixel weights; all on the device."""
        scale, offset = self._scale.index_select(0, rows), self._offset.index_select(0, rows)
        image = planes["images"].float() * scale + offset
        mask = planes["masks"]
        weight = planes["fov"].float() if "fov" in planes else None
        if "weights" in planes:
            weight = planes["weights"] if weight is None else weight * planes["weights"]
        if self.soft:
            target = mask.float() / 255.0
        else:
            if has_void:
                ignored = mask == VOID
                weight = (~ignored).float() if weight is None else weight.masked_fill(ignored, 0.0)
                mask = mask.masked_fill(ignored, 0)
            target = mask.long() if len(self.info.class_names) > 2 else mask.float()
        return Batch(image=image.contiguous(memory_format=torch.channels_last), target=target, weight=weight)


def _local_batches(order: torch.Tensor, size: int) -> list[torch.Tensor]:
    """Split row indices into batches, and return the rows of this process of each."""
    return [rows[ranks.local_rows(len(rows))] for rows in torch.split(order, size)]
