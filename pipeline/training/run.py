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

from pipeline.errors import Problem, TrainingError
from pipeline.files import write_table
from pipeline.models.registry import build_model, count_parameters
from pipeline.progress import say, track
from pipeline.training.augment import Augmentation
from pipeline.training.checkpoint import save_checkpoint
from pipeline.training.data import SampleStore
from pipeline.training.device import choose_device, choose_precision, describe_device, prepare_cpu, run_logits
from pipeline.training.losses import LOSSES, Loss, supervise
from pipeline.training.optim import Schedule, build_optimizer
from pipeline.training.seeds import derive_seed
from pipeline.training.validate import Validation, validate
from pipeline.training.weights import class_weights, weight_map

Row = dict[str, float]

LESS_IS_BETTER = {"val_loss": True, "val_dice": False, "val_mae": True, "val_max_f": False}
"""What can be monitored."""


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
    crop: Sequence[int] | None = None,
    augment: Mapping[str, Any] | None = None,
    repeats: int = 1,
    validate_every: int = 1,
    checkpoint_every: int = 1,
    early_stopping: int | None = None,
    memory: int | None = None,
    fingerprint: str | None = None,
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
    model, optimizer, schedule : mapping
        ``name`` and the keyword arguments of `build_model`, `build_optimizer` and `Schedule`.
    loss : mapping
        ``name`` (a key of `LOSSES`), ``region`` (``fov`` or ``full``), and optionally ``class_balance`` (bool) and
        ``border`` (``w0`` and ``sigma``); see `pipeline.training.weights`.
    batch_size, epochs, seed, threads : int
    monitor : {'val_loss', 'val_dice', 'val_mae', 'val_max_f'}
        What the best epoch, a plateau and early stopping are told by.
    precision : {'fp32', 'bf16', 'auto'}
    crop, augment
        See `Augmentation`; for training samples only.
    repeats : int
        How often an epoch takes each training sample.
    validate_every : int
        Validate after epoch 1, after every so many epochs, and after the last.
    checkpoint_every : int
        Only after every so many epochs, and after the last, an epoch may become the best.
    early_stopping : int, optional
        Stop after so many validations without an improvement.
    memory : int, optional
        Bytes that samples may take in main memory; see `SampleStore`.
    fingerprint : str, optional
        What the training is made by (`pipeline.fingerprint.Fingerprint.to_json`), to store in the checkpoints.

    Raises
    ------
    ShardError, TrainingError, OutputError
    """
    device = choose_device()
    precision = choose_precision(precision, device)
    prepare_cpu(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    use_fov = loss["region"] == "fov"
    data = SampleStore(list(train_shards), device, memory, use_fov)
    validation = SampleStore(list(validation_shards), device, memory, use_fov) if validation_shards else None
    _weigh_pixels(loss, data, validation)
    criterion = LOSSES[loss["name"]]
    _require_fit(experiment, loss["name"], criterion, data, crop)
    change = Augmentation(crop=crop, **(augment or {})) if crop or augment else None

    torch.manual_seed(derive_seed(seed, "weights"))
    options = {key: value for key, value in model.items() if key != "name"}
    out_channels = criterion.channels(len(data.info.class_names))
    network = build_model(model["name"], in_channels=data.info.channels, out_channels=out_channels, options=options)
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    updater = build_optimizer(network.parameters(), **optimizer)
    steps_per_epoch = math.ceil(len(data) * repeats / batch_size)
    rates = Schedule(updater, epochs=epochs, steps_per_epoch=steps_per_epoch, **schedule)
    order, chance = (torch.Generator().manual_seed(derive_seed(seed, purpose)) for purpose in ("order", "augmentation"))
    say(
        f"{experiment}: {model['name']} with {count_parameters(network):,} parameters on {describe_device(device)}, "
        f"{precision}, {threads} threads, {len(data)} training and {len(validation or ())} validation samples"
    )

    history: list[Row] = []
    timing: list[Row] = []
    best: Row | None = None
    best_weights = _weights(network)
    since_best, lowest = 0, math.inf
    for epoch in range(1, epochs + 1):
        started = time.perf_counter()
        network.train()
        total, rate = 0.0, 0.0
        rows = torch.cat([torch.randperm(len(data), generator=order) for _ in range(repeats)])
        for batch in track(data.batches(rows, batch_size), f"epoch {epoch} of {epochs}", steps_per_epoch):
            if change is not None:
                batch = change(batch, chance, data.soft)
            updater.zero_grad(set_to_none=True)
            outputs = run_logits(network, batch.image, precision)
            value = supervise(criterion.function, outputs, batch.target, batch.weight)
            value.backward()  # type: ignore[no-untyped-call]
            updater.step()
            rate += rates.rate / steps_per_epoch
            rates.step()
            total += float(value.detach()) * len(batch.image)
        trained = time.perf_counter() - started
        due = validation is not None and (epoch in (1, epochs) or epoch % validate_every == 0)
        scores = Validation()
        if due and validation is not None:
            scores = validate(network, criterion, validation, batch_size, precision)
        row: Row = {"epoch": epoch, "train_loss": total / len(rows), "lr": rate, **scores._asdict()}
        _require_finite(row, experiment, "train_loss", *(["val_loss"] if due else []))
        history.append(row)
        if due:
            cost = row[monitor] if LESS_IS_BETTER[monitor] else -row[monitor]
            rates.validated(cost)
            since_best, lowest = (0, cost) if cost < lowest else (since_best + 1, lowest)
        stop = early_stopping is not None and since_best >= early_stopping
        if _is_best(row, best, monitor) and (epoch % checkpoint_every == 0 or epoch == epochs):
            best, best_weights = row, _weights(network)
        timing.append(
            {
                "epoch": epoch,
                "seconds": time.perf_counter() - started,
                "train_samples_per_second": len(rows) / trained,
            }
        )
        say(_line(row, epochs, timing[-1]["seconds"]))
        if stop:
            say(f"{experiment}: stopped, {monitor} did not improve in {early_stopping} validations")
            break
    last_weights = _weights(network)
    if best is None:
        best, best_weights = history[-1], last_weights
    settings = {
        "loss": dict(loss),
        "optimizer": dict(optimizer),
        "schedule": dict(schedule),
        "batch_size": batch_size,
        "epochs": epochs,
        "seed": seed,
        "monitor": monitor,
        "precision": precision,
        "threads": threads,
        "crop": None if crop is None else list(crop),
        "augment": None if augment is None else dict(augment),
        "repeats": repeats,
        "validate_every": validate_every,
        "checkpoint_every": checkpoint_every,
        "early_stopping": early_stopping,
    }
    made_by = {
        "model": {"name": model["name"], "options": options},
        "in_channels": data.info.channels,
        "out_channels": out_channels,
        "activation": criterion.activation,
        "size": list(data.info.size),
        "dataset": data.info.dataset,
        "origin": data.info.origin,
        "normalization": data.info.normalization,
        "interpolation": data.info.interpolation,
        "native": data.info.native,
        "class_names": list(data.info.class_names),
        "experiment": experiment,
        "settings": settings,
        "fingerprint": fingerprint,
        "made_with": {
            "device": describe_device(device),
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "numpy": np.__version__,
        },
    }
    for name, state, row in (("best.pt", best_weights, best), ("last.pt", last_weights, history[-1])):
        save_checkpoint(output / name, {**made_by, "state": state, "epoch": int(row["epoch"]), "scores": dict(row)})
    write_table(output / "history.csv", pd.DataFrame(history))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    write_table(output / "timing.csv", pd.DataFrame(timing).assign(max_rss=peak))
    say(f"{experiment}: best epoch {best['epoch']}, peak memory {peak:.0f} MB")


def _weights(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in network.state_dict().items()}


def _weigh_pixels(loss: Mapping[str, Any], data: SampleStore, validation: SampleStore | None) -> None:
    """Give training and validation samples the pixel weights that the loss asks for, if any."""
    border = loss.get("border")
    if not border and not loss.get("class_balance"):
        return
    by_class = class_weights(data.count_classes()) if loss.get("class_balance") else None
    for store in (data, validation):
        if store is not None:
            store.weigh(lambda mask: weight_map(mask, by_class=by_class, **(border or {})))


def _require_fit(experiment: str, name: str, loss: Loss, data: SampleStore, crop: Sequence[int] | None) -> None:
    """Refuse a loss or a crop that the samples do not fit."""
    problems = []
    classes = len(data.info.class_names)
    if classes > 2 and loss.activation != "softmax":
        softmax = sorted(key for key, one in LOSSES.items() if one.activation == "softmax")
        problems.append(
            Problem(
                f"experiment {experiment!r}, loss",
                f"{name!r} for {classes} classes",
                f"a loss for several classes: {', '.join(softmax)}",
                "choose one of them",
            )
        )
    height, width = data.info.size
    if crop is not None and (crop[0] > height or crop[1] > width):
        problems.append(
            Problem(
                f"experiment {experiment!r}, crop",
                f"{crop[0]}x{crop[1]} from samples of {height}x{width} (height x width)",
                "a crop that fits into the samples",
                "make `crop` smaller, or `size` of the data set larger",
            )
        )
    if problems:
        raise TrainingError(problems)


def _is_best(row: Row, best: Row | None, monitor: str) -> bool:
    """Tell whether a row beats the best one so far; without validation the newest always does."""
    if best is None:
        return True
    if math.isnan(row["val_loss"]):
        return math.isnan(best["val_loss"])
    if LESS_IS_BETTER[monitor]:
        return row[monitor] < best[monitor]
    return row[monitor] > best[monitor]


def _require_finite(row: Row, experiment: str, *losses: str) -> None:
    if not all(math.isfinite(row[name]) for name in losses):
        raise TrainingError(
            Problem(
                f"experiment {experiment!r}, epoch {row['epoch']}",
                ", ".join(f"{name} {row[name]}" for name in losses),
                "finite numbers",
                "lower the learning rate, or check `normalize` of the data set",
            )
        )


def _line(row: Row, epochs: int, seconds: float) -> str:
    """Say one epoch in one line; what was not measured is left out."""
    words = {
        "train_loss": "train loss {:.5f}",
        "lr": "lr {:.6f}",
        "val_loss": "validation loss {:.5f}",
        "val_dice": "Dice {:.4f}",
        "val_mae": "MAE {:.4f}",
        "val_max_f": "maxF {:.4f}",
    }
    said = [text.format(row[name]) for name, text in words.items() if not math.isnan(row[name])]
    return f"epoch {row['epoch']}/{epochs}: {', '.join(said)}, {seconds:.1f} s"
