"""One training: from shards to the best and the last checkpoint."""

import math
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.optim import Optimizer

from pipeline.core.errors import Problem, TrainingError
from pipeline.core.files import write_table
from pipeline.core.memory import peak_memory
from pipeline.core.progress import say, track
from pipeline.models.registry import build_model, count_parameters
from pipeline.training import ranks
from pipeline.training.augment.augmentation import Augmentation, build_augmentation
from pipeline.training.checkpoint import Trained, save_checkpoint
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
from pipeline.training.optim import Schedule, build_optimizer, build_schedule
from pipeline.training.recipes import TrainRecipe
from pipeline.training.seeds import derived_seeds
from pipeline.training.validate import Validation, validate
from pipeline.training.weights import class_weights, weight_map

_Files = tuple[Sequence[Path], Sequence[Path], Path | None]
"""Shards of training and of validation samples, and the table of folds."""


def train(
    recipe: TrainRecipe,
    *,
    experiment: str,
    train_shards: Sequence[Path],
    validation_shards: Sequence[Path],
    output: Path,
    folds: Path | None = None,
    state: Path | None = None,
    save_every: float = 60.0,
    memory: int | None = None,
    fingerprint: str | None = None,
) -> None:
    """Train a network and write ``best.pt``, ``last.pt``, ``history.csv`` and ``timing.csv``.

    Parameters
    ----------
    recipe : TrainRecipe
        Its `gpus` are the processes that train together, as `pipeline.training.launch.on_ranks` starts them, each on a
        GPU of its own where there are any; each computes its share of every batch.
    experiment : str
        Its name, for messages and for the checkpoint.
    train_shards, validation_shards : sequence of Path
        The best epoch is chosen on the validation samples; without any, the last epoch is the best.
    output : Path
        Folder for the four files.
    folds : Path, optional
        Needed where the recipe names a fold: see `choose_samples`.
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
    run = _set_up(recipe, experiment, (train_shards, validation_shards, folds), memory)
    at = run.at
    keeper = Keeper(
        experiment,
        state,
        save_every,
        at,
        {"network": run.network, "optimizer": run.optimizer, "schedule": run.schedule},
        {"order": run.order, "augmentation": run.chance},
    )
    keeper.resume()
    at.runs_on(run.hardware)
    with keeper:
        while at.epoch <= recipe.epochs:
            _train_epoch(run, keeper)
            row = _measure_epoch(run, keeper)
            _keep_best(run, row)
            if recipe.early_stopping is not None and at.since_best >= recipe.early_stopping:
                say(f"{experiment}: stopped, {recipe.monitor} did not improve in {recipe.early_stopping} validations")
                break
            at.next_epoch()
            if at.epoch <= recipe.epochs:
                keeper.check()
        _write(run, output, fingerprint)


@dataclass
class _Run:
    """What a training works with."""

    experiment: str
    recipe: TrainRecipe
    precision: str
    hardware: str
    data: SampleStore
    validation: SampleStore | None
    criterion: Loss
    change: Augmentation | None
    network: nn.Module
    optimizer: Optimizer
    schedule: Schedule
    steps: int  # of an epoch
    order: torch.Generator
    chance: torch.Generator
    at: Progress


def _set_up(recipe: TrainRecipe, experiment: str, files: _Files, memory: int | None) -> _Run:
    """Load the samples, and build network, optimizer and schedule."""
    device = choose_device()
    precision = choose_precision(recipe.precision, device)
    prepare_cpu(recipe.threads)
    prepare_determinism(recipe.deterministic, device)
    ranks.require_ranks(experiment, recipe.gpus, recipe.batch_size, recipe.sync_batch_norm, device)
    data, validation = _load(recipe, files, device, memory)
    if validation is not None:
        require_measurable(experiment, data.info, validation.info, recipe.monitor)
    _weigh_pixels(recipe, data, validation)
    criterion = LOSSES[recipe.loss.name]
    _require_fit(experiment, recipe, criterion, data)

    seeds = derived_seeds(recipe.seed)
    torch.manual_seed(seeds["weights"])
    out_channels = criterion.channels(len(data.info.class_names))
    network = build_model(recipe.model, in_channels=data.info.channels, out_channels=out_channels)
    if recipe.sync_batch_norm:
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = build_optimizer(network.parameters(), recipe.optimizer)
    steps = math.ceil(len(data) * recipe.repeats / recipe.batch_size)
    order, chance = (torch.Generator().manual_seed(seeds[purpose]) for purpose in ("order", "augmentation"))
    hardware = describe_device(device) + f", {recipe.gpus} processes" * (recipe.gpus > 1)
    say(
        f"{experiment}: {recipe.model.name} with {count_parameters(network):,} parameters on {hardware}, "
        f"{precision}, {recipe.threads} threads, {len(data)} training and {len(validation or ())} validation samples"
    )
    return _Run(
        experiment=experiment,
        recipe=recipe,
        precision=precision,
        hardware=hardware,
        data=data,
        validation=validation,
        criterion=criterion,
        change=build_augmentation(recipe.crop, recipe.augment) if recipe.crop or recipe.augment else None,
        network=network,
        optimizer=optimizer,
        schedule=build_schedule(recipe.schedule, optimizer, recipe.epochs, steps),
        steps=steps,
        order=order,
        chance=chance,
        at=Progress(),
    )


def _load(
    recipe: TrainRecipe, files: _Files, device: torch.device, memory: int | None
) -> tuple[SampleStore, SampleStore | None]:
    """Return the samples to train on, and those to validate on, if any."""
    train_shards, validation_shards, folds = files
    chosen, unseen = choose_samples(train_shards, validation_shards, recipe.fold, folds)
    stores = [
        SampleStore(
            samples.shards,
            selection=samples.selection,
            device=device,
            budget=memory,
            use_fov=recipe.loss.region == "fov",
            weighted=recipe.loss.weighs_pixels,
        )
        for samples in (chosen, unseen)
        if samples.shards or samples is chosen
    ]
    return stores[0], stores[1] if len(stores) > 1 else None


def _weigh_pixels(recipe: TrainRecipe, data: SampleStore, validation: SampleStore | None) -> None:
    """Give training and validation samples the pixel weights that the loss asks for, if any."""
    loss = recipe.loss
    if not loss.weighs_pixels:
        return
    border = {} if loss.border is None else {"w0": loss.border.w0, "sigma": loss.border.sigma}
    by_class = class_weights(data.count_classes()) if loss.class_balance else None
    for store in (data, validation):
        if store is not None:
            store.weigh(lambda mask: weight_map(mask, by_class=by_class, **border))


def _train_epoch(run: _Run, keeper: Keeper) -> None:
    """Take the steps that are left of an epoch."""
    recipe, at, network = run.recipe, run.at, run.network
    started = time.perf_counter() - at.seconds
    network.train()
    if at.rows is None:
        at.rows = torch.cat([torch.randperm(len(run.data), generator=run.order) for _ in range(recipe.repeats)])
    size = recipe.batch_size
    left = run.data.batches(at.rows[at.step * size :], size)
    for batch in track(left, f"epoch {at.epoch} of {recipe.epochs}", run.steps - at.step):
        whole = min(size, len(at.rows) - at.step * size)
        if run.change is not None:
            batch = run.change(batch, run.chance, run.data.soft, ranks.share(whole), whole)
        run.optimizer.zero_grad(set_to_none=True)
        outputs = run_logits(network, batch.image, run.precision)
        value = supervise(run.criterion.function, outputs, batch.target, batch.weight)
        value.backward()  # type: ignore[no-untyped-call]
        ranks.sum_gradients(network)
        run.optimizer.step()
        at.rate += run.schedule.rate / run.steps
        run.schedule.step()
        at.loss += float(value.detach()) * whole
        at.step += 1
        at.seconds = time.perf_counter() - started
        keeper.check()


def _measure_epoch(run: _Run, keeper: Keeper) -> Row:
    """Validate where it is time to, and note the epoch down."""
    recipe, at = run.recipe, run.at
    assert at.rows is not None
    started = time.perf_counter()
    scores, due = Validation(), run.validation is not None and recipe.validates(at.epoch)
    if due and run.validation is not None:
        scores = validate(run.network, run.criterion, run.validation, recipe.batch_size, run.precision, keeper.check)
    row: Row = {"epoch": at.epoch, "train_loss": at.loss / len(at.rows), "lr": at.rate, **scores._asdict()}
    row = ranks.from_first(row)  # so that all of them decide alike
    require_finite(row, run.experiment, "train_loss", *(dict.fromkeys(["val_loss", recipe.monitor]) if due else []))
    at.history.append(row)
    if due:
        cost = row[recipe.monitor] if LESS_IS_BETTER[recipe.monitor] else -row[recipe.monitor]
        run.schedule.validated(cost)
        at.validated(cost)
    seconds = at.seconds + time.perf_counter() - started
    speed = len(at.rows) / at.seconds
    at.timing.append({"epoch": at.epoch, "seconds": seconds, "train_samples_per_second": speed})
    say(describe_epoch(row, recipe.epochs, seconds))
    return row


def _keep_best(run: _Run, row: Row) -> None:
    """Keep the weights of an epoch that may become the best and is."""
    recipe, at = run.recipe, run.at
    if is_best(row, at.best, recipe.monitor) and (at.epoch % recipe.checkpoint_every == 0 or at.epoch == recipe.epochs):
        at.best, at.best_weights = row, copy_weights(run.network)


def _write(run: _Run, output: Path, fingerprint: str | None) -> None:
    """Write checkpoints and tables, in the process that does so."""
    at = run.at
    last, last_weights = at.history[-1], copy_weights(run.network)
    best, best_weights = (last, last_weights) if at.best is None else (at.best, at.best_weights)
    peak = peak_memory()
    if ranks.rank() == 0:
        about = _describe(run, fingerprint)
        for name, weights, row in (("best.pt", best_weights, best), ("last.pt", last_weights, last)):
            save_checkpoint(output / name, about, weights, epoch=int(row["epoch"]), scores=row)
        write_table(output / "history.csv", pd.DataFrame(at.history))
        write_table(output / "timing.csv", pd.DataFrame(at.timing).assign(max_rss=peak))
    say(f"{run.experiment}: best epoch {best['epoch']}, peak memory {peak:.0f} MB")


def _describe(run: _Run, fingerprint: str | None) -> Trained:
    """Say what the checkpoints hold besides weights."""
    info, recipe = run.data.info, run.recipe
    return Trained(
        model=recipe.model,
        in_channels=info.channels,
        out_channels=run.criterion.channels(len(info.class_names)),
        activation=run.criterion.activation,
        size=info.size,
        preparation=info.preparation,
        dataset=info.dataset,
        origin=info.origin,
        class_names=info.class_names,
        experiment=run.experiment,
        seeds=derived_seeds(recipe.seed),
        settings=recipe.changed(precision=run.precision),
        fingerprint=fingerprint,
        made_with={
            "device": ", then ".join(run.at.devices),
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "numpy": np.__version__,
        },
    )


def _require_fit(experiment: str, recipe: TrainRecipe, loss: Loss, data: SampleStore) -> None:
    """Refuse a loss or a crop that the samples do not fit."""
    problems = []
    classes = len(data.info.class_names)
    if classes > 2 and loss.activation != "softmax":
        softmax = sorted(key for key, one in LOSSES.items() if one.activation == "softmax")
        problems.append(
            Problem(
                f"experiment {experiment!r}, loss",
                f"{recipe.loss.name!r} for {classes} classes",
                f"a loss for several classes: {', '.join(softmax)}",
                "choose one of them",
            )
        )
    (height, width), crop = data.info.size, recipe.crop
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
