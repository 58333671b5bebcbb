"""The training loop of a texture network (Ulyanov et al. 2016, section 3.3).

Each step draws photos and noise, passes them through the generator, and takes a step down the perceptual loss.
Everything random in step t (crops, noise) is a function of (seed, t) alone. So a resumed run is the same run, to the
bit, on the same CPU (CUDA adds up parts of some gradients in any order): what a checkpoint has to hold is weights,
the optimizer's moments and t.

What can go wrong around a step is dealt with around the loop: photos that are away (supply.py), a disk that is full
(keeper.py), a loss that is not finite and signals (recovery.py), a memory too small (learner.py).
"""

from __future__ import annotations

import contextlib
import math
import signal
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from texturenet import auditions, crops, images, supply
from texturenet.config import Recipe
from texturenet.generators import Generator, make_noise
from texturenet.job import Job
from texturenet.keeper import Keeper
from texturenet.learner import Learner
from texturenet.monitor import Listener, PreviewEvent, StepEvent, notice
from texturenet.recovery import Interrupted, NonFiniteLoss, Rollback, signals_caught


def train(job: Job, listeners: Sequence[Listener] = ()) -> Path:
    """Run the job to its end; returns the checkpoint's path.

    Raises Interrupted after SIGINT or SIGTERM (the state is saved first); NonFiniteLoss where a lower learning rate did
    not help, and OutOfMemory (the last checkpoint is kept); PhotosAway and ReaderDied (the state is saved first);
    ProcessLost (go on from the last checkpoint); OSError where the last checkpoint can't be written.
    """
    job = auditions.begun(job)
    learner = Learner(job)
    keeper = Keeper(job, learner)
    rollback = Rollback(learner, job.path)
    with signals_caught() as caught:
        while learner.steps < job.recipe.iterations:
            try:
                _take_steps(job, learner, keeper, rollback, listeners, caught)
            except NonFiniteLoss as fault:
                rollback.back(fault)
    return job.path


def _take_steps(
    job: Job, learner: Learner, keeper: Keeper, rollback: Rollback, listeners: Sequence[Listener], caught: list[int]
) -> None:
    """From where the learner is to the end, or to a signal, or to a fault."""
    recipe, run, processes = job.recipe, job.run, job.processes
    losses: dict[str, float] = dict(job.resumed["losses"]) if job.resumed else {}
    meter, since = _Meter(recipe), time.monotonic()

    def save(required: bool = False) -> None:
        nonlocal since
        now = time.monotonic()
        learner.seconds, since = learner.seconds + now - since, now
        keeper.save(losses, required)

    photos = supply.of_job(job, learner.steps, lambda: caught)
    while True:
        try:
            with meter.waiting():
                photo = next(photos)
        except StopIteration:  # a signal came while the photos were away
            if not learner.finite():
                raise NonFiniteLoss(f"step {learner.steps}: a weight is not a finite number") from None
            save(required=True)
            raise Interrupted(caught[0], job.path) from None
        except (OSError, ValueError):  # ValueError: photos that are there and broken, one after the other
            save()
            raise

        rate = learner.learning_rate
        terms = learner.step(photo)

        done, last = learner.steps, learner.steps == recipe.iterations
        stopping = processes.any(bool(caught))
        scheduled = last or stopping or done % run.save_every == 0
        if scheduled or done % run.log_every == 0 or done == 1:
            # The only place that waits for a loss; a loss that went wrong is found before it can be saved.
            losses = _read(terms, learner)
            speed, wait, left = meter.read(done)
            event = StepEvent(done, recipe.iterations, losses, speed, wait, rate, left)
            for listener in listeners:
                listener.on_step(event)
            if scheduled or keeper.owed:
                save(required=last or stopping)
        if scheduled:  # one process alone owes a save, and all of them have to go back to the same step
            rollback.remember()
        if run.preview_every and (last or done % run.preview_every == 0) and not stopping and processes.rank == 0:
            _preview(job, learner.generator, done, listeners)
        if last:
            return
        if stopping:
            raise Interrupted(caught[0] if caught else signal.SIGTERM, job.path)


def _read(terms: dict[str, Tensor], learner: Learner) -> dict[str, float]:
    """The losses of a step, of the whole batch. Raises NonFiniteLoss."""
    values = [value.clone() for value in terms.values()]
    learner.processes.average(values)
    losses: dict[str, float] = dict(zip(terms, torch.stack(values).tolist(), strict=True))  # one copy to the host
    broken = [name for name, value in losses.items() if not math.isfinite(value)]
    if learner.processes.any(bool(broken) or not learner.finite()):  # together: no process goes back alone
        layers = ", ".join(name for name in broken if "/" in name)
        what = layers or ("the loss" if broken else "a weight")
        raise NonFiniteLoss(f"step {learner.steps}: {what} is not a finite number")
    return losses


def _preview(job: Job, generator: Generator, step: int, listeners: Sequence[Listener]) -> None:
    path = job.run_dir / "previews" / f"{step:06d}.jpg"
    try:
        sheet = _preview_sheet(job, generator)
        images.save_image(sheet, path)
    except (OSError, ValueError) as error:  # a preview is not worth a run
        notice(f"no preview: {error}")
        return
    finally:
        generator.train()
    for listener in listeners:
        listener.on_preview(PreviewEvent(step, sheet, path))


@torch.no_grad()
def _preview_sheet(job: Job, generator: Generator) -> Tensor:
    """Held-out photos above what the generator makes of them; (1, 3, H, W) on the CPU. Leaves it in evaluation mode.

    Raises ValueError or OSError for a photo that can't be read or painted.
    """
    recipe, size, device = job.recipe, job.recipe.image_size, job.device
    generator.eval()
    if not job.photos:
        noise = make_noise(generator, 1, size, size, recipe.seed, recipe.noise_factor, device)
        return images.sheet([[job.texture, generator(None, noise).cpu()]])
    photos = [images.load_image(path, size) for path in job.preview_photos]
    painted = []
    for photo in photos:
        height, width = photo.shape[-2:]
        noise = make_noise(generator, 1, height, width, recipe.seed, recipe.noise_factor, device)
        painted.append(generator(photo.to(device), noise).cpu())
    return images.sheet([photos, painted])


class _Meter:
    """Photos per second, the share of time spent waiting for them, and the time left, told at each reading."""

    RECENT = 10  # readings that the time left is told from

    def __init__(self, recipe: Recipe) -> None:
        self.recipe, self.step, self.start, self.waited = recipe, -1, time.perf_counter(), 0.0
        self.recent: deque[tuple[int, float]] = deque(maxlen=self.RECENT)  # pixels and seconds between two readings

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        self.waited += time.perf_counter() - begin

    def read(self, step: int) -> tuple[float, float, float | None]:
        """(photos a second, share of time in [0, 1], seconds left) since the last reading; 0.0 and None: unknown."""
        now = time.perf_counter()
        elapsed = max(now - self.start, 1e-9)
        wait = min(self.waited / elapsed, 1.0)
        speed, left = 0.0, None
        if self.step >= 0:  # the first reading holds the warm-up; a speed from it would make a wrong time left
            speed = (step - self.step) * self.recipe.batch_size / elapsed
            self.recent.append((crops.pixels(self.recipe, self.step, step), elapsed))
            done, seconds = map(sum, zip(*self.recent, strict=True))
            left = crops.pixels(self.recipe, step, self.recipe.iterations) * seconds / done
        self.step, self.start, self.waited = step, now, 0.0
        return speed, wait, left
