"""Memory that a process holds after many small pictures, or many small steps: what leaks shows in it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from benchmarks.timing import Contender, Host, Run, Runner
from benchmarks.training import encoder, job, recipe
from texturenet.learner import Learner
from texturenet.stylizer import Stylizer

PICTURE_SIZES = ((64, 64), (64, 96), (80, 64), (96, 96))  # (h, w)
STEP_SIZE = 32  # px


@dataclass(frozen=True)
class Growth:
    """The most bytes held, above those before the first run, in the second and in the last tenth of `count` runs."""

    count: int
    settled: int
    end: int

    @property
    def growth(self) -> int:
        return self.end - self.settled


def measure(host: Host | Runner, name: str, count: int, tick: Callable[[], object] = lambda: None) -> Growth:
    """Run a contender `count` times, one or more."""
    held = []
    for _ in range(count):
        held.append(host.ask(name).held)
        tick()
    tenth = max(count // 10, 1)
    return Growth(count, max(held[tenth : 2 * tenth], default=held[0]), max(held[-tenth:]))


def alone(
    contender: Contender, count: int, device: torch.device, threads: int | None, tick: Callable[[], object]
) -> Growth:
    """In a process of its own."""
    host = Host([contender], device, threads)
    try:
        return measure(host, contender.name, count, tick)
    finally:
        host.close()


def contenders(style: Path, device: torch.device) -> list[Contender]:
    """A picture of ours, and a training step."""
    return [Contender("pictures", partial(pictures, style, device)), Contender("steps", partial(steps, device))]


def pictures(style: Path, device: torch.device) -> Run:
    """One picture after the other through one `Stylizer`, of several sizes."""
    stylizer, shapes = Stylizer(style, device), itertools.cycle(PICTURE_SIZES)
    return lambda: stylizer(torch.rand((1, 3, *next(shapes))))


def steps(device: torch.device) -> Run:
    """Steps of one `Learner`, of a small network."""
    texture = torch.rand((1, 3, STEP_SIZE, STEP_SIZE))
    numbers = recipe("lite", STEP_SIZE, 1, scales=3, width=4)
    learner = Learner(job(numbers, encoder("lite"), texture, device))
    return lambda: learner.step(torch.rand((1, 3, STEP_SIZE, STEP_SIZE), device=device))
