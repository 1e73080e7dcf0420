"""Train a network: from shards to the best and the last checkpoint."""

import importlib
import math
import platform
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from pipeline.core.errors import plural
from pipeline.core.memory import peak_memory
from pipeline.core.progress import log, progress_bar
from pipeline.core.tables import write_table
from pipeline.models.registry import build_model, count_parameters
from pipeline.training import ranks
from pipeline.training.augment.augmentation import Augmentation
from pipeline.training.checkpoint import CheckpointInfo, save_checkpoint
from pipeline.training.checks import require_fit, require_ranks
from pipeline.training.data import Batch, SampleStore
from pipeline.training.device import (
    choose_device,
    choose_precision,
    describe_device,
    prepare_cpu,
    prepare_determinism,
)
from pipeline.training.history import (
    LOWER_IS_BETTER,
    Progress,
    Row,
    copy_weights,
    describe_epoch,
    is_best,
    require_finite,
    require_finite_state,
)
from pipeline.training.losses import Loss, choose_loss
from pipeline.training.optim import build_optimizer
from pipeline.training.progress_file import ProgressFile
from pipeline.training.recipes import TrainRecipe
from pipeline.training.samples import Samples, choose_samples
from pipeline.training.seeds import derived_seeds
from pipeline.training.stages import Stages
from pipeline.training.state_saver import Stateful, StateSaver
from pipeline.training.step import Part, TrainingStep
from pipeline.training.step_graph import choose_recorder
from pipeline.training.uploads import Preparation
from pipeline.training.validate import Validation, validate
from pipeline.training.weights import class_weights, weight_map


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
) -> None:
    """Train a network and write ``best.pt``, ``last.pt``, ``history.csv`` and ``timing.csv``.

    Parameters
    ----------
    recipe : TrainRecipe
        With `gpus` above 1 this must run in that many processes, started by `pipeline.training.launch.on_ranks`;
        each process computes its rows of every batch, on its own GPU if there are any.
    experiment : str
        Name, for messages and the checkpoint.
    train_shards, validation_shards : sequence of Path
        The best epoch is selected on the validation samples; without any, the last epoch is the best.
    output : Path
        Folder of the four files.
    folds : Path, optional
        Required if the recipe has a fold: see `choose_samples`.
    state : Path, optional
        Folder of the state of this training run (see `state_key`). A run resumes from it and writes the same files bit
        for bit. Without it nothing is saved. The caller deletes it after a successful run
        (`pipeline.training.generations.remove_state`).
    save_every : float
        Interval in seconds between two saves of the state.
    memory : int, optional
        Main memory for samples, in bytes; see `SampleStore`.

    Raises
    ------
    ShardError, RawDataError, TrainingError, OutputError
    InterruptionError
        After a signal; the state is saved.
    """
    samples = choose_samples(train_shards, validation_shards, recipe.fold, folds)
    training = _Training(recipe, experiment, *samples, memory)
    progress = training.progress
    folder = state if ranks.rank() == 0 else None
    progress_file = ProgressFile(folder, recipe.total_epochs, training.steps, recipe.monitor)
    saver = StateSaver(
        experiment,
        state,
        save_every,
        progress,
        training.parts,
        training.generators,
        training.require_finite,
        lambda: training.report(progress_file),
    )
    saver.resume()
    progress.record_device(training.hardware)
    with saver.stop_on_signals(), progress_file:
        training.train_epoch(saver)
        training.finish_epoch(saver)
        while training.continues():
            progress.next_epoch()
            saver.save_if_due()
            training.train_epoch(saver)
            training.finish_epoch(saver)
        training.write(output)


