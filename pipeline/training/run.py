"""One training: from shards to the best and the last checkpoint."""

import math
import platform
import resource
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from pipeline.counts import Confusion, dice
from pipeline.errors import Problem, TrainingError
from pipeline.files import write_table
from pipeline.models.registry import build_model, count_parameters
from pipeline.progress import say, track
from pipeline.raw.splits import stable_hash
from pipeline.training.checkpoint import save_checkpoint
from pipeline.training.data import SampleStore
from pipeline.training.device import choose_device, describe_device, prepare_cpu, require_precision, run_network
from pipeline.training.losses import ACTIVATIONS, LOSSES, OUTPUT_CHANNELS, Loss, activate
from pipeline.training.optim import build_optimizer, build_schedule


def train(
    *,
    experiment: str,
    train_shards: Sequence[Path],
    validation_shards: Sequence[Path],
    output: Path,
    model: Mapping[str, Any],
    loss: Mapping[str, Any],
    optimizer: Mapping[str, Any],
    schedule: Mapping[str, Any],
    batch_size: int,
    epochs: int,
    seed: int,
    monitor: str,
    precision: str,
    threads: int,
    memory: int | None = None,
) -> None:
    """Train a network and write ``best.pt``, ``last.pt``, ``history.csv`` and ``timing.csv``.

    Parameters
    ----------
    experiment : str
        Its name, for messages and for the checkpoint.
    train_shards, validation_shards : sequence of Path
        The best epoch is chosen on the validation samples; without any, the last epoch is the best.
    output : Path
        Folder for the four files.
    model, optimizer : mapping
        ``name`` and the keyword arguments of the class.
    loss : mapping
        ``name`` (a key of `LOSSES`) and ``region`` (``fov`` or ``full``).
    schedule : mapping
        ``name`` and ``warmup`` (epochs).
    batch_size, epochs, seed, threads : int
    monitor : {'val_loss', 'val_dice'}
    precision : {'fp32', 'bf16'}
    memory : int, optional
        Bytes that samples may take in main memory; see `SampleStore`.

    Raises
    ------
    ShardError, TrainingError, OutputError
    """
    device = choose_device()
    require_precision(precision, device)
    prepare_cpu(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    use_fov = loss["region"] == "fov"
    data = SampleStore(list(train_shards), device, memory, use_fov)
    validation = SampleStore(list(validation_shards), device, memory, use_fov) if validation_shards else None

    torch.manual_seed(_derive(seed, "weights"))
    options = {key: value for key, value in model.items() if key != "name"}
    out_channels = OUTPUT_CHANNELS[loss["name"]]
    network = build_model(model["name"], in_channels=data.info.channels, out_channels=out_channels, options=options)
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    criterion = LOSSES[loss["name"]]
    rates = {key: value for key, value in optimizer.items() if key != "name"}
    steps_per_epoch = math.ceil(len(data) / batch_size)
    updater = build_optimizer(network.parameters(), optimizer["name"], rates)
    scheduler = build_schedule(updater, epochs=epochs, steps_per_epoch=steps_per_epoch, **schedule)
    order = torch.Generator().manual_seed(_derive(seed, "order"))
    say(
        f"{experiment}: {model['name']} with {count_parameters(network):,} parameters on {describe_device(device)}, "
        f"{precision}, {threads} threads, {len(data)} training and {len(validation or ())} validation samples"
    )

    made_by = {
        "model": {"name": model["name"], "options": options},
        "in_channels": data.info.channels,
        "out_channels": out_channels,
        "activation": ACTIVATIONS[loss["name"]],
        "size": list(data.info.size),
        "dataset": data.info.dataset,
        "origin": data.info.origin,
        "normalization": data.info.normalization,
        "class_names": list(data.info.class_names),
        "experiment": experiment,
        "settings": {
            "loss": dict(loss),
            "optimizer": dict(optimizer),
            "schedule": dict(schedule),
            "batch_size": batch_size,
            "epochs": epochs,
            "seed": seed,
            "monitor": monitor,
            "precision": precision,
            "threads": threads,
        },
        "made_with": {
            "device": describe_device(device),
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "numpy": np.__version__,
        },
    }

    history: list[dict[str, float]] = []
    timing: list[dict[str, float]] = []
    best, best_row = _weights(network), None
    for epoch in range(1, epochs + 1):
        started = time.perf_counter()
        network.train()
        total, rate = 0.0, 0.0
        batches = data.batches(torch.randperm(len(data), generator=order), batch_size)
        for batch in track(batches, f"epoch {epoch} of {epochs}", steps_per_epoch):
            updater.zero_grad(set_to_none=True)
            output_ = run_network(network, batch.image, precision)
            value = criterion(output_, batch.target, batch.weight)
            value.backward()  # type: ignore[no-untyped-call]
            updater.step()
            rate += float(scheduler.get_last_lr()[0]) / steps_per_epoch
            scheduler.step()
            total += float(value.detach()) * len(batch.image)
        row = {"epoch": epoch, "train_loss": total / len(data), "lr": rate}
        row |= _validate(network, criterion, validation, batch_size, precision, ACTIVATIONS[loss["name"]])
        _require_finite(row, experiment, "train_loss", *(["val_loss"] if validation else []))
        history.append(row)
        if best_row is None or _better(row, best_row, monitor):
            best, best_row = _weights(network), row
        seconds = time.perf_counter() - started
        timing.append({"epoch": epoch, "seconds": seconds, "train_samples_per_second": len(data) / seconds})
        say(
            f"epoch {epoch}/{epochs}: train loss {row['train_loss']:.5f}, validation loss {row['val_loss']:.5f}, "
            f"validation Dice {row['val_dice']:.4f}, lr {rate:.2e}, {seconds:.1f} s"
        )
    assert best_row is not None
    _save(output, made_by, best, best_row, _weights(network), history[-1])
    write_table(output / "history.csv", pd.DataFrame(history)[["epoch", "train_loss", "val_loss", "lr", "val_dice"]])
    write_table(output / "timing.csv", pd.DataFrame(timing))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    say(f"{experiment}: best epoch {best_row['epoch']}, peak memory {peak:.0f} MB")


def _derive(seed: int, purpose: str) -> int:
    """Make independent seeds for independent purposes."""
    return stable_hash(seed, purpose) >> 1


def _weights(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in network.state_dict().items()}


def _validate(
    network: nn.Module,
    criterion: Loss,
    data: SampleStore | None,
    batch_size: int,
    precision: str,
    activation: str,
) -> dict[str, float]:
    """Return the validation loss (mean over samples) and Dice at 0.5 (pooled over the pixels that count)."""
    if data is None:
        return {"val_loss": math.nan, "val_dice": math.nan}
    network.eval()
    total = 0.0
    tp = fp = fn = tn = 0
    with torch.no_grad():
        for batch in data.batches(torch.arange(len(data)), batch_size):
            output = run_network(network, batch.image, precision)
            total += float(criterion(output, batch.target, batch.weight)) * len(batch.image)
            counted = torch.ones_like(batch.target, dtype=torch.bool) if batch.weight is None else batch.weight > 0
            predicted, true = activate(output, activation) > 0.5, batch.target > 0.5
            tp += int((predicted & true & counted).sum())
            fp += int((predicted & ~true & counted).sum())
            fn += int((~predicted & true & counted).sum())
            tn += int((~predicted & ~true & counted).sum())
    counts = Confusion(*(np.array(count) for count in (tp, fp, fn, tn)))
    return {"val_loss": total / len(data), "val_dice": float(dice(counts))}


def _better(row: Mapping[str, float], best: Mapping[str, float], monitor: str) -> bool:
    """Tell whether `row` beats `best`; without validation (both losses NaN) the newest always does."""
    if math.isnan(row["val_loss"]):
        return math.isnan(best["val_loss"])
    if monitor == "val_dice":
        return row["val_dice"] > best["val_dice"]
    return row["val_loss"] < best["val_loss"]


def _require_finite(row: Mapping[str, float], experiment: str, *losses: str) -> None:
    if not all(math.isfinite(row[name]) for name in losses):
        raise TrainingError(
            Problem(
                f"experiment {experiment!r}, epoch {row['epoch']}",
                ", ".join(f"{name} {row[name]}" for name in losses),
                "finite numbers",
                "lower the learning rate, or check `normalize` of the data set",
            )
        )


def _save(
    output: Path,
    made_by: Mapping[str, Any],
    best: Mapping[str, torch.Tensor],
    best_row: Mapping[str, float],
    last: Mapping[str, torch.Tensor],
    last_row: Mapping[str, float],
) -> None:
    for name, state, row in (("best.pt", best, best_row), ("last.pt", last, last_row)):
        save_checkpoint(
            output / name, {**made_by, "state": dict(state), "epoch": int(row["epoch"]), "scores": dict(row)}
        )
