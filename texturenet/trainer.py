"""The training loop of a texture network (Ulyanov et al. 2016, section 3.3).

Each step draws photos and noise, passes them through the generator, and takes an Adam step down the perceptual loss.
Everything random in step t (crops, noise) is a function of (seed, t) alone. So a resumed run is the same run, to the
bit, on the same machine: what a checkpoint has to hold is weights, Adam's moments and t.
"""

from __future__ import annotations

import contextlib
import math
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from texturenet import checkpoint, data, images
from texturenet.config import Recipe, to_plain
from texturenet.devices import place, resolve_precision
from texturenet.generators import GENERATORS, Generator, make_noise
from texturenet.job import Job, fingerprint, texture_pixels
from texturenet.losses import PerceptualLoss
from texturenet.monitor import Listener, PreviewEvent, StepEvent
from texturenet.objective import Objective
from texturenet.perceptual import Encoder

SIGNAL_EXIT = 128  # a run ended by signal n exits with 128 + n, as shells have it


class Interrupted(Exception):
    """A signal ended the run after its checkpoint was saved."""

    def __init__(self, number: int, path: Path) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}; saved {path}")
        self.exit_code = SIGNAL_EXIT + number


class NonFiniteLoss(ValueError):
    """The loss is NaN or infinite; the last checkpoint is older and good."""


def build(recipe: Recipe, content: bool) -> tuple[Generator, dict[str, Any]]:
    """A new generator, its weights drawn from the seed, and the checkpoint's `generator` field that rebuilds it."""
    options: dict[str, Any] = {
        "content": content,
        "width": recipe.width,
        "noise_channels": recipe.noise_channels,
        "normalization": recipe.normalization,
        "padding": recipe.padding,
    }
    if recipe.generator == "pyramid":
        options["scales"] = recipe.scales
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        generator = GENERATORS[recipe.generator](**options)
    return generator, {"name": recipe.generator, "options": options}


def perceptual_loss(recipe: Recipe, encoder: Encoder, texture: Tensor, with_photos: bool) -> PerceptualLoss:
    """The loss that a recipe means; `with_photos` False: of a texture alone, without content terms."""
    return PerceptualLoss(
        encoder,
        texture,
        recipe.style_layers or encoder.style_layers,
        recipe.style_weights,
        (recipe.content_layers or encoder.content_layers) if with_photos else (),
        recipe.content_weights if with_photos else (),
        recipe.tv_weight,
        recipe.loss_scale,
    )


def learning_rate(recipe: Recipe, step: int) -> float:
    """Of the step after `step` steps: a cosine from recipe.learning_rate to zero (Loshchilov and Hutter 2017)."""
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * step / recipe.iterations))


