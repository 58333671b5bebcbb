"""Photos for the training loop whatever happens to the disk or to the processes that read it.

`data.batches` is a pure function of the step, so past a fault it is simply asked again from the step that is missing:
no photo is lost, none comes twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from texturenet import crops, data
from texturenet.job import Job
from texturenet.monitor import notice
from texturenet.processes import ALONE, Processes

RESTARTS = 10  # times in a run that killed readers are replaced
LONGEST_PAUSE = 60.0  # seconds between two looks for photos that are away; doubled up to it from 1
GLANCE = 0.2  # seconds between two looks for a signal


def of_job(job: Job, start_step: int = 0, stopping: Callable[[], object] = lambda: False) -> Iterator[Tensor | None]:
    """Endless (B, 3, S, S) batches in [0, 1] on the job's device, of this process's share; Nones for a texture alone.

    stopping, and what is raised: see `batches`
    """
    recipe, run = job.recipe, job.run
    if not job.photos:
        while True:
            yield None
    first = (crops.small_steps(recipe) * recipe.batch_size, crops.side(recipe, 0))
    photos = data.Photos(job.photos, recipe.image_size, recipe.seed, first, recipe.color_jitter)
    cuda = job.device.type == "cuda"
    try:
        for batch in batches(
            photos, recipe.batch_size, start_step, run.workers, cuda, job.processes, 60 * run.patience, stopping
        ):
            batch = batch.to(job.device, non_blocking=cuda).float().div_(255)
            yield batch.contiguous(memory_format=torch.channels_last) if cuda else batch
    finally:
        if photos.unreadable > data.REPORTS:
            notice(f"{photos.unreadable} of {len(photos.paths)} photos could not be read; others took their places")


def batches(
    photos: data.Photos,
    batch_size: int,
    start_step: int = 0,
    workers: int = 0,
    pin_memory: bool = False,
    processes: Processes = ALONE,
    patience: float = 1800.0,
    stopping: Callable[[], object] = lambda: False,
) -> Iterator[Tensor]:
    """`data.batches`, of this process's share, past photos that are away for a while and readers that are killed.

    patience  seconds to wait for photos
    stopping  ends a wait, and with it the batches
    Raises data.PhotosAway after `patience`, data.ReaderDied after RESTARTS, ValueError as `data.batches` does.
    """
    step, deaths = start_step, 0
    while True:
        try:
            for batch in data.batches(photos, batch_size, step, workers, pin_memory, processes.rank, processes.size):
                yield batch
                step += 1
        except data.ReaderDied as error:
            deaths += 1
            if deaths > RESTARTS:
                raise
            notice(f"{error}; new ones go on at step {step + 1} ({deaths} of {RESTARTS} times)")
        except data.PhotosAway as error:
            notice(f"{error}; waiting for them, {patience / 60:g} minutes at most")
            if not _came_back(photos, patience, stopping):
                if stopping():
                    return
                raise data.PhotosAway(f"{error}; waited for {patience / 60:g} minutes (--patience)") from None


def _came_back(photos: data.Photos, patience: float, stopping: Callable[[], object]) -> bool:
    start, pause = time.monotonic(), 1.0
    while photos.away:
        looks_again = time.monotonic() + pause
        while (now := time.monotonic()) < looks_again:
            if stopping() or now - start > patience:
                return False
            time.sleep(GLANCE)
        pause = min(2 * pause, LONGEST_PAUSE)
    notice(f"the photos are back after {time.monotonic() - start:.0f} s")
    return True
