"""Photos for the training loop whatever happens to the disk or to the processes that read it.

`data.batches` is a pure function of the step, so past a fault it is simply asked again from the step that is missing:
no photo is lost, none comes twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from torch import Tensor

from texturenet import data
from texturenet.monitor import notice
from texturenet.processes import ALONE, Processes

RESTARTS = 10  # times in a run that killed readers are replaced
LONGEST_PAUSE = 60.0  # seconds between two looks for photos that are away; doubled up to it from 1
GLANCE = 0.2  # seconds between two looks for a signal


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