def train(job: Job, listeners: Sequence[Listener] = ()) -> Path:
    """Run the job to its end; returns the checkpoint's path.

    Raises Interrupted after SIGINT or SIGTERM (the state is saved first), NonFiniteLoss (the last checkpoint is kept),
    OSError where a checkpoint can't be written.
    """
    recipe, run, device = job.recipe, job.run, job.device
    dtype = resolve_precision(run.precision, device)
    generator, spec = build(recipe, content=bool(job.photos))
    generator = place(generator, device).train()
    optimizer = torch.optim.Adam(generator.parameters(), lr=recipe.learning_rate)
    scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)
    if job.resumed:
        generator.load_state_dict(job.resumed["weights"])
        optimizer.load_state_dict(job.resumed["training"]["optimizer"])
        scaler.load_state_dict(job.resumed["training"]["scaler"])

    encoder = place(job.encoder, device)
    encoder.chain.to(dtype)
    loss_function = perceptual_loss(recipe, encoder, job.texture.to(device), with_photos=bool(job.photos))

    def paint(photo: Tensor | None, noise: list[Tensor]) -> Tensor:
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            picture: Tensor = generator(photo, noise)
        return picture

    objective = Objective(recipe, generator, paint, loss_function)
    texture, photos = texture_pixels(job.texture), fingerprint(job.photos)

    def save(step: int, losses: dict[str, float]) -> None:
        checkpoint.save(
            job.path,
            name=job.name,
            generator=spec,
            weights=generator.state_dict(),
            recipe=to_plain(recipe),
            perceptual={"name": encoder.name, "source": encoder.source},
            texture=texture,
            photos=photos,
            step=step,
            losses=losses,
            training={"optimizer": optimizer.state_dict(), "scaler": scaler.state_dict()},
        )

    def preview(step: int) -> None:
        path = job.run_dir / "previews" / f"{step:06d}.jpg"
        try:
            sheet = _preview_sheet(job, generator)
            images.save_image(sheet, path)
        except (OSError, ValueError) as error:  # a preview is not worth a run
            print(f"no preview: {error}", file=sys.stderr)
            return
        finally:
            generator.train()
        for listener in listeners:
            listener.on_preview(PreviewEvent(step, sheet, path))

    batches = _photo_batches(job)
    losses: dict[str, float] = dict(job.resumed["losses"]) if job.resumed else {}
    meter = _Meter(recipe.batch_size)
    with _signals_caught() as caught:
        for step in range(job.start_step, recipe.iterations):
            with meter.waiting():
                photo = next(batches)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(recipe, step)
            terms = objective(photo, step)
            optimizer.zero_grad(set_to_none=True)
            scaler.scale(terms["total"]).backward()  # type: ignore[no-untyped-call]
            scaler.step(optimizer)
            scaler.update()

            done, last = step + 1, step + 1 == recipe.iterations
            stopping = bool(caught)
            saving = last or stopping or done % run.save_every == 0
            if saving or done % run.log_every == 0 or done == 1:
                # The only place that waits for the device; a loss that went wrong is found before it can be saved.
                losses = {name: value.item() for name, value in terms.items()}
                if not all(map(math.isfinite, losses.values())):
                    raise NonFiniteLoss(_non_finite_line(losses, done, job))
                event = StepEvent(done, recipe.iterations, losses, *meter.read(done), learning_rate(recipe, step))
                for listener in listeners:
                    listener.on_step(event)
            if saving:
                save(done, losses)
            if run.preview_every and (last or done % run.preview_every == 0) and not stopping:
                preview(done)
            if stopping and not last:
                raise Interrupted(caught[0], job.path)
    return job.path


def _photo_batches(job: Job) -> Iterator[Tensor | None]:
    """Endless (B, 3, S, S) batches in [0, 1] on the device, or Nones for a texture alone."""
    recipe = job.recipe
    if not job.photos:
        while True:
            yield None
    photos = data.Photos(job.photos, recipe.image_size, recipe.seed)
    cuda = job.device.type == "cuda"
    for batch in data.batches(photos, recipe.batch_size, job.start_step, job.run.workers, pin_memory=cuda):
        batch = batch.to(job.device, non_blocking=cuda).float().div_(255)
        yield batch.contiguous(memory_format=torch.channels_last) if cuda else batch


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


def _non_finite_line(losses: dict[str, float], step: int, job: Job) -> str:
    broken = [name for name, value in losses.items() if not math.isfinite(value) and "/" in name]
    kept = f"; {job.path} of an earlier step is good" if job.path.exists() else ""
    return (
        f"step {step}: {', '.join(broken) or 'the loss'} is not a finite number{kept}; "
        "try a lower --learning_rate, or --precision fp32"
    )


class _Meter:
    """Photos per second and the share of time spent waiting for them, between two readings."""

    def __init__(self, batch_size: int) -> None:
        self.batch_size, self.step, self.start, self.waited = batch_size, -1, time.perf_counter(), 0.0

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        self.waited += time.perf_counter() - begin

    def read(self, step: int) -> tuple[float, float]:
        now = time.perf_counter()
        elapsed = max(now - self.start, 1e-9)
        # The first reading holds the warm-up; a speed from it would make a wrong ETA.
        speed = (step - self.step) * self.batch_size / elapsed if self.step >= 0 else 0.0
        wait = min(self.waited / elapsed, 1.0)
        self.step, self.start, self.waited = step, now, 0.0
        return speed, wait


@contextlib.contextmanager
def _signals_caught() -> Iterator[list[int]]:
    """Collects SIGINT and SIGTERM so that a step can end and be saved; a second one acts as usual."""
    caught: list[int] = []
    before: dict[int, Any] = {}

    def note(number: int, _frame: Any) -> None:
        caught.append(number)
        signal.signal(number, before[number])
        print("\nfinishing this step and saving (again: stop at once) ...", file=sys.stderr)

    try:
        for number in map(int, (signal.SIGINT, signal.SIGTERM)):
            before[number] = signal.signal(number, note)
    except ValueError:  # not the main thread: whoever started us handles signals
        pass
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
