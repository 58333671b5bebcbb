"""Does the speed cost quality? Training runs of ours and of the plain script: same weights, crops and noise.

A second plain run with other noise tells how much two runs differ that are equally good. All three are judged twice: by
their own smoothed loss at the end of training, and by the plain fp32 loss on photos that none has seen. After a
hundred steps that is 1.6 to 2.6, as the first weights have it: so there are three such runs from each of some seeds.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor

from benchmarks import plain
from benchmarks.training import encoder, job, plain_loss, recipe
from texturenet import data, images
from texturenet.config import Recipe
from texturenet.generators import Generator, make_noise
from texturenet.learner import SMOOTHING, Learner, build
from texturenet.objective import step_seed

DATA = Path(__file__).parents[1] / "data"
TEXTURE = DATA / "textures" / "mosaic.jpg"
PHOTOS, HELD_OUT = DATA / "sample" / "train2017", DATA / "sample" / "val2017"
RUNS = ("plain", "plain, other noise", "ours")
_JUDGED = 4  # held-out photos


@dataclass(frozen=True)
class Outcome:
    """Means over the seeds.

    smoothed  training loss at the end, as the log has it
    held_out  plain fp32 loss on other photos
    """

    smoothed: float
    held_out: float


def compare(
    steps: int, size: int, batch: int, seeds: int, device: torch.device, tick: Callable[[], object] = lambda: None
) -> dict[str, Outcome]:
    """Train each of `RUNS` with `lite` on the sample photos, from each seed, and judge it."""
    numbers = recipe("lite", size, batch, iterations=steps)
    texture = images.load_image(TEXTURE, numbers.style_size)
    loss = plain_loss(encoder("lite"), texture, numbers, device)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in RUNS}
    for seed in range(seeds):
        numbers = replace(numbers, seed=seed)
        for name in RUNS:
            if name == "ours":
                state, smoothed = _ours(numbers, texture, device, tick)
            else:
                state, smoothed = _plain(numbers, loss, device, seed + RUNS.index(name), tick)
            found[name].append((smoothed, _judge(state, loss, numbers, device)))
    return {name: Outcome(*map(fmean, zip(*runs, strict=True))) for name, runs in found.items()}


State = dict[str, Tensor]


def _photos(folder: Path, numbers: Recipe, count: int, device: torch.device) -> Iterator[Tensor]:
    """(B, 3, S, S) in [0, 1]; the same for each run."""
    photos = data.Photos(sorted(folder.iterdir()), numbers.image_size, numbers.seed)
    for batch in itertools.islice(data.batches(photos, numbers.batch_size), count):
        yield batch.to(device).float() / 255


def _ours(numbers: Recipe, texture: Tensor, device: torch.device, tick: Callable[[], object]) -> tuple[State, float]:
    learner = Learner(job(numbers, encoder("lite"), texture, device))
    for photo in _photos(PHOTOS, numbers, numbers.iterations, device):
        learner.step(photo)
        tick()
    assert learner.smoothed is not None
    return learner.generator.state_dict(), learner.smoothed.item()


def _plain(
    numbers: Recipe, loss: plain.Loss, device: torch.device, noise_seed: int, tick: Callable[[], object]
) -> tuple[State, float]:
    generator = build(numbers, content=True)[0]  # our first weights, and shapes of the noise
    net = plain.Pyramid().to(device)
    net.load_state_dict(generator.state_dict())
    training = plain.Training(net, loss, numbers)
    smoothed: float | None = None
    for step, photo in enumerate(_photos(PHOTOS, numbers, numbers.iterations, device)):
        value = training.step(photo, _noise(generator, numbers, step_seed(noise_seed, step), device)).item()
        smoothed = value if smoothed is None else smoothed + SMOOTHING * (value - smoothed)
        tick()
    assert smoothed is not None
    return net.state_dict(), smoothed


def _noise(generator: Generator, numbers: Recipe, seed: int, device: torch.device) -> list[Tensor]:
    size = numbers.image_size
    return make_noise(generator, numbers.batch_size, size, size, seed, numbers.noise_factor, device)


@torch.no_grad()
def _judge(state: State, loss: plain.Loss, numbers: Recipe, device: torch.device) -> float:
    net, generator = plain.Pyramid().to(device), build(numbers, content=True)[0]
    net.load_state_dict(state)
    values = [
        loss(net(photo, _noise(generator, numbers, seed, device)), photo).item()
        for seed, photo in enumerate(_photos(HELD_OUT, numbers, _JUDGED, device))
    ]
    return sum(values) / len(values)
