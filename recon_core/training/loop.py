"""The loop of one stage: Lightning's, with checkpoints, TensorBoard, mixed precision, several devices."""

import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from time import perf_counter

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.data import DataLoader, Dataset

from recon_core.training.examples import Batch, as_it_is, loader
from recon_core.training.learning import Learning
from recon_core.training.recipe import Stage
from recon_core.training.run import Run

CHECKPOINT = "last"
N_VALIDATIONS = 20


def fit(
    learning: Learning,
    stage: Stage,
    examples: Dataset[Batch],
    watched: Sequence[Batch],
    folder: Path,
    *,
    n_steps: int,
    run: Run,
) -> float:
    """Train the stage to its end, from the checkpoint in `folder` where there is one; minutes taken.

    A checkpoint is written after every epoch. An epoch's batches are numbered from the first one of the
    stage on, so that a training that was interrupted ends with the weights of one that was not.
    """
    began = perf_counter()
    with _quiet(), _algorithms_as_found():
        checkpoint = ModelCheckpoint(
            dirpath=folder,
            filename=CHECKPOINT,
            save_top_k=1,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )
        trainer = pl.Trainer(
            accelerator=run.accelerator,
            devices=run.n_devices,
            strategy="auto" if _is_single(run) else "ddp_find_unused_parameters_true",
            precision=run.precision,
            max_epochs=stage.epochs,
            max_time=None if stage.max_minutes is None else timedelta(minutes=stage.max_minutes),
            check_val_every_n_epoch=max(1, stage.epochs // N_VALIDATIONS),
            num_sanity_val_steps=0,
            logger=TensorBoardLogger(folder, name="", version=""),
            callbacks=[checkpoint, *_averaging(stage)],
            gradient_clip_val=stage.largest_gradient,
            log_every_n_steps=min(10, n_steps),
            use_distributed_sampler=False,
            deterministic="warn",
            enable_progress_bar=sys.stderr.isatty(),
            enable_model_summary=False,
        )
        last = folder / f"{CHECKPOINT}.ckpt"
        first_epoch = _epochs_done(last)
        batches = loader(
            examples, n_steps, rank=trainer.global_rank, first_epoch=first_epoch, n_workers=run.n_workers
        )
        held_out: DataLoader[Batch] = DataLoader(watched, batch_size=None, collate_fn=as_it_is)  # type: ignore[arg-type]
        resumed = str(last) if first_epoch else None
        trainer.fit(learning, batches, held_out, ckpt_path=resumed, weights_only=True)
    return (perf_counter() - began) / 60


def _averaging(stage: Stage) -> list[EMAWeightAveraging]:
    return [] if stage.averaging is None else [EMAWeightAveraging(decay=stage.averaging)]


def _epochs_done(checkpoint: Path) -> int:
    """Those before the one to go on with. Lightning tells samplers after it has asked them for batches."""
    if not checkpoint.is_file():
        return 0
    return int(torch.load(checkpoint, map_location="cpu", weights_only=True)["epoch"]) + 1


def _is_single(run: Run) -> bool:
    if run.n_devices == "auto":
        return run.accelerator == "cpu" or torch.cuda.device_count() < 2
    return run.n_devices == 1


@contextmanager
def _quiet() -> Iterator[None]:
    """Lightning's advice is for those who write loops; who trains has a progress bar and a summary."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _algorithms_as_found() -> Iterator[None]:
    """Deterministic algorithms are asked for in this loop only, not for the rest of the process."""
    modes = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    benchmark, deterministic = torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(modes[0], warn_only=modes[1])
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = benchmark, deterministic