class _Training:
    """The objects of a training run: samples, network, optimizer, stages and progress."""

    def __init__(
        self, recipe: TrainRecipe, experiment: str, training: Samples, validation: Samples, memory: int | None
    ) -> None:
        self.recipe, self.experiment = recipe, experiment
        device = choose_device()
        self.progress = Progress.on(device)
        self.precision = choose_precision(recipe.precision, device)
        prepare_cpu(recipe.threads)
        prepare_determinism(recipe.deterministic, device)
        require_ranks(experiment, recipe, device)
        self.data, self.validation = self._load(training, validation, device, memory)
        self.criterion = choose_loss(recipe.loss.name, recipe.has_background)
        self.augment = Augmentation(recipe.crop, recipe.augment) if recipe.crop or recipe.augment else None

        info, seeds = self.data.info, derived_seeds(recipe.seed)
        torch.manual_seed(seeds["weights"])
        self.out_channels = self.criterion.channels(len(info.class_names))
        network = build_model(recipe.model, in_channels=info.channels, out_channels=self.out_channels)
        if recipe.sync_batch_norm:
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        self.start = None
        if recipe.init is not None:  # its code counts only where it runs
            self.start = importlib.import_module("pipeline.training.init").initialize(network, recipe, experiment)
        self.network: nn.Module = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = build_optimizer(self.network.parameters(), recipe.optimizer)
        self.steps = math.ceil(len(self.data) * recipe.repeats / recipe.batch_size)  # for each epoch
        self.step = TrainingStep(self.network, self.optimizer, self.criterion, self.precision, self.progress)
        updates = math.ceil(self.steps / recipe.batches_per_update)
        self.stages = Stages(recipe, self.optimizer, updates, partial(self._use_loss, device))
        self.parts: dict[str, Stateful] = {"network": self.network, "optimizer": self.optimizer, "stages": self.stages}
        self.preparation = Preparation(device)
        self.generators = {name: torch.Generator().manual_seed(seeds[name]) for name in ("order", "augmentation")}
        self.hardware = describe_device(device) + f", {recipe.gpus} processes" * (recipe.gpus > 1)
        log(
            f"{experiment}: {recipe.model.name} with {count_parameters(self.network):,} parameters on {self.hardware}, "
            f"{self.precision}, {recipe.threads} threads, {len(self.data)} training and {len(self.validation or ())} "
            "validation samples"
        )

    def _load(
        self, training: Samples, validation: Samples, device: torch.device, memory: int | None
    ) -> tuple[SampleStore, SampleStore | None]:
        """Load the training samples and the validation samples, if any, with their pixel weights."""
        loss = self.recipe.loss

        def open_store(samples: Samples) -> SampleStore:
            use_fov, weighted = loss.region == "fov", loss.weighs_pixels
            return SampleStore(samples.shards, device, memory, use_fov, samples.selection, weighted)

        train_store, validation_store = open_store(training), open_store(validation) if validation.shards else None
        validation_info = validation_store.info if validation_store is not None else None
        require_fit(self.experiment, self.recipe, train_store.info, validation_info)
        if loss.weighs_pixels:
            by_class = class_weights(train_store.count_classes()) if loss.class_balance else None
            for store in filter(None, (train_store, validation_store)):
                store.set_pixel_weights(lambda mask: weight_map(mask, by_class, loss.border))
        return train_store, validation_store

    def _use_loss(self, device: torch.device, loss: Loss) -> None:
        """Train and validate with a loss from now on."""
        self.criterion = self.step.loss = loss
        wanted = self.recipe.cuda_graph and self.recipe.batches_per_update == 1
        self.step.record(choose_recorder(wanted, device), self.recipe.batch_size, self.experiment)

    def train_epoch(self, saver: StateSaver) -> None:
        """Train the remaining steps of an epoch."""
        progress, size, repeats = self.progress, self.recipe.batch_size, self.recipe.repeats
        started = time.perf_counter() - progress.seconds
        self.network.train()
        if self.start is not None:
            self.step.set_frozen(self.start.begin_epoch(progress.epoch))
        if progress.rows is None:
            orders = [torch.randperm(len(self.data), generator=self.generators["order"]) for _ in range(repeats)]
            progress.rows = torch.cat(orders)
        batches = map(self._augment, self.data.batches(progress.rows[progress.step * size :], size))
        for batch in progress_bar(
            self.preparation.run(batches),
            f"epoch {progress.epoch} of {self.recipe.total_epochs}",
            self.steps - progress.step,
        ):
            part = self._part_of_update()
            self.step(batch, self._batch_rows(), part)
            progress.step += 1
            progress.seconds = time.perf_counter() - started
            if part.last:
                self.stages.schedule.step()
                saver.save_if_due()
        progress.loss.item()  # waits until the device has done all steps
        progress.seconds = time.perf_counter() - started

    def _batch_rows(self) -> int:
        """Return the number of rows of the next batch."""
        progress, size = self.progress, self.recipe.batch_size
        assert progress.rows is not None
        return min(size, len(progress.rows) - progress.step * size)

    def _part_of_update(self) -> Part:
        """Return the part that the next batch has in its update; the last update of an epoch may have fewer batches."""
        progress, size = self.progress, self.recipe.batch_size
        assert progress.rows is not None
        rows, start = size * self.recipe.batches_per_update, progress.step * size
        first = start // rows * rows
        end, count = min(first + rows, len(progress.rows)), self._batch_rows()
        return Part(count / (end - first), first=start == first, last=start + count == end)

    def _augment(self, batch: Batch) -> Batch:
        """Augment the next batch, whose rows of this process are given."""
        if self.augment is None:
            return batch
        rng, rows = self.generators["augmentation"], ranks.local_rows(self._batch_rows())
        return self.augment(batch, rng, self.data.soft, rows, self._batch_rows())

    def finish_epoch(self, saver: StateSaver) -> None:
        """Validate if due, record the epoch in the history, and copy the weights if they are the best so far."""
        recipe, progress, monitor = self.stages.recipe, self.progress, self.recipe.monitor
        epoch = self.stages.own_epoch(progress.epoch)
        assert progress.rows is not None
        started, scores, losses = time.perf_counter(), Validation(), ["train_loss"]
        validation_due = self.validation is not None and recipe.validates(epoch)
        if self.validation is not None and validation_due:
            size, losses = recipe.batch_size, ["train_loss", *dict.fromkeys(["val_loss", monitor])]
            foreground = slice(int(recipe.has_background), None)
            scores = validate(
                self.network, self.criterion, self.validation, size, self.precision, saver.save_if_due, foreground
            )
        row: Row = {"epoch": progress.epoch, **progress.training_scores(), "lr": self.stages.schedule.learning_rate}
        if self.stages.count > 1:
            row["stage"] = self.stages.number
        row = ranks.broadcast({**row, **scores._asdict()})  # so that all processes make the same decisions
        require_finite(row, self.experiment, *losses)
        if validation_due:
            cost = row[monitor] if LOWER_IS_BETTER[monitor] else -row[monitor]
            self.stages.schedule.record_validation(cost)
            progress.record_validation(cost)
        seconds, speed = progress.seconds + time.perf_counter() - started, len(progress.rows) / progress.seconds
        progress.history.append(row)
        progress.timing.append({"epoch": progress.epoch, "seconds": seconds, "train_samples_per_second": speed})
        log(describe_epoch(row, self.recipe.total_epochs, seconds))
        may_be_best = epoch % recipe.checkpoint_every == 0 or epoch == recipe.epochs
        if may_be_best and is_best(row, progress.best, monitor):
            progress.best, progress.best_weights = row, copy_weights(self.network)

    def continues(self) -> bool:
        """Return whether another epoch follows; begin the next stage if this one has ended."""
        recipe, progress = self.stages.recipe, self.progress
        patience = recipe.early_stopping
        stopped = patience is not None and progress.validations_since_best >= patience
        if stopped:
            log(f"{self.experiment}: stopped, {recipe.monitor} did not improve in {patience} validations")
        if not stopped and self.stages.own_epoch(progress.epoch) < recipe.epochs:
            return True
        if self.stages.number == self.stages.count:
            return False
        self._begin_stage()
        return True

    def _begin_stage(self) -> None:
        """Begin the next stage, from the weights that best.pt or last.pt would have now."""
        progress, before, epoch = self.progress, self.stages.recipe, self.progress.epoch
        self.stages.begin_next(epoch)
        recipe = self.stages.recipe
        if self.stages.start == "best" and progress.best is not None:
            epoch = int(progress.best["epoch"])
            self.network.load_state_dict(progress.best_weights)
        progress.begin_stage(keep_best=recipe.monitor != "val_loss" or recipe.loss == before.loss)
        log(
            f"{self.experiment}: stage {self.stages.number} of {self.stages.count} starts from epoch {epoch}: "
            f"loss {recipe.loss.name}, learning rate {recipe.optimizer.lr:g}, {plural(recipe.epochs, 'epoch')}"
        )

    def report(self, file: ProgressFile) -> None:
        """Write the progress for the terminal, if due."""
        progress, size = self.progress, self.recipe.batch_size

        def mean_loss() -> float:
            rows = min(progress.step * size, len(self.data) * self.recipe.repeats)
            return progress.loss.item() / rows if rows else math.nan

        file.update(progress.epoch, progress.step, mean_loss, progress.history[-1] if progress.history else None)

    def require_finite(self) -> None:
        """Raise TrainingError if loss or weights are not finite: nobody resumes from such a state."""
        require_finite_state(self.progress, self.network, self.experiment)

    def write(self, output: Path) -> None:
        """Write checkpoints and tables, on rank 0."""
        progress = self.progress
        last, last_weights = progress.history[-1], copy_weights(self.network)
        best, best_weights = (last, last_weights) if progress.best is None else (progress.best, progress.best_weights)
        peak = peak_memory()
        if ranks.rank() == 0:
            info = self._checkpoint_info()
            for name, weights, row in (("best.pt", best_weights, best), ("last.pt", last_weights, last)):
                save_checkpoint(output / name, info, weights, epoch=int(row["epoch"]), scores=row)
            write_table(output / "history.csv", pd.DataFrame(progress.history))
            write_table(output / "timing.csv", pd.DataFrame(progress.timing).assign(max_rss=peak))
        log(f"{self.experiment}: best epoch {best['epoch']}, peak memory {peak:.0f} MB")

    def _checkpoint_info(self) -> CheckpointInfo:
        """Return the metadata of the checkpoints."""
        info, recipe = self.data.info, self.recipe
        return CheckpointInfo(
            model=recipe.model,
            in_channels=info.channels,
            out_channels=self.out_channels,
            activation=self.criterion.activation,
            size=info.size,
            preparation=info.preparation,
            dataset=info.dataset,
            origin=info.origin,
            class_names=info.class_names,
            experiment=self.experiment,
            seeds=derived_seeds(recipe.seed),
            settings=recipe.changed(precision=self.precision, init=recipe.init and recipe.init.at("origin")),
            made_with={
                "device": ", then ".join(self.progress.devices),
                "python": platform.python_version(),
                "torch": str(torch.__version__),
                "numpy": np.__version__,
            },
            image_values=self.data.reader.image_values(),
            has_fov=self.data.reader.has_fov,
        )
