"""One training: from shards to the best and the last checkpoint."""

import math
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from pipeline.core.errors import Problem, TrainingError
from pipeline.core.files import write_table
from pipeline.core.memory import peak_memory
from pipeline.core.progress import say, track
from pipeline.models.registry import build_model, count_parameters
from pipeline.training import ranks
from pipeline.training.augment import Augmentation
from pipeline.training.checkpoint import save_checkpoint
from pipeline.training.data import SampleStore
from pipeline.training.device import (
    choose_device,
    choose_precision,
    describe_device,
    prepare_cpu,
    prepare_determinism,
    run_logits,
)
from pipeline.training.fold import choose_samples
from pipeline.training.history import (
    LESS_IS_BETTER,
    Progress,
    Row,
    copy_weights,
    describe_epoch,
    is_best,
    require_finite,
)
from pipeline.training.keeper import Keeper
from pipeline.training.losses import LOSSES, Loss, supervise
from pipeline.training.measurable import require_measurable
from pipeline.training.optim import Schedule, build_optimizer
from pipeline.training.seeds import derived_seeds
from pipeline.training.validate import Validation, validate
from pipeline.training.weights import class_weights, weight_map


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
    deterministic: bool = True,
    fold: Mapping[str, int] | None = None,
    fold_table: Path | None = None,
    gpus: int = 1,
    sync_batch_norm: bool = False,
    state: Path | None = None,
    save_every: float = 60.0,
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
        `batch_size` counts the samples of one step, over all GPUs.
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
    deterministic : bool
        See `prepare_determinism`.
    fold, fold_table
        Train on all samples of both kinds of shards but those of one fold, and validate on these: see `choose_samples`.
    gpus : int
        Processes that train together, as `pipeline.training.launch.on_ranks` starts them, each on a GPU of its own
        where there are any. Each computes its share of every batch.
    sync_batch_norm : bool
        Whether batch normalization takes its statistics from the whole batch, and not from each GPU's share.
    state : Path, optional
        Folder of the training's state, which must be of this very training (see `state_key`): what lies there is gone
        on from, to the same files bit for bit. Without it nothing is saved. It stays: whoever has done all that belongs
        to the training removes it (`pipeline.training.state.remove_state`).
    save_every : float
        Seconds between two saves of the state.
    memory : int, optional
        Bytes that samples may take in main memory; see `SampleStore`.
    fingerprint : str, optional
        What the training is made by (`pipeline.core.fingerprint.Fingerprint.to_json`), to store in the checkpoints.

    Raises
    ------
    ShardError, RawDataError, TrainingError, OutputError
    InterruptionError
        After a signal; the state is saved.
    """
    device = choose_device()
    precision = choose_precision(precision, device)
    prepare_cpu(threads)
    prepare_determinism(deterministic, device)
    ranks.require_ranks(experiment, gpus, batch_size, sync_batch_norm, device)
    use_fov = loss["region"] == "fov"
    chosen, unseen = choose_samples(train_shards, validation_shards, fold, fold_table)
    given: dict[str, Any] = {"device": device, "budget": memory, "use_fov": use_fov, "weighted": _weighs_pixels(loss)}
    data = SampleStore(chosen.shards, selection=chosen.selection, **given)
    validation = SampleStore(unseen.shards, selection=unseen.selection, **given) if unseen.shards else None
    if validation is not None:
        require_measurable(experiment, data.info, validation.info, monitor)
    _weigh_pixels(loss, data, validation)
    criterion = LOSSES[loss["name"]]
    _require_fit(experiment, loss["name"], criterion, data, crop)
    change = Augmentation(crop=crop, **(augment or {})) if crop or augment else None

    seeds = derived_seeds(seed)
    torch.manual_seed(seeds["weights"])
    options = {key: value for key, value in model.items() if key != "name"}
    out_channels = criterion.channels(len(data.info.class_names))
    network = build_model(model["name"], in_channels=data.info.channels, out_channels=out_channels, options=options)
    if sync_batch_norm:
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    updater = build_optimizer(network.parameters(), **optimizer)
    steps_per_epoch = math.ceil(len(data) * repeats / batch_size)
    rates = Schedule(updater, epochs=epochs, steps_per_epoch=steps_per_epoch, **schedule)
    order, chance = (torch.Generator().manual_seed(seeds[purpose]) for purpose in ("order", "augmentation"))
    hardware = describe_device(device) + f", {gpus} processes" * (gpus > 1)
    say(
        f"{experiment}: {model['name']} with {count_parameters(network):,} parameters on {hardware}, "
        f"{precision}, {threads} threads, {len(data)} training and {len(validation or ())} validation samples"
    )

    at = Progress()
    keeper = Keeper(
        experiment,
        state,
        save_every,
        at,
        {"network": network, "optimizer": updater, "schedule": rates},
        {"order": order, "augmentation": chance},
    )
    keeper.resume()
    at.runs_on(hardware)

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
        "deterministic": deterministic,
        "fold": None if fold is None else dict(fold),
        **({"gpus": gpus, "sync_batch_norm": sync_batch_norm} if gpus > 1 else {}),
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
        "seeds": seeds,
        "settings": settings,
        "fingerprint": fingerprint,
        "made_with": {
            "device": ", then ".join(at.devices),
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "numpy": np.__version__,
        },
    }
    with keeper:
        while at.epoch <= epochs:
            started = time.perf_counter() - at.seconds
            network.train()
            if at.rows is None:
                at.rows = torch.cat([torch.randperm(len(data), generator=order) for _ in range(repeats)])
            left = data.batches(at.rows[at.step * batch_size :], batch_size)
            for batch in track(left, f"epoch {at.epoch} of {epochs}", steps_per_epoch - at.step):
                whole = min(batch_size, len(at.rows) - at.step * batch_size)
                if change is not None:
                    batch = change(batch, chance, data.soft, ranks.share(whole), whole)
                updater.zero_grad(set_to_none=True)
                outputs = run_logits(network, batch.image, precision)
                value = supervise(criterion.function, outputs, batch.target, batch.weight)
                value.backward()  # type: ignore[no-untyped-call]
                ranks.sum_gradients(network)
                updater.step()
                at.rate += rates.rate / steps_per_epoch
                rates.step()
                at.loss += float(value.detach()) * whole
                at.step += 1
                at.seconds = time.perf_counter() - started
                keeper.check()
            due = validation is not None and (at.epoch in (1, epochs) or at.epoch % validate_every == 0)
            scores = Validation()
            if due and validation is not None:
                scores = validate(network, criterion, validation, batch_size, precision, keeper.check)
            row: Row = {"epoch": at.epoch, "train_loss": at.loss / len(at.rows), "lr": at.rate, **scores._asdict()}
            row = ranks.from_first(row)  # so that all of them decide alike
            require_finite(row, experiment, "train_loss", *(dict.fromkeys(["val_loss", monitor]) if due else []))
            at.history.append(row)
            if due:
                cost = row[monitor] if LESS_IS_BETTER[monitor] else -row[monitor]
                rates.validated(cost)
                at.validated(cost)
            if is_best(row, at.best, monitor) and (at.epoch % checkpoint_every == 0 or at.epoch == epochs):
                at.best, at.best_weights = row, copy_weights(network)
            speed = len(at.rows) / at.seconds
            seconds = time.perf_counter() - started
            at.timing.append({"epoch": at.epoch, "seconds": seconds, "train_samples_per_second": speed})
            say(describe_epoch(row, epochs, seconds))
            if early_stopping is not None and at.since_best >= early_stopping:
                say(f"{experiment}: stopped, {monitor} did not improve in {early_stopping} validations")
                break
            at.next_epoch()
            if at.epoch <= epochs:
                keeper.check()
        last, last_weights = at.history[-1], copy_weights(network)
        best, best_weights = (last, last_weights) if at.best is None else (at.best, at.best_weights)
        peak = peak_memory()
        if ranks.rank() == 0:
            for name, weights, row in (("best.pt", best_weights, best), ("last.pt", last_weights, last)):
                scored = {"state": weights, "epoch": int(row["epoch"]), "scores": dict(row)}
                save_checkpoint(output / name, {**made_by, **scored})
            write_table(output / "history.csv", pd.DataFrame(at.history))
            write_table(output / "timing.csv", pd.DataFrame(at.timing).assign(max_rss=peak))
    say(f"{experiment}: best epoch {best['epoch']}, peak memory {peak:.0f} MB")


def _weighs_pixels(loss: Mapping[str, Any]) -> bool:
    return bool(loss.get("border") or loss.get("class_balance"))


def _weigh_pixels(loss: Mapping[str, Any], data: SampleStore, validation: SampleStore | None) -> None:
    """Give training and validation samples the pixel weights that the loss asks for, if any."""
    if not _weighs_pixels(loss):
        return
    border = loss.get("border")
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
