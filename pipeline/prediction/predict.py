"""From a checkpoint and shards to one probability picture for each sample, at its native size."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from pipeline.counts import to_levels
from pipeline.errors import CheckpointError, Problem
from pipeline.files import atomic_folder
from pipeline.models.registry import build_model
from pipeline.png import write_png
from pipeline.progress import say, track
from pipeline.shards.prepare import resize_image, resize_mask
from pipeline.shards.read import ShardReader
from pipeline.training.checkpoint import load_checkpoint
from pipeline.training.device import choose_device, describe_device, prepare_cpu, require_precision, run_network
from pipeline.training.losses import activate

PIXELS_AT_ONCE = 2**20
"""A batch holds about this many input pixels (at least one sample): it changes the speed, not the results."""


def predict(
    *, experiment: str, checkpoint: Path, shards: Sequence[Path], output: Path, precision: str, threads: int
) -> None:
    """Predict every sample of some shards.

    Parameters
    ----------
    experiment : str
        Its name, for messages.
    checkpoint : Path
        What `pipeline.training.run.train` wrote.
    shards : sequence of Path
        One split.
    output : Path
        Folder of ``<id>.png``: 8-bit grey, probability = level / 255, as large as the raw picture. It appears only
        when all pictures are there. Where the loss counted only the inside of the field of view it is 0 outside of
        it, as the shard has it.
    precision : {'fp32', 'bf16'}
    threads : int

    Raises
    ------
    CheckpointError, ShardError, TrainingError, OutputError
    """
    device = choose_device()
    require_precision(precision, device)
    prepare_cpu(threads)
    contents = load_checkpoint(checkpoint)
    reader = ShardReader(shards)
    if reader.info.channels != contents["in_channels"]:
        raise CheckpointError(
            Problem(
                str(checkpoint),
                f"a network for {contents['in_channels']} channels, while {shards[0]} has {reader.info.channels}",
                "checkpoint and shards of one data set",
                "train again, or name the shards that the checkpoint was trained on",
            )
        )
    network = build_model(
        contents["model"]["name"],
        in_channels=contents["in_channels"],
        out_channels=contents["out_channels"],
        options=contents["model"]["options"],
    )
    network.load_state_dict(contents["state"])
    network = network.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    say(f"{experiment}: {len(reader)} samples on {describe_device(device)}, {precision}, {threads} threads")

    ids = [str(name) for name in reader.column("ids")]
    sizes = reader.column("original_size")
    scale, offset = (reader.column(name)[:, :, None, None] for name in ("scale", "offset"))
    height, width = reader.info.size
    # a network that was trained inside the field of view has learnt nothing about what lies outside
    inside_only = contents["settings"]["loss"]["region"] == "fov" and reader.has_fov
    batch = max(1, PIXELS_AT_ONCE // (height * width))
    starts = range(0, len(reader), batch)
    with atomic_folder(output) as folder, ThreadPoolExecutor(max_workers=2) as pool:
        written = []
        for start in track(starts, f"{experiment}: batches of {batch}", len(starts)):
            rows = range(start, min(start + batch, len(reader)))
            stored = np.stack([reader.plane("images", row) for row in rows]).astype(np.float32)
            image = torch.from_numpy(stored * scale[rows.start : rows.stop] + offset[rows.start : rows.stop])
            with torch.no_grad():
                output_ = run_network(network, image.to(device, memory_format=torch.channels_last), precision)
            probability = activate(output_, contents["activation"]).cpu().numpy()[:, 0]
            for row, plane in zip(rows, probability, strict=True):
                size = int(sizes[row][0]), int(sizes[row][1])
                native = resize_image(plane, *size)
                if inside_only:
                    native = native * resize_mask(reader.plane("fov", row)[0], *size)
                written.append(pool.submit(write_png, folder / f"{ids[row]}.png", to_levels(native)))
        for future in written:
            future.result()
